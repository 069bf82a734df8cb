"""Frames come out as they went in, however the network cut them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolViolation
from proxy.wire.buffer import frame
from proxy.wire.framing import FrameReader

frames = st.lists(st.builds(frame, st.integers(0, 255), st.binary(max_size=40)), max_size=8)


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data`, cut at random."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def whole_frames(reader: FrameReader) -> Iterator[bytes]:
    while reader.peek() and reader.has_whole_frame():
        yield reader.take_frame()


@given(st.data(), frames, st.binary(max_size=4))
def test_any_split_of_the_bytes_gives_the_same_frames(data: st.DataObject, sent: list[bytes], tail: bytes) -> None:
    reader = FrameReader()
    received: list[bytes] = []
    for piece in data.draw(pieces(b"".join(sent) + tail)):
        reader.feed(piece)
        received += whole_frames(reader)
    assert received == sent
    assert reader.held == len(tail)
    assert reader.take_some(100) == tail


@given(st.data(), st.binary(min_size=1, max_size=60), st.binary(max_size=20), st.integers(1, 30))
def test_any_split_of_the_bytes_gives_the_same_stream(
    data: st.DataObject, body: bytes, behind: bytes, most: int
) -> None:
    reader = FrameReader()
    received = b""
    for piece in data.draw(pieces(body + behind)):
        reader.feed(piece)
        while len(received) < len(body) and (some := reader.take_some(min(most, len(body) - len(received)))):
            assert len(some) <= most
            received += some
    assert received == body
    assert reader.held == len(behind)


def test_a_header_tells_type_and_size_before_the_body_is_there() -> None:
    reader = FrameReader()
    message = frame(0x51, b"SELECT 1\0")
    reader.feed(message[:4])
    assert not reader.peek()
    reader.feed(message[4:5])
    assert reader.peek()
    assert (reader.code, reader.size) == (0x51, len(message))
    assert not reader.has_whole_frame()
    reader.feed(message[5:])
    assert reader.has_whole_frame()
    assert reader.look(100) == message
    assert reader.take_frame() == message
    assert reader.held == 0


def test_looking_ahead_consumes_nothing() -> None:
    reader = FrameReader()
    reader.feed(b"abc")
    reader.feed(b"def")
    assert reader.look(4) == b"abcd"
    assert reader.look(100) == b"abcdef"
    assert reader.held == 6
    assert reader.take_some(2) == b"ab"
    assert reader.look(2) == b"cd"


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_length_that_can_not_be_is_a_protocol_violation(length: int) -> None:
    reader = FrameReader()
    reader.feed(b"Q" + length.to_bytes(4, "big"))
    with pytest.raises(ProtocolViolation, match="invalid message length"):
        reader.peek()


def test_a_frame_of_four_gigabytes_is_announced_not_waited_for() -> None:
    reader = FrameReader()
    reader.feed(b"d\xff\xff\xff\xff")
    assert reader.peek()
    assert reader.size == 2**32
    assert not reader.has_whole_frame()
