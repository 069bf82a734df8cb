"""A server connection as those see it who hold it: a session, the pool.

A class and not a Protocol, so that compiled code reads its attributes without looking them up by name.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from proxy.errors import ServerLost
from proxy.server.ledger import Ledger
from proxy.server.prepared import PreparedOnServer


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerPort:
    """A logged-in connection to PostgreSQL.

    `parameters`: ParameterStatus as PostgreSQL reports it by itself, see parameters.py. `taint`: what it needs before anyone
    else gets it: 0 nothing, 1 a reset that keeps plans, 2 DISCARD ALL; the pool clears it after a reset. `tenant_id`: whom it
    works for, or last worked for, None when it is fresh or reset; the pool alone writes it. `followed`: settings that its
    session was given to follow its last client. `place`: the pool's own note of it, None for a server that no pool has.
    """

    ledger: Ledger
    prepared: PreparedOnServer
    parameters: dict[bytes, bytes]
    followed: tuple[tuple[str, tuple[str, ...]], ...]
    taint: int
    tenant_id: str | None
    place: object

    def write(self, data: bytes) -> None:
        """Send bytes."""
        raise NotImplementedError

    def unusable_because(self) -> str | None:
        """The first reason not to lend it again, from a small fixed set (it becomes a metric label); None = usable."""
        raise NotImplementedError

    def reset(self, level: int, done: Callable[[bool], None]) -> None:
        """Reset it (1 keeps plans, 2 is DISCARD ALL) within a deadline of its own, then call `done` exactly once, at once
        or later; False means that it must be closed."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """Close it; idempotent."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerUser:
    """Who holds a server connection: a client's connection, or a job of the proxy's own."""

    def server_data(self) -> None:
        """The ledger was fed."""
        raise NotImplementedError

    def server_lost(self, error: ServerLost) -> None:
        """The connection is gone; nothing more comes."""
        raise NotImplementedError

    def server_can_write(self, ready: bool) -> None:
        """Whether the server takes more bytes for now."""
        raise NotImplementedError
