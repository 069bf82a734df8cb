"""A cheap look at the commonest texts: one SELECT, INSERT, UPDATE or DELETE without anything unusual in it.

It says what `statements.split` would say (a property test holds it to that) or nothing at all, without reading token by token.
Texts with comments, prefixed strings, dollar quotes, several statements, unknown functions or suspicious words are not for it.

What it asks of every byte it asks with bytes methods: a regular expression of alternatives takes 60 ns a byte, a few passes of
`translate` and `in` take 5.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.guard.functions import (
    HARMLESS_FUNCTIONS,
    REACH_SESSIONS,
    SEQUENCE_READS,
    SESSION_LOCKS,
    UNREMARKABLE_FUNCTIONS,
)
from proxy.guard.keywords import NEVER_FUNCTIONS
from proxy.guard.model import WHOLE_TEXT, Statement, StatementKind

_STATEMENTS: Final[dict[bytes, Statement]] = {
    word: Statement(StatementKind.ORDINARY, 0, WHOLE_TEXT, command=word.decode().upper())
    for word in (b"select", b"insert", b"update", b"delete")
}

_BEGINNING: Final = re.compile(rb"[ \t\n\r\f\v]*(select|insert|update|delete)(?![a-z0-9_$\x80-\xff])")
_TAIL: Final = b" \t\n\r\f\v;"

_WORD_BYTES: Final = b"abcdefghijklmnopqrstuvwxyz0123456789_$" + bytes(range(0x80, 0x100))
_NAME_BYTES: Final = _WORD_BYTES + b" -"

# No token begins with these where PostgreSQL would not refuse the text, or more than one statement would.
_FORBIDDEN: Final = bytes((*range(0x09), *range(0x0E, 0x20), 0x7F)) + b";{}\\"
# These may begin a comment or a dollar quote.
_SUSPECT: Final = _FORBIDDEN + b"-/$"
_UNUSUAL: Final = re.compile(rb"--|/\*|\$(?![0-9])")

_SUSPICIOUS: Final = (b"pg_settings", b"pg_temp", *REACH_SESSIONS)

# Letters that make a prefix of the quote behind them (E'…', U&"…"), and both quotes, each as one byte.
_PREFIXES: Final = bytes.maketrans(_WORD_BYTES + b'&"', b"a" * (len(_WORD_BYTES) + 1) + b"'")

_INTO_TEMPORARY: Final = re.compile(rb"into[ \t\n\r\f\v]+(?:local|global|temp)")

# Read backwards, where a match begins with the one byte that is rare.
_CALL: Final = re.compile(rb'\([ \t\n\r\f\v]*+([a-z0-9_$\x80-\xff]++|")[ \t\n\r\f\v]*+(\.?)')
_NO_CALLS: Final = frozenset(name[::-1] for name in NEVER_FUNCTIONS | UNREMARKABLE_FUNCTIONS)

# The first parenthesis of an INSERT behind the name of a table. Of a table that is called like a remarkable function
# `split` thinks the worst.
_INSERT_COLUMNS: Final = re.compile(
    rb"""[ \t\n\r\f\v]*insert[ \t\n\r\f\v]+into[ \t\n\r\f\v]+
    (?:(?:[a-z_][a-z0-9_]*|"[^"']+")\.)?(?:([a-z_][a-z0-9_]*)|"([^"']+)")[ \t\n\r\f\v]*\(""",
    re.VERBOSE,
)
_REMARKABLE: Final = (HARMLESS_FUNCTIONS - UNREMARKABLE_FUNCTIONS) | SESSION_LOCKS | SEQUENCE_READS


def quick_look(text: bytes) -> Statement | None:
    """The one statement of an unremarkable text, at [0, WHOLE_TEXT), or None: then it must be split."""
    outside = text.rstrip(_TAIL).split(b"'")
    if len(outside) % 2 == 0 or b"\0" in text:
        return None
    # One quote stands for a string from here on.
    bare = b"'".join(outside[::2]).lower()
    beginning = _BEGINNING.match(bare)
    if beginning is None or _has_suspicious_word(bare):
        return None
    columns = _INSERT_COLUMNS.match(bare)
    if columns is not None and (columns.group(1) or columns.group(2)) in _REMARKABLE:
        return None
    has_names = b'"' in bare
    if has_names:
        bare = _without_names(bare)
    if len(bare.translate(None, _SUSPECT)) != len(bare) and (
        len(bare.translate(None, _FORBIDDEN)) != len(bare) or _UNUSUAL.search(bare)
    ):
        return None
    if (has_names or len(outside) > 1) and b"a'" in bare.translate(_PREFIXES):
        return None
    if not _has_harmless_calls(bare, columns is not None):
        return None
    return _STATEMENTS[beginning.group(1)]


def _has_suspicious_word(bare: bytes) -> bool:
    if b"set_config" in bare or (b"into" in bare and _INTO_TEMPORARY.search(bare)):
        return True
    return b"pg_" in bare and any(word in bare for word in _SUSPICIOUS)


def _without_names(bare: bytes) -> bytes:
    """The text with a quote in place of every quoted name, or a NUL if a name is no plain words."""
    outside = bare.split(b'"')
    names = outside[1::2]
    if len(outside) % 2 == 0 or b"" in names or b"".join(names).translate(None, _NAME_BYTES):
        return b"\0"
    return b'"'.join(outside[::2])


def _has_harmless_calls(bare: bytes, opens_columns: bool) -> bool:
    """Whether every parenthesis is closed and opens nothing that could be remarkable."""
    opened = bare.count(b"(")
    if opened != bare.count(b")"):
        return False
    if opened > opens_columns:
        backwards = bare[: bare.index(b"(") : -1] if opens_columns else bare[::-1]
        for call in _CALL.finditer(backwards):
            if call.group(1) not in _NO_CALLS or call.group(2):
                return False
    return True
