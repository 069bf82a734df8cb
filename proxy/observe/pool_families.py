"""The metric families of pools, in PgBouncer's terms where these mean the same."""

from __future__ import annotations

from typing import Final

from proxy.observe.family import Family, FamilyType
from proxy.observe.gauges import PoolSnapshot

_C, _G = FamilyType.COUNTER, FamilyType.GAUGE
_POOL = ("cluster", "database", "user", "mode")

POOLS: Final[tuple[Family[PoolSnapshot], ...]] = (
    Family(
        "gatehouse_pools_client_active_connections",
        _G,
        _POOL,
        "Clients that hold a server connection of the pool.",
        lambda pool: pool.cl_active,
        "pools.cl_active",
    ),
    Family(
        "gatehouse_pools_client_waiting_connections",
        _G,
        _POOL,
        "Clients that wait for a server connection of the pool.",
        lambda pool: pool.cl_waiting,
        "pools.cl_waiting",
    ),
    Family(
        "gatehouse_pools_client_maxwait_seconds",
        _G,
        _POOL,
        "How long the client that waits longest has waited.",
        lambda pool: pool.maxwait_seconds,
        "pools.maxwait",
    ),
    Family(
        "gatehouse_pools_server_active_connections",
        _G,
        _POOL,
        "Server connections lent to a client.",
        lambda pool: pool.sv_active,
        "pools.sv_active",
    ),
    Family(
        "gatehouse_pools_server_idle_connections",
        _G,
        _POOL,
        "Server connections that can be lent at once.",
        lambda pool: pool.sv_idle,
        "pools.sv_idle",
    ),
    Family(
        "gatehouse_pools_server_used_connections",
        _G,
        _POOL,
        "Server connections that need or run a reset before they can be lent.",
        lambda pool: pool.sv_used,
        "pools.sv_used",
    ),
    Family(
        "gatehouse_pools_server_login_connections",
        _G,
        _POOL,
        "Server connections that are logging in.",
        lambda pool: pool.sv_login,
        "pools.sv_login",
    ),
    Family(
        "gatehouse_pools_server_recovering_connections",
        _G,
        _POOL,
        "Server connections that end the transaction of a client that left.",
        lambda pool: pool.sv_recovering,
    ),
    Family(
        "gatehouse_pools_server_pinned_connections",
        _G,
        _POOL,
        "Server connections tied to one client beyond its transaction; also counted as active.",
        lambda pool: pool.sv_pinned,
    ),
    Family(
        "gatehouse_databases_pool_size",
        _G,
        _POOL,
        "The most server connections the pool may open.",
        lambda pool: pool.max_size,
        "databases.pool_size",
    ),
    Family(
        "gatehouse_pools_waits_total",
        _C,
        _POOL,
        "Times a client had to wait for a server connection.",
        lambda pool: pool.waits_total,
    ),
    Family(
        "gatehouse_pools_wait_timeouts_total",
        _C,
        _POOL,
        "Waits that ended because no server connection became free in time.",
        lambda pool: pool.wait_timeouts_total,
    ),
    Family(
        "gatehouse_pools_refused_total",
        _C,
        _POOL,
        "Clients refused without a server: queue full, shutting down, or none could be opened.",
        lambda pool: pool.refused_total,
    ),
    Family(
        "gatehouse_pools_server_opened_total",
        _C,
        _POOL,
        "Server connections opened.",
        lambda pool: pool.opened_total,
    ),
    Family(
        "gatehouse_pools_server_closed_total",
        _C,
        (*_POOL, "reason"),
        "Server connections closed, by reason.",
        lambda pool: pool.closed,
    ),
    Family(
        "gatehouse_pools_server_resets_total",
        _C,
        _POOL,
        "Resets run on server connections before they were lent again.",
        lambda pool: pool.resets_total,
    ),
    Family(
        "gatehouse_pools_server_reset_failures_total",
        _C,
        _POOL,
        "Resets that failed or timed out; the server connection was closed.",
        lambda pool: pool.reset_failures_total,
    ),
    Family(
        "gatehouse_pools_server_connect_errors_total",
        _C,
        _POOL,
        "Server connections that could not be opened: unreachable, or the login was refused.",
        lambda pool: pool.connect_errors_total,
    ),
)
"""Read from every pool."""
