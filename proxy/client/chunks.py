"""What the short way asks of a chunk, and makes of it: in C where Gatehouse was compiled, else in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from proxy.wire import frontend

DESCRIBED: Final = 1
SAME_NAME: Final = 2
END_OF_NAME: Final = 4
"""What `look_at_batch` says: the last one times where the statement's name ends. _chunks.c says these, too."""

_HEAD: Final[bytes] = frontend.execute(b"")[:-4]  # up to the number of rows
_DESCRIBE_AND_HEAD: Final[bytes] = frontend.describe(b"P", b"") + _HEAD
RUN_BYTES: Final = 15
_DESCRIBE_AND_RUN_BYTES: Final = 22
_SYNC_BYTES: Final = 5
_BEHIND_HEAD_BYTES: Final = 9

_NAME_AT: Final = 6
LEAST_BIND_BYTES: Final = 13
_LEAST_BEHIND_NAME_BYTES: Final = 6
"""Three counts of two bytes: formats, parameters, formats of results."""


def look_at_batch_in_python(data: bytes, name: bytes) -> int:
    """What is in a chunk that begins with a Bind; -1 unless that is a Bind of the unnamed portal to a statement with a
    name, which is not checked further, a Describe of it or not, an Execute of any number of rows, and Sync.

    Else a sum: END_OF_NAME times where the statement's name ends, DESCRIBED, and SAME_NAME if it is `name`.
    """
    size = len(data)
    if size <= LEAST_BIND_BYTES or data[1] or data[2] or data[5] or not data[_NAME_AT]:
        return -1
    length = data[3] * 256 + data[4]
    described = described_by_end(data, size - length - 1)
    if length < LEAST_BIND_BYTES or described < 0:
        return -1
    end = data.find(b"\0", _NAME_AT)
    if not 0 <= end <= length - _LEAST_BEHIND_NAME_BYTES:
        return -1
    return end * END_OF_NAME + described + (SAME_NAME if data[_NAME_AT:end] == name else 0)


def described_by_end(data: bytes, size: int) -> int:
    """What the last `size` bytes of a batch are: DESCRIBED for Describe, Execute, Sync; 0 without Describe; else -1."""
    end = len(data)
    if size not in (RUN_BYTES, _DESCRIBE_AND_RUN_BYTES) or data[end - _SYNC_BYTES :] != frontend.SYNC:
        return -1
    head = data[end - size : end - _BEHIND_HEAD_BYTES]
    if size == RUN_BYTES:
        return 0 if head == _HEAD else -1
    return DESCRIBED if head == _DESCRIBE_AND_HEAD else -1


def assemble_in_python(first: bytes, second: bytes, data: bytes, start: int) -> bytes:
    """Both, and `data` from `start` on."""
    if not 0 <= start <= len(data):
        raise ValueError("there is not so much to leave out")
    return b"".join((first, second, data[start:]))


look_at_batch: Callable[[bytes, bytes], i64] = look_at_batch_in_python
assemble: Callable[[bytes, bytes, bytes, i64], bytes] = assemble_in_python
try:
    from proxy.client import _chunks
except ImportError:
    pass
else:
    look_at_batch, assemble = _chunks.look_at_batch, _chunks.assemble
