"""What the pool's books hold: a slot for each server, a line for each tenant, a ticket for each waiting client.

Data that answers questions about itself. What happens next is decided in `core.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mypy_extensions import i64

from proxy.pool.ports import Waiter
from proxy.server.ports import ServerPort


class SlotState:
    """What a slot's server is doing."""

    OPENING: Final = 0
    READY: Final = 1  # opened or reset, and not yet lent or put among the idle ones
    IDLE: Final = 2
    LENT: Final = 3
    RESETTING: Final = 4
    CLOSED: Final = 5


class Slot:
    """One server of the pool, from the decision to open it until it is closed."""

    __slots__ = (
        "charged_to",
        "home",
        "idle_order",
        "idle_since",
        "is_clean",
        "is_for_anyone",
        "lifetime_share",
        "opened_at",
        "reserved_for",
        "reset_serial",
        "server",
        "state",
    )

    def __init__(self, lifetime_share: float) -> None:
        self.server: ServerPort | None = None
        self.state: i64 = SlotState.OPENING
        self.opened_at = 0.0
        self.lifetime_share = lifetime_share  # of the configured lifetime: the jitter, drawn once
        self.idle_since = 0.0
        self.idle_order: i64 = 0  # grows with each return of any server
        self.is_clean = True  # nothing of any tenant is on it
        self.home: TenantLine | None = None  # whose plans are warm on it
        self.charged_to: TenantLine | None = None  # whose limit it counts against: lent, or reset after use
        self.reserved_for: TenantLine | None = None  # who asked for the opening or reset under way
        self.is_for_anyone = True  # while idle: any tenant may have it as it is
        self.reset_serial = 0


class Stack:
    """Servers, the last one in first; `count` of them.

    It keeps the room that it has had: servers come and go with every transaction, and a list gives its room back and
    asks for it again.
    """

    __slots__ = ("_slots", "count")

    def __init__(self) -> None:
        self._slots: list[Slot | None] = []
        self.count: i64 = 0

    def push(self, slot: Slot) -> None:
        """Put one on top."""
        if self.count == len(self._slots):
            self._slots.append(slot)
        else:
            self._slots[self.count] = slot
        self.count += 1

    def pop(self) -> Slot:
        """Take the one on top; there must be one."""
        slot = self._slots[self.count - 1]
        assert slot is not None
        self.count -= 1
        self._slots[self.count] = None
        return slot

    def take_out(self, slot: Slot) -> None:
        """Take one that is there from where it is. The newest are looked at first: they are taken most."""
        position = self.count - 1
        above: Slot | None = None
        while (here := self._slots[position]) is not slot:
            self._slots[position] = above
            above = here
            position -= 1
        self._slots[position] = above
        self.count -= 1


class Ticket:
    """One client's place in the queue."""

    __slots__ = ("arrived", "line", "waiter")

    def __init__(self, waiter: Waiter, line: TenantLine, arrived: float) -> None:
        self.waiter = waiter
        self.line = line
        self.arrived = arrived


class TenantLine:
    """One tenant in one pool: who waits, what it uses, what is being prepared for it, what idles warm."""

    __slots__ = ("coming", "idle", "is_in_ring", "limit", "queue", "tenant", "used")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.queue: OrderedDict[Waiter, Ticket] = OrderedDict()
        self.limit: i64 = 0  # servers it may use at a time, as its last client to ask stated; 0 = any number
        self.used: i64 = 0  # servers lent to it, or being reset after its use
        self.coming: list[Slot] = []  # servers being opened or reset because it waits
        self.idle = Stack()  # idle servers that last worked for it, in order of return
        self.is_in_ring = False

    @property
    def head(self) -> Ticket:
        """Who has waited longest; the queue must not be empty."""
        return next(iter(self.queue.values()))

    def can_be_served(self) -> bool:
        """Is there a waiter who may get a server now?"""
        return bool(self.queue) and (not self.limit or self.used < self.limit)

    def wants_more(self) -> bool:
        """Is there a waiter for whom nothing is being prepared, though the tenant's limit allows it?"""
        prepared = len(self.coming)
        return len(self.queue) > prepared and (not self.limit or self.used + prepared < self.limit)

    def surplus(self) -> Slot | None:
        """Take back one server that is prepared for more waiters than the tenant has, or may have served."""
        if not self.coming:
            return None
        prepared = len(self.coming)
        is_needed = prepared <= len(self.queue) and (not self.limit or self.used + prepared <= self.limit)
        return None if is_needed else self.coming.pop()

    def is_deserted(self) -> bool:
        """May the line be forgotten?"""
        return not (self.queue or self.used or self.coming or self.idle.count or self.is_in_ring)
