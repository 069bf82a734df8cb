"""What the guard found in a text, kept by the text: applications send the same ones again and again.

Those that write values into their texts send new ones all the time, in the same few shapes. For an unremarkable query the
guard reads no literal: it looks for functions, words that follow each other and the ends of statements, and takes values
only from what sets something (SET, set_config) or defines something (CREATE). So if one text of a clear shape (`shapes`) is an
unremarkable query, all of them are, and get one verdict. Its statement has no place in any one text, it is the whole of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from proxy.guard.model import WHOLE_TEXT, Statement, StatementKind, Taint
from proxy.guard.quick_look import quick_look
from proxy.guard.shapes import MAX_SHAPED_BYTES, is_clear, shape_of
from proxy.guard.statements import TOO_MANY_STATEMENTS, split

# Long texts hold their values and are seldom sent twice.
MAX_CACHED_BYTES: Final = 16 * 1024

# What an entry costs besides its text, roughly.
_ENTRY_BYTES: Final = 600

# Of the texts known by their shape every so many-th is kept by itself: soon those that come often, few of the others.
_KEPT_ONE_IN: Final = 17

_TRANSACTION_CONTROL: Final = frozenset(
    (
        StatementKind.BEGIN,
        StatementKind.COMMIT,
        StatementKind.ROLLBACK,
        StatementKind.COMMIT_CHAIN,
        StatementKind.ROLLBACK_CHAIN,
        StatementKind.SAVEPOINT,
        StatementKind.RELEASE,
        StatementKind.ROLLBACK_TO,
        StatementKind.PREPARE_TRANSACTION,
    )
)

_FORWARDED_AS_IT_IS: Final = frozenset(
    (
        StatementKind.ORDINARY,
        StatementKind.SHOW,
        StatementKind.COPY,
        StatementKind.DECLARE,
        StatementKind.CLOSE_CURSOR,
        StatementKind.LISTEN,
        StatementKind.UNLISTEN,
        StatementKind.NOTIFY,
        StatementKind.SQL_PREPARE,
        StatementKind.SQL_EXECUTE,
        StatementKind.DISCARD,
    )
)

_JUDGED_KINDS: Final = frozenset(
    (StatementKind.NO_BLOCK, StatementKind.SQL_PREPARE, StatementKind.SQL_EXECUTE, StatementKind.DEALLOCATE)
)
_JUDGED_COMMANDS: Final = frozenset(
    ("ALTER ROLE", "ALTER USER", "ALTER GROUP", "ALTER DATABASE SET", "ALTER DATABASE RESET", TOO_MANY_STATEMENTS)
)


# SERIALIZABLE and READ WRITE fail on a standby.
_PLAIN_BEGIN: Final = re.compile(
    rb"\s*(?:begin(?:\s+(?:work|transaction))?|start\s+transaction)"
    rb"(?:\s+isolation\s+level\s+(?:read\s+(?:un)?committed|repeatable\s+read)(?:(?:\s*,\s*|\s+)read\s+only)?|\s+read\s+only)?"
    rb"\s*;?\s*",
    re.IGNORECASE,
)
_PLAIN_END: Final = re.compile(
    rb"\s*(?:commit|end|rollback|abort)(?:\s+(?:work|transaction))?(?:\s+and\s+no\s+chain)?\s*;?\s*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a text is, whoever sends it.

    is_plain: every statement goes to the server as it is written, one or many: none controls transactions, changes
        settings for the session or refuses a transaction block. SET LOCAL and set_config(…, true) are plain.
    single: the statement, when there is exactly one.
    taint, pin: the strongest of all statements, and the first pin.
    needs_rules: False when no rule could ever refuse it.
    has_transaction_control: some statement begins, ends or marks a transaction. SET TRANSACTION does not.
    leaves_traces: it has a taint or a pin, or may free or change what others rely on.
    is_ordinary: one statement that does nothing to the session or the transaction, and can run anywhere.
    is_unremarkable: and no rule could ever refuse it.
    can_be_deferred: it begins a transaction, can not fail, and nobody can tell when it ran.
    ends_block: it is a COMMIT or a ROLLBACK that can be read, and nothing else.
    """

    statements: tuple[Statement, ...]
    is_plain: bool
    single: Statement | None
    taint: int
    pin: str
    needs_rules: bool
    has_transaction_control: bool
    leaves_traces: bool
    can_be_deferred: bool
    ends_block: bool
    is_ordinary: bool
    is_unremarkable: bool

    @property
    def is_shared(self) -> bool:
        """Whether it is the one verdict on all unremarkable queries of its command."""
        return self.is_unremarkable and self.statements[0].end == WHOLE_TEXT

    @property
    def reads_sequence(self) -> bool:
        """Whether it asks, and nothing in front of it in the same text could have said, what nextval() gave last."""
        return bool(self.statements) and self.statements[0].reads_sequence

    @property
    def may_free(self) -> bool:
        """Whether afterwards nothing may be left of what a server is kept for."""
        return any(statement.frees or statement.pin for statement in self.statements)

    @property
    def changes_schema(self) -> bool:
        """Whether statements prepared before may mean something else afterwards."""
        return any(statement.changes_schema for statement in self.statements)


def _query(command: str) -> Verdict:
    statement = Statement(StatementKind.ORDINARY, 0, WHOLE_TEXT, command=command)
    return Verdict((statement,), True, statement, Taint.NONE, "", False, False, False, False, False, True, True)


_QUERIES: Final[dict[str, Verdict]] = {
    command: _query(command) for command in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "MERGE")
}
"""The verdicts on unremarkable queries, by command: there is nothing else to say of them."""


