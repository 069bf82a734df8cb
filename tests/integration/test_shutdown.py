"""Stopping: who may finish, who is told what, what the exit code says, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import TestCluster
from tests.support.raw import RawConnection
from tests.support.serve import Connection, ServedProxy, connect, eventually, fetch, served_proxy, value


@contextmanager
def in_a_transaction(proxy: ServedProxy, tenant: str = "globex") -> Iterator[Connection]:
    with connect(proxy, tenant) as client:
        client.execute("BEGIN")
        client.execute("INSERT INTO orders (item, amount) VALUES ('unfinished', 1)")
        yield client


def gatehouse_sessions(cluster: TestCluster) -> int:
    [(count,)] = cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse'")
    return int(count)


def assert_is_sent_away(client: Connection) -> None:
    """Soon: what it asks before Gatehouse comes to it is answered."""
    eventually(lambda: is_refused(client))
    assert client.closed


def is_refused(client: Connection) -> bool:
    try:
        client.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_sigterm_lets_a_running_transaction_end_and_sends_idle_clients_away(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy, connect(proxy) as idle, in_a_transaction(proxy) as busy:
        proxy.signal(signal.SIGTERM)
        eventually(lambda: proxy.events("gatehouse is stopping"))
        assert_is_sent_away(idle)
        with pytest.raises(psycopg.OperationalError):
            connect(proxy)
        assert proxy.process.poll() is None
        assert value(busy, "SELECT count(*) FROM orders") == 5
        status, body = fetch(f"{proxy.http_url}/readyz")
        assert status == 503
        assert {"name": "running", "ok": False, "required": True, "detail": "stopping"} in json.loads(body)["checks"]
        busy.execute("DELETE FROM orders WHERE item = 'unfinished'")
        busy.execute("COMMIT")
        assert_is_sent_away(busy)
        assert proxy.wait() == 0
        assert proxy.events("gatehouse has stopped")
        eventually(lambda: gatehouse_sessions(pg18) == 0)


async def test_the_last_word_is_57p01(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy:
        clients = [
            await RawConnection.connect(proxy.host, proxy.port, user=f"app.{tenant}", password=proxy.password)
            for tenant in ("acme", "globex", "initech")
        ]
        idle, in_transaction, failed = clients
        for client in (in_transaction, failed):
            await client.query("BEGIN")
        await in_transaction.query("SELECT 1")
        await failed.query("SELECT 1/0")
        proxy.signal(signal.SIGTERM)
        last = [await idle.read()]
        for client in (in_transaction, failed):
            await client.query("COMMIT")
            last.append(await client.read())
        for frame, client in zip(last, clients, strict=True):
            assert frame.code == "E"
            assert (frame.fields["S"], frame.fields["C"]) == ("FATAL", "57P01")
            assert "shutting down" in frame.fields["M"]
            with pytest.raises(EOFError):
                await client.read()
            await client.close()
        assert await asyncio.to_thread(proxy.wait) == 0


def test_sigterm_lets_a_running_query_end(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy, connect(proxy) as client, pg18.locked() as lock:
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(value(client, f"SELECT 7 FROM {lock.wait}")))
        asking.start()
        eventually(lambda: lock.waiting() == 1)
        proxy.signal(signal.SIGTERM)
        eventually(lambda: proxy.events("gatehouse is stopping"))
        lock.release()
        asking.join()
        assert answers == [7]
        assert proxy.wait() == 0


def test_sigterm_serves_who_waits_for_a_server_already(pg18: TestCluster) -> None:
    extra = {"pool": {"size": 1}}
    with served_proxy(pg18, extra) as proxy, in_a_transaction(proxy) as holder, connect(proxy) as waiter:
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(value(waiter, "SELECT 7")))
        asking.start()
        eventually(lambda: "cl_waiting" and '"waiting"' in fetch(f"{proxy.http_url}/metrics")[1])
        eventually(lambda: 'gatehouse_clients{state="waiting"} 1.0' in fetch(f"{proxy.http_url}/metrics")[1])
        proxy.signal(signal.SIGTERM)
        eventually(lambda: proxy.events("gatehouse is stopping"))
        holder.execute("ROLLBACK")
        asking.join()
        assert answers == [7]
        assert proxy.wait() == 0


def test_transactions_are_ended_when_the_time_is_up(pg18: TestCluster) -> None:
    with (
        served_proxy(pg18, {"timeouts": {"shutdown_timeout": "300ms"}}) as proxy,
        in_a_transaction(proxy) as busy,
    ):
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - began > 0.25
        assert_is_sent_away(busy)
    assert pg18.sql("SELECT count(*) FROM tenant_globex.orders WHERE item = 'unfinished'", "saas") == [(0,)]


def test_a_second_sigterm_ends_it_at_once(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy, in_a_transaction(proxy) as busy:
        proxy.signal(signal.SIGTERM)
        eventually(lambda: proxy.events("gatehouse is stopping"))
        assert proxy.process.poll() is None
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert_is_sent_away(busy)


def test_sigint_ends_it_at_once_and_leaves_nothing_running(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy, connect(proxy) as client:
        failed: list[psycopg.Error] = []

        def sleep() -> None:
            try:
                client.execute("SELECT pg_sleep(120)")
            except psycopg.Error as error:
                failed.append(error)

        sleeping = threading.Thread(target=sleep)
        sleeping.start()
        eventually(lambda: pg18.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 0
        sleeping.join()
        assert failed[0].sqlstate == "57P01"
        eventually(lambda: gatehouse_sessions(pg18) == 0)


def test_ports_and_socket_are_free_again_at_once(pg18: TestCluster) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="gh-") as folder,
        served_proxy(pg18, {"listen": {"unix_socket_dir": folder}}) as proxy,
    ):
        socket_path = Path(folder, f".s.PGSQL.{proxy.port}")
        assert socket_path.is_socket()
        with connect(proxy) as client, connect(proxy, host=folder) as local:
            assert value(client, "SELECT 1") == value(local, "SELECT 1") == 1
            proxy.signal(signal.SIGTERM)
            assert proxy.wait() == 0
        assert not socket_path.exists()
        proxy.log_path.write_text("")
        proxy.start()
        with connect(proxy) as client:
            assert value(client, "SELECT 1") == 1


def test_the_socket_of_a_killed_process_does_not_stop_the_next(pg18: TestCluster) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="gh-") as folder,
        served_proxy(pg18, {"listen": {"unix_socket_dir": folder}}) as proxy,
    ):
        proxy.process.kill()
        proxy.wait()
        assert Path(folder, f".s.PGSQL.{proxy.port}").is_socket()
        proxy.log_path.write_text("")
        proxy.start()
        with connect(proxy, host=folder) as client:
            assert value(client, "SELECT 1") == 1


def test_a_socket_where_somebody_answers_is_not_taken_away(pg18: TestCluster) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="gh-") as folder,
        tempfile.TemporaryDirectory(prefix="gatehouse-second-") as other,
        served_proxy(pg18, {"listen": {"unix_socket_dir": folder}}) as proxy,
    ):
        listen = {"unix_socket_dir": folder, "port": proxy.port, "host": "127.0.0.2"}
        second = ServedProxy(pg18, Path(other), {"listen": listen})
        second.launch()
        assert second.wait() == 2
        assert f"can not listen on {folder}/.s.PGSQL.{proxy.port}: address already in use" in second.log()
        assert "hint: Stop what listens there, or set listen.port or listen.unix_socket_dir" in second.log()
        with connect(proxy, host=folder) as client:
            assert value(client, "SELECT 1") == 1
