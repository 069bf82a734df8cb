"""Several processes on one port: each serves, limits hold for all together, and operators see one Gatehouse."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.wire import codes, frontend
from tests.integration.test_tls import Certificates, client_tls
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.raw import RawConnection, errors
from tests.support.serve import Connection, ServedProxy, connect, eventually, fetch, served_proxy, value

POOL_SIZE = 5
ROOMY = {"workers": 2, "pool": {"size": 40}}
"""A server for each client, on whichever worker they land."""


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ServedProxy]:
    with served_proxy(pg18, {"workers": 2, "pool": {"size": POOL_SIZE}}) as running:
        yield running


def children(proxy: ServedProxy) -> list[int]:
    """The workers' process ids."""
    path = Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def samples(proxy: ServedProxy, name: str) -> dict[tuple[str, ...], float]:
    """The samples of this name: label values to value."""
    status, text = fetch(f"{proxy.http_url}/metrics")
    assert status == 200, text
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def crowd(proxy: ServedProxy, stack: ExitStack, count: int = 16) -> list[Connection]:
    """So many clients that both workers have some."""
    clients = [stay(proxy, stack) for _ in range(count)]
    while len([n for n in samples(proxy, "gatehouse_worker_clients").values() if n]) < 2:
        clients.append(stay(proxy, stack))
        assert len(clients) < 100
    return clients


def stay(proxy: ServedProxy, stack: ExitStack, **options: str) -> Connection:
    """A client until the end of the test, without a COMMIT in farewell."""
    return stack.enter_context(closing(connect(proxy, **options)))


def test_both_workers_serve_and_their_figures_are_summed(proxy: ServedProxy) -> None:
    with ExitStack() as stack:
        queries = sum(samples(proxy, "gatehouse_tenant_queries_total").values())
        logins = samples(proxy, "gatehouse_logins_total")[()]
        clients = crowd(proxy, stack)
        for client in clients:
            assert value(client, "SELECT count(*) FROM orders") > 0
        by_worker = samples(proxy, "gatehouse_worker_clients")
        assert set(by_worker) == {("0",), ("1",)}
        assert sum(by_worker.values()) == len(clients)
        assert samples(proxy, "gatehouse_clients")[("idle",)] == len(clients)
        assert samples(proxy, "gatehouse_logins_total")[()] == logins + len(clients)
        assert sum(samples(proxy, "gatehouse_tenant_queries_total").values()) >= queries + len(clients)
        assert samples(proxy, "gatehouse_workers")[("ready",)] == 2
        status = json.loads(fetch(f"{proxy.http_url}/status.json")[1])
        assert status["clients"]["idle"] == len(clients)
        assert {pool["max_size"] for pool in status["pools"] if pool["database"] == "saas"} == {POOL_SIZE}


def test_the_endpoint_answers_for_all(proxy: ServedProxy) -> None:
    assert fetch(f"{proxy.http_url}/healthz") == (200, "ok\n")
    eventually(lambda: fetch(f"{proxy.http_url}/readyz")[0] == 200)
    status, body = fetch(f"{proxy.http_url}/readyz")
    assert status == 200
    assert {"name": "workers", "ok": True, "required": True, "detail": "2 of 2 are ready"} in json.loads(body)["checks"]
    status, body = fetch(f"{proxy.http_url}/")
    assert status == 200
    assert "Gatehouse" in body


def test_a_worker_that_does_not_answer_is_not_ready(proxy: ServedProxy) -> None:
    def ready() -> tuple[int, str]:
        status, body = fetch(f"{proxy.http_url}/readyz")
        return status, json.loads(body)["checks"][0]["detail"]

    pids = children(proxy)
    assert eventually(lambda: ready() if ready()[0] == 200 else None) == (200, "2 of 2 are ready")
    try:
        os.kill(pids[0], signal.SIGSTOP)
        assert ready() == (200, "1 of 2 are ready")
        os.kill(pids[1], signal.SIGSTOP)
        assert ready() == (503, "0 of 2 are ready")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert ready() == (200, "2 of 2 are ready")


