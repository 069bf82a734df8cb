"""Which sockets are ready.

On Gatehouse's own loop (loop.py) this is where the loop sleeps, and a socket that is ready costs it nothing: no handle, no
context to enter, no turn. On another loop it is an epoll inside that one's, which sees one descriptor; where there is no
epoll, the loop watches each socket itself.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections import deque
from collections.abc import Sized
from time import monotonic
from typing import Final

from mypy_extensions import i64, mypyc_attr, trait

from proxy.net.system import LOOKS_BY_NUMBER, found, look

READABLE: Final = 1  # EPOLLIN
WRITABLE: Final = 4  # EPOLLOUT

_EVENTS_PER_TURN: Final = 512
"""After so many the rest of the loop has its turn, if it has asked for none; each takes some five microseconds, a turn of
the loop thirty."""
_FIRST_DESCRIPTORS: Final = 64
_DESCRIPTOR: Final = 0xFFFFFFFF
_EVENTS_AT: Final = 32
"""How `found` puts the two together."""
_ATTRIBUTE: Final = "gatehouse_poller"


_WORK_PER_LOOK_S: Final = 0.00015
"""So long what was put off may take before those are served again who are ready: as long as a query itself takes."""
_LEAST_WORK_PER_LOOK: Final = 8
"""However long it takes, as on a machine that was stopped in between."""
_EVENTS_OF_WORK: Final = 32
"""What that counts for, beside events."""


@trait
@mypyc_attr(allow_interpreted_subclasses=True)
class Work:
    """Something to be done when what is ready has been served."""

    def go_on(self) -> None:
        """Do a little of it; whoever has more to do asks again. It must not raise."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class BaseWork(Work):
    """Nothing to do. For those that are not compiled, which can not derive from a trait that is."""

    def go_on(self) -> None:
        """It is done."""


