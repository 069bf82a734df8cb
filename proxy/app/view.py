"""What the HTTP endpoint sees of the running proxy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from proxy import __version__
from proxy.admin.view import Check
from proxy.app.health import ClusterHealth
from proxy.client.services import ClientServices
from proxy.client.states import State
from proxy.observe.counters import ProxyStats
from proxy.observe.gauges import ClientCount, ClientState, ConfigSnapshot, GaugeSource, PoolSnapshot, RegistrySnapshot
from proxy.pool.manager import PoolManager
from proxy.tenants.registry import TenantRegistry
from proxy.tenants.yaml_source import SettingsSource

_STATES: dict[int, ClientState] = {
    State.IDLE: "idle",
    State.WAITING: "waiting",
    State.HELD: "active",
    State.BATCH: "active",
    State.BUSY: "active",
    State.COPY_IN: "active",
    State.CLOSED: "idle",
}


class ReloadRecord:
    """How loading the configuration went."""

    def __init__(self) -> None:
        self.loaded_at = time.time()
        self.ok = 0
        self.failed = 0
        self.last_ok = True

    def succeeded(self) -> None:
        """A reload took effect."""
        self.loaded_at, self.last_ok, self.ok = time.time(), True, self.ok + 1

    def went_wrong(self) -> None:
        """A reload was refused; the old configuration stays."""
        self.last_ok, self.failed = False, self.failed + 1


class ProxyView:
    """Implements `AdminView` and `GaugeSource`."""

    def __init__(
        self,
        stats: ProxyStats,
        pools: PoolManager,
        registry: TenantRegistry,
        source: SettingsSource,
        reloads: ReloadRecord,
        health: ClusterHealth,
        services: ClientServices,
    ) -> None:
        self._stats = stats
        self._pools = pools
        self._registry = registry
        self._source = source
        self._reloads = reloads
        self._health = health
        self._services = services
        self.version = __version__
        self.started_at = time.time()

    @property
    def stats(self) -> ProxyStats:
        """The process's counters."""
        return self._stats

    @property
    def gauges(self) -> GaugeSource:
        """What is there now."""
        return self

    def readiness(self) -> list[Check]:
        """Ready: the configuration is loaded, at least one cluster answers, and the process is not stopping."""
        checks = [Check("configuration", ok=True, detail="loaded")]
        if self._services.is_stopping:
            checks.append(Check("running", ok=False, detail="stopping"))
        clusters = self._health.checks()
        if clusters:
            any_ok = any(check.ok for check in clusters)
            checks.append(Check("clusters", any_ok, "" if any_ok else "no cluster answers"))
        return checks + clusters

    def clients(self) -> Iterable[ClientCount]:
        """Clients by tenant and state."""
        counts: Counter[tuple[str, ClientState]] = Counter()
        for connection in self._services.census.connections:
            session = connection.session
            if session is None:
                counts["", "login"] += 1
            else:
                counts[session.tenant.id, _STATES[session.state]] += 1
        return [ClientCount(tenant, state, count) for (tenant, state), count in counts.items()]

    def pools(self) -> Iterable[PoolSnapshot]:
        """Every pool."""
        return self._pools.snapshots()

    def registry(self) -> RegistrySnapshot:
        """The tenant registry's cache."""
        registry = self._registry
        return RegistrySnapshot(
            hits=registry.hits,
            misses=registry.misses,
            negative_hits=registry.negative_hits,
            stale_served=registry.stale_served,
            errors=registry.source_failures,
            tenants=len(self._source),
        )

    def config(self) -> ConfigSnapshot:
        """The configuration in force."""
        reloads = self._reloads
        return ConfigSnapshot(reloads.loaded_at, reloads.last_ok, reloads.ok, reloads.failed)
