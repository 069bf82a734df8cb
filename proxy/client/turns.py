"""Work that must not keep those waiting who are served already: a little of it in each turn of the event loop.

When a thousand clients log in at once, their messages are all there in the same turn. Handled together they would stop
every running query for a tenth of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

from proxy.net.poller import Poller, Work, running_poller

_PER_TURN_S: Final = 0.00015
"""So long a query that comes in the meantime has to wait: about six pieces, and as much as a query itself takes."""

Piece = Callable[[bytes], None]


class Turns(Work):
    """First come, first served, behind whatever else came in the same turn; at once, if there was a pause before it.

    `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Piece, bytes]] = deque()
        self._is_due = False
        self._free_at = 0.0
        self._poller: Poller | None = None  # the running loop's, from the first piece that has to wait

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
            self._ask_for_a_turn()

    def _ask_for_a_turn(self) -> None:
        if self._poller is None:
            self._poller = running_poller()
        self._poller.soon(self)

    def go_on(self) -> None:
        """A turn: some pieces, one at least."""
        waiting = self._waiting
        until = self._clock() + _PER_TURN_S
        while waiting:
            piece, data = waiting.popleft()
            piece(data)
            if self._clock() >= until:
                break
        self._is_due = bool(waiting)
        if self._is_due:
            self._ask_for_a_turn()
