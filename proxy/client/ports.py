"""What the session core needs of the world: a server to speak to and a sink that performs its decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.errors import ProxyError
from proxy.server.ledger import Ledger
from proxy.server.prepared import PreparedOnServer


class ServerPort(Protocol):
    """A server connection as the session that holds it sees it."""

    ledger: Ledger
    prepared: PreparedOnServer
    parameters: dict[bytes, bytes]
    followed: tuple[tuple[str, tuple[str, ...]], ...]
    taint: int
    tenant_id: str | None

    def write(self, data: bytes) -> None: ...


class SessionSink(Protocol):
    """Performs what the session decides."""

    def to_client(self, data: bytes) -> None:
        """Send bytes to the client."""

    def acquire(self) -> ServerPort | None:
        """A server for one transaction: now, or None and later `granted` or `refused`.

        Raises ProxyError when the tenant may not have one.
        """

    def release(self, server: ServerPort) -> None:
        """The session is done with the server."""

    def hang_up(self, error: ProxyError | None) -> None:
        """Send the error, if any, and end the connection."""

    def report(self, error: ProxyError) -> None:
        """Log an error that operators must know of."""

    def cancel_now(self) -> None:
        """A cancel that was held back may go to the server now."""

    def watch(self) -> None:
        """Something with a time limit begins: look after it until nothing is under way, then clear `is_watched`."""

    def claim_pin(self) -> bool:
        """Whether the tenant may keep one more server for session state."""

    def unpin(self) -> None:
        """The session state is gone."""


Clock = Callable[[], float]
