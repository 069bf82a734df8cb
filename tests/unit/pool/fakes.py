"""A clock that is turned by hand, servers that do what the test says, and clients that remember what they were told.

They implement the pool's own Protocols; nothing here plays PostgreSQL.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.errors import ProxyError
from proxy.pool.budget import ClusterBudget
from proxy.pool.core import PoolKey, PoolLimits
from proxy.pool.pool import Pool
from proxy.pool.slots import Slot
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode


@dataclass(slots=True)
class FakeTimer:
    """A callback that is due."""

    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeClock:
    """`loop.time` and `loop.call_later`, moved by `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, int, FakeTimer]] = []
        self._serial = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._due, (self.now + delay, next(self._serial), timer))
        return timer

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass; what falls due on the way is called at its time."""
        until = self.now + seconds
        while self._due and self._due[0][0] <= until:
            at, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, at)
            if not timer.is_cancelled:
                timer.callback()
        self.now = until

    @property
    def is_due(self) -> bool:
        """Is something to be called now?"""
        return any(at <= self.now and not timer.is_cancelled for at, _, timer in self._due)

    @property
    def pending(self) -> int:
        """Callbacks that are still to come."""
        return sum(not timer.is_cancelled for _, _, timer in self._due)


class FakeServer(ServerPort):
    """A server whose reset the test completes, unless `resets_at_once` says how it ends."""

    def __init__(self, name: str = "server", *, resets_at_once: bool | None = None) -> None:
        self.name = name
        self.tenant_id = None
        self.taint = 0
        self.parameters = {b"server_version": b"18.4"}
        self.problem: str | None = None
        self.resets_at_once = resets_at_once
        self.reset_levels: list[int] = []
        self.reset_done: Callable[[bool], None] | None = None
        self.closed_because: str | None = None

    def unusable_because(self) -> str | None:
        return self.problem

    def reset(self, level: int, done: Callable[[bool], None]) -> None:
        assert self.closed_because is None
        assert self.reset_done is None
        self.reset_levels.append(level)
        self.reset_done = done
        if self.resets_at_once is not None:
            self.finish_reset(is_reset=self.resets_at_once)

    def finish_reset(self, *, is_reset: bool = True) -> None:
        done, self.reset_done = self.reset_done, None
        assert done is not None
        done(is_reset)

    def close(self, reason: str) -> None:
        if self.closed_because is None:
            self.closed_because = reason

    def __repr__(self) -> str:
        return self.name


@dataclass(eq=False, slots=True)
class FakeClient:
    """A client that notes what it is told. `on_granted` is what it does with a server."""

    tenant_id: str = "acme"
    max_servers: int = 0
    server: ServerPort | None = None
    error: ProxyError | None = None
    told_waiting_s: list[float] = field(default_factory=list)
    on_granted: Callable[[ServerPort], None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Has it been told nothing yet?"""
        return self.server is None and self.error is None

    def granted(self, server: ServerPort) -> None:
        assert self.server is None
        self.server = server
        if self.on_granted is not None:
            self.on_granted(server)

    def refused(self, error: ProxyError) -> None:
        assert self.error is None
        self.error = error

    def still_waiting(self, waited_s: float) -> None:
        self.told_waiting_s.append(waited_s)


class Cluster:
    """Pools of one cluster, with a clock; the test ends the openings."""

    def __init__(self, max_connections: int = 0) -> None:
        self.clock = FakeClock()
        self.budget = ClusterBudget(max_connections, lambda callback: void(self.clock.call_later(0.0, callback)))
        self.openings: list[tuple[Pool, Slot]] = []
        self.servers: list[FakeServer] = []
        self.emptied = 0

    def pool(
        self, limits: PoolLimits | None = None, database: str = "saas", mode: PoolMode = PoolMode.TRANSACTION
    ) -> Pool:
        """A new pool."""
        return Pool(
            PoolKey("main", database, "gatehouse", mode),
            limits or PoolLimits(),
            self.budget,
            now=self.clock.time,
            call_later=self.clock.call_later,
            random=lambda: 0.0,
            start_opening=lambda pool, slot: self.openings.append((pool, slot)),
            on_empty=self._count_emptied,
        )

    def open_next(self, *, resets_at_once: bool | None = None) -> FakeServer:
        """The oldest opening succeeds."""
        pool, slot = self.openings.pop(0)
        server = FakeServer(f"server{len(self.servers) + 1}", resets_at_once=resets_at_once)
        self.servers.append(server)
        pool.opened(slot, server)
        return server

    def fail_next(self, error: ProxyError) -> None:
        """The oldest opening fails."""
        pool, slot = self.openings.pop(0)
        pool.open_failed(slot, error)

    def open_all(self) -> None:
        """Every opening succeeds, those that follow too."""
        while self.openings:
            self.open_next()

    def tick(self) -> None:
        """What the manager does every second for this cluster."""
        self.budget.shrink()
        self.budget.wake_soon()
        self.clock.advance()

    def _count_emptied(self) -> None:
        self.emptied += 1


def lend(cluster: Cluster, pool: Pool, client: FakeClient) -> FakeServer:
    """Have the client get a server now, opening or resetting one if need be."""
    server = pool.acquire(client)
    if server is None:
        resetting = [each for each in cluster.servers if each.reset_done is not None]
        if resetting:
            resetting[0].finish_reset()
        else:
            cluster.open_next()
        server = client.server
    client.server = server
    assert isinstance(server, FakeServer)
    return server


def give_back(pool: Pool, client: FakeClient) -> None:
    """The client's transaction is over."""
    server, client.server = client.server, None
    assert server is not None
    pool.release(server)


def void(_: object) -> None:
    """Drop a result."""
