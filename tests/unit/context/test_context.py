"""What a transaction is given, byte for byte, and that no client can change what makes it the tenant's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.context.client_settings import Parts
from proxy.context.context import FOLLOWED, Context, ContextBuilder, InjectionNames, follow
from proxy.guard.verdicts import examine
from proxy.tenants.model import DatabasePlacement, Placement, SchemaPlacement, SharedPlacement, Tenant, Tier
from proxy.wire import frontend

TIER = Tier("basic", settings=(("statement_timeout", "10000ms"), ("work_mem", "4MB")))
ACME = Tenant("acme", SharedPlacement("main", "saas"), TIER)
GLOBEX = Tenant("globex", SchemaPlacement("main", "saas", "tenant_globex", "globex_role"), TIER)
PLAIN = Tenant("plain", SchemaPlacement("main", "saas", "Plain"), Tier("none"))
INITECH = Tenant("initech", DatabasePlacement("main", "tenant_initech"), Tier("none"))
UMBRELLA = Tenant("umbrella", SharedPlacement("main", "saas"), Tier("none"))


def builder(*tenant_settings: str, max_entries: int = 100) -> ContextBuilder:
    names = InjectionNames("test")
    return ContextBuilder(tenant_settings or ("app.tenant_id",), ("shared", "public"), names, max_entries)


def set_by(context: Context) -> list[tuple[str, Parts | None]]:
    """Settings in the order in which the prefix sets them, as the guard reads it."""
    statements = examine(context.prefix).statements
    assert all(change.is_local for statement in statements for change in statement.changes)
    return [(change.name, change.value) for statement in statements for change in statement.changes]


# Bytes.


def test_the_prefix_of_a_schema_tenant_is_these_bytes() -> None:
    context = builder().build(GLOBEX, {"a.b": ("it's",)})
    assert context.prefix == (
        b'SET LOCAL "app"."tenant_id" TO \'globex\'; '
        b"SET LOCAL \"search_path\" TO 'tenant_globex', 'shared', 'public'; "
        b"SET LOCAL \"statement_timeout\" TO '10000ms'; "
        b"SET LOCAL \"work_mem\" TO '4MB'; "
        b"SET LOCAL \"a\".\"b\" TO 'it''s'; "
        b"SET LOCAL \"role\" TO 'globex_role'; "
    )
    assert context.statements == 6
    assert context.query == frontend.query(context.prefix)


def test_the_extended_form_is_these_bytes() -> None:
    context = builder().build(PLAIN, {})
    assert context.statement_name == b"gatehouse_test_ctx_2"
    assert context.parse == frontend.parse(
        b"gatehouse_test_ctx_2", b"SELECT pg_catalog.set_config($1,$2,true), pg_catalog.set_config($3,$4,true)"
    )
    values = (b"app.tenant_id", b"plain", b"search_path", b'"Plain", shared, public')
    assert context.bind_execute == frontend.bind(b"", b"gatehouse_test_ctx_2", values) + frontend.execute(b"")


def test_the_length_of_the_prefix_counts_characters_as_error_positions_do() -> None:
    context = builder().build(ACME, {"application_name": ("café",)})
    assert context.prefix_length == len(context.prefix.decode())
    assert context.prefix_length == len(context.prefix) - 1


def test_several_names_may_carry_the_tenant() -> None:
    context = builder("app.tenant_id", "app.org").build(INITECH, {})
    assert set_by(context) == [("app.tenant_id", ("initech",)), ("app.org", ("initech",))]


def test_the_names_of_injected_statements_can_not_be_guessed() -> None:
    assert InjectionNames().context(1) != InjectionNames().context(1)
    names = InjectionNames("x")
    assert len({names.context(1), names.context(2), names.client(1), names.client(2)}) == 4


# What the client's map can not change.

hostile_names = st.sampled_from(
    ["app.tenant_id", "app.org", "role", "search_path", "statement_timeout", "application_name", "a.b", *FOLLOWED]
)
maps = st.dictionaries(hostile_names, st.lists(st.text(max_size=8), min_size=1, max_size=2).map(tuple))


@given(st.sampled_from([ACME, GLOBEX, PLAIN, INITECH]), maps)
def test_no_client_setting_changes_the_tenant_or_the_role(tenant: Tenant, client: dict[str, Parts]) -> None:
    context = builder("app.tenant_id", "app.org").build(tenant, client)
    values = set_by(context)
    assert len(dict(values)) == len(values)
    settings = dict(values)
    assert settings["app.tenant_id"] == settings["app.org"] == (tenant.id,)
    assert [name for name, _ in values][:2] == ["app.tenant_id", "app.org"]
    role = tenant.placement.role if isinstance(tenant.placement, SchemaPlacement) else None
    assert settings.get("role") == (None if role is None else (role,))
    assert not set(settings) & set(FOLLOWED)


@given(maps)
def test_the_role_is_taken_on_last_because_it_may_not_set_what_stands_behind_it(client: dict[str, Parts]) -> None:
    assert set_by(builder().build(GLOBEX, client))[-1] == ("role", ("globex_role",))


def test_a_client_may_narrow_its_search_path_and_override_what_its_tier_only_suggests() -> None:
    settings = dict(set_by(builder().build(GLOBEX, {"search_path": ("tenant_globex",), "work_mem": ("1MB",)})))
    assert settings["search_path"] == ("tenant_globex",)
    assert settings["work_mem"] == ("1MB",)
    assert settings["statement_timeout"] == ("10000ms",)


@pytest.mark.parametrize("path", [(), ("",)])
def test_a_search_path_of_nothing_stays_nothing(path: Parts) -> None:
    context = builder().build(GLOBEX, {"search_path": path})
    assert b"SET LOCAL \"search_path\" TO ''; " in context.prefix
    assert b"tenant_globex" not in context.prefix


@pytest.mark.parametrize(
    ("placement", "path"),
    [
        (SharedPlacement("main", "saas"), None),
        (DatabasePlacement("main", "x"), None),
        (SchemaPlacement("main", "saas", "s"), ("s", "shared", "public")),
    ],
)
def test_only_a_schema_tenant_has_a_search_path_of_its_own(placement: Placement, path: Parts | None) -> None:
    assert builder().base_search_path(Tenant("x", placement, TIER)) == path


# Plans.


def test_plans_are_shared_where_names_mean_the_same() -> None:
    build = builder().build
    assert build(ACME, {}).plan_key == build(UMBRELLA, {"work_mem": ("1MB",)}).plan_key
    assert build(ACME, {"search_path": ("a",)}).plan_key != build(ACME, {}).plan_key


def test_plans_of_different_databases_are_kept_apart() -> None:
    assert builder().build(ACME, {}).plan_key != builder().build(INITECH, {}).plan_key


@pytest.mark.parametrize("name", ["client_encoding", "datestyle", "intervalstyle", "timezone", "xmloption"])
def test_plans_are_kept_apart_where_texts_mean_something_else(name: str) -> None:
    build = builder().build
    keys = {build(ACME, client).plan_key for client in ({}, {name: ("a",)}, {name: ("b",)})}
    assert len(keys) == 3


def test_plans_of_different_schemas_or_roles_are_kept_apart() -> None:
    placements = [
        SchemaPlacement("main", "saas", "a"),
        SchemaPlacement("main", "saas", "b"),
        SchemaPlacement("main", "saas", "a", "r"),
        SchemaPlacement("main", "saas", "a", "q"),
        SchemaPlacement("main", "saas", "A"),
    ]
    keys = {builder().build(Tenant("x", placement, TIER), {}).plan_key for placement in placements}
    assert len(keys) == len(placements)
    same = builder().build(Tenant("y", placements[0], Tier("none")), {}).plan_key
    assert same in keys


# Parameters and followed settings.


def test_reported_are_the_parameters_as_the_client_sees_them() -> None:
    client: dict[str, Parts] = {
        "datestyle": ("ISO", "DMY"),
        "timezone": ("UTC",),
        "a.b": ("c",),
        "client_encoding": ("LATIN1",),
    }
    assert builder().build(PLAIN, client).reported == {
        b"DateStyle": b"ISO, DMY",
        b"TimeZone": b"UTC",
        b"client_encoding": b"LATIN1",
        b"search_path": b'"Plain", shared, public',
    }


def test_a_server_is_taken_from_one_clients_followed_settings_to_anothers() -> None:
    build = builder().build
    first = build(ACME, {"client_encoding": ("LATIN1",), "default_transaction_isolation": ("serializable",)})
    second = build(ACME, {"client_encoding": ("LATIN1",), "default_transaction_read_only": ("on",)})
    assert follow((), first.followed) == frontend.query(
        b"SET SESSION \"client_encoding\" TO 'LATIN1'; SET SESSION \"default_transaction_isolation\" TO 'serializable'"
    )
    assert follow(first.followed, second.followed) == frontend.query(
        b'SET SESSION "default_transaction_isolation" TO DEFAULT; SET SESSION "default_transaction_read_only" TO \'on\''
    )
    assert follow(second.followed, ()) == frontend.query(
        b'SET SESSION "client_encoding" TO DEFAULT; SET SESSION "default_transaction_read_only" TO DEFAULT'
    )


# The cache.


def test_the_same_tenant_and_settings_are_the_same_context() -> None:
    made = builder()
    first = made.build(ACME, {"a.a": ("1",), "a.b": ("2",)})
    assert made.build(ACME, {"a.b": ("2",), "a.a": ("1",)}) is first
    assert made.build(ACME, {"a.a": ("1",)}) is not first
    assert made.build(GLOBEX, {"a.a": ("1",), "a.b": ("2",)}) is not first


def test_a_changed_tenant_gets_a_new_context() -> None:
    made = builder()
    moved = Tenant("acme", SchemaPlacement("main", "saas", "acme"), TIER)
    before, after = made.build(ACME, {}), made.build(moved, {})
    assert before.prefix != after.prefix
    # Sessions from before the change and from after it live side by side for a while.
    assert made.build(ACME, {}).prefix == before.prefix
    assert made.build(moved, {}).prefix == after.prefix


def test_a_tenant_that_was_looked_up_again_keeps_its_context() -> None:
    made = builder()
    again = Tenant("acme", SharedPlacement("main", "saas"), TIER)
    assert again is not ACME
    assert made.build(again, {}) is made.build(ACME, {})


def test_the_cache_keeps_its_limit() -> None:
    made = builder(max_entries=2)
    first = made.build(ACME, {})
    for value in "123":
        last = made.build(ACME, {"a.b": (value,)})
    assert made.build(ACME, {"a.b": ("3",)}) is last
    again = made.build(ACME, {})
    assert again is not first
    assert again.prefix == first.prefix
