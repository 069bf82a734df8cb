from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.guard import grammar, keywords, lexer
from proxy.guard.functions import (
    HARMLESS_FUNCTIONS,
    REACH_SESSIONS,
    SEQUENCE_READS,
    SESSION_LOCKS,
    UNREMARKABLE_FUNCTIONS,
)
from proxy.guard.literals import NAME_BYTES
from proxy.guard.shapes import MAX_SHAPED_BYTES, has_shape_in_python, is_clear, shape_of
from tests.support.in_c import module_in_c, needs
from tests.unit.guard.corpus import TEXTS
from tests.unit.guard.soup import queries, soups


def read(text: bytes) -> list[tuple[int, bytes, bytes]]:
    """The kinds of a text's tokens, with the words of names and the spelling of what is neither name nor literal."""
    tokens = []
    reader = lexer.Lexer(text)
    while (kind := reader.advance()) not in (lexer.END, lexer.ERROR):
        word = reader.word if kind in (lexer.NAME, lexer.QUOTED_NAME) else b""
        has_spelling = kind in (lexer.OPERATOR, lexer.PUNCTUATION)
        tokens.append((kind, word, text[reader.start : reader.end] if has_spelling else b""))
    return [*tokens, (kind, b"", b"")]


def check(text: bytes) -> None:
    """The tokens of a text and of its shape differ at most in literals, and names in digits that both of them have."""
    shape = shape_of(text)
    if shape is None or not is_clear(shape):
        return
    for (kind, word, spelling), (shape_kind, shape_word, shape_spelling) in zip(read(text), read(shape), strict=True):
        assert (kind, spelling) == (shape_kind, shape_spelling)
        digits_are_one, expected = (re.sub(rb"[0-9]+", b"0", name) for name in (word, shape_word))
        was_cut = len(word) >= NAME_BYTES - 3
        assert expected.startswith(digits_are_one) if was_cut else expected == digits_are_one


@pytest.mark.parametrize("text", TEXTS)
def test_the_texts_of_a_clear_shape_are_the_same_tokens(text: str) -> None:
    check(text.encode())


@settings(max_examples=1000, deadline=None)
@given(st.one_of(soups(), queries()))
def test_any_text_of_a_clear_shape_is_the_same_tokens(text: str) -> None:
    assume(len(text) < MAX_SHAPED_BYTES // 4)
    check(text.encode())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_of_a_clear_shape_are_the_same_tokens(text: bytes) -> None:
    check(b"SELECT " + text)


def test_a_row_as_long_as_a_text_may_be_is_one_token_in_its_shape_and_in_the_text() -> None:
    row = b"9" * (MAX_SHAPED_BYTES - len(b"VALUES ()"))
    check(b"VALUES (" + row + b")")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (b"SELECT a FROM t WHERE b = 12345;", b"SELECT a FROM t WHERE b = 0;"),
        (b"SELECT 7, 1234567890, 12.75, -3, t1.c22, $1", b"SELECT 0, 0, 0.0, -0, t0.c0, $0"),
        (b"SELECT 'a', 'it''s', ''", b"SELECT '', '''', ''"),
        (b'SELECT "a1" FROM "t" WHERE b = \'2\'', b'SELECT "a0" FROM "t" WHERE b = \'\''),
        (b"INSERT INTO t1 (a) VALUES (5, '--', '\\', '/*', '$$', '\"', ';')", None),
        (b'INSERT INTO "s1" . "t1" ("a1", "b") VALUES (1)', None),
        (b"WITH x AS (SELECT 1) SELECT count(*) OVER (PARTITION BY a) FROM x", None),
    ],
)
def test_common_texts_have_a_clear_shape(text: bytes, shape: bytes | None) -> None:
    found = shape_of(text)
    assert found is not None
    assert is_clear(found)
    assert shape is None or found == shape


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"SELECT e'a'",
            b"SELECT B'1'",
            b"SELECT n'a'",
            b"SELECT u&'a'",
            b'SELECT u&"a"',
            b"SELECT a'b'",
            b"SELECT \xc3\xa9'a'",
        ),
        *(b"SELECT 1 -- a", b"SELECT /* a */ 1", b"SELECT $$a$$", b"SELECT $a$1$a$", b"SELECT $", b"SELECT \\ 1"),
        *(b"SELECT 0x1F", b"SELECT 1e5", b"SELECT 0b11", b"SELECT 1_000", b"SELECT 1a", b"SELECT $1a", b"SELECT $1$a$"),
        *(
            b"SELECT md5(a)",
            b"SELECT s.md5 \n(a)",
            b'SELECT "md5"(a)',
            b"SELECT into1 f1(a)",
            b"SELECT 1 INTO a.b.f1(a)",
        ),
        *(b'SELECT "it\'s", "it\'s"', b'SELECT "a', b'SELECT "a""b"', b"SELECT \0", b'SELECT "\0"', b"SELECT {"),
    ],
)
def test_what_could_be_read_in_two_ways_is_not_clear(text: bytes) -> None:
    shape = shape_of(text)
    assert shape is not None
    assert not is_clear(shape)


@pytest.mark.parametrize("text", [b"SELECT 'a", b"SELECT '", b"SELECT 'a' 'b", b"SELECT 'a\0b'"])
def test_a_text_that_ends_in_a_string_has_no_shape(text: bytes) -> None:
    assert shape_of(text) is None


