"""Tenants from the configuration."""

from __future__ import annotations

from typing import Any

from proxy.settings import model as settings_model
from proxy.settings.model import Settings
from proxy.tenants.model import (
    ClientRules,
    DatabasePlacement,
    PoolMode,
    SchemaPlacement,
    SessionState,
    SharedPlacement,
    Tenant,
    TenantStatus,
    Tier,
)
from proxy.tenants.yaml_source import SettingsSource, build_tier


def settings(**tenants: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "tiers": {
                "basic": {
                    "statement_timeout": "10s",
                    "lock_timeout": "off",
                    "work_mem": "16MB",
                    "settings": {"jit": "off"},
                    "session_state": "refuse",
                    "max_server_connections": 5,
                }
            },
            "tenants": {
                name: {"tier": data.pop("tier", "default"), "status": data.pop("status", "active"), "placement": data}
                for name, data in tenants.items()
            },
        }
    )


def shared(**more: Any) -> dict[str, Any]:
    return {"model": "shared", "cluster": "main", "database": "saas"} | more


async def test_each_model_of_placement_is_built() -> None:
    source = SettingsSource(
        settings(
            a=shared(),
            b=shared(model="schema", schema="s", role="r"),
            c=shared(model="database", database="own", status="maintenance"),
        )
    )
    placements = {name: tenant.placement for name, tenant in source.tenants.items()}
    assert placements == {
        "a": SharedPlacement("main", "saas"),
        "b": SchemaPlacement("main", "saas", "s", "r"),
        "c": DatabasePlacement("main", "own"),
    }
    assert await source.fetch("c") == Tenant("c", placements["c"], Tier("default"), TenantStatus.MAINTENANCE)
    assert await source.fetch("d") is None


async def test_a_tier_brings_its_settings_as_postgresql_reads_them() -> None:
    tenant = SettingsSource(settings(a=shared(tier="basic"))).tenants["a"]
    assert tenant.tier.settings == (
        ("statement_timeout", "10000ms"),
        ("lock_timeout", "0ms"),
        ("work_mem", "16MB"),
        ("jit", "off"),
    )
    assert tenant.tier.session_state is SessionState.REFUSE
    assert tenant.tier.max_server_connections == 5


async def test_tenants_share_what_is_equal() -> None:
    tenants = SettingsSource(settings(a=shared(), b=shared())).tenants
    assert tenants["a"].placement is tenants["b"].placement
    assert tenants["a"].tier is tenants["b"].tier


async def test_replacing_keeps_the_tenants_that_did_not_change() -> None:
    source = SettingsSource(settings(a=shared(), b=shared()))
    kept, changed = source.tenants["a"], source.tenants["b"]
    source.replace(settings(a=shared(), b=shared(status="suspended"), c=shared()))
    assert source.tenants["a"] is kept
    assert source.tenants["b"] != changed
    assert await source.fetch("c") is not None


def test_a_tier_says_what_its_clients_may_do() -> None:
    tier = build_tier(
        "x",
        settings_model.Tier.model_validate(
            {"pool_mode": "session", "query_timeout": "1s", "max_query_size": "2kB", "cross_tenant_channels": "allow"}
        ),
    )
    assert tier.clients == ClientRules(pool_mode=PoolMode.SESSION, query_timeout_s=1.0, max_query_bytes=2048)
    assert tier.allows_channels
    assert build_tier("y", settings_model.Tier()).clients == ClientRules()
    assert not build_tier("y", settings_model.Tier()).allows_channels
