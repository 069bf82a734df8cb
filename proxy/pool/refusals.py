"""What a client is told that gets no server: what happened, and which setting has to do with it."""

from __future__ import annotations

from proxy.errors import PoolFull, PoolTimeout, ShuttingDown
from proxy.pool.core import PoolCore
from proxy.pool.limits import PoolKey
from proxy.pool.slots import TenantLine
from proxy.tenants.model import PoolMode


def shutting_down() -> ShuttingDown:
    """Gatehouse lends nothing any more."""
    return ShuttingDown("gatehouse is shutting down", hint="Connect again: another Gatehouse may be running by then.")


def queue_full(key: PoolKey, core: PoolCore) -> PoolFull:
    """`max_waiting` clients wait already."""
    return PoolFull(
        f'too many clients wait for a server connection for database "{key.database}" ({core.queue.waiting})',
        hint=f"Raise pool.max_waiting or {_size(key)}, or open fewer connections in the application.",
    )


def wait_timed_out(key: PoolKey, core: PoolCore, line: TenantLine, limit_s: float) -> PoolTimeout:
    """A client of this line, still in the queue, has waited `limit_s`."""
    limits, waiting = core.limits, core.queue.waiting
    return PoolTimeout(
        f'no server connection for database "{key.database}" became free within {limit_s:g} s '
        f"(pool size {limits.size}, {waiting} {'client' if waiting == 1 else 'clients'} waiting)",
        hint=f"{_remedy(key, core, line)} {_habit(key)}",
    )


def _habit(key: PoolKey) -> str:
    if key.mode is PoolMode.SESSION:
        return "In session mode each client keeps its server until it disconnects."
    return "Shorter transactions help too."


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
    return f"Raise {_size(key)} if PostgreSQL has connections to spare."


def _size(key: PoolKey) -> str:
    return "pool.session_size" if key.mode is PoolMode.SESSION else "pool.size"
