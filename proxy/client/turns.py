"""Work that must not keep those waiting who are served already: a little of it in each turn of the event loop.

When a thousand clients log in at once, their messages are all there in the same turn. Handled together they would stop
every running query for a fifth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_PER_TURN: Final = 4
"""Pieces in one turn: about a millisecond of logins."""


class Turns:
    """First come, first served; a piece that comes alone is done at once."""

    __slots__ = ("_done", "_is_due", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False
        self._done = 0

    def take(self, piece: Callable[[], None]) -> None:
        """Do the piece, now or in a later turn. It must not raise."""
        if not self._is_due:
            self._is_due = True
            self._done = 0
            asyncio.get_running_loop().call_soon(self._go_on)
        if not self._waiting and self._done < _PER_TURN:
            self._done += 1
            piece()
        else:
            self._waiting.append(piece)

    def _go_on(self) -> None:
        """A new turn of the loop."""
        self._done = 0
        while self._waiting and self._done < _PER_TURN:
            self._done += 1
            self._waiting.popleft()()
        self._is_due = bool(self._waiting)
        if self._is_due:
            asyncio.get_running_loop().call_soon(self._go_on)
