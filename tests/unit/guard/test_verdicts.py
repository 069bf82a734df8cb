from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.guard.model import WHOLE_TEXT
from proxy.guard.shapes import has_shape
from proxy.guard.statements import StatementKind as Kind
from proxy.guard.statements import Taint, split
from proxy.guard.verdicts import MAX_CACHED_BYTES, VerdictCache, examine
from tests.unit.guard.corpus import STATEMENTS, TEXTS
from tests.unit.guard.soup import queries, soups


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1",
        b"SELECT 1; INSERT INTO t VALUES (1)",
        b"COPY t FROM STDIN",
        b"SHOW work_mem",
        b"SET LOCAL work_mem = 1",
        b"SELECT set_config('a.b', 'c', true)",
        b"DISCARD PLANS",
        b"DECLARE c CURSOR FOR SELECT 1",
        b"",
    ],
)
def test_plain_texts_go_to_the_server_as_they_are(text: bytes) -> None:
    assert examine(text).is_plain
    assert not examine(text).has_transaction_control


@pytest.mark.parametrize(
    "text",
    [
        b"SET work_mem = 1",
        b"SELECT 1; SET work_mem = 1",
        b"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        b"SELECT set_config('a.b', 'c', false)",
        b"SELECT set_config('a.b', 'c', $1)",
        b"RESET ALL",
        b"RESET a.b",
        b"DISCARD ALL",
        b"DEALLOCATE ALL",
        b"VACUUM",
        b"SET TRANSACTION READ ONLY",
    ],
)
def test_what_the_session_must_know_of_is_not_plain(text: bytes) -> None:
    assert not examine(text).is_plain
    assert not examine(text).has_transaction_control


@pytest.mark.parametrize(
    "text", [b"BEGIN", b"SELECT 1; COMMIT", b"END", b"ABORT AND CHAIN", b"SAVEPOINT a", b"RELEASE a", b"ROLLBACK TO a"]
)
def test_transaction_control_is_seen_anywhere(text: bytes) -> None:
    assert examine(text).has_transaction_control
    assert not examine(text).is_plain


def test_a_verdict_sums_up_its_statements() -> None:
    verdict = examine(b"SELECT f(); CREATE TEMP TABLE t (a int); SELECT pg_advisory_lock(1); BEGIN")
    assert (verdict.taint, verdict.pin, verdict.single) == (Taint.DISCARD, "temporary table", None)
    single = examine(b"COMMIT").single
    assert single is not None
    assert single.kind == Kind.COMMIT


def test_only_what_a_rule_could_refuse_needs_rules() -> None:
    for text in (b"SELECT f()", b"BEGIN; SELECT 1; COMMIT", b"DO ''", b"RESET ALL", b"SET CONSTRAINTS ALL DEFERRED"):
        assert not examine(text).needs_rules
    for text in (
        b"SET a.b = 1",
        b"RESET a.b",
        b"VACUUM",
        b"LISTEN a",
        b"ALTER ROLE a RENAME TO b",
        b"SELECT set_config($1, $2, $3)",
    ):
        assert examine(text).needs_rules


def test_the_same_text_is_examined_once() -> None:
    cache = VerdictCache()
    first = cache.verdict(b"SELECT 1")
    assert cache.verdict(bytes(bytearray(b"SELECT 1"))) is first
    assert cache.misses == 1


def test_the_cache_stays_within_its_limits_and_keeps_what_is_used() -> None:
    cache = VerdictCache(max_entries=20)
    for number in range(1000):
        cache.verdict(b"SELECT 1 -- often")
        cache.verdict(b"SELECT %d -- once" % number)
        assert len(cache) <= 20
    assert cache.misses == 1001


def test_the_cache_counts_bytes_too() -> None:
    cache = VerdictCache(max_entries=1000, max_bytes=100_000)
    for number in range(100):
        cache.verdict(b"SELECT %d -- " % number + b"x" * 10_000)
        assert len(cache) <= 10


