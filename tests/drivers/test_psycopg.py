"""psycopg 3, the synchronous side, as applications use it; its clients move from server to server all the time."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.enum import EnumInfo, register_enum
from psycopg.types.json import Jsonb

from tests.drivers.places import Connection, Mover, Place
from tests.support import PATIENCE_S

ITEMS = "SELECT item FROM orders"


def column(connection: Connection, text: str, *parameters: Any, **options: Any) -> list[Any]:
    return [row[0] for row in connection.execute(text.encode(), parameters or None, **options).fetchall()]


def value(connection: Connection, text: str, *parameters: Any) -> Any:
    return column(connection, text, *parameters)[0]


def test_a_tenant_sees_its_rows_by_both_protocols_on_every_server(place: Place, mover: Mover) -> None:
    servers = set()
    with place.connect() as connection:
        for _ in range(6):
            assert set(column(connection, ITEMS)) == place.items
            assert set(column(connection, "SELECT item FROM orders WHERE amount > %s", -1)) == place.items
            assert set(column(connection, "SELECT item FROM orders WHERE amount > %s", -1, prepare=True)) == place.items
            assert set(column(connection, ITEMS, binary=True)) == place.items
            servers.add(value(connection, "SELECT pg_backend_pid()"))
            mover.move()
    assert len(servers) > 1


def test_statements_that_psycopg_prepares_by_itself_follow_the_client(place: Place, mover: Mover) -> None:
    with place.connect(prepare_threshold=5) as connection:
        for number in range(14):
            assert value(connection, "SELECT %s + 1", number) == number + 1
            assert set(column(connection, "SELECT item FROM orders WHERE amount > %s", Decimal(0))) == place.items
            mover.move()


def test_more_statements_than_a_server_or_the_driver_keeps(place: Place, mover: Mover) -> None:
    with place.connect(prepare_threshold=0) as connection:
        connection.prepared_max = 40
        for number in itertools.chain(range(90), range(90)):
            assert value(connection, f"SELECT %s::int + {number}", 1) == number + 1
            if number % 9 == 0:
                mover.move()


def test_a_changed_result_type_after_ddl_is_what_postgresql_says_or_better(place: Place) -> None:
    with place.connect() as connection:
        connection.execute("CREATE TABLE changing AS SELECT 1 AS a")
        try:
            assert connection.execute("SELECT * FROM changing", prepare=True).fetchall() == [(1,)]
            connection.execute("ALTER TABLE changing ADD COLUMN b int DEFAULT 2")
            connection.execute("DEALLOCATE ALL")
            assert connection.execute("SELECT * FROM changing").fetchall() == [(1, 2)]
        finally:
            connection.execute("DROP TABLE changing")


def test_pipelines(place: Place, notes: str, mover: Mover) -> None:
    with place.connect() as connection:
        for start in (0, 100):
            with connection.pipeline() as pipeline:
                cursors = [connection.execute("SELECT %s::int, count(*) FROM orders", (n,)) for n in range(20)]
                connection.execute("INSERT INTO notes (id) VALUES (%s)", (start,))
                pipeline.sync()
                with connection.transaction():
                    connection.execute("INSERT INTO notes (id) VALUES (%s)", (start + 1,))
                    connection.execute("INSERT INTO notes (id) VALUES (%s)", (start + 2,))
            assert [cursor.fetchone() for cursor in cursors] == [(n, len(place.items)) for n in range(20)]
            mover.move()
        assert column(connection, "SELECT id FROM notes ORDER BY id") == [0, 1, 2, 100, 101, 102]


def pipeline_with_an_error(connection: Connection) -> None:
    with connection.pipeline() as pipeline:
        connection.execute("INSERT INTO notes (id) VALUES (1)")
        pipeline.sync()
        connection.execute("INSERT INTO notes (id) VALUES (2)")
        connection.execute("SELECT 1 / %s", (0,))
        connection.execute("INSERT INTO notes (id) VALUES (3)")


def test_an_error_in_a_pipeline_undoes_its_part_alone(place: Place, notes: str) -> None:
    with place.connect() as connection:
        with pytest.raises(errors.DivisionByZero):
            pipeline_with_an_error(connection)
        assert column(connection, "SELECT id FROM notes") == [1]
        assert set(column(connection, ITEMS)) == place.items


def test_executemany(place: Place, notes: str, mover: Mover) -> None:
    with place.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO notes (id, body) VALUES (%s, %s)", [(n, f"n{n}") for n in range(50)])
        assert cursor.rowcount == 50
        mover.move()
        cursor.executemany("DELETE FROM notes WHERE id = %s RETURNING body", [(n,) for n in range(3)], returning=True)
        bodies = []
        while True:
            bodies += [row[0] for row in cursor.fetchall()]
            if not cursor.nextset():
                break
        assert bodies == ["n0", "n1", "n2"]
        assert value(connection, "SELECT count(*) FROM notes") == 47


def test_server_side_cursors(place: Place) -> None:
    with place.connect() as connection:
        with connection.transaction(), connection.cursor("walk", scrollable=True) as cursor:
            cursor.itersize = 2
            cursor.execute("SELECT item FROM orders ORDER BY item")
            assert [row[0] for row in cursor] == sorted(place.items)
            cursor.scroll(0, mode="absolute")
            assert cursor.fetchone() == (min(place.items),)
        with connection.transaction(), connection.cursor("numbers") as cursor:
            cursor.execute("SELECT generate_series(1, %s)", (1000,))
            assert len(cursor.fetchmany(300)) == 300
            assert len(cursor.fetchall()) == 700


def test_a_cursor_with_hold_outlives_its_transaction(place: Place, mover: Mover) -> None:
    with place.connect() as connection, connection.cursor("held", withhold=True) as cursor:
        with connection.transaction():
            cursor.execute("SELECT item FROM orders ORDER BY item")
            first = cursor.fetchone()
        mover.move()
        assert first is not None
        assert {first[0], *(row[0] for row in cursor.fetchall())} == place.items


@pytest.mark.parametrize("form", ["text", "binary"])
def test_copy_in_and_out(place: Place, loads: str, mover: Mover, form: str) -> None:
    rows = [(n, f"line {n}\twith a tab, a \\ and a\nbreak") for n in range(2000)]
    with place.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY loads (id, body) FROM STDIN (FORMAT {})").format(sql.SQL(form))) as copy:
            copy.set_types(["int4", "text"])
            for row in rows:
                copy.write_row(row)
        assert cursor.rowcount == 2000
        mover.move()
        text = "COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT (FORMAT {})"
        with cursor.copy(sql.SQL(text).format(sql.SQL(form))) as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == rows
        assert set(column(connection, ITEMS)) == place.items


def read_and_cancel(cursor: psycopg.Cursor[Any]) -> None:
    with cursor.copy("COPY (SELECT generate_series(1, 5000000)) TO STDOUT") as copy:
        copy.read()
        cursor.connection.cancel_safe(timeout=PATIENCE_S)
        for _ in copy:
            pass


def change_ones_mind(cursor: psycopg.Cursor[Any]) -> None:
    with cursor.copy("COPY loads (id, body) FROM STDIN") as copy:
        copy.write_row((1, "one"))
        raise ZeroDivisionError("the application changed its mind")


def test_a_copy_that_fails_leaves_the_connection_usable(place: Place, loads: str) -> None:
    with place.connect() as connection, connection.cursor() as cursor:
        with pytest.raises(errors.BadCopyFileFormat), cursor.copy("COPY loads (id, body) FROM STDIN") as copy:
            copy.write(b"1\tone\n2\n")
        with pytest.raises(ZeroDivisionError):
            change_ones_mind(cursor)
        with pytest.raises(errors.UndefinedColumn), cursor.copy("COPY loads (nope) FROM STDIN"):
            pass
        with pytest.raises(errors.QueryCanceled):
            read_and_cancel(cursor)
        assert column(connection, "SELECT id FROM loads") == []
        assert set(column(connection, ITEMS)) == place.items


def test_copy_in_a_pipeline_free_transaction(place: Place, loads: str) -> None:
    with place.connect() as connection, connection.cursor() as cursor:
        with connection.transaction():
            with cursor.copy("COPY loads (id, body) FROM STDIN") as copy:
                copy.write_row((7, None))
            assert column(connection, "SELECT id FROM loads") == [7]
        assert column(connection, "SELECT id FROM loads") == [7]


def test_notices_reach_their_client(place: Place) -> None:
    heard: list[str] = []
    with place.connect() as connection:
        connection.add_notice_handler(lambda diag: heard.append(f"{diag.severity} {diag.message_primary}"))
        connection.execute("DROP TABLE IF EXISTS not_there")
        connection.execute("DO $$ BEGIN RAISE WARNING 'watch out'; END $$")
        connection.execute("COMMIT")
    assert heard == [
        'NOTICE table "not_there" does not exist, skipping',
        "WARNING watch out",
        "WARNING there is no transaction in progress",
    ]


def test_what_the_driver_knows_about_its_connection(place: Place) -> None:
    with place.connect(application_name="shop") as connection, place.connect_directly() as direct:
        info, expected = connection.info, direct.info
        assert info.server_version == expected.server_version
        assert info.encoding == expected.encoding
        assert info.timezone == expected.timezone
        for name in (
            "DateStyle",
            "IntervalStyle",
            "integer_datetimes",
            "server_encoding",
            "standard_conforming_strings",
        ):
            assert info.parameter_status(name) == expected.parameter_status(name), name
        assert info.parameter_status("application_name") == "shop"
        assert info.parameter_status("is_superuser") == "off"
        assert value(connection, "SHOW application_name") == "shop"


def test_startup_options_hold_for_the_whole_connection(place: Place, mover: Mover) -> None:
    with place.connect(options="-c TimeZone=Asia/Tokyo -c work_mem=5MB") as connection:
        for _ in range(3):
            assert value(connection, "SHOW TimeZone") == "Asia/Tokyo"
            assert value(connection, "SHOW work_mem") == "5MB"
            mover.move()
        connection.execute("SET TimeZone TO 'UTC'")
        connection.execute("RESET TimeZone")
        assert value(connection, "SHOW TimeZone") == "Asia/Tokyo"
        assert str(connection.info.timezone) == "Asia/Tokyo"


def test_times_are_in_the_zone_that_was_set(place: Place, mover: Mover) -> None:
    instant = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
    with place.connect() as connection:
        for zone, hour in (("Europe/Rome", 14), ("America/New_York", 8), ("UTC", 12)):
            connection.execute(sql.SQL("SET TIME ZONE {}").format(zone))
            mover.move()
            for binary in (False, True):
                got = connection.execute("SELECT %s::timestamptz", (instant,), binary=binary).fetchone()
                assert got is not None
                assert got[0] == instant
                assert got[0].hour == hour
            assert str(connection.info.timezone) == zone


def test_dealloc_and_discard_forget_statements(place: Place) -> None:
    with place.connect() as connection:
        for forget in ("DEALLOCATE ALL", "DISCARD ALL", "DEALLOCATE PREPARE ALL"):
            assert connection.execute("SELECT 40 + %s", (2,), prepare=True).fetchone() == (42,)
            connection.execute(forget.encode())
            assert connection.execute("SELECT 40 + %s", (2,), prepare=True).fetchone() == (42,)


def test_types_of_the_tenants_own(place: Place, mover: Mover) -> None:
    with place.connect() as connection:
        mood = EnumInfo.fetch(connection, "mood")
        spot = CompositeInfo.fetch(connection, "place")
        assert mood is not None
        assert spot is not None
        register_enum(mood, connection)
        register_composite(spot, connection)
        assert mood.enum is not None
        assert spot.python_type is not None
        home = spot.python_type("Elm St", 13)
        for binary in (False, True):
            mover.move()
            row = connection.execute("SELECT 'ok'::mood, %s::place, ARRAY['sad','ok']::mood[]", (home,), binary=binary)
            assert row.fetchone() == (mood.enum["ok"], home, [mood.enum["sad"], mood.enum["ok"]])


def test_values_of_many_types_and_large_ones(place: Place) -> None:
    values = (None, True, 2**40, Decimal("1.50"), "ä€𝄞", b"\0\xff", dt.date(2024, 2, 29), [1, None], dt.timedelta(3))
    large = "x" * 3_000_000
    with place.connect(row_factory=dict_row) as connection:
        for binary in (False, True):
            text = (
                "SELECT %s::text a, %s b, %s c, %s::numeric d, %s::text e, %s::bytea f, %s::date g, %s::int[] h, %s i"
            )
            row = connection.execute(text, values, binary=binary).fetchone()
            assert row is not None
            assert tuple(row.values()) == values
        json = connection.execute("SELECT %s AS j", (Jsonb({"a": [1]}),)).fetchone()
        assert json == {"j": {"a": [1]}}
        echo = connection.execute("SELECT %s::text AS t", (large,)).fetchone()
        assert echo == {"t": large}


def test_several_statements_in_one_execute(place: Place, notes: str) -> None:
    with place.connect() as connection:
        cursor = connection.execute(
            "SELECT 1; INSERT INTO notes (id) VALUES (1), (2); SELECT id FROM notes ORDER BY id"
        )
        assert cursor.fetchall() == [(1,)]
        assert cursor.nextset()
        assert cursor.rowcount == 2
        assert cursor.nextset()
        assert cursor.fetchall() == [(1,), (2,)]
        assert not cursor.nextset()
        with pytest.raises(errors.DivisionByZero):
            connection.execute("INSERT INTO notes (id) VALUES (3); SELECT 1/0")
        with pytest.raises(errors.DivisionByZero):
            connection.execute(
                "BEGIN; INSERT INTO notes (id) VALUES (4); COMMIT; INSERT INTO notes (id) VALUES (5); SELECT 1/0"
            )
        assert column(connection, "SELECT id FROM notes ORDER BY id") == [1, 2, 4]


def test_notifications_pin_their_listener(place: Place, mover: Mover) -> None:
    with place.connect() as listener, place.connect() as sender:
        listener.execute("LISTEN door")
        server = value(listener, "SELECT pg_backend_pid()")
        mover.move()
        assert value(listener, "SELECT pg_backend_pid()") == server
        sender.execute("SELECT pg_notify('door', 'knock')")
        heard = next(listener.notifies(timeout=PATIENCE_S, stop_after=1))
        assert (heard.channel, heard.payload) == ("door", "knock")
        listener.execute("UNLISTEN *")


def test_temporary_tables_stay_with_their_client(place: Place, mover: Mover) -> None:
    with place.connect() as connection, place.connect() as other:
        connection.execute("CREATE TEMP TABLE basket (item text)")
        for item in ("a", "b"):
            mover.move()
            connection.execute("INSERT INTO basket VALUES (%s)", (item,))
        assert column(connection, "SELECT item FROM basket ORDER BY item") == ["a", "b"]
        with pytest.raises(errors.UndefinedTable):
            other.execute("SELECT * FROM basket")
    with place.connect() as later, pytest.raises(errors.UndefinedTable):
        later.execute("SELECT * FROM basket")


def test_session_locks_are_held_and_let_go(place: Place, mover: Mover) -> None:
    # The database is the same for two of them, and a server is reset a moment after its client left.
    key = f"hashtext('{place.name}')"
    with place.connect() as one, place.connect() as two:
        assert value(one, f"SELECT pg_try_advisory_lock({key})")
        mover.move()
        assert not value(two, f"SELECT pg_try_advisory_lock({key})")
        assert value(one, f"SELECT pg_advisory_unlock({key})")
        assert value(two, f"SELECT pg_try_advisory_lock({key})")


def test_client_side_binding_cursors(place: Place) -> None:
    with place.connect(cursor_factory=psycopg.ClientCursor) as connection:
        assert (
            set(column(connection, "SELECT item FROM orders WHERE amount > %s AND item <> %s", 0, "it's"))
            == place.items
        )
    with place.connect(cursor_factory=psycopg.RawCursor) as connection:
        assert set(column(connection, "SELECT item FROM orders WHERE amount > $1", 0)) == place.items


def test_the_drivers_pool_checks_and_resets_its_connections(place: Place) -> None:
    pool_module = pytest.importorskip("psycopg_pool")
    pool = pool_module.ConnectionPool(
        kwargs={**place.through, "dbname": "any"},
        min_size=2,
        max_size=6,
        open=True,
        check=pool_module.ConnectionPool.check_connection,
    )
    with pool:
        for _ in range(20):
            with pool.connection() as connection:
                assert set(column(connection, ITEMS)) == place.items
