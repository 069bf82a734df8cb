"""Prepare a password as SASLprep (RFC 4013) asks, with PostgreSQL's leniency.

PostgreSQL uses a password that SASLprep can not prepare as it is, byte by byte; whoever sets a password through
PostgreSQL must be able to log in here, so the same is done.
"""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def password_bytes(password: str) -> bytes:
    """The bytes SCRAM hashes: the prepared password in UTF-8, or the raw one where preparing fails.

    Bytes that were not UTF-8 are expected as Python's `surrogateescape` delivers them from the environment.
    """
    if password.isascii():
        return password.encode()
    prepared = _saslprep(password)
    return (prepared or password).encode("utf-8", "surrogateescape")


def _saslprep(text: str) -> str | None:
    """RFC 4013, section 2; None when the text is prohibited or nothing is left."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    # PostgreSQL looks for prohibited characters before it normalises, not after; few texts tell the difference.
    if any(prohibits(char) for char in mapped for prohibits in _PROHIBITED) or not _is_bidi_sound(mapped):
        return None
    return unicodedata.normalize("NFKC", mapped)


def _is_bidi_sound(text: str) -> bool:
    """RFC 3454, section 6: right-to-left text holds no left-to-right letters, and starts and ends with its own."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
