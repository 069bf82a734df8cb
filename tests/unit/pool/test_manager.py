"""All pools together: opening servers, the first baseline, reload and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.errors import PoolTimeout, ServerUnreachable, ShuttingDown
from proxy.pool.core import PoolKey, PoolLimits
from proxy.pool.manager import PoolManager
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode
from tests.unit.pool.fakes import FakeClient, FakeClock, FakeServer

KEY = PoolKey("main", "saas", "gatehouse")


class Bench:
    """A manager whose servers open when the test says so."""

    def __init__(self, limits: Callable[[PoolKey], PoolLimits] = lambda _: PoolLimits()) -> None:
        self.clock = FakeClock()
        self.attempts: list[asyncio.Future[ServerPort]] = []
        self.manager = PoolManager(self.open, self.clock.time, self.clock.call_later, limits, random=lambda: 0.0)

    async def open(self, key: PoolKey) -> ServerPort:
        attempt: asyncio.Future[ServerPort] = asyncio.get_running_loop().create_future()
        self.attempts.append(attempt)
        return await attempt

    async def run(self, seconds: float = 0.0) -> None:
        """Let tasks and timers that are due run."""
        for _ in range(5):
            await asyncio.sleep(0)
            self.clock.advance()
        self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)
            self.clock.advance()

    async def opened(self, attempt: int = -1) -> FakeServer:
        """The attempt succeeds."""
        await self.run()
        server = FakeServer()
        self.attempts[attempt].set_result(server)
        await self.run()
        return server

    async def failed(self, error: Exception, attempt: int = -1) -> None:
        """The attempt fails."""
        await self.run()
        self.attempts[attempt].set_exception(error)
        await self.run()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_login_has_one_pool_for_ever(bench: Bench) -> None:
    assert bench.manager.pool(KEY) is bench.manager.pool(KEY)
    assert bench.manager.pool(KEY) is not bench.manager.pool(PoolKey("main", "other", "gatehouse"))


async def test_the_server_opened_to_learn_the_baseline_serves_the_first_client(bench: Bench) -> None:
    logins = [asyncio.create_task(bench.manager.warm(KEY)) for _ in range(5)]
    server = await bench.opened()
    await asyncio.gather(*logins)
    pool = bench.manager.pool(KEY)
    assert len(bench.attempts) == 1
    assert pool.baseline == {b"server_version": b"18.4"}
    assert pool.acquire(FakeClient()) is server
    await bench.manager.warm(KEY)


async def test_every_login_learns_why_there_is_no_baseline(bench: Bench) -> None:
    logins = [asyncio.create_task(bench.manager.warm(KEY)) for _ in range(3)]
    error = ServerUnreachable("could not connect")
    await bench.failed(error)
    assert await asyncio.gather(*logins, return_exceptions=True) == [error] * 3
    with pytest.raises(ServerUnreachable):
        await bench.manager.warm(KEY)
    assert len(bench.attempts) == 1


async def test_a_login_does_not_wait_for_ever_for_room_in_the_cluster() -> None:
    bench = Bench(lambda key: PoolLimits(max_connections=1))
    other = bench.manager.pool(PoolKey("main", "other", "gatehouse"))
    other.acquire(FakeClient())
    await bench.opened()
    login = asyncio.create_task(bench.manager.warm(KEY))
    await bench.run(14)
    assert not login.done()
    await bench.run(2)
    with pytest.raises(PoolTimeout):
        await login


async def test_a_login_that_is_given_up_harms_no_other(bench: Bench) -> None:
    gone, other = (asyncio.create_task(bench.manager.warm(KEY)) for _ in range(2))
    await bench.run()
    gone.cancel()
    await bench.opened()
    await other
    assert gone.cancelled()


async def test_an_unexpected_exception_of_the_opener_reaches_the_client_as_an_error_of_ours(bench: Bench) -> None:
    client = FakeClient()
    bench.manager.pool(KEY).acquire(client)
    await bench.failed(ValueError("surprise"))
    assert isinstance(client.error, ServerUnreachable)
    assert "surprise" not in client.error.message
    assert isinstance(client.error.__cause__, ValueError)


async def test_every_second_idle_servers_are_looked_after(bench: Bench) -> None:
    login = asyncio.create_task(bench.manager.warm(KEY))
    server = await bench.opened()
    await login
    await bench.run(29)
    assert bench.manager.pool(KEY).size == 1
    await bench.run(2)
    assert server.closed_because == "idle timeout"


async def test_min_size_servers_are_opened_in_the_background() -> None:
    bench = Bench(lambda key: PoolLimits(min_size=3))
    login = asyncio.create_task(bench.manager.warm(KEY))
    await bench.opened()
    await login
    await bench.run(1.1)
    assert bench.manager.pool(KEY).size == 3


async def test_new_settings_hold_at_once(bench: Bench) -> None:
    waiting = [FakeClient() for _ in range(6)]
    for client in waiting:
        bench.manager.pool(KEY).acquire(client)
    for number in range(4):
        await bench.opened(number)
    bench.manager.configure(lambda key: PoolLimits(size=5, max_connections=100))
    for number in range(4, len(bench.attempts)):
        await bench.opened(number)
    (snapshot,) = bench.manager.snapshots()
    assert (snapshot.sv_active, snapshot.cl_waiting, snapshot.max_size) == (5, 1, 5)


async def test_pools_of_different_clusters_do_not_share_a_budget() -> None:
    bench = Bench(lambda key: PoolLimits(max_connections=1))
    for cluster in ("main", "second"):
        bench.manager.pool(PoolKey(cluster, "saas", "gatehouse")).acquire(FakeClient())
    await bench.run()
    assert len(bench.attempts) == 2


async def test_close_returns_when_the_last_lent_server_has_come_back(bench: Bench) -> None:
    client, waiting = FakeClient(), FakeClient()
    pool = bench.manager.pool(KEY)
    pool.acquire(client)
    server = await bench.opened()
    pool.acquire(waiting)
    await bench.run()
    closing = asyncio.create_task(bench.manager.close(immediate=False))
    await bench.run()
    assert isinstance(waiting.error, ShuttingDown)
    assert bench.attempts[-1].cancelled()
    assert not closing.done()
    pool.release(server)
    await closing
    assert server.closed_because == "draining"


async def test_close_at_once_closes_lent_servers_too(bench: Bench) -> None:
    pool = bench.manager.pool(KEY)
    pool.acquire(FakeClient())
    server = await bench.opened()
    await bench.manager.close(immediate=True)
    assert server.closed_because == "shutdown"
    assert bench.clock.pending == 0


async def test_close_that_takes_too_long_can_be_followed_by_close_at_once(bench: Bench) -> None:
    pool = bench.manager.pool(KEY)
    pool.acquire(FakeClient())
    server = await bench.opened()
    closing = asyncio.create_task(bench.manager.close(immediate=False))
    await bench.run()
    closing.cancel()
    await bench.manager.close(immediate=True)
    assert server.closed_because == "shutdown"


async def test_after_close_every_client_and_login_is_refused(bench: Bench) -> None:
    await bench.manager.close(immediate=False)
    client = FakeClient()
    bench.manager.pool(KEY).acquire(client)
    await bench.run()
    assert isinstance(client.error, ShuttingDown)
    with pytest.raises(ShuttingDown):
        await bench.manager.warm(KEY)


async def test_only_pools_of_the_cluster_that_answers_try_again(bench: Bench) -> None:
    other = PoolKey("eu", "saas", "gatehouse")
    for key in (KEY, other):
        bench.manager.pool(key).acquire(FakeClient())
        await bench.failed(ServerUnreachable("nobody there"))
    bench.manager.cluster_answers("main")
    assert not bench.manager.is_unreachable("main")
    assert bench.manager.is_unreachable("eu")


async def test_sessions_have_a_pool_of_their_own_within_the_clusters_budget(bench: Bench) -> None:
    session = PoolKey(KEY.cluster, KEY.database, KEY.user, PoolMode.SESSION)
    assert bench.manager.pool(session) is not bench.manager.pool(KEY)
    assert [snapshot.mode for snapshot in bench.manager.snapshots()] == ["session", "transaction"]
    assert bench.manager.pool(session)._budget is bench.manager.pool(KEY)._budget
