"""Every example in config/ loads, and shows what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.app.terms import TermsBook
from proxy.client.session_terms import SessionLimits
from proxy.settings.loading import load_settings
from proxy.tenants.model import PoolMode
from proxy.tenants.yaml_source import build_tier

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = sorted(path.name for path in CONFIG.glob("*.yaml") if path.name != "tenants.yaml")


def test_the_examples_are_there() -> None:
    assert {"full.yaml", "gatehouse.yaml", "production.yaml", "sessions.yaml"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_loads(name: str) -> None:
    settings = load_settings(CONFIG / name)
    assert settings.clusters
    assert settings.users
    assert settings.tenants


def test_the_small_example_has_all_three_placements_in_its_tenants_file() -> None:
    settings = load_settings(CONFIG / "gatehouse.yaml")
    assert {tenant.placement.model for tenant in settings.tenants.values()} == {"shared", "schema", "database"}
    assert settings.tenants_file == CONFIG / "tenants.yaml"


def test_the_example_of_sessions_shows_who_decides() -> None:
    settings = load_settings(CONFIG / "sessions.yaml")
    book = TermsBook(settings)

    def terms(user: str, tenant: str, endpoint: str | None = None) -> SessionLimits:
        tier = settings.tenants[tenant].tier
        mode = settings.endpoints[endpoint].mode if endpoint else None
        return book.terms(user, build_tier(tier, settings.tiers[tier]), mode and PoolMode(mode)).session

    assert terms("app", "acme").mode is PoolMode.TRANSACTION
    assert terms("app", "acme", "session").mode is PoolMode.SESSION
    assert terms("migrations", "acme").mode is PoolMode.SESSION
    assert (terms("app", "acme").query_timeout_s, terms("migrations", "acme").query_timeout_s) == (30.0, 0.0)
    assert (terms("app", "acme").pin_timeout_s, terms("app", "initech").pin_timeout_s) == (0.0, 300.0)