def test_pool_size_holds_for_all_workers_together(proxy: ServedProxy) -> None:
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse' AND datname = 'saas'"

    def work(client: Connection) -> set[int]:
        return {value(client, "SELECT pg_backend_pid() FROM pg_sleep(0.05)") for _ in range(6)}

    with ExitStack() as stack:
        clients = crowd(proxy, stack, 24)
        with ThreadPoolExecutor(len(clients)) as threads:
            running = [threads.submit(work, client) for client in clients]
            most = 0
            while not all(future.done() for future in running):
                [(count,)] = proxy.cluster.sql(sessions)
                most = max(most, count)
            backends = set().union(*(future.result() for future in running))
        assert most == POOL_SIZE
        assert len(backends) == POOL_SIZE


@pytest.mark.parametrize("protocol", [codes.PROTOCOL_3_0, codes.PROTOCOL_3_2])
async def test_a_cancel_that_lands_on_another_worker_finds_its_target(proxy: ServedProxy, protocol: int) -> None:
    passed_on = 0
    async with await RawConnection.connect(
        proxy.host, proxy.port, user="app.acme", password=proxy.password, protocol=protocol
    ) as client:
        while passed_on < 3:
            before = await asyncio.to_thread(samples, proxy, "gatehouse_worker_client_connections_total")
            client.send(frontend.query(b"SELECT pg_sleep(20)"))
            await asyncio.to_thread(eventually, lambda: is_sleeping(proxy))
            await cancel(proxy, client.pid, client.key)
            assert errors(await client.until_ready()) == ["57014"]
            # PostgreSQL had taken it when the connection closed: it can not hit what comes next.
            assert await client.value("SELECT 1 FROM pg_sleep(0.02)") == "1"
            after = await asyncio.to_thread(samples, proxy, "gatehouse_worker_client_connections_total")
            [landed] = [int(worker) for (worker,), count in after.items() if count > before[worker,]]
            passed_on += landed != client.pid % 2


async def test_a_cancel_with_a_wrong_key_or_an_invented_process_id_does_nothing(proxy: ServedProxy) -> None:
    with proxy.cluster.locked() as lock:
        async with await RawConnection.connect(
            proxy.host, proxy.port, user="app.acme", password=proxy.password
        ) as client:
            client.send(frontend.query(f"SELECT 1 FROM {lock.wait}".encode()))
            await asyncio.to_thread(eventually, lambda: lock.waiting() == 1)
            for pid in (client.pid, client.pid ^ 1, client.pid + 2):
                for _ in range(4):
                    await cancel(proxy, pid, b"nope")
            lock.release()
            assert errors(await client.until_ready()) == []


async def test_a_storm_of_cancels_from_everywhere_never_hits_the_next_query(proxy: ServedProxy) -> None:
    async with await RawConnection.connect(proxy.host, proxy.port, user="app.acme", password=proxy.password) as client:
        for _ in range(60):
            client.send(frontend.query(b"SELECT pg_sleep(0.01)"))
            await cancel(proxy, client.pid, client.key)
            await client.until_ready()
            assert errors(await client.query("SELECT pg_sleep(0.002)")) == []


def is_sleeping(proxy: ServedProxy) -> bool:
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'"
    return proxy.cluster.sql(running) == [(1,)]


