"""psycopg 3, the asynchronous side: many tasks at once on three servers, each tenant with its own rows."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.drivers.places import PLACEMENTS, SAMPLES, Place
from tests.support import PATIENCE_S
from tests.support.proxy import ProxyUnderTest

AsyncConnection = psycopg.AsyncConnection[Any]

ITEMS = "SELECT item FROM orders"


async def connect(place: Place, **more: Any) -> AsyncConnection:
    return await psycopg.AsyncConnection.connect(**{"autocommit": True, "dbname": "any", **place.through, **more})


async def column(connection: AsyncConnection, text: str, *parameters: Any, **options: Any) -> list[Any]:
    cursor = await connection.execute(text.encode(), parameters or None, **options)
    return [row[0] for row in await cursor.fetchall()]


async def shop(connection: AsyncConnection, place: Place, number: int) -> None:
    """What one task of an application does, in every way there is."""
    body = f"{place.name} {number}"
    async with connection.transaction():
        await connection.execute("INSERT INTO notes (id, body) VALUES (%s, %s)", (number, body))
        assert set(await column(connection, ITEMS)) == place.items
        assert await column(connection, "SELECT body FROM notes WHERE id = %s", number) == [body]
    assert set(await column(connection, "SELECT item FROM orders WHERE amount > %s", 0, prepare=True)) == place.items
    with pytest.raises(errors.DivisionByZero):
        await connection.execute("SELECT 1 / %s", (0,))
    async with connection.pipeline():
        await connection.execute("SELECT set_config('work_mem', %s, true)", (f"{64 + number}kB",))
        counted = await connection.execute("SELECT count(*) FROM orders")
        removed = await connection.execute("DELETE FROM notes WHERE id = %s RETURNING body", (number,))
    assert await counted.fetchone() == (len(place.items),)
    assert await removed.fetchall() == [(body,)]
    async with connection.transaction(), connection.cursor(f"cursor_{number}") as cursor:
        await cursor.execute("SELECT item FROM orders")
        assert {row[0] async for row in cursor} == place.items


async def test_many_tasks_of_all_tenants_on_few_servers(gatehouse: ProxyUnderTest) -> None:
    places = [Place(SAMPLES[name], gatehouse) for name in PLACEMENTS]
    async with AsyncExitStack() as stack:
        clients = [(await stack.enter_async_context(await connect(places[n % 3])), places[n % 3], n) for n in range(15)]
        for _ in range(3):
            await asyncio.gather(*(shop(connection, place, number) for connection, place, number in clients))
    for place in places:
        with place.connect() as left:
            assert left.execute("SELECT * FROM notes").fetchall() == []


@pytest.mark.parametrize("form", ["text", "binary"])
async def test_copy_in_and_out(place: Place, loads: str, form: str) -> None:
    async with await connect(place) as connection, connection.cursor() as cursor:
        async with cursor.copy(f"COPY loads (id, body) FROM STDIN (FORMAT {form})".encode()) as copy:
            copy.set_types(["int4", "text"])
            for number in range(500):
                await copy.write_row((number, "ä" * number))
        text = f"COPY (SELECT id, length(body) FROM loads ORDER BY id) TO STDOUT (FORMAT {form})"
        async with cursor.copy(text.encode()) as copy:
            copy.set_types(["int4", "int4"])
            assert [row async for row in copy.rows()] == [(n, n) for n in range(500)]


async def test_cancelling_a_task_cancels_its_statement(place: Place) -> None:
    async with await connect(place) as connection:
        task = asyncio.create_task(sleep(connection))
        await asyncio.to_thread(place.wait_until_it_runs, "SELECT pg_sleep(31)")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not connection.closed
        assert set(await column(connection, ITEMS)) == place.items


async def sleep(connection: AsyncConnection) -> None:
    await connection.execute("SELECT pg_sleep(31)")


async def test_notifications_arrive_while_others_work(place: Place) -> None:
    async with await connect(place) as listener, await connect(place) as sender:
        await listener.execute("LISTEN bell")
        for number in range(5):
            await sender.execute("SELECT pg_notify('bell', %s)", (str(number),))
        heard = [note.payload async for note in listener.notifies(timeout=PATIENCE_S, stop_after=5)]
        assert heard == ["0", "1", "2", "3", "4"]
        await listener.execute("UNLISTEN bell")
