from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.guard import lexer
from proxy.guard.lexer import Lexer
from tests.unit.guard import oracle
from tests.unit.guard.corpus import TEXTS
from tests.unit.guard.soup import soups


def read(text: bytes, *, reads_rows: bool = False) -> tuple[list[tuple[int, bytes]], bool]:
    """The kinds and texts of all tokens, and whether they end in an error."""
    reader = Lexer(text, reads_rows=reads_rows)
    tokens = []
    while reader.advance() not in (lexer.END, lexer.ERROR):
        tokens.append((reader.kind, reader.text[reader.start : reader.end]))
    return tokens, reader.kind == lexer.ERROR


def spans(text: bytes) -> list[tuple[int, int]] | None:
    """The spans of all tokens, or None when there is an error."""
    reader = Lexer(text, reads_rows=False)
    found = []
    while reader.advance() not in (lexer.END, lexer.ERROR):
        found.append((reader.start, reader.end))
    return None if reader.kind == lexer.ERROR else found


def words(text: bytes) -> list[bytes]:
    reader = Lexer(text)
    found = []
    while reader.advance() not in (lexer.END, lexer.ERROR):
        found.append(reader.word)
    return found


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_postgresql(text: str) -> None:
    assert spans(text.encode()) == oracle.tokens(text)


@settings(max_examples=600, deadline=None)
@given(soups())
def test_tokens_of_any_soup_are_those_of_postgresql(text: str) -> None:
    expected = oracle.tokens(text)
    assume(expected is not None)
    assume(not re.search(r"'\s*--", text))  # see oracle.py
    mine = spans(text.encode())
    if mine is None:
        # Some characters are tokens to its lexer and errors to its grammar, so here to both.
        assert oracle.parse(text) is None
    else:
        assert mine == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_have_tokens_in_order_inside_the_text(text: bytes) -> None:
    reader = Lexer(text)
    last = 0
    while reader.advance() not in (lexer.END, lexer.ERROR):
        assert last <= reader.start < reader.end <= len(text)
        last = reader.end
    assert reader.advance() in (lexer.END, lexer.ERROR)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 'a",
        b"SELECT 'a''",
        b"SELECT E'a\\'",
        b'SELECT "a',
        b'SELECT ""',
        b"SELECT $$a$",
        b"SELECT $a$ $b$",
        b"SELECT /* a",
        b"SELECT /* /* a */",
        b"SELECT /*/",
        b"SELECT x'1",
        b"SELECT U&'a",
        b'SELECT U&"a',
        b"SELECT 'a'\n'b",
        b'SELECT U&"\\00"',
        b"SELECT U&'x' UESCAPE 'ab'",
        b"SELECT U&'x' UESCAPE '0'",
        b"SELECT U&'x' UESCAPE 1",
        b"SELECT $",
        b"SELECT $a",
        b"SELECT \\",
        b"SELECT {",
        b"SELECT \x01",
    ],
)
def test_what_postgresql_refuses_ends_in_an_error(text: bytes) -> None:
    assert read(text)[1]
    assert oracle.parse(text.decode()) is None


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (b"a$1 $1 $$a$$", [b"a$1", b"$1", b"$$a$$"]),
        (b"$t\xc3\xa9$;'$t\xc3\xa9$ x", [b"$t\xc3\xa9$;'$t\xc3\xa9$", b"x"]),
        (b"'a' -- it's\n 'b' -- c\n\n--d\n 'e' f", [b"'a' -- it's\n 'b' -- c\n\n--d\n 'e'", b"f"]),
        (b"'a' 'b'", [b"'a'", b"'b'"]),
        (b"'a' /* \n */ 'b'", [b"'a'", b"'b'"]),
        (b"x'1''2'", [b"x'1'", b"'2'"]),
        (b'"a"\n"b"', [b'"a"', b'"b"']),
        (b"E'a\\\n' b", [b"E'a\\\n'", b"b"]),
        (b"be'a' ee'b'", [b"be", b"'a'", b"ee", b"'b'"]),
        (b"N'a' n'b'", [b"N", b"'a'", b"n", b"'b'"]),
        (b"u & 'a' u&x", [b"u", b"&", b"'a'", b"u", b"&", b"x"]),
        (b"1..2 1.5e-3 .5 1. 0x1F", [b"1", b"..", b"2", b"1.5e-3", b".5", b"1.", b"0x1F"]),
        (b"=-1 @-1 *+- a<--b\n", [b"=", b"-", b"1", b"@-", b"1", b"*", b"+", b"-", b"a", b"<"]),
        (b"a::b c:=d e=>f", [b"a", b"::", b"b", b"c", b":=", b"d", b"e", b"=>", b"f"]),
        (b"a\x0bb", [b"a", b"b"]),
        (b"a\0b", [b"a"]),
    ],
)
def test_tokens_end_where_the_manual_says(text: bytes, tokens: list[bytes]) -> None:
    assert ([token for _, token in read(text)[0]], read(text)[1]) == (tokens, False)


