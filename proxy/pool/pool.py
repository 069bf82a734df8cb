"""One pool at work: asks the core what to do and does it, with servers and clients.

Everything here is synchronous; opening a server is the manager's, which reports back with `opened` or `open_failed`.
Who waits too long, or need not wait at all, is told by `patience.py`.

Re-entrancy: a client or a server may call back at any point. Whatever arrives while decisions are being performed only
changes the books, and the loop under way (`_settle`) sees it in its next decision. While that loop runs, or is due to
run, the pool is *unsettled*, and a newcomer queues behind those who wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from proxy.errors import ProxyError, ServerUnreachable
from proxy.observe.gauges import PoolSnapshot
from proxy.pool import refusals
from proxy.pool.budget import ClusterBudget
from proxy.pool.core import Decision, Grant, Later, NeedRoom, Open, PoolCore, RefuseAll, Reset
from proxy.pool.limits import PoolKey, PoolLimits
from proxy.pool.patience import Patience
from proxy.pool.ports import CallLater, Waiter
from proxy.pool.slots import Slot, SlotState
from proxy.pool.stats import PoolCounters, snapshot
from proxy.server.ports import ServerPort


class Pool:
    """The servers that share one login, and the clients that want them.

    `start_opening` begins to open a server for a slot; `on_empty` is called when a draining pool has no server left.
    """

    def __init__(
        self,
        key: PoolKey,
        limits: PoolLimits,
        budget: ClusterBudget,
        *,
        now: Callable[[], float],
        call_later: CallLater,
        random: Callable[[], float],
        start_opening: Callable[[Pool, Slot], None],
        on_empty: Callable[[], None],
    ) -> None:
        self.key = key
        self.baseline: dict[bytes, bytes] = {}
        self.has_baseline = False
        self.counters = PoolCounters()
        self._core = PoolCore(limits, lambda: budget.has_room_for(self, now()), random)
        self._budget = budget
        self._now = now
        self._call_later = call_later
        self._start_opening = start_opening
        self._on_empty = on_empty
        self._warming_since = 0.0
        self._lost_at = 0.0
        self._warmers: list[Callable[[ProxyError | None], None]] = []
        self._patience = Patience(key, self._core, self.counters, now, call_later, self._settle)
        self._is_unsettled = False
        self._is_settling = False

    # --- for clients

    def acquire(self, waiter: Waiter, *, is_timed: bool = True) -> ServerPort | None:
        """Lend a server at once, or queue the client: `granted` or `refused` is called later, unless forgotten.

        Without `is_timed` the pool sets no limit to the wait: the client calls `give_up`.
        """
        server = self.lend(waiter.tenant_id, waiter.max_servers)
        if server is not None:
            return server
        now = self._now()
        error = self._patience.reason_to_refuse(now)
        if error is not None:
            self._patience.refuse_soon(waiter, error)
            return None
        self.counters.waits += 1
        self._core.queue.join(waiter, now, is_timed=is_timed)
        self._settle(may_grant=False)
        return None

    def lend(self, tenant: str, limit: int) -> ServerPort | None:
        """Lend a server at once if that can be; `limit` as `Waiter.max_servers`."""
        if self._is_unsettled and self._core.queue.waiting:
            return None
        return self._core.lend_at_once(tenant, limit)

    def forget(self, waiter: Waiter) -> None:
        """The client wants no server any more; if it holds one already, it must release that."""
        if not self._patience.take_back(waiter) and self._core.leave(waiter):
            self._settle()

    def give_up(self, waiter: Waiter, waited_s: float) -> ProxyError | None:
        """The client has waited for as long as it will, `waited_s`: what it is to be told; None if it does not wait."""
        ticket = self._core.queue.find(waiter)
        if ticket is None:
            return None
        error = self._patience.timed_out(ticket, waited_s)
        self.forget(waiter)
        return error

    def release(self, server: ServerPort, now: float = 0.0) -> None:
        """The one door by which a server comes back; the reasons not to lend it again as it is, in order.

        `now`: for who has just looked at the clock.
        """
        slot = server.place
        if not isinstance(slot, Slot):
            server.close("discarded")
            return
        if slot.state != SlotState.LENT:
            return
        if now == 0.0:
            now = self._now()
        reason = server.unusable_because() or self._core.reason_to_close(slot, now)
        is_tight = self._budget.is_tight
        if is_tight and reason is None and self._budget.must_give_back(self, now):
            reason = "given to another pool"
        if reason is not None:
            self._close(slot, reason)
        elif server.taint:
            self._core.returned_tainted(slot)
            self._reset(slot, server.taint)
        else:
            self._core.returned(slot, now)
        if is_tight or self._core.queue.waiting:
            self._settle()

    def discard(self, server: ServerPort, reason: str) -> None:
        """The server is dead or was closed, whoever had it; `reason` is from a small fixed set."""
        slot = self._core.slots.get(server)
        if slot is not None:
            self._close(slot, reason)
            self._settle()

    # --- for the manager

    def warm(self, done: Callable[[ProxyError | None], None]) -> None:
        """Call `done` once the pool has a baseline (None) or can not get one (the error); at once if that is known."""
        now = self._now()
        error = refusals.shutting_down() if self._core.is_draining else self._core.hopeless(now)
        if self.has_baseline or error is not None:
            done(None if self.has_baseline else error)
            return
        if not self._warmers:
            self._warming_since = now
        self._warmers.append(done)
        self._core.is_warming = True
        self._settle()

    def stop_warming(self, done: Callable[[ProxyError | None], None]) -> None:
        """Nobody listens to this `done` any more."""
        if done in self._warmers:
            self._warmers.remove(done)
            self._core.is_warming = bool(self._warmers)

    def opened(self, slot: Slot, server: ServerPort) -> None:
        """The server for this slot is logged in."""
        self.counters.opened += 1
        self._core.backoff.succeeded()
        now = self._now()
        self._core.opened(slot, server, now)
        self.baseline = server.parameters
        self.has_baseline = True
        reason = self._core.reason_to_close(slot, now)
        if reason is not None:
            self._close(slot, reason)
        self._end_warming(None)
        self._settle()

    def open_failed(self, slot: Slot, error: ProxyError) -> None:
        """The server for this slot could not be opened."""
        if not self._core.is_draining:
            self.counters.connect_errors += 1
        self._core.backoff.failed(error, self._now())
        self._remove(slot)
        if not self.size:
            self._end_warming(error)
        self._settle()

    @property
    def is_unreachable(self) -> bool:
        """Did the last attempt to open a server find nobody who answers?"""
        return isinstance(self._core.backoff.last_error, ServerUnreachable)

    def try_again(self) -> None:
        """The cluster answers again: do not wait for the end of the pause to find out."""
        if self.is_unreachable:
            self._core.backoff.succeeded()
            self._settle()

    def configure(self, limits: PoolLimits) -> None:
        """Take over new settings; servers that are too many are closed when they are idle."""
        self._core.configure(limits)
        self._patience.stop_timer()
        self.maintain()

    def maintain(self) -> None:
        """What falls due without anybody asking; call it every second or so."""
        if not (self.size or self._core.queue.has_lines or self._core.limits.min_size):
            return
        now = self._now()
        for slot, reason in self._core.outdated(now):
            if slot.state == SlotState.IDLE:
                self._close(slot, reason)
        self._core.queue.tidy()
        while self.has_baseline and self._core.lacks_spare(now):
            self._open(self._core.open_slot())
        self._settle()

    def drain(self) -> None:
        """Lend nothing any more: close what is idle now and the rest when it comes back, refuse who waits."""
        self._core.is_draining = True
        error = refusals.shutting_down()
        self._end_warming(error)
        self._patience.refuse_all(error)
        for slot in list(self._core.idle):
            self._close(slot, "draining")
        self._patience.stop_timer()
        if not self.size:
            self._on_empty()

    def kill(self) -> None:
        """Close every server, lent or not; the pool must be draining."""
        for slot in list(self._core.slots.values()):
            self._close(slot, "shutdown")

    def snapshot(self) -> PoolSnapshot:
        """The pool now, under PgBouncer's names."""
        return snapshot(self.key, self._core, self.counters, self._now())

    # --- for the cluster's budget

    @property
    def size(self) -> int:
        """Servers of the pool, those being opened included."""
        return self._core.size

    @property
    def limits(self) -> PoolLimits:
        """The settings in force."""
        return self._core.limits

    def is_busy(self) -> bool:
        """Do clients hold or await servers?"""
        return self._core.is_busy()

    def starved_s(self, now: float) -> float | None:
        """How long the first client has waited, but not since before the pool lost a server; None = nobody waits."""
        oldest = self._core.queue.oldest()
        if oldest is None and not self._warmers:
            return None
        return now - max(self._lost_at, self._warming_since if oldest is None else oldest.arrived)

    def coldest_since(self) -> float | None:
        """Since when the coldest idle server is idle; None = none is."""
        slot = self._core.idle.coldest()
        return None if slot is None else slot.idle_since

    def give_up_coldest(self) -> None:
        """Close the coldest idle server, for another pool of the cluster."""
        slot = self._core.idle.coldest()
        if slot is not None:
            self._close(slot, "given to another pool")

    def look_again(self) -> None:
        """There may be room in the cluster now."""
        self._settle()

    # --- performing decisions

    def _settle(self, *, may_grant: bool = True) -> None:
        """Perform decisions until there is none."""
        if self._is_settling:
            return
        self._is_settling = self._is_unsettled = True
        is_done = False
        try:
            while (decision := self._core.decide(self._now(), may_grant=may_grant)) is not None:
                if not self._perform(decision):
                    break
            if not self._core.queue.waiting and not self._core.is_warming:
                self._budget.content(self)
            if self._core.idle.count and self._budget.has_starving:
                self._budget.has_idle(self)
            is_done = not isinstance(decision, Later)
        finally:
            self._is_settling = False
            self._is_unsettled = not is_done
            if not is_done:
                self._call_later(0.0, self._settle)
        self._patience.rearm()

    def _perform(self, decision: Decision) -> bool:
        """Do it; False = nothing more can be done now."""
        if isinstance(decision, Grant):
            self._grant(decision.waiter, decision.server)
        elif isinstance(decision, Reset):
            self._reset(decision.slot, 1)
        elif isinstance(decision, Open):
            self._open(decision.slot)
        elif isinstance(decision, NeedRoom):
            return not self._budget.is_starving(self) and self._budget.make_room(self, self._now())
        elif isinstance(decision, RefuseAll):
            self._patience.refuse_all(decision.error)
        else:
            return False
        return True

    def _grant(self, waiter: Waiter, server: ServerPort) -> None:
        try:
            waiter.granted(server)
        except Exception as error:
            # Nobody knows what was sent to it, and nobody will release it. The client whose release brought it here is
            # not to blame: the error goes to the event loop.
            self.discard(server, "client failed")
            self._call_later(0.0, partial(_raise, error))

    def _open(self, slot: Slot) -> None:
        self._budget.added(self)
        self._start_opening(self, slot)

    def _reset(self, slot: Slot, level: int) -> None:
        server = slot.server
        assert server is not None
        self.counters.resets += 1
        slot.reset_serial += 1
        serial = slot.reset_serial

        def done(is_reset: bool) -> None:
            if slot.state == SlotState.RESETTING and slot.reset_serial == serial:
                self._reset_done(slot, level, is_reset=is_reset)

        server.reset(level, done)

    def _reset_done(self, slot: Slot, level: int, *, is_reset: bool) -> None:
        if not is_reset:
            self.counters.reset_failures += 1
            self._close(slot, "reset failed")
        else:
            assert slot.server is not None
            self._core.was_reset(slot, level)
            reason = slot.server.unusable_because() or self._core.reason_to_close(slot, self._now())
            if reason is not None:
                self._close(slot, reason)
        self._settle()

    def _close(self, slot: Slot, reason: str) -> None:
        if self._remove(slot):
            self.counters.count_closed(reason)
            assert slot.server is not None
            slot.server.close(reason)

    def _remove(self, slot: Slot) -> bool:
        if not self._core.remove(slot):
            return False
        self._lost_at = self._now()
        self._budget.removed(self)
        if self._core.is_draining and not self.size:
            self._on_empty()
        return True

    def _end_warming(self, error: ProxyError | None) -> None:
        warmers, self._warmers = self._warmers, []
        self._core.is_warming = False
        for done in warmers:
            done(error)


def _raise(error: Exception) -> None:
    raise error
