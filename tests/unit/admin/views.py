"""A view of a proxy for tests."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.admin.view import Check
from proxy.observe.counters import ProxyStats
from tests.unit.observe.sources import Gauges


@dataclass
class View:
    """Fixed answers to the HTTP endpoint."""

    stats: ProxyStats = field(default_factory=ProxyStats)
    gauges: Gauges = field(default_factory=Gauges)
    version: str = "1.2.3"
    started_at: float = 1_700_000_000.0
    checks: list[Check] = field(default_factory=lambda: [Check("configuration", True)])

    def readiness(self) -> list[Check]:
        return self.checks
