"""What one tenant, user or pool may take, what happens at the limit, and what the next client finds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.serve import Connection, connect, eventually, is_at_rest, pool_of, value


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """One server."""
    extra = {
        "pool": {"size": 1, "query_wait_notify": "100ms"},
        "tiers": {"small": {"max_server_connections": 1}},
    }
    with running_proxy(pg18, extra) as running:
        yield running


def hold(client: Connection) -> None:
    """Take a server and keep it."""
    client.execute("BEGIN")
    client.execute("SELECT 1")


def in_thread(client: Connection, sql: str, done: list[object]) -> threading.Thread:
    """Run a query; its value or its error is appended to `done`."""

    def work() -> None:
        try:
            done.append(value(client, sql))
        except psycopg.Error as error:
            done.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


# Waiting.


@pytest.mark.parametrize("prepare", [None, 0], ids=["simple", "prepared"])
def test_a_client_that_waits_too_long_is_told_why_and_may_try_again(proxy: ProxyUnderTest, prepare: int | None) -> None:
    quick = {"user": "quick.umbrella", "prepare_threshold": prepare}
    with connect(proxy) as holder, connect(proxy, "umbrella", **quick) as waiter:
        hold(holder)
        notices: list[str] = []
        waiter.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        with pytest.raises(psycopg.errors.TooManyConnections) as refused:
            waiter.execute("SELECT 1")
        text = 'no server connection for database "saas" became free within 0.3 s (pool size 1, 1 client waiting)'
        assert refused.value.diag.message_primary == text
        assert "pool.size" in (refused.value.diag.message_hint or "")
        assert notices == ["waiting for a server connection for 0 s: all are in use"]
        holder.execute("COMMIT")
        assert eventually(lambda: value(waiter, "SELECT 1")) == 1


def test_waiting_in_mid_pipeline_fails_only_its_own_part(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as holder, connect(proxy, "umbrella", user="quick.umbrella") as waiter:
        hold(holder)
        with pytest.raises(psycopg.errors.TooManyConnections), waiter.pipeline():
            waiter.execute("SELECT 1")
        holder.execute("COMMIT")
        with waiter.pipeline():
            assert value(waiter, "SELECT 2") == 2


def test_the_queue_has_a_limit(pg18: TestCluster) -> None:
    with (
        running_proxy(pg18, {"pool": {"size": 1, "max_waiting": 1}}) as proxy,
        connect(proxy) as holder,
        connect(proxy) as first,
        connect(proxy) as second,
    ):
        hold(holder)
        done: list[object] = []
        thread = in_thread(first, "SELECT 7", done)
        eventually(lambda: pool_of(proxy).cl_waiting == 1)
        with pytest.raises(psycopg.errors.TooManyConnections, match="too many clients wait for a server") as refused:
            second.execute("SELECT 1")
        assert "max_waiting" in (refused.value.diag.message_hint or "")
        holder.execute("COMMIT")
        thread.join()
        assert done == [7]
        assert value(second, "SELECT 1") == 1


def test_a_waiting_client_that_leaves_gives_up_its_place(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as holder:
        hold(holder)
        waiter = connect(proxy, "umbrella")
        waiter.pgconn.send_query(b"SELECT 1")
        waiter.pgconn.flush()
        eventually(lambda: pool_of(proxy).cl_waiting == 1)
        waiter.close()
        eventually(lambda: pool_of(proxy).cl_waiting == 0)
        holder.execute("COMMIT")
    eventually(lambda: is_at_rest(proxy))


def test_a_tenant_at_its_limit_waits_behind_itself(pg18: TestCluster) -> None:
    extra = {
        "pool": {"size": 3},
        "tiers": {"small": {"max_server_connections": 1}},
        "tenants": {"acme": {"tier": "small"}},
    }
    with (
        running_proxy(pg18, extra) as proxy,
        connect(proxy) as first,
        connect(proxy, user="quick.acme") as second,
        connect(proxy, "umbrella") as other,
    ):
        hold(first)
        with pytest.raises(psycopg.errors.TooManyConnections) as refused:
            second.execute("SELECT 1")
        assert "all its 1 connections in use: raise max_server_connections" in (refused.value.diag.message_hint or "")
        hold(other)
        other.execute("COMMIT")
        first.execute("COMMIT")
        assert eventually(lambda: value(second, "SELECT 1")) == 1


def test_a_quiet_tenant_is_served_before_the_flood_of_another(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"pool": {"size": 1}}) as proxy, pg18.locked() as lock, ExitStack() as stack:
        flood = [stack.enter_context(connect(proxy)) for _ in range(10)]
        quiet = stack.enter_context(connect(proxy, "umbrella"))
        floods: list[Any] = []
        quiets: list[Any] = []
        when = f"SELECT clock_timestamp() FROM {lock.wait}"
        threads = [in_thread(client, when, floods) for client in flood]
        eventually(lambda: pool_of(proxy).cl_waiting == 9)
        threads.append(in_thread(quiet, when, quiets))
        eventually(lambda: pool_of(proxy).cl_waiting == 10)
        lock.release()
        for thread in threads:
            thread.join()
        assert len(floods) == 10
        assert sum(moment < quiets[0] for moment in floods) <= 2


# How many servers there are, and for how long.


def test_a_pool_in_use_keeps_its_least_servers_and_closes_the_others_when_idle(pg18: TestCluster) -> None:
    extra = {"pool": {"size": 4, "min_size": 2, "idle_timeout": "200ms"}}
    with running_proxy(pg18, extra) as proxy, ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy)) for _ in range(4)]
        eventually(lambda: pool_of(proxy).sv_idle >= 2)
        for client in clients:
            hold(client)
        assert pool_of(proxy).sv_active == 4
        for client in clients:
            client.execute("COMMIT")
        eventually(lambda: pool_of(proxy).sv_idle == 2)
        time.sleep(1.2)  # a look of the pool at itself: it closes no more
        assert pool_of(proxy).sv_idle == 2
        assert pool_of(proxy).closed == {"idle timeout": 2}


def test_a_server_is_not_lent_again_when_its_life_is_over(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"pool": {"size": 1, "lifetime": "300ms"}}) as proxy, connect(proxy) as client:
        client.execute("BEGIN")
        pid = value(client, "SELECT pg_backend_pid()")
        time.sleep(0.35)
        assert value(client, "SELECT pg_backend_pid()") == pid
        client.execute("COMMIT")
        assert value(client, "SELECT pg_backend_pid()") != pid
        assert pool_of(proxy).closed.get("lifetime")


def test_all_pools_of_a_cluster_share_its_connections(pg18: TestCluster) -> None:
    extra = {"pool": {"size": 5}, "clusters": {"main": {"max_connections": 2}}}
    with running_proxy(pg18, extra) as proxy, connect(proxy) as saas, connect(proxy, "initech") as own:
        for client in (saas, own):
            hold(client)
        with connect(proxy, "umbrella", user="quick.umbrella") as third:
            with pytest.raises(psycopg.errors.TooManyConnections, match="became free") as refused:
                third.execute("SELECT 1")
            assert 'max_connections of cluster "main"' in (refused.value.diag.message_hint or "")
            own.execute("COMMIT")
            assert eventually(lambda: value(third, "SELECT 1")) == 1
            saas.execute("COMMIT")
            assert value(own, "SELECT 1") == 1


# What the next client finds.

RESIDUE = """DO $$ BEGIN
    PERFORM set_config('work_mem', '123MB', false);
    PERFORM pg_advisory_lock(42);
    EXECUTE 'CREATE TEMP TABLE residue (x int)';
    EXECUTE 'LISTEN residue';
    EXECUTE 'PREPARE residue AS SELECT 1';
    EXECUTE 'DECLARE residue CURSOR WITH HOLD FOR SELECT 1';
