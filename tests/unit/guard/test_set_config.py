from __future__ import annotations

import pytest

from proxy.guard.set_config import UNSEEN, parse_bool
from proxy.guard.statements import SetConfigCall, Statement, Taint, split
from proxy.guard.statements import StatementKind as Kind


def one(text: str) -> Statement:
    return split(text.encode())[0]


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("SELECT set_config('a.b', 'c', false)", SetConfigCall("a.b", "c", False)),
        ("select/**/pg_catalog . set_config ( 'A.b' , $1 , true ) AS x;", SetConfigCall("a.b", 1, True)),
        ("SELECT \"pg_catalog\".\"set_config\"(E'a.\\x62', $$c$$, 'off') y", SetConfigCall("a.b", "c", False)),
        ("SELECT set_config($1, $2, $3)", SetConfigCall(1, 2, 3)),
        ("SELECT set_config($1::varchar, $2::pg_catalog.text, $3::boolean)", SetConfigCall(1, 2, 3, True)),
        ("SELECT set_config('a.b'::text, 'c', 't')", SetConfigCall("a.b", "c", True, True)),
        ("SELECT set_config($1::character varying, '', 'no'::bool)", SetConfigCall(1, "", False, True)),
    ],
)
def test_a_plain_call_is_seen_through(text: str, call: SetConfigCall) -> None:
    statement = one(text)
    assert statement.kind == Kind.SET_CONFIG
    assert statement.set_config == (call,)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT set_config('a.b', 'c', false), 1",
        "SELECT set_config('a.b', 'c', false) LIMIT 1",
        "SELECT set_config('a.b', 'c', false) FROM t",
        "SELECT set_config('a.' || 'b', 'c', false)",
        "SELECT set_config('a.b', NULL, false)",
        "SELECT set_config('a.b', 'c', NULL)",
        "SELECT set_config('a.b', 'c', 1 = 2)",
        "SELECT set_config(text 'a.b', 'c', false)",
        "SELECT set_config('a.b'::varchar(2), 'c', false)",
        "SELECT set_config(N'a.b', 'c', false)",
        "SELECT set_config(('a.b'), 'c', false)",
        "SELECT set_config(setting_name => 'a.b', new_value => 'c', is_local => false)",
        "SELECT set_config('seed', '0.5', false)",
        "SELECT set_config('transaction_read_only', 'on', false)",
        "(SELECT set_config('a.b', 'c', false))",
        "SELECT x.set_config('a.b', 'c', false)",
    ],
)
def test_anything_more_is_an_ordinary_statement_with_a_call_in_it(text: str) -> None:
    statement = one(text)
    assert (statement.kind, statement.taint, len(statement.set_config)) == (Kind.ORDINARY, Taint.RESET, 1)


@pytest.mark.parametrize(
    ("text", "local", "at", "shift"),
    [
        ("SELECT set_config('a.b','c',false)", "SELECT set_config('a.b','c',true)", 28, -1),
        ("SELECT set_config('a.b','c','f') x", "SELECT set_config('a.b','c',true) x", 28, 1),
        ("SELECT set_config('a.b','c',off)", None, 0, 0),
        ("SELECT set_config('a.b','c',true)", None, 0, 0),
        ("SELECT set_config('a.b','c',$1)", None, 0, 0),
    ],
)
def test_the_local_form_says_true(text: str, local: str | None, at: int, shift: int) -> None:
    statement = one(text)
    assert statement.local_form == (None if local is None else local.encode())
    assert (statement.local_at, statement.local_shift) == (at, shift)


@pytest.mark.parametrize(
    ("text", "taint"),
    [
        ("SELECT set_config('a.b', 'c', true)", Taint.NONE),
        ("SELECT set_config('a.b', 'c', false)", Taint.NONE),
        ("SELECT set_config('a.b', 'c', $1)", Taint.RESET),
        ("SELECT set_config('a.b', 'c', true), set_config('d.e', 'f', true)", Taint.NONE),
        ("SELECT set_config('a.b', 'c', true), set_config('d.e', 'f', false)", Taint.RESET),
        ("SELECT U&\"set_config\"('a.b', 'c', true)", Taint.DISCARD),
    ],
)
def test_only_what_may_outlive_the_transaction_taints(text: str, taint: int) -> None:
    assert one(text).taint == taint


@pytest.mark.parametrize(
    "text",
    [
        "CREATE AGGREGATE pg_temp.a(text, boolean) (sfunc = set_config, stype = text, initcond = 'app.x')",
        "CREATE AGGREGATE a(text, boolean) (sfunc = 'set_config', stype = text)",
        'CREATE AGGREGATE a(text, boolean) (sfunc = pg_catalog."set_config", stype = text)',
        "UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'",
        "WITH x AS (UPDATE ONLY pg_catalog.pg_settings SET setting = 'x' RETURNING *) SELECT * FROM x",
    ],
)
def test_set_config_by_another_name_is_a_call_that_can_not_be_seen(text: str) -> None:
    assert one(text).set_config == (UNSEEN,)


@pytest.mark.parametrize("text", ["SELECT set_config FROM t", "SELECT 1 AS set_config", "SELECT * FROM pg_settings"])
def test_a_column_of_that_name_is_no_call(text: str) -> None:
    assert one(text).set_config == ()


def test_every_call_in_a_statement_is_found() -> None:
    text = "SELECT set_config(set_config('a.b', 'c', true), 'd', true) FROM t WHERE x = set_config($1, $2, true)"
    assert one(text).set_config == (UNSEEN, SetConfigCall("a.b", "c", True), SetConfigCall(1, 2, True))


def test_what_pg_dump_asks_for_is_sent_by_full_names() -> None:
    name = "restrict_nonsystem_relation_kind"
    text = f"SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings WHERE name = '{name}'"
    statement = one(text)
    assert statement.kind == Kind.SET_CONFIG
    assert statement.set_config == (SetConfigCall(name, "view, foreign-table", False),)
    assert (
        statement.local_form
        == (
            f"SELECT pg_catalog.set_config('{name}', 'view, foreign-table', true) FROM pg_catalog.pg_settings "
            f"WHERE name OPERATOR(pg_catalog.=) '{name}'"
        ).encode()
    )


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("app.tenant_id", "a", ""),
        ("role", "a", ""),
        ("work_mem", "1MB", ""),
        ("restrict_nonsystem_relation_kind ", "view", ""),
        ("restrict_nonsystem_relation_kind", "it''s", ""),
        ("restrict_nonsystem_relation_kind", "view", " OR true"),
        ("restrict_nonsystem_relation_kind", "view", "::text"),
        ("restrict_nonsystem_relation_kind", "view", " || ''"),
    ],
)
def test_nothing_else_is_taken_for_pg_dumps(name: str, value: str, more: str) -> None:
    text = f"SELECT set_config(name, '{value}', false) FROM pg_settings WHERE name = '{name}'{more}"
    assert one(text).set_config[0].name is None


def test_booleans_are_read_as_postgresql_reads_them() -> None:
    assert [parse_bool(word) for word in ("t", "TRUE", " yes ", "on", "1", "y")] == [True] * 6
    assert [parse_bool(word) for word in ("f", "fals", "No", "off", "of", "0")] == [False] * 6
    assert [parse_bool(word) for word in ("", "o", "2", "truex", "nein")] == [None] * 5
