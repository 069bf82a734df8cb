"""The system calls of a query's way: in C where Gatehouse was compiled, else the socket module's.

All raise OSError.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

CHUNK_BYTES: Final = 65536
"""How much is read at once; _system.c says it, too."""
EVENTS_PER_LOOK: Final = 64


def receive_in_python(fd: int) -> bytes | None:
    """What there is to read from a socket that does not block, at most a chunk; empty at the end, None for nothing yet."""
    try:
        return os.read(fd, CHUNK_BYTES)
    except BlockingIOError:
        return None


def send_in_python(fd: int, data: bytes | memoryview) -> int:
    """How much of the data the kernel has taken; 0 for nothing now."""
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0


def look_in_python(epoll: select.epoll) -> list[int]:
    """Which descriptors are ready now, some of them at most: each followed by what it is ready for."""
    return [number for event in epoll.poll(0, EVENTS_PER_LOOK) for number in event]


receive: Callable[[int], bytes | None] = receive_in_python
send: Callable[[int, bytes | memoryview], int] = send_in_python
look: Callable[[select.epoll], list[int]] = look_in_python
try:
    from proxy.net import _system
except ImportError:
    IS_COMPILED = False
else:
    IS_COMPILED = True
    receive, send = _system.receive, _system.send
    if hasattr(_system, "look"):
        look = _system.look
