"""Decide who gets a server connection next, and what to do when there is none to give.

Pure bookkeeping of one pool: no sockets, and the clock is passed in. `pool.py` performs what this decides.

An acquire that finds a server its tenant can have as it is takes it at once (`lend_at_once`). All else goes through
`decide`: whoever's turn it is gets, in this order, an idle server as it is, another tenant's after a reset, a new one.
A server that is opened or reset because a tenant waits is reserved for that tenant; when it is no longer needed there
(the tenant got another, or its client left) it is *loose*: the next tenant in need is promised it before more is begun.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from mypy_extensions import i64

from proxy.errors import ProxyError
from proxy.observe.gauges import PoolSnapshot
from proxy.pool.backoff import Backoff
from proxy.pool.idle import IdleServers
from proxy.pool.limits import PoolKey, PoolLimits
from proxy.pool.ports import Waiter
from proxy.pool.slots import Slot, SlotState, TenantLine
from proxy.pool.waiters import WaitQueue
from proxy.server.ports import ServerPort

__all__ = ["Decision", "PoolCore", "PoolKey", "PoolLimits", "PoolSnapshot"]

MAX_OPENING: Final = 4
"""Logins of one pool under way at a time: PostgreSQL forks for each, and a burst is often over before the fifth."""


class Grant:
    """Hand the server to the client; it is lent from now on."""

    __slots__ = ("server", "waiter")

    def __init__(self, waiter: Waiter, server: ServerPort) -> None:
        self.waiter = waiter
        self.server = server


class Reset:
    """Reset the server."""

    __slots__ = ("slot",)

    def __init__(self, slot: Slot) -> None:
        self.slot = slot


class Open:
    """Open a server for the slot."""

    __slots__ = ("slot",)

    def __init__(self, slot: Slot) -> None:
        self.slot = slot


class NeedRoom:
    """The pool might open a server, but its cluster's budget is used up."""

    __slots__ = ()


class RefuseAll:
    """Nobody who waits can be served: there is no server, and none can be opened."""

    __slots__ = ("error",)

    def __init__(self, error: ProxyError) -> None:
        self.error = error


class Later:
    """Decide again outside `acquire`: a client that waits longer is to be called."""

    __slots__ = ()


Decision = Grant | Reset | Open | NeedRoom | RefuseAll | Later


