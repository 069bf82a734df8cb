"""Configuration that changes under connected clients: nobody is dropped, everything new counts at once."""

from __future__ import annotations

import asyncio
import resource
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from proxy.app.users import ConfiguredUsers
from tests.conftest import NewCluster
from tests.support import PATIENCE_S
from tests.support.faults import FaultProxy
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.serve import Connection, connect, eventually, fetch, pool_of, served_proxy, value


@pytest.fixture
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18) as running:
        yield running


def reload(proxy: ProxyUnderTest, extra: Mapping[str, Any]) -> None:
    """Write the configuration, as an editor does; the proxy sees that by itself."""
    before = proxy.gatehouse._reloads.ok
    settings = proxy.gatehouse.settings
    proxy.write(extra)
    eventually(lambda: proxy.gatehouse._reloads.ok > before and proxy.gatehouse.settings is not settings)


def refuse(proxy: ProxyUnderTest, text: str) -> None:
    """Write a file that is not taken."""
    before = proxy.gatehouse._reloads.failed
    proxy.config_path.write_text(text)
    eventually(lambda: proxy.gatehouse._reloads.failed > before)


def with_status(status: str) -> dict[str, Any]:
    return {"tenants": {"acme": {"status": status}}}


def placed_in(database: str, model: str = "shared") -> dict[str, Any]:
    return {"placement": {"model": model, "cluster": "main", "database": database}}


def test_a_new_tenant_can_be_used_at_once(proxy: ProxyUnderTest) -> None:
    with pytest.raises(psycopg.OperationalError, match='tenant "newcomer" does not exist'):
        connect(proxy, "newcomer")
    reload(proxy, {"tenants": {"newcomer": placed_in("saas")}})
    with connect(proxy, "newcomer") as client:
        assert value(client, "SHOW app.tenant_id") == "newcomer"


@pytest.mark.parametrize(
    ("status", "text"),
    [("suspended", "is suspended"), ("maintenance", "is in maintenance"), ("offboarded", "has been closed")],
)
def test_a_tenant_that_becomes_unavailable_gets_errors_and_keeps_its_connections(
    proxy: ProxyUnderTest, status: str, text: str
) -> None:
    with connect(proxy) as client, connect(proxy, prepare_threshold=0) as busy, connect(proxy, "umbrella") as other:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        reload(proxy, with_status(status))
        with pytest.raises(psycopg.errors.CannotConnectNow, match=f'tenant "acme" {text}') as refused:
            client.execute("SELECT 1")
        assert refused.value.diag.severity == "ERROR"
        assert refused.value.diag.message_hint
        with pytest.raises(psycopg.errors.CannotConnectNow), client.transaction():
            client.execute("SELECT 1")
        assert value(busy, "SELECT count(*) FROM orders") == 3
        busy.execute("COMMIT")
        with pytest.raises(psycopg.errors.CannotConnectNow):
            busy.execute("SELECT %s", (1,))
        with pytest.raises(psycopg.OperationalError, match=f'FATAL:  tenant "acme" {text}'):
            connect(proxy)
        assert value(other, "SELECT 1") == 1
        reload(proxy, with_status("active"))
        assert value(client, "SELECT count(*) FROM orders") == 3
        assert value(busy, "SELECT count(*) FROM orders") == 3


