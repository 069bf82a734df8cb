"""The idle servers: which one suits a tenant best, and which is the coldest. Every answer takes constant time.

A server lies on one of two shelves: `clean` (anyone may have it) or `used` (a tenant's state may be on it: only that
tenant may have it as it is), and in its tenant's stack as well. All are dicts, which keep the order of return and let a
server be taken from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.pool.slots import Slot, SlotState, TenantLine


class IdleServers:
    """The idle servers of one pool."""

    __slots__ = ("_clean", "_used", "count")

    def __init__(self) -> None:
        self._clean: dict[Slot, None] = {}
        self._used: dict[Slot, None] = {}
        self.count = 0

    def __iter__(self) -> Iterator[Slot]:
        yield from self._used
        yield from self._clean

    def push(self, slot: Slot, *, is_trusted: bool) -> None:
        """Add the server that came back last; `is_trusted` = it may go to any tenant as it is."""
        slot.state = SlotState.IDLE
        slot.is_for_anyone = is_trusted or slot.is_clean
        self._shelf(slot)[slot] = None
        self.count += 1
        if slot.home is not None:
            slot.home.idle[slot] = None

    def suits(self, line: TenantLine) -> bool:
        """Is there a server the tenant can have as it is?"""
        return bool(line.idle or self._clean)

    def take_for(self, line: TenantLine) -> Slot | None:
        """Take the best server the tenant can have as it is: its own (plans are warm), else a clean one.

        Last in, first out: the warmest server first, so that the coldest ages out and the pool can shrink.
        """
        if line.idle:
            slot = line.idle.popitem()[0]
            del self._shelf(slot)[slot]
        elif self._clean:
            slot = self._clean.popitem()[0]
            if slot.home is not None:
                del slot.home.idle[slot]
        else:
            return None
        self.count -= 1
        return slot

    def take_used(self) -> Slot | None:
        """Take another tenant's server, to be reset: the one idle for longest, whose tenant misses it least."""
        slot = next(iter(self._used), None)
        if slot is not None:
            self.remove(slot)
        return slot

    def coldest(self) -> Slot | None:
        """The server idle for longest; it stays where it is."""
        used = next(iter(self._used), None)
        clean = next(iter(self._clean), None)
        if used is None or clean is None:
            return used or clean
        return used if used.idle_since <= clean.idle_since else clean

    def remove(self, slot: Slot) -> None:
        """Take out this server."""
        del self._shelf(slot)[slot]
        self.count -= 1
        if slot.home is not None:
            del slot.home.idle[slot]

    def sort_again(self, *, is_trusted: bool) -> None:
        """Put every server on the shelf it belongs to now that `is_trusted` may have changed."""
        slots = sorted(self, key=lambda slot: slot.idle_since)
        for slot in slots:
            self.remove(slot)
            self.push(slot, is_trusted=is_trusted)

    def _shelf(self, slot: Slot) -> dict[Slot, None]:
        return self._clean if slot.is_for_anyone else self._used
