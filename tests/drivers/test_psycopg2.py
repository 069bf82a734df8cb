"""psycopg2 as applications use it: simple queries only, libpq's asynchronous calls, cursors by name, COPY."""

from __future__ import annotations

import io
import select
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2 import errors, extensions, extras, pool, sql

from tests.drivers.places import PLACEMENTS, SAMPLES, Mover, Place
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.serve import served_proxy

Connection = extensions.connection

ITEMS = "SELECT item FROM orders"


def connect(place: Place, **more: Any) -> Connection:
    """A connection through Gatehouse, not in autocommit, as psycopg2's are."""
    made: Connection = psycopg2.connect(
        **{"dbname": "any", "connect_timeout": int(PATIENCE_S), **place.through, **more}
    )
    return made


@pytest.fixture
def connection(place: Place) -> Iterator[Connection]:
    with closing(connect(place)) as connection:
        yield connection


@pytest.fixture
def autocommit(connection: Connection) -> Connection:
    connection.autocommit = True
    return connection


def column(connection: Connection, text: str, parameters: Any = None) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return [row[0] for row in cursor.fetchall()]


def value(connection: Connection, text: str, parameters: Any = None) -> Any:
    return column(connection, text, parameters)[0]


def execute(connection: Connection, text: str, parameters: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)


def test_a_tenant_sees_its_rows_on_every_server(place: Place, autocommit: Connection, mover: Mover) -> None:
    servers = set()
    for _ in range(6):
        assert set(column(autocommit, ITEMS)) == place.items
        assert set(column(autocommit, ITEMS + " WHERE amount > %s", (Decimal(-1),))) == place.items
        servers.add(value(autocommit, "SELECT pg_backend_pid()"))
        mover.move()
    assert len(servers) > 1


def test_transactions_by_with_and_by_hand(connection: Connection, place: Place, notes: str) -> None:
    with connection:
        execute(connection, "INSERT INTO notes (id) VALUES (1)")
    execute(connection, "INSERT INTO notes (id) VALUES (2)")
    assert connection.status == extensions.STATUS_BEGIN
    connection.rollback()

    def fail() -> None:
        with connection:
            execute(connection, "INSERT INTO notes (id) VALUES (3)")
            execute(connection, "INSERT INTO notes (id) VALUES ('x')")

    with pytest.raises(errors.InvalidTextRepresentation):
        fail()
    assert connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
    assert column(connection, "SELECT id FROM notes") == [1]
    assert set(column(connection, ITEMS)) == place.items


def test_a_failed_transaction_says_so_until_it_is_rolled_back(connection: Connection, notes: str) -> None:
    with pytest.raises(errors.UndefinedColumn):
        execute(connection, "SELECT nope FROM notes")
    with pytest.raises(errors.InFailedSqlTransaction):
        execute(connection, "SELECT 1")
    connection.rollback()
    assert value(connection, "SELECT 1") == 1


def test_savepoints(connection: Connection, notes: str) -> None:
    execute(connection, "INSERT INTO notes (id) VALUES (1); SAVEPOINT s")
    with pytest.raises(errors.DivisionByZero):
        execute(connection, "INSERT INTO notes (id) VALUES (2); SELECT 1 / 0")
    execute(connection, "ROLLBACK TO SAVEPOINT s; INSERT INTO notes (id) VALUES (3); RELEASE SAVEPOINT s")
    connection.commit()
    assert column(connection, "SELECT id FROM notes ORDER BY id") == [1, 3]


def test_autocommit_can_be_switched(connection: Connection, notes: str, mover: Mover) -> None:
    for number in range(4):
        connection.autocommit = number % 2 == 0
        execute(connection, "INSERT INTO notes (id) VALUES (%s)", (number,))
        connection.rollback()
        mover.move()
    assert column(connection, "SELECT id FROM notes ORDER BY id") == [0, 2]


def test_named_cursors_stream_their_rows(connection: Connection, place: Place) -> None:
    with connection.cursor(name="numbers") as cursor:
        cursor.itersize = 300
        cursor.execute("SELECT n, (SELECT count(*) FROM orders) FROM generate_series(1, 1000) AS n")
        rows = list(cursor)
    assert [row[0] for row in rows] == list(range(1, 1001))
    assert {row[1] for row in rows} == {len(place.items)}


