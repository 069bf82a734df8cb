"""Calls of set_config: what can be seen of their arguments, and the plain statement that is nothing but one call."""

from __future__ import annotations

import re
from typing import Final

from proxy.guard import lexer
from proxy.guard.draft import Draft, Edit, replace_token
from proxy.guard.literals import ascii_lower
from proxy.guard.model import SetConfigCall, StatementKind, Taint
from proxy.guard.set_statements import NOT_CARRIED, TEMPORARY
from proxy.guard.tokens import Tokens

UNSEEN: Final = SetConfigCall(None, None, None)

_TEXT_TYPES: Final = ((b"character", b"varying"), (b"text",), (b"varchar",))
_BOOLEAN_TYPES: Final = ((b"boolean",), (b"bool",))


def parse_bool(value: str) -> bool | None:
    """PostgreSQL's reading of a boolean's text, any unique beginning of true, false, yes, no, on, off, and 1 and 0."""
    word = value.strip(" \t\n\r\f\v").lower()
    if word in ("on", "1") or (word and ("true".startswith(word) or "yes".startswith(word))):
        return True
    if word in ("of", "off", "0") or (word and ("false".startswith(word) or "no".startswith(word))):
        return False
    return None


class _Arguments:
    """Reads the three arguments of a call whose ( is in front of `index`, up to and including the )."""

    __slots__ = ("_tokens", "flag_index", "has_ended", "index", "is_cast")

    def __init__(self, tokens: Tokens, index: int) -> None:
        self._tokens = tokens
        self.index = index
        self.is_cast = False
        self.has_ended = False
        self.flag_index = -1

    def read(self) -> SetConfigCall:
        name = self._text(lexer.COMMA)
        if isinstance(name, str):
            name = ascii_lower(name)
        is_cast = self.is_cast
        value = self._text(lexer.COMMA)
        is_local = self._flag()
        return SetConfigCall(name, value, is_local, is_cast)

    def _text(self, closer: int) -> str | int | None:
        seen: str | int | None = self._tokens.parameter(self.index) or self._tokens.string(self.index)
        return self._finish(seen, closer, _TEXT_TYPES)

    def _flag(self) -> bool | int | None:
        tokens, self.flag_index = self._tokens, self.index
        seen: bool | int | None = tokens.parameter(self.index) or None
        if tokens.word(self.index) in (b"true", b"false"):
            seen = tokens.word(self.index) == b"true"
        elif seen is None:
            text = tokens.string(self.index)
            seen = parse_bool(text) if text is not None else None
        result = self._finish(seen, lexer.CLOSE, _BOOLEAN_TYPES)
        return result if not isinstance(result, str) else None

    def _finish(self, seen: str | int | None, closer: int, types: tuple[tuple[bytes, ...], ...]) -> str | int | None:
        """Pass over a cast to one of `types` and the token that ends the argument; without them it was not seen."""
        tokens = self._tokens
        self.index += 1
        self.is_cast = tokens.kind(self.index) == lexer.CAST
        if self.is_cast:
            self.index += 1
            if tokens.words(self.index, b"pg_catalog") and tokens.kind(self.index + 1) == lexer.DOT:
                self.index += 2
            matching = [words for words in types if tokens.words(self.index, *words)]
            if matching:
                self.index += len(matching[0])
        if tokens.kind(self.index) == closer:
            self.index += 1
            self.has_ended = closer == lexer.CLOSE
            return seen
        self._skip(closer)
        return None

    def _skip(self, closer: int) -> None:
        """Go behind the comma or parenthesis that ends this argument."""
        depth = 0
        while (kind := self._tokens.kind(self.index)) != lexer.END:
            self.index += 1
            if depth == 0 and kind == closer:
                self.has_ended = closer == lexer.CLOSE
                return
            depth += (kind == lexer.OPEN) - (kind == lexer.CLOSE)


def read_call(tokens: Tokens, index: int) -> SetConfigCall:
    """What can be seen of the call whose first argument is at `index`."""
    return _Arguments(tokens, index).read()


def classify_select(tokens: Tokens) -> Draft:
    """SELECT [pg_catalog.]set_config(…) [[AS] name] and nothing else is a SET_CONFIG; any other SELECT is ORDINARY."""
    ordinary = Draft(command="SELECT")
    index = 3 if tokens.raw_name(1) == b"pg_catalog" and tokens.kind(2) == lexer.DOT else 1
    if tokens.raw_name(index) != b"set_config" or tokens.kind(index + 1) != lexer.OPEN:
        return ordinary
    arguments = _Arguments(tokens, index + 2)
    call = arguments.read()
    if not arguments.has_ended or call.name is None or call.value is None or call.is_local is None:
        return ordinary
    if call.name in NOT_CARRIED:
        return ordinary
    index = arguments.index
    if tokens.word(index) == b"as":
        index += 1
    if not (tokens.ends_at(arguments.index) or (tokens.is_name(index) and tokens.ends_at(index + 1))):
        return ordinary
    edit: Edit | None = None
    if call.is_local is False:
        edit = replace_token(tokens[arguments.flag_index], b"true")
    draft = Draft(StatementKind.SET_CONFIG, "SELECT", edit=edit)
    if call.name == "search_path" and isinstance(call.value, str) and "pg_temp" in call.value:
        draft.pin, draft.taint = TEMPORARY, Taint.DISCARD
    return draft


PG_DUMPS: Final = frozenset({"restrict_nonsystem_relation_kind"})
"""Settings that pg_dump changes by a look into pg_settings, because they may not exist."""


def pg_dump_call(tokens: Tokens) -> tuple[SetConfigCall, bytes] | None:
    """pg_dump's `SELECT set_config(name, 'value', false) FROM pg_settings WHERE name = 'name'`: the call, and what is sent
    for it; else None.

    Whose table `pg_settings` is, and what its `name` is equal to, a client could arrange. So the call is sent with the name
    that stands there, and everything by its full name.
    """
    if not (tokens.words(0, b"select", b"set_config") and tokens.words(3, b"name") and tokens.kind(4) == lexer.COMMA):
        return None
    arguments = _Arguments(tokens, 3)
    call = arguments.read()
    index = arguments.index
    if not arguments.has_ended or not tokens.words(index, b"from", b"pg_settings", b"where", b"name"):
        return None
    name = tokens.string(index + 5)
    if name is None or not tokens.is_operator(index + 4, b"=") or not tokens.ends_at(index + 6):
        return None
    if name not in PG_DUMPS or not isinstance(call.value, str) or call.is_local is not False:
        return None
    value = quoting_of(call.value)
    if value is None:
        return None
    sent = b"SELECT pg_catalog.set_config('%s', '%s', true) FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) '%s'"
    return SetConfigCall(name, call.value, False), sent % (name.encode(), value, name.encode())


def quoting_of(value: str) -> bytes | None:
    """The value for between quotes; None for what pg_dump would not send."""
    return value.encode() if re.fullmatch(r"[a-z, -]*", value) else None
