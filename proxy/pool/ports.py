"""What the pool asks of the two parties it brings together, and of time.

The pool knows nothing of either beyond these few members. Both are dictionary keys: they hash by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.errors import ProxyError


class PooledServer(Protocol):
    """A server connection that is logged in. The pool alone writes `tenant_id`, and clears `taint` after a reset."""

    tenant_id: str | None
    """Whom it works for, or last worked for; None = fresh or reset."""

    taint: int
    """What it needs before anyone else gets it: 0 nothing, 1 a reset that keeps plans, 2 DISCARD ALL."""

    @property
    def parameters(self) -> Mapping[bytes, bytes]:
        """ParameterStatus as PostgreSQL reported it at login."""
        ...

    def unusable_because(self) -> str | None:
        """The first reason not to lend it again, from a small fixed set (it becomes a metric label); None = usable."""
        ...

    def reset(self, level: int, done: Callable[[bool], None]) -> None:
        """Reset it (1 keeps plans, 2 is DISCARD ALL) within a deadline of its own, then call `done` exactly once,
        at once or later; False means that it must be closed."""
        ...

    def close(self, reason: str) -> None:
        """Close it; idempotent."""
        ...


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

    def granted(self, server: PooledServer) -> None:
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