def test_a_scrollable_named_cursor_moves_both_ways(connection: Connection) -> None:
    with connection.cursor(name="there and back", scrollable=True) as cursor:
        cursor.execute("SELECT generate_series(1, 10)")
        cursor.scroll(4)
        assert cursor.fetchone() == (5,)
        cursor.scroll(-3)
        assert cursor.fetchmany(2) == [(3,), (4,)]
        cursor.scroll(0, mode="absolute")
        assert cursor.fetchone() == (1,)


def test_a_named_cursor_with_hold_outlives_its_transaction(connection: Connection, mover: Mover) -> None:
    cursor = connection.cursor(name="held", withhold=True)
    cursor.execute("SELECT generate_series(1, 5)")
    assert cursor.fetchone() == (1,)
    connection.commit()
    mover.move()
    assert cursor.fetchall() == [(2,), (3,), (4,), (5,)]
    cursor.close()
    connection.commit()


def test_copy_expert_both_ways(connection: Connection, loads: str, mover: Mover) -> None:
    text = "".join(f'{number},"line, {number}"\n' for number in range(3000))
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY loads (id, body) FROM STDIN CSV", io.StringIO(text))
        assert cursor.rowcount == 3000
        connection.commit()
        mover.move()
        target = io.StringIO()
        cursor.copy_expert("COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT CSV FORCE QUOTE body", target)
    assert target.getvalue() == text


def test_copy_from_and_copy_to(autocommit: Connection, loads: str, mover: Mover) -> None:
    with autocommit.cursor() as cursor:
        for start in (0, 2):
            cursor.copy_from(io.StringIO(f"{start}\tä\n{start + 1}\t\\N\n"), "loads", columns=("id", "body"))
            mover.move()
        target = io.StringIO()
        cursor.copy_to(target, "loads", columns=("id", "body"), null="-")
    assert sorted(target.getvalue().split("\n")) == ["", "0\tä", "1\t-", "2\tä", "3\t-"]


def test_a_copy_that_fails_leaves_the_connection_usable(autocommit: Connection, loads: str) -> None:
    with autocommit.cursor() as cursor:
        with pytest.raises(errors.InvalidTextRepresentation):
            cursor.copy_from(io.StringIO("1\tx\nnot a number\ty\n"), "loads", columns=("id", "body"))

        class Broken(io.StringIO):
            def read(self, size: int | None = -1, /) -> str:
                raise OSError("the disk is gone")

        with pytest.raises(errors.QueryCanceled, match="the disk is gone"):
            cursor.copy_from(Broken(), "loads", columns=("id", "body"))
    assert value(autocommit, "SELECT count(*) FROM loads") == 0


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (extensions.ISOLATION_LEVEL_READ_UNCOMMITTED, "read uncommitted"),
        (extensions.ISOLATION_LEVEL_READ_COMMITTED, "read committed"),
        (extensions.ISOLATION_LEVEL_REPEATABLE_READ, "repeatable read"),
        (extensions.ISOLATION_LEVEL_SERIALIZABLE, "serializable"),
    ],
)
def test_set_session_isolation_levels(place: Place, connection: Connection, level: int, shown: str) -> None:
    connection.set_session(isolation_level=level)
    for _ in range(2):
        assert value(connection, "SHOW transaction_isolation") == shown
        assert set(column(connection, ITEMS)) == place.items
        connection.commit()
    connection.set_session(isolation_level="DEFAULT")
    assert value(connection, "SHOW transaction_isolation") == "read committed"


def test_set_session_read_only_and_deferrable(place: Place, connection: Connection) -> None:
    connection.set_session("SERIALIZABLE", readonly=True, deferrable=True)
    assert set(column(connection, ITEMS)) == place.items
    assert value(connection, "SHOW transaction_deferrable") == "on"
    with pytest.raises(errors.ReadOnlySqlTransaction):
        execute(connection, "INSERT INTO notes (id) VALUES (1)")
    connection.rollback()
    connection.readonly = connection.deferrable = None
    assert value(connection, "SHOW transaction_read_only") == "off"