class PoolCore:
    """The books of one pool."""

    __slots__ = (
        "_loose",
        "_random",
        "_ready",
        "backoff",
        "has_room",
        "idle",
        "is_draining",
        "is_warming",
        "limits",
        "opening",
        "queue",
        "size",
        "slots",
    )

    def __init__(self, limits: PoolLimits, has_room: Callable[[], bool], random: Callable[[], float]) -> None:
        self.limits = limits
        self.has_room = has_room  # in the cluster, for one server more
        self.backoff = Backoff(random)
        self.queue = WaitQueue()
        self.slots: dict[ServerPort, Slot] = {}
        self.idle = IdleServers(self.slots)
        self.opening: dict[Slot, None] = {}
        self.size: i64 = 0  # servers of the pool, those being opened included
        self.is_draining = False
        self.is_warming = False  # somebody wants the pool to have opened a server, not to use one
        self._loose: dict[Slot, None] = {}
        self._ready: deque[Slot] = deque()
        self._random = random

    def is_busy(self) -> bool:
        """Do clients hold or await servers?"""
        return len(self.slots) > self.idle.count or self.queue.waiting > 0

    def hopeless(self, now: float) -> ProxyError | None:
        """The error that kept the last server from opening, while there is none and none is tried."""
        return None if self.size else self.backoff.blocking_error(now)

    # --- lending and waiting

    def lend_at_once(self, tenant: str, limit: int) -> ServerPort | None:
        """Lend a server the tenant can have as it is, unless the tenant is at its limit or has clients waiting."""
        line = self.queue.line(tenant)
        line.limit = limit
        if len(line.queue) or (limit and line.used >= limit):
            return None
        slot = self.idle.take_for(line)
        return None if slot is None else self._lend(slot, line)

    def leave(self, waiter: Waiter) -> bool:
        """Take a client out of the queue; False if it was not there."""
        ticket = self.queue.leave(waiter)
        if ticket is None:
            return False
        self._loosen(ticket.line)
        return True

    def decide(self, now: float, *, may_grant: bool) -> Decision | None:
        """The next thing to do, already in the books; None = nothing until something happens.

        `may_grant` is False inside `acquire`, where nobody may be called: what would call somebody is `Later` then.
        """
        if self.queue.waiting and (error := self.hopeless(now)) is not None:
            return RefuseAll(error) if may_grant else Later()
        if self._ready:
            if not may_grant:
                return Later()
            if (grant := self._place_ready(now)) is not None:
                return grant
        return self._serve_next(now, may_grant=may_grant) if self.queue.waiting else self._open_to_warm(now)

    def _place_ready(self, now: float) -> Grant | None:
        while self._ready:
            slot = self._ready.popleft()
            line = slot.reserved_for
            self._unreserve(slot)
            if line is not None and line.can_be_served():
                return self._grant(slot, line)
            self._shelve(slot, now)
        return None

    def _serve_next(self, now: float, *, may_grant: bool) -> Decision | None:
        if not (self.idle.count or self._loose or self._can_open(now)) or not self._can_help():
            return None
        for _ in range(len(self.queue.ring)):
            line = self.queue.next_in_turn()
            if line is None:
                return None
            if self.idle.suits(line):
                return self._grant_idle(line) if may_grant else Later()
            while self._loose and line.wants_more():
                self._reserve(self._loose.popitem()[0], line)
            if line.wants_more():
                decision = self._prepare(line, now)
                if decision is None or isinstance(decision, NeedRoom):
                    return decision  # the line keeps its turn
                self.queue.end_turn()
                return decision
            self.queue.end_turn()
        return None

    def _can_help(self) -> bool:
        """Is there a line that an idle server suits, or for which not enough is being prepared?

        Mostly not: servers are on their way to all who wait. To let all lines have their turns for nothing takes long.
        """
        return any(line.can_be_served() and (self.idle.suits(line) or line.wants_more()) for line in self.queue.ring)

    def _prepare(self, line: TenantLine, now: float) -> Reset | Open | NeedRoom | None:
        slot = self.idle.take_used()
        if slot is not None:
            slot.state = SlotState.RESETTING
            self._reserve(slot, line)
            return Reset(slot)
        if not self._can_open(now):
            return None
        if not self.has_room():
            return NeedRoom()
        slot = self.open_slot()
        self._reserve(slot, line)
        return Open(slot)

    def _open_to_warm(self, now: float) -> Open | NeedRoom | None:
        if not self.is_warming or self.size or not self._can_open(now):
            return None
        return Open(self.open_slot()) if self.has_room() else NeedRoom()

    # --- servers coming and going

    def open_slot(self) -> Slot:
        """Note that a server is being opened; it is loose."""
        slot = Slot(lifetime_share=1.0 - self.limits.lifetime_jitter * self._random())
        self.opening[slot] = None
        self.size += 1
        self._loose[slot] = None
        return slot

    def opened(self, slot: Slot, server: ServerPort, now: float) -> None:
        """The server is logged in."""
        del self.opening[slot]
        slot.server, slot.opened_at = server, now
        self.slots[server] = slot
        server.place = slot
        self._set_ready(slot)

    def returned(self, slot: Slot, now: float) -> None:
        """The client gave the server back, and it may be lent again as it is."""
        self._uncharge(slot)
        self._shelve(slot, now)

    def returned_tainted(self, slot: Slot) -> None:
        """The client gave the server back, and it is being reset; till then it counts as its tenant's."""
        slot.state = SlotState.RESETTING
        self._loose[slot] = None

    def was_reset(self, slot: Slot, level: int) -> None:
        """The reset is confirmed: nothing of any tenant is on it, but a reset of level 1 keeps plans."""
        self._uncharge(slot)
        slot.is_clean = True
        if level > 1:
            slot.home = None
        if slot.server is not None:
            slot.server.tenant_id, slot.server.taint = None, 0
        self._set_ready(slot)

    def reason_to_close(self, slot: Slot, now: float) -> str | None:
        """Why a usable server is not to be lent again."""
        limits = self.limits
        if limits.lifetime_s and now - slot.opened_at >= limits.lifetime_s * slot.lifetime_share:
            return "lifetime"
        if self.size > limits.size:
            return "pool over size"
        return "draining" if self.is_draining else None

    def remove(self, slot: Slot) -> bool:
        """Forget a server, whatever it is doing; False if it is forgotten already."""
        if slot.state == SlotState.CLOSED:
            return False
        if slot.state == SlotState.IDLE:
            self.idle.remove(slot)
        elif slot.state == SlotState.READY:
            self._ready.remove(slot)
        slot.state = SlotState.CLOSED
        self.size -= 1
        self._uncharge(slot)
        self._unreserve(slot)
        if slot.server is None:
            del self.opening[slot]
        else:
            del self.slots[slot.server]
            slot.server.place = None
        return True

    # --- maintenance

    def outdated(self, now: float) -> Iterator[tuple[Slot, str]]:
        """Idle servers to close, the coldest first, each with the reason; close one before asking for the next."""
        limits = self.limits
        for slot in sorted(self.idle, key=lambda slot: slot.idle_since):
            reason = self.reason_to_close(slot, now)
            if reason is not None:
                yield slot, reason
            elif (
                limits.idle_timeout_s and now - slot.idle_since >= limits.idle_timeout_s and self.size > limits.min_size
            ):
                yield slot, "idle timeout"

    def lacks_spare(self, now: float) -> bool:
        """Is the pool below its min_size, and may it open a server?"""
        return self.size < self.limits.min_size and self._can_open(now) and self.has_room()

    def configure(self, limits: PoolLimits) -> None:
        """Take over new settings."""
        self.limits = limits
        self.idle.sort_again(is_trusted=limits.trusted)
        self.queue.tidy()

    def next_event(self, now: float) -> float | None:
        """When something falls due for those who wait; None = nothing does."""
        if not self.queue.waiting:
            return None
        timed, unnotified = self.queue.oldest_timed(), self.queue.oldest_unnotified()
        due = []
        if self.limits.wait_timeout_s and timed is not None:
            due.append(timed.arrived + self.limits.wait_timeout_s)
        if self.limits.query_wait_notify_s and unnotified is not None:
            due.append(unnotified.arrived + self.limits.query_wait_notify_s)
        if not self.backoff.may_try(now):
            due.append(self.backoff.retry_at)
        return min(due, default=None)

    # --- bookkeeping

    def _can_open(self, now: float) -> bool:
        # While PostgreSQL fails, one attempt at a time: more would only add to its trouble.
        at_once = 1 if self.backoff.is_failing else MAX_OPENING
        return (
            self.size < self.limits.size
            and len(self.opening) < at_once
            and self.backoff.may_try(now)
            and not self.is_draining
        )

    def _grant_idle(self, line: TenantLine) -> Grant:
        slot = self.idle.take_for(line)
        assert slot is not None
        self.queue.end_turn()
        return self._grant(slot, line)

    def _grant(self, slot: Slot, line: TenantLine) -> Grant:
        waiter = line.head.waiter
        self.queue.leave(waiter)
        server = self._lend(slot, line)
        self._loosen(line)
        return Grant(waiter, server)

    def _lend(self, slot: Slot, line: TenantLine) -> ServerPort:
        server = slot.server
        assert server is not None
        server.tenant_id = line.tenant
        slot.state = SlotState.LENT
        slot.is_clean = False
        slot.home = slot.charged_to = line
        line.used += 1
        return server

    def _shelve(self, slot: Slot, now: float) -> None:
        slot.idle_since = now
        self.idle.push(slot, is_trusted=self.limits.trusted)

    def _set_ready(self, slot: Slot) -> None:
        slot.state = SlotState.READY
        self._loose.pop(slot, None)
        self._ready.append(slot)

    def _reserve(self, slot: Slot, line: TenantLine) -> None:
        self._loose.pop(slot, None)
        if slot.charged_to is line:
            self._uncharge(slot)  # it counts as coming now
        slot.reserved_for = line
        line.coming.append(slot)

    def _unreserve(self, slot: Slot) -> None:
        self._loose.pop(slot, None)
        if slot.reserved_for is not None:
            slot.reserved_for.coming.remove(slot)
            slot.reserved_for = None

    def _loosen(self, line: TenantLine) -> None:
        while (slot := line.surplus()) is not None:
            slot.reserved_for = None
            if slot.state != SlotState.READY:
                self._loose[slot] = None

    def _uncharge(self, slot: Slot) -> None:
        line = slot.charged_to
        if line is not None:
            slot.charged_to = None
            line.used -= 1
            if len(line.queue):
                self.queue.step_in(line)
