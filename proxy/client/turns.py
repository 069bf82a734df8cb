"""Work that must not keep those waiting who are served already: a little of it in each turn of the event loop.

When a thousand clients log in at once, their messages are all there in the same turn. Handled together they would stop
every running query for a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

_PER_TURN_S: Final = 0.00015
"""So long a query that comes in the meantime has to wait: about six pieces, and as much as a query itself takes."""

Piece = Callable[[bytes], None]


class Turns:
    """First come, first served, behind whatever else came in the same turn; at once, if there was a pause before it.

    `clock` counts seconds.
    """

    __slots__ = ("_clock", "_free_at", "_is_due", "_waiting")

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Piece, bytes]] = deque()
        self._is_due = False
        self._free_at = 0.0

    def take(self, piece: Piece, data: bytes) -> None:
        """Do the piece with these bytes, now or in a turn that has room for it. It must not raise."""
        if not self._is_due:
            began = self._clock()
            if began >= self._free_at:
                piece(data)
                ended = self._clock()
                self._free_at = ended + (ended - began)  # as much time for all others
                return
        self._waiting.append((piece, data))
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        waiting = self._waiting
        until = self._clock() + _PER_TURN_S
        while waiting:
            piece, data = waiting.popleft()
            piece(data)
            if self._clock() >= until:
                break
        self._is_due = bool(waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._go_on)
