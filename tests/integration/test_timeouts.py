"""Time limits that Gatehouse sets: PostgreSQL's codes, nothing left running, and a connection that works where it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from proxy.wire import frontend
from tests.support.faults import FaultProxy
from tests.support.postgres import TestCluster
from tests.support.proxy import PASSWORD, ProxyUnderTest, running_proxy
from tests.support.raw import Frame, RawConnection
from tests.support.serve import Connection, connect, eventually, is_at_rest, pool_of, told_at_the_end, value

SECRET = {"password": {"file": "app.secret"}, "tenants": "*"}
LIMITED: dict[str, dict[str, str]] = {
    "query": {"query_timeout": "1s"},
    "tx": {"transaction_timeout": "1s"},
    "silent": {"idle_in_transaction_timeout": "1s"},
    "idle": {"client_idle_timeout": "1s"},
    "all": {"query_timeout": "1s", "transaction_timeout": "30s", "idle_in_transaction_timeout": "1s"},
}
EXTRA = {
    "pool": {"size": 1},
    "users": {name: {**SECRET, **limits} for name, limits in LIMITED.items()},
    "timeouts": {"cancel_timeout": "1s"},
    "tiers": {"pinning": {"pin_timeout": "1s"}, "slow": {"query_timeout": "60s"}},
    "tenants": {"initech": {"tier": "pinning"}, "umbrella": {"tier": "slow"}},
}


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """A login for each limit, and one server."""
    with running_proxy(pg18, EXTRA) as running:
        for tenant in ("acme", "initech"):
            with connect(running, tenant):
                pass  # the pools are there
        yield running


def running(proxy: ProxyUnderTest) -> list[tuple[Any, ...]]:
    """What PostgreSQL works at for the proxy."""
    return proxy.cluster.sql("SELECT query FROM pg_stat_activity WHERE usename = 'gatehouse' AND state = 'active'")


@pytest.fixture(autouse=True)
def _all_is_clean_afterwards(proxy: ProxyUnderTest) -> Iterator[None]:
    """No statement is left running, no server lost, and the next client finds nothing."""
    yield
    eventually(lambda: is_at_rest(proxy))
    assert running(proxy) == []
    with connect(proxy) as client:
        assert value(client, "SELECT count(*) FROM orders WHERE item = 'late'") == 0
        assert value(client, "SHOW work_mem") == "4MB"


def login(proxy: ProxyUnderTest, user: str, tenant: str = "acme", **options: Any) -> Connection:
    return connect(proxy, tenant, **{"user": f"{user}.{tenant}", **options})


async def raw(proxy: ProxyUnderTest, user: str) -> RawConnection:
    return await RawConnection.connect(proxy.host, proxy.port, user=user, password=PASSWORD)


def timed_out(proxy: ProxyUnderTest, limit: str) -> int:
    """How often this limit was reached."""
    return proxy.gatehouse._stats.timeouts[limit]


def farewell_of(client: Connection) -> tuple[str, str]:
    """How an idle client's connection ends: severity and SQLSTATE."""
    told = told_at_the_end(client)
    return told.severity, told.sqlstate


def ask(client: Connection, sql: str) -> None:
    """Send a Query and do not wait."""
    client.pgconn.send_query(sql.encode())
    client.pgconn.flush()


def answer(client: Connection) -> tuple[bytes | None, bytes | None]:
    """What comes for it: the first value, or the error's message."""

    def is_there() -> bool:
        client.pgconn.consume_input()  # get_result alone would wait with Python's lock held, and the proxy with it
        return not client.pgconn.is_busy()

    eventually(is_there)
    result = client.pgconn.get_result()
    assert result is not None
    eventually(is_there)
    assert client.pgconn.get_result() is None
    if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
        return None, result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY)
    return result.get_value(0, 0), None


# query_timeout


@pytest.mark.parametrize("prepare", [None, 0], ids=["simple", "prepared"])
def test_a_query_that_takes_too_long_is_cancelled_and_the_client_goes_on(
    proxy: ProxyUnderTest, prepare: int | None
) -> None:
    opened, counted = pool_of(proxy).opened_total, timed_out(proxy, "query")
    with login(proxy, "query", prepare_threshold=prepare) as client:
        began = time.monotonic()
        with pytest.raises(psycopg.errors.QueryCanceled) as cancelled:
            client.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - began > 0.9
        assert cancelled.value.diag.message_primary == "canceling statement due to query timeout"
        assert cancelled.value.diag.message_hint == "A query may take 1 s: see query_timeout."
        assert cancelled.value.diag.severity == "ERROR"
        assert running(proxy) == []
        assert value(client, "SELECT count(*) FROM orders") == 3
    assert timed_out(proxy, "query") == counted + 1
    assert pool_of(proxy).opened_total == max(opened, 1)
    assert 'gatehouse_client_timeouts_total{timeout="query"}' in proxy.metrics()


