from __future__ import annotations

import pytest

from proxy.guard.statements import SettingChange, Statement, Taint, split
from proxy.guard.statements import StatementKind as Kind
from tests.unit.guard import oracle
from tests.unit.guard.corpus import STATEMENTS


def one(text: str) -> Statement:
    return split(text.encode())[0]


def change(text: str) -> tuple[str, tuple[str, ...] | None, bool]:
    (only,) = one(text).changes
    return only.name, only.value, only.is_local


_SETS = [
    text for text in STATEMENTS if text.startswith(("SET ", "RESET ")) and one(text).kind in (Kind.SET, Kind.RESET)
]


@pytest.mark.parametrize("text", _SETS)
def test_names_and_values_are_those_of_postgresql(text: str) -> None:
    parsed = oracle.parse(text)
    assert parsed is not None
    node = parsed[0].node
    assert change(text) == (node.name.lower(), oracle.set_values(node), node.is_local)


@pytest.mark.parametrize("text", [text for text in _SETS if one(text).local_form is not None])
def test_the_local_form_changes_the_same_for_the_transaction_only(text: str) -> None:
    local = one(text).local_form
    assert local is not None
    before, after = oracle.parse(text), oracle.parse(local.decode())
    assert before is not None
    assert after is not None
    assert after[0].node.is_local
    assert (after[0].node.name, oracle.set_values(after[0].node)) == (
        before[0].node.name,
        oracle.set_values(before[0].node),
    )


@pytest.mark.parametrize(
    ("text", "local", "at", "shift"),
    [
        ("SET work_mem='1MB'", "SET LOCAL work_mem='1MB'", 3, 6),
        ("set/**/Session x.y=1 ;", "set/**/LOCAL x.y=1", 7, -2),
        ("SET TIME ZONE 'UTC'", "SET LOCAL TIME ZONE 'UTC'", 3, 6),
        ("SET NAMES 'UTF8'", "SET LOCAL NAMES 'UTF8'", 3, 6),
        ("SET SESSION AUTHORIZATION x", "SET LOCAL SESSION AUTHORIZATION x", 3, 6),
        ("SET SESSION SESSION AUTHORIZATION x", "SET LOCAL SESSION AUTHORIZATION x", 4, -2),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET LOCAL SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            3,
            6,
        ),
    ],
)
def test_local_is_put_where_postgresql_takes_it(text: str, local: str, at: int, shift: int) -> None:
    statement = one(text)
    assert (statement.local_form, statement.local_at, statement.local_shift) == (local.encode(), at, shift)
    assert oracle.parse(local) is not None


def test_error_positions_lead_back_through_the_local_form() -> None:
    text = "SET  work_mem = 'no'"
    statement = one(text)
    assert statement.local_form is not None
    position = statement.local_form.index(b"'no'")
    assert position - statement.local_shift == text.index("'no'")


@pytest.mark.parametrize(
    "text", ["SET LOCAL a.b = 1", "SET LOCAL TIME ZONE 1", "RESET a.b", "SET TRANSACTION READ ONLY"]
)
def test_what_is_local_already_or_a_reset_has_no_local_form(text: str) -> None:
    assert one(text).local_form is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SET a.b TO c, 'D', \"E\", -1, on", ("a.b", ("c", "D", "E", "-1", "on"), False)),
        ("SET \"App.Tenant_ID\" = 'x'", ("app.tenant_id", ("x",), False)),
        ("SET app /**/ . \"TENANT_id\" = E'\\x41'", ("app.tenant_id", ("A",), False)),
        ('SET U&"app.tenant\\005fid" = $$x$$', ("app.tenant_id", ("x",), False)),
        ("SET U&\"app.tenant!005fid\" UESCAPE '!' = U&'!0041' UESCAPE '!'", ("app.tenant_id", ("A",), False)),
        ("SET LOCAL local.x = 1", ("local.x", ("1",), True)),
        ("SET LOCAL = 1", ("local", ("1",), False)),
        ("SET SESSION = 1", ("session", ("1",), False)),
        ("SET SESSION.x = 1", ("session.x", ("1",), False)),
        ("SET time TO 1", ("time", ("1",), False)),
        ("SET NAMES 'x'", ("client_encoding", ("x",), False)),
        ("SET NAMES", ("client_encoding", None, False)),
        ("SET SCHEMA 'A'", ("search_path", ("A",), False)),
        ("SET ROLE NONE", ("role", ("none",), False)),
        ("SET TIME ZONE LOCAL", ("timezone", None, False)),
        ("SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", ("timezone", ("INTERVAL '-08:00'",), False)),
        ("SET TIME ZONE INTERVAL '+5:30'", ("timezone", ("INTERVAL '+5:30'",), False)),
        ("SET XML OPTION DOCUMENT", ("xmloption", ("DOCUMENT",), False)),
        ("RESET SESSION AUTHORIZATION", ("session_authorization", None, False)),
        ("RESET TIME ZONE", ("timezone", None, False)),
        ('RESET "all"', ("all", None, False)),
    ],
)
def test_every_form_of_set_names_its_setting(text: str, expected: tuple[str, tuple[str, ...] | None, bool]) -> None:
    assert change(text) == expected
    assert one(text).kind in (Kind.SET, Kind.RESET)


