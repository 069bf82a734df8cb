"""How Gatehouse finds its PostgreSQL: several hosts, hosts that do not answer, logins that are refused."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from proxy.cli.demo.postgres import free_port
from proxy.errors import ShuttingDown
from proxy.wire import backend, codes
from tests.conftest import NewCluster
from tests.support.faults import FaultProxy
from tests.support.postgres import TestCluster
from tests.support.proxy import running_proxy
from tests.support.raw import RawConnection
from tests.support.serve import connect, eventually, is_at_rest, pool_of, value

PORT = "SELECT inet_server_port()"


FAREWELL = ShuttingDown("terminating connection due to administrator command")


@contextmanager
def leaving() -> Iterator[str]:
    """The address of a server that lets everybody in, and takes its leave in the same breath."""

    class Leaving(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(
                backend.AUTHENTICATION_OK
                + backend.READY[codes.IDLE]
                + backend.error_response(FAREWELL, severity="FATAL")
            )

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Leaving) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def at(*hosts: str, **cluster: Any) -> dict[str, Any]:
    return {"clusters": {"main": {"hosts": list(hosts), **cluster}}}


def test_a_dead_host_is_passed_over(pg18: TestCluster) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with running_proxy(pg18, at(dead, f"127.0.0.1:{pg18.port}")) as proxy, connect(proxy) as client:
        assert value(client, PORT) == pg18.port


def test_a_host_that_does_not_answer_costs_the_connect_timeout_and_is_passed_over(pg18: TestCluster) -> None:
    with FaultProxy(pg18.host, pg18.port) as network:
        network.faults.holds_new_ones_back = True
        extra = at(network.address, f"127.0.0.1:{pg18.port}", connect_timeout="1s")
        began = time.monotonic()
        with running_proxy(pg18, extra) as proxy, connect(proxy) as client:
            assert value(client, PORT) == pg18.port
            assert time.monotonic() - began > 0.9


def test_a_host_that_never_answers_is_an_error_after_the_connect_timeout(pg18: TestCluster) -> None:
    with FaultProxy(pg18.host, pg18.port) as network:
        network.faults.holds_new_ones_back = True
        with capture_logs() as log, running_proxy(pg18, at(network.address, connect_timeout="1s")) as proxy:
            with pytest.raises(
                psycopg.OperationalError, match='could not connect to the database server of cluster "main"'
            ):
                connect(proxy)
            [line] = [line for line in log if line["log_level"] == "error"]
            assert line["server"] == network.address
            assert line["reason"] == "no answer within 1 s"
            network.faults.holds_new_ones_back = False
            with eventually(lambda: connect(proxy)) as client:
                assert value(client, "SELECT 1") == 1


def test_clients_do_not_pile_up_behind_a_host_that_does_not_answer(pg18: TestCluster) -> None:
    with FaultProxy(pg18.host, pg18.port) as network:
        network.faults.holds_new_ones_back = True
        with running_proxy(pg18, at(network.address, connect_timeout="500ms")) as proxy:

            def is_refused(_: int) -> bool:
                with pytest.raises(psycopg.OperationalError, match="could not connect"):
                    connect(proxy)
                return True

            with ThreadPoolExecutor(20) as threads:
                assert all(threads.map(is_refused, range(20)))
            assert network.accepted < 10


def test_the_second_host_takes_over_and_the_first_comes_back(pg18: TestCluster, new_cluster: NewCluster) -> None:
    first = new_cluster()
    hosts = at(f"127.0.0.1:{first.port}", f"127.0.0.1:{pg18.port}")
    with running_proxy(first, {**hosts, "pool": {"lifetime": "500ms"}}) as proxy, connect(proxy) as client:
        assert value(client, PORT) == first.port
        first.stop()
        assert eventually(lambda: value(client, PORT)) == pg18.port
        first.start()
        eventually(lambda: value(client, PORT) == first.port)


def test_a_cluster_that_starts_after_gatehouse_is_found(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.stop()
    with running_proxy(cluster) as proxy:
        with pytest.raises(psycopg.OperationalError, match="could not connect"):
            connect(proxy)
        cluster.start()
        with eventually(lambda: connect(proxy)) as client:
            assert value(client, "SELECT 1") == 1


def test_a_wrong_server_password_is_told_without_secrets(
    pg18: TestCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secrets") / "wrong"
    secret.write_text("not the secret")
    extra = {"clusters": {"main": {"password": {"file": str(secret)}}}}
    with capture_logs() as log, running_proxy(pg18, extra) as proxy:
        with pytest.raises(psycopg.OperationalError) as refused:
            connect(proxy)
        told = str(refused.value)
        assert "server refused the proxy's login" in told
        assert "not the secret" not in told + str(log)
        assert '"gatehouse"' not in told
        [line] = [line for line in log if line["log_level"] == "error"]
        assert line["server_message"] == 'password authentication failed for user "gatehouse"'
        assert line["server_sqlstate"] == "28P01"
        assert line["cluster"] == "main"
        secret.write_text(pg18.login_password)
        with eventually(lambda: connect(proxy)) as client:
            assert value(client, "SELECT 1") == 1


def test_where_a_server_password_is_missing_is_for_the_log_alone(
    pg18: TestCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secrets") / "gone"
    extra = {"clusters": {"main": {"password": {"file": str(secret)}}}}
    with capture_logs() as log, running_proxy(pg18, extra) as proxy:
        with pytest.raises(psycopg.OperationalError) as refused:
            connect(proxy)
        assert "the proxy's own password can not be read" in str(refused.value)
        assert str(secret) not in str(refused.value)
        [line] = [line for line in log if line["log_level"] == "error"]
        assert line["reason"] == f"the secret file {secret} can not be read: No such file or directory"
        assert line["cluster"] == "main"
        secret.write_text(pg18.login_password)
        with eventually(lambda: connect(proxy)) as client:
            assert value(client, "SELECT 1") == 1


def test_a_database_that_does_not_exist_is_the_tenants_trouble_alone(pg18: TestCluster) -> None:
    lost = {"placement": {"model": "shared", "cluster": "main", "database": "nowhere"}}
    with running_proxy(pg18, {"tenants": {"lost": lost}}) as proxy:
        with pytest.raises(psycopg.OperationalError, match="server refused the proxy's login"):
            connect(proxy, "lost")
        with connect(proxy) as client:
            assert value(client, "SELECT 1") == 1


def test_a_full_server_makes_clients_wait_for_the_servers_there_are(new_cluster: NewCluster) -> None:
    cluster = new_cluster(
        settings={"max_connections": "6", "superuser_reserved_connections": "2", "max_wal_senders": "0"}
    )
    cluster.sql("ALTER ROLE gatehouse CONNECTION LIMIT 1")
    with running_proxy(cluster) as proxy, connect(proxy) as one, connect(proxy) as two:
        one.execute("BEGIN")
        one.execute("SELECT 1")
        notices: list[object] = []
        two.add_notice_handler(notices.append)

        def finish() -> None:
            eventually(lambda: pool_of(proxy).connect_errors_total > 0)
            one.execute("COMMIT")

        finishing = threading.Thread(target=finish)
        finishing.start()
        assert value(two, "SELECT 1") == 1
        finishing.join()


def test_a_server_that_is_no_postgresql_is_recognised(pg18: TestCluster) -> None:
    with running_proxy(pg18) as other:
        extra = at(f"127.0.0.1:{other.gatehouse.http_port}")
        with running_proxy(pg18, extra) as proxy, pytest.raises(psycopg.OperationalError, match="PostgreSQL protocol"):
            connect(proxy)


async def test_a_server_that_leaves_right_after_the_login_is_passed_over(pg18: TestCluster) -> None:
    with leaving() as host, running_proxy(pg18, at(host, f"127.0.0.1:{pg18.port}")) as proxy:
        login = RawConnection.connect(proxy.host, proxy.port, user="app.acme", password=proxy.password)
        async with await login as client:
            assert await client.value(PORT) == str(pg18.port)


def test_who_waits_for_a_server_that_leaves_right_after_the_login_is_told(pg18: TestCluster) -> None:
    with leaving() as host, running_proxy(pg18, at(host)) as proxy:
        with pytest.raises(psycopg.OperationalError, match="as soon as the proxy had logged in"):
            connect(proxy)
        eventually(lambda: is_at_rest(proxy))
        assert pool_of(proxy).opened_total == 0
