"""Which kind of statement its first words make it, and what that kind leaves behind (PostgreSQL manual, part VI; gram.y).

Settings have a module of their own; what is called inside a statement is the business of `calls`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.guard import lexer
from proxy.guard.calls import NOTIFICATION, CallScan
from proxy.guard.draft import Draft
from proxy.guard.model import StatementKind, Taint
from proxy.guard.no_block import needs_no_block
from proxy.guard.set_config import classify_select
from proxy.guard.set_statements import TEMPORARY, classify_reset, classify_set, function_settings
from proxy.guard.tokens import Tokens

LISTEN: Final = "LISTEN"
WITH_HOLD: Final = "WITH HOLD cursor"
SQL_PREPARE: Final = "SQL PREPARE"

# Creating, changing or dropping one of these brings or takes code.
_OPAQUE_OBJECTS: Final[frozenset[bytes]] = frozenset(
    b"""
    access aggregate cast collation conversion domain event extension foreign function language operator procedure routine
    rule server text transform trigger type
    """.split()
)
_ROUTINES: Final = (b"function", b"procedure", b"routine", b"aggregate")
_TEMP_WORDS: Final = (b"temp", b"temporary")


def classify(tokens: Tokens) -> Draft:
    """What the statement is. Anything unknown is ORDINARY, with its first word for a command."""
    first = tokens.word(0)
    draft = Draft(command=first.upper().decode("ascii", "replace"))
    classifier = _BY_FIRST_WORD.get(first)
    if classifier is not None:
        draft = classifier(tokens)
    words = needs_no_block(tokens)
    if words:
        draft.kind, draft.command = StatementKind.NO_BLOCK, words
    return draft


def mark_temporary(draft: Draft, tokens: Tokens) -> None:
    """A temporary object is made: it stays until the session ends, unless it is dropped at commit."""
    is_dropped = any(tokens.words(index, b"on", b"commit", b"drop") for index in range(len(tokens)))
    if is_dropped:
        draft.taint = max(draft.taint, Taint.RESET)
    else:
        draft.taint, draft.pin = Taint.DISCARD, TEMPORARY


# --- transactions


def _begin(tokens: Tokens) -> Draft:
    is_begin = tokens.word(0) == b"begin" or tokens.word(1) == b"transaction"
    return Draft(StatementKind.BEGIN if is_begin else StatementKind.ORDINARY, "BEGIN")


def _end_of_transaction(tokens: Tokens) -> Draft:
    is_commit = tokens.word(0) in (b"commit", b"end")
    command = "COMMIT" if is_commit else "ROLLBACK"
    if tokens.word(1) == b"prepared" and tokens.word(0) in (b"commit", b"rollback"):
        return Draft(StatementKind.NO_BLOCK, command + " PREPARED")
    index = 2 if tokens.word(1) in (b"work", b"transaction") else 1
    if tokens.word(index) == b"to" and tokens.word(0) == b"rollback":
        index += 2 if tokens.word(index + 1) == b"savepoint" and tokens.is_name(index + 2) else 1
        return Draft(StatementKind.ROLLBACK_TO, "ROLLBACK TO SAVEPOINT", tokens.name(index))
    if tokens.words(index, b"and", b"chain"):
        return Draft(StatementKind.COMMIT_CHAIN if is_commit else StatementKind.ROLLBACK_CHAIN, command + " AND CHAIN")
    return Draft(StatementKind.COMMIT if is_commit else StatementKind.ROLLBACK, command)


def _savepoint(tokens: Tokens) -> Draft:
    return Draft(StatementKind.SAVEPOINT, "SAVEPOINT", tokens.name(1))


def _release(tokens: Tokens) -> Draft:
    index = 2 if tokens.word(1) == b"savepoint" and tokens.is_name(2) else 1
    return Draft(StatementKind.RELEASE, "RELEASE SAVEPOINT", tokens.name(index))


# --- statements, cursors, channels


def _prepare(tokens: Tokens) -> Draft:
    if tokens.word(1) == b"transaction" and tokens.kind(2) == lexer.STRING:
        return Draft(StatementKind.PREPARE_TRANSACTION, "PREPARE TRANSACTION", tokens.string(2) or "")
    return Draft(StatementKind.SQL_PREPARE, "PREPARE", tokens.name(1), taint=Taint.DISCARD, pin=SQL_PREPARE)


def _execute(tokens: Tokens) -> Draft:
    return Draft(StatementKind.SQL_EXECUTE, "EXECUTE", tokens.name(1), taint=Taint.DISCARD)


def _deallocate(tokens: Tokens) -> Draft:
    index = 2 if tokens.word(1) == b"prepare" and tokens.is_name(2) else 1
    name = "" if tokens.word(index) == b"all" else tokens.name(index)
    return Draft(StatementKind.DEALLOCATE, "DEALLOCATE", name, taint=Taint.DISCARD, frees=True)


def _declare(tokens: Tokens) -> Draft:
    draft = Draft(StatementKind.DECLARE, "DECLARE", tokens.name(1))
    index = 2
    while index < len(tokens) and tokens.word(index) != b"for":
        if tokens.words(index, b"with", b"hold"):
            draft.pin, draft.taint = WITH_HOLD, Taint.RESET
        index += 1
    return draft


def _close(tokens: Tokens) -> Draft:
    name = "" if tokens.word(1) == b"all" else tokens.name(1)
    return Draft(StatementKind.CLOSE_CURSOR, "CLOSE", name, frees=True)


def _listen(tokens: Tokens) -> Draft:
    return Draft(
        StatementKind.LISTEN, "LISTEN", tokens.name(1), taint=Taint.RESET, pin=LISTEN, shared_name=NOTIFICATION
    )


def _unlisten(tokens: Tokens) -> Draft:
    return Draft(StatementKind.UNLISTEN, "UNLISTEN", tokens.name(1), frees=True)


def _notify(tokens: Tokens) -> Draft:
    return Draft(StatementKind.NOTIFY, "NOTIFY", tokens.name(1), shared_name=NOTIFICATION)


def _show(tokens: Tokens) -> Draft:
    return Draft(StatementKind.SHOW, "SHOW")


def _copy(tokens: Tokens) -> Draft:
    """COPY … FROM STDIN, for which STDOUT is another word; a query in parentheses can only be copied out."""
    draft = Draft(StatementKind.COPY, "COPY")
    depth = 0
    for index in range(1, len(tokens)):
        kind = tokens.kind(index)
        depth += (kind == lexer.OPEN) - (kind == lexer.CLOSE)
        if depth == 0 and tokens.word(index) in (b"from", b"to"):
            is_input = tokens.word(index) == b"from"
            draft.copy_from_stdin = is_input and tokens.word(index + 1) in (b"stdin", b"stdout")
            break
    return draft


def _discard(tokens: Tokens) -> Draft:
    if tokens.word(1) == b"all":
        return Draft(StatementKind.DISCARD_ALL, "DISCARD ALL")
    command = "DISCARD " + tokens.word(1).upper().decode("ascii", "replace")
    return Draft(StatementKind.DISCARD, command, frees=True)


# --- definitions and opaque code


def _opaque(tokens: Tokens) -> Draft:
    return Draft(command=tokens.word(0).upper().decode("ascii"), taint=Taint.DISCARD)


def _definition(tokens: Tokens) -> Draft:
    """CREATE, ALTER and DROP."""
    verb = tokens.word(0)
    index = 3 if tokens.words(1, b"or", b"replace") else 1
    if tokens.word(index) in (b"trusted", b"procedural", b"constraint", b"default", b"global", b"local"):
        index += 1
    thing = tokens.word(index)
    command = f"{verb.upper().decode()} {thing.upper().decode('ascii', 'replace')}".rstrip()
    draft = Draft(command=command)
    draft.frees = verb == b"drop"
    # A table that is made may take the place of another one whose making was rolled back. A temporary one is nobody else's.
    draft.changes_schema = verb != b"create" or thing not in _TEMP_WORDS
    if thing in _TEMP_WORDS and verb == b"create":
        mark_temporary(draft, tokens)
    elif thing in _OPAQUE_OBJECTS and tokens.words(index, b"foreign", b"table") is False:
        draft.taint = Taint.DISCARD
        if thing in _ROUTINES:
            draft.changes = function_settings(tokens)
    elif thing in (b"user", b"role", b"group") and tokens.word(index + 1) == b"mapping":
        draft.command += " MAPPING"
    elif verb == b"alter" and thing == b"database":
        draft.command += _database_setting(tokens)
    return draft


def _database_setting(tokens: Tokens) -> str:
    """What ALTER DATABASE name does to settings, as words behind its command."""
    word = tokens.word(3)
    is_setting = word in (b"set", b"reset") and not tokens.words(3, b"set", b"tablespace")
    return " " + word.upper().decode() if is_setting else ""


def _may_execute(tokens: Tokens) -> bool:
    """EXPLAIN and CREATE TABLE AS can run a statement of SQL PREPARE."""
    return any(tokens.word(index) == b"execute" for index in range(1, len(tokens)))


def _explain(tokens: Tokens) -> Draft:
    return Draft(command="EXPLAIN", taint=Taint.DISCARD if _may_execute(tokens) else Taint.NONE)


def _create(tokens: Tokens) -> Draft:
    draft = _definition(tokens)
    if _may_execute(tokens):
        draft.taint = Taint.DISCARD
    return draft


def finish(draft: Draft, scan: CallScan, tokens: Tokens) -> None:
    """Add to a draft what the scan of all tokens found."""
    if scan.makes_temporary and not draft.pin:
        mark_temporary(draft, tokens)
    draft.pin = draft.pin or scan.pin
    draft.shared_name = draft.shared_name or scan.shared_name
    draft.frees = draft.frees or scan.frees
    # A plain set_config(…, false) is run in its local form; whether one with a parameter is local is known at Bind.
    is_carried = draft.kind == StatementKind.SET_CONFIG and isinstance(scan.set_config[0].is_local, bool)
    if not is_carried or scan.taint == Taint.DISCARD:
        draft.taint = max(draft.taint, scan.taint)


_BY_FIRST_WORD: Final[dict[bytes, Callable[[Tokens], Draft]]] = {
    b"abort": _end_of_transaction,
    b"alter": _definition,
    b"begin": _begin,
    b"call": _opaque,
    b"close": _close,
    b"commit": _end_of_transaction,
    b"copy": _copy,
    b"create": _create,
    b"deallocate": _deallocate,
    b"declare": _declare,
    b"discard": _discard,
    b"do": _opaque,
    b"drop": _definition,
    b"end": _end_of_transaction,
    b"execute": _execute,
    b"explain": _explain,
    b"listen": _listen,
    b"load": _opaque,
    b"notify": _notify,
    b"prepare": _prepare,
    b"release": _release,
    b"reset": classify_reset,
    b"rollback": _end_of_transaction,
    b"savepoint": _savepoint,
    b"select": classify_select,
    b"set": classify_set,
    b"show": _show,
    b"start": _begin,
    b"unlisten": _unlisten,
}
