"""The event loop that Gatehouse runs on."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def settle() -> None:
    """Have the garbage collector leave alone what is there now, which is there for good: modules, settings, tenants.

    A full collection among 100,000 tenants with schemas takes 70 ms, and everybody waits.
    """
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one; GATEHOUSE_LOOP=asyncio asks for the standard loop."""
    if os.environ.get("GATEHOUSE_LOOP") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            return uvloop.run(main)
    return asyncio.run(main)
