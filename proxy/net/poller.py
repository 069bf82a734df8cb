"""Which sockets are ready: one epoll of our own inside the event loop's.

The loop sees one descriptor, and our sockets cost it nothing, one by one: no handle, no context to enter, no callback to
look up for each of them. Where there is no epoll, the loop watches each socket itself.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final

from mypy_extensions import i64, trait

from proxy.net.system import look

READABLE: Final = 1  # EPOLLIN
WRITABLE: Final = 4  # EPOLLOUT

_EVENTS_PER_TURN: Final = 128
"""After so many the rest of the loop has its turn; each takes some five microseconds."""


@trait
class Watched:
    """Something with a descriptor."""

    def ready(self, events: int) -> None:
        """It can be read or written, or has failed. It must not raise."""
        raise NotImplementedError


class Poller:
    """Tells what is watched when it is ready; level-triggered. To be started on the loop that it belongs to."""

    def __init__(self) -> None:
        self._watched: dict[int, Watched] = {}
        self._epoll: select.epoll | None = None
        self._is_open = False
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Begin, on the running loop."""
        self.loop = asyncio.get_running_loop()
        self._is_open = True
        if hasattr(select, "epoll"):
            self._epoll = select.epoll()
            self.loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, fd: int, watched: Watched, events: int) -> None:
        """Begin to watch a descriptor for READABLE, WRITABLE or both."""
        self._watched[fd] = watched
        if self._epoll is not None:
            self._epoll.register(fd, events)
        else:
            self._watch_by_loop(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Watch it for something else."""
        if self._epoll is not None:
            self._epoll.modify(fd, events)
        else:
            self._watch_by_loop(fd, events)

    def forget(self, fd: int) -> None:
        """Watch it no more; to be called before it is closed."""
        if not self._is_open:
            return
        del self._watched[fd]
        if self._epoll is not None:
            self._epoll.unregister(fd)
        else:
            self._watch_by_loop(fd, 0)

    def close(self) -> None:
        """Watch nothing any more; idempotent."""
        if not self._is_open:
            return
        self._is_open = False
        if self._epoll is not None:
            self.loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        else:
            for fd in self._watched:
                self._watch_by_loop(fd, 0)
        self._watched.clear()

    def _look(self) -> None:
        """Serve what is ready; while there is much of it, again, before the loop goes to sleep over it."""
        epoll, watched = self._epoll, self._watched
        assert epoll is not None
        served: i64 = 0
        while True:
            found = look(epoll)
            size: i64 = len(found)
            at: i64 = 0
            while at < size:
                ready = watched.get(found[at])
                if ready is not None:
                    ready.ready(found[at + 1])
                at += 2
            served += size // 2
            if size <= 2 or served >= _EVENTS_PER_TURN:
                return

    def _watch_by_loop(self, fd: int, events: int) -> None:
        watched = self._watched.get(fd)
        if watched is not None and events & READABLE:
            self.loop.add_reader(fd, watched.ready, READABLE)
        else:
            self.loop.remove_reader(fd)
        if watched is not None and events & WRITABLE:
            self.loop.add_writer(fd, watched.ready, WRITABLE)
        else:
            self.loop.remove_writer(fd)