async def cancel(proxy: ServedProxy, pid: int, key: bytes) -> None:
    """Send a CancelRequest and wait until it was taken."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(frontend.cancel_request(pid, key))
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()
    await writer.wait_closed()


def test_a_killed_worker_is_replaced_and_the_others_go_on(pg18: TestCluster) -> None:
    with served_proxy(pg18, ROOMY) as proxy, ExitStack() as stack:
        clients = crowd(proxy, stack)
        for client in clients:
            value(client, "SELECT 1")
        logins = samples(proxy, "gatehouse_logins_total")[()]
        victim, other = children(proxy)
        os.kill(victim, signal.SIGKILL)
        eventually(
            lambda: (
                samples(proxy, "gatehouse_worker_restarts_total") in ({("0",): 1, ("1",): 0}, {("0",): 0, ("1",): 1})
            )
        )
        eventually(lambda: samples(proxy, "gatehouse_workers")[("ready",)] == 2)
        assert other in children(proxy)
        survivors = [client for client in clients if answers(client)]
        assert 0 < len(survivors) < len(clients)
        assert samples(proxy, "gatehouse_worker_clients") != {}
        assert samples(proxy, "gatehouse_logins_total")[()] >= logins
        crowd(proxy, stack)


def answers(client: Connection) -> bool:
    try:
        return bool(value(client, "SELECT 1") == 1)
    except psycopg.OperationalError:
        return False


def test_a_worker_that_can_not_be_replaced_at_once_is_replaced_later(pg18: TestCluster) -> None:
    with served_proxy(pg18, {"workers": 2, "timeouts": {"shutdown_timeout": "off"}}) as proxy:
        with no_more_files(proxy.process.pid):
            os.kill(children(proxy)[0], signal.SIGKILL)
            [line, *_] = eventually(lambda: proxy.events("a worker can not be started"))
            assert "Too many open files" in line["reason"]
        eventually(lambda: samples(proxy, "gatehouse_workers")[("ready",)] == 2)
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0


@contextmanager
def no_more_files(pid: int) -> Iterator[None]:
    """The process can open no more files, until the end."""
    files = [int(file) for file in os.listdir(f"/proc/{pid}/fd")]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # Numbers that are free below the highest one in use could be taken.
    missing = set(range(max(files))) - set(files)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(missing, default=max(files) + 1), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def test_a_worker_that_is_told_to_end_is_replaced_after_its_transactions(pg18: TestCluster) -> None:
    with served_proxy(pg18, ROOMY) as proxy, ExitStack() as stack:
        clients = crowd(proxy, stack)
        for client in clients:
            client.execute("BEGIN")
            client.execute("SELECT 1 FROM orders")
        first = children(proxy)[0]
        os.kill(first, signal.SIGTERM)
        time.sleep(0.2)
        for client in clients:
            client.execute("COMMIT")
        eventually(lambda: first not in children(proxy) and samples(proxy, "gatehouse_workers")[("ready",)] == 2)


def test_a_reload_reaches_every_worker_and_a_bad_file_none(pg18: TestCluster) -> None:
    with served_proxy(pg18, ROOMY) as proxy, ExitStack() as stack:
        clients = crowd(proxy, stack)
        for client in clients:
            value(client, "SELECT 1")
        proxy.write({"tenants": {"acme": {"status": "suspended"}}})
        proxy.signal(signal.SIGHUP)
        eventually(lambda: len(reloaded(proxy)) == 2)
        assert {line["worker"] for line in reloaded(proxy)} == {0, 1}
        for client in clients:
            with pytest.raises(psycopg.Error, match="suspended"):
                value(client, "SELECT 1")
        good = proxy.config_path.read_text()
        proxy.config_path.write_text(good + "\nnonsense: 1\n")
        proxy.signal(signal.SIGHUP)
        eventually(lambda: samples(proxy, "gatehouse_config_last_reload_successful") == {(): 0})
        seen = len(reloaded(proxy))
        # A worker that is started now gets what is in force, not what is in the file.
        os.kill(children(proxy)[0], signal.SIGKILL)
        eventually(lambda: sum(samples(proxy, "gatehouse_worker_restarts_total").values()) == 1)
        eventually(lambda: samples(proxy, "gatehouse_workers")[("ready",)] == 2)
        for _ in range(8):
            with pytest.raises(psycopg.OperationalError, match="suspended"):
                connect(proxy)
        proxy.write({"tenants": {"acme": {"status": "active"}}})
        eventually(lambda: len(reloaded(proxy)) == seen + 2)
        assert samples(proxy, "gatehouse_config_last_reload_successful") == {(): 1}
        crowd(proxy, stack)


async def test_a_login_has_the_same_salt_at_every_worker_and_after_a_reload(pg18: TestCluster) -> None:
    """A user that does not exist has one, too: another salt would tell them apart."""
    with served_proxy(pg18, ROOMY) as proxy:
        salts = {await salt(proxy) for _ in range(12)}
        proxy.write({"tenants": {"globex": {"status": "suspended"}}})
        proxy.signal(signal.SIGHUP)
        await asyncio.to_thread(eventually, lambda: len(reloaded(proxy)) == 2)
        os.kill(children(proxy)[0], signal.SIGKILL)
        await asyncio.to_thread(
            eventually, lambda: sum(samples(proxy, "gatehouse_worker_restarts_total").values()) == 1
        )
        await asyncio.to_thread(eventually, lambda: samples(proxy, "gatehouse_workers")[("ready",)] == 2)
        salts |= {await salt(proxy) for _ in range(12)}
    assert len(salts) == 1


def test_a_worker_that_could_not_take_over_a_reload_does_it_as_soon_as_it_can(
    pg18: TestCluster, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    with served_proxy(pg18, {**ROOMY, **client_tls(certificates, "prefer")}) as proxy, ExitStack() as stack:
        clients = crowd(proxy, stack)
        succeeded = "gatehouse_config_last_reload_successful"
        with no_more_files(children(proxy)[0]):
            proxy.write({"tenants": {"acme": {"status": "suspended"}}})
            eventually(lambda: len(proxy.events("a worker refused the configuration")) > 1)
            assert [line["worker"] for line in reloaded(proxy)] == [1]
            assert len([client for client in clients if not is_suspended(client)]) not in (0, len(clients))
        eventually(lambda: len(reloaded(proxy)) == 2)
        eventually(lambda: samples(proxy, succeeded)[()] == 1)
        assert samples(proxy, "gatehouse_config_reloads_total") == {("ok",): 1, ("failed",): 1}
        assert all(is_suspended(client) for client in clients)


def is_suspended(client: Connection) -> bool:
    try:
        value(client, "SELECT 1")
    except psycopg.errors.CannotConnectNow:
        return True
    return False


async def salt(proxy: ServedProxy) -> str:
    async with await RawConnection.connect(proxy.host, proxy.port, user="app.acme", password=proxy.password) as client:
        return client.salt


def reloaded(proxy: ServedProxy) -> list[dict[str, Any]]:
    return proxy.events("configuration reloaded")


def sessions(cluster: TestCluster) -> int:
    [(count,)] = cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatehouse'")
    return int(count)


def test_sigterm_lets_every_workers_transactions_end_and_nothing_stays(pg18: TestCluster) -> None:
    before = sessions(pg18)  # those of the other tests' proxy
    with served_proxy(pg18, ROOMY) as proxy, ExitStack() as stack:
        pids = children(proxy)
        clients = crowd(proxy, stack)
        busy, idle = clients[::2], clients[1::2]
        for client in busy:
            client.execute("BEGIN")
            client.execute("SELECT 1 FROM orders")
        proxy.signal(signal.SIGTERM)
        eventually(lambda: len(proxy.events("gatehouse is stopping")) == 3)
        for client in idle:
            with pytest.raises(psycopg.OperationalError):
                value(client, "SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connect(proxy)
        assert fetch(f"{proxy.http_url}/readyz")[0] == 503
        for client in busy:
            assert value(client, "SELECT 2") == 2
            client.execute("COMMIT")
        assert proxy.wait() == 0
        assert_nothing_stays(proxy, pids)
        eventually(lambda: sessions(pg18) <= before)


def test_sigint_ends_all_at_once(pg18: TestCluster) -> None:
    with served_proxy(pg18, {"workers": 3}) as proxy, closing(connect(proxy)) as client:
        pids = children(proxy)
        assert len(pids) == 3
        client.execute("BEGIN")
        client.execute("SELECT 1 FROM orders")
        proxy.signal(signal.SIGINT)
        assert proxy.wait() == 0
        assert_nothing_stays(proxy, pids)


def test_a_second_signal_ends_the_wait(pg18: TestCluster) -> None:
    with served_proxy(pg18, {**ROOMY, "timeouts": {"shutdown_timeout": "off"}}) as proxy, ExitStack() as stack:
        for client in crowd(proxy, stack):
            client.execute("BEGIN")
            client.execute("SELECT 1 FROM orders")
        proxy.signal(signal.SIGTERM)
        eventually(lambda: len(proxy.events("gatehouse is stopping")) == 3)
        time.sleep(0.2)
        assert proxy.process.poll() is None
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0


def test_a_second_signal_ends_a_worker_that_does_not_heed_it(pg18: TestCluster) -> None:
    with served_proxy(pg18, {"workers": 2, "timeouts": {"shutdown_timeout": "off"}}) as proxy:
        pids = children(proxy)
        os.kill(pids[0], signal.SIGSTOP)
        proxy.signal(signal.SIGTERM)
        eventually(lambda: proxy.events("gatehouse has stopped"))  # the other worker
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert_nothing_stays(proxy, pids)


def test_workers_end_when_their_supervisor_is_killed(pg18: TestCluster) -> None:
    with served_proxy(pg18, {"workers": 2}) as proxy:
        pids = children(proxy)
        assert len(doors_of(proxy)) == 1
        proxy.process.kill()
        proxy.process.wait()
        assert_nothing_stays(proxy, pids)
        eventually(lambda: not doors_of(proxy))


def doors_of(proxy: ServedProxy) -> set[Path]:
    """Folders with its workers' sockets."""
    return {path.parent for path in proxy.log_path.parent.glob("gatehouse-*/worker-*")}


