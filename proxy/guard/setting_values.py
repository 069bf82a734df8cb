"""A setting and its value, as SET spells them (PostgreSQL manual, SET; gram.y: set_rest_more, generic_set, zone_value).

Values are what flatten_set_variable_args makes of them, kept apart element by element.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.guard import lexer
from proxy.guard.literals import text_of
from proxy.guard.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that was read up to token `next`. Where it `is_understood`, a value of None is DEFAULT."""

    name: str
    value: tuple[str, ...] | None
    next: int
    is_understood: bool = True


_MAX_INTEGER: Final = 0x7FFFFFFF
_RADIX: Final = {b"0x": 16, b"0o": 8, b"0b": 2}
_ZONE_OFFSET: Final = re.compile(r"[+-]?\d{1,2}:\d{2}")


def is_assignment(tokens: Tokens, index: int) -> bool:
    """Whether the word in front of `index` is the name of a setting, whatever else the word may mean."""
    return tokens.kind(index) == lexer.DOT or tokens.word(index) in (b"to", b"from") or tokens.is_operator(index, b"=")


def read_setting(tokens: Tokens, index: int) -> Setting | None:
    """Read what follows SET [SESSION | LOCAL]; None when no setting is named there."""
    reader = _SPECIAL.get(tokens.word(index))
    if reader is not None and not is_assignment(tokens, index + 1):
        setting = reader(tokens, index + 1)
        if setting is not None:
            return setting
    return _read_assignment(tokens, index)


def read_name(tokens: Tokens, index: int) -> tuple[str, int]:
    """Read the name of a setting: its lower-case name and the index behind it, or '' when there is none."""
    if not tokens.is_name(index):
        return "", index
    parts = [tokens.raw_name(index)]
    index += 1
    while tokens.kind(index) == lexer.DOT and tokens.is_name(index + 1):
        parts.append(tokens.raw_name(index + 1))
        index += 2
    return text_of(b".".join(parts).lower()), index


def _read_assignment(tokens: Tokens, index: int) -> Setting | None:
    name, index = read_name(tokens, index)
    if not name:
        return None
    if not (tokens.is_operator(index, b"=") or tokens.word(index) == b"to"):
        return Setting(name, None, index, is_understood=False)
    index += 1
    if tokens.word(index) == b"default":
        return Setting(name, None, index + 1)
    values: list[str] = []
    while True:
        value, index = _read_value(tokens, index)
        if value is None:
            return Setting(name, None, index, is_understood=False)
        values.append(value)
        if tokens.kind(index) != lexer.COMMA:
            return Setting(name, tuple(values), index)
        index += 1


def _read_value(tokens: Tokens, index: int) -> tuple[str | None, int]:
    if tokens.is_plain_word(index) or tokens.word(index) in (b"true", b"false", b"on"):
        return tokens.name(index), index + 1
    is_negative = tokens.is_operator(index, b"-")
    if is_negative or tokens.is_operator(index, b"+"):
        index += 1
        digits = tokens.number(index)
        return (_number(digits, is_negative) if digits else None), index + 1
    digits = tokens.number(index)
    return (_number(digits, False) if digits else tokens.string(index)), index + 1


def _number(digits: bytes, is_negative: bool) -> str:
    """A number in PostgreSQL's own spelling: small integers in decimal, everything else as it was written."""
    radix = _RADIX.get(digits[:2].lower(), 10)
    plain = digits.replace(b"_", b"")
    sign = "-" if is_negative else ""
    # Longer runs of digits are no 32-bit integers, and converting them would take quadratic time.
    if len(plain) <= 40 and (radix != 10 or plain.isdigit()) and len(plain) > (2 if radix != 10 else 0):
        number = int(plain[2:] if radix != 10 else plain, radix)
        if number <= _MAX_INTEGER:
            return str(-number if is_negative else number)
    return sign + text_of(digits)


def _read_time_zone(tokens: Tokens, index: int) -> Setting | None:
    if tokens.word(index) != b"zone":
        return None
    index += 1
    word = tokens.word(index)
    if word in (b"local", b"default"):
        return Setting("timezone", None, index + 1)
    if word == b"interval" and (tokens.kind(index + 1) in (lexer.STRING, lexer.OPEN)):
        return _read_interval(tokens, index + 1)
    value, index = _read_value(tokens, index)
    return Setting("timezone", (value,) if value is not None else None, index, is_understood=value is not None)


def _read_interval(tokens: Tokens, index: int) -> Setting:
    """INTERVAL '-08:00' [HOUR TO MINUTE], as a string that the setting takes; other intervals are not understood."""
    value = tokens.string(index)
    index += 1
    if tokens.words(index, b"hour", b"to", b"minute"):
        index += 3
    if value is None or not _ZONE_OFFSET.fullmatch(value):
        return Setting("timezone", None, index, is_understood=False)
    return Setting("timezone", (f"INTERVAL '{value}'",), index)


def _read_names(tokens: Tokens, index: int) -> Setting | None:
    if tokens.ends_at(index):
        return Setting("client_encoding", None, index)
    if tokens.word(index) == b"default":
        return Setting("client_encoding", None, index + 1)
    return _string_setting("client_encoding", tokens, index)


def _read_schema(tokens: Tokens, index: int) -> Setting | None:
    return _string_setting("search_path", tokens, index)


def _string_setting(name: str, tokens: Tokens, index: int) -> Setting:
    value = tokens.string(index)
    return Setting(name, (value,) if value is not None else None, index + 1, is_understood=value is not None)


def _word_setting(name: str, tokens: Tokens, index: int) -> Setting:
    value = tokens.name(index) if tokens.is_plain_word(index) else tokens.string(index)
    return Setting(name, (value,) if value is not None else None, index + 1, is_understood=value is not None)


def _read_role(tokens: Tokens, index: int) -> Setting | None:
    return _word_setting("role", tokens, index)


def _read_session(tokens: Tokens, index: int) -> Setting | None:
    if tokens.word(index) != b"authorization":
        return None
    if tokens.word(index + 1) == b"default":
        return Setting("session_authorization", None, index + 2)
    return _word_setting("session_authorization", tokens, index + 1)


def _read_xml(tokens: Tokens, index: int) -> Setting | None:
    if not tokens.words(index, b"option"):
        return None
    word = tokens.word(index + 1)
    is_understood = word in (b"document", b"content")
    return Setting(
        "xmloption", (text_of(word.upper()),) if is_understood else None, index + 2, is_understood=is_understood
    )


_SPECIAL: Final[dict[bytes, Callable[[Tokens, int], Setting | None]]] = {
    b"time": _read_time_zone,
    b"names": _read_names,
    b"schema": _read_schema,
    b"role": _read_role,
    b"session": _read_session,
    b"xml": _read_xml,
}
