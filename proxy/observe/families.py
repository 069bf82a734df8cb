"""Every metric family: its name, labels, help text, and where its value is read.

The one table behind `/metrics` and `docs/metrics.md`. Suffixes are those of the PgBouncer exporter where the meaning is
the same, with `gatehouse_` in front, so that its dashboards need one replacement; `pgbouncer` names the column meant.
Knows no Prometheus library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

from proxy.observe.counters import HistogramSnapshot, TrafficStats
from proxy.observe.gauges import (
    CLIENT_STATES,
    ClientCount,
    ConfigSnapshot,
    PoolSnapshot,
    RegistrySnapshot,
    WorkersSnapshot,
)

OTHER_TENANTS: Final = "__other__"
"""The tenant label that sums up tenants beyond `max_tenant_labels`."""

Value = float | Mapping[str, float] | HistogramSnapshot
"""A mapping gives one sample per value of the family's last label."""


class FamilyType(StrEnum):
    """Prometheus' type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """What a scrape reads that belongs to no pool and no tenant."""

    version: str
    connections_total: int
    logins_total: int
    cancels_total: int
    received_bytes: int
    sent_bytes: int
    login_refused: Mapping[str, int]
    guard_refusals: Mapping[str, int]
    errors: Mapping[str, int]
    timeouts: Mapping[str, int]
    clients: tuple[ClientCount, ...]
    registry: RegistrySnapshot
    config: ConfigSnapshot

    def clients_by_state(self) -> dict[str, float]:
        """All clients, by state; every state is there, if with 0."""
        counts: dict[str, float] = dict.fromkeys(CLIENT_STATES, 0)
        for entry in self.clients:
            counts[entry.state] += entry.count
        return counts


Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Family(Generic[Owner]):
    """One metric family; `name` is as in the text format, with the unit and `_total` that Prometheus asks for."""

    name: str
    type: FamilyType
    labels: tuple[str, ...]
    help: str
    read: Callable[[Owner], Value]
    pgbouncer: str = ""


_C, _G, _H = FamilyType.COUNTER, FamilyType.GAUGE, FamilyType.HISTOGRAM
_POOL = ("cluster", "database", "user", "mode")
_TENANT = ("tenant", "placement")

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

POOL_TRAFFIC: Final[tuple[Family[TrafficStats], ...]] = (
    Family(
        "gatehouse_stats_queries_pooled_total",
        _C,
        _POOL,
        "Queries that went through the pool.",
        lambda traffic: traffic.queries,
        "stats.total_query_count",
    ),
    Family(
        "gatehouse_stats_sql_transactions_pooled_total",
        _C,
        _POOL,
        "Transactions that went through the pool.",
        lambda traffic: traffic.transactions,
        "stats.total_xact_count",
    ),
    Family(
        "gatehouse_stats_queries_duration_seconds_total",
        _C,
        _POOL,
        "Time servers of the pool spent on queries.",
        lambda traffic: traffic.query_seconds.sum,
        "stats.total_query_time",
    ),
    Family(
        "gatehouse_stats_server_in_transaction_seconds_total",
        _C,
        _POOL,
        "Time servers of the pool were lent, idle in transaction included.",
        lambda traffic: traffic.transaction_seconds,
        "stats.total_xact_time",
    ),
    Family(
        "gatehouse_stats_client_wait_seconds_total",
        _C,
        _POOL,
        "Time clients waited for a server of the pool.",
        lambda traffic: traffic.wait_seconds.sum,
        "stats.total_wait_time",
    ),
    Family(
        "gatehouse_stats_received_bytes_total",
        _C,
        _POOL,
        "Bytes received from clients of the pool.",
        lambda traffic: traffic.received_bytes,
        "stats.total_received",
    ),
    Family(
        "gatehouse_stats_sent_bytes_total",
        _C,
        _POOL,
        "Bytes sent to clients of the pool.",
        lambda traffic: traffic.sent_bytes,
        "stats.total_sent",
    ),
)
"""Read from the pools that count their traffic."""

TENANTS: Final[tuple[Family[TrafficStats], ...]] = (
    Family(
        "gatehouse_tenant_queries_total",
        _C,
        _TENANT,
        "Queries of the tenant's clients.",
        lambda traffic: traffic.queries,
    ),
    Family(
        "gatehouse_tenant_transactions_total",
        _C,
        _TENANT,
        "Transactions of the tenant's clients.",
        lambda traffic: traffic.transactions,
    ),
    Family(
        "gatehouse_tenant_received_bytes_total",
        _C,
        _TENANT,
        "Bytes received from the tenant's clients.",
        lambda traffic: traffic.received_bytes,
    ),
    Family(
        "gatehouse_tenant_sent_bytes_total",
        _C,
        _TENANT,
        "Bytes sent to the tenant's clients.",
        lambda traffic: traffic.sent_bytes,
    ),
    Family(
        "gatehouse_tenant_server_in_transaction_seconds_total",
        _C,
        _TENANT,
        "Time servers were lent to the tenant, idle in transaction included.",
        lambda traffic: traffic.transaction_seconds,
    ),
    Family(
        "gatehouse_tenant_query_seconds",
        _H,
        _TENANT,
        "Time from a query's bytes to the server until it was ready again.",
        lambda traffic: traffic.query_seconds.snapshot(),
    ),
    Family(
        "gatehouse_tenant_wait_seconds",
        _H,
        _TENANT,
        "Time clients waited for a server; those served at once are not counted.",
        lambda traffic: traffic.wait_seconds.snapshot(),
    ),
    Family(
        "gatehouse_context_injections_total",
        _C,
        _TENANT,
        "Times the tenant's settings were put in front of client bytes.",
        lambda traffic: traffic.context_injections,
    ),
    Family(
        "gatehouse_tenant_server_errors_total",
        _C,
        _TENANT,
        "Errors that PostgreSQL reported to the tenant's clients.",
        lambda traffic: traffic.errors,
    ),
    Family(
        "gatehouse_tenant_pins_total",
        _C,
        _TENANT,
        "Times a server was tied to a client of the tenant beyond its transaction.",
        lambda traffic: traffic.pins,
    ),
)
"""Read from every tenant, once per placement it had."""

TENANT_CLIENTS: Final[Family[Mapping[str, float]]] = Family(
    "gatehouse_tenant_clients",
    _G,
    ("tenant", "state"),
    "Clients of the tenant: active (hold a server), waiting for one, or idle.",
    lambda by_state: by_state,
)
"""Read from each tenant's clients by state."""