def assert_nothing_stays(proxy: ServedProxy, pids: list[int]) -> None:
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((proxy.host, proxy.port))


def test_the_unix_socket_is_shared_and_removed_at_the_end(pg18: TestCluster) -> None:
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        with served_proxy(pg18, {"workers": 2, "listen": {"unix_socket_dir": folder}}) as proxy, ExitStack() as stack:
            deadline = time.monotonic() + PATIENCE_S
            while len([n for n in samples(proxy, "gatehouse_worker_clients").values() if n]) < 2:
                assert time.monotonic() < deadline
                stay(proxy, stack, host=folder)
            os.kill(children(proxy)[0], signal.SIGTERM)
            eventually(lambda: sum(samples(proxy, "gatehouse_worker_restarts_total").values()) == 1)
            with connect(proxy, host=folder) as client:
                assert value(client, "SELECT 1") == 1
        assert list(Path(folder).iterdir()) == []


def test_who_is_started_while_the_old_one_drains_has_the_unix_socket(pg18: TestCluster) -> None:
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        extra = {"workers": 2, "listen": {"unix_socket_dir": folder}}
        with served_proxy(pg18, extra) as old, closing(connect(old)) as busy:
            busy.execute("BEGIN")
            busy.execute("SELECT 1 FROM orders")
            old.signal(signal.SIGTERM)
            eventually(lambda: list(Path(folder).iterdir()) == [])
            eventually(lambda: len(old.events("gatehouse is stopping")) == 3)
            extra["listen"] = {"unix_socket_dir": folder, "port": old.port}
            with served_proxy(pg18, extra) as new:
                busy.execute("COMMIT")
                assert old.wait() == 0
                with connect(new, host=folder) as client:
                    assert value(client, "SELECT 1") == 1
        assert list(Path(folder).iterdir()) == []


