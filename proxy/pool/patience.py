"""What those are told that get no server yet, or none: that they need not wait, wait still, or have waited too long.

One timer for all of a pool's clients: it fires when something falls due for one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from proxy.errors import ProxyError
from proxy.pool import refusals
from proxy.pool.core import PoolCore
from proxy.pool.limits import PoolKey
from proxy.pool.ports import CallLater, Timer, Waiter
from proxy.pool.slots import Ticket
from proxy.pool.stats import PoolCounters


class Patience:
    """The refusals and the timer of one pool; `settle` is called when the timer has fired."""

    __slots__ = (
        "_call_later",
        "_core",
        "_counters",
        "_key",
        "_now",
        "_settle",
        "_timer",
        "_timer_at",
        "refusals",
    )

    def __init__(
        self,
        key: PoolKey,
        core: PoolCore,
        counters: PoolCounters,
        now: Callable[[], float],
        call_later: CallLater,
        settle: Callable[[], None],
    ) -> None:
        self._key = key
        self._core = core
        self._counters = counters
        self._now = now
        self._call_later = call_later
        self._settle = settle
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self.refusals: dict[Waiter, ProxyError] = {}  # about to be told

    # --- who need not wait

    def reason_to_refuse(self, now: float) -> ProxyError | None:
        """Why a client that comes now is not to wait."""
        core = self._core
        if core.is_draining:
            return refusals.shutting_down()
        if 0 < core.limits.max_waiting <= core.queue.waiting:
            return refusals.queue_full(self._key, core)
        return core.hopeless(now)

    def refuse_soon(self, waiter: Waiter, error: ProxyError) -> None:
        """Tell a client that asks just now: not inside its call."""
        self.refusals[waiter] = error
        self._counters.refused += 1
        self._call_later(0.0, partial(self._deliver, waiter))

    def _deliver(self, waiter: Waiter) -> None:
        error = self.refusals.pop(waiter, None)
        if error is not None:
            waiter.refused(error)

    def take_back(self, waiter: Waiter) -> bool:
        """The client is not to be told any more; False if nothing was to be told."""
        return self.refusals.pop(waiter, None) is not None

    def refuse_all(self, error: ProxyError) -> None:
        """Nobody who waits will get a server."""
        for waiter in list(self._core.queue):
            if self._core.leave(waiter):
                self._counters.refused += 1
                waiter.refused(error)

    # --- who waits

    def timed_out(self, ticket: Ticket, waited_s: float) -> ProxyError:
        """What a client is to be told that has waited for as long as it may; it is in the queue still."""
        self._counters.wait_timeouts += 1
        return refusals.wait_timed_out(self._key, self._core, ticket.line, waited_s)

    def rearm(self) -> None:
        """Have the timer fire when something falls due, or before."""
        core = self._core
        is_in_order = not (core.backoff.is_failing or core.queue.has_untimed)
        if not core.queue.waiting or (self._timer is not None and is_in_order):
            return  # whoever came after the timer was set falls due after it
        now = self._now()
        at = core.next_event(now)
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        self.stop_timer()
        self._timer_at = at
        self._timer = self._call_later(max(0.001, at - now), self._on_timer)

    def stop_timer(self) -> None:
        """Until it is armed again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        now = self._now()
        limits, queue = self._core.limits, self._core.queue
        wait_s = limits.wait_timeout_s
        while wait_s and (ticket := queue.oldest_timed()) and ticket.arrived + wait_s <= now:
            error = self.timed_out(ticket, wait_s)
            self._core.leave(ticket.waiter)
            ticket.waiter.refused(error)
        notify_s = limits.query_wait_notify_s
        while notify_s and (ticket := queue.oldest_unnotified()) and ticket.arrived + notify_s <= now:
            queue.mark_notified(ticket)
            ticket.waiter.still_waiting(now - ticket.arrived)
        self._settle()
