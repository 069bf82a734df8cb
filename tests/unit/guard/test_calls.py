from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.guard.functions import HARMLESS_FUNCTIONS
from proxy.guard.statements import Statement, Taint, split
from tests.unit.guard import oracle
from tests.unit.guard.corpus import STATEMENTS


def one(text: str) -> Statement:
    return split(text.encode())[0]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a, count(*), lower(b), pg_catalog.upper(c) FROM t WHERE d IN (1, 2) AND (e OR f) GROUP BY (a)",
        "SELECT sum(x) FILTER (WHERE y) OVER (PARTITION BY (a) ORDER BY (b)) FROM t JOIN (SELECT 1) u USING (id)",
        "SELECT CAST(x AS numeric(10, 2)), y::varchar(20), z::s.kind(3), interval '1' , timestamp(3) '2020-01-01'",
        "SELECT * FROM (VALUES (1, 'a')) AS t (a, b) LEFT JOIN (SELECT 1) AS u(x) ON (true)",
        "SELECT random(), gen_random_uuid(), now(), clock_timestamp(), nextval('s'), uuidv7()",
        "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)",
        "SELECT pg_advisory_unlock_all()",
        "SELECT a OPERATOR(pg_catalog.=) b FROM t WHERE c OPERATOR(pg_catalog.~) '^(x)$'",
        "INSERT INTO t (a, b) VALUES (1, lower($1)) ON CONFLICT (a) DO UPDATE SET (a, b) = (1, 2)",
        'INSERT INTO s."T" AS x (a) SELECT 1 RETURNING (a)',
        "UPDATE t SET (a, b) = (1, 2), c = coalesce(d, 0) WHERE EXISTS (SELECT 1) AND x = ANY ($1)",
        "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
        "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED THEN INSERT (a) VALUES (s.a)",
        "CREATE TABLE IF NOT EXISTS t (a int PRIMARY KEY, b varchar(3) REFERENCES u (id), UNIQUE (a), PRIMARY KEY (b))",
        "CREATE UNIQUE INDEX i ON s.t USING btree (a, lower(b))",
        "COPY t (a, b) FROM STDIN (FORMAT csv)",
        "EXPLAIN (ANALYZE, COSTS off) SELECT 1",
        "INSERT INTO t VALUES (1, 'evil()'), (2, NULL)",
        "SELECT evil FROM t; SELECT 'evil()'; SELECT $$ evil() $$ -- evil()",
    ],
)
def test_ordinary_statements_leave_nothing_behind(text: str) -> None:
    assert [statement.taint for statement in split(text.encode())] == [Taint.NONE] * len(split(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT evil()",
        "SELECT evil /**/ (1)",
        'SELECT "evil"(1)',
        'SELECT "Lower"(1)',
        "SELECT s.lower(1)",
        "SELECT db.s.evil(1)",
        "SELECT * FROM evil(1)",
        "SELECT * FROM a, LATERAL evil(a.x) AS y (z)",
        "INSERT INTO t (a) VALUES (evil(1))",
        "INSERT INTO t VALUES (1), (evil(1))",
        "UPDATE t SET a = evil(1)",
        "SELECT DISTINCT ON (a) evil(b) FROM t",
        "SELECT DISTINCT ON (a) over(b) FROM t",
        'SELECT set(1), key(2), "values"(3)',
        "SELECT s.values(1)",
        "SELECT setval('s', 1)",
        "SELECT currval('s')",
        "SELECT setseed(0.1)",
        "SELECT query_to_xml('select set_config(''app.x'', ''1'', false)', true, true, '')",
        "SELECT * FROM ts_stat('select evil()')",
        "SELECT table_to_xml('v', true, true, '')",
        "SELECT lo_create(0)",
        "SELECT dblink('...', 'select 1')",
        "SELECT pg_terminate_backend(1)",
        "EXPLAIN ANALYZE SELECT evil()",
        "COPY (SELECT evil()) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT evil()",
        "LISTEN x",
    ],
)
def test_what_may_change_the_session_asks_for_a_reset(text: str) -> None:
    assert one(text).taint == Taint.RESET