END $$"""

LOOK = """SELECT concat_ws(' ',
    current_setting('work_mem'),
    to_regclass('pg_temp.residue'),
    (SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory'),
    (SELECT 'listen' FROM pg_listening_channels()),
    (SELECT 'prepared' FROM pg_prepared_statements WHERE from_sql),
    (SELECT 'cursor' FROM pg_cursors WHERE name = 'residue'),
    nullif(current_setting('app.tenant_id'), 'umbrella'))"""


@pytest.mark.parametrize("trusted", [False, True], ids=["untrusted", "trusted"])
@pytest.mark.parametrize("tenant", ["umbrella", "acme"], ids=["another_tenant", "same_tenant"])
def test_what_an_opaque_statement_left_behind_is_gone(postgres: TestCluster, trusted: bool, tenant: str) -> None:
    extra = {
        "pool": {"size": 1, "trusted": trusted},
        "tiers": {"default": {"cross_tenant_sessions": "allow"}},
    }
    with running_proxy(postgres, extra) as proxy:
        with connect(proxy) as client, connect(proxy, tenant) as other:
            clean = value(other, LOOK)
            client.execute(RESIDUE)
            assert value(other, LOOK) == clean
        assert pool_of(proxy).opened_total == 1


def test_what_a_pinned_client_left_behind_is_gone(pg18: TestCluster) -> None:
    tier = {"cross_tenant_channels": "allow", "cross_tenant_sessions": "allow"}
    extra = {"pool": {"size": 1}, "tiers": {"default": tier}}
    with running_proxy(pg18, extra) as proxy:
        with connect(proxy) as client:
            clean = value(client, LOOK)
            client.execute("CREATE TEMP TABLE residue (x int)")
            client.execute("SELECT pg_advisory_lock(42)")
            client.execute("PREPARE residue AS SELECT 1")
            client.execute("LISTEN residue")
            assert "residue" in value(client, LOOK)
        with connect(proxy) as other:
            assert value(other, LOOK) == clean


def test_only_untrusted_servers_are_reset_between_tenants(pg18: TestCluster) -> None:
    for trusted, resets in ((False, 2), (True, 0)):
        with (
            running_proxy(pg18, {"pool": {"size": 1, "trusted": trusted}}) as proxy,
            connect(proxy) as one,
            connect(proxy, "umbrella") as two,
        ):
            for client in (one, one, two, two, one):
                client.execute("SELECT 1")
            assert pool_of(proxy).resets_total == resets


def test_pins_have_a_limit_that_is_given_back(pg18: TestCluster) -> None:
    extra = {"tiers": {"default": {"max_pinned": 1, "cross_tenant_channels": "allow"}}}
    with running_proxy(pg18, extra) as proxy:
        for _ in range(3):
            with connect(proxy) as first, connect(proxy) as second:
                first.execute("LISTEN something")
                with pytest.raises(psycopg.errors.TooManyConnections, match="held by session state"):
                    second.execute("LISTEN something")
                pid = value(first, "SELECT pg_backend_pid()")
                proxy.cluster.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
                with pytest.raises(psycopg.OperationalError):
                    first.execute("SELECT 1")
                assert proxy.gatehouse._services.census.pins["acme"] == 0
