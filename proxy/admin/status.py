"""The state of the proxy in one document: what `/status.json` says and the status page draws.

Pure: made from a scrape, the readiness checks and the clock's reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Final

from proxy.admin.rates import Key, Rates, RateWindow, Traffic
from proxy.admin.view import Check
from proxy.observe.gauges import ConfigSnapshot, PoolSnapshot, RegistrySnapshot
from proxy.observe.metrics import Scrape

TOP_TENANTS: Final = 25
TOP_POOLS: Final = 50

_MAX_PROBLEMS: Final = 20
_LONG_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant in its placement."""

    tenant: str
    placement: str
    clients: Mapping[str, int]
    total: Traffic
    rates: Rates | None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that somebody should look at; `is_severe` if clients suffer now."""

    text: str
    is_severe: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The whole document. Times are Unix seconds."""

    version: str
    started_at: float
    now: float
    ready: bool
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    config: ConfigSnapshot
    registry: RegistrySnapshot
    clients: Mapping[str, float]
    servers: Mapping[str, int]
    maxwait_seconds: float
    total: Traffic
    rates: Rates | None
    pools: tuple[PoolSnapshot, ...]
    pools_total: int
    tenants: tuple[TenantRow, ...]
    tenants_total: int
    connections_total: int
    logins_total: int
    cancels_total: int
    logins_refused: Mapping[str, int]
    guard_refusals: Mapping[str, int]
    errors: Mapping[str, int]
    timeouts: Mapping[str, int]

    @property
    def uptime_seconds(self) -> float:
        """How long the process has run."""
        return max(0.0, self.now - self.started_at)

    def as_json(self) -> dict[str, object]:
        """For `/status.json`: plain dicts, lists, strings and numbers."""
        names = [name for name in Status.__slots__ if name != "pools"]
        document: dict[str, object] = {name: _plain(getattr(self, name)) for name in names}
        pools = [
            {name: _plain(getattr(pool, name)) for name in pool.__slots__ if name != "traffic"} for pool in self.pools
        ]
        return document | {"pools": pools, "uptime_seconds": self.uptime_seconds}


def is_ready(checks: Iterable[Check]) -> bool:
    """Whether all required checks pass."""
    return all(check.ok for check in checks if check.required)


def status_of(
    scrape: Scrape, checks: list[Check], window: RateWindow, *, started_at: float, now: float, monotonic: float
) -> Status:
    """The document as of now; reads every tenant's counters, so better in a thread."""
    counters = {key: Traffic.of(stats) for key, stats in scrape.tenants}
    moved = window.since(monotonic, counters)
    total = Traffic.total(counters.values())
    rates = Rates.of(Traffic.total(moved[1].values()), moved[0]) if moved else None
    process = scrape.process
    pools = sorted(
        scrape.pools, key=lambda pool: (-pool.cl_waiting, -pool.sv_active, pool.database, pool.user, pool.mode)
    )
    problems = sorted(_problems(checks, process.config, pools), key=lambda problem: not problem.is_severe)
    return Status(
        version=process.version,
        started_at=started_at,
        now=now,
        ready=is_ready(checks),
        checks=tuple(checks),
        problems=tuple(problems[:_MAX_PROBLEMS]),
        config=process.config,
        registry=process.registry,
        clients=process.clients_by_state(),
        servers=_servers(pools),
        maxwait_seconds=max((pool.maxwait_seconds for pool in pools if pool.cl_waiting), default=0.0),
        total=total,
        rates=rates,
        pools=tuple(pools[:TOP_POOLS]),
        pools_total=len(pools),
        tenants=tuple(_rows(scrape, counters, moved)),
        tenants_total=len({tenant for tenant, _ in counters}),
        connections_total=process.connections_total,
        logins_total=process.logins_total,
        cancels_total=process.cancels_total,
        logins_refused=process.login_refused,
        guard_refusals=process.guard_refusals,
        errors={kind: count for kind, count in process.errors.items() if count},
        timeouts={limit: count for limit, count in process.timeouts.items() if count},
    )


def _rows(
    scrape: Scrape, counters: Mapping[Key, Traffic], moved: tuple[float, Mapping[Key, Traffic]] | None
) -> Iterable[TenantRow]:
    """The busiest tenants: by what they did lately, then by what they did in all."""
    recent = moved[1] if moved else {}
    busiest = nlargest(
        TOP_TENANTS, counters, key=lambda key: (recent.get(key, Traffic()).queries, counters[key].queries)
    )
    shown = {tenant for tenant, _ in busiest}
    clients: dict[str, dict[str, int]] = {}
    for entry in scrape.process.clients:
        if entry.tenant in shown:
            states = clients.setdefault(entry.tenant, {})
            states[entry.state] = states.get(entry.state, 0) + entry.count
    for key in busiest:
        rates = Rates.of(moved[1][key], moved[0]) if moved else None
        yield TenantRow(*key, clients.get(key[0], {}), counters[key], rates)


def _problems(checks: list[Check], config: ConfigSnapshot, pools: list[PoolSnapshot]) -> Iterable[Problem]:
    for check in checks:
        if not check.ok:
            yield Problem(f"{check.name}: {check.detail or 'failed'}", is_severe=check.required)
    if not config.last_reload_ok:
        yield Problem(
            "The last reload was refused; the configuration before it is in force. The log has the reasons.", False
        )
    for pool in pools:
        if pool.cl_waiting:
            yield Problem(_waiting(pool), is_severe=pool.maxwait_seconds >= _LONG_WAIT_S)


def _servers(pools: list[PoolSnapshot]) -> dict[str, int]:
    return {
        "active": sum(pool.sv_active for pool in pools),
        "idle": sum(pool.sv_idle for pool in pools),
        "busy": sum(pool.sv_used + pool.sv_login + pool.sv_recovering for pool in pools),
    }


def _waiting(pool: PoolSnapshot) -> str:
    clients = "1 client waits" if pool.cl_waiting == 1 else f"{pool.cl_waiting} clients wait"
    servers = f"{pool.sv_active} of {pool.max_size} servers are lent"
    name = f"{pool.database} on {pool.cluster}" + ("" if pool.mode == "transaction" else f" in {pool.mode} mode")
    return f"{clients} for a server of {name}, the longest for {pool.maxwait_seconds:.1f} s; {servers}."


def _plain(value: object) -> object:
    match value:
        case Traffic():
            return value._asdict()
        case Mapping():
            return dict(value)
        case tuple():
            return [_plain(item) for item in value]
        case Check() | Problem() | Rates() | TenantRow() | ConfigSnapshot() | RegistrySnapshot():
            return {name: _plain(getattr(value, name)) for name in value.__slots__}
        case _:
            return value
