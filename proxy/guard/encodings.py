"""Client encodings in which an ASCII byte is not always an ASCII character.

In these the second byte of a character can be a backslash or a letter, so text would not mean to PostgreSQL what it says to
the guard. PostgreSQL itself allows them only on the client's side (manual, 24.3.1).
"""

from __future__ import annotations

from typing import Final

_UNSAFE: Final[frozenset[str]] = frozenset(
    """
    big5 win950 windows950
    gb18030
    gbk win936 windows936
    johab
    shiftjis2004 shiftjis sjis mskanji win932 windows932
    uhc win949 windows949
    """.split()
)


def is_safe_encoding(name: str) -> bool:
    """Whether the guard can read text in this encoding. PostgreSQL compares letters and digits alone, whatever their case."""
    return "".join(char for char in name if char.isascii() and char.isalnum()).lower() not in _UNSAFE