@contextmanager
def overdue(pg18: TestCluster, size: int) -> Iterator[tuple[ProxyUnderTest, FaultProxy, psycopg.Connection[Any]]]:
    """A Gatehouse where the user `query` has a second, with so many servers to a pool; the network to its cluster, which can hold a
    cancel back; and a connection of the superuser's to hold initech's queries up."""
    with FaultProxy(pg18.host, pg18.port) as network:
        extra = {
            "pool": {"size": size},
            "users": {"query": {**SECRET, "query_timeout": "1s"}},
            "timeouts": {"cancel_timeout": "10s"},
            "clusters": {"main": {"hosts": [network.address]}},
        }
        with running_proxy(pg18, extra) as proxy, pg18.connect("tenant_initech") as other:
            yield proxy, network, other


async def test_a_cancel_that_comes_too_late_does_not_hit_the_clients_next_query_in_the_transaction(
    pg18: TestCluster,
) -> None:
    with overdue(pg18, size=1) as (proxy, network, other):
        async with await raw(proxy, "query.initech") as client:
            await client.query("BEGIN")
            other.execute("SELECT pg_advisory_lock(7)")
            client.send(frontend.query(b"SELECT pg_advisory_xact_lock(7)"))
            await asyncio.to_thread(eventually, lambda: running(proxy))
            before, network.faults.delays_new_ones = network.accepted, True
            await asyncio.to_thread(eventually, lambda: network.accepted > before)
            other.execute("SELECT pg_advisory_unlock(7)")
            first = await client.until_ready()
            client.send(frontend.query(b"SELECT pg_sleep(0.3)"))
            for _ in range(20):
                assert not running(proxy), "the next query runs, and the cancel is still to come"
            network.faults.delays_new_ones = False
            second = await client.until_ready()
        assert [frame.code for frame in first] == [frame.code for frame in second] == [*"TDCZ"]
        eventually(lambda: is_at_rest(proxy, "tenant_initech"))


@pytest.mark.parametrize("begins", ["BEGIN", "SELECT 1"])
async def test_a_cancel_that_comes_too_late_does_not_hit_what_the_client_has_asked_already(
    pg18: TestCluster, begins: str
) -> None:
    with overdue(pg18, size=2) as (proxy, network, other):
        async with await raw(proxy, "query.initech") as client:
            await client.query(begins)
            other.execute("SELECT pg_advisory_lock(7)")
            client.send(frontend.query(b"SELECT pg_advisory_xact_lock(7)"), frontend.query(b"SELECT pg_sleep(0.3)"))
            await asyncio.to_thread(eventually, lambda: running(proxy))
            before, network.faults.delays_new_ones = network.accepted, True
            await asyncio.to_thread(eventually, lambda: network.accepted > before)
            other.execute("SELECT pg_advisory_unlock(7)")
            first = await client.until_ready()
            if begins == "BEGIN":
                for _ in range(20):
                    assert not running(proxy), "the next query runs, and the cancel is still to come"
            network.faults.delays_new_ones = False
            second = await client.until_ready()
        assert [frame.code for frame in first] == [frame.code for frame in second] == [*"TDCZ"]
        eventually(lambda: is_at_rest(proxy, "tenant_initech"))


