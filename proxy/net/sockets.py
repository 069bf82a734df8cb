"""A plain socket, TCP or Unix, as a link.

It does what asyncio's transports do, for the one kind of receiver that there is here: a chunk is read and handed on, and
what is written goes to the kernel at once.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from mypy_extensions import i64

from proxy.net.links import Link, Receiver
from proxy.net.poller import READABLE, WRITABLE, Poller, Watched, Work
from proxy.net.system import receive, send

_HIGH_WATER_BYTES: Final = 65536
_LOW_WATER_BYTES: Final = 16384
"""asyncio's own marks for when a writer is to wait and to go on."""
_MOST_BUFFERS: Final = 64
"""In one call; the kernel takes 1024 at most."""


class SocketLink(Link, Watched, Work):
    """A link over a connected socket that does not block, by its descriptor, which is its own from now on."""

    def __init__(self, poller: Poller, fd: int) -> None:
        self._poller = poller
        self._fd: i64 = fd  # -1 when it is closed
        self._receiver: Receiver | None = None
        self._watched = 0
        self._wants_bytes = True
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_bytes: i64 = 0
        self._must_wait = False  # as the receiver was told
        self._broken: OSError | None = None  # why nothing can be sent any more
        self._failure: Exception | None = None  # why it is over, until the receiver has been told
        self._is_closing = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"<socket {self._fd}>"

    @property
    def poller(self) -> Poller:
        """What watches the socket."""
        return self._poller

    def complain(self, error: Exception) -> None:
        """A receiver must not raise; who does loses its connection, and the loop's handler hears of it."""
        self._poller.loop.call_exception_handler(
            {"message": "a connection's receiver failed", "exception": error, "link": self}
        )
        self._end(error)

    # Link.

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._fd >= 0:
            self._watch()
        else:  # nobody else would tell it
            self._poller.soon(self)

    def write(self, data: bytes) -> None:
        # Lengths and counts, here and in _read: compiled, to ask an object for its truth is a call.
        if self._is_closing or self._broken is not None or len(data) == 0:
            return
        if self._unsent_bytes:
            self._unsent.append(data)
            self._unsent_bytes += len(data)
        else:
            try:
                sent = send(self._fd, data)
            except OSError as error:
                self._break(error)
                return
            if sent == len(data):
                return
            self._unsent.append(memoryview(data)[sent:])
            self._unsent_bytes = len(data) - sent
            self._watch()
        receiver = self._receiver
        if self._unsent_bytes > _HIGH_WATER_BYTES and not self._must_wait and receiver is not None:
            self._must_wait = True
            try:
                receiver.pause_writing()
            except Exception as error:  # which is not the writer's fault
                self.complain(error)

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._unsent:
            self._watch()
        else:
            self._end(None)

    def abort(self) -> None:
        self._end(None)

    @property
    def unsent_bytes(self) -> int:
        return self._unsent_bytes

    def set_reading(self, wanted: bool) -> None:
        self._wants_bytes = wanted
        self._watch()

    # Watched.

    def ready(self, events: int) -> None:
        if events != READABLE and self._unsent:
            # An error shows when bytes are sent, or read.
            self._send_more()
        if events != WRITABLE and self._wants_bytes and not self._is_closing:
            self._read()

    def _watch(self) -> None:
        """Have the poller watch for what is wanted; what is wanted of a socket that has failed tells so."""
        wanted = 0
        if not self._is_over:
            if self._wants_bytes and not self._is_closing and self._receiver is not None:
                wanted = READABLE
            if self._unsent:
                wanted |= WRITABLE
        if wanted == self._watched:
            return
        if not self._watched:
            self._poller.watch(self._fd, self, wanted)
        elif wanted:
            self._poller.change(self._fd, wanted)
        else:
            self._poller.forget(self._fd)
        self._watched = wanted

    def _read(self) -> None:
        try:
            data = receive(self._fd)
        except OSError as error:
            self._end(error)
            return
        if data is None:
            return
        if len(data) == 0:
            self._hear_end()
            return
        receiver = self._receiver
        assert receiver is not None
        try:
            receiver.data_received(data)
        except Exception as error:
            self.complain(error)

    def _hear_end(self) -> None:
        """The other side closed its half; what it is owed is sent all the same."""
        if self._broken is not None:
            self._end(self._broken)
        else:
            self.close()

    def _break(self, error: OSError) -> None:
        """Nothing can be sent any more. What the other side said before it left can still be read, and why it left."""
        if self._is_closing or not self._wants_bytes:
            self._end(error)
            return
        self._broken = error
        self._unsent.clear()
        self._unsent_bytes = 0
        self._watch()

    def _send_more(self) -> None:
        try:
            if len(self._unsent) == 1:
                sent = send(self._fd, self._unsent[0])
            else:
                sent = os.writev(self._fd, [self._unsent[at] for at in range(min(len(self._unsent), _MOST_BUFFERS))])
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
            return
        self._unsent_bytes -= sent
        while sent:
            first = self._unsent.popleft()
            if len(first) > sent:
                self._unsent.appendleft(memoryview(first)[sent:])
                break
            sent -= len(first)
        if self._must_wait and self._unsent_bytes <= _LOW_WATER_BYTES:
            self._must_wait = False
            if not self._is_closing:
                assert self._receiver is not None
                try:
                    self._receiver.resume_writing()
                except Exception as error:
                    self.complain(error)
        if not self._unsent:
            self._watch()
            if self._is_closing:
                self._end(None)

    def _end(self, error: Exception | None) -> None:
        """The connection is over; its receiver hears of it in a turn of its own."""
        if self._is_over:
            return
        self._is_over = self._is_closing = True
        self._unsent.clear()
        self._unsent_bytes = 0
        self._watch()
        self._failure = error
        self._poller.soon(self)

    # Work.

    def go_on(self) -> None:
        receiver, self._receiver = self._receiver, None
        failure, self._failure = self._failure, None
        try:
            if receiver is not None:
                receiver.connection_lost(failure)
        finally:
            if self._fd >= 0:  # else a receiver came after the end
                fd = self._fd
                self._fd = -1  # the number is anybody's now
                os.close(fd)
