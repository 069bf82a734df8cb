"""A tenant floods the pool, another one asks now and then: what does the quiet one notice?

The flood sleeps on its servers, so that these are what there is too little of, not CPU: what is measured is the order in
which clients get servers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks import pgbench
from benchmarks.database import OTHER_TENANT, TENANT
from benchmarks.endpoints import Endpoint
from benchmarks.measurement import Measurement, growth, percentile
from benchmarks.pgbench import Job
from benchmarks.site import Site, Workload, poolers

_FLOOD: Final = Job("flood", "simple", clients=200)
_QUIET: Final = Job("select", clients=1, rate=50)
_LEAD_S: Final = 1
"""So much earlier the flood begins; it ends as much later."""


class Neighbours(Workload):
    """200 clients of one tenant, each with a query of 10 ms, on 20 servers; one client of another asks 50 times a second."""

    name = "hot-tenant"
    title = (
        f"one client asks {_QUIET.rate} times a second, while {_FLOOD.clients} of another tenant flood the 20 servers"
    )
    figures = ("before_p99_ms", "p50_ms", "p99_ms", "growth_p99", "flood_tps")
    ratios = ("p99_ms", "flood_tps")

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        yield poolers(site)

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        alone = self._quiet_ms(site, endpoint, seconds)
        flood = pgbench.running(site.pgbench, endpoint, _FLOOD, seconds + 2 * _LEAD_S, endpoint.user_of(OTHER_TENANT))
        with flood as log:
            time.sleep(_LEAD_S)
            flooded = self._quiet_ms(site, endpoint, seconds)
        before, during = percentile(alone, 0.99), percentile(flooded, 0.99)
        return {
            "before_p99_ms": before,
            "p50_ms": percentile(flooded, 0.50),
            "p99_ms": during,
            "growth_p99": growth(during, before),
            "flood_tps": len(log.ends) / (log.ends[-1] - log.ends[0]),
        }

    def _quiet_ms(self, site: Site, endpoint: Endpoint, seconds: int) -> list[float]:
        with pgbench.running(site.pgbench, endpoint, _QUIET, seconds, endpoint.user_of(TENANT)) as log:
            pass
        return log.between(log.ends[0] + pgbench.RUN_IN_S, log.ends[-1])

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        flood, quiet = _FLOOD.command("pgbench", seconds + 2 * _LEAD_S), _QUIET.command("pgbench", seconds)
        return f"{' '.join(quiet)}, while: {' '.join(flood)}"