def test_names_are_cut_as_postgresql_cuts_them() -> None:
    assert change("SET a." + "b" * 70 + " = 1")[0] == "a." + "b" * 63


@pytest.mark.parametrize(
    "text",
    [
        "SET a.b FROM CURRENT",
        "SET a.b = select",
        "SET a.b = 1 2",
        "SET a.b = B'1'",
        "SET a.b = N'x'",
        "SET a.b = $1",
        "SET a.b",
        "SET NAMES utf8",
        "SET seed = 0.5",
        "SET TIME ZONE INTERVAL '3' HOUR",
        "SET TIME ZONE INTERVAL(2) '3'",
    ],
)
def test_what_can_not_be_carried_is_ordinary_tainted_and_named(text: str) -> None:
    statement = one(text)
    assert (statement.kind, statement.taint, statement.local_form) == (Kind.ORDINARY, Taint.RESET, None)
    assert statement.changes


@pytest.mark.parametrize(
    "text",
    [
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET LOCAL TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION READ ONLY",
        "SET TRANSACTION SNAPSHOT 'x'",
        "SET transaction_isolation = 'serializable'",
        "SET SESSION transaction_read_only TO on",
        "RESET TRANSACTION ISOLATION LEVEL",
    ],
)
def test_settings_of_the_transaction_are_not_of_the_session(text: str) -> None:
    assert (one(text).kind, one(text).changes) == (Kind.SET_TRANSACTION, ())


def test_session_characteristics_are_three_settings() -> None:
    statement = one(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE NOT DEFERRABLE"
    )
    assert statement.kind == Kind.SET_CHARACTERISTICS
    assert statement.changes == (
        SettingChange("default_transaction_isolation", ("repeatable read",), False),
        SettingChange("default_transaction_read_only", ("off",), False),
        SettingChange("default_transaction_deferrable", ("off",), False),
    )


def test_constraints_are_no_setting() -> None:
    assert (one("SET CONSTRAINTS ALL DEFERRED").changes, one("SET CONSTRAINTS a IMMEDIATE").taint) == ((), Taint.NONE)


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("SET search_path = pg_temp", "temporary table"),
        ("SET search_path = nowhere, pg_temp", "temporary table"),
        ("SET search_path = pg_catalog, pg_temp", ""),
        ("SET search_path = 'pg_temp, x'", ""),
    ],
)
def test_a_path_on_which_tables_become_temporary_keeps_the_server(text: str, pin: str) -> None:
    assert one(text).pin == pin


def test_settings_of_a_function_are_listed() -> None:
    text = (
        "CREATE FUNCTION f(set int) RETURNS int SET app.x = 1 SET search_path TO a, b LANGUAGE sql SET role = x AS ''"
    )
    assert [change.name for change in one(text).changes] == ["app.x", "search_path", "role"]
    assert one("ALTER FUNCTION f(int) SET ROLE x").changes[0].name == "role"
    assert one("CREATE PROCEDURE p() BEGIN ATOMIC UPDATE t SET role = 1; END").changes == ()
    assert one("CREATE FUNCTION f() RETURNS int SET search_path FROM CURRENT AS ''").changes == ()
