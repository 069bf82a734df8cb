"""What a reload changes."""

from __future__ import annotations

from proxy.settings.live import diff
from tests.unit.settings.conftest import Load

CLUSTER = "clusters: {main: {hosts: [a], user: g, password: {env: A}}}\n"


def test_nothing_changed_is_no_change(load: Load) -> None:
    assert diff(load(CLUSTER), load(CLUSTER)).is_empty


def test_changes_are_named_by_their_keys(load: Load) -> None:
    old = load(CLUSTER + "tenants: {a: {placement: {model: shared, cluster: main, database: d}}}")
    new = load(
        CLUSTER.replace("env: A", "env: B") + "pool: {wait_timeout: 1s}\nlimits: {max_query_size: 1MB}\n"
        "tiers: {default: {max_pinned: 1}}\n"
        "tenants: {b: {placement: {model: shared, cluster: main, database: d}}}"
    )
    assert diff(old, new).live == (
        "clusters.main.password",
        "limits.max_query_size",
        "pool.wait_timeout",
        "tenants.a",
        "tenants.b",
        "tiers.default.max_pinned",
    )


def test_what_is_bound_at_start_needs_a_restart(load: Load) -> None:
    changes = diff(
        load(CLUSTER),
        load(
            CLUSTER + "listen: {port: 7000}\nhttp: off\nendpoints: {s: {port: 1}}\n"
            "context: {tenant_setting: a.b}\nlog: {level: debug}"
        ),
    )
    assert changes.needs_restart == ("context.tenant_setting", "endpoints.s", "http", "listen.port")
    assert changes.live == ("log.level",)
