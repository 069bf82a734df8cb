"""Transactions as fast as they go, by pgbench; with other clients idle beside them or not."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from benchmarks import pgbench
from benchmarks.endpoints import Endpoint, Role
from benchmarks.load.process import LoadFailed, LoadProcess
from benchmarks.measurement import Measurement
from benchmarks.pgbench import Job
from benchmarks.site import Site, Workload, poolers
from benchmarks.system import resident_kb

_AT_ONCE: Final = 16


class Transactions(Workload):
    """A pgbench script. `gatehouse_script` is what Gatehouse's clients send: they need not say which tenant they are."""

    figures = ("tps", "mean_ms", "p50_ms", "p99_ms", "cpu_us", "resident_kb")
    ratios = ("tps", "cpu_us", "p50_ms")

    def __init__(self, name: str, title: str, job: Job, gatehouse_script: str | None = None) -> None:
        self.name = name
        self.title = title
        self._job = job
        self._gatehouse_job = replace(job, script=gatehouse_script) if gatehouse_script else job

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        return pgbench.measure(site.pgbench, endpoint, self._job_of(endpoint), seconds)

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        return shlex.join(self._job_of(endpoint).command("pgbench", seconds))

    def _job_of(self, endpoint: Endpoint) -> Job:
        return self._gatehouse_job if endpoint.role is Role.GATEHOUSE else self._job


class AmongIdleClients(Transactions):
    """The same while other clients are logged in and silent.

    `idle_client_kb` is what the proxy grew by while they logged in. Memory that it held already is reused, so the first
    large number is the one that tells.
    """

    figures = ("tps", "p50_ms", "p99_ms", "cpu_us", "idle_client_kb", "resident_kb")

    def __init__(self, count: int, job: Job, *, is_long: bool) -> None:
        super().__init__(f"idle-{count}", f"SELECT by key, prepared, 16 clients, while {count:,} others are idle", job)
        self.is_long = is_long
        self._count = count
        self._client_kb: dict[str, float] = {}
        self._refusals: dict[str, LoadFailed] = {}

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        endpoints = poolers(site)
        with ExitStack() as stack:
            for endpoint in endpoints:
                assert endpoint.pid is not None
                before = resident_kb(endpoint.pid)
                idle = stack.enter_context(LoadProcess(endpoint, "hold", count=self._count, at_once=_AT_ONCE))
                try:
                    idle.hear()
                except LoadFailed as refusal:  # is told when its turn comes; the others are measured all the same
                    self._refusals[endpoint.name] = refusal
                self._client_kb[endpoint.name] = (resident_kb(endpoint.pid) - before) / self._count
            yield endpoints

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        if refusal := self._refusals.get(endpoint.name):
            raise refusal
        return {**super().measure(site, endpoint, seconds), "idle_client_kb": self._client_kb[endpoint.name]}
