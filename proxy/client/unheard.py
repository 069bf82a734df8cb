"""ParameterStatus that a client need not hear, because it has not heard it before.

Where the context sets what PostgreSQL reports (application_name, as many drivers ask for; search_path), each transaction
block is told of it twice: when the context is there, and when it is gone. To the client it holds all the time. What was
kept from it once is kept from it again as long as it is the same, byte for byte, and so is what it depends on: the context,
and at the end what the server reports by itself. When a block begins, a client has been told just that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.wire import backend

if TYPE_CHECKING:
    from proxy.context.context import Context


class Unheard:
    """What one client was not told."""

    __slots__ = ("_at_end", "_context", "_opening", "_parameters")

    def __init__(self) -> None:
        self._context: Context | None = None
        self._opening = b""
        self._at_end = b""
        self._parameters: dict[bytes, bytes] | None = None

    def opening(self, context: Context) -> bytes:
        """When this context is put in place in a transaction block."""
        return self._opening if context is self._context else b""

    def at_end(self, context: Context, parameters: dict[bytes, bytes]) -> bytes:
        """When the block is over, by a server that reports these parameters by itself."""
        return self._at_end if context is self._context and parameters is self._parameters else b""

    def keep_opening(self, context: Context, reported: dict[bytes, bytes]) -> None:
        """This was not told."""
        self._begin(context)
        self._opening = _messages(reported)

    def keep_end(self, context: Context, parameters: dict[bytes, bytes], reported: dict[bytes, bytes]) -> None:
        """Nor was this, and `parameters` are the same as before."""
        self._begin(context)
        self._at_end = _messages(reported)
        self._parameters = parameters

    def _begin(self, context: Context) -> None:
        if context is not self._context:
            self._context = context
            self._opening = self._at_end = b""


def _messages(reported: dict[bytes, bytes]) -> bytes:
    return b"".join(backend.parameter_status(name, value) for name, value in reported.items())
