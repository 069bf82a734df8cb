"""Whose word counts on what a client may do."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.app.terms import Policies, TermsBook
from proxy.client.services import Terms
from proxy.context.context import ContextBuilder, InjectionNames
from proxy.guard.rules import GuardPolicy
from proxy.settings.model import Settings
from proxy.tenants.model import (
    DatabasePlacement,
    Placement,
    PoolMode,
    SchemaPlacement,
    SessionState,
    SharedPlacement,
    Tenant,
    Tier,
)
from proxy.tenants.yaml_source import build_tier


def terms(
    settings: dict[str, Any], user: str = "app", tier: str = "default", listener: PoolMode | None = None
) -> Terms:
    made = Settings.model_validate(settings)
    return TermsBook(made).terms(user, build_tier(tier, made.tiers[tier]), listener)


def user(**rules: Any) -> dict[str, Any]:
    return {"users": {"app": {"tenants": "*", **rules}}}


def test_without_a_word_the_defaults_count() -> None:
    plain = terms({})
    assert plain.session.mode is PoolMode.TRANSACTION
    assert not plain.session.are_timed
    assert plain.session.idle_timeout_s == 0.0
    assert plain.session.max_query_bytes == 64 << 20
    assert plain.wait_timeout_s is None


@pytest.mark.parametrize(
    ("settings", "listener", "mode"),
    [
        ({"pool": {"mode": "statement"}}, None, PoolMode.STATEMENT),
        ({"pool": {"mode": "statement"}, "tiers": {"default": {"pool_mode": "session"}}}, None, PoolMode.SESSION),
        ({"tiers": {"default": {"pool_mode": "session"}}, **user(pool_mode="transaction")}, None, PoolMode.TRANSACTION),
        (user(pool_mode="transaction"), PoolMode.SESSION, PoolMode.SESSION),
    ],
)
def test_the_mode_is_the_listeners_then_the_users_then_the_tiers_then_the_pools(
    settings: dict[str, Any], listener: PoolMode | None, mode: PoolMode
) -> None:
    assert terms(settings, listener=listener).session.mode is mode


@pytest.mark.parametrize(
    ("key", "attribute"),
    [
        ("query_timeout", "query_timeout_s"),
        ("transaction_timeout", "transaction_timeout_s"),
        ("idle_in_transaction_timeout", "idle_in_transaction_timeout_s"),
        ("client_idle_timeout", "idle_timeout_s"),
        ("pin_timeout", "pin_timeout_s"),
    ],
)
def test_a_time_is_the_users_then_the_tiers_then_that_of_all(key: str, attribute: str) -> None:
    of_all = {"timeouts": {key: "10s"}}
    assert getattr(terms(of_all).session, attribute) == 10.0
    of_tier = {**of_all, "tiers": {"default": {key: "5s"}}}
    assert getattr(terms(of_tier).session, attribute) == 5.0
    assert getattr(terms({**of_all, "tiers": {"default": {key: "off"}}}).session, attribute) == 0.0
    if key != "pin_timeout":
        assert getattr(terms({**of_tier, **user(**{key: "20s"})}).session, attribute) == 20.0
        assert getattr(terms({**of_tier, **user(**{key: "20s"})}, "another").session, attribute) == 5.0


def test_a_wait_is_the_clients_own_only_where_it_is_not_the_pools() -> None:
    assert terms(user(wait_timeout="15s")).wait_timeout_s is None
    assert terms(user(wait_timeout="1s")).wait_timeout_s == 1.0
    assert terms(user(wait_timeout="off")).wait_timeout_s == 0.0
    assert terms({"tiers": {"default": {"wait_timeout": "2s"}}, **user(wait_timeout="15s")}).wait_timeout_s is None


def test_sizes_are_the_users_then_the_tiers_and_a_query_is_no_longer_than_a_message() -> None:
    settings = {"tiers": {"default": {"max_message_size": "1MB"}}, **user(max_query_size="2MB")}
    limits = terms(settings).session
    assert (limits.max_message_bytes, limits.max_query_bytes) == (1 << 20, 1 << 20)
    assert terms({**settings, **user(max_query_size="2kB")}).session.max_query_bytes == 2048


def test_the_same_client_has_the_same_terms() -> None:
    book = TermsBook(Settings.model_validate(user(query_timeout="1s")))
    assert book.terms("app", Tier("default"), None) is book.terms("app", Tier("default"), None)
    assert book.terms("app", Tier("default"), None) != book.terms("other", Tier("default"), None)


# What clients may not do.

SHARED = SharedPlacement("main", "saas")
SCHEMA = SchemaPlacement("main", "saas", "tenant_a")
OWN = DatabasePlacement("main", "own")


def policy(placement: Placement, mode: PoolMode = PoolMode.TRANSACTION, tier: Tier | None = None) -> GuardPolicy:
    settings = Settings()
    builder = ContextBuilder(settings.context.tenant_settings, settings.context.shared_schemas, InjectionNames())
    return Policies(settings, builder).policy(Tenant("a", placement, tier or Tier("default")), mode)


@pytest.mark.parametrize("mode", list(PoolMode))
def test_the_context_is_protected_in_every_mode(mode: PoolMode) -> None:
    assert policy(SHARED, mode).protected == {"app.tenant_id", "role", "session_authorization"}
    assert policy(SCHEMA, mode).allowed_search_path == frozenset({"tenant_a", "public"})


@pytest.mark.parametrize("mode", list(PoolMode))
def test_channels_are_refused_where_other_tenants_would_hear_them(mode: PoolMode) -> None:
    assert policy(SHARED, mode).channels_refused
    assert policy(SCHEMA, mode).channels_refused
    assert not policy(OWN, mode).channels_refused
    assert not policy(SHARED, mode, Tier("x", allows_channels=True)).channels_refused


@pytest.mark.parametrize("mode", list(PoolMode))
def test_other_sessions_are_out_of_reach_where_they_are_other_tenants(mode: PoolMode) -> None:
    assert policy(SHARED, mode).sessions_refused
    assert policy(SCHEMA, mode).sessions_refused
    assert not policy(OWN, mode).sessions_refused
    assert not policy(SHARED, mode, Tier("x", allows_sessions=True)).sessions_refused
    assert policy(SHARED, mode, Tier("x", allows_channels=True)).sessions_refused


def test_a_session_may_do_what_needs_one() -> None:
    strict = Tier("x", session_state=SessionState.REFUSE)
    assert policy(SHARED, tier=strict).session_state_refused
    assert not policy(SHARED, PoolMode.SESSION, strict).session_state_refused
    assert policy(SHARED, PoolMode.SESSION).transaction_block_free
    assert not policy(SHARED).transaction_block_free
    assert policy(OWN).transaction_block_free


def test_statement_mode_alone_refuses_transaction_blocks() -> None:
    refusing = [mode for mode in PoolMode if policy(OWN, mode).transactions_refused]
    assert refusing == [PoolMode.STATEMENT]
