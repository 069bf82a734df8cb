from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.guard.model import WHOLE_TEXT
from proxy.guard.quick_look import quick_look
from proxy.guard.statements import split
from tests.unit.guard.corpus import STATEMENTS, TEXTS
from tests.unit.guard.soup import soups


def agree(text: bytes) -> None:
    quick = quick_look(text)
    if quick is not None:
        (statement,) = split(text)
        assert quick == replace(statement, start=0, end=WHOLE_TEXT)


@pytest.mark.parametrize("text", TEXTS)
def test_a_quick_look_says_nothing_that_the_whole_look_does_not(text: str) -> None:
    agree(text.encode())
    agree(b" " + text.upper().encode() + b" ;\n")


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(
        [
            "",
            "SELECT ",
            "select 'a' ",
            " INSERT INTO t (a) VALUES ",
            'insert into "t" ("a") ',
            "UPDATE t SET a = ",
            "DELETE FROM ",
        ]
    ),
    st.one_of(soups(), st.sampled_from(STATEMENTS)),
    st.sampled_from(["", ";", " ; \n", "'", ")", "--", "\0"]),
)
def test_a_quick_look_agrees_on_any_soup(beginning: str, soup: str, end: str) -> None:
    agree((beginning + soup + end).encode())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_a_quick_look_agrees_on_any_bytes(text: bytes) -> None:
    agree(b"SELECT " + text)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT abalance FROM pgbench_accounts WHERE aid = $1;",
        b"SELECT count(*), lower(name) FROM t WHERE a IN (1, 2) AND b = 'it''s -- ;' ORDER BY c LIMIT 5",
        b"INSERT INTO s.t (a, b) VALUES ($1, 'x'), (2, now())",
        b"UPDATE t SET a = a + 1 WHERE b = ANY ($1)",
        b"delete from t",
        b'SELECT "u"."name", COUNT(*) AS "n" FROM "u" WHERE ("u"."id" IN (1, 2) AND "u"."name" = \'a"b\')',
        b'INSERT INTO "s"."users" ("name", "e-mail") VALUES (\'a\', -1) RETURNING "users"."id"',
        b"SELECT a - 1, b / 2, $1 FROM t WHERE c = '--' AND d = '/*' AND e = '\\'",
        b"INSERT INTO t VALUES (1, 'a', NULL), (2, 'b', DEFAULT)",
    ],
)
def test_common_statements_need_no_more_than_a_quick_look(text: bytes) -> None:
    assert quick_look(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT f(1)",
        b"SELECT 1; COMMIT",
        b"SELECT 1 -- x",
        b"SELECT E'a'",
        b"SELECT u&'a'",
        b'SELECT "a""b"(1)',
        b'SELECT "f"(1)',
        b'SELECT "lower" (1)',
        b'SELECT "a/*"',
        b'SELECT u&"a"',
        b'SELECT "a',
        b'SELECT ""',
        b'SELECT "it\'s", "it\'s"',
        b'SELECT * FROM "pg_prepared_statements"',
        b"INSERT INTO currval (a) VALUES (1)",
        b'INSERT INTO s."pg_notify" (a) VALUES (1)',
        b"INSERT INTO t (a) VALUES (f(1))",
        b"SELECT 1 /* x */",
        b"SELECT $a$b$a$",
        b"SELECT '\0'",
        b"SELECT $$a$$",
        b"SELECT s.lower(1)",
        b"SELECT set_config('a.b', 'c', true)",
        b"SELECT 1 INTO TEMP t",
        b"SELECT 'a",
        b"COMMIT",
        b"SELECTED",
    ],
)
def test_anything_unusual_needs_more(text: bytes) -> None:
    assert quick_look(text) is None
