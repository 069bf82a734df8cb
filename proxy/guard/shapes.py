"""What is left of a text without the values of its literals, so that one verdict can do for all texts that differ in nothing else.

A shape is a text itself: every '…' is emptied, every run of digits is one 0 (or a few, if it was long). It is *clear* if the
guard reads the same tokens, but for those values, in all texts of that shape. The argument, from the left to the right:

- Outside of quotes a clear shape has blanks, names, numbers, parameters, punctuation and operators, and no two bytes that
  would begin a comment. Nothing that was taken out of a text has brought two bytes together: where a string was are two
  quotes, where digits were is a digit. So what the shape has not, no text of that shape has there.
- A quote that comes in front of every other one opens a string: no comment, no dollar quote ($ must have a digit behind it,
  or be part of a name), no name in double quotes and no prefix (E, U&, B …: a letter or & just in front) is there to make
  anything else of it. In a plain string only a quote ends it, and one next to it goes on with it, in the shape as in the
  text; a backslash is a byte like others (`rules` keeps standard_conforming_strings on). So after a string the same
  holds again. A double-quoted name with a single quote in it, over which the two kinds could be mistaken, is not clear.
- For the lexer digits are alike, one or many, but behind 0x, 0o and 0b; so a number with a letter behind it is not clear.
- Names differ at most in digits that both of them have, or behind those, where a name is too long and cut. No word that the
  guard looks for has digits, but for functions that it knows: a name with a digit and ( behind it is not clear, unless it
  is INTO's, where a table's name stands.

What a literal's value means to a verdict is not decided here: see `verdicts`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

MAX_SHAPED_BYTES: Final = 2000
"""Longer texts are lists of values mostly, of any length. The lexer also reads rows up to this size as one token.
_shapes.c says it, too."""

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")

_BLANK: Final = rb"[ \t\n\r\f\v]"
_NAME: Final = rb"""(?: [A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+ (?!['"&]) | "[^"'\\\x00]++" (?!") )"""
_CLEAR: Final = re.compile(
    rb"""(?:
      [ \t\n\r\f\v,()\[\].:;~!@\#^|`?+*%<>=&]
    | -(?!-) | /(?!\*)
    | [Ii][Nn][Tt][Oo] BLANK++ (?: NAME BLANK*+ \. BLANK*+ )? NAME
    | [A-Za-z_\x80-\xff][A-Za-z_$\x80-\xff]*+ (?![0-9'"&])
    | "[^"'\\\x000-9]++" (?!")
    | NAME (?! BLANK*+ \( )
    | \$? 0++ (?![A-Za-z_$\x80-\xff])
    | (?:'')++
    )*+""".replace(b"NAME", _NAME).replace(b"BLANK", _BLANK),
    re.VERBOSE,
)


def shape_of(text: bytes) -> bytes | None:
    """The text with empty strings and short numbers; None when a string has no end."""
    outside = text.split(b"'")
    if len(outside) > 1:
        if len(outside) % 2 == 0 or b"\0" in text:
            return None
        text = b"''".join(outside[::2])
    # One digit is left of up to ten.
    return text.translate(_DIGITS).replace(b"0000", b"0").replace(b"00", b"0").replace(b"00", b"0")


def is_clear(shape: bytes) -> bool:
    """Whether all texts of this shape are the same tokens, but for the values of strings and numbers."""
    return _CLEAR.fullmatch(shape) is not None


def has_shape_in_python(data: bytes, first: int, last: int, shape: bytes) -> bool:
    """Whether `data`, but for its first and last so many bytes, is a text of this shape; none is that is too long or has a NUL.

    Raises ValueError if there are not so many.
    """
    if first < 0 or last < 0 or first + last > len(data):
        raise ValueError("there is not so much to leave out")
    text = data[first : len(data) - last]
    return len(text) <= MAX_SHAPED_BYTES and b"\0" not in text and shape_of(text) == shape


has_shape: Callable[[bytes, i64, i64, bytes], bool] = has_shape_in_python
HAS_SHAPE_IS_CHEAP = False
"""Whether that takes less time than to look for a text's verdict, as it does in C only."""
try:
    from proxy.guard import _shapes
except ImportError:
    pass
else:
    has_shape = _shapes.has_shape
    HAS_SHAPE_IS_CHEAP = True
