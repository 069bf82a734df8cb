"""Say a thing that happens often only once in a while, and how often it was held back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MAX_KEYS: Final = 1000


class Throttle:
    """Lets one event per key and period through; the clock (seconds, monotonic) is passed in."""

    __slots__ = ("_clock", "_held_back", "_next", "_seconds")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def due(self, key: str = "") -> int | None:
        """None while the event is to be held back; else how many were held back since the last one that passed."""
        now = self._clock()
        if now < self._next.get(key, now):
            self._held_back[key] = self._held_back.get(key, 0) + 1
            return None
        # Removed first, so that the dict stays in order of age and the oldest key is the one to forget.
        self._next.pop(key, None)
        self._next[key] = now + self._seconds
        if len(self._next) > _MAX_KEYS:
            oldest = next(iter(self._next))
            del self._next[oldest]
            self._held_back.pop(oldest, None)
        return self._held_back.pop(key, 0)


def every(seconds: float, clock: Callable[[], float]) -> Throttle:
    """A throttle that lets one event per key through every `seconds`.

    `if (held_back := warnings.due("pool main is full")) is not None: logger.warning(…, held_back=held_back)`
    """
    return Throttle(seconds, clock)
