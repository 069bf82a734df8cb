"""Large things pass through without being held: memory stays bounded whoever is slow."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import psycopg
import pytest

from proxy.wire import codes, frontend
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import running_proxy
from tests.support.raw import RawConnection, errors, tags
from tests.support.serve import ServedProxy, connect, fetch, served_proxy

MB = 1024 * 1024
SPARE = 60 * MB
"""How much larger the process may grow whatever passes through it."""


@pytest.fixture(scope="module")
def served(pg18: TestCluster) -> Iterator[ServedProxy]:
    with served_proxy(pg18) as running:
        with connect(running, "globex") as client, connect(running, "initech") as other:
            client.execute("SELECT 1")
            other.execute("SELECT 1")
        yield running


@pytest.fixture
def baseline(served: ServedProxy) -> Iterator[int]:
    """The resident memory before; afterwards it must not have peaked far above that."""
    reset_peak(served)
    before = served.resident_bytes()
    yield before
    assert served.peak_bytes() - before < SPARE


def reset_peak(served: ServedProxy) -> None:
    with open(f"/proc/{served.process.pid}/clear_refs", "w") as refs:
        refs.write("5")


async def send_while_taken(writer: asyncio.StreamWriter, data: bytes, most: int) -> int:
    """Send again and again until nothing is taken for half a second; how often."""
    for count in range(1, most + 1):
        writer.write(data)
        try:
            await asyncio.wait_for(writer.drain(), 0.5)
        except TimeoutError:
            return count
    return most


async def raw(proxy: ServedProxy, tenant: str = "globex") -> RawConnection:
    return await RawConnection.connect(proxy.host, proxy.port, user=f"app.{tenant}", password=proxy.password)


def counted(served: ServedProxy, tenant: str, what: str) -> float:
    """A counter of a tenant."""
    for line in fetch(f"{served.http_url}/metrics")[1].splitlines():
        if line.startswith(f"gatehouse_tenant_{what}_bytes_total{{") and f'tenant="{tenant}"' in line:
            return float(line.rpartition(" ")[2])
    return 0.0


@pytest.mark.usefixtures("baseline")
async def test_a_client_that_does_not_read_stops_the_server_not_the_proxy(served: ServedProxy) -> None:
    async with await raw(served) as other:
        client = await raw(served)
        client.send(frontend.query(b"SELECT repeat('x', 10000) FROM generate_series(1, 20000)"))
        await client.until("D")
        await asyncio.sleep(0.5)
        assert counted(served, "globex", "sent") < 30 * MB
        assert await other.value("SELECT 1") == "1"
        frames = 1
        while (await client.read()).code == "D":
            frames += 1
        assert frames == 20000
        client.abort()


@pytest.mark.usefixtures("baseline")
async def test_a_row_of_200_mb_streams_through(served: ServedProxy) -> None:
    reader, writer = await logged_in(served)
    writer.write(frontend.query(b"SELECT repeat('x', 200000000)"))
    received = 0
    tail = b""
    while not tail.endswith(b"Z\0\0\0\5I"):
        data = await asyncio.wait_for(reader.read(MB), PATIENCE_S)
        assert data
        received += len(data)
        tail = (tail + data)[-6:]
    assert received > 200_000_000
    writer.close()


async def logged_in(served: ServedProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    client = await raw(served)
    return client._reader, client._writer


def copy_frame(size: int) -> bytes:
    """CopyData with one row for `orders`."""
    line = b"x" * (size - 3) + b"\t1\n"
    return bytes((codes.COPY_DATA,)) + (len(line) + 4).to_bytes(4, "big") + line


@pytest.mark.usefixtures("baseline")
async def test_copy_in_of_300_mb_streams(served: ServedProxy) -> None:
    client = await raw(served, "initech")
    await client.query("BEGIN")
    client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
    await client.until("G")
    frame = copy_frame(MB)
    for _ in range(300):
        client.send(frame)
        await asyncio.wait_for(client._writer.drain(), PATIENCE_S)
    client.send(b"c\0\0\0\4")
    assert tags(await client.until_ready()) == ["COPY 300"]
    await client.query("ROLLBACK")
    await client.close()


@pytest.mark.usefixtures("baseline")
async def test_copy_in_waits_while_postgresql_is_stopped(served: ServedProxy) -> None:
    client = await raw(served, "initech")
    await client.query("BEGIN")
    pid = int(await client.value("SELECT pg_backend_pid()") or 0)
    client.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
    await client.until("G")
    frame = copy_frame(MB)
    os.kill(pid, signal.SIGSTOP)
    try:
        sent = await send_while_taken(client._writer, frame, most=200)
        assert sent < 60
    finally:
        os.kill(pid, signal.SIGCONT)
    client.send(b"c\0\0\0\4")
    assert tags(await client.until_ready()) == [f"COPY {sent}"]
    await client.query("ROLLBACK")
    await client.close()


@pytest.mark.usefixtures("baseline")
def test_copy_out_streams(served: ServedProxy) -> None:
    received = 0
    with (
        connect(served) as client,
        client.cursor().copy("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 200000)) TO STDOUT") as copy,
    ):
        for data in copy:
            received += len(data)
    assert received == 200_200_000


@pytest.mark.usefixtures("baseline")
def test_a_parameter_of_50_mb_streams_to_a_prepared_statement(served: ServedProxy) -> None:
    with connect(served, prepare_threshold=0) as client:
        for _ in range(2):
            row = client.execute("SELECT length(%s)", ("y" * 50_000_000,)).fetchone()
            assert row == (50_000_000,)


@pytest.mark.usefixtures("baseline")
async def test_a_client_that_asks_and_never_reads_is_not_read_from(served: ServedProxy) -> None:
    """What the proxy answers by itself must not pile up either."""
    reader, writer = await logged_in(served)
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert await send_while_taken(writer, frontend.query(b"RESET ALL") * 50_000, most=200) < 200
    writer.transport.abort()


def test_messages_over_a_limit_are_refused_clearly(pg18: TestCluster) -> None:
    extra = {"limits": {"max_message_size": "2MB", "max_query_size": "100kB"}}
    with running_proxy(pg18, extra) as proxy:
        with connect(proxy) as client:
            with pytest.raises(
                psycopg.OperationalError, match=r"a query of 2000.. bytes is larger than the limit"
            ) as big:
                client.execute("SELECT '" + "x" * 200_000 + "'")
            assert big.value.sqlstate == "54000"
            assert "limits.max_query_size" in (big.value.diag.message_hint or "")
        with connect(proxy) as client:
            client.execute("SELECT %s", ("x" * 1_000_000,))
            with pytest.raises(
                psycopg.OperationalError, match=r"a message of 3.* bytes is larger than the limit"
            ) as big:
                client.execute("SELECT %s", ("x" * 3_000_000,))
            assert "limits.max_message_size" in (big.value.diag.message_hint or "")


async def test_data_for_a_copy_that_waits_for_a_lock_is_bounded(served: ServedProxy) -> None:
    batch = (
        frontend.parse(b"", b"COPY orders (item, amount) FROM STDIN"),
        frontend.bind(b"", b"", ()),
        frontend.execute(b""),
    )
    async with await raw(served, "initech") as holder, await raw(served, "initech") as client:
        await holder.query("BEGIN")
        await holder.query("LOCK TABLE orders")
        await client.query("BEGIN")
        client.send(*batch)
        sent = await send_while_taken(client._writer, copy_frame(MB), most=100)
        assert sent < 60
        await holder.query("COMMIT")
        client.send(b"c\0\0\0\4", frontend.SYNC)
        assert tags(await client.until_ready()) == [f"COPY {sent}"]
        await client.query("ROLLBACK")


async def test_input_that_waits_for_a_server_is_bounded(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"pool": {"size": 1}}) as proxy:
        holder = await RawConnection.connect(proxy.host, proxy.port, user="app.globex", password=proxy.password)
        waiter = await RawConnection.connect(proxy.host, proxy.port, user="app.globex", password=proxy.password)
        async with holder, waiter:
            await holder.query("BEGIN")
            await holder.query("SELECT 1")
            bind = frontend.bind(b"", b"", (b"x" * 30_000_000,))
            waiter.send(frontend.parse(b"", b"SELECT length($1::text)"), bind, frontend.execute(b""), frontend.SYNC)
            await asyncio.sleep(0.3)
            sessions = [connection.session for connection in proxy.gatehouse._services.census.connections]
            assert max(session.intake.reader.held for session in sessions if session) < 2 * MB
            await holder.query("COMMIT")
            frames = await waiter.until_ready()
            assert not errors(frames)
            assert [frame.cells for frame in frames if frame.code == "D"] == [[b"30000000"]]


def test_a_long_pipeline_with_large_answers_does_not_lock_up(pg18: TestCluster) -> None:
    with running_proxy(pg18) as proxy, connect(proxy) as client:
        with client.pipeline():
            cursors = [client.execute("SELECT %s::int, repeat('x', 10000)", (number,)) for number in range(500)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(500))  # type: ignore[index]
