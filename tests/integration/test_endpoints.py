"""Places to connect and pool modes: which servers a client gets, for how long, and what ends it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from proxy.app import Gatehouse
from proxy.cli.demo.postgres import free_port
from proxy.errors import ConfigError
from proxy.settings.model import Endpoint, Listen, Settings
from tests.conftest import NewCluster
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.serve import Connection, connect, eventually, is_at_rest, served_proxy, told_at_the_end, value

SECRET = {"password": {"file": "app.secret"}, "tenants": "*"}


def with_endpoints(**modes: str | None) -> dict[str, Any]:
    return {
        "endpoints": {name: {"port": free_port()} | ({"mode": mode} if mode else {}) for name, mode in modes.items()}
    }


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """An endpoint for each mode, and one that leaves it open."""
    extra = {
        **with_endpoints(session="session", statement="statement", transaction="transaction", plain=None),
        "pool": {"session_size": 2},
        "users": {"keeper": {**SECRET, "pool_mode": "session"}, "brief": {**SECRET, "pool_mode": "transaction"}},
        "tiers": {
            "sessions": {"pool_mode": "session", "cross_tenant_sessions": "allow"},
            "open": {"cross_tenant_channels": "allow"},
        },
        "tenants": {"umbrella": {"tier": "sessions"}, "globex": {"tier": "open"}},
    }
    with running_proxy(pg18, extra) as running:
        yield running


def at(proxy: ProxyUnderTest, endpoint: str, tenant: str = "acme", user: str = "app", **options: Any) -> Connection:
    """A connection by this endpoint, or by `listen`."""
    endpoints = proxy._document.get("endpoints", {})
    port = endpoints[endpoint]["port"] if endpoint != "listen" else proxy.port
    return connect(proxy, tenant, port=port, user=f"{user}.{tenant}", **options)


def keeps_its_server(proxy: ProxyUnderTest, database: str = "saas") -> bool:
    """Whether any server of a session pool is lent while nothing runs."""
    pools = proxy.call(proxy.gatehouse._pools.snapshots)
    return any(pool.mode == "session" and pool.sv_active for pool in pools if pool.database == database)


def reload(proxy: ProxyUnderTest, extra: Mapping[str, Any]) -> None:
    before = proxy.gatehouse.settings
    proxy.write(extra)
    proxy.call(proxy.gatehouse.request_reload)
    eventually(lambda: proxy.gatehouse.settings is not before)


# Who decides.


@pytest.mark.parametrize(
    ("endpoint", "user", "tenant", "keeps"),
    [
        ("listen", "app", "acme", False),
        ("plain", "app", "acme", False),
        ("session", "app", "acme", True),
        ("listen", "keeper", "acme", True),
        ("plain", "keeper", "acme", True),
        ("transaction", "keeper", "acme", False),
        ("listen", "app", "umbrella", True),
        ("listen", "brief", "umbrella", False),
        ("statement", "app", "umbrella", False),
        ("session", "brief", "initech", True),
    ],
)
def test_the_listener_decides_then_the_user_then_the_tier(
    proxy: ProxyUnderTest, endpoint: str, user: str, tenant: str, keeps: bool
) -> None:
    database = "tenant_initech" if tenant == "initech" else "saas"
    with at(proxy, endpoint, tenant, user) as client:
        assert value(client, "SHOW app.tenant_id") == tenant
        assert keeps_its_server(proxy, database) is keeps
    eventually(lambda: not keeps_its_server(proxy, database))


def test_a_session_has_what_a_session_has_and_leaves_nothing(proxy: ProxyUnderTest) -> None:
    with at(proxy, "session") as client:
        client.execute("CREATE TEMP TABLE kept (x int)")
        client.execute("INSERT INTO kept VALUES (1)")
        client.execute("SET work_mem = '7MB'")
        client.execute("PREPARE kept AS SELECT 1")
        pid = value(client, "SELECT pg_backend_pid()")
        with client.transaction():
            assert value(client, "SELECT count(*) FROM kept") == 1
            assert value(client, "SELECT count(*) FROM orders") == 3
        assert value(client, "SELECT pg_backend_pid()") == pid
    eventually(lambda: not keeps_its_server(proxy))
    with at(proxy, "session", "umbrella") as other:
        assert value(other, "SELECT pg_backend_pid()") == pid
        assert value(other, "SELECT to_regclass('kept')") is None
        assert value(other, "SHOW work_mem") == "4MB"
        assert value(other, "SELECT count(*) FROM pg_prepared_statements WHERE from_sql") == 0
        assert value(other, "SELECT count(*) FROM orders") == 2


def test_a_session_that_ends_in_a_transaction_is_rolled_back(proxy: ProxyUnderTest) -> None:
    client = at(proxy, "session")
    client.execute("BEGIN")
    client.execute("INSERT INTO orders (item, amount) VALUES ('unfinished', 1)")
    client.close()
    eventually(lambda: not keeps_its_server(proxy))
    with at(proxy, "session") as other:
        assert value(other, "SELECT count(*) FROM orders WHERE item = 'unfinished'") == 0


def test_statement_mode_refuses_transaction_blocks(proxy: ProxyUnderTest) -> None:
    with at(proxy, "statement") as client:
        assert value(client, "SELECT count(*) FROM orders") == 3
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            client.execute("BEGIN")
        assert value(client, "SELECT 1") == 1


# How many.


def test_sessions_have_a_limit_of_their_own(proxy: ProxyUnderTest) -> None:
    with at(proxy, "session") as one, at(proxy, "session") as two, at(proxy, "session", user="quick") as three:
        for client in (one, two):
            value(client, "SELECT 1")
        with pytest.raises(psycopg.errors.TooManyConnections, match=r"pool size 2") as refused:
            three.execute("SELECT 1")
        assert "pool.session_size" in (refused.value.diag.message_hint or "")
        with at(proxy, "listen") as other:
            assert value(other, "SELECT 1") == 1
        one.close()
        assert eventually(lambda: value(three, "SELECT 1")) == 1


def test_pools_of_both_modes_are_told_apart_wherever_they_are_shown(proxy: ProxyUnderTest) -> None:
    with at(proxy, "session") as session, at(proxy, "listen") as other:
        for client in (session, other):
            value(client, "SELECT 1")
        text = proxy.metrics()
        names = [line for line in text.splitlines() if line.startswith("gatehouse_pools_server_active_connections{")]
        assert len(names) == len({name.rsplit(" ", 1)[0] for name in names})
        for mode, active in (("session", "1.0"), ("transaction", "0.0")):
            labels = f'cluster="main",database="saas",mode="{mode}",user="gatehouse"'
            assert f"gatehouse_pools_server_active_connections{{{labels}}} {active}" in text
        shown = {(pool["database"], pool["mode"]): pool["max_size"] for pool in proxy.status()["pools"]}
        assert shown["saas", "session"] == 2
        assert shown["saas", "transaction"] == 20


# Channels and keys that tenants share.


@pytest.mark.parametrize("endpoint", ["listen", "session"])
def test_channels_and_keys_are_refused_where_tenants_share_a_database(proxy: ProxyUnderTest, endpoint: str) -> None:
    statements = ("LISTEN news", "NOTIFY news", "SELECT pg_advisory_lock(1)", "SELECT pg_notify('news', 'x')")
    with at(proxy, endpoint) as shared, at(proxy, endpoint, "initech") as alone, at(proxy, endpoint, "globex") as told:
        for statement in statements:
            with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
                shared.execute(statement.encode())
            assert "cross_tenant_channels" in (refused.value.diag.message_hint or "")
            for client in (alone, told):
                client.execute(statement.encode())


# Tenants that change under clients that keep their servers.


@pytest.fixture
def changing(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    placement = {"model": "shared", "cluster": "main", "database": "saas"}
    extra = {**with_endpoints(session="session"), "tenants": {"mover": {"placement": placement}}}
    with running_proxy(pg18, extra) as running:
        yield running


CHANGES: list[tuple[dict[str, Any], str, str]] = [
    ({"mover": {"status": "suspended"}}, "57P03", 'tenant "mover" is suspended'),
    ({"mover": None}, "28000", 'tenant "mover" does not exist'),
    ({"mover": {"placement": {"database": "elsewhere"}}}, "57P01", 'terminating connection: tenant "mover" has moved'),
]


@pytest.mark.parametrize(("change", "sqlstate", "text"), CHANGES, ids=["suspended", "removed", "moved"])
def test_who_keeps_a_server_is_ended_when_the_tenant_may_not_be_served_there(
    changing: ProxyUnderTest, change: dict[str, Any], sqlstate: str, text: str
) -> None:
    with (
        at(changing, "session", "mover") as idle,
        at(changing, "session", "mover") as busy,
        at(changing, "session", "acme") as other,
        at(changing, "listen", "mover") as pinned,
    ):
        for client in (idle, other):
            value(client, "SELECT 1")
        pinned.execute("CREATE TEMP TABLE kept (x int)")
        busy.execute("BEGIN")
        assert value(busy, "SELECT 1") == 1
        reload(changing, {"tenants": change})
        for client in (idle, pinned):
            assert told_at_the_end(client)[:3] == ("FATAL", sqlstate, text)
        assert value(busy, "SELECT 2") == 2
        told: list[str] = []  # it may come together with COMMIT's own answer
        busy.add_notice_handler(lambda diag: told.append(diag.message_primary or ""))
        busy.execute("COMMIT")
        with pytest.raises(psycopg.OperationalError):
            list(busy.notifies(timeout=PATIENCE_S))
        busy.pgconn.is_busy()
        assert told == [text]
        assert value(other, "SELECT 1") == 1
    eventually(lambda: is_at_rest(changing))


def test_who_keeps_a_server_stays_when_nothing_of_that_has_changed(changing: ProxyUnderTest) -> None:
    with at(changing, "session", "mover") as kept, at(changing, "listen", "mover") as pinned:
        kept.execute("CREATE TEMP TABLE kept (x int)")
        pinned.execute("CREATE TEMP TABLE kept (x int)")
        reload(changing, {"tiers": {"default": {"work_mem": "9MB", "max_clients": 50}}})
        for client in (kept, pinned):
            assert eventually(lambda client=client: value(client, "SHOW work_mem") == "9MB")  # type: ignore[misc]
            assert value(client, "SELECT count(*) FROM kept") == 0


def test_a_session_on_servers_of_old_hosts_is_ended(changing: ProxyUnderTest, new_cluster: NewCluster) -> None:
    other = new_cluster()
    with at(changing, "session") as client:
        value(client, "SELECT 1")
        reload(changing, {"clusters": {"main": {"hosts": [f"{other.host}:{other.port}"]}}})
        assert told_at_the_end(client)[:2] == ("FATAL", "57P01")
    with at(changing, "session") as again:
        assert value(again, "SELECT inet_server_port()") == other.port


# Listening.


def test_each_place_is_named_at_the_start_and_needs_a_restart_to_move(pg18: TestCluster) -> None:
    with served_proxy(pg18, with_endpoints(session="session", plain=None)) as proxy:
        places = {event["endpoint"]: event for event in proxy.events("listening for clients")}
        assert places.keys() == {"listen", "endpoints.session", "endpoints.plain"}
        assert places["endpoints.session"]["mode"] == "session"
        assert places["endpoints.session"]["port"] == proxy._document["endpoints"]["session"]["port"]
        proxy.write({"endpoints": {"session": {"mode": "transaction"}}})
        [warning] = eventually(lambda: proxy.events("some changes take effect after a restart only"))
        assert warning["changed"] == ["endpoints.session.mode"]


def test_an_endpoint_has_a_unix_socket_where_listen_has_one(pg18: TestCluster, tmp_path: Path) -> None:
    extra = {**with_endpoints(session="session"), "listen": {"unix_socket_dir": str(tmp_path)}}
    with running_proxy(pg18, extra) as proxy:
        with at(proxy, "session", host=str(tmp_path)) as client:
            assert value(client, "SELECT 1") == 1
            assert keeps_its_server(proxy)
        assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []


async def test_a_port_that_is_taken_is_named_with_its_endpoint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gatehouse = Gatehouse(
            Settings(listen=Listen(port=free_port()), http=None, endpoints={"x": Endpoint(port=port)})
        )
        with pytest.raises(ConfigError, match=f"can not listen on 127.0.0.1:{port}") as refused:
            await gatehouse.start()
    assert "endpoints.x.port" in str(refused.value.hint)


# Logins.


def test_strangers_that_never_log_in_take_no_clients_place(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"limits": {"max_clients": 2, "max_logins": 3}}) as proxy:
        strangers = [socket.create_connection((proxy.host, proxy.port)) for _ in range(3)]
        try:
            census = proxy.gatehouse._services.census
            eventually(lambda: census.logging_in == 3)
            with socket.create_connection((proxy.host, proxy.port)) as surplus:
                surplus.settimeout(5)
                answer = surplus.recv(1000)
                assert b"C53300\0" in answer
                assert b"logging in" in answer
            strangers.pop().close()
            eventually(lambda: census.logging_in == 2)
            with connect(proxy) as one:
                assert value(one, "SELECT 1") == 1
                with connect(proxy), pytest.raises(psycopg.OperationalError, match="too many clients already"):
                    connect(proxy)
            eventually(lambda: census.clients == 0)
        finally:
            for stranger in strangers:
                stranger.close()


# After an outage.


def test_clients_are_served_as_soon_as_the_cluster_answers_again(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with running_proxy(cluster) as proxy, connect(proxy) as client:
        value(client, "SELECT 1")
        cluster.stop(immediate=True)
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        pool = proxy.call(lambda: next(iter(proxy.gatehouse._pools._pools.values())))
        with pytest.raises(psycopg.OperationalError), connect(proxy) as other:
            other.execute("SELECT 1")
        eventually(lambda: pool.is_unreachable)
        # As after a long outage, and longer: only the probe can end this pause.
        proxy.call(lambda: setattr(pool._core.backoff, "retry_at", pool._now() + 1000))
        cluster.start()
        with eventually(lambda: connect(proxy)) as again:
            assert eventually(lambda: value(again, "SELECT 1")) == 1
