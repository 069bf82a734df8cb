"""Which tenant a login speaks for, and which it may not."""

from __future__ import annotations

import pytest

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import mock_verifier
from proxy.client.startup import ClientStartup
from proxy.client.tenancy import resolve_tenant, split_user, without_tenant_settings
from proxy.errors import LoginRefused, TenantUnknown

SETTINGS = ("app.tenant_id", "app.Org")
EVERYTHING = Identity("app", None)
ACME = Identity("acme", frozenset({"acme"}))
TWO = Identity("two", frozenset({"acme", "globex"}))


class Users:
    """A directory of these names."""

    usual_iterations = 4096

    def __init__(self, *names: str) -> None:
        self._names = names

    def find(self, user: str) -> UserRecord | None:
        return UserRecord(Identity(user, None), mock_verifier(user, b"")) if user in self._names else None


def startup(
    *, tenant: str | None = None, overridden: tuple[tuple[str, str], ...] = (), **settings: str
) -> ClientStartup:
    names = {name.replace("__", "."): value for name, value in settings.items()}
    return ClientStartup("app", None, names, tenant, 0, (), overridden)


@pytest.mark.parametrize(
    ("asked", "user_tenant"),
    [
        (startup(tenant="acme"), None),
        (startup(app__tenant_id="acme"), None),
        (startup(app__org="acme"), None),
        (startup(), "acme"),
        (startup(tenant="acme", app__tenant_id="acme", app__org="acme"), "acme"),
        (startup(tenant="acme", app__tenant_id="", app__other="globex"), None),
    ],
)
@pytest.mark.parametrize("identity", [EVERYTHING, ACME, TWO], ids=lambda i: str(i.user))
def test_each_source_names_the_tenant(asked: ClientStartup, user_tenant: str | None, identity: Identity) -> None:
    assert resolve_tenant(asked, identity, user_tenant, SETTINGS) == "acme"


def test_a_login_bound_to_one_tenant_needs_to_name_none() -> None:
    assert resolve_tenant(startup(), ACME, None, SETTINGS) == "acme"


@pytest.mark.parametrize(
    ("asked", "user_tenant", "named"),
    [
        (startup(tenant="acme", app__tenant_id="globex"), None, ['parameter "tenant"', 'setting "app.tenant_id"']),
        (startup(tenant="acme"), "globex", ['parameter "tenant"', "user name"]),
        (startup(app__tenant_id="acme", app__org="globex"), None, ['setting "app.tenant_id"', 'setting "app.org"']),
        (startup(app__tenant_id="acme", overridden=(("app.tenant_id", "globex"),)), None, ['"app.tenant_id" says']),
        (startup(tenant="acme"), "ACME", ["user name"]),
    ],
)
def test_sources_that_disagree_are_named(asked: ClientStartup, user_tenant: str | None, named: list[str]) -> None:
    with pytest.raises(LoginRefused, match="more than one tenant") as caught:
        resolve_tenant(asked, EVERYTHING, user_tenant, SETTINGS)
    assert caught.value.sqlstate == "28000"
    assert caught.value.details is not None
    assert all(source in caught.value.details for source in named)


@pytest.mark.parametrize("identity", [ACME, TWO, Identity("none", frozenset())], ids=lambda i: str(i.user))
def test_a_login_may_not_speak_for_other_tenants(identity: Identity) -> None:
    with pytest.raises(LoginRefused, match='not allowed to connect for tenant "initech"') as caught:
        resolve_tenant(startup(tenant="initech"), identity, None, SETTINGS)
    assert caught.value.sqlstate == "28000"


@pytest.mark.parametrize("identity", [EVERYTHING, TWO, Identity("none", frozenset())], ids=lambda i: str(i.user))
def test_no_tenant_is_refused_with_the_ways_to_name_one(identity: Identity) -> None:
    with pytest.raises(TenantUnknown) as caught:
        resolve_tenant(startup(), identity, None, SETTINGS)
    assert caught.value.hint == (
        "Name one by the startup parameter tenant=..., options=-c app.tenant_id=..., options=-c app.Org=...,"
        f" or by the user name {identity.user}.<tenant>."
    )


def test_the_tenants_own_settings_are_taken_out_of_the_clients() -> None:
    asked = startup(
        tenant="acme", app__tenant_id="acme", app__org="acme", work_mem="1MB", overridden=(("app.org", "acme"),)
    )
    left = without_tenant_settings(asked, SETTINGS)
    assert (left.settings, left.overridden, left.tenant) == ({"work_mem": "1MB"}, (), "acme")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("app", ("app", None)),
        ("app.acme", ("app", "acme")),
        ("svc.web.acme", ("svc.web", "acme")),
        ("svc.web", ("svc.web", None)),
        ("nobody.acme", ("nobody.acme", None)),
        ("nobody", ("nobody", None)),
        ("app.", ("app.", None)),
        (".acme", (".acme", None)),
        (".", (".", None)),
        ("app.x.acme", ("app.x.acme", None)),
    ],
)
def test_a_user_name_may_carry_the_tenant_behind_its_last_dot(name: str, split: tuple[str, str | None]) -> None:
    user, tenant, record = split_user(name, Users("app", "svc.web"))
    assert (user, tenant) == split
    assert (record is not None) == (user in ("app", "svc.web"))


def test_a_login_of_exactly_this_name_wins() -> None:
    user, tenant, record = split_user("app.acme", Users("app", "app.acme"))
    assert (user, tenant) == ("app.acme", None)
    assert record is not None
    assert record.identity.user == "app.acme"
