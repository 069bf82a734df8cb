"""What breaks, and who notices: servers that die, clients that vanish, networks that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.conftest import NewCluster
from tests.support.faults import FaultProxy
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.raw import RawConnection, errors, letters, rows
from tests.support.serve import connect, eventually, is_at_rest, pool_of, value

SMALL = {"pool": {"size": 2}}


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18, SMALL) as running:
        yield running


async def raw(proxy: ProxyUnderTest, tenant: str = "globex") -> RawConnection:
    return await RawConnection.connect(proxy.host, proxy.port, user=f"app.{tenant}", password=proxy.password)


# Servers.


@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
def test_a_restart_of_postgresql_is_noticed_only_by_clients_in_a_transaction(
    new_cluster: NewCluster, immediate: bool
) -> None:
    cluster = new_cluster()
    with running_proxy(cluster, SMALL) as proxy, connect(proxy) as idle, connect(proxy) as busy:
        assert value(idle, "SELECT count(*) FROM orders") == 3
        busy.execute("BEGIN")
        busy.execute("UPDATE orders SET amount = 0")
        cluster.restart(immediate=immediate)
        with pytest.raises(psycopg.OperationalError) as lost:
            busy.execute("SELECT 1")
        assert lost.value.sqlstate in ("57P01", "08006")
        assert busy.closed
        eventually(lambda: value(idle, "SELECT count(*) FROM orders WHERE amount > 0") == 3)
        with connect(proxy) as newcomer:
            assert value(newcomer, "SELECT count(*) FROM orders") == 3


def test_while_postgresql_is_down_clients_get_an_error_and_keep_their_connection(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with running_proxy(cluster, SMALL) as proxy, connect(proxy) as client:
        cluster.stop()
        with pytest.raises(psycopg.OperationalError, match='connect to the database server of cluster "main"') as down:
            client.execute("SELECT 1")
        assert down.value.sqlstate == "08001"
        assert "127.0.0.1" not in str(down.value)
        with pytest.raises(psycopg.OperationalError, match='cluster "main"'):
            value(client, "SELECT 1")
        cluster.start()
        assert eventually(lambda: value(client, "SELECT 1")) == 1


def test_a_terminated_server_takes_only_its_own_client_along(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as victim, connect(proxy) as other:
        victim.execute("BEGIN")
        pid = value(victim, "SELECT pg_backend_pid()")
        proxy.cluster.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(psycopg.OperationalError) as lost:
            victim.execute("SELECT 1")
        assert lost.value.sqlstate == "57P01"
        assert value(other, "SELECT 1") == 1
    eventually(lambda: is_at_rest(proxy))


def test_a_query_whose_server_is_terminated_is_not_tried_again(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as victim:
        with pytest.raises(psycopg.OperationalError) as lost:
            victim.execute("DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(10); END $$")
        assert lost.value.sqlstate == "57P01"
    with connect(proxy) as next_client:
        assert value(next_client, "SELECT 1") == 1


def test_idle_servers_that_are_terminated_are_replaced_unseen(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as one, connect(proxy) as two:
        for client in (one, two):
            client.execute("BEGIN")
        pids = {value(client, "SELECT pg_backend_pid()") for client in (one, two)}
        for client in (one, two):
            client.execute("COMMIT")
        for pid in pids:
            proxy.cluster.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        eventually(lambda: pool_of(proxy).sv_idle == 0)
        assert value(one, "SELECT pg_backend_pid()") not in pids
        assert value(two, "SELECT pg_backend_pid()") not in pids


# Clients.


def nothing_is_left(proxy: ProxyUnderTest) -> None:
    """The vanished client's server is free again, its transaction rolled back, its locks gone."""
    eventually(lambda: is_at_rest(proxy))
    assert pool_of(proxy).sv_idle <= 2
    in_transaction = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse' AND xact_start IS NOT NULL"
    eventually(lambda: proxy.cluster.sql(in_transaction) == [(0,)])
    with connect(proxy, "globex") as one, connect(proxy, "globex") as two:
        for client in (one, two):
            client.execute("BEGIN")
            client.execute("SET LOCAL lock_timeout = '1s'")
            assert value(client, "SELECT count(*) FROM orders WHERE amount > 0") == 4
            client.execute("LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        one.execute("COMMIT")
        two.execute("UPDATE orders SET amount = amount")
        two.execute("ROLLBACK")
    eventually(lambda: is_at_rest(proxy))


LOCKING = "UPDATE orders SET amount = -1"


async def in_transaction(client: RawConnection) -> None:
    await client.query("BEGIN")
    await client.query(LOCKING)


async def in_failed_transaction(client: RawConnection) -> None:
    await client.query("BEGIN")
    await client.query(LOCKING)
    await client.query("SELECT 1/0")


async def in_a_query(client: RawConnection) -> None:
    await client.query("BEGIN")
    await client.query(LOCKING)
    client.send(frontend.query(b"SELECT pg_sleep(60)"))
    await asyncio.sleep(0.1)


async def in_a_query_of_its_own(client: RawConnection) -> None:
    client.send(frontend.query(b"UPDATE orders SET amount = -1 FROM pg_sleep(60)"))
    await asyncio.sleep(0.1)


COPY_BATCH = (
    frontend.parse(b"", b"COPY orders (item, amount) FROM STDIN"),
    frontend.bind(b"", b"", ()),
    frontend.execute(b""),
    frontend.SYNC,
)


async def in_copy_in(client: RawConnection) -> None:
    client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
    await client.until("G")
    client.send(b"d\0\0\0\x0bjunk\t1\n")


async def in_copy_in_by_the_extended_protocol(client: RawConnection) -> None:
    client.send(*COPY_BATCH)
    await client.until("G")
    client.send(b"d\0\0\0\x0bjunk\t1\n")


async def in_half_a_copy_frame(client: RawConnection) -> None:
    client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
    await client.until("G")
    client.send(b"d\0\1\0\0junk\t1\n")
    await asyncio.sleep(0.05)


async def in_copy_out(client: RawConnection) -> None:
    client.send(frontend.query(b"COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT"))
    await client.until("d")


async def in_a_result(client: RawConnection) -> None:
    client.send(frontend.query(b"SELECT repeat('x', 1000) FROM generate_series(1, 200000)"))
    await client.until("D")


async def in_a_row(client: RawConnection) -> None:
    client.send(frontend.query(b"SELECT repeat('x', 30000000)"))
    await client.until("T")


async def in_a_batch(client: RawConnection) -> None:
    client.send(frontend.parse(b"", LOCKING.encode()), frontend.bind(b"", b"", ()), frontend.execute(b""), b"H\0\0\0\4")
    await client.until("C")


async def in_a_failed_batch(client: RawConnection) -> None:
    client.send(frontend.parse(b"", LOCKING.encode()), frontend.bind(b"", b"", ()), frontend.execute(b""))
    client.send(frontend.parse(b"", b"SELECT 1/0"), frontend.bind(b"", b"", ()), frontend.execute(b""), b"H\0\0\0\4")
    await client.until("E")


async def in_half_a_frame(client: RawConnection) -> None:
    await client.query("BEGIN")
    await client.query(LOCKING)
    client.send(frontend.query(b"SELECT 'never finished'")[:-5])
    await asyncio.sleep(0.05)


async def in_half_a_large_bind(client: RawConnection) -> None:
    await client.query("BEGIN")
    await client.query(LOCKING)
    bind = frontend.bind(b"", b"", (b"x" * 1_000_000,))
    client.send(frontend.parse(b"", b"SELECT length($1::text)"), bind[:500_000])
    await asyncio.sleep(0.05)


STAGES = [
    in_transaction,
    in_failed_transaction,
    in_a_query,
    in_a_query_of_its_own,
    in_copy_in,
    in_copy_in_by_the_extended_protocol,
    in_half_a_copy_frame,
    in_copy_out,
    in_a_result,
    in_a_row,
    in_a_batch,
    in_a_failed_batch,
    in_half_a_frame,
    in_half_a_large_bind,
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
async def test_a_client_that_vanishes_leaves_nothing(proxy: ProxyUnderTest, stage: object) -> None:
    client = await raw(proxy)
    assert callable(stage)
    await stage(client)
    client.abort()
    await asyncio.to_thread(nothing_is_left, proxy)


async def test_clients_that_vanish_cost_no_servers(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as client:
        pid = value(client, "SELECT pg_backend_pid()")
    before = pool_of(proxy).opened_total
    for stage in (in_transaction, in_a_query, in_copy_in, in_copy_out, in_a_batch):
        vanishing = await raw(proxy)
        await stage(vanishing)
        vanishing.abort()
        await asyncio.to_thread(eventually, lambda: is_at_rest(proxy))
    assert pool_of(proxy).opened_total == before
    with connect(proxy) as client:
        assert value(client, "SELECT pg_backend_pid()") == pid


async def test_a_client_that_says_goodbye_in_a_transaction_leaves_nothing(proxy: ProxyUnderTest) -> None:
    client = await raw(proxy)
    await in_transaction(client)
    await client.close()
    await asyncio.to_thread(nothing_is_left, proxy)


def test_what_waits_for_the_lock_of_a_vanished_client_goes_on(proxy: ProxyUnderTest) -> None:
    holder = connect(proxy)
    holder.execute("BEGIN")
    holder.execute(LOCKING)
    with connect(proxy) as waiter:
        waiter.execute("BEGIN")
        waiter.execute("SET LOCAL lock_timeout = '5s'")
        holder.close()
        waiter.execute("UPDATE orders SET amount = amount")
        waiter.execute("ROLLBACK")


async def test_a_copy_that_fails_before_it_reads_anything_ends_with_its_batch(proxy: ProxyUnderTest) -> None:
    """PostgreSQL says that it takes data before it looks at what speaks against that."""
    async with await raw(proxy) as client:
        frames = await client.ask(
            frontend.parse(b"", b"COPY orders (item, amount) FROM STDIN (FREEZE)"),
            frontend.bind(b"", b"", ()),
            frontend.execute(b""),
            frontend.SYNC,
        )
        assert letters(frames) == "12GEZ"
        assert errors(frames) == ["55000"]
        assert await client.value("SELECT 1") == "1"


# The network between Gatehouse and PostgreSQL.


@pytest.fixture
def faulty(pg18: TestCluster) -> Iterator[tuple[ProxyUnderTest, FaultProxy]]:
    with (
        FaultProxy(pg18.host, pg18.port) as network,
        running_proxy(pg18, {**SMALL, "clusters": {"main": {"hosts": [network.address]}}}) as proxy,
    ):
        yield proxy, network


def test_a_connection_cut_in_the_middle_of_a_row_ends_only_that_client(
    faulty: tuple[ProxyUnderTest, FaultProxy],
) -> None:
    proxy, network = faulty
    with connect(proxy) as other:
        network.faults.cut_down_after = 100_000
        with connect(proxy) as victim:
            with pytest.raises(psycopg.OperationalError):
                victim.execute("SELECT repeat('x', 10000000)")
            assert victim.closed
        network.faults.cut_down_after = 0
        assert eventually(lambda: value(other, "SELECT 1")) == 1


async def test_the_client_of_a_cut_connection_is_told_why(faulty: tuple[ProxyUnderTest, FaultProxy]) -> None:
    proxy, network = faulty
    async with await raw(proxy) as client:
        await client.query("BEGIN")
        await client.query("SELECT 1")
        network.cut()
        frame = await client.read()
        assert frame.code == "E"
        assert frame.fields["S"] == "FATAL"
        assert frame.fields["C"] == "08006"
        assert "server closed the connection" in frame.fields["M"]
        with pytest.raises(EOFError):
            await client.read()


@pytest.mark.parametrize("sql", ["SELECT repeat('x', 10000000)", "COPY (SELECT repeat('x', 10000000)) TO STDOUT"])
async def test_nothing_is_put_into_a_row_that_a_cut_connection_leaves_unfinished(
    faulty: tuple[ProxyUnderTest, FaultProxy], sql: str
) -> None:
    """Its client counts bytes: the error would be data, and could be all that is missing."""
    proxy, network = faulty
    network.faults.cut_down_after = 100_000
    async with await raw(proxy) as client:
        client.send(frontend.query(sql.encode()))
        left = await client.rest()
    network.faults.cut_down_after = 0
    assert len(left) > 50_000
    assert set(left[-50_000:]) == set(b"x")


async def test_nothing_is_put_into_a_row_that_a_client_leaves_unread(pg18: TestCluster) -> None:
    with running_proxy(pg18, SMALL) as proxy:
        async with await raw(proxy) as client:
            client.send(frontend.query(b"SELECT repeat('x', 50000000)"))
            sessions = [one.session for one in proxy.gatehouse._services.census.connections if one.session]
            await asyncio.to_thread(eventually, lambda: any(session.is_in_row for session in sessions))
            stopping = asyncio.create_task(asyncio.to_thread(proxy.stop))  # ends every connection with an error
            left = await client.rest()
            await stopping
    assert len(left) > 50_000
    assert set(left[-50_000:]) == set(b"x")


@pytest.mark.parametrize("size", [1, 3, 7])
async def test_replies_may_come_in_pieces_of_any_size(faulty: tuple[ProxyUnderTest, FaultProxy], size: int) -> None:
    proxy, network = faulty
    network.faults.trickle_bytes = size
    async with await raw(proxy) as client:
        found = rows(await client.query("SELECT item FROM orders ORDER BY item"))
        assert found == [["hammock"], ["moat"], ["sugar cubes"], ["weather machine"]]
        assert errors(await client.query("SELECT 1/0")) == ["22012"]
        frames = await client.ask(
            frontend.parse(b"s", b"SELECT $1::int + 1"),
            frontend.bind(b"", b"s", (b"41",)),
            frontend.describe(b"P", b""),
            frontend.execute(b""),
            frontend.SYNC,
        )
        assert rows(frames) == [["42"]]
        copied = await client.query("COPY (SELECT generate_series(1, 3)) TO STDOUT")
        assert [frame.body for frame in copied if frame.code == "d"] == [b"1\n", b"2\n", b"3\n"]


async def test_requests_may_come_in_pieces_of_any_size(proxy: ProxyUnderTest) -> None:
    with FaultProxy(proxy.host, proxy.port) as network:
        network.faults.trickle_bytes = 1
        client = await RawConnection.connect("127.0.0.1", network.port, user="app.acme", password=proxy.password)
        async with client:
            assert rows(await client.query("SELECT count(*) FROM orders")) == [["3"]]
            frames = await client.ask(
                frontend.parse(b"s", b"SELECT $1::int + 1"),
                frontend.bind(b"", b"s", (b"41",)),
                frontend.execute(b""),
                frontend.SYNC,
            )
            assert rows(frames) == [["42"]]


async def test_a_sync_behind_the_data_that_fail_a_copy_is_answered(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy) as client:
        client.send(*COPY_BATCH)
        await client.until("G")
        client.send(frontend.SYNC, frame(codes.COPY_DATA, b"item\tno number\n"), frontend.SYNC)
        assert [answer.code for answer in await client.until_ready()] == [*"EZ"]
        assert await client.value("SELECT 1") == "1"


async def test_a_client_may_vanish_before_it_is_told_to_send_data(
    faulty: tuple[ProxyUnderTest, FaultProxy],
) -> None:
    """Its Sync is on its way then, and PostgreSQL will ignore that."""
    proxy, network = faulty
    client = await raw(proxy)
    await client.query("SELECT 1")
    network.faults.holds_answers_back = True
    client.send(*COPY_BATCH)
    copying = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY orders%' AND wait_event = 'ClientRead'"
    await asyncio.to_thread(eventually, lambda: proxy.cluster.sql(copying) == [(1,)])
    client.abort()
    await asyncio.to_thread(eventually, lambda: pool_of(proxy).sv_recovering == 1)
    network.faults.holds_answers_back = False
    await asyncio.to_thread(eventually, lambda: is_at_rest(proxy))
    async with await raw(proxy) as successor:
        assert await successor.value("SELECT 1") == "1"
    await asyncio.to_thread(nothing_is_left, proxy)


def test_a_server_that_does_not_answer_any_more_costs_no_more_than_its_recovery(pg18: TestCluster) -> None:
    quick = {"timeouts": {"server_recovery_timeout": "300ms", "cancel_timeout": "300ms"}}
    with FaultProxy(pg18.host, pg18.port) as network:
        extra = {**SMALL, **quick, "clusters": {"main": {"hosts": [network.address]}}}
        with running_proxy(pg18, extra) as proxy:
            client = connect(proxy)
            client.execute("BEGIN")
            client.execute("SELECT 1")
            network.faults.is_black_hole = True
            client.close()
            eventually(lambda: pool_of(proxy).sv_active == 0)
            network.faults.is_black_hole = False
            with connect(proxy) as next_client:
                assert value(next_client, "SELECT 1") == 1
