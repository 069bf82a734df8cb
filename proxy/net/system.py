"""The system calls of a query's way, and of a client's arrival: in C where Gatehouse was compiled, else those of Python's own modules.

All raise OSError.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from math import ceil, inf
from time import monotonic
from typing import Any, Final

CHUNK_BYTES: Final = 65536
EVENTS_PER_LOOK: Final = 64
"""How much is taken at once; _system.c says both, too."""


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


def accept_in_python(listener: socket.socket) -> tuple[int, str] | None:
    """The next connection's descriptor, which does not block, and whose it is, for the log; None when nobody waits."""
    try:
        sock, peer = listener.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return None
    sock.setblocking(False)
    return sock.detach(), f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unix"


def look_in_python(epoll: select.epoll, until: float) -> list[int]:
    """Which descriptors are ready, some of them at most: each followed by what it is ready for.

    Waits until there is one, or a signal to handle, or `until` on the monotonic clock: 0 does not wait.
    """
    left = None if until == inf else max(0.0, ceil((until - monotonic()) * 1e3) * 1e-3) if until else 0.0
    return [number for event in epoll.poll(left, EVENTS_PER_LOOK) for number in event]


receive: Callable[[int], bytes | None] = receive_in_python
send: Callable[[int, bytes | memoryview], int] = send_in_python
accept: Callable[[socket.socket], tuple[int, str] | None] = accept_in_python
look: Callable[[Any, float], list[int]] = look_in_python
LOOKS_BY_NUMBER = False
"""Whether `look` can be given the number of an epoll's descriptor as well, and is quicker then."""
try:
    from proxy.net import _system
except ImportError:
    pass
else:
    receive, send = _system.receive, _system.send
    if hasattr(_system, "look"):
        accept, look = _system.accept, _system.look
        LOOKS_BY_NUMBER = True
