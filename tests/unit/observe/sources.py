"""A gauge source for tests: says what it is told to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.observe.gauges import ClientCount, ConfigSnapshot, PoolSnapshot, RegistrySnapshot


@dataclass
class Gauges:
    """Fixed answers to a scrape."""

    client_counts: list[ClientCount] = field(default_factory=list)
    pool_snapshots: list[PoolSnapshot] = field(default_factory=list)
    registry_snapshot: RegistrySnapshot = field(default_factory=RegistrySnapshot)
    config_snapshot: ConfigSnapshot = field(default_factory=lambda: ConfigSnapshot(loaded_at=1_700_000_000.0))

    def clients(self) -> list[ClientCount]:
        return self.client_counts

    def pools(self) -> list[PoolSnapshot]:
        return self.pool_snapshots

    def registry(self) -> RegistrySnapshot:
        return self.registry_snapshot

    def config(self) -> ConfigSnapshot:
        return self.config_snapshot
