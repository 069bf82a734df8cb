"""Share a cluster's connections among its pools.

`max_connections` counts the servers of all pools of a cluster. When it is used up, a pool whose clients wait takes the
place of the longest-idle server of another pool; where none is idle, pools that hold more than their fair share give
back what is released to them. A pool that has its share takes only what has been idle for a while: opening a server
costs more than a short wait for one's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

EVICT_AFTER_S: Final = 1.0
"""How long a server must be idle before a pool that has its fair share may take its place."""

STARVED_AFTER_S: Final = 1.0
"""How long clients of a pool without any server wait before even a pool within its share gives one up."""


class Member(Protocol):
    """A pool, as its cluster's budget sees it."""

    @property
    def size(self) -> int:
        """Servers it has or is opening."""
        ...

    def is_busy(self) -> bool:
        """Has it clients that hold or await a server?"""
        ...

    def starved_s(self, now: float) -> float | None:
        """How long its first client has waited, but not since before it lost a server; None = nobody waits."""
        ...

    def coldest_since(self) -> float | None:
        """Since when its coldest idle server is idle; None = none is."""
        ...

    def give_up_coldest(self) -> None:
        """Close that server."""
        ...

    def look_again(self) -> None:
        """There may be room now."""
        ...


class ClusterBudget:
    """The servers of one cluster, and the pools that want more of them.

    `defer` runs a callback soon, outside the present call.
    """

    __slots__ = ("_defer", "_holders", "_is_waking", "_starving", "max_connections", "used")

    def __init__(self, max_connections: int, defer: Callable[[Callable[[], None]], None]) -> None:
        self.max_connections = max_connections  # 0 = no limit
        self.used = 0
        self._defer = defer
        self._holders: dict[Member, None] = {}  # pools with servers: at most max_connections of them
        self._starving: dict[Member, None] = {}  # pools that found no room, in that order
        self._is_waking = False

    def has_room_for(self, member: Member, now: float) -> bool:
        """May the pool open a server? Not one that another pool has a better claim to."""
        return not self.max_connections or (
            self.used < self.max_connections and not self._is_outclaimed(member, member.size, now)
        )

    def is_over(self) -> bool:
        """Are there more servers than allowed, after a reload?"""
        return 0 < self.max_connections < self.used

    def is_starving(self, member: Member) -> bool:
        """Did this pool find no room, and nothing has changed since?"""
        return member in self._starving

    def added(self, member: Member) -> None:
        """The pool begins to open a server."""
        self.used += 1
        self._holders[member] = None

    def removed(self, member: Member) -> None:
        """A server of the pool is closed."""
        self.used -= 1
        if not member.size:
            self._holders.pop(member, None)
        if self._starving:
            self.wake_soon()

    def make_room(self, member: Member, now: float) -> bool:
        """Close another pool's idle server in favour of this one; if that can not be, remember that it wants room."""
        victim = self._coldest(besides=member) if self.used >= self.max_connections else None
        since = victim.coldest_since() if victim is not None else None
        is_entitled = since is not None and (now - since >= EVICT_AFTER_S or member.size < self._fair_share(member))
        if victim is not None and is_entitled:
            victim.give_up_coldest()
            return self.has_room_for(member, now) or self.is_over()
        self._starving[member] = None
        return False

    def content(self, member: Member) -> None:
        """The pool wants no room any more."""
        self._starving.pop(member, None)

    @property
    def is_tight(self) -> bool:
        """Might a pool have to give back what is released to it?"""
        return len(self._starving) > 0 or self.is_over()

    def must_give_back(self, member: Member, now: float) -> bool:
        """Shall the pool close the server it just got back, for another pool that waits?"""
        if not self._starving or self.used < self.max_connections:
            return self.is_over()
        return self.is_over() or self._is_outclaimed(member, member.size - 1, now)

    def has_idle(self, member: Member) -> None:
        """The pool has an idle server: a pool below its share may take its place."""
        share = self._fair_share(member)
        if any(other is not member and other.size < share for other in self._starving):
            self.wake_soon()

    @property
    def has_starving(self) -> bool:
        """Does any pool want room?"""
        return bool(self._starving)

    def wake_soon(self) -> None:
        """Let the pools that want room look again."""
        if self._starving and not self._is_waking:
            self._is_waking = True
            self._defer(self._wake)

    def shrink(self) -> None:
        """Close idle servers, the coldest first, until the cluster is within `max_connections` again."""
        while self.is_over() and (member := self._coldest()) is not None:
            member.give_up_coldest()

    def _wake(self) -> None:
        self._is_waking = False
        # The poorest first; who finds no room again goes to the end.
        for member in sorted(self._starving, key=lambda member: member.size):
            self._starving.pop(member, None)
            member.look_again()

    def _is_outclaimed(self, member: Member, size: int, now: float) -> bool:
        """Has another pool a better claim to a connection than this one, which has `size` without it?"""
        if not self._starving:
            return False
        share = self._fair_share(member)
        own_s = 0.0 if member.size else member.starved_s(now) or 0.0
        for other in self._starving:
            starved_s = other.starved_s(now)
            if other is member or starved_s is None:
                continue
            is_out_of_turn = not other.size and starved_s >= STARVED_AFTER_S and starved_s > own_s
            if is_out_of_turn or other.size < share <= size:
                return True
        return False

    def _fair_share(self, member: Member) -> int:
        busy = {holder for holder in self._holders if holder.is_busy()} | self._starving.keys() | {member}
        return max(1, self.max_connections // len(busy))

    def _coldest(self, besides: Member | None = None) -> Member | None:
        coldest: Member | None = None
        coldest_since = 0.0
        for holder in self._holders:
            since = holder.coldest_since() if holder is not besides else None
            if since is not None and (coldest is None or since < coldest_since):
                coldest, coldest_since = holder, since
        return coldest
