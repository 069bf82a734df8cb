"""What the pool asks of those who want servers, and of time. Servers are `ServerPort`s; both are dictionary keys: they hash
by identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy.errors import ProxyError
from proxy.server.ports import ServerPort


class Waiter(Protocol):
    """A client session that wants one server. It waits in one pool at most."""

    @property
    def tenant_id(self) -> str:
        """The tenant it speaks for; constant while it waits or holds a server."""
        ...

    @property
    def max_servers(self) -> int:
        """How many servers of this pool its tenant may use at a time; 0 = no limit of its own."""
        ...

    def granted(self, server: ServerPort) -> None:
        """The server is this session's until it releases or discards it. Never called inside `acquire`."""
        ...

    def refused(self, error: ProxyError) -> None:
        """It will get no server; it no longer waits. Never called inside `acquire`."""
        ...

    def still_waiting(self, waited_s: float) -> None:
        """It has waited `query_wait_notify_s` and goes on waiting; called once."""
        ...


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None:
        """Do not call."""
        ...


CallLater = Callable[[float, Callable[[], None]], Timer]
"""`loop.call_later`: seconds, callback."""
