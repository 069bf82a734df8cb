"""The event loop that Gatehouse runs on."""

from __future__ import annotations

import asyncio
import gc
import os
import select
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any, Final, TypeVar

from proxy.errors import ConfigError

T = TypeVar("T")

_LOOPS: Final = (None, "", "gatehouse", "uvloop", "asyncio")


_YOUNG: Final = (700, 2)
"""The garbage collector looks at so many new objects, and at so many times as many that it has seen once: 0.5 ms."""
_NEVER: Final = 1_000_000_000
_FULL_COLLECTION_S: Final = 3600.0


def settle() -> None:
    """Have the garbage collector leave alone what is there for good: now modules, settings and tenants, then clients.

    A full collection takes 70 ms among 100,000 tenants with schemas and 12 ms among 1,000 clients, and everybody waits.
    By itself it would come in the midst of a storm of logins, when there is much that is new. Clients leave nothing that
    it would find (tests/integration/test_garbage.py), so once in an hour is enough.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_YOUNG, _NEVER)
    _collect_later(asyncio.get_running_loop())


def _collect_later(loop: asyncio.AbstractEventLoop) -> None:
    def collect() -> None:
        gc.collect()
        _collect_later(loop)

    loop.call_later(_FULL_COLLECTION_S, collect)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop for this machine; to its end. Raises ConfigError as `loop_factory` does."""
    with closing(main):  # or Python would complain that it never ran
        factory = loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes Gatehouse's own loop where there is epoll, else uvloop's where that is installed, else asyncio's.

    GATEHOUSE_LOOP asks for one of them: gatehouse, uvloop, asyncio. Raises ConfigError for any other.
    """
    wanted = os.environ.get("GATEHOUSE_LOOP")
    if wanted not in _LOOPS:
        raise ConfigError(
            f'GATEHOUSE_LOOP is "{wanted}"', hint="It can be gatehouse, uvloop or asyncio, or be left out."
        )
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