async def test_a_cancel_that_comes_too_late_leaves_no_client_without_its_answer(pg18: TestCluster) -> None:
    """It was meant for what Gatehouse asks before a statement is bound where it was not prepared."""
    bind = frontend.bind(b"", b"s", ()) + frontend.execute(b"") + frontend.SYNC
    with overdue(pg18, size=1) as (proxy, network, other):
        async with await raw(proxy, "query.initech") as client:
            await client.ask(
                frontend.parse(b"s", b"SELECT count(*) FROM orders"), frontend.describe(b"S", b"s"), frontend.SYNC
            )
            proxy.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gatehouse'")
            await asyncio.to_thread(eventually, lambda: pool_of(proxy, "tenant_initech").sv_idle == 0)
            other.execute("BEGIN; LOCK TABLE orders")
            client.send(bind)
            await asyncio.to_thread(eventually, lambda: running(proxy))
            before, network.faults.delays_new_ones = network.accepted, True
            await asyncio.to_thread(eventually, lambda: network.accepted > before)
            other.execute("ROLLBACK")
            await asyncio.to_thread(eventually, lambda: not running(proxy))
            network.faults.delays_new_ones = False
            assert [frame.code for frame in await client.until_ready()] == [*"2DCZ"]
        eventually(lambda: is_at_rest(proxy, "tenant_initech"))


async def test_what_ended_a_query_of_one_client_is_not_said_of_the_next_ones(pg18: TestCluster) -> None:
    """The first was at the look that Gatehouse takes at a statement before it is bound where it was not prepared."""
    extra = {"pool": {"size": 1}, "users": {"query": {**SECRET, "query_timeout": "1s"}}}
    with running_proxy(pg18, extra) as proxy, pg18.connect("tenant_initech") as other:
        async with await raw(proxy, "query.initech") as client, await raw(proxy, "app.initech") as successor:
            await client.ask(
                frontend.parse(b"s", b"SELECT count(*) FROM orders"), frontend.describe(b"S", b"s"), frontend.SYNC
            )
            proxy.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gatehouse'")
            await asyncio.to_thread(eventually, lambda: pool_of(proxy, "tenant_initech").sv_idle == 0)
            other.execute("BEGIN; LOCK TABLE orders")
            ended = await client.ask(frontend.bind(b"", b"s", ()), frontend.execute(b""), frontend.SYNC)
            assert [frame.fields["M"] for frame in ended if frame.code == "E"] == [
                "canceling statement due to query timeout"
            ]
            other.execute("ROLLBACK")
            successor.send(frontend.query(b"SELECT pg_sleep(60)"))
            await asyncio.to_thread(eventually, lambda: running(proxy))
            proxy.cluster.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'")
            ended = await successor.until_ready()
            assert [frame.fields["M"] for frame in ended if frame.code == "E"] == [
                "canceling statement due to user request"
            ]


def test_inside_a_transaction_a_cancelled_query_fails_that(proxy: ProxyUnderTest) -> None:
    with login(proxy, "query") as client:
        client.execute("BEGIN")
        client.execute("INSERT INTO orders (item, amount) VALUES ('late', 1)")
        with pytest.raises(psycopg.errors.QueryCanceled, match="due to query timeout"):
            client.execute("SELECT pg_sleep(30)")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            client.execute("SELECT 1")
        client.execute("ROLLBACK")
        assert value(client, "SELECT 1") == 1


def test_a_savepoint_survives_a_cancelled_query(proxy: ProxyUnderTest) -> None:
    with login(proxy, "query") as client, client.transaction():
        with pytest.raises(psycopg.errors.QueryCanceled), client.transaction():
            client.execute("SELECT pg_sleep(30)")
        assert value(client, "SELECT 1") == 1


def test_a_cancelled_query_in_a_pipeline_ends_its_own_part(proxy: ProxyUnderTest) -> None:
    with login(proxy, "query") as client:
        with client.pipeline() as pipeline:
            client.execute("SELECT 1")
            pipeline.sync()
            cursor = client.execute("SELECT pg_sleep(30)")
            with pytest.raises(psycopg.errors.QueryCanceled, match="due to query timeout"):
                cursor.fetchone()
        assert value(client, "SELECT 2") == 2


def test_a_clients_own_cancel_keeps_its_words(proxy: ProxyUnderTest) -> None:
    with login(proxy, "query", "umbrella") as client:
        ask(client, "SELECT pg_sleep(30)")
        eventually(lambda: running(proxy))
        client.cancel_safe()
        assert answer(client) == (None, b"canceling statement due to user request")


def test_short_queries_may_take_as_long_together_as_they_like(proxy: ProxyUnderTest) -> None:
    until = time.monotonic() + 1.3
    with login(proxy, "all") as client:
        while time.monotonic() < until:
            value(client, "SELECT 1 FROM pg_sleep(0.01)")
        client.execute("BEGIN")
        until = time.monotonic() + 1.3
        while time.monotonic() < until:
            value(client, "SELECT 1 FROM pg_sleep(0.01)")
        client.execute("COMMIT")


