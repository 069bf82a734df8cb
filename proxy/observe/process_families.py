"""The metric families that belong to no pool and no tenant: a process's own, and those of workers that share the ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxy.observe.family import Family, FamilyType
from proxy.observe.gauges import CLIENT_STATES, ClientCount, ConfigSnapshot, RegistrySnapshot, WorkersSnapshot

_C, _G = FamilyType.COUNTER, FamilyType.GAUGE


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
        "Processes by state: starting, ready, stopping, or restarting (ended, and about to be started again).",
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
