"""Who waits, and whose turn it is: first come first served within a tenant, turn by turn between tenants.

So a tenant that floods the pool waits behind itself, and a quiet one waits for at most one turn of each other tenant.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from proxy.pool.ports import Waiter
from proxy.pool.slots import TenantLine, Ticket


class WaitQueue:
    """The waiting clients of one pool, by tenant and by age.

    The ring holds the lines whose turn may come. A line whose tenant is at its limit steps out, and comes back when one
    of its servers does. Clients that time their own wait are left out of `oldest_timed`.
    """

    __slots__ = ("_last", "_lines", "_notified", "_timed", "_unnotified", "ring", "waiting")

    def __init__(self) -> None:
        self._lines: dict[str, TenantLine] = {}
        self._last: TenantLine | None = None  # who was asked for last: often the next, too
        self._unnotified: OrderedDict[Waiter, Ticket] = OrderedDict()
        self._notified: OrderedDict[Waiter, Ticket] = OrderedDict()  # all older than the ones not notified
        self._timed: OrderedDict[Waiter, Ticket] = OrderedDict()
        self.ring: deque[TenantLine] = deque()
        self.waiting = 0

    def __iter__(self) -> Iterator[Waiter]:
        """Oldest first."""
        yield from self._notified
        yield from self._unnotified

    @property
    def has_lines(self) -> bool:
        """Is any tenant known?"""
        return bool(self._lines)

    @property
    def has_untimed(self) -> bool:
        """Does any client wait that times its own wait?"""
        return len(self._timed) < self.waiting

    def line(self, tenant: str) -> TenantLine:
        """The tenant's line, made when it is not there."""
        last = self._last
        if last is not None and (last.tenant is tenant or last.tenant == tenant):
            return last
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = TenantLine(tenant)
        self._last = line
        return line

    def join(self, waiter: Waiter, now: float, *, is_timed: bool = True) -> None:
        """Add a client at the end of its tenant's line; `is_timed`: the pool's limit on waiting holds for it."""
        assert waiter not in self._unnotified, "a client waits once"
        assert waiter not in self._notified, "a client waits once"
        line = self.line(waiter.tenant_id)
        line.queue[waiter] = self._unnotified[waiter] = ticket = Ticket(waiter, line, now)
        if is_timed:
            self._timed[waiter] = ticket
        self.waiting += 1
        self.step_in(line)

    def leave(self, waiter: Waiter) -> Ticket | None:
        """Take a client out, wherever it stands; None if it does not wait."""
        ticket = self._unnotified.pop(waiter, None) or self._notified.pop(waiter, None)
        if ticket is not None:
            del ticket.line.queue[waiter]
            self._timed.pop(waiter, None)
            self.waiting -= 1
        return ticket

    def step_in(self, line: TenantLine) -> None:
        """Give the line a turn again, after all others that wait for theirs."""
        if line.queue and not line.is_in_ring:
            line.is_in_ring = True
            self.ring.append(line)

    def next_in_turn(self) -> TenantLine | None:
        """The line whose turn it is; lines that can not be served step out on the way."""
        while self.ring:
            line = self.ring[0]
            if line.can_be_served():
                return line
            self.ring.popleft()
            line.is_in_ring = False
        return None

    def end_turn(self) -> None:
        """The first line goes to the end."""
        self.ring.rotate(-1)

    def oldest(self) -> Ticket | None:
        """Who has waited longest of all."""
        queue = self._notified or self._unnotified
        return next(iter(queue.values()), None)

    def oldest_timed(self) -> Ticket | None:
        """Who has waited longest of those that the pool's limit holds for."""
        return next(iter(self._timed.values()), None)

    def find(self, waiter: Waiter) -> Ticket | None:
        """The client's place; None if it does not wait."""
        return self._unnotified.get(waiter) or self._notified.get(waiter)

    def oldest_unnotified(self) -> Ticket | None:
        """Who has waited longest without having been told."""
        return next(iter(self._unnotified.values()), None)

    def mark_notified(self, ticket: Ticket) -> None:
        """The oldest ticket that was not notified is now."""
        self._notified[ticket.waiter] = self._unnotified.pop(ticket.waiter)

    def tidy(self) -> None:
        """Give every waiting line a turn again (limits may have changed) and forget tenants that left no trace."""
        self._last = None
        self.ring = deque(line for line in self.ring if line.queue)
        for line in list(self._lines.values()):
            if not line.queue:
                line.is_in_ring = False
            else:
                line.limit = line.head.waiter.max_servers
            self.step_in(line)
            if line.is_deserted():
                del self._lines[line.tenant]