def test_a_tenant_that_is_taken_out_ends_its_connections(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as client, connect(proxy, "umbrella") as other:
        reload(proxy, {"tenants": {"acme": None}})
        with pytest.raises(psycopg.OperationalError, match='tenant "acme" does not exist'):
            client.execute("SELECT 1")
        assert client.closed
        assert value(other, "SELECT 1") == 1


def test_a_tenant_moves_between_two_transactions(proxy: ProxyUnderTest) -> None:
    reload(proxy, {"tenants": {"mover": placed_in("saas")}})
    with connect(proxy, "mover", prepare_threshold=0) as idle, connect(proxy, "mover") as busy:
        where = "SELECT current_database()"
        assert value(idle, where) == "saas"
        busy.execute("BEGIN")
        assert value(busy, where) == "saas"
        reload(
            proxy,
            {
                "tenants": {"initech": None, "mover": placed_in("tenant_initech", "database")},
                "users": {"initech": None},
            },
        )
        assert value(idle, where) == "tenant_initech"
        assert value(idle, "SELECT count(*) FROM orders") == 5
        assert value(busy, where) == "saas"
        busy.execute("COMMIT")
        assert value(busy, where) == "tenant_initech"


class Asking(threading.Thread):
    """A client's statement that waits for an answer: `answer` is it, or the error."""

    def __init__(self, client: Connection, sql: str) -> None:
        super().__init__()
        self._client = client
        self._sql = sql
        self.answer: object = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = value(self._client, self._sql)
        except psycopg.Error as error:
            self.answer = error


@pytest.fixture(params=["told", "not told yet"])
def crowded(
    request: pytest.FixtureRequest, pg18: TestCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProxyUnderTest]:
    """A Gatehouse with one server per pool. Clients are told of a reload in turns: a server may become free before."""

    async def nobody() -> None:
        await asyncio.sleep(0)

    one_server = {"pool": {"size": 1, "session_size": 1}, "tenants": {"mover": placed_in("saas")}}
    with running_proxy(pg18, one_server) as proxy:
        if request.param != "told":
            monkeypatch.setattr(proxy.gatehouse, "_tell_clients", nobody)
        yield proxy


def waiting(proxy: ProxyUnderTest) -> int:
    """How many clients wait for a server."""
    return sum(pool.cl_waiting for pool in proxy.call(proxy.gatehouse._pools.snapshots))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_tenant_that_moves_takes_along_who_waits_for_a_server(crowded: ProxyUnderTest, mode: str) -> None:
    where = "SELECT current_database() || ' of ' || current_setting('app.tenant_id')"
    reload(crowded, {"users": {"app": {"pool_mode": mode}}})
    with connect(crowded, "umbrella") as holder, connect(crowded, "mover") as waiter:
        holder.execute("BEGIN")
        holder.execute("SELECT 1")
        asking = Asking(waiter, where)
        eventually(lambda: waiting(crowded) == 1)
        # A place may be another tenant's from now on: the new one of this tenant was.
        reload(
            crowded,
            {
                "tenants": {"initech": None, "mover": placed_in("tenant_initech", "database")},
                "users": {"initech": None},
            },
        )
        holder.execute("COMMIT")
        holder.close()
        asking.join()
        assert asking.answer == "tenant_initech of mover"
        assert value(waiter, where) == "tenant_initech of mover"


def test_who_waits_for_a_server_is_refused_when_the_tenant_is_suspended(crowded: ProxyUnderTest) -> None:
    with connect(crowded, "umbrella") as holder, connect(crowded) as waiter, connect(crowded) as gone:
        holder.execute("BEGIN")
        holder.execute("SELECT 1")
        asking = [Asking(client, "SELECT count(*) FROM orders") for client in (waiter, gone)]
        eventually(lambda: waiting(crowded) == 2)
        reload(crowded, with_status("suspended"))
        holder.execute("COMMIT")
        for each in asking:
            each.join()
            assert isinstance(each.answer, psycopg.errors.CannotConnectNow)
        reload(crowded, with_status("active"))
        assert value(waiter, "SELECT count(*) FROM orders") == 3


def test_who_waits_for_a_server_hears_that_nobody_more_may_wait_where_the_tenant_moved(pg18: TestCluster) -> None:
    few = {"pool": {"size": 1, "max_waiting": 1}}
    with running_proxy(pg18, few) as proxy, ExitStack() as stack:
        tenants = ("initech", "initech", "acme", "umbrella")
        holder, waiter, other_holder, other_waiter = (stack.enter_context(connect(proxy, name)) for name in tenants)
        for client in (holder, other_holder):
            client.execute("BEGIN")
            client.execute("SELECT 1")
        where = "SELECT current_database()"
        asking = [Asking(client, where) for client in (waiter, other_waiter)]
        eventually(lambda: waiting(proxy) == 2)
        reload(proxy, {"tenants": {"initech": placed_in("saas")}})
        asking[0].join()
        assert isinstance(asking[0].answer, psycopg.errors.TooManyConnections)
        other_holder.execute("COMMIT")
        asking[1].join()
        assert asking[1].answer == value(waiter, where) == "saas"


def test_who_waits_for_a_server_goes_on_waiting_where_nothing_changed(crowded: ProxyUnderTest) -> None:
    with connect(crowded, "umbrella") as holder, connect(crowded) as waiter:
        holder.execute("BEGIN")
        holder.execute("SELECT 1")
        asking = Asking(waiter, "SELECT count(*) FROM orders")
        eventually(lambda: waiting(crowded) == 1)
        reload(crowded, {"tenants": {"newcomer": placed_in("saas")}})
        assert waiting(crowded) == 1
        holder.execute("COMMIT")
        asking.join()
        assert asking.answer == 3


def test_a_schema_tenant_gets_its_new_search_path(proxy: ProxyUnderTest) -> None:
    with connect(proxy, "globex") as client:
        assert value(client, "SELECT count(*) FROM orders") == 4
        reload(proxy, {"tenants": {"globex": {"placement": {"schema": "tenant_other", "role": None}}}})
        assert value(client, "SELECT count(*) FROM orders") == 0
        assert value(client, "SHOW search_path") == "tenant_other, public"


def test_a_bad_file_changes_nothing(proxy: ProxyUnderTest) -> None:
    good = proxy.config_path.read_text()
    with connect(proxy) as client:
        for bad in ("tenants: [", "nonsense: 1\n" + good, good.replace("model: shared", "model: shred"), ""):
            refuse(proxy, bad)
            assert value(client, "SELECT count(*) FROM orders") == 3
            with connect(proxy, "umbrella") as other:
                assert value(other, "SELECT count(*) FROM orders") == 2
            assert "gatehouse_config_last_reload_successful 0.0" in proxy.metrics()
        reload(proxy, {})
        assert "gatehouse_config_last_reload_successful 1.0" in proxy.metrics()
        assert value(client, "SELECT 1") == 1


def test_a_schema_that_all_tenants_see_until_a_restart_becomes_nobodys_own(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"context": {"shared_schemas": ["public", "tenant_other"]}}) as proxy:
        proxy.write({"context": None, "tenants": {"other": {"placement": in_schema("tenant_other")}}})
        eventually(lambda: proxy.gatehouse._reloads.failed)
        with connect(proxy, "globex") as client:
            assert value(client, "SHOW search_path") == "tenant_globex, public, tenant_other"
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            connect(proxy, "other")
        reload(proxy, {"tenants": {"other": {"placement": in_schema("tenant_another")}}})
        with connect(proxy, "other") as client:
            assert value(client, "SHOW search_path") == "tenant_another, public, tenant_other"


