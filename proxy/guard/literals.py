"""Constants and quoted names of SQL: where they end and what they mean.

Works on the client's bytes in any encoding in which ASCII bytes are always ASCII characters, with standard_conforming_strings = on
(PostgreSQL manual, 4.1 "Lexical Structure"; the rules are those of its scan.l). Values come back as str decoded as UTF-8 with
surrogateescape, so that `encode("utf-8", "surrogateescape")` gives the client's bytes again.
"""

from __future__ import annotations

import re
from typing import Final

NAME_BYTES: Final = 63  # NAMEDATALEN - 1: longer names are cut

_QUOTE: Final = 0x27
_BACKSLASH: Final = 0x5C
_DASH: Final = 0x2D

_LINE_END: Final = re.compile(rb"[\n\r]")
_QUOTE_OR_BACKSLASH: Final = re.compile(rb"['\\]")
_BLANKS: Final = re.compile(rb"(?:[ \t\n\r\f\v]|--[^\n\r]*)*")
_COMMENT_MARK: Final = re.compile(rb"/\*|\*/")
_ESCAPE: Final = re.compile(
    rb"''|\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL
)
_CONTROL: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def text_of(value: bytes) -> str:
    """Decode what a client wrote, whatever its encoding, without losing a byte."""
    return value.decode("utf-8", "surrogateescape")


def ascii_lower(value: str) -> str:
    """Fold A to Z alone, as PostgreSQL compares the names of settings; str.lower would also turn K (Kelvin) into k."""
    return text_of(value.encode("utf-8", "surrogateescape").lower())


def cut_name(name: bytes) -> bytes:
    """Cut a name to what PostgreSQL keeps of it, not inside a UTF-8 character."""
    if len(name) <= NAME_BYTES:
        return name
    end = NAME_BYTES
    while end > 0 and 0x80 <= name[end] < 0xC0:
        end -= 1
    return name[:end]


# --- where things end; every function returns the position behind, or -1 when there is no end


def quoted_end(text: bytes, position: int, quote: bytes) -> int:
    """The end of what was opened by a quote in front of `position`; a doubled quote stands for itself."""
    while True:
        found = text.find(quote, position)
        if found < 0:
            return -1
        if not text.startswith(quote, found + 1):
            return found + 1
        position = found + 2


def escaped_end(text: bytes, position: int) -> int:
    """The end of an E'…' part: as `quoted_end`, and a backslash hides the byte behind it."""
    while True:
        match = _QUOTE_OR_BACKSLASH.search(text, position)
        if match is None:
            return -1
        found = match.start()
        if text[found] == _BACKSLASH or text.startswith(b"'", found + 1):
            position = found + 2
        else:
            return found + 1


def comment_end(text: bytes, position: int) -> int:
    """The end of a /* comment that was opened in front of `position`; comments nest."""
    depth = 1
    while depth > 0:
        match = _COMMENT_MARK.search(text, position)
        if match is None:
            return -1
        depth += 1 if text[match.start()] == 0x2F else -1
        position = match.end()
    return position


def blanks_end(text: bytes, position: int) -> int:
    """The next byte at or behind `position` that is not in blanks or comments; -1 when a comment has no end."""
    while True:
        match = _BLANKS.match(text, position)
        assert match is not None
        if not text.startswith(b"/*", match.end()):
            return match.end()
        position = comment_end(text, match.end() + 2)
        if position < 0:
            return -1


def continuation(text: bytes, position: int) -> int:
    """Where a string goes on behind a closed part ('a' <newline> 'b' is one string): behind the opening quote, or -1.

    Only blanks and -- comments may stand between, with a newline among them.
    """
    has_newline = False
    size = len(text)
    while position < size:
        byte = text[position]
        if byte == _QUOTE:
            return position + 1 if has_newline else -1
        if byte in b"\n\r":
            has_newline = True
            position += 1
        elif byte in b" \t\f\v":
            position += 1
        elif byte == _DASH and text.startswith(b"--", position):
            match = _LINE_END.search(text, position)
            if match is None:
                return -1
            position = match.start()
        else:
            return -1
    return -1