def test_a_port_that_is_taken_is_said_once(pg18: TestCluster, proxy: ServedProxy) -> None:
    with tempfile.TemporaryDirectory(prefix="gatehouse-second-") as folder:
        second = ServedProxy(pg18, Path(folder), {"workers": 2, "listen": {"port": proxy.port}})
        second.launch()
        assert second.wait() == 2
        assert second.log().count(f"can not listen on {proxy.host}:{proxy.port}") == 1


def test_check_refuses_fewer_servers_than_workers(pg18: TestCluster) -> None:
    with tempfile.TemporaryDirectory(prefix="gatehouse-check-") as folder:
        proxy = ServedProxy(pg18, Path(folder), {"workers": 4, "pool": {"size": 3}})
        for command in ("check", "serve"):
            run = subprocess.run(
                [sys.executable, "-m", "proxy", command, "--config", str(proxy.config_path)],
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
            assert run.returncode == 2
            assert "gatehouse.yaml:" in run.stderr
            assert "must not be less than workers, which is 4" in run.stderr
            assert "hint: Raise size, or run fewer workers." in run.stderr


def test_a_signal_to_all_processes_is_no_haste(pg18: TestCluster) -> None:
    with served_proxy(pg18, ROOMY) as proxy, ExitStack() as stack:
        clients = crowd(proxy, stack)
        for client in clients:
            client.execute("BEGIN")
            client.execute("SELECT 1 FROM orders")
        for pid in (proxy.process.pid, *children(proxy)):
            os.kill(pid, signal.SIGTERM)
        eventually(lambda: len(proxy.events("gatehouse is stopping")) == 3)
        time.sleep(0.2)
        for client in clients:
            client.execute("COMMIT")
        assert proxy.wait() == 0