def test_a_loop_in_a_function_is_cancelled_too(proxy: ProxyUnderTest) -> None:
    with login(proxy, "query") as client:
        with pytest.raises(psycopg.errors.QueryCanceled, match="due to query timeout"):
            client.execute("DO $$ BEGIN LOOP PERFORM 1; END LOOP; END $$")
        assert value(client, "SELECT 1") == 1


async def last_words(client: RawConnection) -> Frame:
    """The error that ends the connection."""
    frame = (await client.until("E"))[-1]
    with pytest.raises(EOFError):
        await client.read()
    return frame


@pytest.mark.parametrize("rows", [b"", b"late\t1\n"], ids=["silent", "slow"])
async def test_a_copy_whose_client_dawdles_ends_with_its_connection(proxy: ProxyUnderTest, rows: bytes) -> None:
    async with await raw(proxy, "query.initech") as client:
        client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
        await client.until("G")
        if rows:
            client.send(b"d" + (len(rows) + 4).to_bytes(4, "big") + rows)
        frame = await last_words(client)
        assert (frame.fields["S"], frame.fields["C"]) == ("FATAL", "57014")
        assert frame.fields["M"] == "terminating connection due to query timeout"
        assert "1 s" in frame.fields["H"]
    eventually(lambda: is_at_rest(proxy, "tenant_initech"))
    with connect(proxy, "initech") as other:
        assert value(other, "SELECT count(*) FROM orders WHERE item = 'late'") == 0
    assert timed_out(proxy, "query_unanswered") > 0


async def test_a_batch_without_its_sync_ends_with_its_connection(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy, "query.acme") as client:
        client.send(
            frontend.parse(b"", b"INSERT INTO orders (item, amount) VALUES ('late', 1)"),
            frontend.bind(b"", b"", []),
            frontend.execute(b""),
            frontend.FLUSH,
        )
        await client.until("C")
        frame = await last_words(client)
        assert (frame.fields["S"], frame.fields["C"]) == ("FATAL", "57014")


async def test_a_batch_that_sleeps_is_cancelled_before_its_sync(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy, "query.acme") as client:
        client.send(
            frontend.parse(b"", b"SELECT pg_sleep(30)"),
            frontend.bind(b"", b"", []),
            frontend.execute(b""),
            frontend.FLUSH,
        )
        error = (await client.until("E"))[-1]
        assert (error.fields["S"], error.fields["M"]) == ("ERROR", "canceling statement due to query timeout")
        await client.ask(frontend.SYNC)
        assert await client.value("SELECT 1") == "1"


def test_the_user_counts_before_the_tier_and_the_tier_before_all(pg18: TestCluster) -> None:
    extra = {
        "timeouts": {"query_timeout": "500ms"},
        "tiers": {"slow": {"query_timeout": "off"}},
        "tenants": {"umbrella": {"tier": "slow"}},
        "users": {"strict": {**SECRET, "query_timeout": "500ms"}},
    }
    with running_proxy(pg18, extra) as proxy:
        for user, tenant, is_cancelled in (
            ("app", "acme", True),
            ("app", "umbrella", False),
            ("strict", "umbrella", True),
        ):
            with login(proxy, user, tenant) as client:
                if is_cancelled:
                    with pytest.raises(psycopg.errors.QueryCanceled):
                        client.execute("SELECT pg_sleep(0.8)")
                else:
                    client.execute("SELECT pg_sleep(0.8)")


# transaction_timeout


def test_a_transaction_that_lasts_too_long_ends_with_its_connection_while_it_is_silent(proxy: ProxyUnderTest) -> None:
    opened = pool_of(proxy).opened_total
    with login(proxy, "tx") as client:
        client.execute("BEGIN")
        client.execute("INSERT INTO orders (item, amount) VALUES ('late', 1)")
        assert farewell_of(client) == ("FATAL", "25P04")
    assert timed_out(proxy, "transaction") > 0
    with connect(proxy) as other:
        assert value(other, "SELECT 1") == 1
    assert pool_of(proxy).opened_total == opened