def examine(text: bytes) -> Verdict:
    """The verdict on a text, worked out anew."""
    quick = quick_look(text)
    if quick is not None:
        return _QUERIES[quick.command]
    statements = split(text)
    is_ordinary = len(statements) == 1 and _is_ordinary(statements[0])
    needs_rules = any(_needs_rules(statement) for statement in statements)
    if is_ordinary and not needs_rules:
        query = _QUERIES.get(statements[0].command)
        if query is not None and replace(statements[0], start=0, end=WHOLE_TEXT) == query.single:
            return query
    return Verdict(
        statements,
        is_plain=all(_is_plain(statement) for statement in statements),
        single=statements[0] if len(statements) == 1 else None,
        taint=max((statement.taint for statement in statements), default=Taint.NONE),
        pin=next((statement.pin for statement in statements if statement.pin), ""),
        needs_rules=needs_rules,
        has_transaction_control=any(statement.kind in _TRANSACTION_CONTROL for statement in statements),
        leaves_traces=any(_leaves_traces(statement) for statement in statements),
        can_be_deferred=_PLAIN_BEGIN.fullmatch(text) is not None,
        ends_block=_PLAIN_END.fullmatch(text) is not None,
        is_ordinary=is_ordinary,
        is_unremarkable=is_ordinary and not needs_rules,
    )


def _is_plain(statement: Statement) -> bool:
    if statement.kind in _FORWARDED_AS_IT_IS:
        return True
    if statement.kind in (StatementKind.SET, StatementKind.SET_CHARACTERISTICS):
        return all(change.is_local for change in statement.changes)
    return statement.kind == StatementKind.SET_CONFIG and statement.set_config[0].is_local is True


def _is_ordinary(statement: Statement) -> bool:
    return (
        statement.kind == StatementKind.ORDINARY
        and statement.command != "LOCK"
        and not statement.changes
        and not statement.set_config
        and not _leaves_traces(statement)
    )


def _leaves_traces(statement: Statement) -> bool:
    return bool(statement.taint or statement.pin or statement.frees or statement.changes_schema)


def _needs_rules(statement: Statement) -> bool:
    return bool(
        statement.changes
        or statement.set_config
        or statement.pin
        or statement.shared_name
        or statement.reaches_sessions
        or statement.reads_sequence
        or statement.kind in _JUDGED_KINDS
        or statement.command in _JUDGED_COMMANDS
    )


class _Kept:
    """Verdicts by text, or by shape, at most `max_entries` of them in about `max_bytes`.

    Two generations: what is asked for moves to the young one, and when that holds half of the limit, the old one is
    forgotten as a whole. So a stream of texts that never come again does not push out those that do.
    """

    __slots__ = ("_max_entries", "_max_size", "_old", "_young_bytes", "young")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max(1, max_entries // 2)
        self._max_size = max_bytes // 2
        self.young: dict[bytes, Verdict] = {}
        self._young_bytes = 0
        self._old: dict[bytes, Verdict] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def renew(self, text: bytes) -> Verdict | None:
        """The verdict on a text that is not among the young."""
        verdict = self._old.pop(text, None)
        if verdict is not None:
            self.keep(text, verdict)
        return verdict

    def keep(self, text: bytes, verdict: Verdict) -> None:
        """Remember the verdict, unless the text is too long."""
        size = len(text) + _ENTRY_BYTES * max(1, len(verdict.statements))
        if len(text) > MAX_CACHED_BYTES or size > self._max_size:
            return
        if self._young_bytes + size > self._max_size or len(self.young) >= self._max_entries:
            self._old = self.young
            self.young = {}
            self._young_bytes = 0
        self.young[text] = verdict
        self._young_bytes += size


class VerdictCache:
    """Verdicts by text and, where a shape says all, by shape: at most `max_entries` of either in about `max_bytes`.

    The two are kept apart, for a text that is written like a shape says nothing of others: SET x = 0 is one, too. A text that
    comes often gets an entry of its own, where it is found in a tenth of the time.

    shape: the one by which the last text was known, so all texts that have it get the same verdict, and that is an
        unremarkable query; empty if that text was known by itself.
    """

    __slots__ = ("_shapes", "_texts", "_turn", "misses", "shape")

    def __init__(self, max_entries: int = 10_000, max_bytes: int = 16 * 1024 * 1024) -> None:
        self._texts = _Kept(max_entries, max_bytes)
        self._shapes = _Kept(max_entries, max_bytes)
        self._turn = 0
        self.misses = 0
        self.shape = b""

    def __len__(self) -> int:
        return len(self._texts) + len(self._shapes)

    def verdict(self, text: bytes) -> Verdict:
        """The verdict on a text."""
        self.shape = b""
        verdict = self._texts.young.get(text)
        if verdict is not None:
            return verdict
        shape = shape_of(text) if len(text) <= MAX_SHAPED_BYTES else None
        if shape is not None:
            verdict = self._shapes.young.get(shape)
            if verdict is not None:
                self._turn += 1
                if self._turn == _KEPT_ONE_IN:
                    self._turn = 0
                    self._texts.keep(text, verdict)
                self.shape = shape
                return verdict
        return self._find(text, shape)

    def _find(self, text: bytes, shape: bytes | None) -> Verdict:
        """The verdict on a text of which nothing is known, or only from long ago."""
        verdict = self._texts.renew(text)
        if verdict is None and shape is not None:
            verdict = self._shapes.renew(shape)
        if verdict is not None:
            return verdict
        self.misses += 1
        verdict = examine(text)
        if shape is not None and verdict.is_shared and is_clear(shape):
            self._shapes.keep(shape, verdict)
        else:
            self._texts.keep(text, verdict)
        return verdict
