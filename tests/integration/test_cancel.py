"""A cancel request ends the query it is meant for, and no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from proxy.wire import codes, frontend
from tests.support import PATIENCE_S
from tests.support.faults import FaultProxy
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.raw import RawConnection, errors, rows
from tests.support.serve import Connection, connect, eventually, is_at_rest, pool_of, value

STORM_TRIALS = 300


@pytest.fixture(scope="module")
def one_server(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """All tenants of a database share one server: a cancel that is late meets somebody else's query."""
    with running_proxy(pg18, {"pool": {"size": 1, "trusted": True}}) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(postgres: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(postgres, {"pool": {"size": 3}}) as running:
        yield running


async def raw(
    proxy: ProxyUnderTest, tenant: str = "acme", protocol: int = codes.PROTOCOL_3_0, port: int = 0
) -> RawConnection:
    return await RawConnection.connect(
        proxy.host, port or proxy.port, user=f"app.{tenant}", password=proxy.password, protocol=protocol
    )


async def cancel(proxy: ProxyUnderTest, pid: int, key: bytes) -> None:
    """Send a CancelRequest and wait until it was taken."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(frontend.cancel_request(pid, key))
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()
    await writer.wait_closed()


def is_sleeping(proxy: ProxyUnderTest) -> bool:
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"
    return proxy.cluster.sql(running) == [(1,)]


async def until(check: object) -> None:
    assert callable(check)
    await asyncio.to_thread(eventually, check)


def cancel_in_a_moment(proxy: ProxyUnderTest, connection: Connection) -> threading.Thread:
    def work() -> None:
        eventually(lambda: is_sleeping(proxy))
        connection.cancel_safe(timeout=PATIENCE_S)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech"])
def test_a_cancel_ends_the_query_and_keeps_the_connection(proxy: ProxyUnderTest, tenant: str) -> None:
    with connect(proxy, tenant) as client:
        thread = cancel_in_a_moment(proxy, client)
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(30)")
        thread.join()
        assert value(client, "SELECT 1") == 1


def test_a_cancel_reaches_a_prepared_statement_in_a_transaction(proxy: ProxyUnderTest) -> None:
    with connect(proxy, prepare_threshold=0) as client:
        client.execute("BEGIN")
        thread = cancel_in_a_moment(proxy, client)
        with pytest.raises(psycopg.errors.QueryCanceled):
            client.execute("SELECT pg_sleep(%s)", (30,))
        thread.join()
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("SELECT 1")
        client.execute("ROLLBACK")
        assert value(client, "SELECT 1") == 1


def test_a_cancel_ends_only_its_own_clients_query(proxy: ProxyUnderTest) -> None:
    with proxy.cluster.locked() as lock, connect(proxy) as victim, connect(proxy) as other:
        done: list[object] = []
        waiter = threading.Thread(target=lambda: done.append(value(other, f"SELECT 7 FROM {lock.wait}")))
        waiter.start()
        eventually(lambda: lock.waiting() == 1)
        thread = cancel_in_a_moment(proxy, victim)
        with pytest.raises(psycopg.errors.QueryCanceled):
            victim.execute("SELECT pg_sleep(30)")
        thread.join()
        lock.release()
        waiter.join()
        assert done == [7]


async def test_protocol_3_2_gives_long_keys_that_cancel(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy, protocol=codes.PROTOCOL_3_0 + 2) as client:
        assert len(client.key) == 32
        client.send(frontend.query(b"SELECT pg_sleep(30)"))
        await until(lambda: is_sleeping(proxy))
        await cancel(proxy, client.pid, client.key)
        assert errors(await client.until_ready()) == ["57014"]


async def test_a_wrong_key_cancels_nothing_and_is_answered_alike(proxy: ProxyUnderTest) -> None:
    with proxy.cluster.locked() as lock:
        async with await raw(proxy) as client:
            assert len(client.key) == 4
            client.send(frontend.query(f"SELECT 7 FROM {lock.wait}".encode()))
            await until(lambda: lock.waiting() == 1)
            await cancel(proxy, client.pid, bytes(4))
            await cancel(proxy, client.pid, client.key + b"\0")
            await cancel(proxy, client.pid + 1, client.key)
            lock.release()
            assert rows(await client.until_ready()) == [["7"]]


async def test_the_key_of_a_client_that_left_is_worth_nothing(one_server: ProxyUnderTest) -> None:
    gone = await raw(one_server)
    await gone.close()
    with one_server.cluster.locked() as lock:
        async with await raw(one_server) as client:
            client.send(frontend.query(f"SELECT 7 FROM {lock.wait}".encode()))
            await until(lambda: lock.waiting() == 1)
            await cancel(one_server, gone.pid, gone.key)
            lock.release()
            assert rows(await client.until_ready()) == [["7"]]


async def test_a_client_that_waits_for_a_server_can_cancel(one_server: ProxyUnderTest) -> None:
    async with await raw(one_server) as holder, await raw(one_server, "umbrella") as waiter:
        await holder.query("BEGIN")
        await holder.query("SELECT 1")
        waiter.send(frontend.query(b"SELECT 'first'"))
        await until(lambda: pool_of(one_server).cl_waiting == 1)
        await cancel(one_server, waiter.pid, waiter.key)
        assert errors(await waiter.until_ready()) == ["57014"]
        assert pool_of(one_server).cl_waiting == 0
        await holder.query("COMMIT")
        assert rows(await waiter.query("SELECT 'second'")) == [["second"]]


async def test_a_batch_that_waits_for_a_server_can_be_cancelled(one_server: ProxyUnderTest) -> None:
    async with await raw(one_server) as holder, await raw(one_server, "umbrella") as waiter:
        await holder.query("BEGIN")
        await holder.query("SELECT 1")
        waiter.send(
            frontend.parse(b"", b"SELECT 'first'"), frontend.bind(b"", b"", ()), frontend.execute(b""), frontend.SYNC
        )
        await until(lambda: pool_of(one_server).cl_waiting == 1)
        await cancel(one_server, waiter.pid, waiter.key)
        assert errors(await waiter.until_ready()) == ["57014"]
        await holder.query("COMMIT")
        assert rows(await waiter.query("SELECT 'second'")) == [["second"]]


async def test_a_cancel_of_an_idle_client_does_nothing(one_server: ProxyUnderTest) -> None:
    async with await raw(one_server) as client:
        await cancel(one_server, client.pid, client.key)
        await client.query("BEGIN")
        await cancel(one_server, client.pid, client.key)
        assert rows(await client.query("SELECT 1")) == [["1"]]
        await client.query("COMMIT")


async def test_copy_can_be_cancelled_in_both_directions(one_server: ProxyUnderTest) -> None:
    async with await raw(one_server, "globex") as client:
        client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
        await client.until("G")
        await cancel(one_server, client.pid, client.key)
        # PostgreSQL looks for cancels when data comes, not while it waits for data.
        assert errors(await client.ask(b"d\0\0\0\x0bjunk\t1\n")) == ["57014"]
        client.send(frontend.query(b"COPY (SELECT pg_sleep(30)) TO STDOUT"))
        await until(lambda: is_sleeping(one_server))
        await cancel(one_server, client.pid, client.key)
        assert errors(await client.until_ready()) == ["57014"]
        assert rows(await client.query("SELECT count(*) FROM orders")) == [["4"]]


async def test_a_storm_of_cancels_never_hits_another_clients_query(one_server: ProxyUnderTest) -> None:
    """The canceller's query ends at about the time its cancel arrives; the others' queries follow at once."""
    cancelled = 0
    stop = asyncio.Event()

    async def innocent(tenant: str) -> int:
        count = 0
        async with await raw(one_server, tenant) as client:
            while not stop.is_set():
                frames = await client.query("SELECT 'mine' FROM pg_sleep(0.001)")
                assert rows(frames) == [["mine"]], frames
                count += 1
        return count

    others = [asyncio.create_task(innocent(tenant)) for tenant in ("umbrella", "umbrella", "globex")]
    async with await raw(one_server) as client:
        deadline = time.monotonic() + 20
        for trial in range(STORM_TRIALS):
            client.send(frontend.query(b"SELECT pg_sleep(0.001)"))
            await asyncio.sleep(trial % 7 * 0.0005)
            answer, _ = await asyncio.gather(client.until_ready(), cancel(one_server, client.pid, client.key))
            cancelled += errors(answer) == ["57014"]
            if time.monotonic() > deadline:
                break
    stop.set()
    counts = await asyncio.gather(*others)
    assert min(counts) > 20
    assert cancelled > 0
    eventually(lambda: is_at_rest(one_server))


async def test_a_cancel_that_can_not_be_delivered_costs_the_server_not_the_next_client(pg18: TestCluster) -> None:
    with FaultProxy(pg18.host, pg18.port) as network:
        extra = {
            "pool": {"size": 1},
            "timeouts": {"cancel_timeout": "200ms"},
            "clusters": {"main": {"hosts": [network.address]}},
        }
        with running_proxy(pg18, extra) as proxy, pg18.locked() as lock:
            async with await raw(proxy) as client:
                first = rows(await client.query("SELECT pg_backend_pid()"))
                client.send(frontend.query(f"SELECT 1 FROM {lock.wait}".encode()))
                await until(lambda: lock.waiting() == 1)
                network.faults.holds_new_ones_back = True
                await cancel(proxy, client.pid, client.key)
                lock.release()
                await client.until_ready()
                network.faults.holds_new_ones_back = False
                assert rows(await client.query("SELECT pg_backend_pid()")) != first
