"""Every example in config/ loads, and shows what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.settings.loading import load_settings

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = sorted(path.name for path in CONFIG.glob("*.yaml") if path.name != "tenants.yaml")


def test_the_examples_are_there() -> None:
    assert {"full.yaml", "gatehouse.yaml", "production.yaml"} <= set(EXAMPLES)


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
