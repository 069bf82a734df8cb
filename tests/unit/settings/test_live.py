"""What a reload changes."""

from __future__ import annotations

from proxy.settings.live import TenantChanges, diff
from proxy.settings.model import TenantEntry
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


def test_of_very_many_changes_a_log_line_names_the_first(load: Load) -> None:
    place = "{placement: {model: shared, cluster: main, database: d}}"
    few, many = (
        load(CLUSTER + "tenants:\n" + "".join(f"  t{number:03}: {place}\n" for number in range(count)))
        for count in (2, 300)
    )
    assert diff(load(CLUSTER), few).shown() == ["tenants.t000", "tenants.t001"]
    changes = diff(load(CLUSTER), many)
    assert len(changes.live) == 300
    assert changes.shown()[0] == "tenants.t000"
    assert changes.shown()[-1] == "… and 100 more"


def test_tenants_can_be_passed_on_as_what_changed(load: Load) -> None:
    def tenants(**databases: str) -> dict[str, TenantEntry]:
        lines = (
            f"  {name}: {{placement: {{model: shared, cluster: main, database: {databases[name]}}}}}\n"
            for name in databases
        )
        return load(CLUSTER + "tenants:\n" + "".join(lines)).tenants

    old, new = tenants(a="d", b="d", c="d"), tenants(a="d", b="e", n="d")
    changes = TenantChanges.between(old, new)
    assert changes.entries.keys() == {"b", "n"}
    assert changes.gone == ("c",)
    assert changes.applied_to(old) == new
    assert changes.applied_to(changes.applied_to(old)) == new
    assert TenantChanges.between(old, old).applied_to(old) is old


def test_what_is_bound_at_start_needs_a_restart(load: Load) -> None:
    changes = diff(
        load(CLUSTER),
        load(
            CLUSTER + "listen: {port: 7000}\nhttp: off\nendpoints: {s: {port: 1}}\n"
            "context: {tenant_setting: a.b}\nlog: {level: debug, connections: false}"
        ),
    )
    assert changes.needs_restart == ("context.tenant_setting", "endpoints.s", "http", "listen.port", "log.level")
    assert changes.live == ("log.connections",)
