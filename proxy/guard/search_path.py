"""The value of search_path as one string, taken apart as PostgreSQL does (its SplitIdentifierString)."""

from __future__ import annotations

import re
from typing import Final

from proxy.guard.literals import ascii_lower

_NAME: Final = re.compile(r'[ \t\n\r\f\v]*(?:"((?:[^"]|"")*)"|([^ \t\n\r\f\v,"][^ \t\n\r\f\v,]*))[ \t\n\r\f\v]*')


def split_search_path(value: str) -> tuple[str, ...] | None:
    """The schemas that the string names, unquoted names folded; None when PostgreSQL would refuse it."""
    if not value.strip(" \t\n\r\f\v"):
        return ()
    names: list[str] = []
    position = 0
    while True:
        match = _NAME.match(value, position)
        if match is None:
            return None
        quoted, plain = match.groups()
        names.append(quoted.replace('""', '"') if quoted is not None else ascii_lower(plain))
        position = match.end()
        if position == len(value):
            return tuple(names)
        if value[position] != ",":
            return None
        position += 1
