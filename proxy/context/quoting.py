"""Write names and values so that PostgreSQL reads back exactly them, whatever they hold.

Bytes throughout: values may hold characters of the client's encoding, which is always one that PostgreSQL calls safe
(every byte below 0x80 is ASCII). `standard_conforming_strings` is on for every server (see server/connection.py).
"""

from __future__ import annotations

import re
from string import ascii_lowercase, ascii_uppercase

LIST_QUOTED = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
    }
)
"""Settings whose elements are identifiers: set_config() parses them, SET takes them one by one (GUC_LIST_QUOTE)."""


def to_bytes(text: str) -> bytes:
    """Text as it came from the client: bytes that were not UTF-8 come back as they were."""
    return text.encode("utf-8", "surrogateescape")


def to_text(raw: bytes) -> str:
    """The inverse of `to_bytes`."""
    return raw.decode("utf-8", "surrogateescape")


def literal(text: str) -> bytes:
    """A string constant."""
    return b"'" + to_bytes(text).replace(b"\0", b"").replace(b"'", b"''") + b"'"


_PLAIN = re.compile(r"[a-z_][a-z0-9_]*\Z")

# Words that quote_identifier() quotes: every key word of PostgreSQL 18 that is not "unreserved" and could name a schema.
_RESERVED = frozenset(
    """all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast
    char character check coalesce collate collation column concurrently constraint create cross current_catalog
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable
    desc distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group
    grouping having ilike in initially inner inout int integer intersect interval into is isnull join lateral leading
    least left like limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null
    nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real references
    returning right row select session_user setof similar smallint some substring symmetric system_user table
    tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic verbose
    when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot
    xmlserialize xmltable json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar
    json_serialize json_table json_value""".split()
)


def short_identifier(text: str) -> bytes:
    """An identifier quoted only where it must be, as quote_identifier() and so `SHOW search_path` have it."""
    if _PLAIN.match(text) and text not in _RESERVED:
        return text.encode()
    return identifier(text)


def identifier(text: str) -> bytes:
    """A quoted identifier."""
    return b'"' + to_bytes(text).replace(b"\0", b"").replace(b'"', b'""') + b'"'


def setting_name(name: str) -> bytes:
    """A setting's name for SET; the parts of a two-part name are quoted one by one."""
    return b".".join(identifier(part) for part in name.split("."))


def set_local(name: str, parts: tuple[str, ...] | None) -> bytes:
    """`SET LOCAL name TO …`; None means DEFAULT."""
    return b"SET LOCAL " + _assignment(name, parts)


def set_session(name: str, parts: tuple[str, ...] | None) -> bytes:
    """`SET SESSION name TO …`; None means DEFAULT."""
    return b"SET SESSION " + _assignment(name, parts)


def _assignment(name: str, parts: tuple[str, ...] | None) -> bytes:
    head = setting_name(name)
    if parts is None:
        return head + b" TO DEFAULT"
    if not parts:
        return head + b" TO ''"
    return head + b" TO " + b", ".join(literal(part) for part in parts)


# Blanks, PostgreSQL's own alone, are never given back, so that a long value takes no longer than it is long.
_ELEMENT = re.compile(r'\s*+(?:"((?:[^"]|"")*+)"|([^",\s][^,\s]*+))\s*+(,|\Z)', re.ASCII)
_BLANKS = " \t\n\r\f\v"
_FOLDED = str.maketrans(ascii_uppercase, ascii_lowercase)


def split_list(value: str) -> tuple[str, ...] | None:
    """The identifiers in a list value such as search_path's, as SplitIdentifierString() takes them.

    None for a list that PostgreSQL refuses.
    """
    if not value.strip(_BLANKS):
        return ()
    parts = []
    position = 0
    while (element := _ELEMENT.match(value, position)) is not None:
        quoted, plain, comma = element.groups()
        parts.append(plain.translate(_FOLDED) if plain else quoted.replace('""', '"'))
        if not comma:
            return tuple(parts)
        position = element.end()
    return None


def set_config_value(name: str, parts: tuple[str, ...]) -> bytes:
    """The value as one string, the way set_config() takes it and SHOW prints it."""
    if name in LIST_QUOTED:
        return b", ".join(short_identifier(part) for part in parts)
    return b", ".join(to_bytes(part) for part in parts)
