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


async def tenant(source: SettingsSource, tenant_id: str) -> Tenant:
    found = await source.fetch(tenant_id)
    assert found is not None
    return found


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
    placements = {name: (await tenant(source, name)).placement for name in "abc"}
    assert placements == {
        "a": SharedPlacement("main", "saas"),
        "b": SchemaPlacement("main", "saas", "s", "r"),
        "c": DatabasePlacement("main", "own"),
    }
    assert await source.fetch("c") == Tenant("c", placements["c"], Tier("default"), TenantStatus.MAINTENANCE)
    assert await source.fetch("d") is None
    assert len(source) == 3


async def test_a_tier_brings_its_settings_as_postgresql_reads_them() -> None:
    tier = (await tenant(SettingsSource(settings(a=shared(tier="basic"))), "a")).tier
    assert tier.settings == (
        ("statement_timeout", "10000ms"),
        ("lock_timeout", "0ms"),
        ("work_mem", "16MB"),
        ("jit", "off"),
    )
    assert tier.session_state is SessionState.REFUSE
    assert tier.max_server_connections == 5


async def test_tenants_share_what_is_equal() -> None:
    source = SettingsSource(settings(a=shared(), b=shared()))
    a, b = await tenant(source, "a"), await tenant(source, "b")
    assert a.placement is b.placement
    assert a.tier is b.tier


async def test_other_settings_count_at_once() -> None:
    source = SettingsSource(settings(a=shared(), b=shared(), d=shared()))
    same, changed = await tenant(source, "a"), await tenant(source, "b")
    source.replace(settings(a=shared(), b=shared(status="suspended"), c=shared()))
    assert await source.fetch("a") == same
    assert await source.fetch("b") != changed
    assert await source.fetch("c") is not None
    assert await source.fetch("d") is None


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
    assert not tier.allows_sessions
    assert build_tier("z", settings_model.Tier(cross_tenant_sessions="allow")).allows_sessions
