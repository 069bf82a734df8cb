"""The model by itself: defaults, names with units, and what can not be chosen."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from proxy.settings.fields import keys
from proxy.settings.model import (
    Cluster,
    ContextSettings,
    Endpoint,
    Http,
    Listen,
    PoolSettings,
    Settings,
    Tier,
    User,
)
from proxy.settings.places import TenantEntry


def test_everything_has_a_default() -> None:
    settings = Settings()
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 6432)
    assert settings.http == Http()
    assert settings.pool.wait_timeout_s == 15.0
    assert settings.limits.max_query_bytes == 64 * 1024 * 1024
    assert settings.context.tenant_settings == ("app.tenant_id",)
    assert settings.timeouts.client_idle_timeout_s == 0.0
    assert settings.tiers == {"default": Tier()}


def test_python_code_gives_numbers_in_the_unit_of_the_name() -> None:
    assert PoolSettings(wait_timeout_s=0.2).wait_timeout_s == 0.2
    assert PoolSettings(wait_timeout_s=0).wait_timeout_s == 0.0


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().pool.size = 3


def test_the_default_tier_can_be_redefined_and_is_there_in_any_case() -> None:
    assert Settings(tiers={"basic": Tier()}).tiers.keys() == {"default", "basic"}
    assert Settings(tiers={"default": Tier(max_pinned=7)}).tiers["default"].max_pinned == 7


def test_the_tenant_setting_is_a_name_or_a_list() -> None:
    assert ContextSettings.model_validate({"tenant_setting": "app.x"}).tenant_settings == ("app.x",)
    assert ContextSettings.model_validate({"tenant_setting": ["app.x", "App.Y"]}).tenant_settings == ("app.x", "app.y")
    with pytest.raises(ValidationError):
        ContextSettings.model_validate({"tenant_setting": []})


def test_an_endpoint_leaves_to_listen_what_it_does_not_say_but_for_the_mode() -> None:
    listen = Listen(host="10.0.0.1", unix_socket_dir="/run/gatehouse", backlog=7, mode="session")
    assert Endpoint(port=6433).beside(listen) == listen.model_copy(update={"port": 6433, "mode": None})
    other = Endpoint(
        port=6433, host="::1", unix_socket_dir="/tmp", unix_socket_mode="0700", backlog=8, mode="statement"
    )
    assert other.beside(listen) == Listen.model_validate(other.model_dump())


def test_http_can_be_turned_off() -> None:
    assert Settings.model_validate({"http": "off"}).http is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"pool": {"mode": "sessions"}}, "'transaction', 'session' or 'statement'"),
        ({"endpoints": {"x": {"mode": "session"}}}, "port"),
        ({"endpoints": {"a b": {"port": 1}}}, "not a usable name"),
        ({"tiers": {"x": {"max_query_size": 10}}}, "greater than or equal to 1024"),
        ({"users": {"x": {"tenants": "*", "pin_timeout": "1s"}}}, "Extra inputs"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"workers": 257}, "less than or equal to 256"),
        ({"users": {"web": {"auth": "jwt", "tenants": "*"}}}, "jwt is not available yet"),
        ({"users": {"web": {"password": {"vault": "x"}, "tenants": "*"}}}, "Vault are not available yet"),
        ({"listen": {"unix_socket_mode": "rwx"}}, "not a file mode"),
        ({"tiers": {"x": {"statement_timeout": "25d"}}}, "no timeout longer"),
        ({"tiers": {"x": {"work_mem": "16\u00a0MB"}}}, "printable ASCII"),
        ({"pool": {"reset_timeout": "off"}}, "is not a duration"),
        ({"pool": {"lifetime_jitter": 1}}, "less than 1"),
        ({"limits": {"max_message_size": "2GB"}}, "less than or equal"),
    ],
)
def test_what_can_not_be_had_is_said(data: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Settings.model_validate(data)


def test_a_server_login_needs_the_password_not_a_verifier() -> None:
    key = "A" * 43 + "="
    with pytest.raises(ValidationError, match="can not be used to log in"):
        Cluster.model_validate(
            {"hosts": ["a"], "user": "g", "password": {"scram": f"SCRAM-SHA-256$4096:c2FsdA==${key}:{key}"}}
        )


def test_a_tiers_settings_are_text_as_postgresql_wants_it() -> None:
    tier = Tier.model_validate({"settings": {"JIT": False, "random_page_cost": 1.1, "work_mem": "4MB"}})
    assert tier.settings == {"jit": "off", "random_page_cost": "1.1", "work_mem": "4MB"}


def test_a_login_is_for_all_tenants_or_for_a_list() -> None:
    assert User.model_validate({"tenants": "*"}).tenants == "*"
    assert User.model_validate({"tenants": ["acme"]}).tenants == ("acme",)
    for tenants in ([], ["*"], "acme", ["a b"], [1], None):
        with pytest.raises(ValidationError):
            User.model_validate({"tenants": tenants})


def test_every_key_says_what_it_means() -> None:
    def check(section: type[Any]) -> None:
        for name, key in keys(section).items():
            assert key.field.description, f"{section.__name__}.{name}"
            assert key.kind()
            if key.section is not None:
                check(key.section)

    check(Settings)


def test_entries_of_tenants_are_small() -> None:
    tenant = TypeAdapter(TenantEntry).validate_python(
        {"placement": {"model": "shared", "cluster": "main", "database": "saas"}}
    )
    assert not hasattr(tenant, "__dict__")
    assert not hasattr(tenant.placement, "__dict__")
