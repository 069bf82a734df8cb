"""A cheap look at the commonest texts: one SELECT, INSERT, UPDATE or DELETE without anything unusual in it.

It says what `statements.split` would say (a property test holds it to that) or nothing at all, without reading token by token.
Texts with comments, quoted names, prefixed strings, dollar quotes, several statements, unknown functions or suspicious words
are not for it.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.guard.functions import UNREMARKABLE_FUNCTIONS
from proxy.guard.keywords import NEVER_FUNCTIONS
from proxy.guard.model import Statement, StatementKind

_BEGINNING: Final = re.compile(rb"[ \t\n\r\f\v]*(select|insert|update|delete)(?![A-Za-z0-9_$\x80-\xff])", re.IGNORECASE)
_TAIL: Final = b" \t\n\r\f\v;"
_STRING: Final = re.compile(rb"'[^']*'")

# What begins a comment, another kind of string or a quoted name, or is no token at all. Whatever comes first of these stands
# outside of plain strings, so it is still there when those have been replaced by NUL.
_UNUSUAL: Final = re.compile(
    rb"""--|/\*|[\x01-\x08\x0e-\x1f\x7f"';{}\\]|\$(?![0-9])|[A-Za-z0-9_$\x80-\xff&]\0
    |set_config|pg_settings|pg_prepared_statement|pg_temp|into[ \t\n\r\f\v]+(?:local|global|temp)""",
    re.IGNORECASE | re.VERBOSE,
)
_CALL: Final = re.compile(rb"(?<![A-Za-z0-9_$\x80-\xff])([A-Za-z0-9_$\x80-\xff]++)[ \t\n\r\f\v]*+\(")
_QUALIFIED: Final = re.compile(rb"\.[ \t\n\r\f\v]*+[A-Za-z0-9_$\x80-\xff]++[ \t\n\r\f\v]*+\(")
_INSERT_COLUMNS: Final = re.compile(
    rb"[ \t\n\r\f\v]*insert[ \t\n\r\f\v]+into[ \t\n\r\f\v]+[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?[ \t\n\r\f\v]*\(",
    re.IGNORECASE,
)


def quick_look(text: bytes) -> Statement | None:
    """The one statement of an unremarkable text, or None: then it must be split."""
    beginning = _BEGINNING.match(text)
    if beginning is None or b"\0" in text:
        return None
    body = text.rstrip(_TAIL)
    bare = _STRING.sub(b"\0", body)
    if _UNUSUAL.search(bare) or bare.count(b"(") != bare.count(b")"):
        return None
    columns = _INSERT_COLUMNS.match(bare)
    position = columns.end() if columns is not None else 0
    for name in _CALL.findall(bare, position):
        word = name.lower()
        if word not in NEVER_FUNCTIONS and word not in UNREMARKABLE_FUNCTIONS:
            return None
    if _QUALIFIED.search(bare, position):
        return None
    command = beginning.group(1).upper().decode("ascii")
    return Statement(StatementKind.ORDINARY, beginning.start(1), len(body), command=command)
