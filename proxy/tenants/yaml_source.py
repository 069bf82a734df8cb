"""Tenants as the configuration file has them: built once per load, equal parts shared, looked up in a dict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
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
        self._tenants = build_tenants(settings)

    @property
    def tenants(self) -> Mapping[str, Tenant]:
        """All tenants by id."""
        return MappingProxyType(self._tenants)

    def replace(self, settings: Settings) -> None:
        """Use other settings from now on; invalidate the registry after this."""
        self._tenants = build_tenants(settings, self._tenants)

    async def fetch(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None."""
        return self._tenants.get(tenant_id)


def build_tenants(settings: Settings, old: Mapping[str, Tenant] | None = None) -> dict[str, Tenant]:
    """All tenants by id; where nothing changed, the object in `old` is kept, so that caches by identity stay warm."""
    tiers = {name: build_tier(name, tier) for name, tier in settings.tiers.items()}
    placements: dict[Placement, Placement] = {}
    tenants: dict[str, Tenant] = {}
    for tenant_id, entry in settings.tenants.items():
        placement = build_placement(entry.placement)
        # Thousands of tenants on shared tables have the same placement.
        placement = placements.setdefault(placement, placement)
        tenant = Tenant(tenant_id, placement, tiers[entry.tier], TenantStatus(entry.status))
        known = old.get(tenant_id) if old else None
        tenants[tenant_id] = known if known is not None and known == tenant else tenant
    return tenants


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
