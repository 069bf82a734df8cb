"""Tenants as the configuration file has them, built when they are asked for: most of 100,000 never are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from proxy.settings import model as settings_model
from proxy.settings.model import PlacementEntry, Settings
from proxy.tenants.model import (
    ClientRules,
    DatabasePlacement,
    Placement,
    PoolMode,
    SchemaPlacement,
    SessionState,
    SharedPlacement,
    Tenant,
    TenantStatus,
    Tier,
)


class SettingsSource:
    """A TenantSource that knows the tenants of one Settings."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def __len__(self) -> int:
        """How many tenants there are."""
        return len(self._entries)

    def replace(self, settings: Settings) -> None:
        """Use other settings from now on; invalidate the registry after this."""
        self._entries = settings.tenants
        self._tiers = {name: build_tier(name, tier) for name, tier in settings.tiers.items()}
        self._shared: dict[PlacementEntry, Placement] = {}

    async def fetch(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            return None
        return Tenant(tenant_id, self._placement(entry.placement), self._tiers[entry.tier], TenantStatus(entry.status))

    def _placement(self, entry: PlacementEntry) -> Placement:
        if entry.model != "shared":
            return build_placement(entry)
        # Thousands of tenants on shared tables have the same placement.
        placement = self._shared.get(entry)
        if placement is None:
            placement = self._shared[entry] = build_placement(entry)
        return placement


def build_placement(entry: PlacementEntry) -> Placement:
    """The placement an entry describes."""
    match entry.model:
        case "shared":
            return SharedPlacement(entry.cluster, entry.database)
        case "schema":
            assert entry.schema is not None, "checked when the file was loaded"
            return SchemaPlacement(entry.cluster, entry.database, entry.schema, entry.role)
        case "database":
            return DatabasePlacement(entry.cluster, entry.database)
    assert_never(entry.model)


def build_tier(name: str, tier: settings_model.Tier) -> Tier:
    """The tier of this name, with its settings as PostgreSQL reads them."""
    return Tier(
        name=name,
        statement_timeout_s=tier.statement_timeout_s,
        idle_in_transaction_session_timeout_s=tier.idle_in_transaction_session_timeout_s,
        lock_timeout_s=tier.lock_timeout_s,
        work_mem=tier.work_mem,
        settings=tuple(_settings(tier)),
        max_server_connections=tier.max_server_connections,
        max_clients=tier.max_clients,
        session_state=SessionState(tier.session_state),
        max_pinned=tier.max_pinned,
        allows_channels=tier.cross_tenant_channels == "allow",
        allows_sessions=tier.cross_tenant_sessions == "allow",
        clients=build_rules(tier),
    )


def build_rules(entry: settings_model.Tier | settings_model.User) -> ClientRules:
    """What a tier or a user says of its clients."""
    return ClientRules(
        pool_mode=None if entry.pool_mode is None else PoolMode(entry.pool_mode),
        query_timeout_s=entry.query_timeout_s,
        transaction_timeout_s=entry.transaction_timeout_s,
        idle_in_transaction_timeout_s=entry.idle_in_transaction_timeout_s,
        client_idle_timeout_s=entry.client_idle_timeout_s,
        pin_timeout_s=entry.pin_timeout_s if isinstance(entry, settings_model.Tier) else None,
        wait_timeout_s=entry.wait_timeout_s,
        max_message_bytes=entry.max_message_bytes,
        max_query_bytes=entry.max_query_bytes,
    )


def _settings(tier: settings_model.Tier) -> Iterator[tuple[str, str]]:
    timeouts = (
        ("statement_timeout", tier.statement_timeout_s),
        ("idle_in_transaction_session_timeout", tier.idle_in_transaction_session_timeout_s),
        ("lock_timeout", tier.lock_timeout_s),
    )
    for name, seconds in timeouts:
        if seconds is not None:
            yield name, f"{round(seconds * 1000)}ms"
    if tier.work_mem is not None:
        yield "work_mem", tier.work_mem
    yield from tier.settings.items()
