"""The event loop that Gatehouse runs on."""

from __future__ import annotations

import asyncio
import gc
import os
import select
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def settle() -> None:
    """Have the garbage collector leave alone what is there now, which is there for good: modules, settings, tenants.

    A full collection among 100,000 tenants with schemas takes 70 ms, and everybody waits.
    """
    gc.collect()
    gc.freeze()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop for this machine; to its end."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes Gatehouse's own loop where there is epoll, else uvloop's where that is installed, else asyncio's.

    GATEHOUSE_LOOP asks for one of them: gatehouse, uvloop, asyncio.
    """
    wanted = os.environ.get("GATEHOUSE_LOOP")
    if hasattr(select, "epoll") and wanted in (None, "", "gatehouse"):
        from proxy.net.loop import Loop

        return Loop
    if wanted != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop
    return asyncio.new_event_loop