def test_no_word_that_the_guard_looks_for_has_a_digit_but_functions_that_say_nothing() -> None:
    words: set[bytes] = {b"set_config", b"pg_settings", b"pg_temp", *keywords.NEVER_FUNCTIONS, *keywords.CONSTRUCTS}
    words.update(*keywords.CONSTRUCTS.values(), keywords.BEFORE_A_VALUE, keywords.BEFORE_A_NAME, grammar._BY_FIRST_WORD)
    words.update(REACH_SESSIONS, SESSION_LOCKS, SEQUENCE_READS, HARMLESS_FUNCTIONS - UNREMARKABLE_FUNCTIONS)
    assert [word for word in words if re.search(rb"[0-9]", word)] == []


# Whether a text has a shape: in Python and in C.


_IN_C = module_in_c("proxy.guard._shapes")
if_in_c = needs(_IN_C)
in_both = pytest.mark.parametrize(
    "has_shape",
    [
        pytest.param(has_shape_in_python, id="python"),
        pytest.param(_IN_C and _IN_C.has_shape, id="c", marks=if_in_c),
    ],
)
HasShape = Callable[[bytes, int, int, bytes], bool]


@in_both
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"SELECT a FROM t WHERE b = 1", b"SELECT a FROM t WHERE b = 12345"),
        (b"SELECT 'a', 'b'", b"SELECT '', 'it -- /* ; $$'"),
        (b"SELECT 'it''s'", b"SELECT 'a''b'"),
        (b"VALUES (1, 2.5)", b"VALUES (1234, 7.25)"),
    ],
)
def test_texts_that_differ_in_values_have_one_shape(has_shape: HasShape, one: bytes, other: bytes) -> None:
    for text in (one, other):
        assert has_shape(b"Q" + text + b"\0", 1, 1, shape_of(other) or b"")


@in_both
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"SELECT a FROM t WHERE b = 1", b"SELECT a FROM t WHERE b = 'x'"),
        (b"SELECT a FROM t WHERE b = 1", b"SELECT a FROM t WHERE b = 1;"),
        (b"SELECT a FROM t WHERE b = 1;", b"SELECT a FROM t WHERE b = 1"),
        (b"SELECT a FROM t WHERE b = 1", b"SELECT a FROM t WHERE b = "),
        (b"SELECT a FROM t WHERE b = 1", b"SELECT c FROM t WHERE b = 1"),
        (b"SELECT 'a'", b"SELECT 'a'; SET x = '1'"),
        (b"SELECT 'a'", b"SELECT 'a''b'"),
        (b"SELECT 'a'", b"SELECT 'a"),
        (b"SELECT 'a'", b"SELECT 'a\0b'"),
        (b"SELECT ''", b"SELECT '"),
        (b"SELECT a", b"SELECT a\0"),
        (b"SELECT 1", b"SELECT " + b"1" * MAX_SHAPED_BYTES),
        (b"SELECT 1", b""),
    ],
)
def test_a_text_that_differs_in_more_has_another_shape(has_shape: HasShape, one: bytes, other: bytes) -> None:
    shape = shape_of(one)
    assert shape is not None
    assert has_shape(one, 0, 0, shape)
    assert not has_shape(other, 0, 0, shape)


@in_both
@pytest.mark.parametrize("digits", [*range(1, 40), 500, 1999, 2000])
def test_a_number_of_any_length_has_the_shape_that_shape_of_gives_it(has_shape: HasShape, digits: int) -> None:
    text = b"9" * digits
    shape = shape_of(text)
    assert shape is not None
    assert has_shape(text, 0, 0, shape)
    assert not has_shape(text, 0, 0, shape + b"0")
    assert not has_shape(text, 0, 0, shape[1:])


@in_both
@pytest.mark.parametrize("counts", [(6, 0), (0, 6), (3, 3), (-1, 0), (0, -1), (2**62, 2**62)])
def test_to_leave_out_more_than_there_is_is_an_error(has_shape: HasShape, counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="leave out"):
        has_shape(b"bytes", *counts, b"")


_COMMON = [b"'", b"''", b"0", b"0000", b"00", b"7", b"123456789012", b"a", b" ", b"\0", b"-"]
_pieces = st.lists(st.one_of(st.sampled_from(_COMMON), st.binary(max_size=3)), max_size=12).map(b"".join)


@if_in_c
@settings(max_examples=2000, deadline=None)
@given(_pieces, _pieces, st.integers(0, 12))
def test_both_say_the_same_of_any_bytes(text: bytes, other: bytes, cut: int) -> None:
    assert _IN_C is not None
    for shape in (shape_of(text) or text, shape_of(other) or other, text, (shape_of(text) or b"")[:cut]):
        for given_text in (text, text[:cut] + other):
            assert _IN_C.has_shape(given_text, 0, 0, shape) == has_shape_in_python(given_text, 0, 0, shape)


@if_in_c
@settings(max_examples=500, deadline=None)
@given(st.one_of(soups(), queries()), st.one_of(soups(), queries()))
def test_both_say_the_same_of_any_text(text: str, other: str) -> None:
    assert _IN_C is not None
    for shape in {shape_of(text.encode()), shape_of(other.encode())} - {None}:
        assert _IN_C.has_shape(text.encode(), 0, 0, shape) == has_shape_in_python(text.encode(), 0, 0, shape or b"")


@if_in_c
@pytest.mark.parametrize("arguments", [(), (b"a", 0, 0), ("a", 0, 0, b""), (b"a", 0, 0, None), (b"a", "0", 0, b"")])
def test_what_are_no_bytes_is_refused(arguments: tuple[object, ...]) -> None:
    assert _IN_C is not None
    with pytest.raises(TypeError):
        _IN_C.has_shape(*arguments)
