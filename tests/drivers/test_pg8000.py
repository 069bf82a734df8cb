"""pg8000, native and DB-API: a driver in pure Python that uses unnamed statements, and prepared ones on demand."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pg8000.dbapi
import pg8000.native
import pytest

from tests.drivers.places import Mover, Place
from tests.support import PATIENCE_S


@contextmanager
def native(place: Place) -> Iterator[Any]:
    connection = pg8000.native.Connection(**place.through, database="any", timeout=int(PATIENCE_S))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def dbapi(place: Place) -> Iterator[Any]:
    connection = pg8000.dbapi.connect(**place.through, database="any", timeout=int(PATIENCE_S))
    try:
        yield connection
    finally:
        connection.close()


def test_a_tenant_sees_its_rows_by_both_protocols_on_every_server(place: Place, mover: Mover) -> None:
    servers = set()
    with native(place) as connection:
        for _ in range(4):
            assert {row[0] for row in connection.run("SELECT item FROM orders")} == place.items
            assert {row[0] for row in connection.run("SELECT item FROM orders WHERE amount > :a", a=0)} == place.items
            servers.add(connection.run("SELECT pg_backend_pid()")[0][0])
            mover.move()
    assert len(servers) > 1


def test_prepared_statements_follow_the_client(place: Place, mover: Mover) -> None:
    with native(place) as connection:
        add = connection.prepare("SELECT cast(:a as int) + 1")
        items = connection.prepare("SELECT item FROM orders WHERE amount > cast(:a as numeric)")
        for number in range(4):
            assert add.run(a=number) == [[number + 1]]
            assert {row[0] for row in items.run(a=0)} == place.items
            mover.move()
        add.close()
        items.close()


def test_transactions_and_savepoints(place: Place, notes: str) -> None:
    with native(place) as connection:
        connection.run("START TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        connection.run("INSERT INTO notes (id, body) VALUES (:i, :b)", i=1, b="kept")
        connection.run("SAVEPOINT here")
        with pytest.raises(pg8000.native.DatabaseError) as raised:
            connection.run("SELECT 1 / :n", n=0)
        assert raised.value.args[0]["C"] == "22012"
        connection.run("ROLLBACK TO here")
        assert connection.run("SHOW transaction_isolation") == [["serializable"]]
        connection.run("COMMIT")
        assert connection.run("SELECT body FROM notes") == [["kept"]]


def test_errors_carry_their_place(place: Place) -> None:
    with native(place) as connection:
        for parameters in ({}, {"a": 1}):
            condition = " WHERE amount > :a" if parameters else ""
            with pytest.raises(pg8000.native.DatabaseError) as raised:
                connection.run("SELECT 'ä', nope FROM orders" + condition, **parameters)
            assert (raised.value.args[0]["C"], raised.value.args[0]["P"]) == ("42703", "13")


def test_copy_both_ways(place: Place, loads: str, mover: Mover) -> None:
    with native(place) as connection:
        lines = [f"{number}\tline {number}\n" for number in range(1000)]
        connection.run("COPY loads (id, body) FROM STDIN", stream=lines)
        mover.move()
        out = io.StringIO()
        connection.run("COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT", stream=out)
        assert out.getvalue() == "".join(lines)


def test_notices_settings_and_parameters(place: Place, mover: Mover) -> None:
    with native(place) as connection:
        connection.run("SET TIME ZONE 'Asia/Tokyo'")
        connection.run("SET application_name TO 'shop'")
        mover.move()
        assert connection.run("SHOW TimeZone") == [["Asia/Tokyo"]]
        assert connection.parameter_statuses["TimeZone"] == "Asia/Tokyo"
        assert connection.parameter_statuses["application_name"] == "shop"
        connection.run("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        assert [notice[b"M"] for notice in connection.notices] == [b"hello"]


def test_the_dbapi_story(place: Place, notes: str, mover: Mover) -> None:
    with dbapi(place) as connection:
        cursor = connection.cursor()
        for _ in range(2):
            cursor.execute("SELECT item FROM orders WHERE amount > %s", (0,))
            assert {row[0] for row in cursor.fetchall()} == place.items
            cursor.executemany("INSERT INTO notes (id, body) VALUES (%s, %s)", [(n, f"n{n}") for n in range(20)])
            connection.rollback()
            mover.move()
            cursor.executemany("INSERT INTO notes (id, body) VALUES (%s, %s)", [(n, f"n{n}") for n in range(3)])
            connection.commit()
        cursor.execute("SELECT count(*) FROM notes")
        assert cursor.fetchone() == [6]
        with pytest.raises(pg8000.dbapi.DatabaseError):
            cursor.execute("SELECT nope")
        connection.rollback()
        connection.autocommit = True
        cursor.execute("DELETE FROM notes")
        assert cursor.rowcount == 6


def test_two_phase_commit_is_refused_as_postgresql_does(place: Place) -> None:
    with dbapi(place) as connection:
        connection.tpc_begin(connection.xid(1, "transaction", "branch"))
        connection.cursor().execute("SELECT 1")
        with pytest.raises(pg8000.dbapi.DatabaseError) as raised:
            connection.tpc_prepare()
        assert raised.value.args[0]["C"] == "55000"
