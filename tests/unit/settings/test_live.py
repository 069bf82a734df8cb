"""What a reload changes."""

from __future__ import annotations

import pytest

from proxy.errors import ConfigError
from proxy.settings.live import TenantChanges, diff, until_restart
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


def test_until_a_restart_what_needs_one_stays_as_it_was(load: Load) -> None:
    old = load(CLUSTER + "workers: 2\ncontext: {tenant_setting: a.b}\nlog: {level: error}")
    new = load(CLUSTER + "workers: 3\nlisten: {port: 7000}\npool: {size: 7}\nlog: {level: debug, connections: false}")
    lived_by = until_restart(old, new, diff(old, new))
    assert (lived_by.workers, lived_by.listen, lived_by.context) == (2, old.listen, old.context)
    assert (lived_by.pool.size, lived_by.log.level, lived_by.log.connections) == (7, "error", False)
    assert until_restart(old, old, diff(old, old)) is old


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            "context: {shared_schemas: [public, common]}",
            "tenants: {a: {placement: {model: schema, cluster: main, database: d, schema: common}}}",
            'tenants.a.placement.schema: the schema "common" is shared by all tenants',
        ),
        ("workers: 4", "pool: {size: 3}", "pool.size: must not be less than workers, which is 4"),
        (
            "context: {tenant_setting: a.b}",
            "tiers: {default: {settings: {a.b: x}}}",
            'tiers.default.settings.a.b: "a.b" is part of the tenant\'s context',
        ),
    ],
)
def test_a_good_file_is_refused_that_does_not_go_with_what_stays(
    load: Load, before: str, after: str, problem: str
) -> None:
    old, new = load(CLUSTER + before), load(CLUSTER + after)
    with pytest.raises(ConfigError) as refused:
        until_restart(old, new, diff(old, new))
    assert problem in str(refused.value)
    assert "Until a restart this is as it was: " + before.split(":")[0] in str(refused.value)
