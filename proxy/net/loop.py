"""An event loop that sleeps where our sockets are watched.

asyncio's own, with a selector that serves those sockets itself (poller.py) and tells the loop of the rest. While nothing but
queries comes, the loop does not even turn.
"""

from __future__ import annotations

import asyncio
import selectors
from math import inf
from time import monotonic

from proxy.net.poller import READABLE, WRITABLE, Poller


class _Selector(selectors.EpollSelector):
    """The selector of one loop, which is told once it is there."""

    def attend(self, loop: asyncio.SelectorEventLoop) -> Poller:
        """Belong to this loop from now on."""
        self._poller = Poller(loop, shared=self.fileno())
        # There is no other way to know what a socket's receiver has left for the loop to do.
        self._loop = loop
        return self._poller

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What of the loop's own is ready within `timeout` seconds; ours is served meanwhile."""
        until = inf if timeout is None else monotonic() + timeout if timeout > 0 else 0.0
        loop = self._loop
        found = self._poller.serve(until, loop._ready, loop._scheduled)  # type: ignore[attr-defined]
        keys = self.get_map()
        ready = []
        for at in range(0, len(found), 2):
            fd, events = found[at], found[at + 1]
            if fd in keys:
                key = keys[fd]
                # An error is both, as in the selector that this one is made of.
                which = (selectors.EVENT_READ if events & ~WRITABLE else 0) | (
                    selectors.EVENT_WRITE if events & ~READABLE else 0
                )
                if which & key.events:
                    ready.append((key, which & key.events))
        return ready


class Loop(asyncio.SelectorEventLoop):
    """The loop; Linux only."""

    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        self.gatehouse_poller = selector.attend(self)

    def stop(self) -> None:
        """Stop at the end of this turn, which is now if it is a socket's receiver that says so."""
        super().stop()
        self.call_soon(_nothing)

    def close(self) -> None:
        """Close it, and the poller's descriptor with it."""
        if not self.is_running():  # else the next line complains
            self.gatehouse_poller.close()
        super().close()


def _nothing() -> None:
    """A turn of the loop's."""
