"""Random interleavings of everything that can happen to two pools of one cluster, and what must hold whatever happens.

Never two owners; never above size, tenant limit or budget; nobody is lost; nothing of one tenant reaches another.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.errors import ServerUnreachable
from proxy.pool.core import PoolLimits
from proxy.pool.pool import Pool
from proxy.pool.slots import Slot, SlotState
from proxy.server.ports import ServerPort
from tests.unit.pool.fakes import Cluster, FakeClient, FakeServer

LIMITS = {"hot": 0, "two": 2, "one": 1}

requests = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(sorted(LIMITS)),
        st.sampled_from(["keep", "keep", "keep", "release", "again", "more", "forget"]),
    ),
    min_size=1,
    max_size=4,
)
taints = st.sampled_from([0, 0, 0, 1, 2])


@dataclass(eq=False, slots=True)
class Session(FakeClient):
    """A client in the model: what it asked for, and what it does when it gets a server."""

    pool: Pool | None = None
    is_forgotten: bool = False
    plan: str = "keep"


class TrackedServer(FakeServer):
    """A server that knows who has it and whose state is on it."""

    owner: Session | None = None
    stained_by: str | None = None

    def finish_reset(self, *, is_reset: bool = True) -> None:
        self.stained_by = None if is_reset else self.stained_by
        FakeServer.finish_reset(self, is_reset=is_reset)

    def close(self, reason: str) -> None:
        self.reset_done = None
        FakeServer.close(self, reason)


class Interleavings(RuleBasedStateMachine):
    """Two pools, three tenants, and anything may happen next."""

    @initialize(
        budget=st.sampled_from([0, 2, 3]),
        size=st.integers(1, 3),
        trusted=st.booleans(),
        min_size=st.integers(0, 1),
    )
    def build(self, budget: int, size: int, trusted: bool, min_size: int) -> None:
        self.cluster = Cluster(budget)
        self.limits = PoolLimits(
            size=size, trusted=trusted, min_size=min_size, wait_timeout_s=15, idle_timeout_s=10, lifetime_s=60
        )
        self.pools = [self.cluster.pool(self.limits, database) for database in ("saas", "initech")]
        for pool in self.pools:
            pool._start_opening = self.start_opening
        self.clients: list[Session] = []
        self.acquiring = 0

    # --- what the pools ask for

    def start_opening(self, pool: Pool, slot: Slot) -> None:
        assert pool.size <= pool.limits.size
        assert self.cluster.budget.used <= (self.cluster.budget.max_connections or 99)
        self.cluster.openings.append((pool, slot))

    def take(self, client: Session, server: ServerPort) -> None:
        assert isinstance(server, TrackedServer)
        assert client.pool is not None
        assert server.owner is None
        assert server.closed_because is None
        assert server.reset_done is None
        assert not client.is_forgotten
        if server.stained_by not in (None, client.tenant_id):
            assert client.pool.limits.trusted
        assert server.taint == 0
        server.owner, server.stained_by = client, client.tenant_id
        client.server = server
        limit = LIMITS[client.tenant_id]
        held = sum(each.tenant_id == client.tenant_id and each.pool is client.pool for each in self.holders())
        assert not limit or held <= limit

    def on_granted(self, client: Session, server: ServerPort) -> None:
        assert not self.acquiring
        self.take(client, server)
        if client.plan == "release":
            self.give_back(client, 0)
        elif client.plan == "again":
            self.give_back(client, 0)
            self.ask(client.pool, client.tenant_id, "keep")
        elif client.plan == "more":
            self.ask(client.pool, "hot", "release")
        elif client.plan == "forget" and (others := self.waiting()):
            self.forget(others[0])

    # --- what clients do

    def ask(self, pool: Pool | None, tenant: str, plan: str) -> None:
        assert pool is not None
        client = Session(tenant, LIMITS[tenant], pool=pool, plan=plan)
        client.on_granted = lambda server: self.on_granted(client, server)
        self.clients.append(client)
        self.acquiring += 1
        server = pool.acquire(client)
        self.acquiring -= 1
        if server is not None:
            assert client.is_waiting
            self.take(client, server)

    def give_back(self, client: Session, taint: int, problem: str | None = None) -> None:
        server = client.server
        assert isinstance(server, TrackedServer)
        assert client.pool is not None
        self.clients.remove(client)
        server.owner = None
        server.taint, server.problem = taint, problem
        client.pool.release(server)

    def forget(self, client: Session) -> None:
        assert client.pool is not None
        client.is_forgotten = True
        self.clients.remove(client)
        client.pool.forget(client)

    def holders(self) -> list[Session]:
        return [client for client in self.clients if client.server is not None]

    def waiting(self) -> list[Session]:
        return [client for client in self.clients if client.is_waiting]

    def servers(self) -> list[TrackedServer]:
        servers = [server for pool in self.pools for server in pool._core.slots]
        return [server for server in servers if isinstance(server, TrackedServer)]

    def resetting(self) -> list[TrackedServer]:
        return [server for server in self.servers() if server.reset_done is not None]

    # --- rules

    @rule(requests=requests)
    def acquire(self, requests: list[tuple[int, str, str]]) -> None:
        for pool, tenant, plan in requests:
            self.ask(self.pools[pool], tenant, plan)

    @precondition(lambda self: self.holders())
    @rule(taints=st.lists(taints, min_size=1, max_size=3))
    def some_return(self, taints: list[int]) -> None:
        for client, taint in zip(self.holders(), taints, strict=False):
            self.give_back(client, taint)

    @precondition(lambda self: self.holders())
    @rule(data=st.data(), taint=taints, problem=st.sampled_from([None, None, None, "not idle"]))
    def release(self, data: st.DataObject, taint: int, problem: str | None) -> None:
        self.give_back(data.draw(st.sampled_from(self.holders())), taint, problem)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.forget(data.draw(st.sampled_from(self.waiting())))

    @precondition(lambda self: self.servers())
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        server = data.draw(st.sampled_from(self.servers()))
        if server.owner is not None:
            self.clients.remove(server.owner)
            server.owner = None
        for pool in self.pools:
            pool.discard(server, "server lost")

    @precondition(lambda self: self.resetting())
    @rule(data=st.data(), is_reset=st.sampled_from([True, True, False]))
    def end_reset(self, data: st.DataObject, is_reset: bool) -> None:
        data.draw(st.sampled_from(self.resetting())).finish_reset(is_reset=is_reset)

    @precondition(lambda self: self.cluster.openings)
    @rule(
        data=st.data(),
        resets_at_once=st.sampled_from([None, None, True, False]),
        is_opened=st.sampled_from([True, True, False]),
    )
    def end_opening(self, data: st.DataObject, resets_at_once: bool | None, is_opened: bool) -> None:
        opening = data.draw(st.sampled_from(self.cluster.openings))
        self.cluster.openings.remove(opening)
        pool, slot = opening
        if is_opened:
            pool.opened(slot, TrackedServer(resets_at_once=resets_at_once))
        else:
            pool.open_failed(slot, ServerUnreachable("could not connect"))

    @rule()
    def go_on(self) -> None:
        """All that is under way succeeds."""
        for pool, slot in self.take_openings():
            pool.opened(slot, TrackedServer())
        for server in self.resetting():
            if server.reset_done is not None:
                server.finish_reset()
        self.cluster.clock.advance()

    def take_openings(self) -> list[tuple[Pool, Slot]]:
        openings = list(self.cluster.openings)
        self.cluster.openings.clear()
        return openings

    @rule(seconds=st.sampled_from([0, 0, 0.5, 0.5, 2, 20]))
    def wait(self, seconds: float) -> None:
        self.cluster.clock.advance(seconds)
        self.clients = [client for client in self.clients if client.error is None]

    @rule()
    def tick(self) -> None:
        for pool in self.pools:
            pool.maintain()
        self.cluster.tick()

    @rule(size=st.integers(1, 3), trusted=st.booleans(), budget=st.sampled_from([0, 2, 3]))
    def reload(self, size: int, trusted: bool, budget: int) -> None:
        if self.cluster.budget.max_connections:
            self.cluster.budget.max_connections = budget
        for pool in self.pools:
            pool.configure(PoolLimits(size=size, trusted=trusted, lifetime_s=60, idle_timeout_s=10))

    # --- what must hold

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "pools"):
            return
        assert self.cluster.budget.used == sum(pool.size for pool in self.pools)
        for pool in self.pools:
            core = pool._core
            states = [slot.state for slot in core.slots.values()]
            assert states.count(SlotState.IDLE) == core.idle.count == len(list(core.idle))
            lines = core.queue._lines.values()
            lent = {server.owner for server in core.slots if isinstance(server, TrackedServer)} - {None}
            assert lent == {client for client in self.holders() if client.pool is pool}
            assert set(core.queue) <= {client for client in self.clients if client.pool is pool}
            assert sum(len(line.queue) for line in lines) == core.queue.waiting
            assert all(len(line.coming) <= len(line.queue) for line in lines)

    @invariant()
    def nobody_waits_while_a_server_is_free(self) -> None:
        if not hasattr(self, "pools") or self.cluster.clock.is_due:
            return
        for pool in self.pools:
            core = pool._core
            wanting = [line for line in core.queue._lines.values() if line.queue and line.wants_more()]
            assert not (wanting and core.idle.count), "an idle server was not offered"

    @invariant()
    def every_waiting_client_is_known(self) -> None:
        if not hasattr(self, "pools"):
            return
        known = {client for pool in self.pools for client in [*pool._core.queue, *pool._patience.refusals]}
        assert set(self.waiting()) <= known

    def teardown(self) -> None:
        """When PostgreSQL and the clients behave again, everybody who waits is served."""
        if not hasattr(self, "pools"):
            return
        for _ in range(300):
            self.cluster.clock.advance(0.01)
            self.clients = [client for client in self.clients if client.error is None]
            for pool, slot in self.cluster.openings[:1]:
                del self.cluster.openings[0]
                pool.opened(slot, TrackedServer())
            for server in self.resetting()[:1]:
                server.finish_reset()
            for client in self.holders()[:1]:
                self.give_back(client, 0)
            if not self.clients:
                return
        raise AssertionError(f"still there: {self.clients}")


Interleavings.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestInterleavings = Interleavings.TestCase
