"""What the guard can say about one statement.

Plain values; `statements` produces them. Every str that holds the client's words is decoded as UTF-8 with surrogateescape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


class StatementKind:
    """What a statement is to a session. ORDINARY is also what the guard can not make sense of: PostgreSQL answers it."""

    ORDINARY: Final = 0
    EMPTY: Final = 1  # never listed by `split`
    BEGIN: Final = 2
    SET_TRANSACTION: Final = (
        3  # also SET transaction_isolation = … and its like, which last no longer than the transaction
    )
    COMMIT: Final = 4  # also END
    ROLLBACK: Final = 5  # also ABORT
    COMMIT_CHAIN: Final = 6
    ROLLBACK_CHAIN: Final = 7
    SAVEPOINT: Final = 8
    RELEASE: Final = 9
    ROLLBACK_TO: Final = 10
    PREPARE_TRANSACTION: Final = 11
    NO_BLOCK: Final = 12  # refuses to run in a transaction block
    SET: Final = 13  # also SET LOCAL: see `SettingChange.is_local`
    SET_CHARACTERISTICS: Final = 14
    RESET: Final = 15
    RESET_ALL: Final = 16
    DISCARD_ALL: Final = 17
    DISCARD: Final = 18  # PLANS, SEQUENCES, TEMP
    DEALLOCATE: Final = 19
    SQL_PREPARE: Final = 20
    SQL_EXECUTE: Final = 21
    SHOW: Final = 22
    LISTEN: Final = 23
    UNLISTEN: Final = 24
    NOTIFY: Final = 25
    DECLARE: Final = 26
    CLOSE_CURSOR: Final = 27
    COPY: Final = 28
    SET_CONFIG: Final = 29  # exactly SELECT set_config(…), every argument a constant or a parameter


class Taint:
    """What must be done to a server before another client may have it."""

    NONE: Final = 0
    RESET: Final = 1  # settings, locks, sequences or cursors may be left: reset it
    DISCARD: Final = 2  # opaque code ran, or it may hold prepared statements or temporary objects: DISCARD ALL


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that a statement changes. `name` is in lower case; a `value` of None is DEFAULT or RESET, or one that could not
    be read, if not `is_understood`.

    `value` has one part per element of the list, as PostgreSQL reads it: constants without quotes and escapes, names folded
    unless quoted, numbers in its own spelling.
    """

    name: str
    value: tuple[str, ...] | None
    is_local: bool
    is_understood: bool = True


@dataclass(frozen=True, slots=True)
class SetConfigCall:
    """A call of set_config. A str or bool is a constant, an int the number of a parameter, None can not be seen.

    `is_cast` says that the name is converted (`$1::varchar`), which may shorten it.
    """

    name: str | int | None
    value: str | int | None
    is_local: bool | int | None  # a bool is an int: ask for bool first
    is_cast: bool = False


WHOLE_TEXT: Final = 1 << 30
"""The end of a statement of which is said only that it is all there is in its text, however long: no text is longer."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text, at [start, end) in bytes, without blanks and comments around it and without its semicolon.

    One that many texts share is at [0, WHOLE_TEXT): as a slice that is the whole text, which may be sent in its place.

    changes: what it does to settings. Only kinds SET, SET_CHARACTERISTICS and RESET do just that; elsewhere the list is there for
        the rules (CREATE FUNCTION … SET, SET … FROM CURRENT, a SET whose value makes no sense).
    local_form: the same statement for the current transaction only, when it is for the session as written and can be put so.
        A 0-based position in it is the client's position p where p < local_at, and p - local_shift from there on.
    name: of the savepoint, channel, cursor or prepared statement; '' stands for ALL and *.
    pin: why the server must stay with this client afterwards, or ''.
    set_config: every call found anywhere in it.
    command: its words for messages ("CREATE INDEX CONCURRENTLY"), or its first word.
    shared_name: what it uses that is known by the same name to all tenants of a database ("notification"), or ''.
    reaches_sessions: whether it names what shows or ends other sessions of the same login.
    reads_sequence: whether it calls currval() or lastval(), which mean a nextval() of the same session.
    frees: whether it may take away what the server is kept for.
    changes_schema: whether what other statements mean may be different behind it.
    """

    kind: int
    start: int
    end: int
    changes: tuple[SettingChange, ...] = ()
    local_form: bytes | None = None
    local_shift: int = 0
    local_at: int = 0
    name: str = ""
    taint: int = Taint.NONE
    pin: str = ""
    set_config: tuple[SetConfigCall, ...] = ()
    copy_from_stdin: bool = False
    command: str = ""
    shared_name: str = ""
    reaches_sessions: bool = False
    reads_sequence: bool = False
    frees: bool = False
    changes_schema: bool = False
