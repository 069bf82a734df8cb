"""What the session core needs of the world: a server to speak to and a sink that performs its decisions."""

from __future__ import annotations

from collections.abc import Callable

from mypy_extensions import mypyc_attr

from proxy.errors import ProxyError
from proxy.server.ports import ServerPort, ServerUser


@mypyc_attr(allow_interpreted_subclasses=True)
class SessionSink(ServerUser):
    """Performs what the session decides."""

    def to_client(self, data: bytes) -> None:
        """Send bytes to the client."""
        raise NotImplementedError

    def acquire(self) -> ServerPort | None:
        """A server for one transaction: now, or None and later `granted` or `refused`.

        Raises ProxyError when the tenant may not have one.
        """
        raise NotImplementedError

    def release(self, server: ServerPort) -> None:
        """The session is done with the server."""
        raise NotImplementedError

    def hang_up(self, error: ProxyError | None) -> None:
        """Send the error, if any, and end the connection."""
        raise NotImplementedError

    def report(self, error: ProxyError) -> None:
        """Log an error that operators must know of."""
        raise NotImplementedError

    def cancel_now(self) -> None:
        """A cancel that was held back may go to the server now."""
        raise NotImplementedError

    def watch(self) -> None:
        """Something with a time limit begins: look after it until nothing is under way, then clear `is_watched`."""
        raise NotImplementedError

    def claim_pin(self) -> bool:
        """Whether the tenant may keep one more server for session state."""
        raise NotImplementedError

    def unpin(self) -> None:
        """The session state is gone."""
        raise NotImplementedError


Clock = Callable[[], float]
"""Monotonic seconds. Not the loop's own time, which stands still within a turn and counts milliseconds: a query is shorter."""
