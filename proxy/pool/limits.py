"""What a pool is called and what it may do."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.tenants.model import PoolMode


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What servers of one pool share: the login, and how long clients keep them.

    `mode` is TRANSACTION or SESSION: a server that clients keep for a session is not mixed with others. Statement mode
    is transaction mode to a pool.
    """

    cluster: str
    database: str
    user: str
    mode: PoolMode = PoolMode.TRANSACTION


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Settings of one pool. 0 switches a time or a maximum off, except `size`."""

    size: int = 20
    """The most servers of the pool."""

    min_size: int = 0
    """Servers kept open once the pool is in use; opened in the background."""

    wait_timeout_s: float = 15.0
    """How long a client waits for a server before PoolTimeout."""

    max_waiting: int = 0
    """How many clients may wait; one more gets PoolFull."""

    idle_timeout_s: float = 30.0
    """An idle server is closed after this long, down to `min_size`."""

    lifetime_s: float = 3600.0
    """A server is not lent again when it is older than this."""

    lifetime_jitter: float = 0.1
    """Each server lives shorter by a random part of up to this share, so that not all are replaced at once."""

    query_wait_notify_s: float = 5.0
    """A waiting client is told after this long."""

    trusted: bool = False
    """Servers go from one tenant to another without a reset, unless tainted."""

    max_connections: int = 0
    """The most servers of all pools of the cluster together."""
