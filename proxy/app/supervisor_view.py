"""All workers as one, for the HTTP endpoint."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from proxy import __version__
from proxy.admin.status import is_ready
from proxy.admin.view import Check
from proxy.app.merging import STOPPING, Merger
from proxy.app.view import ReloadRecord
from proxy.app.worker_link import GiveReport, Report, ask
from proxy.app.worker_process import State, WorkerProcess
from proxy.observe.counters import ProxyStats
from proxy.observe.gauges import (
    ClientCount,
    ConfigSnapshot,
    GaugeSource,
    PoolSnapshot,
    RegistrySnapshot,
    WorkersSnapshot,
)
from proxy.observe.metrics import GatehouseCollector, Scrape, render

_ASK_S: Final = 5.0
"""How long a worker may take to say how it is; then its last figures count, and it is not ready."""


class SupervisorView:
    """Implements `AdminView` and `GaugeSource` by what the workers said at the last `refresh`."""

    def __init__(self, workers: list[WorkerProcess], folder: Path, reloads: ReloadRecord) -> None:
        self.merger = Merger()
        self.is_stopping = False
        self._workers = workers
        self._folder = folder
        self._reloads = reloads
        self.version = __version__
        self.started_at = time.time()
        self._lock = asyncio.Lock()
        self._silent: set[int] = set()  # workers that did not answer when they were asked last

    async def refresh(self) -> None:
        """Ask all workers."""
        async with self._lock:
            await asyncio.gather(*(self._ask(worker) for worker in self._workers))

    async def _ask(self, worker: WorkerProcess) -> None:
        pid = worker.pid
        if pid is None or not worker.was_ever_ready:
            return
        try:
            async with asyncio.timeout(_ASK_S):
                report: Report = await ask(self._folder, worker.index, GiveReport())
        except (OSError, EOFError, TimeoutError, pickle.UnpicklingError):
            self._silent.add(worker.index)
            return
        self._silent.discard(worker.index)
        if worker.pid == pid:
            self.merger.reported(worker.index, report)

    def collector(self) -> GatehouseCollector:
        """Gathers a scrape of all."""
        return _MergedCollector(self)

    def scrape(self) -> Scrape:
        """The sums over the workers."""
        return self.merger.scrape(__version__, self._config(), self.workers())

    def workers(self) -> WorkersSnapshot:
        """The workers themselves."""
        states = Counter(worker.state.value for worker in self._workers)
        processes = {str(index): report.scrape.process for index, report in sorted(self.merger.reports.items())}
        return WorkersSnapshot(
            states={state.value: states[state.value] for state in State},
            restarts={str(worker.index): worker.restarts for worker in self._workers},
            connections={index: process.connections_total for index, process in processes.items()},
            clients={
                index: sum(entry.count for entry in process.clients if entry.state != "login")
                for index, process in processes.items()
            },
        )

    def readiness(self) -> list[Check]:
        """Ready: at least one worker is, and says so, and nobody has said stop."""
        count = len(self._workers)
        ready = sum(
            worker.state is State.READY
            and worker.index not in self._silent
            and worker.index in self.merger.reports
            and is_ready(self.merger.reports[worker.index].checks)
            for worker in self._workers
        )
        checks = [Check("workers", ready > 0, f"{ready} of {count} are ready")]
        if self.is_stopping:
            checks.append(Check(STOPPING, ok=False, detail="stopping"))
        return checks + self.merger.checks()

    @property
    def stats(self) -> ProxyStats:
        """This process serves no clients."""
        return ProxyStats()

    @property
    def gauges(self) -> GaugeSource:
        """What is there now."""
        return self

    def clients(self) -> Iterable[ClientCount]:
        """Clients by tenant and state."""
        return self.scrape().process.clients

    def pools(self) -> Iterable[PoolSnapshot]:
        """Every pool, all workers' servers together."""
        return self.scrape().pools

    def registry(self) -> RegistrySnapshot:
        """The tenant registries' caches."""
        return self.scrape().process.registry

    def config(self) -> ConfigSnapshot:
        """The configuration in force."""
        return self.scrape().process.config

    def _config(self) -> ConfigSnapshot:
        reloads = self._reloads
        is_in_force = reloads.last_ok and not any(worker.refuses for worker in self._workers)
        return ConfigSnapshot(reloads.loaded_at, is_in_force, reloads.ok, reloads.failed)


class _MergedCollector(GatehouseCollector):
    def __init__(self, view: SupervisorView) -> None:
        super().__init__(view.stats, view.gauges, version=view.version)
        self._view = view

    def snapshot(self) -> Scrape:
        return self._view.scrape()

    def render(self, scrape: Scrape, accept: str = "") -> tuple[bytes, str]:
        return render(scrape, accept, also=_Values(self._view.merger.process_values(self.process_values())))


class _Values(Collector):
    """The families of `process_*` from their values."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values

    def collect(self) -> Iterator[Metric]:
        for name, value in self._values.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            metric = Metric(name.removesuffix("_total"), "The workers' and the supervisor's together.", kind)
            metric.samples = [Sample(name, {}, value)]
            yield metric
