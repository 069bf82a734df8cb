"""When logins under way must be complete: one timer of the loop's for all of them, for setting one costs more than a query."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from proxy.net.timers import TICK_S, no_later

TimedOut = Callable[[], None]


class LoginDeadlines:
    """The deadlines; `clock` counts seconds as the loop does."""

    __slots__ = ("_clock", "_timer", "_until")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until: dict[object, tuple[float, TimedOut]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, who: object, timeout_s: float, timed_out: TimedOut) -> None:
        """Call `timed_out` in so many seconds unless `who` has ended by then."""
        at = self._clock() + timeout_s
        self._until[who] = (at, timed_out)
        # With a shorter limit since a reload the last to come may be the first whose time is up.
        self._timer = no_later(self._timer, at, self._look)

    def end(self, who: object) -> None:
        """Its login is complete, or it is gone; idempotent."""
        self._until.pop(who, None)

    def _look(self) -> None:
        self._timer = None
        now = self._clock() + TICK_S
        for who, (at, timed_out) in list(self._until.items()):
            if at <= now and who in self._until:  # the one before may have ended it
                del self._until[who]
                timed_out()
        if self._until:
            self._timer = no_later(self._timer, min(at for at, _ in self._until.values()), self._look)
