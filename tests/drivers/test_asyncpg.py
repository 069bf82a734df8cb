"""asyncpg with its pool and reset query, its statement cache, its introspection, cursors and COPY."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.drivers.places import PLACEMENTS, SAMPLES, Mover, Place
from tests.support import PATIENCE_S
from tests.support.proxy import ProxyUnderTest

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]  # generic in its stubs alone

CACHES = pytest.mark.parametrize("cache", [100, 0], ids=["cache", "no_cache"])


async def connect(place: Place, **more: Any) -> Connection:
    return await asyncpg.connect(**{"database": "any", **place.through, "ssl": False, "timeout": 10, **more})


async def items(connection: Connection) -> set[str]:
    return {row["item"] for row in await connection.fetch("SELECT item FROM orders WHERE amount > $1", 0)}


@CACHES
async def test_a_tenant_sees_its_rows_on_every_server(place: Place, mover: Mover, cache: int) -> None:
    connection = await connect(place, statement_cache_size=cache)
    servers = set()
    for number in range(6):
        assert await items(connection) == place.items
        assert await connection.fetchval("SELECT $1::int + 1", number) == number + 1
        assert await connection.execute("SELECT item FROM orders") == f"SELECT {len(place.items)}"
        servers.add(await connection.fetchval("SELECT pg_backend_pid()"))
        await asyncio.to_thread(mover.move)
    await connection.close()
    assert len(servers) > 1


@CACHES
async def test_pools_of_all_tenants_reset_their_connections(gatehouse: ProxyUnderTest, cache: int) -> None:
    places = [Place(SAMPLES[name], gatehouse) for name in PLACEMENTS]
    pools = [
        await asyncpg.create_pool(
            **{**place.through, "database": "any", "ssl": False}, min_size=1, max_size=4, statement_cache_size=cache
        )
        for place in places
    ]

    async def work(number: int) -> None:
        place, pool = places[number % 3], pools[number % 3]
        async with pool.acquire() as connection:
            assert await connection.fetchval("SHOW work_mem") == "4MB"
            assert await connection.fetchval("SHOW search_path") == path[number % 3]
            await connection.execute("SET work_mem TO '3MB'")
            assert await items(connection) == place.items  # type: ignore[arg-type]
            async with connection.transaction():
                await connection.execute("INSERT INTO notes (id) VALUES ($1)", number)
                assert await connection.fetchval("SHOW work_mem") == "3MB"
            assert await connection.fetchval("DELETE FROM notes WHERE id = $1 RETURNING id", number) == number

    path = ['"$user", public', "tenant_globex, public", '"$user", public']
    for _ in range(2):
        await asyncio.gather(*(work(number) for number in range(24)))
    for pool in pools:
        await pool.close()


async def test_more_statements_than_a_server_keeps(place: Place, mover: Mover) -> None:
    connection = await connect(place, statement_cache_size=60)
    statements = [await connection.prepare(f"SELECT $1::int + {number}") for number in range(50)]
    for _ in range(2):
        await asyncio.to_thread(mover.move)
        for number, statement in enumerate(statements):
            assert await statement.fetchval(1) == number + 1
    for number in range(100):  # past asyncpg's own cache, which closes statements
        assert await connection.fetchval(f"SELECT $1::int * {number}", 2) == 2 * number
    assert statements[0].get_parameters()[0].name == "int4"
    assert [attribute.name for attribute in statements[0].get_attributes()] == ["?column?"]
    await connection.close()


@CACHES
async def test_types_of_the_tenants_own_are_looked_up(place: Place, mover: Mover, cache: int) -> None:
    connection = await connect(place, statement_cache_size=cache)
    for _ in range(2):
        row = await connection.fetchrow(
            "SELECT $1::mood AS m, $2::place AS p, $3::mood[] AS ms, ARRAY[ROW('a', 1)::place] AS ps, $4::jsonb AS j",
            "ok",
            ("Elm St", 13),
            ["sad", "happy"],
            json.dumps({"a": 1}),
        )
        assert row is not None
        assert (row["m"], tuple(row["p"]), row["ms"]) == ("ok", ("Elm St", 13), ["sad", "happy"])
        assert [tuple(place) for place in row["ps"]] == [("a", 1)]
        assert json.loads(row["j"]) == {"a": 1}
        await asyncio.to_thread(mover.move)
        await connection.reload_schema_state()
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.set_type_codec("mood", encoder=str.lower, decoder=str.upper, schema="public")
    assert await connection.fetchval("SELECT $1::jsonb", {"b": [2]}) == {"b": [2]}
    assert await connection.fetchval("SELECT $1::mood", "SAD") == "SAD"
    await connection.close()


async def test_transactions_savepoints_and_isolation(place: Place, notes: str, mover: Mover) -> None:
    connection = await connect(place)
    async with connection.transaction():
        await connection.execute("INSERT INTO notes (id) VALUES (1)")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await insert_and_fail(connection)
        assert await connection.fetchval("SELECT array_agg(id) FROM notes") == [1]
    await asyncio.to_thread(mover.move)
    assert [row["id"] for row in await connection.fetch("SELECT id FROM notes")] == [1]
    for level in ("read_uncommitted", "read_committed", "repeatable_read", "serializable"):
        async with connection.transaction(isolation=level):
            assert await connection.fetchval("SHOW transaction_isolation") == level.replace("_", " ")
            assert await items(connection) == place.items
    async with connection.transaction(isolation="serializable", readonly=True, deferrable=True):
        assert await items(connection) == place.items
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("INSERT INTO notes (id) VALUES (2)")
    await connection.close()


async def insert_and_fail(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO notes (id) VALUES (2)")
        await connection.fetchval("SELECT 1 / $1::int", 0)


async def test_cursors(place: Place) -> None:
    connection = await connect(place)
    async with connection.transaction():
        query = "SELECT n, (SELECT count(*) FROM orders) AS c FROM generate_series(1, $1::int) n"
        got = [(row["n"], row["c"]) async for row in connection.cursor(query, 120, prefetch=50)]
        assert got == [(n, len(place.items)) for n in range(1, 121)]
        cursor = await connection.cursor("SELECT item FROM orders ORDER BY item")
        assert await cursor.forward(1) == 1
        assert [row["item"] for row in await cursor.fetch(100)] == sorted(place.items)[1:]
    await connection.close()


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
async def test_copy_both_ways(place: Place, loads: str, mover: Mover, form: Any) -> None:
    connection = await connect(place)
    records = [(number, f"line {number}") for number in range(3000)]
    assert await connection.copy_records_to_table("loads", records=records, columns=["id", "body"]) == "COPY 3000"
    out = io.BytesIO()
    await asyncio.to_thread(mover.move)
    assert await connection.copy_from_table("loads", output=out, format=form) == "COPY 3000"
    await connection.execute("DELETE FROM loads")
    out.seek(0)
    assert await connection.copy_to_table("loads", source=out, format=form) == "COPY 3000"
    some = io.BytesIO()
    query = "SELECT body FROM loads WHERE id < $1 ORDER BY id"
    assert await connection.copy_from_query(query, 2, output=some, format="text") == "COPY 2"
    assert some.getvalue() == b"line 0\nline 1\n"
    with pytest.raises(asyncpg.BadCopyFileFormatError):
        await connection.copy_to_table("loads", source=io.BytesIO(b"1\n"), format="text")
    assert await items(connection) == place.items
    await connection.close()


async def test_executemany(place: Place, notes: str, mover: Mover) -> None:
    connection = await connect(place)
    for start in (0, 1000):
        await connection.executemany(
            "INSERT INTO notes (id, body) VALUES ($1, $2)", [(start + n, "x" * 100) for n in range(700)]
        )
        await asyncio.to_thread(mover.move)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.executemany("INSERT INTO notes (id) VALUES (1 / $1::int)", [(1,), (0,)])
    assert await connection.fetchval("SELECT count(*) FROM notes") == 1400
    await connection.close()


async def test_listeners_are_pinned(place: Place, mover: Mover) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()
    listener, sender = await connect(place), await connect(place)
    await listener.add_listener("gong", lambda *event: heard.put_nowait(event[3]))
    server = await listener.fetchval("SELECT pg_backend_pid()")
    await asyncio.to_thread(mover.move)
    assert await listener.fetchval("SELECT pg_backend_pid()") == server
    await sender.execute("SELECT pg_notify('gong', 'one')")
    assert await asyncio.wait_for(heard.get(), PATIENCE_S) == "one"
    await listener.reset()
    await listener.close()
    await sender.close()


async def test_server_settings_at_connect(place: Place, mover: Mover) -> None:
    settings = {"application_name": "shop", "TimeZone": "Asia/Tokyo", "search_path": "public"}
    connection = await connect(place, server_settings=settings)
    for _ in range(2):
        assert await connection.fetchval("SHOW TimeZone") == "Asia/Tokyo"
        assert await connection.fetchval("SHOW application_name") == "shop"
        assert await connection.fetchval("SHOW search_path") == "public"
        await connection.execute("SET TimeZone TO 'UTC'; SET application_name TO 'other'")
        await asyncio.to_thread(mover.move)
        assert await connection.fetchval("SHOW TimeZone") == "UTC"
        await connection.reset()
    assert connection.get_settings().TimeZone == "Asia/Tokyo"
    assert connection.get_server_version().major == place.cluster.major
    await connection.close()


async def test_a_command_timeout_cancels_the_statement(place: Place) -> None:
    connection = await connect(place)
    with pytest.raises(asyncio.TimeoutError):
        await connection.fetchval("SELECT pg_sleep($1::int)", 20, timeout=0.2)
    assert await items(connection) == place.items
    await connection.close()


async def test_errors_carry_their_place(place: Place) -> None:
    connection = await connect(place)
    with pytest.raises(asyncpg.UndefinedColumnError) as raised:
        await connection.fetch("SELECT item, nope FROM orders WHERE amount > $1", 1)
    assert raised.value.position == "14"
    with pytest.raises(asyncpg.UndefinedColumnError) as raised:
        await connection.execute("SELECT 'ä', nope FROM orders")
    assert raised.value.position == "13"
    assert await items(connection) == place.items
    await connection.close()


async def test_log_listeners_hear_notices(place: Place) -> None:
    connection = await connect(place)
    heard: list[str] = []

    def listen(_: object, message: Any) -> None:
        heard.append(message.message)

    connection.add_log_listener(listen)
    await connection.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    await asyncio.sleep(0)
    connection.remove_log_listener(listen)
    assert heard == ["hello"]
    await connection.close(timeout=PATIENCE_S)