def test_long_texts_are_not_kept() -> None:
    cache = VerdictCache()
    cache.verdict(b"SELECT 1 -- " + b"x" * MAX_CACHED_BYTES)
    assert len(cache) == 0


def test_texts_that_differ_in_their_literals_are_examined_once() -> None:
    cache = VerdictCache()
    for number in range(1000):
        verdict = cache.verdict(b"SELECT a FROM t1 WHERE b = %d AND c = 'it''s; %d'" % (number, number))
        assert verdict.is_unremarkable
    assert cache.misses == 1
    assert len(cache) < 100


def test_the_shape_is_known_of_a_text_that_is_known_by_it() -> None:
    cache = VerdictCache()
    for text, shape in (
        (b"SELECT 1 FROM t", b""),
        (b"SELECT 2 FROM t", b"SELECT 0 FROM t"),
        (b"SELECT 1 FROM t", b"SELECT 0 FROM t"),
        (b"COMMIT", b""),
        (b"COMMIT", b""),
    ):
        cache.verdict(text)
        assert cache.shape == shape


def test_a_text_that_comes_often_is_found_by_itself() -> None:
    cache = VerdictCache()
    for _ in range(100):
        cache.verdict(b"SELECT 4711")
    assert len(cache) == 2
    assert not cache.shape


def test_shapes_stay_within_the_limits_too() -> None:
    cache = VerdictCache(max_entries=20)
    for number in range(500):
        cache.verdict(b"SELECT 1")
        cache.verdict(b"SELECT 1" + b"+1" * number)
        assert len(cache._shapes) <= 20
    assert cache.misses == 500


def test_a_shared_statement_is_the_whole_text() -> None:
    text = b" SELECT 1 ; "
    single = examine(text).single
    assert single is not None
    assert text[single.start : single.end] == text


def is_true(cache: VerdictCache, text: bytes) -> None:
    """What a cache says is what an examination says, and that is what the statements are, read token by token."""
    if cache.shape and has_shape(text, 0, 0, cache.shape):  # as a session looks, by the text before
        assert examine(text).is_unremarkable
    verdict = cache.verdict(text)
    assert not cache.shape or (verdict.is_shared and has_shape(text, 0, 0, cache.shape))
    assert verdict == examine(text)
    statements = split(text)
    if verdict.is_shared:
        statements = tuple(replace(statement, start=0, end=WHOLE_TEXT) for statement in statements)
    assert verdict.statements == statements


_VALUES = [
    *(b"", b"a", b"''", b"--", b"/*", b"*/", b"$$", b"\\", b";", b'"', b"(", b"e", b"set_config", b"\n", b"\xff", b"0"),
    *(b"''\n''", b"' '", b"', '", b"'; COMMIT; '", b"\\'", b"\0"),
]


def disturbed(text: bytes, choice: random.Random) -> bytes:
    """The same text with other numbers, and something else between every other two quotes."""
    parts = text.split(b"'")
    parts[1::2] = [choice.choice(_VALUES) for _ in parts[1::2]]
    return re.sub(rb"[0-9]+", lambda _: b"%d" % (choice.getrandbits(70) >> choice.randrange(70)), b"'".join(parts))


@pytest.mark.parametrize("text", TEXTS)
def test_a_statement_with_other_literals_gets_the_verdict_that_it_deserves(text: str) -> None:
    cache, choice = VerdictCache(), random.Random(1)
    is_true(cache, text.encode())
    for _ in range(5):
        is_true(cache, disturbed(text.encode(), choice))


_CACHE = VerdictCache()


@settings(max_examples=1000, deadline=None)
@given(st.one_of(queries(), soups(), st.sampled_from(STATEMENTS)), st.randoms(use_true_random=False))
def test_any_text_with_other_literals_gets_the_verdict_that_it_deserves(text: str, choice: random.Random) -> None:
    for cache in (_CACHE, VerdictCache()):
        is_true(cache, text.encode())
        for _ in range(3):
            is_true(cache, disturbed(text.encode(), choice))


