"""PostgreSQL's tokens in a client's text, one at a time.

The rules are those of scan.l (PostgreSQL manual, 4.1) with standard_conforming_strings = on; bytes from 0x80 up are
letters, which is right for every client encoding that the guard admits. Where 14 to 18 differ (numbers with trailing junk,
hexadecimal numbers, vertical tabs), the others refuse the text or read the same words out of it.

A lexer keeps the current token in its own fields and makes no object per token; its work is linear in the text and its
memory constant.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.guard import literals

# What a token is. Plain integers, because this is the innermost loop.
END: Final = 0
ERROR: Final = 1  # the text has no tokens from here on: PostgreSQL will refuse all of it
NAME: Final = 2  # an unquoted name or key word; `word` holds it in lower case
QUOTED_NAME: Final = 3  # "…"; `word` holds what it stands for
UNICODE_NAME: Final = 4  # U&"…"; `word` holds what it stands for
STRING: Final = 5  # '…', E'…', U&'…' and $tag$…$tag$
BITS: Final = 6  # B'…' and X'…'
NUMBER: Final = 7
PARAMETER: Final = 8  # $1
OPERATOR: Final = 9
OPEN: Final = 10  # (
CLOSE: Final = 11  # )
COMMA: Final = 12
SEMICOLON: Final = 13
DOT: Final = 14
CAST: Final = 15  # ::
PUNCTUATION: Final = 16  # [ ] : := ..
ROW: Final = 17  # a whole parenthesised list of constants and parameters, behind VALUES or a comma

_TOKEN: Final = re.compile(
    rb"""[ \t\n\r\f\v]*(?:
      ([A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*)
    | (0[xX][0-9A-Fa-f_]+ | 0[oO][0-7_]+ | 0[bB][01_]+
        | (?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)? | \.[0-9][0-9_]*) (?:[eE][+-]?[0-9][0-9_]*)?)
    | (\$[0-9]+)
    | (::|:=|\.\.|[,()\[\].;:])
    | (--[^\n\r]* | /\*)
    | ([~!@\#^&|`?+\-*/%<>=])
    | (['"])
    | (\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$)
    | (\Z)
    )""",
    re.VERBOSE,
)
_NAME_GROUP: Final = 1
_NUMBER_GROUP: Final = 2
_PARAMETER_GROUP: Final = 3
_PUNCTUATION_GROUP: Final = 4
_COMMENT_GROUP: Final = 5
_OPERATOR_GROUP: Final = 6
_QUOTE_GROUP: Final = 7
_DOLLAR_GROUP: Final = 8

_PUNCTUATION: Final[dict[bytes, int]] = {
    b"(": OPEN,
    b")": CLOSE,
    b",": COMMA,
    b";": SEMICOLON,
    b".": DOT,
    b"::": CAST,
}

_OPERATOR_RUN: Final = re.compile(rb"[~!@#^&|`?+\-*/%<>=]+")
_COMMENT_START: Final = re.compile(rb"--|/\*")
_KEEPS_SIGN: Final = re.compile(rb"[~!@#^&|`?%]")
_UESCAPE: Final = re.compile(rb"(?i:uescape)(?![A-Za-z0-9_$\x80-\xff])")
_BAD_ESCAPES: Final = b"0123456789abcdefABCDEF+'\" \t\n\r\f\v"

# Rows of a long VALUES list are read in one step. One item per byte, string or word leaves the matcher one way only, so it
# can not go astray; a row it does not know, or one longer than this, is read token by token.
_ROW: Final = re.compile(
    rb"""\((?:
        [0-9.,\s+] | -(?!-) | \$[0-9] | '[^']*'
        | (?:(?i:null|default|true|false)|::[A-Za-z_][A-Za-z0-9_]*)(?=[\s,)])
    ){1,2000}\)""",
    re.VERBOSE,
)


class Lexer:
    """Reads a text token by token. The current token is at [start, end) and of `kind`.

    With `reads_rows` off every token comes by itself, and none is a ROW.
    """

    __slots__ = ("_position", "_reads_rows", "_run_end", "_signs_end", "end", "escape", "kind", "start", "text", "word")

    def __init__(self, text: bytes, *, reads_rows: bool = True) -> None:
        nul = text.find(b"\0")
        self.text = text if nul < 0 else text[:nul]
        self.kind = END
        self.start = 0
        self.end = 0
        self.word = b""
        self.escape = b"\\"
        self._position = 0
        self._reads_rows = reads_rows
        self._run_end = 0
        self._signs_end = 0

    def advance(self) -> int:
        """Go to the next token and return its kind. Nothing comes after END or ERROR."""
        text = self.text
        while self.kind != ERROR:
            match = _TOKEN.match(text, self._position)
            if match is None:
                return self._fail()
            group = match.lastindex
            assert group is not None
            start, end = match.span(group)
            self.start = start
            if group == _NAME_GROUP:
                if end - start == 1 and text[end : end + 1] in (b"'", b"&"):
                    return self._prefixed(start, end)
                word = text[start:end].lower()
                self.word = word if end - start <= literals.NAME_BYTES else literals.cut_name(word)
                self.kind, self.end, self._position = NAME, end, end
                return NAME
            if group == _PUNCTUATION_GROUP:
                return self._punctuation(start, end)
            if group != _COMMENT_GROUP:
                return self._other(group, start, end)
            self._position = end if text[start] == 0x2D else literals.comment_end(text, end)
            if self._position < 0:
                return self._fail()
        return ERROR

    def _other(self, group: int, start: int, end: int) -> int:
        if group == _NUMBER_GROUP:
            return self._token(NUMBER, end)
        if group == _PARAMETER_GROUP:
            return self._token(PARAMETER, end)
        if group == _OPERATOR_GROUP:
            return self._token(OPERATOR, self._operator_end(start))
        if group == _QUOTE_GROUP:
            return self._quoted(start)
        if group == _DOLLAR_GROUP:
            return self._dollar_quoted(self.text[start:end], end)
        return self._token(END, end)

    def _token(self, kind: int, end: int) -> int:
        """Make [start, end) the current token; an end of -1 means that it has none."""
        if end < 0:
            return self._fail()
        self.kind = kind
        self.end = end
        self._position = end
        return kind

    def _fail(self) -> int:
        self.kind = ERROR
        self.end = len(self.text)
        return ERROR

    def _punctuation(self, start: int, end: int) -> int:
        if self._reads_rows and self.text[start] == 0x28 and self._expects_row():
            row = _ROW.match(self.text, start)
            if row is not None:
                return self._token(ROW, row.end())
        return self._token(_PUNCTUATION.get(self.text[start:end], PUNCTUATION), end)

    def _expects_row(self) -> bool:
        return self.kind == COMMA or (self.kind == NAME and self.word == b"values")

    def _operator_end(self, start: int) -> int:
        """An operator ends in front of a comment, and in + or - only if it also has one of ~ ! @ # ^ & | ` ? %.

        `_run_end` and `_signs_end` remember how far the text is known, so that no run is looked at twice.
        """
        if start < self._signs_end:
            return start + 1
        if start >= self._run_end:
            run = _OPERATOR_RUN.match(self.text, start)
            assert run is not None
            self._run_end = run.end()
        comment = _COMMENT_START.search(self.text, start, self._run_end)
        end = self._run_end if comment is None else comment.start()
        if self.text[end - 1] not in b"+-" or _KEEPS_SIGN.search(self.text, start, end):
            return end
        self._signs_end = end
        while end - 1 > start and self.text[end - 1] in b"+-":
            end -= 1
        return end

    def _prefixed(self, start: int, end: int) -> int:
        """A name of one letter with a quote or & behind it: E'…', B'…', X'…', N'…', U&'…', U&"…" or a name after all."""
        text = self.text
        mark = text[end : end + 1]
        letter = text[start:end].lower()
        if mark == b"'" and letter in (b"e", b"b", b"x"):
            kind = STRING if letter == b"e" else BITS
            return self._token(kind, literals.string_end(text, end + 1, letter[0]))
        if mark == b"&" and letter == b"u":
            quote = text[end + 1 : end + 2]
            if quote == b"'":
                return self._with_escape(STRING, literals.string_end(text, end + 2, letter[0]))
            if quote == b'"':
                return self._with_escape(UNICODE_NAME, literals.quoted_end(text, end + 2, b'"'))
        # N'…' is the key word NCHAR in front of a string: a value of type character, not text.
        self.word = b"nchar" if mark == b"'" and letter == b"n" else letter
        return self._token(NAME, end)

    def _quoted(self, start: int) -> int:
        text = self.text
        if text[start] == 0x27:
            return self._token(STRING, literals.string_end(text, start + 1, 0x27))
        end = literals.quoted_end(text, start + 1, b'"')
        if end == start + 2:
            return self._fail()
        if end > 0:
            self.word = literals.cut_name(text[start + 1 : end - 1].replace(b'""', b'"'))
        return self._token(QUOTED_NAME, end)

    def _dollar_quoted(self, tag: bytes, end: int) -> int:
        close = self.text.find(tag, end)
        return self._token(STRING, close + len(tag) if close >= 0 else -1)

    def _with_escape(self, kind: int, end: int) -> int:
        """Finish a U& token: UESCAPE and its character belong to it, and its escapes must be right."""
        if end < 0:
            return self._fail()
        start = self.start
        close = end
        escape: bytes | None = b"\\"
        behind = literals.blanks_end(self.text, end)
        match = _UESCAPE.match(self.text, behind) if behind >= 0 else None
        if match is not None:
            escape = self._escape_character(match.end())
            close = self._position
        if escape is None:
            return self._fail()
        self.start = start
        self.escape = escape
        if kind == UNICODE_NAME:
            word = literals.name_value(self.text, start, end, escape)
            if word is None:
                return self._fail()
            self.word = word
        return self._token(kind, close)

    def _escape_character(self, position: int) -> bytes | None:
        """Read the string behind UESCAPE: one character that is none of PostgreSQL's exceptions, else None."""
        position = literals.blanks_end(self.text, position)
        if position < 0 or self.text[position : position + 1] not in (b"'", b"e", b"E", b"$"):
            return None
        self._position = position
        if self.advance() != STRING:
            return None
        value = literals.string_value(self.text, self.start, self.end)
        if value is None or len(value) != 1:
            return None
        escape = value.encode("utf-8", "surrogateescape")
        return None if escape in _BAD_ESCAPES else escape
