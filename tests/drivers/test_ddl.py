"""Prepared statements outlive a change of definitions, as they do with PostgreSQL itself, whichever server they meet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import psycopg
import pytest

from proxy.wire.frontend import FLUSH, SYNC, bind, describe, execute, parse
from tests.drivers.places import Mover, Place
from tests.support.raw import Frame, RawConnection, errors, letters, rows

TEXT = b"SELECT * FROM shapes"
ONE = "INSERT INTO shapes (a) VALUES (1)"


@pytest.fixture
def shapes(place: Place) -> Iterator[str]:
    """A table of the tenant's own, shapes(a int) with one row, made through Gatehouse."""
    with place.connect() as connection:
        connection.execute("CREATE TABLE shapes (a int)")
        connection.execute(ONE)
        yield "shapes"
        connection.execute("DROP TABLE IF EXISTS shapes")


@asynccontextmanager
async def raw(place: Place) -> AsyncIterator[RawConnection]:
    where = place.through
    async with await RawConnection.connect(
        where["host"], where["port"], user=where["user"], password=where["password"], database="any"
    ) as connection:
        yield connection


def change_behind(place: Place, sql: str) -> None:
    """Definitions change without Gatehouse's knowing."""
    schema = place.tenant.schema or "public"
    place.cluster.sql(f"SET search_path = {schema}; {sql}", place.tenant.database)


def reasons(frames: list[Frame]) -> list[str]:
    return errors(frames)


@pytest.mark.usefixtures("shapes")
async def test_whoever_prepares_after_the_change_gets_what_there_is_now(place: Place) -> None:
    async with raw(place) as before, raw(place) as after:
        assert letters(await before.ask(parse(b"s", TEXT), bind(b"", b"s", []), execute(b""), SYNC)) == "12DCZ"
        await before.query("ALTER TABLE shapes ADD b text DEFAULT 'new'")
        frames = await after.ask(parse(b"s", TEXT), describe(b"S", b"s"), SYNC)
        assert letters(frames) == "1tTZ"
        assert rows(await after.ask(bind(b"", b"s", []), execute(b""), SYNC)) == [["1", "new"]]


async def test_what_is_described_twice_is_told_twice(place: Place) -> None:
    async with raw(place) as client:
        frames = await client.ask(
            parse(b"s", b"SELECT $1::int"),
            describe(b"S", b"s"),
            parse(b"t", b"SELECT $1::int"),
            describe(b"S", b"t"),
            SYNC,
        )
        assert letters(frames) == "1tT1tTZ"


@pytest.mark.usefixtures("shapes")
async def test_in_the_transaction_that_changes_it_as_well(place: Place) -> None:
    async with raw(place) as client:
        await client.ask(parse(b"s", TEXT), SYNC)
        await client.query("BEGIN")
        await client.query("DROP TABLE shapes; CREATE TABLE shapes (t text); INSERT INTO shapes VALUES ('x')")
        frames = await client.ask(parse(b"s2", TEXT), describe(b"S", b"s2"), bind(b"", b"s2", []), execute(b""), SYNC)
        assert letters(frames) == "1tT2DCZ"
        assert rows(frames) == [["x"]]
        await client.query("ROLLBACK")
        frames = await client.ask(parse(b"s3", TEXT), describe(b"S", b"s3"), bind(b"", b"s3", []), execute(b""), SYNC)
        assert rows(frames) == [["1"]]


async def test_a_table_that_was_rolled_back_and_made_anew(place: Place) -> None:
    async with raw(place) as client:
        for kind, number in (("int", b"1"), ("text", b"2"), ("bigint", b"3")):
            await client.query("BEGIN")
            await client.query(f"CREATE TABLE made (x {kind})")
            frames = await client.ask(parse(b"s" + number, b"SELECT x FROM made"), describe(b"S", b"s" + number), SYNC)
            assert letters(frames) == "1tTZ"
            frames = await client.ask(bind(b"", b"s" + number, []), execute(b""), SYNC)
            assert letters(frames) == "2CZ"
            await client.query("ROLLBACK")


@pytest.mark.usefixtures("shapes")
async def test_a_change_that_gatehouse_did_not_see_is_mended_for_those_who_prepare_anew(place: Place) -> None:
    async with raw(place) as before, raw(place) as one, raw(place) as two:
        await before.ask(parse(b"s", TEXT), bind(b"", b"s", []), execute(b""), SYNC)
        change_behind(place, "ALTER TABLE shapes ADD b text DEFAULT 'new'")
        frames = await one.ask(parse(b"s", TEXT), describe(b"S", b"s"), SYNC)
        assert letters(frames) == "1tTZ", reasons(frames)
        change_behind(place, "ALTER TABLE shapes ADD c text DEFAULT 'newer'")
        frames = await two.ask(parse(b"s", TEXT), bind(b"", b"s", []), execute(b""), SYNC)
        assert letters(frames) == "12DCZ", reasons(frames)
        assert rows(frames) == [["1", "new", "newer"]]