@pytest.mark.parametrize(
    "text",
    [
        "DO $$ BEGIN END $$",
        "CALL p()",
        "LOAD 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'",
        "CREATE OR REPLACE PROCEDURE p() AS ''",
        "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE OPERATOR + (FUNCTION = f)",
        "CREATE EXTENSION x",
        "CREATE DOMAIN d AS int CHECK (f(VALUE))",
        "ALTER FUNCTION f() RENAME TO g",
        "DROP TRIGGER t ON x",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "EXPLAIN ANALYZE EXECUTE p",
        "CREATE TABLE t AS EXECUTE p(1)",
        'SELECT U&"evil"',
        "SELECT * FROM pg_prepared_statements",
        "CREATE TEMP TABLE t (a int)",
        "SELECT 'x",
    ],
)
def test_opaque_code_asks_for_more(text: str) -> None:
    assert one(text).taint == Taint.DISCARD


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("LISTEN a", "LISTEN"),
        ("NOTIFY a", ""),
        ("PREPARE p AS SELECT 1", "SQL PREPARE"),
        ("PREPARE TRANSACTION 'x'", ""),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "WITH HOLD cursor"),
        ("DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", ""),
        ("SELECT pg_advisory_lock(1)", "advisory lock"),
        ("SELECT x FROM t WHERE pg_catalog.pg_try_advisory_lock_shared(1)", "advisory lock"),
        ("SELECT pg_advisory_xact_lock(1)", ""),
        ("SELECT pg_advisory_unlock_all()", ""),
        ("CREATE TEMP TABLE t (a int)", "temporary table"),
        ("CREATE LOCAL TEMPORARY TABLE t AS SELECT 1", "temporary table"),
        ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temporary table"),
        ("CREATE TEMP SEQUENCE s", "temporary table"),
        ("CREATE TABLE pg_temp.t (a int)", "temporary table"),
        ('CREATE TABLE "pg_temp" . t (a int)', "temporary table"),
        ("CREATE DOMAIN pg_temp.text AS int", "temporary table"),
        ("CREATE FUNCTION pg_temp.f() RETURNS int AS ''", "temporary table"),
        ("SELECT 1 INTO TEMP t", "temporary table"),
        ("WITH x AS (SELECT 1) SELECT * INTO LOCAL TEMPORARY TABLE t FROM x", "temporary table"),
        ("SELECT 1 INTO pg_temp.t", "temporary table"),
        ("CREATE TEMP TABLE t (a int) ON COMMIT DROP", ""),
        ("CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", ""),
        ("CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS", "temporary table"),
        ("INSERT INTO temp (a) VALUES (1)", ""),
        ("INSERT INTO pg_temp.t VALUES (1)", ""),
        ("SELECT * INTO t FROM temp", ""),
        ("CREATE TABLE temp (a int)", ""),
        ("DROP TABLE pg_temp.t", ""),
    ],
)
def test_what_outlives_a_transaction_keeps_the_server(text: str, pin: str) -> None:
    statement = one(text)
    assert statement.pin == pin
    assert not pin or statement.taint > Taint.NONE


def test_a_temporary_table_dropped_at_commit_needs_a_reset_only() -> None:
    assert one("CREATE TEMP TABLE t (a int) ON COMMIT DROP").taint == Taint.RESET


_NAMES = st.sampled_from(
    [
        "lower",
        "evil",
        "s.evil",
        '"Evil"',
        "pg_catalog.lower",
        "s.lower",
        "key",
        "by",
        "set",
        "over",
        "filter",
        "operator",
        "insert",
        "cube",
        "copy",
        "set_config",
        "pg_catalog.set_config",
        '"key"',
        "is",
        "join",
        "text",
        "include",
        "s.values",
    ]
)
_GAPS = st.sampled_from(["", " ", "\n", "/**/"])
_ARGUMENTS = st.sampled_from(["", "1", "a, b", "'a.b', 'c', true", "(1), (2)"])


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(STATEMENTS), st.integers(0, 60), _NAMES, _GAPS, _ARGUMENTS)
def test_no_call_that_postgresql_sees_is_overlooked(text: str, place: int, name: str, gap: str, arguments: str) -> None:
    words = text.split(" ")
    words.insert(place % (len(words) + 1), f"{name}{gap}({arguments})")
    parsed = oracle.parse(" ".join(words))
    if parsed is None:
        return
    for theirs, mine in zip(parsed, split(" ".join(words).encode()), strict=True):
        for call in oracle.function_calls(theirs.node):
            if call[-1] == "set_config":
                assert mine.set_config
            elif call[-1].encode() not in HARMLESS_FUNCTIONS or (len(call) > 1 and call[-2] != "pg_catalog"):
                assert mine.taint > Taint.NONE


def test_the_harmless_are_without_the_dangerous() -> None:
    dangerous = {
        *(b"set_config", b"setval", b"setseed", b"currval", b"lastval", b"pg_advisory_lock", b"pg_try_advisory_lock"),
        *(
            b"query_to_xml",
            b"cursor_to_xml",
            b"table_to_xml",
            b"schema_to_xml",
            b"database_to_xml",
            b"ts_stat",
            b"ts_rewrite",
        ),
        *(
            b"lo_open",
            b"lo_get",
            b"pg_terminate_backend",
            b"pg_cancel_backend",
            b"pg_reload_conf",
            b"pg_prepared_statement",
        ),
    }
    assert not dangerous & HARMLESS_FUNCTIONS
    assert len(HARMLESS_FUNCTIONS) > 500
