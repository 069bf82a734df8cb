"""Walking the model as a file sees it."""

from __future__ import annotations

import pytest

from proxy.settings.fields import keys, known_keys
from proxy.settings.model import Settings


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "tenants_file"),
        (("pool",), "wait_timeout"),
        (("http",), "port"),
        (("clusters", "main"), "hosts"),
        (("clusters", "main", "tls"), "ca_file"),
        (("users", "app", "password"), "env"),
        (("tenants", "acme", "placement"), "schema"),
    ],
)
def test_the_keys_at_a_path_are_known(path: tuple[str, ...], key: str) -> None:
    assert key in known_keys(path)


@pytest.mark.parametrize("path", [("clusters",), ("nothing",), ("pool", "size"), ("tiers", "x", "settings")])
def test_where_names_are_free_no_keys_are_known(path: tuple[str, ...]) -> None:
    assert known_keys(path) == []


def test_a_default_is_given_as_it_is_written() -> None:
    pool = keys(keys(Settings)["pool"].section or object)
    assert pool["lifetime"].default() == "1h"
    assert pool["lifetime"].kind() == "timeout"
