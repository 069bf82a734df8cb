"""Logging in: again and again, and a thousand at the same time while others work."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from benchmarks import pgbench
from benchmarks.endpoints import Ability, Endpoint, Role
from benchmarks.load.process import LoadProcess
from benchmarks.measurement import Measurement, RunFailed, growth, percentile
from benchmarks.pgbench import Job
from benchmarks.site import Site, Workload, poolers
from benchmarks.system import CpuWatch, resident_kb

_SQL: Final = "SELECT abalance FROM accounts WHERE aid = 7"
_CLIENTS: Final = 16
_LIBPQ_JOB: Final = Job("select", "simple", clients=_CLIENTS, reconnects=True)
_STORM: Final = 1000
_STORM_JOB: Final = Job("select", clients=8, rate=500)
_AFTER_STORM_S: Final = 0.5
_MOST_STORM_S: Final = 60


class Connecting(Workload):
    """Log in with SCRAM, one SELECT, leave; some at a time."""

    name = "connect"
    title = f"log in with SCRAM, SELECT by key, leave; {_CLIENTS} at a time"
    figures = ("logins_s", "p50_ms", "p99_ms", "cpu_us", "resident_kb")
    ratios = ("logins_s", "cpu_us")
    needs = frozenset({Ability.SCRAM_LOGIN})

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        with (
            CpuWatch(endpoint.pid) as cpu,
            LoadProcess(endpoint, "logins", clients=_CLIENTS, seconds=seconds, sql=_SQL) as load,
        ):
            rows: list[tuple[float, float]] = load.hear()["rows"]
        return rates(endpoint, rows, cpu, "logins_s")

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        return f"benchmarks.load logins, {_CLIENTS} clients, {seconds} s: {_SQL}"


class ConnectingByLibpq(Workload):
    """The same by libpq, which computes the salted password at each login, as nearly all drivers do."""

    name = "connect-libpq"
    title = f"log in with SCRAM by libpq, SELECT by key, leave; {_CLIENTS} at a time"
    figures = ("logins_s", "cpu_us", "resident_kb")
    ratios = ("logins_s", "cpu_us")
    needs = frozenset({Ability.SCRAM_LOGIN})

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        measured = pgbench.measure(site.pgbench, endpoint, _LIBPQ_JOB, seconds)
        # pgbench's times leave the login out.
        return {"logins_s": measured["tps"], **{name: measured[name] for name in ("cpu_us", "resident_kb")}}

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        return shlex.join(_LIBPQ_JOB.command("pgbench", seconds))


def rates(endpoint: Endpoint, rows: Sequence[tuple[float, float]], cpu: CpuWatch, rate: str) -> Measurement:
    """What rows (the end in epoch seconds, the time taken in seconds), ordered by their ends, come to."""
    if len(rows) < 10:
        raise RunFailed(f"{endpoint.name}: too little happened to say anything")
    begin, end = rows[0][0] + pgbench.RUN_IN_S, rows[-1][0]
    used = cpu.between(begin, end)
    if used is not None:
        begin, end, _ = used
    took_ms = sorted(took * 1e3 for at, took in rows if begin <= at < end)
    if not took_ms:
        raise RunFailed(f"{endpoint.name}: nothing ended in the time measured")
    return {
        rate: len(took_ms) / (end - begin),
        "p50_ms": percentile(took_ms, 0.50),
        "p99_ms": percentile(took_ms, 0.99),
        "cpu_us": None if used is None else used[2] / len(took_ms) * 1e6,
        "resident_kb": None if endpoint.pid is None else resident_kb(endpoint.pid),
    }


class Storm(Workload):
    """Clients work at a steady rate; then many log in at the same time. What the workers notice, and how long it takes.

    Then the same storm while the workers go straight to PostgreSQL: what they notice then is the machine, on which the
    thousand clients live as well, though only on what the others leave them.
    """

    name = f"storm-{_STORM}"
    title = (
        f"{_STORM_JOB.rate} SELECTs per second by {_STORM_JOB.clients} clients, while {_STORM:,} others log in at once"
    )
    figures = ("all_in_s", "logins_s", "failed", "before_p99_ms", "p99_ms", "growth_p99", "aside_growth_p99")
    ratios = ("all_in_s", "growth_p99")
    needs = frozenset({Ability.SCRAM_LOGIN})

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        yield poolers(site)

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        direct = next(one for one in site.endpoints if one.role is Role.DIRECT)
        _, before_aside, aside = self._storm(site, endpoint, direct, seconds)
        told, before, during = self._storm(site, endpoint, endpoint, seconds)
        took_s = told["ended"] - told["began"]
        return {
            "all_in_s": took_s,
            "logins_s": len(told["took_s"]) / took_s,
            "failed": sum(told["failures"].values()),
            "before_p99_ms": before,
            "p99_ms": during,
            "growth_p99": growth(during, before),
            "aside_growth_p99": growth(aside, before_aside),
        }

    def _storm(
        self, site: Site, endpoint: Endpoint, workers_at: Endpoint, seconds: int
    ) -> tuple[dict[str, Any], float | None, float | None]:
        """What the load process tells of a storm at `endpoint`; the workers' p99 before and meanwhile, in milliseconds."""
        with LoadProcess(endpoint, "storm", count=_STORM) as storm:
            storm.hear()
            with pgbench.running(site.pgbench, workers_at, _STORM_JOB, seconds + self._storm_s(seconds)) as log:
                time.sleep(seconds)
                storm.say()
                told = storm.hear()
        calm = log.between(log.ends[0] + pgbench.RUN_IN_S, told["began"])
        stormy = log.between(told["began"], max(told["ended"], told["began"] + _AFTER_STORM_S))
        return told, percentile(calm, 0.99), percentile(stormy, 0.99)

    def _storm_s(self, seconds: int) -> int:
        """For how long the clients go on working."""
        return min(_MOST_STORM_S, seconds + 2)

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        job = " ".join(_STORM_JOB.command("pgbench", seconds + self._storm_s(seconds)))
        return f"{job}; after {seconds} s: benchmarks.load storm, {_STORM} clients"