def test_names_are_folded_unquoted_and_cut() -> None:
    assert words(b'SeLect "A""b" \xc3\x89x') == [b"select", b'A"b', b"\xc3\x89x"]
    assert words(b'U&"d\\0061t\\+000061" U&"d!0061" UESCAPE \'!\'') == [b"data", b"da"]
    assert words(b"N'x'")[0] == b"nchar"
    assert words(b"a" * 70) == [b"a" * 63]
    assert words(b'"' + b"a" * 62 + b'\xc3\xa9"') == [b"a" * 62]


def test_rows_of_constants_are_one_token_only_where_values_stand() -> None:
    kinds = [kind for kind, _ in read(b"VALUES (1,'a)',$1::text,-2,NULL), (TRUE, '', DEFAULT)", reads_rows=True)[0]]
    assert kinds == [lexer.NAME, lexer.ROW, lexer.COMMA, lexer.ROW]
    for text in (b"f (1)", b"VALUES (f(1))", b"VALUES (E'')", b"VALUES (1--\n)", b"VALUES (x)", b"VALUES (1::e'')"):
        assert lexer.ROW not in [kind for kind, _ in read(text, reads_rows=True)[0]]


@settings(max_examples=300, deadline=None)
@given(soups())
def test_reading_rows_in_one_step_changes_nothing_around_them(soup: str) -> None:
    text = b"INSERT INTO t VALUES (1,'a'), " + soup.encode()
    single, is_broken = read(text)
    rows, is_broken_by_rows = read(text, reads_rows=True)
    assert is_broken == is_broken_by_rows
    expanded = []
    for kind, token in rows:
        expanded += read(token)[0] if kind == lexer.ROW else [(kind, token)]
    assert expanded == single


@pytest.mark.skipif(not lexer.__file__.endswith(".py"), reason="a compiled lexer can not be watched")
@pytest.mark.parametrize(
    "piece",
    [
        b"(",
        b"''",
        b"$a$",
        b"$a ",
        b"/*",
        b"--\n",
        b"+-",
        b"+/**/",
        b"-/",
        b"'a'\n",
        b"'a'--\n",
        b'U&"a" ',
        b",(1",
        b",('",
    ],
)
def test_the_work_is_linear_in_the_text(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts the bytes that every search of the lexer may have passed over, not the time."""
    assert _bytes_looked_at(piece * 4000, monkeypatch) < 5 * _bytes_looked_at(piece * 1000, monkeypatch)


class _CountingText(bytes):
    """Bytes that count how far every `find` went."""

    looked_at = 0

    def find(self, sub: bytes, start: int = 0, *_: object) -> int:  # type: ignore[override]
        found = super().find(sub, start)
        _CountingText.looked_at += (found if found >= 0 else len(self)) - start
        return found


def _bytes_looked_at(text: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    _CountingText.looked_at = 0
    counting = {name: _Counting(getattr(lexer, name)) for name in ("_TOKEN", "_OPERATOR_RUN", "_COMMENT_START", "_ROW")}
    for name, pattern in counting.items():
        monkeypatch.setattr(lexer, name, pattern)
    reader = Lexer(_CountingText(text))
    while reader.advance() not in (lexer.END, lexer.ERROR):
        pass
    monkeypatch.undo()
    return _CountingText.looked_at + sum(pattern.looked_at for pattern in counting.values())


class _Counting:
    """A pattern that counts the bytes it matched or searched."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.looked_at = 0

    def match(self, text: bytes, *span: int) -> re.Match[bytes] | None:
        match = self._pattern.match(text, *span)
        self.looked_at += 1 + (match.end() - match.start() if match else 0)
        return match

    def search(self, text: bytes, start: int, end: int) -> re.Match[bytes] | None:
        match = self._pattern.search(text, start, end)
        self.looked_at += (match.end() if match else end) - start
        return match
