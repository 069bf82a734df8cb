"""From counters to Prometheus' text: a scrape in two steps.

`GatehouseCollector.snapshot()` runs on the event loop and only gathers references and the owners' gauges; `render()`
does the slow part and belongs in a thread. There it gives way to the event loop every few samples, for both need the
interpreter's lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from proxy.observe.counters import HistogramSnapshot, ProxyStats, TrafficStats
from proxy.observe.families import POOLS, PROCESS, TENANT_CLIENTS, TENANTS, WORKERS
from proxy.observe.family import Family, FamilyType, Owner, Value
from proxy.observe.gauges import (
    ClientCount,
    ClientState,
    ConfigSnapshot,
    GaugeSource,
    PoolSnapshot,
    RegistrySnapshot,
    WorkersSnapshot,
)
from proxy.observe.process_families import ProcessSnapshot
from proxy.observe.tenant_families import OTHER_TENANTS

__all__ = [
    "ClientCount",
    "ClientState",
    "ConfigSnapshot",
    "GatehouseCollector",
    "GaugeSource",
    "PoolSnapshot",
    "RegistrySnapshot",
    "Scrape",
    "render",
]

# With 1,000 tenants (38,000 lines, 0.3 s) the loop woke 5 ms late while a thread rendered without pauses, 0.05 ms late
# with these (medians); the scrape took half as long again: `python -m tests.unit.observe.measure_scrape 1000`.
_OWNERS_PER_TURN: Final = 10
_PAUSE_S: Final = 0.00005


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape will show. The tenants' counters are the live ones, read when rendered."""

    process: ProcessSnapshot
    pools: tuple[PoolSnapshot, ...]
    tenants: tuple[tuple[tuple[str, str], TrafficStats], ...]
    max_tenant_labels: int
    workers: WorkersSnapshot | None = None

    def collect(self) -> Iterator[Metric]:
        """Every family with its samples."""
        yield from _families(PROCESS, [((), self.process)])
        keys = [(pool.cluster, pool.database, pool.user, pool.mode) for pool in self.pools]
        yield from _families(POOLS, list(zip(keys, self.pools, strict=True)))
        names = self._labels()
        yield from _families(TENANTS, list(self._tenants(names)))
        yield from _families((TENANT_CLIENTS,), list(self._tenant_clients(names)))
        if self.workers is not None:
            yield from _families(WORKERS, [((), self.workers)])

    def _labels(self) -> set[str]:
        """The tenants with a label of their own: the first to appear, so that no series is ever taken back."""
        names: dict[str, None] = {}
        for (tenant, _), _stats in self.tenants:
            if len(names) >= self.max_tenant_labels:
                break
            names[tenant] = None
        return set(names)

    def _tenants(self, names: set[str]) -> Iterator[tuple[tuple[str, str], TrafficStats]]:
        others: dict[str, TrafficStats] = {}
        for position, ((tenant, placement), stats) in enumerate(self.tenants):
            if tenant in names:
                yield (tenant, placement), stats
            else:
                others.setdefault(placement, TrafficStats(placement)).add(stats)
                _give_way(position)
        for placement, stats in others.items():
            yield (OTHER_TENANTS, placement), stats

    def _tenant_clients(self, names: set[str]) -> Iterator[tuple[tuple[str, ...], Mapping[str, float]]]:
        counts: dict[str, dict[str, float]] = {}
        for entry in self.process.clients:
            if entry.tenant and entry.state != "login":
                label = entry.tenant if entry.tenant in names else OTHER_TENANTS
                by_state = counts.setdefault(label, {"active": 0, "idle": 0, "waiting": 0})
                by_state[entry.state] += entry.count
        for label, by_state in counts.items():
            yield (label,), by_state


