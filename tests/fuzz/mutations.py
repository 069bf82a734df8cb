"""Spoil a stream of messages: in its bytes, its lengths, its order, and in how it is cut.

Everything is drawn from a `random.Random`, so that a number is enough to see a failure again, and hypothesis can shrink
what it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

Frames = list[bytes]

_LENGTHS: Final = (0, 1, 2, 3, 4, 5, 6, 8, 255, 256, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_BYTES: Final = b"\x00\x01\x04\x20\x27\x3b\x53\x5a\x7f\x80\xc3\xff"
_NUMBERS: Final = (b"\x00\x00", b"\x00\x01", b"\x7f\xff", b"\x80\x00", b"\xff\xff")


def split_frames(data: bytes) -> Frames:
    """The messages in a stream that is well-formed; what is left over comes last."""
    frames = []
    while data:
        size = int.from_bytes(data[1:5], "big") + 1
        frames.append(data[:size])
        data = data[size:]
    return frames


def chunks(rng: Random, data: bytes, most: int = 8) -> list[bytes]:
    """The bytes as a network might cut them."""
    count = rng.randrange(most)
    if rng.randrange(8) == 0 and len(data) < 400:
        return [data[i : i + 1] for i in range(len(data))]
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(count))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


def spoil(rng: Random, frames: Sequence[bytes], donors: Sequence[bytes], types: bytes) -> Frames:
    """One to four things go wrong; `donors` are messages that may get in between, `types` the types there are."""
    spoiled = list(frames)
    for _ in range(rng.randrange(1, 5)):
        if not spoiled:
            break
        _WAYS[rng.randrange(len(_WAYS))](rng, spoiled, donors, types)
    return spoiled


Way = Callable[[Random, Frames, Sequence[bytes], bytes], None]


def _at(rng: Random, frames: Frames) -> int:
    return rng.randrange(len(frames))


def _drop(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    del frames[_at(rng, frames)]


def _repeat(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    at = _at(rng, frames)
    frames[at:at] = [frames[at]] * rng.randrange(1, 4)


def _move(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    frame = frames.pop(_at(rng, frames))
    frames.insert(rng.randrange(len(frames) + 1), frame)


def _insert(rng: Random, frames: Frames, donors: Sequence[bytes], _types: bytes) -> None:
    frames.insert(rng.randrange(len(frames) + 1), donors[rng.randrange(len(donors))])


def _insert_noise(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    frames.insert(rng.randrange(len(frames) + 1), rng.randbytes(rng.randrange(1, 24)))


def _truncate(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    at = _at(rng, frames)
    frames[at] = frames[at][: rng.randrange(len(frames[at]) + 1)]


def _cut_off(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    at = _at(rng, frames)
    frames[at] = frames[at][: rng.randrange(len(frames[at]) + 1)]
    del frames[at + 1 :]


def _change_type(rng: Random, frames: Frames, _donors: Sequence[bytes], types: bytes) -> None:
    at = _at(rng, frames)
    code = rng.randrange(256) if rng.randrange(3) == 0 else types[rng.randrange(len(types))]
    frames[at] = bytes((code,)) + frames[at][1:]


def _change_length(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    at = _at(rng, frames)
    frame = frames[at]
    if len(frame) < 5:
        return
    old = int.from_bytes(frame[1:5], "big")
    new = (
        _LENGTHS[rng.randrange(len(_LENGTHS))]
        if rng.randrange(2)
        else min(max(0, old + rng.randrange(-4, 5)), 2**32 - 1)
    )
    frames[at] = frame[:1] + new.to_bytes(4, "big") + frame[5:]


def _change_body(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    """Bytes of a body change, come in or go; its length is right."""
    at = _at(rng, frames)
    body = bytearray(frames[at][5:])
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(body) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            body[place:place] = bytes((_BYTES[rng.randrange(len(_BYTES))],))
        elif kind == 1:
            del body[place : place + rng.randrange(1, 5)]
        elif kind == 2:
            body[place : place + 2] = _NUMBERS[rng.randrange(len(_NUMBERS))]
        elif kind == 3:
            del body[place:]
        elif place < len(body):
            body[place] ^= 1 << rng.randrange(8)
    frames[at] = frames[at][:1] + (len(body) + 4).to_bytes(4, "big") + bytes(body)


def _grow(rng: Random, frames: Frames, _donors: Sequence[bytes], _types: bytes) -> None:
    """A body becomes long; its length is right."""
    at = _at(rng, frames)
    body = frames[at][5:]
    place = rng.randrange(len(body) + 1)
    filling = bytes((_BYTES[rng.randrange(len(_BYTES))],)) * rng.choice((1_100, 5_000, 70_000))
    body = body[:place] + filling + body[place:]
    frames[at] = frames[at][:1] + (len(body) + 4).to_bytes(4, "big") + body


_WAYS: Final[tuple[Way, ...]] = (
    _drop,
    _repeat,
    _move,
    _insert,
    _insert,
    _insert_noise,
    _truncate,
    _cut_off,
    _change_type,
    _change_length,
    _change_body,
    _change_body,
    _change_body,
    _grow,
)