def in_schema(schema: str) -> dict[str, Any]:
    return {"model": "schema", "cluster": "main", "database": "saas", "schema": schema}


def test_a_changed_password_counts_for_new_clients(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as client:
        before = proxy.gatehouse._reloads.ok
        (proxy.folder / "app.secret").write_text("another one")
        eventually(lambda: proxy.gatehouse._reloads.ok > before)
        assert value(client, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(proxy)
        with connect(proxy, password="another one") as other:
            assert value(other, "SELECT 1") == 1


def test_passwords_are_read_while_clients_are_served(proxy: ProxyUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[int] = []

    class Users:
        """As ConfiguredUsers, which may be compiled: then nothing of it can be replaced."""

        @staticmethod
        def read(*arguments: Any) -> ConfiguredUsers:
            readers.append(threading.get_ident())
            return ConfiguredUsers.read(*arguments)

    monkeypatch.setattr("proxy.app.reload.ConfiguredUsers", Users)
    reload(proxy, {"users": {"second": {"password": {"file": "app.secret"}, "tenants": "*"}}})
    assert readers
    assert proxy.call(threading.get_ident) not in readers
    with connect(proxy, user="second.acme") as client:
        assert value(client, "SELECT 1") == 1


def test_a_file_of_tenants_is_watched_too(pg18: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    tenants = tmp_path_factory.mktemp("tenants") / "tenants.yaml"
    entry = "filed: {placement: {model: shared, cluster: main, database: saas}, status: STATUS}\n"
    tenants.write_text(entry.replace("STATUS", "suspended"))
    with running_proxy(pg18, {"tenants_file": str(tenants)}) as proxy:
        with pytest.raises(psycopg.OperationalError, match="is suspended"):
            connect(proxy, "filed")
        tenants.write_text(entry.replace("STATUS", "active"))
        with eventually(lambda: connect(proxy, "filed")) as client:
            assert value(client, "SELECT 1") == 1


@pytest.mark.parametrize("error", [OSError("no watch is left"), RuntimeError("Error creating recommended watcher")])
def test_files_that_can_not_be_watched_are_looked_at(
    pg18: TestCluster, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unable(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("watchfiles.awatch", unable)
    with running_proxy(pg18) as proxy:
        reload(proxy, {"tenants": {"newcomer": placed_in("saas")}})
        with connect(proxy, "newcomer") as client:
            assert value(client, "SELECT 1") == 1


def test_more_clients_may_need_more_files(pg18: TestCluster) -> None:
    with served_proxy(pg18, {"limits": {"max_clients": 10, "max_logins": 10}}) as proxy:
        resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE, (200, 3000))
        proxy.write({"limits": {"max_clients": 1000}})
        eventually(lambda: proxy.events("configuration reloaded"))
        assert resource.prlimit(proxy.process.pid, resource.RLIMIT_NOFILE)[0] > 1000
        proxy.write({"limits": {"max_clients": 5000}})
        event = "the limit on open files is lower than what the configuration allows to connect"
        [line] = eventually(lambda: proxy.events(event))
        assert line["open_files"] == 3000


def test_limits_change_at_once(proxy: ProxyUnderTest) -> None:
    with connect(proxy), connect(proxy):
        reload(proxy, {"limits": {"max_clients": 2}, "pool": {"size": 7}})
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            connect(proxy)
        reload(proxy, {"limits": {"max_clients": 3}})
        with connect(proxy) as client:
            assert value(client, "SELECT 1") == 1
    assert pool_of(proxy).max_size == 7


def test_nothing_is_kept_where_nobody_lives_any_more(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"pool": {"min_size": 2, "idle_timeout": "200ms"}}) as proxy:

        def kept(database: str) -> int:
            pools = proxy.call(proxy.gatehouse._pools.snapshots)
            return sum(pool.sv_idle + pool.sv_login for pool in pools if pool.database == database)

        for tenant in ("acme", "initech"):
            with connect(proxy, tenant) as client:
                value(client, "SELECT 1")
        eventually(lambda: kept("saas") == kept("tenant_initech") == 2)
        reload(proxy, {"tenants": {"initech": {"status": "offboarded"}}})
        eventually(lambda: kept("tenant_initech") == 0)
        reload(proxy, {"tenants": {"initech": {"status": "active"}}})
        eventually(lambda: kept("tenant_initech") == 2)
        assert kept("saas") == 2
        # Another login has pools of its own; the old one may not even be let in any more.
        reload(proxy, {"clusters": {"main": {"user": pg18.superuser}}})
        for pool in list(proxy.gatehouse._pools._pools.values()):
            proxy.call(pool.maintain)
        assert kept("saas") == kept("tenant_initech") == 0


def test_limits_that_change_during_a_login_count_for_it(pg18: TestCluster) -> None:
    with FaultProxy(pg18.host, pg18.port) as network:
        network.faults.delays_new_ones = True
        slow = {"clusters": {"main": {"hosts": [network.address], "connect_timeout": f"{PATIENCE_S}s"}}}
        with running_proxy(pg18, slow) as proxy, ThreadPoolExecutor(1) as thread:
            logging_in = thread.submit(connect, proxy)
            eventually(lambda: proxy.gatehouse.services.census.clients)
            reload(proxy, {"timeouts": {"query_timeout": "200ms"}})
            network.faults.delays_new_ones = False
            with logging_in.result() as client, pytest.raises(psycopg.errors.QueryCanceled):
                client.execute("SELECT pg_sleep(20)")


def test_servers_of_the_old_hosts_are_not_lent_any_more(proxy: ProxyUnderTest, new_cluster: NewCluster) -> None:
    other = new_cluster()
    port = "SELECT inet_server_port()"
    with connect(proxy) as idle, connect(proxy) as busy:
        busy.execute("BEGIN")
        assert value(busy, port) == value(idle, port) == proxy.cluster.port
        reload(proxy, {"clusters": {"main": {"hosts": [f"{other.host}:{other.port}"]}}})
        assert value(idle, port) == other.port
        assert value(busy, port) == proxy.cluster.port
        busy.execute("COMMIT")
        assert value(busy, port) == other.port
        assert pool_of(proxy).closed == {"configuration changed": 2}


def test_sighup_reloads_and_the_log_says_what_is_wrong(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy, connect(proxy) as client:
        good = proxy.config_path.read_text()
        proxy.config_path.write_text(good + "pols: {size: 1}\ntiers: {slow: {statement_timeout: many}}\n")
        proxy.signal(signal.SIGHUP)
        [bad, *_] = eventually(lambda: proxy.events("configuration not reloaded; the old one stays in force"))
        lines = good.count("\n")
        assert bad["level"] == "error"
        assert f"gatehouse.yaml:{lines + 1}" in bad["problems"]
        assert f"gatehouse.yaml:{lines + 2}" in bad["problems"]
        assert "pols" in bad["problems"]
        assert value(client, "SELECT 1") == 1
        proxy.write({"tenants": {"acme": {"status": "suspended"}}})
        proxy.signal(signal.SIGHUP)
        eventually(lambda: proxy.events("configuration reloaded"))
        assert proxy.events("configuration reloaded")[0]["changed"] == ["tenants.acme"]
        with pytest.raises(psycopg.errors.CannotConnectNow):
            client.execute("SELECT 1")
        assert fetch(f"{proxy.http_url}/readyz")[0] == 200
