from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.guard.statements import TOO_MANY_STATEMENTS, Statement, Taint, split
from proxy.guard.statements import StatementKind as Kind
from tests.unit.guard import oracle
from tests.unit.guard.corpus import STATEMENTS, TEXTS
from tests.unit.guard.soup import soups

# What the grammar does not tell by the type of its node.
_BY_THE_GUARD_ALONE = (Kind.NO_BLOCK, Kind.SET_CONFIG)


def one(text: str) -> Statement:
    statements = split(text.encode())
    assert len(statements) == 1
    return statements[0]


def agree(text: str) -> None:
    """The guard finds the statements that PostgreSQL's grammar finds, in the same places, and of the same kinds."""
    expected = oracle.parse(text)
    if expected is None:
        return
    found = split(text.encode())
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert theirs.start <= mine.start < mine.end <= theirs.end
        if theirs.kind in (Kind.SET, Kind.RESET) and mine.kind in (Kind.ORDINARY, Kind.SET_TRANSACTION):
            continue  # SET seed and SET transaction_isolation: test_set_statements.py
        assert mine.kind == theirs.kind or mine.kind in _BY_THE_GUARD_ALONE
        if mine.kind == Kind.COPY:
            assert mine.copy_from_stdin == (theirs.node.is_from and not theirs.node.filename)


@pytest.mark.parametrize("text", TEXTS)
def test_statements_are_those_of_postgresql(text: str) -> None:
    assert oracle.parse(text) is not None
    agree(text)


_BLANKS = st.sampled_from([" ", "\n", "\t", "/* ; */", " -- ;\n", "/*/**/;'*/"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(STATEMENTS), max_size=4), st.lists(_BLANKS, min_size=1, max_size=4), st.booleans())
def test_statements_keep_apart_whatever_stands_between_them(
    texts: list[str], blanks: list[str], is_upper: bool
) -> None:
    filler = "".join(blanks)
    agree(filler + (filler + ";" + filler).join(texts))


@settings(max_examples=500, deadline=None)
@given(st.one_of(soups(), soups().map(lambda soup: "SELECT 1; " + soup), soups().map(lambda soup: soup + ";COMMIT")))
def test_any_soup_is_split_as_postgresql_splits_it(text: str) -> None:
    agree(text)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=300), soups(60).map(str.encode)))
def test_any_bytes_are_statements_in_order(text: bytes) -> None:
    last = 0
    for statement in split(text):
        assert last <= statement.start < statement.end <= len(text)
        last = statement.end


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("BEGIN", Kind.BEGIN, ""),
        ("start transaction read only", Kind.BEGIN, ""),
        ("COMMIT AND CHAIN", Kind.COMMIT_CHAIN, ""),
        ("END TRANSACTION AND NO CHAIN", Kind.COMMIT, ""),
        ("ABORT AND CHAIN", Kind.ROLLBACK_CHAIN, ""),
        ('SAVEPOINT "A b"', Kind.SAVEPOINT, "A b"),
        ("RELEASE SAVEPOINT Ab", Kind.RELEASE, "ab"),
        ("RELEASE savepoint", Kind.RELEASE, "savepoint"),
        ("ROLLBACK WORK TO SAVEPOINT x", Kind.ROLLBACK_TO, "x"),
        ("ROLLBACK TO savepoint", Kind.ROLLBACK_TO, "savepoint"),
        ("PREPARE TRANSACTION 'x'", Kind.PREPARE_TRANSACTION, "x"),
        ("PREPARE transaction AS SELECT 1", Kind.SQL_PREPARE, "transaction"),
        ('EXECUTE "P"(1)', Kind.SQL_EXECUTE, "P"),
        ("DEALLOCATE PREPARE ALL", Kind.DEALLOCATE, ""),
        ('DEALLOCATE "all"', Kind.DEALLOCATE, "all"),
        ("DEALLOCATE prepare", Kind.DEALLOCATE, "prepare"),
        ("LISTEN Ab", Kind.LISTEN, "ab"),
        ("UNLISTEN *", Kind.UNLISTEN, ""),
        ("CLOSE ALL", Kind.CLOSE_CURSOR, ""),
        ("DISCARD ALL", Kind.DISCARD_ALL, ""),
        ("DISCARD TEMP", Kind.DISCARD, ""),
        ("SHOW ALL", Kind.SHOW, ""),
        ('SET "session" TO 1', Kind.SET, ""),
        ('"commit"', Kind.ORDINARY, ""),
        ('U&"commit"', Kind.ORDINARY, ""),
        ("committed", Kind.ORDINARY, ""),
        ("(SELECT 1)", Kind.ORDINARY, ""),
    ],
)
def test_first_words_decide_the_kind(text: str, kind: int, name: str) -> None:
    statement = one(text)
    assert (statement.kind, statement.name) == (kind, name)


def test_a_statement_stands_between_its_first_and_last_token() -> None:
    text = b" -- a\n SELECT 1 /* ; */ ; \n; /**/COMMIT -- end"
    assert [text[statement.start : statement.end] for statement in split(text)] == [b"SELECT 1", b"COMMIT"]


def test_blanks_comments_and_lone_semicolons_are_no_statements() -> None:
    assert split(b"") == split(b" ;; -- x\n ; /* y */") == ()


def test_a_nul_ends_the_text() -> None:
    assert split(b"SELECT 1\0; COMMIT") == split(b"SELECT 1")


@pytest.mark.parametrize(
    "text", ["SELECT 'a", "BEGIN; SELECT $$", "COMMIT; SELECT /* ", "SET a.b = 1; \\d", 'SELECT ""; SELECT 1']
)
def test_a_text_with_a_broken_token_is_one_opaque_statement(text: str) -> None:
    statement = one(text)
    assert (statement.kind, statement.end, statement.taint) == (Kind.ORDINARY, len(text), Taint.DISCARD)


def test_what_a_broken_text_would_set_is_kept_for_the_rules() -> None:
    statement = one("SET app.x = 1; SELECT set_config('app.y', 'z', true); SELECT '")
    assert statement.changes[0].name == "app.x"
    assert statement.set_config[0].name == "app.y"


def test_a_function_body_of_sql_statements_is_part_of_the_function() -> None:
    text = b"create or replace function f() returns int begin atomic select case when true then 1 end; end; commit"
    assert [statement.kind for statement in split(text)] == [Kind.ORDINARY, Kind.COMMIT]


def test_begin_atomic_elsewhere_hides_nothing() -> None:
    for text in (
        b"SELECT begin atomic; COMMIT",
        b"BEGIN ATOMIC; COMMIT",
        b"CREATE TABLE f AS SELECT 1 begin atomic; COMMIT",
    ):
        assert split(text)[-1].kind == Kind.COMMIT


def test_a_flood_of_statements_is_counted_only_so_far() -> None:
    statements = split(b"BEGIN;" * 30_000)
    assert len(statements) == 20_001
    assert statements[-1].command == TOO_MANY_STATEMENTS
    assert statements[-1].end == 180_000


@pytest.mark.parametrize(
    "piece",
    [
        "(",
        "a,",
        "a.b(",
        "set_config(",
        "set_config('a','b',true),",
        'U&"a" ',
        "SET a=b,",
        ",(1,2)",
        "into ",
        "end;",
        "a b ",
    ],
)
def test_a_long_text_keeps_few_tokens(piece: str) -> None:
    """Memory is bounded by what is kept of a statement, however long it is."""
    text = ("create function f() begin atomic " + piece * (100_000 // len(piece))).encode()
    tracemalloc.start()
    split(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7_000_000
