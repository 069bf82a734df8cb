"""Transactions of psycopg: savepoints, isolation levels, read only and deferrable ones, snapshots."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import IsolationLevel, errors, sql

from tests.drivers.places import Connection, Mover, Place
from tests.drivers.test_psycopg import ITEMS, column, value


def give_up(transaction: psycopg.Transaction) -> None:
    raise psycopg.Rollback(transaction)


def insert_and_fail(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO notes (id, body) VALUES (2, 'lost')")
        connection.execute("SELECT 1 / 0")


def test_transactions_savepoints_and_rollbacks(place: Place, notes: str, mover: Mover) -> None:
    with place.connect() as connection, place.connect() as other:
        with connection.transaction():
            connection.execute("INSERT INTO notes (id, body) VALUES (%s, %s)", (1, "kept"))
            with pytest.raises(errors.DivisionByZero):
                insert_and_fail(connection)
            with connection.transaction("named") as inner:
                connection.execute("INSERT INTO notes (id, body) VALUES (3, 'lost')")
                give_up(inner)
            assert column(connection, "SELECT id FROM notes") == [1]
            assert column(other, "SELECT id FROM notes") == []
        mover.move()
        assert column(other, "SELECT id FROM notes") == [1]
        with connection.transaction(force_rollback=True):
            connection.execute("DELETE FROM notes")
        assert column(connection, "SELECT body FROM notes") == ["kept"]


def test_transactions_that_open_by_themselves(place: Place, notes: str) -> None:
    with place.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO notes (id) VALUES (1)")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.rollback()
        with pytest.raises(errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        connection.execute("INSERT INTO notes (id) VALUES (2)")
        connection.commit()
        assert column(connection, "SELECT id FROM notes") == [2]


@pytest.mark.parametrize("level", list(IsolationLevel))
def test_isolation_levels(place: Place, level: IsolationLevel) -> None:
    with place.connect(autocommit=False) as connection:
        connection.isolation_level = level
        name = level.name.lower().replace("_", " ")
        assert value(connection, "SHOW transaction_isolation") == name
        assert set(column(connection, ITEMS)) == place.items


def test_repeatable_read_keeps_its_snapshot(place: Place, notes: str) -> None:
    with place.connect(autocommit=False) as reader, place.connect() as writer:
        reader.isolation_level = IsolationLevel.REPEATABLE_READ
        assert column(reader, "SELECT id FROM notes") == []
        writer.execute("INSERT INTO notes (id) VALUES (1)")
        assert column(reader, "SELECT id FROM notes") == []
        reader.commit()
        assert column(reader, "SELECT id FROM notes") == [1]


def test_serializable_transactions_conflict_as_they_should(place: Place, notes: str) -> None:
    with place.connect(autocommit=False) as one, place.connect(autocommit=False) as two:
        for connection in (one, two):
            connection.isolation_level = IsolationLevel.SERIALIZABLE
            connection.execute("SELECT count(*) FROM notes")
            connection.execute("INSERT INTO notes (id) VALUES (1)")
        one.commit()
        with pytest.raises(errors.SerializationFailure):
            two.commit()


def test_read_only_and_deferrable_transactions(place: Place, notes: str) -> None:
    with place.connect(autocommit=False) as connection:
        connection.read_only = True
        connection.deferrable = True
        connection.isolation_level = IsolationLevel.SERIALIZABLE
        assert set(column(connection, ITEMS)) == place.items
        assert value(connection, "SHOW transaction_deferrable") == "on"
        with pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute("INSERT INTO notes (id) VALUES (1)")
        connection.rollback()
        connection.read_only = False
        connection.execute("INSERT INTO notes (id) VALUES (1)")


def test_settings_of_transactions_in_the_first_statements(place: Place) -> None:
    with place.connect(autocommit=False) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        assert value(connection, "SHOW transaction_isolation") == "repeatable read"
        assert set(column(connection, ITEMS)) == place.items
        assert value(connection, "SHOW transaction_read_only") == "on"
        with pytest.raises(errors.ActiveSqlTransaction):
            connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")


def test_an_exported_snapshot_is_taken_up_by_another_client(place: Place, notes: str) -> None:
    with place.connect(autocommit=False) as one, place.connect(autocommit=False) as two, place.connect() as writer:
        one.isolation_level = two.isolation_level = IsolationLevel.REPEATABLE_READ
        snapshot = value(one, "SELECT pg_export_snapshot()")
        writer.execute("INSERT INTO notes (id) VALUES (1)")
        two.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
        assert column(two, "SELECT id FROM notes") == []
