"""Prepared statements by protocol: the client's names are its own, whichever server it gets and whoever was there before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.wire.frontend import SYNC, bind, close, describe, execute, parse, query
from tests.drivers.places import Mover, Place
from tests.support.raw import Frame, RawConnection, errors, letters, rows, tags


@asynccontextmanager
async def raw(place: Place) -> AsyncIterator[RawConnection]:
    where = place.through
    async with await RawConnection.connect(
        where["host"], where["port"], user=where["user"], password=where["password"], database="any"
    ) as connection:
        yield connection


def run(name: bytes, *values: bytes) -> bytes:
    return bind(b"", name, list(values)) + execute(b"")


async def answer(connection: RawConnection, name: bytes, *values: bytes) -> list[list[str | None]]:
    frames = await connection.ask(run(name, *values), SYNC)
    assert not errors(frames), [frame.fields for frame in frames if frame.code == "E"]
    return rows(frames)


async def prepare(connection: RawConnection, name: bytes, text: bytes) -> list[Frame]:
    return await connection.ask(parse(name, text), SYNC)


async def test_one_name_means_something_else_to_every_client(narrow_place: Place) -> None:
    async with raw(narrow_place) as a, raw(narrow_place) as b:
        assert letters(await prepare(a, b"s", b"SELECT 'a', $1::int + 1")) == "1Z"
        assert letters(await prepare(b, b"s", b"SELECT 'b', $1::text")) == "1Z"
        for _ in range(3):
            assert await answer(a, b"s", b"1") == [["a", "2"]]
            assert await answer(b, b"s", b"x") == [["b", "x"]]


async def test_one_text_serves_many_clients_and_goes_when_none_has_it(narrow_place: Place) -> None:
    async with raw(narrow_place) as a, raw(narrow_place) as b:
        for connection, name in ((a, b"one"), (b, b"two")):
            await prepare(connection, name, b"SELECT item FROM orders")
        frames = await a.ask(close(b"S", b"one"), SYNC)
        assert letters(frames) == "3Z"
        assert errors(await a.ask(run(b"one"), SYNC)) == ["26000"]
        assert {row[0] for row in await answer(b, b"two")} == narrow_place.items


async def test_hundreds_of_statements_on_a_server_that_keeps_five(narrow_place: Place) -> None:
    async with raw(narrow_place) as a, raw(narrow_place) as b:
        for number in range(120):
            for connection, letter in ((a, b"a"), (b, b"b")):
                text = b"SELECT '%s', %d, count(*) FROM orders" % (letter, number)
                assert letters(await prepare(connection, b"s%d" % number, text)) == "1Z"
        count = str(len(narrow_place.items))
        for number in (*range(0, 120, 7), 119, 0):
            assert await answer(a, b"s%d" % number) == [["a", str(number), count]]
            assert await answer(b, b"s%d" % number) == [["b", str(number), count]]
        where = "SELECT count(*) FROM pg_prepared_statements"
        held = await a.value(where)
        assert held is not None
        assert int(held) <= 5


async def test_many_statements_in_one_batch_beyond_the_limit(narrow_place: Place) -> None:
    async with raw(narrow_place) as connection:
        parses = b"".join(parse(b"p%d" % n, b"SELECT %d" % n) for n in range(12))
        runs = b"".join(run(b"p%d" % n) for n in range(12))
        for _ in range(2):
            frames = await connection.ask(parses, runs, SYNC)
            assert letters(frames) == "1" * 12 + "2DC" * 12 + "Z"
            assert rows(frames) == [[str(n)] for n in range(12)]
            frames = await connection.ask(*(close(b"S", b"p%d" % n) for n in range(12)), SYNC)
            assert letters(frames) == "3" * 12 + "Z"


async def test_an_unnamed_statement_outlives_its_transaction(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        assert letters(await connection.ask(parse(b"", b"SELECT $1::int, count(*) FROM orders"), SYNC)) == "1Z"
        for number in range(4):
            await asyncio.to_thread(mover.move)
            assert await answer(connection, b"", b"%d" % number) == [[str(number), str(len(place.items))]]
        await connection.query("SELECT 1")
        assert errors(await connection.ask(run(b"", b"1"), SYNC)) == ["26000"]


async def test_an_unnamed_statement_survives_someone_elses(narrow_place: Place) -> None:
    async with raw(narrow_place) as a, raw(narrow_place) as b:
        await prepare(a, b"", b"SELECT 'a'")
        await prepare(b, b"", b"SELECT 'b'")
        assert await answer(a, b"") == [["a"]]
        assert await answer(b, b"") == [["b"]]
        await b.query("SELECT 1")
        assert await answer(a, b"") == [["a"]]


async def test_a_failed_parse_leaves_its_name_free(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        for _ in range(2):
            assert errors(await prepare(connection, b"s", b"SELECT nope FROM orders")) == ["42703"]
            assert errors(await connection.ask(run(b"s"), SYNC)) == ["26000"]
            await asyncio.to_thread(mover.move)
        assert letters(await prepare(connection, b"s", b"SELECT item FROM orders")) == "1Z"
        assert {row[0] for row in await answer(connection, b"s")} == place.items
        assert errors(await prepare(connection, b"s", b"SELECT 1")) == ["42P05"]
        assert {row[0] for row in await answer(connection, b"s")} == place.items


async def test_a_parse_behind_an_error_never_came_to_be(place: Place) -> None:
    async with raw(place) as connection:
        await prepare(connection, b"fails", b"SELECT 1 / 0")
        frames = await connection.ask(run(b"fails"), parse(b"later", b"SELECT 5"), SYNC)
        assert errors(frames) == ["22012"]
        assert errors(await connection.ask(run(b"later"), SYNC)) == ["26000"]
        assert letters(await prepare(connection, b"later", b"SELECT 6")) == "1Z"
        assert await answer(connection, b"later") == [["6"]]


async def test_statements_are_not_part_of_transactions(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        await connection.query("BEGIN")
        await prepare(connection, b"kept", b"SELECT 7")
        await connection.query("ROLLBACK")
        await asyncio.to_thread(mover.move)
        assert await answer(connection, b"kept") == [["7"]]
        await connection.query("BEGIN")
        await connection.query("SELECT nope")
        assert errors(await connection.ask(run(b"kept"), SYNC)) == ["25P02"]
        await connection.query("ROLLBACK")
        assert await answer(connection, b"kept") == [["7"]]


async def test_closing_and_parsing_again_in_one_batch(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        await prepare(connection, b"s", b"SELECT 1")
        frames = await connection.ask(close(b"S", b"s"), parse(b"s", b"SELECT 2"), run(b"s"), SYNC)
        assert letters(frames) == "312DCZ"
        await asyncio.to_thread(mover.move)
        assert await answer(connection, b"s") == [["2"]]
        assert letters(await connection.ask(close(b"S", b"nobody"), close(b"P", b"nobody"), SYNC)) == "33Z"


async def test_describe_tells_the_same_on_every_server(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        await prepare(connection, b"s", b"SELECT item, amount FROM orders WHERE amount > $1")
        described = []
        for _ in range(2):
            frames = await connection.ask(describe(b"S", b"s"), SYNC)
            described.append([(frame.code, frame.body) for frame in frames])
            assert letters(frames) == "tTZ"
            await asyncio.to_thread(mover.move)
        assert described[0] == described[1]
        frames = await connection.ask(bind(b"p", b"s", [b"0"]), describe(b"P", b"p"), execute(b"p", 1), SYNC)
        assert letters(frames) == "2TDsZ"


async def test_portals_end_with_their_transaction_and_rows_come_in_parts(place: Place) -> None:
    async with raw(place) as connection:
        await connection.query("BEGIN")
        await prepare(connection, b"s", b"SELECT generate_series(1, 5)")
        frames = await connection.ask(bind(b"p", b"s", []), execute(b"p", 2), SYNC)
        assert letters(frames) == "2DDsZ"
        await connection.query("SELECT 1")
        assert letters(await connection.ask(execute(b"p", 2), SYNC)) == "DDsZ"
        assert letters(await connection.ask(execute(b"p", 2), SYNC)) == "DCZ"
        await connection.query("COMMIT")
        assert errors(await connection.ask(execute(b"p"), SYNC)) == ["34000"]


async def test_sql_prepare_stays_with_its_client(place: Place, mover: Mover) -> None:
    async with raw(place) as a, raw(place) as b:
        await a.query("PREPARE mine (int) AS SELECT $1, count(*) FROM orders")
        await asyncio.to_thread(mover.move)
        assert rows(await a.query("EXECUTE mine (3)")) == [["3", str(len(place.items))]]
        assert errors(await b.query("EXECUTE mine (3)")) == ["26000"]
        assert tags(await a.query("DEALLOCATE mine")) == ["DEALLOCATE"]
        assert errors(await a.query("EXECUTE mine (3)")) == ["26000"]


async def test_deallocate_of_protocol_statements(place: Place, mover: Mover) -> None:
    async with raw(place) as connection:
        for forget in ("DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL", "BEGIN; DEALLOCATE s; COMMIT"):
            await prepare(connection, b"s", b"SELECT 1")
            assert errors(await connection.query(forget)) == []
            await asyncio.to_thread(mover.move)
            assert errors(await connection.ask(run(b"s"), SYNC)) == ["26000"]
        assert errors(await connection.query("DEALLOCATE s")) == ["26000"]


async def test_a_name_is_free_again_after_reconnecting(narrow_place: Place) -> None:
    for number in range(8):
        async with raw(narrow_place) as connection:
            assert letters(await prepare(connection, b"s", b"SELECT %d" % (number % 2))) == "1Z"
            assert await answer(connection, b"s") == [[str(number % 2)]]


async def test_statements_after_ddl_give_the_new_rows_or_postgresqls_error(place: Place) -> None:
    async with raw(place) as connection:
        await connection.query("CREATE TABLE grows AS SELECT 1 AS a")
        try:
            await prepare(connection, b"s", b"SELECT * FROM grows")
            assert await answer(connection, b"s") == [["1"]]
            await connection.query("ALTER TABLE grows ADD b int DEFAULT 2")
            frames = await connection.ask(run(b"s"), SYNC)
            assert errors(frames) == ["0A000"] or rows(frames) == [["1", "2"]]
            await connection.ask(close(b"S", b"s"), SYNC)
            await prepare(connection, b"t", b"SELECT b FROM grows")
            assert await answer(connection, b"t") == [["2"]]
        finally:
            await connection.query("DROP TABLE grows")


async def test_a_query_behind_messages_without_sync_is_answered_and_kept(place: Place, notes: str) -> None:
    async with raw(place) as connection:
        connection.send(
            parse(b"", b"INSERT INTO notes (id) VALUES (1)"), run(b""), query(b"SELECT count(*) FROM notes")
        )
        frames = await connection.until_ready()
        assert letters(frames) == "12CTDCZ"
        assert rows(frames) == [["1"]]
        assert connection.status == "I"
        assert await connection.value("SELECT count(*) FROM notes") == "1"


@pytest.mark.parametrize("count", [40])
async def test_clients_at_once_with_names_of_their_own(place: Place, count: int) -> None:
    async def work(number: int) -> None:
        async with raw(place) as connection:
            for turn in range(3):
                name = b"s%d" % turn
                await prepare(connection, name, b"SELECT %d, $1::text, count(*) FROM orders" % (number % 30))
                expected: list[list[str | None]] = [[str(number % 30), str(turn), str(len(place.items))]]
                assert await answer(connection, name, b"%d" % turn) == expected
                assert await answer(connection, b"s0", b"%d" % turn) == expected

    await asyncio.gather(*(work(number) for number in range(count)))
