"""A server connection that leads nowhere: what is written is kept, and a test says what PostgreSQL answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.net.links import Link
from proxy.server.connection import ServerConnection


class LinkToNowhere(Link):
    """Keeps what was written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """As above."""

    @property
    def unsent_bytes(self) -> int:
        return 0

    def set_reading(self, wanted: bool) -> None:
        """Nothing comes but by the test."""


def pretended_server(
    link: Link,
    parameters: Mapping[bytes, bytes],
    *,
    reset_timeout_s: float = 60.0,
    on_lost: Callable[[ServerConnection], None] = lambda _: None,
) -> ServerConnection:
    """A logged-in connection over `link`; cancels arrive."""

    async def cancel(_pid: int, _key: bytes) -> bool:
        return True

    server = ServerConnection(
        address="pretended",
        pid=1,
        key=b"key!",
        parameters=dict(parameters),
        opened_at=0.0,
        max_prepared_statements=10,
        reset_timeout_s=reset_timeout_s,
        cancel=cancel,
        on_lost=on_lost,
    )
    server.attach(link)
    return server