@trait
@mypyc_attr(allow_interpreted_subclasses=True)
class Watched:
    """Something with a descriptor."""

    def ready(self, events: int) -> None:
        """It can be read or written, or has failed. It must not raise."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class BaseWatched(Watched):
    """Does nothing. For those that are not compiled, which can not derive from a trait that is."""

    def ready(self, events: int) -> None:
        """It is what it is."""


class Poller:
    """Tells what is watched when it is ready; level-triggered. `running_poller` is how to get the loop's.

    `shared`: the epoll that the loop itself sleeps in, if that is to serve both.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shared: int = -1) -> None:
        self.loop = loop
        self._watched: list[Watched | None] = [None] * _FIRST_DESCRIPTORS  # by descriptor, for those are small numbers
        self._epoll: select.epoll | None = None
        # With much to do there will be more at once, and to look for it as one who would sleep is to give up the
        # interpreter's lock for a moment: a thread that waits for it is woken, is too late, and does not ask for it.
        self._is_busy = False
        self._put_off: deque[Work] = deque()
        self._is_called = False  # where the loop calls _go_on
        self._is_shared = shared >= 0
        if self._is_shared:
            self._epoll = select.epoll.fromfd(os.dup(shared))  # which closes what it is given
        elif hasattr(select, "epoll"):
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._look)
        self._number: i64 = -1  # the epoll's descriptor, where `look` can use that
        if LOOKS_BY_NUMBER and self._epoll is not None:
            self._number = self._epoll.fileno()

    def watch(self, fd: int, watched: Watched, events: int) -> None:
        """Begin to watch a descriptor for READABLE, WRITABLE or both."""
        if fd >= len(self._watched):
            self._watched += [None] * fd
        if self._epoll is not None:
            self._epoll.register(fd, events)  # before it is noted: who fails has nothing to forget
            self._watched[fd] = watched
        else:
            self._watched[fd] = watched
            self._watch_by_loop(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Watch it for something else."""
        if self._epoll is not None:
            self._epoll.modify(fd, events)
        else:
            self._watch_by_loop(fd, events)

    def forget(self, fd: int) -> None:
        """Watch it no more; to be called before it is closed."""
        self._watched[fd] = None
        if self._epoll is not None:
            self._epoll.unregister(fd)
        else:
            self._watch_by_loop(fd, 0)

    def soon(self, work: Work) -> None:
        """Have it go on once, when what is ready now has been served, and what was put off before has had its turn."""
        self._put_off.append(work)
        if not self._is_shared and not self._is_called:
            self._is_called = True
            self.loop.call_soon(self._go_on)

    def close(self) -> None:
        """Watch nothing any more; to be called when what was watched is closed, and before the loop is.

        What was put off is done first: sockets that are to be closed are.
        """
        while self._put_off:
            self._let_go_on(self._put_off.popleft())
        if self._epoll is None or self._epoll.closed:
            return
        if not self._is_shared:
            self.loop.remove_reader(self._epoll.fileno())
        self._number = -1
        self._epoll.close()

    def serve(self, until: float, calls: Sized, timers: list[asyncio.TimerHandle]) -> list[int]:
        """Serve what is ready, until the loop has something of its own to do; then what is ready of the loop's.

        `until`: when its next timer is due, on the monotonic clock; 0 if it has something to do already. `calls` and
        `timers` are the loop's own: it has something to do when these are there, or a timer that was not the first.
        """
        timer = timers[0] if timers else None
        of_loop: list[int] = []
        wait = 0.0 if self._is_busy or self._put_off else until
        served: i64 = 0
        while True:
            size = self._look_until(wait)
            self._tell_all(size, of_loop)
            served += size
            self._is_busy = size > 1
            if self._put_off:
                self._go_on()
                self._is_busy = True  # to look for others without sleeping, and for what is put off again
                served += _EVENTS_OF_WORK
            elif size == 0:
                if wait == until:
                    return of_loop
                wait = until  # nothing more: sleep
                continue
            if until == 0.0 or of_loop or len(calls) or served >= _EVENTS_PER_TURN:
                return of_loop
            if (timers[0] if timers else None) is not timer:
                return of_loop
            wait = 0.0 if self._is_busy else until

    def _look(self) -> None:
        """The loop says that something is ready: serve it; while there is much of it, again."""
        nobodys: list[int] = []
        served: i64 = 0
        while True:
            size = self._look_until(0.0)
            self._tell_all(size, nobodys)
            served += size
            if size <= 1 or served >= _EVENTS_PER_TURN:
                return

    def _look_until(self, wait: float) -> i64:
        if self._number >= 0:
            return look(self._number, wait)
        return look(self._epoll, wait)

    def _go_on(self) -> None:
        """Let what was put off go on, some of it at least; what is put off meanwhile waits for the next time."""
        put_off = self._put_off
        until = monotonic() + _WORK_PER_LOOK_S
        left: i64 = len(put_off)
        done: i64 = 0
        while left:
            left -= 1
            done += 1
            self._let_go_on(put_off.popleft())
            if done >= _LEAST_WORK_PER_LOOK and monotonic() >= until:
                break
        self._is_called = not self._is_shared and len(put_off) > 0
        if self._is_called:
            self.loop.call_soon(self._go_on)

    def _let_go_on(self, work: Work) -> None:
        try:
            work.go_on()
        except Exception as error:  # as in _tell
            self._complain("what was put off failed", error)

    def _complain(self, message: str, error: Exception) -> None:
        self.loop.call_exception_handler({"message": message, "exception": error})

    def _tell_all(self, size: i64, others: list[int]) -> None:
        """Tell all `size` that were found, but what is not watched here, which is added to `others`."""
        watched = self._watched
        at: i64 = 0
        while at < size:
            event: i64 = found(at)
            fd: i64 = event & _DESCRIPTOR
            ready = watched[fd] if fd < len(watched) else None
            if ready is None:
                others += (int(fd), int(event >> _EVENTS_AT))
            else:
                try:
                    ready.ready(int(event >> _EVENTS_AT))
                except Exception as error:  # it must not: say so, and serve the others
                    self._complain("what a poller watches failed", error)
            at += 1

    def _watch_by_loop(self, fd: int, events: int) -> None:
        watched = self._watched[fd]
        if watched is not None and events & READABLE:
            self.loop.add_reader(fd, watched.ready, READABLE)
        else:
            self.loop.remove_reader(fd)
        if watched is not None and events & WRITABLE:
            self.loop.add_writer(fd, watched.ready, WRITABLE)
        else:
            self.loop.remove_writer(fd)


def running_poller() -> Poller:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    poller = getattr(loop, _ATTRIBUTE, None)
    if poller is None:
        poller = Poller(loop)
        setattr(loop, _ATTRIBUTE, poller)
    assert isinstance(poller, Poller)
    return poller