def test_set_session_in_autocommit_sets_the_sessions_defaults(
    place: Place, autocommit: Connection, mover: Mover
) -> None:
    # There psycopg2 has no BEGIN to put it in, and says SET default_transaction_….
    autocommit.set_session("REPEATABLE READ", readonly=True)
    for _ in range(3):
        assert value(autocommit, "SHOW transaction_isolation") == "repeatable read"
        assert value(autocommit, "SHOW transaction_read_only") == "on"
        mover.move()
    with pytest.raises(errors.ReadOnlySqlTransaction):
        execute(autocommit, "INSERT INTO notes (id) VALUES (1)")
    autocommit.set_session("DEFAULT", readonly="default")
    for _ in range(3):
        assert value(autocommit, "SHOW transaction_isolation") == "read committed"
        assert value(autocommit, "SHOW transaction_read_only") == "off"
        mover.move()
    with closing(connect(place)) as other:
        assert value(other, "SHOW transaction_read_only") == "off"


def test_set_client_encoding(connection: Connection, notes: str, mover: Mover) -> None:
    for encoding in ("LATIN1", "UTF8", "WIN1252"):
        connection.set_client_encoding(encoding)
        mover.move()
        assert (connection.encoding, value(connection, "SHOW client_encoding")) == (encoding, encoding)
        execute(connection, "INSERT INTO notes (id, body) VALUES (1, %s)", ("Ölsardine",))
        connection.commit()
        mover.move()
        assert column(connection, "SELECT DISTINCT body FROM notes") == ["Ölsardine"]
        connection.rollback()
    connection.reset()
    assert value(connection, "SELECT body FROM notes LIMIT 1") == "Ölsardine"


def test_reset_forgets_the_sessions_settings_but_not_the_tenant(
    place: Place, connection: Connection, mover: Mover
) -> None:
    execute(connection, "SET work_mem TO '3MB'")
    connection.commit()
    mover.move()
    assert value(connection, "SHOW work_mem") == "3MB"
    connection.reset()
    mover.move()
    assert value(connection, "SHOW work_mem") != "3MB"
    assert value(connection, "SHOW app.tenant_id") == place.name
    assert set(column(connection, ITEMS)) == place.items


