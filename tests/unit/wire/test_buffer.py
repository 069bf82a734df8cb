"""Message bodies, read and built; whatever is missing is a protocol violation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolViolation
from proxy.wire.buffer import Reader, frame, int16, int32


def test_fields_are_read_in_order() -> None:
    reader = Reader(b"\x05" + b"\xff\xfe" + b"\x00\x00\x01\x00" + b"name\0" + b"\xc3\xa9\0" + b"rest")
    assert reader.int8() == 5
    assert reader.int16() == -2
    assert reader.int32() == 256
    assert reader.cstring() == b"name"
    assert reader.text() == "é"
    assert reader.remaining == 4
    assert reader.rest() == b"rest"
    reader.expect_end()


def test_text_that_is_not_utf8_is_readable_all_the_same() -> None:
    assert Reader(b"caf\xe9\0").text() == "caf\ufffd"


@pytest.mark.parametrize(
    "read",
    [
        lambda reader: reader.int8(),
        lambda reader: reader.int16(),
        lambda reader: reader.int32(),
        lambda reader: reader.cstring(),
        lambda reader: reader.text(),
        lambda reader: reader.take(1),
    ],
)
def test_reading_past_the_end_is_a_protocol_violation(read: Callable[[Reader], object]) -> None:
    with pytest.raises(ProtocolViolation):
        read(Reader(b""))


def test_a_negative_length_is_a_protocol_violation() -> None:
    with pytest.raises(ProtocolViolation, match="insufficient data"):
        Reader(b"abc").take(-1)


def test_a_string_does_not_run_into_what_follows_the_message() -> None:
    with pytest.raises(ProtocolViolation, match="invalid string"):
        Reader(b"no terminator").cstring()


def test_what_is_left_over_is_a_protocol_violation() -> None:
    with pytest.raises(ProtocolViolation, match="invalid message format"):
        Reader(b"x").expect_end()


def test_a_frame_has_a_length_that_counts_itself_and_not_the_type() -> None:
    assert frame(0x51, b"SELECT 1\0") == b"Q\x00\x00\x00\x0dSELECT 1\0"
    assert frame(0x53, b"") == b"S\x00\x00\x00\x04"


@given(st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1))
def test_integers_come_back_as_they_were_written(small: int, large: int) -> None:
    reader = Reader(int16(small) + int32(large))
    assert (reader.int16(), reader.int32()) == (small, large)


def test_the_largest_unsigned_values_fit() -> None:
    assert int16(0xFFFF) == b"\xff\xff"
    assert int32(0xFFFF_FFFF) == b"\xff\xff\xff\xff"
