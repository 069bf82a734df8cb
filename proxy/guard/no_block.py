"""Statements that PostgreSQL refuses to run inside a transaction block (its PreventInTransactionBlock).

Some depend on the catalog (REINDEX and CLUSTER of a partitioned table): those PostgreSQL refuses itself, 25001.
"""

from __future__ import annotations

from typing import Final

from proxy.guard import lexer
from proxy.guard.tokens import Tokens

_OFF: Final = (b"false", b"off")
_WHOLE: Final = ((b"create", b"database"), (b"drop", b"database"), (b"create", b"tablespace"), (b"drop", b"tablespace"))


def needs_no_block(tokens: Tokens) -> str:
    """The statement's words where it can not run in a transaction block, else ''."""
    first, second = tokens.word(0), tokens.word(1)
    if first == b"vacuum":
        return "VACUUM"
    if first == b"reindex":
        return _reindex(tokens)
    if first == b"cluster":
        return _cluster(tokens)
    if first not in (b"create", b"drop", b"alter"):
        return ""
    if (first, second) in _WHOLE:
        return _spell(first, second)
    if first == b"alter":
        return _alter(tokens)
    if second == b"subscription":
        return _spell(first, second)
    index = 2 if second == b"unique" else 1
    if tokens.words(index, b"index", b"concurrently"):
        return _spell(first, b"index", b"concurrently")
    return ""


def _spell(*words: bytes) -> str:
    return b" ".join(words).upper().decode("ascii")


def _alter(tokens: Tokens) -> str:
    second = tokens.word(1)
    if second == b"system":
        return "ALTER SYSTEM"
    if second == b"database" and tokens.words(3, b"set", b"tablespace"):
        return "ALTER DATABASE SET TABLESPACE"
    if second == b"subscription":
        return _alter_subscription(tokens)
    if second == b"table":
        for index in range(2, len(tokens)):
            if tokens.words(index, b"detach", b"partition") and _ends_concurrently(tokens, index + 2):
                return "ALTER TABLE DETACH PARTITION CONCURRENTLY"
    return ""


def _ends_concurrently(tokens: Tokens, index: int) -> bool:
    while tokens.kind(index + 1) == lexer.DOT:
        index += 2
    return tokens.word(index + 1) == b"concurrently"


def _alter_subscription(tokens: Tokens) -> str:
    words = tokens.word(3), tokens.word(4)
    if words[0] == b"refresh" or words[1] == b"publication":
        return "ALTER SUBSCRIPTION " + _spell(*words)
    options = {tokens.word(index) for index in range(4, len(tokens))}
    if words[0] == b"set" and options & {b"failover", b"two_phase"}:
        return "ALTER SUBSCRIPTION SET"
    return ""


def _reindex(tokens: Tokens) -> str:
    is_concurrent = False
    index = 1
    if tokens.kind(1) == lexer.OPEN:
        while tokens.kind(index) not in (lexer.CLOSE, lexer.END):
            if tokens.word(index) == b"concurrently":
                is_concurrent = tokens.word(index + 1) not in _OFF and tokens.number(index + 1) != b"0"
            index += 1
        index += 1
    thing = tokens.word(index)
    if thing in (b"schema", b"database", b"system"):
        return _spell(b"reindex", thing)
    return "REINDEX CONCURRENTLY" if is_concurrent or tokens.word(index + 1) == b"concurrently" else ""


def _cluster(tokens: Tokens) -> str:
    """CLUSTER without a table: of all tables."""
    index = 1
    if tokens.kind(1) == lexer.OPEN:
        while tokens.kind(index) not in (lexer.CLOSE, lexer.END):
            index += 1
        index += 1
    elif tokens.word(1) == b"verbose":
        index = 2
    return "CLUSTER" if tokens.ends_at(index) else ""