@pytest.fixture(scope="module")
def served(drivers_cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    """A Gatehouse in a process of its own: psycopg2's cancel() holds the interpreter while it waits for the proxy."""
    with served_proxy(drivers_cluster) as proxy:
        yield proxy


@pytest.fixture(params=PLACEMENTS)
def served_place(request: pytest.FixtureRequest, served: ProxyUnderTest) -> Place:
    return Place(SAMPLES[request.param], served)


def test_cancel_from_another_thread(served_place: Place) -> None:
    place, connection = served_place, connect(served_place)

    def cancel() -> None:
        place.wait_until_it_runs("SELECT pg_sleep(37)")
        connection.cancel()

    with ThreadPoolExecutor(1) as executor:
        done = executor.submit(cancel)
        with pytest.raises(errors.QueryCanceled):
            execute(connection, "SELECT pg_sleep(37)")
        done.result()
    connection.rollback()
    assert set(column(connection, ITEMS)) == place.items
    connection.close()


def wait(connection: Connection) -> None:
    """psycopg2's loop for asynchronous connections, with a deadline."""
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        reads = [connection] if state == extensions.POLL_READ else []
        writes = [connection] if state == extensions.POLL_WRITE else []
        assert any(select.select(reads, writes, [], PATIENCE_S)), "nothing came"


def test_an_asynchronous_connection_and_its_cancel(served_place: Place) -> None:
    place = served_place
    with closing(connect(place, async_=1)) as connection:
        wait(connection)
        cursor = connection.cursor()
        cursor.execute(ITEMS)
        wait(connection)
        assert {row[0] for row in cursor} == place.items
        cursor.execute("SELECT pg_sleep(38)")
        connection.poll()
        place.wait_until_it_runs("SELECT pg_sleep(38)")
        connection.cancel()
        with pytest.raises(errors.QueryCanceled):
            wait(connection)
        cursor.execute("SELECT 1")
        wait(connection)
        assert cursor.fetchone() == (1,)


def test_a_green_connection_waits_by_the_callback(place: Place) -> None:
    extensions.set_wait_callback(wait)
    try:
        with closing(connect(place)) as connection:
            assert set(column(connection, ITEMS)) == place.items
            connection.commit()
    finally:
        extensions.set_wait_callback(None)


def test_notifications_reach_their_listener(place: Place, autocommit: Connection) -> None:
    execute(autocommit, "LISTEN news")
    with closing(connect(place)) as sender:
        execute(sender, "NOTIFY news, 'first'; SELECT pg_notify('news', 'second')")
        sender.commit()
    while len(autocommit.notifies) < 2:
        assert any(select.select([autocommit], [], [], PATIENCE_S)), "no notification came"
        autocommit.poll()
    assert [notify.payload for notify in autocommit.notifies] == ["first", "second"]
    execute(autocommit, "UNLISTEN *")


def test_notices_reach_their_client(autocommit: Connection) -> None:
    execute(autocommit, "DO $$ BEGIN RAISE NOTICE 'seen'; END $$")
    assert autocommit.notices[-1:] == ["NOTICE:  seen\n"]


def test_execute_values_and_execute_batch(connection: Connection, notes: str) -> None:
    rows = [(number, f"body's {number}") for number in range(1000)]
    with connection.cursor() as cursor:
        given = extras.execute_values(
            cursor, "INSERT INTO notes (id, body) VALUES %s RETURNING id", rows, page_size=150, fetch=True
        )
        assert [row[0] for row in given] == list(range(1000))
        extras.execute_batch(
            cursor, "UPDATE notes SET body = %s WHERE id = %s", [(b, n) for n, b in rows], page_size=70
        )
        cursor.executemany("DELETE FROM notes WHERE id = %s", [(number,) for number in range(990)])
    connection.commit()
    assert column(connection, "SELECT body FROM notes ORDER BY id") == [body for _, body in rows[990:]]


def test_sql_composition_and_rows_by_name(connection: Connection, place: Place) -> None:
    query = sql.SQL("SELECT {0} AS thing FROM {1} ORDER BY {0} LIMIT {2}").format(
        sql.Identifier("item"), sql.Identifier("orders"), sql.Literal(100)
    )
    with connection.cursor(cursor_factory=extras.RealDictCursor) as cursor:
        cursor.execute(query)
        assert {row["thing"] for row in cursor} == place.items


def test_values_of_many_types(connection: Connection) -> None:
    values = (1, 2.5, Decimal("1.10"), 'it\'s \\ a "text"', b"\x00\xff'\\", [1, None, 3], True, None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s::float8, %s, %s, %s, %s, %s, %s", values)
        row = cursor.fetchone()
    assert row is not None
    assert (*row[:4], bytes(row[4]), *row[5:]) == values
    assert value(connection, "SELECT %s::jsonb", (extras.Json({"a": [1]}),)) == {"a": [1]}


def test_what_the_driver_knows_about_its_connection(place: Place, connection: Connection) -> None:
    assert connection.server_version // 10000 == place.cluster.major
    assert connection.info.user == place.through["user"]
    assert connection.get_parameter_status("server_encoding") == "UTF8"
    assert connection.get_parameter_status("standard_conforming_strings") == "on"
    assert connection.protocol_version == 3
    execute(connection, "SET application_name TO 'counted'")
    assert connection.get_parameter_status("application_name") == "counted"
    connection.rollback()
    assert connection.get_parameter_status("application_name") != "counted"


def test_two_phase_commit_fails_as_on_a_server_without_it(connection: Connection, notes: str) -> None:
    connection.tpc_begin(connection.xid(1, "gtrid", "bqual"))
    execute(connection, "INSERT INTO notes (id) VALUES (1)")
    with pytest.raises(psycopg2.Error, match="prepared transactions are disabled"):
        connection.tpc_prepare()
    connection.tpc_rollback()
    assert column(connection, "SELECT id FROM notes") == []


def test_the_drivers_pool_serves_many_threads(place: Place, notes: str) -> None:
    where = {"dbname": "any", **place.through}
    with closing(_Closing(pool.ThreadedConnectionPool(1, 6, **where))) as shared:
        turn = threading.Semaphore(6)

        def work(number: int) -> set[str]:
            with turn:
                connection = shared.pool.getconn()
                try:
                    execute(connection, "INSERT INTO notes (id) VALUES (%s)", (number,))
                    seen = set(column(connection, ITEMS))
                    connection.commit()
                    return seen
                finally:
                    shared.pool.putconn(connection)

        with ThreadPoolExecutor(12) as executor:
            assert all(seen == place.items for seen in executor.map(work, range(60)))
        connection = shared.pool.getconn()
        assert sorted(column(connection, "SELECT id FROM notes")) == list(range(60))
        connection.rollback()
        shared.pool.putconn(connection)


class _Closing:
    """A pool that `closing` can end."""

    def __init__(self, wrapped: pool.ThreadedConnectionPool) -> None:
        self.pool = wrapped

    def close(self) -> None:
        self.pool.closeall()
