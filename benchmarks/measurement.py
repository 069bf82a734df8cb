"""What one run of one workload at one endpoint came to, and what the figures are called.

A figure is None where there is none: the CPU of a proxy where there is no proxy, a percentile of nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Measurement = dict[str, float | None]


class RunFailed(Exception):
    """A run did not get through."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure is shown: its heading, its format, by what it is divided first."""

    heading: str
    form: str
    divisor: float = 1.0

    @property
    def plain_heading(self) -> str:
        """Without its unit: what a ratio is called."""
        return re.sub(r" (µs|ms|s|µs/MB)$", "", self.heading)

    def show(self, value: float) -> str:
        """As a cell of a table has it."""
        return format(value / self.divisor, self.form)


FIGURES: Final = {
    "tps": Figure("tps", ",.0f"),
    "logins_s": Figure("logins/s", ",.0f"),
    "mb_s": Figure("MB/s", ".0f"),
    "mean_ms": Figure("mean ms", ".2f"),
    "p50_ms": Figure("p50 ms", ".2f"),
    "p99_ms": Figure("p99 ms", ".2f"),
    "cpu_us": Figure("CPU µs", ".1f"),
    "cpu_us_mb": Figure("CPU µs/MB", ".0f"),
    "growth_cpu": Figure("CPU growth", ".2f"),
    "spread_tps": Figure("spread tps", ",.0f"),
    "spread_cpu_us": Figure("spread CPU µs", ".1f"),
    "before_p99_ms": Figure("p99 ms before", ".2f"),
    "growth_p99": Figure("p99 growth", ".2f"),
    "aside_growth_p99": Figure("growth aside", ".2f"),
    "all_in_s": Figure("all in s", ".2f"),
    "failed": Figure("failed", ".0f"),
    "flood_tps": Figure("flood tps", ",.0f"),
    "start_s": Figure("start s", ".2f"),
    "idle_client_kb": Figure("kB/idle", ".1f"),
    "tenant_kb": Figure("kB/tenant", ".2f"),
    "resident_kb": Figure("RSS MB", ".0f", 1024),
    "peak_growth_kb": Figure("RSS + MB", ".1f", 1024),
}
"""Every figure there is, by its name in the JSON."""


def percentile(ordered: Sequence[float], fraction: float) -> float | None:
    """Of values in ascending order; None of nothing."""
    return ordered[min(len(ordered) - 1, math.ceil(fraction * len(ordered)) - 1)] if ordered else None


def growth(after: float | None, before: float | None) -> float | None:
    """How many times."""
    return after / before if after is not None and before else None