@pytest.mark.parametrize(
    ("harmless", "other"),
    [
        # What stands between two quotes is no string, or more than a string.
        (b"SELECT e'a', 'b'", b"SELECT e'\\', '; COMMIT --'"),
        (b"SELECT E'', ''", b"SELECT E'\\', '; DISCARD ALL --'"),
        (b"SELECT u&'a', '!'", b"SELECT u&'!0', '!'"),
        (b"SELECT x'1', 'a'", b"SELECT x'g', 'b'"),
        (b"SELECT 'a' -- 'b'", b"SELECT 'a' -- '\n; COMMIT --'"),
        (b"SELECT 1 /* 'a' */ + 'b'", b"SELECT 1 /* '*/; COMMIT; /*' */ + 'b'"),
        (b"SELECT $$'a'$$", b"SELECT $$'$$; COMMIT; SELECT $$'$$"),
        (b"SELECT $a$'a'$a$", b"SELECT $a$'$a$; COMMIT; SELECT $a$'$a$"),
        (b"SELECT $1$a$'a'$a$", b"SELECT $1$a$'$a$; COMMIT; SELECT $a$'$a$"),
        (b"SELECT \"'a'\"", b'SELECT "\'"; COMMIT; SELECT "\'"'),
        (b"SELECT \"a''\", 'b'", b"SELECT \"a'\", lastval(), \"'\", 'b'"),
        (b"SELECT ''", b"SELECT '"),
        (b"SELECT 'a'", b"SELECT 'a\0'; COMMIT"),
        (b"SELECT 'a'", b"SELECT 'a\0'"),
        # Digits that matter.
        (b"SELECT md5('a')", b"SELECT md4('a')"),
        (b"SELECT sha256 (a)", b"SELECT sha257 (a)"),
        (b"SELECT pg_catalog.int4(1)", b"SELECT pg_catalog.int3(1)"),
        (b'SELECT "md5"(a)', b'SELECT "md4"(a)'),
        (b"SELECT log10(1)", b"SELECT log1010(1)"),
        (b"INSERT INTO t1 (a) SELECT md5(b)", b"INSERT INTO t2 (a) SELECT md6(b)"),
        (b"SELECT 0b11", b"SELECT 0b12"),
        (b"SELECT 1 FROM pg_temp", b"SELECT 1 FROM pg_temp_1"),
        # Literals and names that matter.
        (b"SET a.b = 0", b"SET a.b = 5"),
        (b"SET a.b = ''", b"SET a.b = 'x'"),
        (b"SELECT set_config('', '', true)", b"SELECT set_config('app.tenant_id', '', true)"),
        (b"SELECT set_config('a.b', '1', true)", b"SELECT set_config('a.b', '1', 'f')"),
        (b"CREATE AGGREGATE a (int) (sfunc = '')", b"CREATE AGGREGATE a (int) (sfunc = 'set_config')"),
        (b"PREPARE TRANSACTION ''", b"PREPARE TRANSACTION 'a'"),
        (b"SAVEPOINT a0", b"SAVEPOINT a1"),
        (b"ROLLBACK TO a0", b"ROLLBACK TO a1"),
        (b"DEALLOCATE a0", b"DEALLOCATE a1"),
        (b"EXECUTE a0", b"EXECUTE a1"),
        (b"LISTEN a0", b"LISTEN a1"),
        (b"REINDEX (CONCURRENTLY 0) TABLE a", b"REINDEX (CONCURRENTLY 1) TABLE a"),
        # A text that is written like the shape of another one.
        (b"SELECT E''", b"SELECT E'a'"),
        (b"SELECT ''''", b"SELECT 'a' 'b'"),
        (b"SELECT ''; COMMIT", b"SELECT 'a'; COMMIT"),
    ],
)
def test_a_verdict_is_not_shared_by_texts_that_only_look_alike(harmless: bytes, other: bytes) -> None:
    for texts in ((harmless, other), (other, harmless)):
        cache = VerdictCache()
        for text in (*texts, texts[0], *texts):
            is_true(cache, text)
