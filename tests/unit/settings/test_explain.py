"""What pydantic found, in the words of the file."""

from __future__ import annotations

import pytest

from tests.unit.settings.conftest import Complain


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("pool: {sise: 3}", 'unknown key "sise"', 'Did you mean "size"?'),
        ("pol: {size: 3}", 'unknown key "pol"', 'Did you mean "pool"?'),
        ("log: {colour: x}", 'unknown key "colour"', "There are connections, format and level."),
        ("pool: {wait_timeout_s: 3s}", 'unknown key "wait_timeout_s"', 'Did you mean "wait_timeout"?'),
        ("jwt: {issuer: x}", '"jwt" is unknown: logins by token are not available yet', None),
        ("pool: {size: yes}", 'expected a whole number, found "yes"', None),
        ("pool: {size: 1.5}", "expected a whole number, found 1.5", None),
        ("pool: {size: 0}", "must be at least 1", None),
        ("pool: {trusted: yes}", 'expected true or false, found "yes"', "Write true."),
        ("pool: {trusted: 1}", "expected true or false, found 1", None),
        ("pool: {wait_timeout: 15}", "the duration 15 has no unit", "Write a number with a unit, ms, s, m, h or d"),
        ("pool: {wait_timeout: 15 min}", '"min" is not a unit of time', "Write a number with a unit"),
        ("clusters: {main: {user: g, hosts: h}}", 'expected a list, found "h"', "Put it in brackets: […]."),
        ("acme: {placement: {model: shared}}", 'unknown key "acme"', "A tenant stands below tenants, or in the file"),
        ("pool: [1]", "expected a mapping, found a list", None),
        ("listen: {port: 70000}", "must be at most 65535", None),
        ("listen: {host: 127}", "expected text, found 127", "Quote it."),
        ("log: {level: warn}", 'expected debug, info, warning or error, found "warn"', 'Did you mean "warning"?'),
        ("clusters: {main: {user: g}}", '"hosts" is missing', None),
        ("clusters: {main: {user: g, hosts: []}}", "must not be empty", None),
        ("clusters: {a b: {user: g, hosts: [x]}}", '"a b" is not a usable name', "Use 1 to 63"),
        ("tenants: {a: 5}", "expected a mapping, found 5", None),
        ("context: {tenant_setting: tenant}", '"tenant" is not the name of a custom setting', "Write two parts"),
    ],
)
def test_a_problem_is_told_in_the_words_of_the_file(
    complain: Complain, text: str, message: str, hint: str | None
) -> None:
    (problem,) = complain(text)
    assert f": {message}" in problem
    assert (f"hint: {hint}" if hint else "hint") in problem or hint is None
    assert ("hint" in problem) == (hint is not None)


def test_a_missing_key_points_at_the_entry_that_misses_it(complain: Complain) -> None:
    (problem,) = complain("clusters:\n  main:\n    user: g\n")
    assert problem.startswith('g.yaml:2:3: "hosts" is missing')


def test_a_bad_item_of_a_list_is_one_problem(complain: Complain) -> None:
    (problem,) = complain('clusters: {main: {user: g, hosts: ["::1"]}}')
    assert problem.startswith('g.yaml:1:36: "::1" is not the address')


@pytest.mark.parametrize(
    "text",
    [
        "clusters: {main: {user: g, hosts: [a], password: hunter2}}",
        "clusters: {main: {user: g, hosts: [a], password: [hunter2]}}",
        "clusters: {main: {user: g, hosts: [a], password: {hunter2}}}",
        "clusters: {main: {user: g, hosts: [a], password: {value: hunter2}}}",
        "clusters: {main: {user: g, hosts: [a], password: {env: $hunter2}}}",
        "clusters: {main: {user: g, hosts: [a], password: {scram: hunter2}}}",
        "clusters: {main: {user: g, hosts: [a], pasword: hunter2}}",
        "clusters: {main: {user: g, hosts: [a], db_passwd: hunter2}}",
        "clusters:\n  main:\n    user: g\n    hosts: [a]\n    password: |\n      hunter2\n",
        "clusters: {main: {user: g, hosts: [a], password: *hunter2}}",
        "clusters: {main: {user: g, hosts: [a], password: @hunter2}}",
        "clusters: {main: {user: g, hosts: [a], password: !hunter2 hunter2}}",
    ],
)
def test_a_password_in_the_file_is_a_problem_and_is_not_shown(complain: Complain, text: str) -> None:
    found = complain(text)
    assert found
    assert "hunter2" not in "\n".join(found)


def test_a_plain_password_is_told_where_to_go(complain: Complain) -> None:
    (problem,) = complain("users: {app: {tenants: '*', password: hunter2}}")
    assert "a secret can not be written here" in problem
    assert "{env: NAME} or {file: PATH}" in problem


def test_a_tenant_named_like_a_secret_is_an_ordinary_tenant(complain: Complain) -> None:
    (problem,) = complain(
        "tenants: {token-shop: {placement: {model: shared, cluster: c, database: d, foo: 1}}}\n"
        "clusters: {c: {hosts: [a], user: g}}"
    )
    assert 'unknown key "foo"' in problem
