"""SET and RESET in all their forms (PostgreSQL manual: SET, SET ROLE, SET SESSION AUTHORIZATION, SET TRANSACTION, RESET)."""

from __future__ import annotations

from typing import Final

from proxy.guard import lexer
from proxy.guard.draft import Draft, insert_behind, replace_token
from proxy.guard.model import SettingChange, StatementKind, Taint
from proxy.guard.setting_values import Setting, is_assignment, read_name, read_setting
from proxy.guard.tokens import Tokens

TEMPORARY: Final = "temporary table"

# PostgreSQL sets these anew at every start of a transaction, from default_transaction_….
_OF_THE_TRANSACTION: Final = frozenset(("transaction_isolation", "transaction_read_only", "transaction_deferrable"))

# Settings whose value is not kept for the next transaction.
NOT_CARRIED: Final = _OF_THE_TRANSACTION | {"seed"}

_LEVELS: Final = {
    (b"serializable", b""): "serializable",
    (b"repeatable", b"read"): "repeatable read",
    (b"read", b"committed"): "read committed",
    (b"read", b"uncommitted"): "read uncommitted",
}


def classify_set(tokens: Tokens) -> Draft:
    """SET …: what it changes, and how it reads with LOCAL in it."""
    scope = _scope(tokens)
    index = 2 if scope else 1
    is_local = scope == b"local"
    if tokens.word(index) == b"transaction" and not is_assignment(tokens, index + 1):
        return Draft(StatementKind.SET_TRANSACTION, "SET TRANSACTION")
    if tokens.word(1) == b"constraints" and not is_assignment(tokens, 2):
        return Draft(command="SET CONSTRAINTS")
    edit = None
    if not is_local:
        edit = replace_token(tokens[1], b"LOCAL") if scope else insert_behind(tokens[0], b" LOCAL")
    if tokens.words(index, b"session", b"characteristics", b"as", b"transaction"):
        changes = _characteristics(tokens, index + 4, is_local)
        if changes is None:
            return Draft(command="SET", taint=Taint.RESET)
        return Draft(StatementKind.SET_CHARACTERISTICS, "SET SESSION CHARACTERISTICS", changes=changes, edit=edit)
    setting = read_setting(tokens, index)
    if setting is None:
        return Draft(command="SET", taint=Taint.RESET)
    if setting.name in _OF_THE_TRANSACTION:
        return Draft(StatementKind.SET_TRANSACTION, "SET TRANSACTION")
    is_understood = setting.is_understood and tokens.ends_at(setting.next)
    changes = (SettingChange(setting.name, setting.value, is_local, is_understood),)
    # SET … FROM CURRENT, SET seed and what PostgreSQL will refuse can not be carried from one transaction to the next.
    if not is_understood or setting.name == "seed":
        return Draft(command="SET", changes=changes, taint=Taint.RESET)
    draft = Draft(StatementKind.SET, "SET", changes=changes, edit=edit)
    if setting.name == "search_path" and creates_temporary(setting.value or ()):
        draft.pin, draft.taint = TEMPORARY, Taint.DISCARD
    return draft


def classify_reset(tokens: Tokens) -> Draft:
    """RESET …: back to the default."""
    if tokens.word(1) == b"all" and tokens.ends_at(2):
        return Draft(StatementKind.RESET_ALL, "RESET ALL")
    if tokens.words(1, b"transaction", b"isolation", b"level"):
        return Draft(StatementKind.SET_TRANSACTION, "RESET")
    if tokens.words(1, b"time", b"zone"):
        name, index = "timezone", 3
    elif tokens.words(1, b"session", b"authorization"):
        name, index = "session_authorization", 3
    else:
        name, index = read_name(tokens, 1)
    if not name:
        return Draft(command="RESET", taint=Taint.RESET)
    changes = (SettingChange(name, None, False),)
    if not tokens.ends_at(index) or name == "seed":
        return Draft(command="RESET", changes=changes, taint=Taint.RESET)
    if name in _OF_THE_TRANSACTION:
        return Draft(StatementKind.SET_TRANSACTION, "RESET")
    return Draft(StatementKind.RESET, "RESET", changes=changes)


def function_settings(tokens: Tokens) -> tuple[SettingChange, ...]:
    """What the SET clauses of CREATE or ALTER FUNCTION and PROCEDURE change while the function runs."""
    changes: list[SettingChange] = []
    depth = 0
    index = 0
    while index < len(tokens):
        kind = tokens.kind(index)
        depth += (kind == lexer.OPEN) - (kind == lexer.CLOSE)
        if tokens.words(index, b"begin", b"atomic"):
            break
        index += 1
        if depth == 0 and kind == lexer.NAME and tokens.word(index - 1) == b"set":
            setting = read_setting(tokens, index)
            if setting is not None and not _keeps_search_path(tokens, setting):
                changes.append(SettingChange(setting.name, setting.value, True))
    return tuple(changes)


def creates_temporary(search_path: tuple[str, ...]) -> bool:
    """Whether new objects could become temporary ones: pg_temp stands where nothing in front surely takes them."""
    for schema in search_path:
        if schema == "pg_temp":
            return True
        if schema == "pg_catalog":
            return False
    return False


def _keeps_search_path(tokens: Tokens, setting: Setting) -> bool:
    return setting.name == "search_path" and tokens.words(setting.next, b"from", b"current")


def _scope(tokens: Tokens) -> bytes:
    """SESSION or LOCAL behind SET, or b"" where the word is the name of a setting or begins another form of SET."""
    word = tokens.word(1)
    if word not in (b"session", b"local") or is_assignment(tokens, 2):
        return b""
    if word == b"session" and (tokens.word(2) == b"authorization" or tokens.words(2, b"characteristics", b"as")):
        return b""
    return word


def _characteristics(tokens: Tokens, index: int, is_local: bool) -> tuple[SettingChange, ...] | None:
    """Transaction modes up to the end of the statement; None when they are none."""
    changes: list[SettingChange] = []
    while not tokens.ends_at(index):
        first, second = tokens.word(index), tokens.word(index + 1)
        if tokens.words(index, b"isolation", b"level"):
            level = (tokens.word(index + 2), tokens.word(index + 3))
            key = level if level in _LEVELS else (level[0], b"")
            if key not in _LEVELS:
                return None
            change = ("default_transaction_isolation", _LEVELS[key])
            index += 4 if key[1] else 3
        elif first == b"read" and second in (b"only", b"write"):
            change = ("default_transaction_read_only", "on" if second == b"only" else "off")
            index += 2
        elif first == b"deferrable" or (first == b"not" and second == b"deferrable"):
            change = ("default_transaction_deferrable", "on" if first == b"deferrable" else "off")
            index += 1 if first == b"deferrable" else 2
        else:
            return None
        changes.append(SettingChange(change[0], (change[1],), is_local))
        if tokens.kind(index) == lexer.COMMA:
            index += 1
    return tuple(changes) or None
