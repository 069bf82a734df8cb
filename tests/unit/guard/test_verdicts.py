from __future__ import annotations

import pytest

from proxy.guard.statements import StatementKind as Kind
from proxy.guard.statements import Taint
from proxy.guard.verdicts import MAX_CACHED_BYTES, VerdictCache, examine


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
        cache.verdict(b"SELECT 1")
        cache.verdict(b"SELECT %d" % (number + 2))
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


def test_a_shared_statement_is_the_whole_text() -> None:
    text = b" SELECT 1 ; "
    single = examine(text).single
    assert single is not None
    assert text[single.start : single.end] == text