@pytest.mark.parametrize("block", [True, False], ids=["in a block", "alone"])
def test_a_transaction_that_lasts_too_long_ends_with_its_connection_while_it_works(
    proxy: ProxyUnderTest, block: bool
) -> None:
    with login(proxy, "tx") as client:
        if block:
            client.execute("BEGIN")
        with pytest.raises(psycopg.errors.TransactionTimeout, match="due to transaction timeout") as ended:
            client.execute("SELECT pg_sleep(30)")
        assert ended.value.diag.severity == "FATAL"
        assert client.closed


def test_many_short_transactions_may_take_as_long_as_they_like(proxy: ProxyUnderTest) -> None:
    until = time.monotonic() + 1.5
    with login(proxy, "tx") as client:
        while time.monotonic() < until:
            with client.transaction():
                value(client, "SELECT 1 FROM pg_sleep(0.01)")


# idle_in_transaction_timeout


@pytest.mark.parametrize("fails", [False, True], ids=["open", "failed"])
def test_a_client_that_is_silent_in_a_transaction_is_sent_away(proxy: ProxyUnderTest, fails: bool) -> None:
    with login(proxy, "silent") as client:
        client.execute("BEGIN")
        client.execute("INSERT INTO orders (item, amount) VALUES ('late', 1)")
        if fails:
            with pytest.raises(psycopg.errors.DivisionByZero):
                client.execute("SELECT 1/0")
        assert farewell_of(client) == ("FATAL", "25P03")
    assert timed_out(proxy, "idle_in_transaction") > 0


def test_work_inside_a_transaction_is_not_silence(proxy: ProxyUnderTest) -> None:
    with login(proxy, "silent") as client:
        client.execute("BEGIN")
        client.execute("SELECT pg_sleep(1.2)")
        client.execute("COMMIT")
        assert value(client, "SELECT 1") == 1


def test_a_locked_row_is_free_again(proxy: ProxyUnderTest) -> None:
    with connect(proxy, "initech") as keeper:  # in a database of its own, with a pool of its own
        assert value(keeper, "SELECT 1") == 1
        with login(proxy, "silent", "initech") as client:
            client.execute("BEGIN")
            client.execute("LOCK TABLE orders")
            assert farewell_of(client) == ("FATAL", "25P03")
        keeper.execute("BEGIN; LOCK TABLE orders NOWAIT; COMMIT")


# In session mode


