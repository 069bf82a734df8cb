from __future__ import annotations

import pytest

from proxy.guard import lexer
from proxy.guard.lexer import Lexer
from proxy.guard.literals import ascii_lower, cut_name, string_value


def value(text: bytes) -> str | None:
    reader = Lexer(text)
    assert reader.advance() == lexer.STRING
    return string_value(text, reader.start, reader.end, reader.escape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"'a'", "a"),
        (b"''", ""),
        (b"'it''s'", "it's"),
        (b"'a\\n'", "a\\n"),
        (b"'a'\n  'b''' -- '\n 'c'", "ab'c"),
        (b"E'a\\'b''c'", "a'b'c"),
        (b"e'\\b\\f\\n\\r\\t\\\\\\q'", "\b\f\n\r\t\\q"),
        (b"E'\\101\\1a\\x41\\x4g\\x'", "A\x01aA\x04gx"),
        (b"E'\\u00e9\\U0001F600\\ud83d\\ude00'", "é😀😀"),
        (b"E'a\\\\'\n'\\'b'", "a\\'b"),
        (b"U&'d\\0061t\\+000061'", "data"),
        (b"u&'d!0061''!!' UESCAPE '!'", "da'!"),
        (b"U&'\\d83d\\de00\\\\'", "😀\\"),
        (b"U&'a'\n'\\0062' /* x */ uescape\n'\\'", "ab"),
        (b"$$a'b$$", "a'b"),
        (b"$t$a$$b$t$", "a$$b"),
        ("'é'".encode(), "é"),
        (b"'\xe9'", "\udce9"),
    ],
)
def test_a_string_means_what_postgresql_makes_of_it(text: bytes, expected: str) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"E'\\u12'",
        b"E'\\ud83d'",
        b"E'\\ud83dx'",
        b"E'\\ude00'",
        b"E'\\0'",
        b"U&'\\12'",
        b"U&'\\d83d'",
        b"E'\\U00110000'",
    ],
)
def test_wrong_escapes_have_no_value(text: bytes) -> None:
    assert value(text) is None


def test_names_are_cut_at_63_bytes_between_characters() -> None:
    assert cut_name(b"a" * 64) == b"a" * 63
    assert cut_name(b"a" * 62 + "é".encode()) == b"a" * 62
    assert cut_name("é".encode() * 31) == "é".encode() * 31


def test_only_ascii_letters_are_folded() -> None:
    assert ascii_lower("App.TENANT_İD\u212a") == "app.tenant_İd\u212a"
