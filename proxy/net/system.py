"""The system calls of a query's way, and of a client's arrival: in C where Gatehouse was compiled, else those of Python's own modules.

All raise OSError.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from math import ceil, inf
from pathlib import Path
from time import monotonic
from typing import Any, Final

from mypy_extensions import i64

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


class _Found(threading.local):
    """What the last look of a thread has found."""

    events: list[tuple[int, int]] = []  # never changed in place


_found = _Found()


def look_in_python(epoll: select.epoll, until: float) -> int:
    """How many descriptors are ready, EVENTS_PER_LOOK of them at most; `found` says which, until the next look.

    Waits until there is one, or a signal to handle, or `until` on the monotonic clock: 0 does not wait.
    """
    left = None if until == inf else max(0.0, ceil((until - monotonic()) * 1e3) * 1e-3) if until else 0.0
    _found.events = epoll.poll(left, EVENTS_PER_LOOK)
    return len(_found.events)


def found_in_python(at: int) -> int:
    """One of those that this thread's last look has found: its descriptor, and what it is ready for from the 32nd bit on.

    Raises IndexError.
    """
    if at < 0:
        raise IndexError(at)
    descriptor, events = _found.events[at]
    return events << 32 | descriptor


receive: Callable[[i64], bytes | None] = receive_in_python
send: Callable[[i64, bytes | memoryview], i64] = send_in_python
accept: Callable[[socket.socket], tuple[int, str] | None] = accept_in_python
look: Callable[[Any, float], int] = look_in_python
found: Callable[[i64], i64] = found_in_python
LOOKS_BY_NUMBER = False
"""Whether `look` can be given the number of an epoll's descriptor as well, and is quicker then."""
try:
    from proxy.net import _system
except ImportError:
    # Compiled modules call `found` in C whatever is said here, and would not see what `look` finds in Python.
    if any(Path(__file__).with_name(f"poller{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        raise
else:
    receive, send = _system.receive, _system.send
    if hasattr(_system, "look"):
        accept, look, found = _system.accept, _system.look, _system.found
        LOOKS_BY_NUMBER = True
