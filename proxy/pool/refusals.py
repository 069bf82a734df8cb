"""What a client is told that gets no server: what happened, and which setting has to do with it."""

from __future__ import annotations

from proxy.errors import PoolFull, PoolTimeout, ShuttingDown
from proxy.pool.core import PoolCore
from proxy.pool.limits import PoolKey
from proxy.pool.slots import TenantLine


def shutting_down() -> ShuttingDown:
    """Gatehouse lends nothing any more."""
    return ShuttingDown("gatehouse is shutting down", hint="Connect again: another Gatehouse may be running by then.")


def queue_full(key: PoolKey, core: PoolCore) -> PoolFull:
    """`max_waiting` clients wait already."""
    return PoolFull(
        f'too many clients wait for a server connection for database "{key.database}" ({core.queue.waiting})',
        hint="Raise pool.max_waiting or pool.size, or open fewer connections in the application.",
    )


def wait_timed_out(key: PoolKey, core: PoolCore, line: TenantLine) -> PoolTimeout:
    """The first client of this line, still in the queue, has waited `wait_timeout_s`."""
    limits, waiting = core.limits, core.queue.waiting
    return PoolTimeout(
        f'no server connection for database "{key.database}" became free within {limits.wait_timeout_s:g} s '
        f"(pool size {limits.size}, {waiting} {'client' if waiting == 1 else 'clients'} waiting)",
        hint=f"{_remedy(key, core, line)} Shorter transactions help too.",
    )


def no_room(key: PoolKey, waited_s: float) -> PoolTimeout:
    """A pool's first server could not be opened for want of room in its cluster."""
    return PoolTimeout(
        f'no server connection for database "{key.database}" could be opened within {waited_s:g} s',
        hint=f'Raise max_connections of cluster "{key.cluster}" if PostgreSQL has connections to spare.',
    )


def _remedy(key: PoolKey, core: PoolCore, line: TenantLine) -> str:
    if not line.can_be_served():
        return f"The tenant has all its {line.used} connections in use: raise max_server_connections of its tier."
    if core.size < core.limits.size and not core.has_room():
        return f'Raise max_connections of cluster "{key.cluster}" if PostgreSQL has connections to spare.'
    return "Raise pool.size if PostgreSQL has connections to spare."
