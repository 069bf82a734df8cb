"""All pools: makes them, opens their servers, keeps each cluster's budget, and looks after them every second.

The asyncio shell of the package; what is decided is decided in `core.py` and `budget.py`.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable

from proxy.errors import ProxyError, ServerUnreachable
from proxy.pool import refusals
from proxy.pool.budget import ClusterBudget
from proxy.pool.core import PoolKey, PoolLimits, PoolSnapshot
from proxy.pool.pool import Pool
from proxy.pool.ports import CallLater, Timer, Waiter
from proxy.pool.slots import Slot
from proxy.server.ports import ServerPort

__all__ = ["Pool", "PoolManager", "Waiter"]

TICK_S = 1.0


class PoolManager:
    """The pools of this process, by login.

    `opener` opens and logs in one server within a deadline of its own, or raises a ProxyError; it must bear being
    cancelled. `limits` gives a pool's settings; `max_connections` is the same for all pools of a cluster. All calls are
    made on the event loop.
    """

    def __init__(
        self,
        opener: Callable[[PoolKey], Awaitable[ServerPort]],
        clock: Callable[[], float],
        call_later: CallLater,
        limits: Callable[[PoolKey], PoolLimits],
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._opener = opener
        self._now = clock
        self._call_later = call_later
        self._limits = limits
        self._random = random
        self._pools: dict[PoolKey, Pool] = {}
        self._budgets: dict[str, ClusterBudget] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._ticker: Timer | None = None
        self._emptied: asyncio.Event | None = None

    def pool(self, key: PoolKey) -> Pool:
        """The pool of this login, made on first use; it stays the same object."""
        pool = self._pools.get(key)
        return self._make_pool(key) if pool is None else pool

    async def warm(self, key: PoolKey) -> None:
        """Return once the pool's `baseline` is known, opening a server if need be; callers share the attempt.

        Raises what kept the server from opening, or PoolTimeout after `wait_timeout_s` without room for one.
        """
        pool = self.pool(key)
        if pool.has_baseline:
            return
        warmed: asyncio.Future[ProxyError | None] = asyncio.get_running_loop().create_future()

        def done(error: ProxyError | None) -> None:
            if not warmed.done():
                warmed.set_result(error)

        wait_s = pool.limits.wait_timeout_s
        timer = self._call_later(wait_s, lambda: done(refusals.no_room(key, wait_s))) if wait_s else None
        pool.warm(done)
        try:
            error = await warmed
        finally:
            pool.stop_warming(done)
            if timer is not None:
                timer.cancel()
        if error is not None:
            raise error

    def configure(self, limits: Callable[[PoolKey], PoolLimits]) -> None:
        """Take over new settings at once; nobody loses a server it holds."""
        self._limits = limits
        for pool in self._pools.values():
            settings = limits(pool.key)
            self._budgets[pool.key.cluster].max_connections = settings.max_connections
            pool.configure(settings)
        self._share_out()

    def is_unreachable(self, cluster: str) -> bool:
        """Does any pool of the cluster hold back because nobody answered?"""
        return any(pool.is_unreachable for pool in self._pools.values() if pool.key.cluster == cluster)

    def cluster_answers(self, cluster: str) -> None:
        """The cluster was seen to answer: its pools need not hold back."""
        for pool in list(self._pools.values()):
            if pool.key.cluster == cluster:
                pool.try_again()

    async def close(self, immediate: bool) -> None:
        """Lend nothing any more and return when no server is left; `immediate` closes the lent ones too.

        The caller sets the deadline: after cancelling this it may call again with `immediate`.
        """
        self._emptied = asyncio.Event()
        if self._ticker is not None:
            self._ticker.cancel()
        for pool in self._pools.values():
            pool.drain()
        opening = list(self._opening)
        for task in opening:
            task.cancel()
        if immediate:
            for pool in self._pools.values():
                pool.kill()
        await asyncio.gather(*opening, return_exceptions=True)
        while any(pool.size for pool in self._pools.values()):
            self._emptied.clear()
            await self._emptied.wait()

    def snapshots(self) -> list[PoolSnapshot]:
        """Every pool as it is now."""
        return [pool.snapshot() for pool in self._pools.values()]

    def _make_pool(self, key: PoolKey) -> Pool:
        limits = self._limits(key)
        budget = self._budgets.get(key.cluster)
        if budget is None:
            budget = self._budgets[key.cluster] = ClusterBudget(limits.max_connections, self._defer)
        pool = self._pools[key] = Pool(
            key,
            limits,
            budget,
            now=self._now,
            call_later=self._call_later,
            random=self._random,
            start_opening=self._start_opening,
            on_empty=self._on_empty,
        )
        if self._emptied is not None:
            pool.drain()
        elif self._ticker is None:
            self._ticker = self._call_later(TICK_S, self._tick)
        return pool

    def _defer(self, callback: Callable[[], None]) -> None:
        self._call_later(0.0, callback)

    def _on_empty(self) -> None:
        if self._emptied is not None:
            self._emptied.set()

    def _tick(self) -> None:
        self._ticker = self._call_later(TICK_S, self._tick)
        for pool in list(self._pools.values()):
            pool.maintain()
        self._share_out()

    def _share_out(self) -> None:
        for budget in self._budgets.values():
            budget.shrink()
            budget.wake_soon()

    def _start_opening(self, pool: Pool, slot: Slot) -> None:
        task = asyncio.get_running_loop().create_task(self._open(pool, slot))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, pool: Pool, slot: Slot) -> None:
        try:
            server = await self._opener(pool.key)
        except ProxyError as error:
            pool.open_failed(slot, error)
        except asyncio.CancelledError:
            pool.open_failed(slot, refusals.shutting_down())
            raise
        except Exception as cause:
            unexpected = ServerUnreachable("could not open a server connection", exception=repr(cause))
            unexpected.__cause__ = cause
            pool.open_failed(slot, unexpected)
        else:
            pool.opened(slot, server)