@pytest.fixture(scope="module")
def sessions(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """Session mode for all."""
    with running_proxy(pg18, {**EXTRA, "pool": {"mode": "session", "session_size": 1}}) as running:
        yield running


def test_a_session_outlives_its_cancelled_query(sessions: ProxyUnderTest) -> None:
    with login(sessions, "query") as client:
        client.execute("CREATE TEMP TABLE kept AS SELECT 7 AS x")
        with pytest.raises(psycopg.errors.QueryCanceled, match="due to query timeout"):
            client.execute("SELECT pg_sleep(30)")
        assert value(client, "SELECT x FROM kept") == 7


def test_a_session_may_last_though_its_transactions_may_not(sessions: ProxyUnderTest) -> None:
    with login(sessions, "tx") as client:
        client.execute("CREATE TEMP TABLE kept AS SELECT 7 AS x")
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            with client.transaction():
                value(client, "SELECT x FROM kept, pg_sleep(0.01)")
        client.execute("BEGIN")
        client.execute("SELECT 1")
        assert farewell_of(client) == ("FATAL", "25P04")
    with login(sessions, "tx", "umbrella") as other:
        assert value(other, "SELECT to_regclass('kept')") is None


def test_a_session_that_is_silent_in_a_transaction_is_ended(sessions: ProxyUnderTest) -> None:
    with login(sessions, "silent") as client:
        value(client, "SELECT 1")
        assert list(client.notifies(timeout=1.2)) == []
        client.execute("BEGIN")
        client.execute("SELECT 1")
        assert farewell_of(client) == ("FATAL", "25P03")


# client_idle_timeout and pin_timeout


def test_idleness_may_be_limited_for_one_user(proxy: ProxyUnderTest) -> None:
    with login(proxy, "idle") as idle, login(proxy, "app") as other:
        value(idle, "SELECT 1")
        assert farewell_of(idle) == ("FATAL", "57P05")
        assert value(other, "SELECT 1") == 1


def test_a_pinned_server_must_be_used(proxy: ProxyUnderTest) -> None:
    with connect(proxy, "initech") as client:
        client.execute("LISTEN news")
        until = time.monotonic() + 1.3
        while time.monotonic() < until:
            value(client, "SELECT 1 FROM pg_sleep(0.01)")
        told = told_at_the_end(client)
        assert (told.severity, told.sqlstate) == ("FATAL", "57P05")
        assert "kept a server without using it" in told.message
        assert "LISTEN" in told.hint
    eventually(lambda: is_at_rest(proxy, "tenant_initech"))
    assert pool_of(proxy, "tenant_initech").sv_pinned == 0
    with connect(proxy, "initech") as other:
        assert value(other, "SELECT count(*) FROM pg_listening_channels()") == 0


def test_who_pins_nothing_is_not_concerned(proxy: ProxyUnderTest) -> None:
    with connect(proxy, "initech") as client:
        value(client, "SELECT 1")
        assert list(client.notifies(timeout=1.2)) == []
        assert value(client, "SELECT 1") == 1


# wait_timeout


def test_waiting_is_limited_by_user(pg18: TestCluster) -> None:
    extra = {
        "pool": {"size": 1, "wait_timeout": "500ms"},
        "users": {"patient": {**SECRET, "wait_timeout": "60s"}},
    }
    with (
        running_proxy(pg18, extra) as proxy,
        login(proxy, "patient") as holder,
        login(proxy, "quick") as quick,
        login(proxy, "patient", "umbrella") as patient,
    ):
        holder.execute("BEGIN")
        holder.execute("SELECT 1")
        timeouts = pool_of(proxy).wait_timeouts_total
        ask(patient, "SELECT 7")
        eventually(lambda: pool_of(proxy).cl_waiting == 1)
        for _ in range(2):
            with pytest.raises(psycopg.errors.TooManyConnections, match=r"within 0\.3 s \(pool size 1, 2 clients"):
                quick.execute("SELECT 1")
        with login(proxy, "app") as ordinary, pytest.raises(psycopg.errors.TooManyConnections, match=r"within 0\.5 s"):
            ordinary.execute("SELECT 1")
        assert pool_of(proxy).wait_timeouts_total == timeouts + 3
        assert pool_of(proxy).cl_waiting == 1
        holder.execute("COMMIT")
        assert answer(patient) == (b"7", None)
        assert eventually(lambda: value(quick, "SELECT 1")) == 1


# Reload


def test_limits_count_at_once_for_clients_that_are_there(pg18: TestCluster) -> None:
    with running_proxy(pg18) as proxy, connect(proxy) as busy, connect(proxy) as silent, connect(proxy) as idle:
        silent.execute("BEGIN")
        silent.execute("SELECT 1")
        ask(busy, "SELECT pg_sleep(30)")
        value(idle, "SELECT 1")
        before = proxy.gatehouse.settings
        proxy.write({"timeouts": {"query_timeout": "500ms", "idle_in_transaction_timeout": "500ms"}})
        proxy.call(proxy.gatehouse.request_reload)
        eventually(lambda: proxy.gatehouse.settings is not before)
        assert answer(busy) == (None, b"canceling statement due to query timeout")
        assert farewell_of(silent) == ("FATAL", "25P03")
        for _ in range(2):
            with pytest.raises(psycopg.errors.QueryCanceled):
                idle.execute("SELECT pg_sleep(30)")
        with connect(proxy) as other, pytest.raises(psycopg.errors.QueryCanceled):
            other.execute("SELECT pg_sleep(30)")


# Sizes


def test_sizes_are_limited_by_user_and_by_tier(pg18: TestCluster) -> None:
    extra = {
        "users": {"small": {**SECRET, "max_query_size": "1kB"}},
        "tiers": {"tiny": {"max_query_size": "2kB", "max_message_size": "4kB"}},
        "tenants": {"umbrella": {"tier": "tiny"}},
    }
    with running_proxy(pg18, extra) as proxy:
        for user, tenant, size, is_refused in (
            ("app", "acme", 100_000, False),
            ("small", "acme", 900, False),
            ("small", "acme", 1500, True),
            ("app", "umbrella", 1500, False),
            ("app", "umbrella", 2500, True),
        ):
            with login(proxy, user, tenant) as client:
                sql = f"SELECT 1 -- {'x' * size}"
                if is_refused:
                    with pytest.raises(psycopg.Error) as refused:
                        client.execute(sql.encode())
                    assert refused.value.sqlstate == "54000"
                else:
                    assert value(client, sql) == 1