class GatehouseCollector(Collector):
    """Gatehouse's families for prometheus-client; `snapshot` for `render`, `collect` for a registry of one's own."""

    def __init__(
        self, stats: ProxyStats, gauges: GaugeSource, *, version: str = "", max_tenant_labels: int = 1000
    ) -> None:
        self._stats = stats
        self._gauges = gauges
        self._version = version
        self._max_tenant_labels = max_tenant_labels
        self._process = ProcessCollector(registry=None)

    def snapshot(self) -> Scrape:
        """Gather what a scrape shows; on the event loop, cheap."""
        stats, gauges = self._stats, self._gauges
        process = ProcessSnapshot(
            version=self._version,
            connections_total=stats.connections_total,
            logins_total=stats.logins_total,
            cancels_total=stats.cancels_total,
            received_bytes=stats.received_bytes,
            sent_bytes=stats.sent_bytes,
            login_refused=dict(stats.login_refused),
            guard_refusals=dict(stats.guard_refusals),
            errors=dict(stats.errors),
            timeouts=dict(stats.timeouts),
            clients=tuple(gauges.clients()),
            registry=gauges.registry(),
            config=gauges.config(),
        )
        return Scrape(process, tuple(gauges.pools()), tuple(stats.series.items()), self._max_tenant_labels)

    def collect(self) -> Iterable[Metric]:
        """Every family as of now, and the process's own (`process_*`)."""
        yield from self.snapshot().collect()
        yield from self._process.collect()

    def process_values(self) -> dict[str, float]:
        """The process's own families, name to value."""
        return {sample.name: sample.value for metric in self._process.collect() for sample in metric.samples}

    def render(self, scrape: Scrape, accept: str = "") -> tuple[bytes, str]:
        """`render` with the process's own families (`process_*`) behind; in a thread."""
        return render(scrape, accept, also=self._process)


def render(scrape: Scrape, accept: str = "", *, also: Collector | None = None) -> tuple[bytes, str]:
    """The body and its content type, by the Accept header: text format 0.0.4 unless OpenMetrics is asked for."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number: whoever asks like this gets what all can read
        encode, content_type = choose_encoder("")
    return encode(_Both(scrape, also)), content_type


class _Both(Collector):
    def __init__(self, scrape: Scrape, also: Collector | None) -> None:
        self._scrape = scrape
        self._also = also

    def collect(self) -> Iterator[Metric]:
        yield from self._scrape.collect()
        if self._also is not None:
            yield from self._also.collect()


def _families(families: tuple[Family[Owner], ...], owners: Sequence[tuple[tuple[str, ...], Owner]]) -> Iterator[Metric]:
    for family in families:
        is_counter = family.type is FamilyType.COUNTER
        metric = Metric(
            family.name.removesuffix("_total") if is_counter else family.name, family.help, family.type.value
        )
        metric.samples = _Samples(family, owners)
        yield metric


class _Samples(list[Sample]):
    """A family's samples, made while they are read: the encoder holds one at a time, and pauses between owners."""

    def __init__(self, family: Family[Owner], owners: Sequence[tuple[tuple[str, ...], Owner]]) -> None:
        super().__init__()
        self._lines = (_samples(family, key, family.read(owner)) for key, owner in owners)

    def __iter__(self) -> Iterator[Sample]:
        for position, samples in enumerate(self._lines):
            yield from samples
            _give_way(position)


def _samples(family: Family[Owner], key: tuple[str, ...], value: Value) -> Iterator[Sample]:
    labels = dict(zip(family.labels, key, strict=False))
    match value:
        case HistogramSnapshot():
            yield from _histogram(family.name, labels, value)
        case int() | float():
            yield Sample(family.name, labels, value)
        case _:
            for last, number in value.items():
                yield Sample(family.name, {**labels, family.labels[-1]: last}, number)


def _histogram(name: str, labels: dict[str, str], value: HistogramSnapshot) -> Iterator[Sample]:
    bounds = (*value.bounds, inf)
    for bound, count in zip(bounds, accumulate(value.counts), strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": "+Inf" if bound == inf else repr(bound)}, count)
    yield Sample(f"{name}_count", labels, value.count)
    yield Sample(f"{name}_sum", labels, value.sum)


def _give_way(position: int) -> None:
    if position % _OWNERS_PER_TURN == _OWNERS_PER_TURN - 1:
        time.sleep(_PAUSE_S)