def _part_end(text: bytes, position: int, style: int) -> int:
    if style in b"eE":
        return escaped_end(text, position)
    if style in b"bBxX":  # no doubled quotes in B'' and X''
        found = text.find(b"'", position)
        return found + 1 if found >= 0 else -1
    return quoted_end(text, position, b"'")


def string_end(text: bytes, position: int, style: int) -> int:
    """The end of a string with all its continuations. `position` is behind the first quote, `style` the byte that began it."""
    while True:
        end = _part_end(text, position, style)
        if end < 0:
            return -1
        position = continuation(text, end)
        if position < 0:
            return end


# --- what things mean


def string_value(text: bytes, start: int, end: int, escape: bytes = b"\\") -> str | None:
    """The value of the string constant at [start, end), or None when PostgreSQL would not accept its escapes.

    `escape` is the escape character of a U&'…' string.
    """
    style = text[start]
    if style == 0x24:
        opener = text.index(b"$", start + 1) + 1 - start
        return text_of(text[start + opener : end - opener])
    parts: list[bytes] = []
    position = text.index(b"'", start) + 1
    while position >= 0:
        close = _part_end(text, position, style)
        parts.append(text[position : close - 1])
        position = continuation(text, close) if close < end else -1
    body = b"".join(parts)
    if style in b"eE":
        return _unescape(body)
    body = body.replace(b"''", b"'")
    return _from_unicode_escapes(body, escape) if style in b"uU" else text_of(body)


def name_value(text: bytes, start: int, end: int, escape: bytes = b"\\") -> bytes | None:
    """The name that a "…" or U&"…" stands for, cut as PostgreSQL cuts it; None when its escapes are wrong or it is empty."""
    close = quoted_end(text, text.index(b'"', start) + 1, b'"')
    body = text[text.index(b'"', start) + 1 : close - 1].replace(b'""', b'"')
    if text[start] in b"uU":
        value = _from_unicode_escapes(body, escape)
        if value is None:
            return None
        body = value.encode("utf-8", "surrogateescape")
    return cut_name(body) if body else None


def _unescape(body: bytes) -> str | None:
    """Resolve the backslashes and doubled quotes of an E'…' string (4.1.2.2)."""
    return _resolve(body, _ESCAPE)


def _from_unicode_escapes(body: bytes, escape: bytes) -> str | None:
    """Resolve the escapes of a U&'…' or U&"…" whose quotes are no longer doubled (4.1.2.3)."""
    mark = re.escape(escape)
    return _resolve(
        body, re.compile(mark + rb"(?:([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6})|(" + mark + rb"))|(" + mark + rb")")
    )


def _resolve(body: bytes, escapes: re.Pattern[bytes]) -> str | None:
    """Replace every escape; None when one is wrong or half a surrogate pair is missing."""
    parts: list[bytes] = []
    position = 0
    high = 0
    for match in escapes.finditer(body):
        piece = _escaped_piece(match)
        if piece is None or (high and match.start() > position):
            return None
        parts.append(body[position : match.start()])
        position = match.end()
        if isinstance(piece, bytes):
            if high:
                return None
            parts.append(piece)
            continue
        if (0xDC00 <= piece < 0xE000) != bool(high):
            return None
        if 0xD800 <= piece < 0xDC00:
            high = piece
            continue
        code = 0x10000 + ((high & 0x3FF) << 10 | (piece & 0x3FF)) if high else piece
        high = 0
        if not 0 < code <= 0x10FFFF:
            return None
        parts.append(chr(code).encode())
    parts.append(body[position:])
    return None if high else text_of(b"".join(parts))


def _escaped_piece(match: re.Match[bytes]) -> int | bytes | None:
    """What one escape stands for: a code point, bytes, or None when it is an error."""
    if match.re is not _ESCAPE:
        short, long, itself, _ = match.groups()
        return int(short or long, 16) if short or long else itself
    octal, hexa, short, long, other = match.groups()
    if short or long:
        return int(short or long, 16)
    if other is not None:
        return None if other in b"uU" else _CONTROL.get(other, other)
    if octal is None and hexa is None:
        return b"'"
    byte = (int(octal, 8) if octal else int(hexa, 16)) & 0xFF
    return bytes((byte,)) if byte else None
