"""One set of figures for several workers.

Sums, family by family, of what the workers counted. A counter never goes down: what a worker had counted when it was
last asked stays in the sums after its end, while what was there (clients, servers) is gone with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from proxy.admin.view import Check
from proxy.app.worker_link import Report
from proxy.observe.counters import TrafficStats
from proxy.observe.gauges import ClientCount, ConfigSnapshot, PoolSnapshot, RegistrySnapshot, WorkersSnapshot
from proxy.observe.metrics import Scrape
from proxy.observe.process_families import ProcessSnapshot

MAX_TENANT_LABELS: Final = 1000
STOPPING: Final = "running"
"""The check that a process which stops fails: of one worker it says nothing about the others."""

_POOL_GAUGES: Final = tuple(
    f.name for f in fields(PoolSnapshot) if f.name.startswith(("cl_", "sv_")) or f.name == "max_size"
)
_POOL_COUNTERS: Final = tuple(f.name for f in fields(PoolSnapshot) if f.name.endswith("_total"))
_CPU: Final = "process_cpu_seconds_total"
_START: Final = "process_start_time_seconds"


class Merger:
    """What the workers said last, by their numbers, and what those left behind that ended."""

    def __init__(self) -> None:
        self._reports: dict[int, Report] = {}
        self._gone: list[Scrape] = []
        self._gone_cpu_s = 0.0
        self._order: dict[tuple[str, str], None] = {}

    @property
    def reports(self) -> Mapping[int, Report]:
        """The last report of each worker that runs."""
        return self._reports

    def reported(self, index: int, report: Report) -> None:
        """A worker said how it is."""
        self._reports[index] = report
        self._order.update(dict.fromkeys(key for key, _ in report.scrape.tenants))

    def lost(self, index: int) -> None:
        """A worker ended."""
        report = self._reports.pop(index, None)
        if report is None:
            return
        self._gone_cpu_s += report.process.get(_CPU, 0.0)
        self._gone = [self._sum([*self._gone, _counters_of(report.scrape)], report.scrape.process.config)]

    def scrape(self, version: str, config: ConfigSnapshot, workers: WorkersSnapshot) -> Scrape:
        """The sums as of now; `config` is the supervisor's, for reloads are counted once."""
        scrapes = [*self._gone, *(report.scrape for report in self._reports.values())]
        merged = self._sum(scrapes, config)
        refused = any(not report.scrape.process.config.last_reload_ok for report in self._reports.values())
        config = replace(config, last_reload_ok=config.last_reload_ok and not refused)
        return replace(merged, process=replace(merged.process, version=version, config=config), workers=workers)

    def process_values(self, own: Mapping[str, float]) -> dict[str, float]:
        """`process_*` of the workers and the supervisor (`own`) together; started when the supervisor was."""
        total = dict(own)
        for report in self._reports.values():
            for name, value in report.process.items():
                total[name] = total.get(name, 0.0) + value
        if _CPU in total:
            total[_CPU] += self._gone_cpu_s
        return total | ({_START: own[_START]} if _START in own else {})

    def checks(self) -> list[Check]:
        """Each check that any worker passes is passed."""
        merged: dict[str, Check] = {}
        for report in self._reports.values():
            for check in report.checks:
                if check.name != STOPPING and (check.name not in merged or not merged[check.name].ok):
                    merged[check.name] = check
        return list(merged.values())

    def _sum(self, scrapes: Iterable[Scrape], config: ConfigSnapshot) -> Scrape:
        scrapes = list(scrapes)
        by_key = _tenants(scrape.tenants for scrape in scrapes)
        return Scrape(
            _process([scrape.process for scrape in scrapes], config),
            tuple(_pools(pool for scrape in scrapes for pool in scrape.pools)),
            tuple((key, by_key[key]) for key in self._order if key in by_key),
            MAX_TENANT_LABELS,
        )


def _process(parts: list[ProcessSnapshot], config: ConfigSnapshot) -> ProcessSnapshot:
    clients: Counter[tuple[str, Any]] = Counter()
    for part in parts:
        for entry in part.clients:
            clients[entry.tenant, entry.state] += entry.count
    return ProcessSnapshot(
        version="",
        connections_total=sum(part.connections_total for part in parts),
        logins_total=sum(part.logins_total for part in parts),
        cancels_total=sum(part.cancels_total for part in parts),
        received_bytes=sum(part.received_bytes for part in parts),
        sent_bytes=sum(part.sent_bytes for part in parts),
        login_refused=_added(part.login_refused for part in parts),
        guard_refusals=_added(part.guard_refusals for part in parts),
        errors=_added(part.errors for part in parts),
        timeouts=_added(part.timeouts for part in parts),
        clients=tuple(ClientCount(tenant, state, count) for (tenant, state), count in clients.items()),
        registry=_registry([part.registry for part in parts]),
        config=config,
    )


def _registry(parts: list[RegistrySnapshot]) -> RegistrySnapshot:
    """All workers have the same tenants; lookups are each one's own."""
    return RegistrySnapshot(
        hits=sum(part.hits for part in parts),
        misses=sum(part.misses for part in parts),
        negative_hits=sum(part.negative_hits for part in parts),
        stale_served=sum(part.stale_served for part in parts),
        errors=sum(part.errors for part in parts),
        tenants=max((part.tenants for part in parts), default=0),
    )


def _pools(parts: Iterable[PoolSnapshot]) -> Iterator[PoolSnapshot]:
    same: dict[tuple[str, str, str, str], list[PoolSnapshot]] = {}
    for pool in parts:
        same.setdefault((pool.cluster, pool.database, pool.user, pool.mode), []).append(pool)
    for key, pools in same.items():
        sums = {name: sum(getattr(pool, name) for pool in pools) for name in (*_POOL_GAUGES, *_POOL_COUNTERS)}
        yield PoolSnapshot(
            *key,
            **sums,
            maxwait_seconds=max(pool.maxwait_seconds for pool in pools),
            closed=_added(pool.closed for pool in pools),
        )


def _tenants(
    parts: Iterable[tuple[tuple[tuple[str, str], TrafficStats], ...]],
) -> dict[tuple[str, str], TrafficStats]:
    same: dict[tuple[str, str], list[TrafficStats]] = {}
    for part in parts:
        for key, stats in part:
            same.setdefault(key, []).append(stats)
    return {key: _traffic(key[1], stats) for key, stats in same.items()}


def _traffic(placement: str, parts: list[TrafficStats]) -> TrafficStats:
    total = TrafficStats(placement)
    for part in parts:
        total.add(part)
    return total


def _added(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def _counters_of(scrape: Scrape) -> Scrape:
    """What stays of a worker that ended."""
    nothing: dict[str, Any] = dict.fromkeys(_POOL_GAUGES, 0) | {"maxwait_seconds": 0.0}
    process = replace(scrape.process, clients=(), registry=replace(scrape.process.registry, tenants=0))
    return replace(scrape, process=process, pools=tuple(replace(pool, **nothing) for pool in scrape.pools))
