"""What a scrape asks the rest of the process: counts of things that are there now.

The owners (pools, listener, registry, configuration) answer through `GaugeSource` with snapshots; each call is made on
the event loop and must be cheap. Nothing here knows Prometheus, so the data path may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

ClientState = Literal["active", "waiting", "idle", "login"]
CLIENT_STATES: tuple[ClientState, ...] = ("active", "waiting", "idle", "login")


@dataclass(slots=True)
class ClientCount:
    """How many clients of a tenant are in a state; `tenant` is empty while it is not known (`login`).

    States that count 0 may be left out. Not frozen: a scrape makes one per tenant and state, on the event loop.
    """

    tenant: str
    state: ClientState
    count: int


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """One pool: PgBouncer's `SHOW POOLS` columns where they mean the same, and its counters since start.

    Clients: `cl_active` hold a server, `cl_waiting` wait for one. Servers: `sv_active` are lent, `sv_idle` can be lent,
    `sv_used` need or run a reset, `sv_login` are logging in, `sv_recovering` end the transaction of a client that left,
    `sv_pinned` (also counted in `sv_active`) are tied to one client. `closed` counts closed servers by reason;
    `traffic` is what went through the pool, if counted. `mode`: for how long its clients keep a server, `transaction` or
    `session`.
    """

    cluster: str
    database: str
    user: str
    mode: str = "transaction"
    cl_active: int = 0
    cl_waiting: int = 0
    sv_active: int = 0
    sv_idle: int = 0
    sv_used: int = 0
    sv_login: int = 0
    sv_recovering: int = 0
    sv_pinned: int = 0
    max_size: int = 0
    maxwait_seconds: float = 0.0
    waits_total: int = 0
    wait_timeouts_total: int = 0
    refused_total: int = 0
    opened_total: int = 0
    closed: Mapping[str, int] = field(default_factory=dict)
    resets_total: int = 0
    reset_failures_total: int = 0
    connect_errors_total: int = 0


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """The tenant registry's cache: how lookups ended, and how many tenants it holds."""

    hits: int = 0
    misses: int = 0
    negative_hits: int = 0
    stale_served: int = 0
    errors: int = 0
    tenants: int = 0


@dataclass(frozen=True, slots=True)
class ConfigSnapshot:
    """The configuration in force: `loaded_at` in Unix seconds, and how reloads ended."""

    loaded_at: float
    last_reload_ok: bool = True
    reloads_ok: int = 0
    reloads_failed: int = 0


@dataclass(frozen=True, slots=True)
class WorkersSnapshot:
    """The processes that share the ports: how many are in a state, and of each, by its number, what it did.

    `connections` and `clients` are those of the process that runs now; one that was replaced took its own along.
    """

    states: Mapping[str, int]
    restarts: Mapping[str, int]
    connections: Mapping[str, int]
    clients: Mapping[str, int]


class GaugeSource(Protocol):
    """Where a scrape learns what is there now; called on the event loop."""

    def clients(self) -> Iterable[ClientCount]:
        """Clients by tenant and state."""
        ...

    def pools(self) -> Iterable[PoolSnapshot]:
        """Every pool."""
        ...

    def registry(self) -> RegistrySnapshot:
        """The tenant registry's cache."""
        ...

    def config(self) -> ConfigSnapshot:
        """The configuration in force."""
        ...
