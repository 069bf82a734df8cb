"""Errors, and cancel requests: what psycopg is told is what PostgreSQL would have told it directly."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tests.drivers.places import Connection, Place
from tests.drivers.test_psycopg import ITEMS, column, value
from tests.support import PATIENCE_S

BROKEN = [
    "SELECT nope FROM orders",
    "  SELECT item,\n nope FROM orders",
    "SELECT 'ä€𝄞' AS ok, nope FROM orders",
    "SELECT 1; SELECT nope",
    "SELECT 1; BEGIN; SELECT nope",
    "SET work_mem TO '1MB'; SELECT nope",
    "BEGIN; SET work_mem TO '1MB'; COMMIT; SELECT 'ä', nope FROM orders",
    "SELECT * FROM nowhere",
    "SELECT 1 +",
    "SELEC 1",
    "SET work_mem TO '1MB' nope",
    "INSERT INTO orders (item) VALUES ('x', 'y')",
    "SELECT 1; SELECT 'unfinished",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT nope'",
    "SELECT 1/0",
    "SELECT 'x'::int",
    "/* a comment */ -- another\n SELECT item FROM orders WHERE nope = 1",
    "DO $$ BEGIN PERFORM nope; END $$",
    "SET work_mem TO 'nope'",
    "SET nope TO 1",
    "RESET nope",
    "SHOW nope",
]


def diagnosis(error: psycopg.Error) -> dict[str, str | None]:
    names = ("severity", "sqlstate", "message_primary", "message_detail", "message_hint", "statement_position")
    more = ("internal_position", "internal_query", "context", "schema_name", "table_name", "column_name")
    return {name: getattr(error.diag, name) for name in (*names, *more)}


def failure(connection: Connection, text: str, **options: Any) -> dict[str, str | None]:
    try:
        connection.execute(text.encode(), **options)
    except psycopg.Error as error:
        return diagnosis(error)
    finally:
        connection.rollback()
    return {}


@pytest.mark.parametrize("text", BROKEN)
def test_errors_are_those_of_a_direct_connection_with_the_place_of_the_error(place: Place, text: str) -> None:
    with place.connect() as connection, place.connect_directly() as direct:
        assert failure(connection, text) == failure(direct, text) != {}
        for each in (connection, direct):
            each.execute("BEGIN")
        assert failure(connection, text) == failure(direct, text) != {}
        if ";" not in text.rstrip(";") or text.startswith("CREATE"):
            assert failure(connection, text, prepare=True) == failure(direct, text, prepare=True) != {}


def test_constraint_errors_name_what_they_are_about(place: Place) -> None:
    statement = "INSERT INTO orders (id, item, amount) VALUES (1, NULL, 1)"
    with place.connect() as connection, place.connect_directly() as direct:
        assert failure(connection, statement) == failure(direct, statement)


def cancel_when_running(connection: Connection, place: Place) -> None:
    place.wait_until_it_runs("SELECT pg_sleep(30)")
    connection.cancel_safe(timeout=PATIENCE_S)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_cancel_stops_what_runs_and_nothing_else(place: Place, in_transaction: bool) -> None:
    with place.connect() as connection, place.connect() as bystander:
        if in_transaction:
            connection.execute("BEGIN")
        thread = threading.Thread(target=cancel_when_running, args=(connection, place))
        thread.start()
        with pytest.raises(errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(30)")
        thread.join()
        connection.rollback()
        assert set(column(connection, ITEMS)) == place.items
        connection.cancel_safe(timeout=PATIENCE_S)  # nothing runs
        assert [value(each, "SELECT 1") for each in (bystander, connection, bystander)] == [1, 1, 1]


def test_two_phase_commit_fails_as_on_a_server_without_it(place: Place) -> None:
    with place.connect(autocommit=False) as connection, place.connect_directly(autocommit=False) as direct:
        found = []
        for each in (connection, direct):
            each.tpc_begin("xid")
            each.execute("SELECT 1")
            with pytest.raises(psycopg.Error) as raised:
                each.tpc_prepare()
            found.append(diagnosis(raised.value))
            each.close()
        assert found[0] == found[1]
