"""Put the context into a Query that is more than plain statements: statement by statement, again after each end of a
transaction, with the session's SETs turned into SET LOCAL.

The text between statements is kept as the client wrote it; every insertion is noted, so that error positions can be put
right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mypy_extensions import i64

from proxy.context import quoting
from proxy.context.client_settings import ClientSettings
from proxy.context.context import PLAN_SETTINGS, REPORTED, Context
from proxy.errors import TransactionFailed
from proxy.guard.set_config import parse_bool
from proxy.guard.statements import Statement, StatementKind
from proxy.server.units import DROP, INJECTED, NOTED, QUERY, STATEMENT, Capture, Effect, Note, PositionMap
from proxy.wire import codes

Kind = StatementKind

ENDS_TRANSACTION = frozenset({Kind.COMMIT, Kind.ROLLBACK, Kind.PREPARE_TRANSACTION})
CHAINS = frozenset({Kind.COMMIT_CHAIN, Kind.ROLLBACK_CHAIN})
BARE = ENDS_TRANSACTION | CHAINS | {Kind.BEGIN, Kind.SET_TRANSACTION, Kind.ROLLBACK_TO}
"""Statements that need no context: they read nothing, and some must come before the first snapshot.

SAVEPOINT is not among them: a context put in place behind a savepoint would be lost by ROLLBACK TO.
"""
KEEPS_SNAPSHOT_AWAY = frozenset(
    {
        "DEALLOCATE",
        "LISTEN",
        "LOCK",
        "NOTIFY",
        "RESET",
        "RESET ALL",
        "SAVEPOINT",
        "SET",
        "SET CONSTRAINTS",
        "SHOW",
        "UNLISTEN",
    }
)
"""Commands without a snapshot: behind them PostgreSQL still takes SET TRANSACTION, and after LOCK the snapshot is new."""
SESSION_CHANGES = frozenset({Kind.SET, Kind.SET_CHARACTERISTICS, Kind.RESET, Kind.RESET_ALL, Kind.SET_CONFIG})
NOTED_KINDS = ENDS_TRANSACTION | CHAINS | {Kind.SAVEPOINT, Kind.RELEASE, Kind.ROLLBACK_TO}


BEGIN: Final = Statement(Kind.BEGIN, 0, 0, command="BEGIN")
"""Stands for a BEGIN that was deferred."""
BEGUN: Final = Effect(BEGIN)


class Progress:
    """Where the transaction stands, as predicted along the path on which everything succeeds."""

    __slots__ = ("in_place", "status")

    def __init__(self, status: int, in_place: bool) -> None:
        self.status: i64 = status
        self.in_place = in_place

    def after(self, kind: int) -> None:
        """Move on past a statement of this kind."""
        if kind == Kind.BEGIN:
            if self.status == codes.IDLE:
                self.status = codes.IN_TRANSACTION
        elif kind in ENDS_TRANSACTION:
            self.status = codes.IDLE
            self.in_place = False
        elif kind in CHAINS:
            self.status = codes.IN_TRANSACTION
            self.in_place = False
        elif kind == Kind.ROLLBACK_TO:
            self.status = codes.IN_TRANSACTION
            self.in_place = True


@dataclass(slots=True)
class Substitute:
    """What is sent in a statement's place: `texts`, all but the last one's replies dropped, and how success is noted.

    `captures` are settings whose new value is asked for right behind, because PostgreSQL reports no change that a
    transaction takes back. `shift_at`, `shift`: the place in the last text where characters were put in, and how many.
    """

    texts: tuple[bytes, ...]
    effect: Effect | None = None
    captures: tuple[str, ...] = ()
    shift_at: int = 0
    shift: int = 0


_ENCODING: Final = "client_encoding"
_NOTHING: Final = quoting.set_local("gatehouse.nothing", ("",))
"""A statement with a command tag and no consequence: PostgreSQL still refuses it in a failed transaction."""


def block_has_failed() -> TransactionFailed:
    """What PostgreSQL says in a failed transaction to all but its end."""
    return TransactionFailed("current transaction is aborted, commands ignored until end of transaction block")


def is_session_change(statement: Statement) -> bool:
    """Whether the statement changes settings beyond its transaction."""
    kind = statement.kind
    return kind in SESSION_CHANGES and not (kind == Kind.SET and all(change.is_local for change in statement.changes))


def changes_parsing(statement: Statement) -> bool:
    """Whether the statement may change by what settings texts are understood, if only in its transaction."""
    return (
        len(statement.set_config) > 0
        or statement.kind in (Kind.RESET_ALL, Kind.DISCARD_ALL)
        or any(change.name in PLAN_SETTINGS for change in statement.changes)
    )


def changes_encoding(statement: Statement, bound: tuple[str | None, ...] | None = None) -> bool:
    """Whether the statement may change client_encoding, if only in its transaction."""
    return (
        statement.kind in (Kind.RESET_ALL, Kind.DISCARD_ALL)
        or any(change.name == _ENCODING for change in statement.changes)
        or any((argument(call.name, bound) or _ENCODING).lower() == _ENCODING for call in statement.set_config)
    )


Owns = Callable[[str], bool]
"""Whether a prepared statement's name ('' for all) is one of the client's protocol-level statements."""


def residue(statement: Statement, owns: Owns) -> int:
    """The taint that a statement leaves as it is sent, which may be less than what it would as it was written."""
    if statement.kind == Kind.DEALLOCATE and owns(statement.name):
        return 0
    return statement.taint


def substitute(statement: Statement, text: bytes, settings: ClientSettings, owns: Owns) -> Substitute | None:
    """What to send for `statement`; None: as it is, and nothing is to be noted."""
    kind = statement.kind
    if kind in NOTED_KINDS:
        return Substitute((text,), Effect(statement))
    if kind == Kind.SET_CONFIG:
        sent = statement.local_form or text
        return Substitute((sent,), Effect(statement), captures_of(statement), statement.local_at, len(sent) - len(text))
    if kind == Kind.DISCARD_ALL:
        return Substitute((_NOTHING,), Effect(statement, b"DISCARD ALL", is_rewritten=True))
    if kind == Kind.DEALLOCATE and not owns(statement.name):
        return None if statement.name else Substitute((text,), Effect(statement))
    if kind == Kind.DEALLOCATE:
        tag = b"DEALLOCATE" if statement.name else b"DEALLOCATE ALL"
        return Substitute((_NOTHING,), Effect(statement, tag, is_rewritten=True))
    if not is_session_change(statement):
        return None
    if kind == Kind.RESET_ALL:
        resets = tuple(
            quoting.set_local(name, settings.default(name)) for name in sorted(settings.names_in_transaction())
        )
        return Substitute((*resets, _NOTHING), Effect(statement, b"RESET", is_rewritten=True))
    captures = captures_of(statement)
    if kind == Kind.RESET:
        texts = tuple(quoting.set_local(change.name, settings.default(change.name)) for change in statement.changes)
        return Substitute(texts, Effect(statement, b"RESET", is_rewritten=True))
    if kind == Kind.SET_CHARACTERISTICS:
        texts = tuple(quoting.set_local(change.name, change.value) for change in statement.changes)
        return Substitute(texts, Effect(statement, is_rewritten=True), captures)
    local = statement.local_form
    if local is None or any(change.value is None for change in statement.changes):
        texts = tuple(
            quoting.set_local(c.name, c.value if c.value is not None else settings.default(c.name))
            for c in statement.changes
        )
        return Substitute(texts or (text,), Effect(statement, is_rewritten=True), captures)
    return Substitute(
        (local,), Effect(statement, is_rewritten=True), captures, statement.local_at, len(local) - len(text)
    )


def captures_of(statement: Statement, bound: tuple[str | None, ...] | None = None) -> tuple[str, ...]:
    """The settings of which PostgreSQL is asked behind the statement what it made of the value."""
    if statement.kind == Kind.SET_CONFIG:
        name, _, is_local = _called(statement, bound)
        names = [] if name is None or is_local else [name.lower()]
    elif statement.kind in (Kind.SET, Kind.SET_CHARACTERISTICS):
        names = [change.name for change in statement.changes if not change.is_local]
    else:
        names = []
    return tuple(name for name in names if name in REPORTED and name != "search_path")


def take_effect(
    settings: ClientSettings,
    statement: Statement,
    bound: tuple[str | None, ...] | None = None,
    *,
    committed: bool = True,
) -> None:
    """Do to the client's settings what the statement's success does to them; `bound` are its parameters."""
    kind = statement.kind
    if kind in ENDS_TRANSACTION or kind in CHAINS:
        if committed and kind not in (Kind.ROLLBACK, Kind.ROLLBACK_CHAIN):
            settings.commit()
        else:
            settings.rollback()
    elif kind == Kind.SAVEPOINT:
        settings.savepoint(statement.name)
    elif kind == Kind.RELEASE:
        settings.release(statement.name)
    elif kind == Kind.ROLLBACK_TO:
        settings.rollback_to(statement.name)
    elif kind in (Kind.RESET_ALL, Kind.DISCARD_ALL):
        settings.reset_all()
    elif kind == Kind.SET_CONFIG:
        _take_set_config(settings, statement, bound)
    elif is_session_change(statement):
        for change in statement.changes:
            if not change.is_local:
                settings.change(change.name, change.value)


def _take_set_config(settings: ClientSettings, statement: Statement, bound: tuple[str | None, ...] | None) -> None:
    name, value, is_local = _called(statement, bound)
    if name is None or value is None or is_local:
        return
    lowered = name.lower()
    # PostgreSQL took it, so a list is one.
    settings.change(lowered, quoting.split_list(value) or () if lowered in quoting.LIST_QUOTED else (value,))


def set_locally(statement: Statement, bound: tuple[str | None, ...] | None = None) -> list[str]:
    """The settings that the statement changes for its transaction."""
    names = [change.name for change in statement.changes if change.is_local]
    for call in statement.set_config:
        name = argument(call.name, bound)
        if name is not None:
            names.append(name.lower())
    return names


def lasting_by(statement: Statement, bound: tuple[str | None, ...]) -> int:
    """The number of the parameter that makes a plain call of set_config() one for the session, and nothing else; or 0.

    True in its place sets the same for the transaction, and leaves nothing on the server.
    """
    if statement.kind != Kind.SET_CONFIG:
        return 0
    call = statement.set_config[0]
    number = call.is_local
    if isinstance(number, bool) or not isinstance(number, int) or number > len(bound):
        return 0
    if number in (call.name, call.value) or _called(statement, bound)[2]:
        return 0
    return number


def _called(statement: Statement, bound: tuple[str | None, ...] | None) -> tuple[str | None, str | None, bool]:
    """Name, value and whether it is local of a set_config(); without the last PostgreSQL does nothing lasting."""
    call = statement.set_config[0]
    name, value, is_local = (argument(arg, bound) for arg in (call.name, call.value, call.is_local))
    if is_local is None and bound is not None and isinstance(call.is_local, int):
        return name, value, False  # to PostgreSQL NULL is false
    # A parameter may come in binary: one byte.
    return name, value, is_local is None or is_local == "\x01" or bool(parse_bool(is_local))


def argument(arg: str | int | bool | None, bound: tuple[str | None, ...] | None) -> str | None:
    """An argument of set_config(): a constant, or the value bound to its parameter."""
    if isinstance(arg, bool):
        return "true" if arg else "false"
    if isinstance(arg, int):
        return bound[arg - 1] if bound is not None and 0 < arg <= len(bound) else None
    return arg


def goes_bare(statement: Statement, status: int) -> bool:
    """Whether PostgreSQL must get the statement alone: it refuses a block, or outside of one it has no effect at all.

    Outside a block PostgreSQL refuses LOCK and a cursor without hold, and warns that SET LOCAL does nothing; behind the
    context it would take the implicit block for one.
    """
    kind = statement.kind
    if kind == Kind.NO_BLOCK or status != codes.IDLE:
        return kind == Kind.NO_BLOCK
    if kind == Kind.SET:
        return not is_session_change(statement)
    return (kind == Kind.DECLARE and not statement.pin) or statement.command == "LOCK"


@dataclass(slots=True)
class Rewritten:
    """A Query ready to send, what its replies mean, and where the transaction will stand."""

    sql: bytes
    units: list[int]
    notes: list[Note]
    positions: PositionMap
    progress: Progress


@dataclass(slots=True)
class Rewriter:
    """Builds one `Rewritten`."""

    context: Context
    settings: ClientSettings
    progress: Progress
    owns: Owns
    build: Callable[[ClientSettings], Context]
    begin: bytes = b""
    _pieces: list[bytes] = field(default_factory=list)
    _length: int = 0
    _units: list[int] = field(default_factory=list)
    _notes: list[Note] = field(default_factory=list)
    _edits: list[tuple[int, int]] = field(default_factory=list)

    def rewrite(self, text: bytes, statements: tuple[Statement, ...]) -> Rewritten:
        """Rewrite a Query's text."""
        # What the statements will have done to the settings by the time the next one runs.
        self.settings = self.settings.copy()
        done = 0
        if self.begin:
            self._insert(self.begin + b"; ", [STATEMENT | DROP | NOTED | INJECTED])
            self._notes.append(BEGUN)
        for statement in statements:
            self._keep(text[done : statement.start])
            self._add(statement, text[statement.start : statement.end])
            done = statement.end
        self._keep(text[done:])
        self._units.append(QUERY)
        sql = b"".join(self._pieces)
        return Rewritten(sql, self._units, self._notes, PositionMap(sql, tuple(self._edits)), self.progress)

    def _keep(self, text: bytes) -> None:
        self._pieces.append(text)
        self._length += len(text)

    def _insert(self, text: bytes, units: list[int]) -> None:
        """Put in text of our own; the position of anything behind it moves."""
        self._keep(text)
        self._edits.append((self._length, len(text.decode("utf-8", "replace"))))
        self._units += units

    def _add(self, statement: Statement, text: bytes) -> None:
        progress = self.progress
        if progress.status != codes.FAILED and not progress.in_place and statement.kind not in BARE:
            self._insert(self.context.prefix, [STATEMENT | DROP | INJECTED] * self.context.statements)
            progress.in_place = True
        # In a string or a block PostgreSQL refuses DISCARD ALL itself.
        is_plain = statement.kind == Kind.DISCARD_ALL
        sent = None if is_plain else substitute(statement, text, self.settings, self.owns)
        if sent is None:
            self._keep(text)
            self._units.append(STATEMENT)
        else:
            self._add_substitute(sent, text)
        progress.after(statement.kind)
        if statement.changes or statement.set_config:
            for name in set_locally(statement):
                self.settings.note_local(name)
        if sent is not None:
            take_effect(self.settings, statement)
            if not progress.in_place:
                self.context = self.build(self.settings)

    def _add_substitute(self, sent: Substitute, text: bytes) -> None:
        for extra in sent.texts[:-1]:
            self._insert(extra + b"; ", [STATEMENT | DROP])
        last = sent.texts[-1]
        start = self._length
        self._keep(last)
        if last != text:
            self._edits.append((start + sent.shift_at, len(last) - len(text)))
        if sent.effect is not None:
            self._units.append(STATEMENT | NOTED)
            self._notes.append(sent.effect)
        else:
            self._units.append(STATEMENT)
        for name in sent.captures:
            self._insert(b"; SHOW " + quoting.setting_name(name), [STATEMENT | DROP | NOTED])
            self._notes.append(Capture(name))
