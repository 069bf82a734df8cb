"""The idle servers: which one suits a tenant best, and which is the coldest.

A server lies in its tenant's stack, and in the stack of clean ones if anyone may have it as it is. Coming and going, which
every transaction does, takes constant time and no dictionary; what is asked for seldom looks at all servers of the pool.
"""

from __future__ import annotations

from collections.abc import Iterator

from mypy_extensions import i64

from proxy.pool.slots import Slot, SlotState, Stack, TenantLine
from proxy.server.ports import ServerPort


class IdleServers:
    """The idle servers among `slots`, which are all of one pool."""

    __slots__ = ("_clean", "_returns", "_slots", "count")

    def __init__(self, slots: dict[ServerPort, Slot]) -> None:
        self._slots = slots
        self._clean = Stack()
        self._returns: i64 = 0
        self.count: i64 = 0

    def __iter__(self) -> Iterator[Slot]:
        return (slot for slot in self._slots.values() if slot.state == SlotState.IDLE)

    def push(self, slot: Slot, *, is_trusted: bool) -> None:
        """Add the server that came back last; `is_trusted` = it may go to any tenant as it is."""
        slot.state = SlotState.IDLE
        self._returns += 1
        slot.idle_order = self._returns
        self.count += 1
        if slot.home is not None:
            slot.home.idle.push(slot)
        slot.is_for_anyone = is_trusted or slot.is_clean
        if slot.is_for_anyone:
            self._clean.push(slot)

    def suits(self, line: TenantLine) -> bool:
        """Is there a server the tenant can have as it is?"""
        return line.idle.count > 0 or self._clean.count > 0

    def take_for(self, line: TenantLine) -> Slot | None:
        """Take the best server the tenant can have as it is: its own (plans are warm), else a clean one.

        Last in, first out: the warmest server first, so that the coldest ages out and the pool can shrink.
        """
        if line.idle.count:
            slot = line.idle.pop()
            if slot.is_for_anyone:
                self._clean.take_out(slot)
        elif self._clean.count:
            slot = self._clean.pop()
            if slot.home is not None:
                slot.home.idle.take_out(slot)
        else:
            return None
        self.count -= 1
        slot.state = SlotState.READY
        return slot

    def take_used(self) -> Slot | None:
        """Take another tenant's server, to be reset: the one idle for longest, whose tenant misses it least."""
        found: Slot | None = None
        for slot in self._slots.values():
            is_used = slot.state == SlotState.IDLE and not slot.is_for_anyone
            if is_used and (found is None or slot.idle_order < found.idle_order):
                found = slot
        if found is not None:
            self.remove(found)
            found.state = SlotState.READY
        return found

    def coldest(self) -> Slot | None:
        """The server idle for longest; it stays where it is."""
        return min(self, key=lambda slot: slot.idle_order, default=None)

    def remove(self, slot: Slot) -> None:
        """Take out this server; its state is the caller's to set."""
        self.count -= 1
        if slot.home is not None:
            slot.home.idle.take_out(slot)
        if slot.is_for_anyone:
            self._clean.take_out(slot)

    def sort_again(self, *, is_trusted: bool) -> None:
        """Put every server where it belongs now that `is_trusted` may have changed."""
        slots = sorted(self, key=lambda slot: slot.idle_order)
        for slot in slots:
            self.remove(slot)
            self.push(slot, is_trusted=is_trusted)