PROCESS: Final[tuple[Family[ProcessSnapshot], ...]] = (
    Family(
        "gatehouse_build_info",
        _G,
        ("version",),
        "Always 1; the label names the running version.",
        lambda process: {process.version: 1},
    ),
    Family(
        "gatehouse_clients",
        _G,
        ("state",),
        "Clients: active (hold a server), waiting for one, idle, or in login.",
        lambda process: process.clients_by_state(),
    ),
    Family(
        "gatehouse_client_connections_total",
        _C,
        (),
        "Client connections accepted.",
        lambda process: process.connections_total,
    ),
    Family("gatehouse_logins_total", _C, (), "Logins that succeeded.", lambda process: process.logins_total),
    Family(
        "gatehouse_logins_refused_total",
        _C,
        ("reason",),
        "Logins that failed, by reason.",
        lambda process: process.login_refused,
    ),
    Family(
        "gatehouse_login_received_bytes_total",
        _C,
        (),
        "Bytes received from clients before their tenant was known.",
        lambda process: process.received_bytes,
    ),
    Family(
        "gatehouse_login_sent_bytes_total",
        _C,
        (),
        "Bytes sent to clients before their tenant was known.",
        lambda process: process.sent_bytes,
    ),
    Family(
        "gatehouse_errors_total",
        _C,
        ("kind",),
        "Errors that Gatehouse reported in its own name, by kind.",
        lambda process: process.errors,
    ),
    Family(
        "gatehouse_guard_refusals_total",
        _C,
        ("reason",),
        "Statements refused because they would change the tenant's context or need a session, by reason.",
        lambda process: process.guard_refusals,
    ),
    Family(
        "gatehouse_client_timeouts_total",
        _C,
        ("timeout",),
        "Time limits that clients went over: query (cancelled), query_unanswered (and did not end), transaction, "
        "idle_in_transaction, pin, idle.",
        lambda process: process.timeouts,
    ),
    Family("gatehouse_cancels_total", _C, (), "Cancel requests received.", lambda process: process.cancels_total),
    Family(
        "gatehouse_registry_tenants",
        _G,
        (),
        "Tenants the registry holds.",
        lambda process: process.registry.tenants,
    ),
    Family(
        "gatehouse_registry_lookups_total",
        _C,
        ("result",),
        "Tenant lookups by result; stale: served past its time because the source failed.",
        lambda process: {
            "hit": process.registry.hits,
            "miss": process.registry.misses,
            "negative": process.registry.negative_hits,
            "stale": process.registry.stale_served,
        },
    ),
    Family(
        "gatehouse_registry_errors_total",
        _C,
        (),
        "Times the registry's source could not be read.",
        lambda process: process.registry.errors,
    ),
    Family(
        "gatehouse_config_last_load_timestamp_seconds",
        _G,
        (),
        "Unix time at which the configuration in force was loaded.",
        lambda process: process.config.loaded_at,
    ),
    Family(
        "gatehouse_config_last_reload_successful",
        _G,
        (),
        "1 if the last reload was taken, 0 if it was refused and the old configuration stays.",
        lambda process: int(process.config.last_reload_ok),
    ),
    Family(
        "gatehouse_config_reloads_total",
        _C,
        ("result",),
        "Reloads of the configuration, by result.",
        lambda process: {"failed": process.config.reloads_failed, "ok": process.config.reloads_ok},
    ),
)
"""Read once."""

WORKERS: Final[tuple[Family[WorkersSnapshot], ...]] = (
    Family(
        "gatehouse_workers",
        _G,
        ("state",),
        "Processes by state: starting, ready, stopping, or waiting to be started again.",
        lambda workers: workers.states,
    ),
    Family(
        "gatehouse_worker_restarts_total",
        _C,
        ("worker",),
        "Times a process ended without being told to, and was started again.",
        lambda workers: workers.restarts,
    ),
    Family(
        "gatehouse_worker_client_connections_total",
        _C,
        ("worker",),
        "Connections accepted by the process that runs now.",
        lambda workers: workers.connections,
    ),
    Family(
        "gatehouse_worker_clients",
        _G,
        ("worker",),
        "Clients of the process.",
        lambda workers: workers.clients,
    ),
)
"""For several processes only."""

FAMILIES: Final[tuple[Family[Any], ...]] = (*PROCESS, *POOLS, *POOL_TRAFFIC, *TENANTS, TENANT_CLIENTS, *WORKERS)
"""All of them, in the order in which they are exposed."""
