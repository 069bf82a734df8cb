"""Timers of the loop's that are set lazily: most of what they are set for is over when they fire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

TICK_S: Final = 0.001
"""The loop counts timers in milliseconds: one may be early by this."""


def no_later(timer: asyncio.TimerHandle | None, at: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    """A timer that fires at `at`, in the loop's seconds, or before: `timer`, if it does; else that is cancelled."""
    if timer is not None:
        if timer.when() <= at:
            return timer
        timer.cancel()
    return asyncio.get_running_loop().call_at(at, call)
