"""Many tenants in the registry: what each takes in memory and at the start, and what transactions cost.

Twice: for clients of one tenant, which tells what a large registry costs (CPU growth: beside the same build with two
tenants, asked right after), and for clients of many tenants by turns, where
servers go from one tenant to the next, each time with a reset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import yaml

from benchmarks.database import TENANT
from benchmarks.endpoints import PLACEMENT, Endpoint, Role, running_gatehouse
from benchmarks.load.process import LoadProcess
from benchmarks.measurement import Measurement, growth
from benchmarks.measures.logins import rates
from benchmarks.site import Site, Workload
from benchmarks.system import CpuWatch, resident_kb

_CLIENTS: Final = 200
_ACTIVE: Final = 16
_SQLS: Final = [f"SELECT abalance FROM accounts WHERE aid = {number * 37 % 10_000 + 1}" for number in range(200)]


class Tenants(Workload):
    """So many tenants; each build of Gatehouse is started anew, and once with the two that it always has."""

    figures = (
        "start_s",
        "tenant_kb",
        "tps",
        "p50_ms",
        "p99_ms",
        "cpu_us",
        "growth_cpu",
        "spread_tps",
        "spread_cpu_us",
        "resident_kb",
    )
    ratios = ("tps", "cpu_us")

    def __init__(self, count: int, *, is_long: bool) -> None:
        self.name = f"tenants-{count}"
        self.title = (
            f"registry of {count:,}: {_CLIENTS} clients, {_ACTIVE} at a time, of one tenant, and spread over all"
        )
        self.is_long = is_long
        self._count = count
        self._started: dict[str, Measurement] = {}

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        entry = yaml.safe_dump({"placement": PLACEMENT}, default_flow_style=True).strip()
        document = "".join(f"{name}: {entry}\n" for name in self._names())
        peers = [endpoint for endpoint in site.endpoints if endpoint.role is Role.POOLER]
        few = {endpoint.name: _resident_kb(endpoint) for endpoint in site.endpoints}
        with ExitStack() as stack:
            for name, command in site.builds.items():
                few[name] = self._without_tenants(site, name, command)
                endpoint = stack.enter_context(running_gatehouse(site.database, name, command, document))
                grown_kb = (_resident_kb(endpoint) - few[name]) / self._count
                self._started[name] = {
                    "start_s": endpoint.start_s,
                    "tenant_kb": grown_kb if self._count >= 1000 else None,
                }
                peers.append(endpoint)
            yield peers

    def _without_tenants(self, site: Site, name: str, command: Sequence[str]) -> float:
        with running_gatehouse(site.database, name, command) as endpoint:
            return _resident_kb(endpoint)

    def _names(self) -> Iterator[str]:
        return (f"t{number:06}" for number in range(self._count))

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        measured = self._ask(endpoint, [endpoint.user_of(TENANT)], seconds)
        if endpoint.role is Role.GATEHOUSE:
            few = next(one for one in site.endpoints if one.name == endpoint.name)
            in_few = self._ask(few, [few.user_of(TENANT)], seconds)
            measured["growth_cpu"] = growth(measured["cpu_us"], in_few["cpu_us"])
            users = [endpoint.user_of(name) for _, name in zip(range(_CLIENTS), self._names(), strict=False)]
            spread = self._ask(endpoint, users, seconds)
            measured |= {"spread_tps": spread["tps"], "spread_cpu_us": spread["cpu_us"]}
        return measured | self._started.get(endpoint.name, {})

    def _ask(self, endpoint: Endpoint, users: Sequence[str], seconds: int) -> Measurement:
        arguments = {"clients": _CLIENTS, "active": _ACTIVE, "seconds": seconds, "sqls": _SQLS}
        with CpuWatch(endpoint.pid) as cpu, LoadProcess(endpoint, "ask", users, **arguments) as load:
            rows: list[tuple[float, float]] = load.hear()["rows"]
        return rates(endpoint, rows, cpu, "tps")

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        return f"benchmarks.load ask, {_CLIENTS} clients, {_ACTIVE} at a time, {seconds} s: {_SQLS[0]} …"


def _resident_kb(endpoint: Endpoint) -> float:
    return 0.0 if endpoint.pid is None else resident_kb(endpoint.pid)