@pytest.mark.usefixtures("shapes")
async def test_a_client_that_describes_what_it_runs_is_served_anew(place: Place) -> None:
    async with raw(place) as client:
        run = (bind(b"", b"s", []), describe(b"P", b""), execute(b""), SYNC)
        await client.ask(parse(b"s", TEXT), SYNC)
        assert rows(await client.ask(*run)) == [["1"]]
        change_behind(place, "ALTER TABLE shapes ADD b text DEFAULT 'new'")
        frames = await client.ask(*run)
        assert letters(frames) == "2TDCZ", reasons(frames)
        assert rows(frames) == [["1", "new"]]


@pytest.mark.usefixtures("shapes")
async def test_a_client_that_relies_on_what_it_was_told_gets_an_error_and_can_prepare_again(
    place: Place, mover: Mover
) -> None:
    async with raw(place) as client:
        await client.ask(parse(b"s", TEXT), describe(b"S", b"s"), SYNC)
        run = (bind(b"", b"s", []), execute(b""), SYNC)
        assert rows(await client.ask(*run)) == [["1"]]
        await client.query("ALTER TABLE shapes ADD b text DEFAULT 'new'")
        for _ in range(4):  # on a server that has parsed it before, and on one that has not
            frames = await client.ask(*run)
            assert errors(frames) == ["0A000"]
            assert letters(frames) == "EZ"
            mover.move()
        await client.ask(parse(b"s2", TEXT), describe(b"S", b"s2"), SYNC)
        assert rows(await client.ask(bind(b"", b"s2", []), execute(b""), SYNC)) == [["1", "new"]]


@pytest.mark.usefixtures("shapes")
async def test_a_change_that_does_not_concern_a_statement_disturbs_nobody(place: Place, mover: Mover) -> None:
    async with raw(place) as client:
        await client.ask(parse(b"s", b"SELECT item FROM orders WHERE item <> $1"), describe(b"S", b"s"), SYNC)
        run = (bind(b"", b"s", [b"x"]), execute(b""), SYNC)
        for _ in range(3):
            await client.query("ALTER TABLE shapes ADD b text; ALTER TABLE shapes DROP b")
            assert {row[0] for row in rows(await client.ask(*run))} == place.items
            mover.move()
            assert {row[0] for row in rows(await client.ask(*run))} == place.items


@pytest.mark.usefixtures("shapes")
async def test_nothing_is_sent_again_when_something_has_run(place: Place) -> None:
    async with raw(place) as client:
        await client.ask(parse(b"s", TEXT), SYNC)
        await client.ask(bind(b"", b"s", []), execute(b""), SYNC)
        change_behind(place, "ALTER TABLE shapes ADD b text DEFAULT 'new'")
        frames = await client.ask(
            parse(b"", ONE.encode()), bind(b"", b"", []), execute(b""), bind(b"", b"s", []), describe(b"P", b""), SYNC
        )
        assert errors(frames) == ["0A000"]
        assert await client.value("SELECT count(*) FROM shapes") == "1"
        await client.query("BEGIN")
        frames = await client.ask(parse(b"t", TEXT), bind(b"", b"t", []), describe(b"P", b""), execute(b""), SYNC)
        assert rows(frames) == [["1", "new"]]
        await client.query("ROLLBACK")


@pytest.mark.usefixtures("shapes")
async def test_a_batch_in_two_parts_gets_the_error_and_the_next_one_works(place: Place) -> None:
    async with raw(place) as client:
        await client.ask(parse(b"s", TEXT), bind(b"", b"s", []), execute(b""), SYNC)
        change_behind(place, "ALTER TABLE shapes ADD b text DEFAULT 'new'")
        client.send(parse(b"t", TEXT), describe(b"S", b"t"), FLUSH)
        frames = await client.ask(SYNC)
        assert errors(frames) in (["0A000"], [])
        frames = await client.ask(parse(b"u", TEXT), describe(b"S", b"u"), SYNC)
        assert letters(frames) == "1tTZ"


@pytest.mark.usefixtures("shapes")
async def test_asyncpg_goes_on_after_a_change_as_with_postgresql(place: Place) -> None:
    where = place.through
    client = await asyncpg.connect(
        host=where["host"], port=where["port"], user=where["user"], password=where["password"], database="any"
    )
    try:
        assert [tuple(row) for row in await client.fetch("SELECT * FROM shapes")] == [(1,)]
        change_behind(place, "ALTER TABLE shapes ADD b int DEFAULT 7")
        assert [tuple(row) for row in await client.fetch("SELECT * FROM shapes")] == [(1, 7)]
        await client.execute("ALTER TABLE shapes DROP b")
        assert [tuple(row) for row in await client.fetch("SELECT * FROM shapes")] == [(1,)]
    finally:
        await client.close()


@pytest.mark.usefixtures("shapes")
def test_psycopg_goes_on_after_a_change_as_with_postgresql(place: Place) -> None:
    with place.connect(prepare_threshold=0) as client, place.connect() as other:
        assert client.execute("SELECT * FROM shapes").fetchall() == [(1,)]
        other.execute("ALTER TABLE shapes ADD b int DEFAULT 7")
        assert client.execute("SELECT * FROM shapes").fetchall() == [(1, 7)]
        other.execute("DROP TABLE shapes")
        with pytest.raises(psycopg.errors.UndefinedTable):
            client.execute("SELECT * FROM shapes")
        other.execute("CREATE TABLE shapes (c text)")
        assert client.execute("SELECT * FROM shapes").fetchall() == []
