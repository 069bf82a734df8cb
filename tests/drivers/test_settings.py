"""What a client SETs: whatever a direct connection shows, Gatehouse shows too, and nobody else sees it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.differential.differences import DIFFERENCES
from tests.drivers.places import Connection, Mover, Place, moving

SHOW = ("application_name", "datestyle", "timezone", "work_mem", "intervalstyle", "default_transaction_isolation")

STORIES = {
    "set and reset": "SET work_mem TO '1MB'; SET TIME ZONE 'Asia/Tokyo'; RESET work_mem; RESET TIME ZONE",
    "forms of set": "SET SESSION work_mem = '2MB'; SET datestyle TO ISO, DMY; SET TIME ZONE 'UTC'; SET TIME ZONE LOCAL; "
    "SET TIME ZONE -5; SET TIME ZONE DEFAULT; SET work_mem TO DEFAULT; SET NAMES 'UTF8'; SET XML OPTION DOCUMENT; "
    "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE; SET intervalstyle = iso_8601; SET seed TO 0.5",
    "values in postgresql's spelling": "SET work_mem TO 2048; SET datestyle TO 'german'; SET timezone TO 'utc'; "
    "SET statement_timeout TO '1min'; SHOW statement_timeout; SET statement_timeout TO 90000; SHOW statement_timeout",
    "application_name": "SET application_name TO 'a b''c\"d'; SHOW application_name; RESET application_name; "
    "SET application_name TO 'ä€'; SHOW application_name",
    "local outside": "SET LOCAL work_mem TO '1MB'; SHOW work_mem",
    "local inside": "BEGIN; SET LOCAL work_mem TO '1MB'; SHOW work_mem; COMMIT; SHOW work_mem",
    "kept by commit": "BEGIN; SET work_mem TO '1MB'; SET TIME ZONE 'Asia/Tokyo'; COMMIT",
    "lost by rollback": "SET work_mem TO '3MB'; BEGIN; SET work_mem TO '1MB'; SET TIME ZONE 'Asia/Tokyo'; "
    "SHOW work_mem; ROLLBACK",
    "lost by an error": "BEGIN; SET work_mem TO '1MB'; SELECT 1/0; SHOW work_mem; COMMIT; SHOW work_mem",
    "savepoints": "BEGIN; SET work_mem TO '1MB'; SAVEPOINT a; SET work_mem TO '2MB'; SAVEPOINT b; "
    "SET work_mem TO '3MB'; ROLLBACK TO b; SHOW work_mem; ROLLBACK TO a; SHOW work_mem; SET work_mem TO '5MB'; "
    "RELEASE a; SHOW work_mem; COMMIT",
    "savepoints of one name": "BEGIN; SAVEPOINT s; SET work_mem TO '1MB'; SAVEPOINT s; SET work_mem TO '2MB'; "
    "ROLLBACK TO s; SHOW work_mem; RELEASE s; ROLLBACK TO s; SHOW work_mem; COMMIT",
    "set then local": "BEGIN; SET work_mem TO '1MB'; SET LOCAL work_mem TO '2MB'; SHOW work_mem; COMMIT",
    "local then set": "BEGIN; SET LOCAL work_mem TO '1MB'; SET work_mem TO '2MB'; SHOW work_mem; COMMIT",
    "local behind a savepoint": "SET work_mem TO '7MB'; BEGIN; SAVEPOINT a; SET LOCAL work_mem TO '2MB'; "
    "ROLLBACK TO a; SHOW work_mem; COMMIT",
    "reset inside": "SET work_mem TO '1MB'; BEGIN; RESET work_mem; SHOW work_mem; ROLLBACK; SHOW work_mem; "
    "BEGIN; RESET work_mem; COMMIT",
    "reset all": "SET work_mem TO '1MB'; SET TIME ZONE 'Asia/Tokyo'; SET application_name TO 'x'; RESET ALL",
    "reset all inside": "SET work_mem TO '1MB'; BEGIN; SET TIME ZONE 'Asia/Tokyo'; RESET ALL; SHOW work_mem; "
    "SHOW timezone; ROLLBACK; SHOW work_mem; BEGIN; RESET ALL; COMMIT",
    "discard all": "SET work_mem TO '1MB'; SET default_transaction_isolation TO 'serializable'; DISCARD ALL",
    "discard all inside": "BEGIN; DISCARD ALL; ROLLBACK",
    "discard others": "SET work_mem TO '1MB'; DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP",
    "set_config": "SELECT set_config('work_mem', '1MB', false); SELECT set_config('TimeZone', 'utc', false)",
    "set_config inside": "BEGIN; SELECT set_config('work_mem', '1MB', false); SHOW work_mem; ROLLBACK; SHOW work_mem; "
    "BEGIN; SELECT pg_catalog.set_config('work_mem', '2MB', false); COMMIT",
    "set_config local": "SELECT set_config('work_mem', '1MB', true); SHOW work_mem; BEGIN; "
    "SELECT set_config('work_mem', '1MB', true); SHOW work_mem; COMMIT",
    "characteristics": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE; "
    "SHOW transaction_isolation; SHOW transaction_read_only; SHOW transaction_deferrable; BEGIN; "
    "SHOW transaction_isolation; COMMIT; SET default_transaction_read_only TO off; BEGIN; SHOW transaction_read_only; "
    "COMMIT; RESET default_transaction_isolation; SHOW transaction_isolation",
    "default isolation": "SET default_transaction_isolation TO 'repeatable read'; SHOW transaction_isolation; BEGIN; "
    "SHOW transaction_isolation; ROLLBACK; BEGIN ISOLATION LEVEL READ COMMITTED; SHOW transaction_isolation; COMMIT",
    "default isolation rolled back": "BEGIN; SET default_transaction_isolation TO 'serializable'; "
    "SHOW default_transaction_isolation; ROLLBACK; SHOW transaction_isolation",
    "read only": "SET default_transaction_read_only TO on; CREATE TEMP TABLE t (x int); DELETE FROM notes WHERE false; "
    "BEGIN READ WRITE; SHOW transaction_read_only; COMMIT; SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; "
    "DROP TABLE t",
    "chains": "SET work_mem TO '1MB'; BEGIN ISOLATION LEVEL SERIALIZABLE; SET work_mem TO '2MB'; COMMIT AND CHAIN; "
    "SHOW work_mem; SHOW transaction_isolation; SET work_mem TO '3MB'; ROLLBACK AND CHAIN; SHOW work_mem; COMMIT",
    "errors": "SET nope TO 1; SET work_mem TO 'x'; SET work_mem TO -1; SET TIME ZONE 'nowhere'; RESET nope; SHOW nope; "
    "SET transaction_isolation TO 'serializable'; SET server_version TO '1'; SET max_connections TO 5; SET a.b TO 1; "
    "SHOW a.b; RESET a.b; SHOW a.b; SELECT set_config('nope', '1', false); SET LOCAL nope TO 1",
    "custom": "SET my.value TO 'one'; BEGIN; SET my.value TO 'two'; ROLLBACK; SHOW my.value; "
    "SELECT current_setting('my.value'), current_setting('my.other', true)",
    "show all": "SET work_mem TO '1MB'; SELECT name, setting, source FROM pg_settings WHERE name IN "
    "('DateStyle', 'lc_messages')",
    "a failed transaction": "BEGIN; SELECT 1/0; SET work_mem TO '1MB'; ROLLBACK; SHOW work_mem; BEGIN; SELECT nope; "
    "RESET ALL; COMMIT; SHOW work_mem",
    "constraints": "BEGIN; SET CONSTRAINTS ALL DEFERRED; COMMIT; SET TRANSACTION READ ONLY; BEGIN; "
    "SET TRANSACTION READ ONLY; SHOW transaction_read_only; COMMIT",
}


class Listener:
    """Runs statements and keeps all that a client can see of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.seen: list[Any] = []
        connection.add_notice_handler(lambda diag: self.seen.append((diag.sqlstate, diag.message_primary)))

    def run(self, text: str, **options: Any) -> None:
        """One statement (or several in one string), its result, and what was reported."""
        try:
            cursor = self._connection.execute(text.encode(), **options)
        except psycopg.Error as error:
            diag = error.diag
            self.seen.append((diag.sqlstate, diag.message_primary, diag.statement_position, diag.message_hint))
        else:
            while True:
                rows = cursor.fetchall() if cursor.description else None
                self.seen.append((text, cursor.statusmessage, rows))
                if not cursor.nextset():
                    break
        self.look()

    def look(self) -> None:
        """What the driver was told by ParameterStatus, and the state of the transaction."""
        info = self._connection.info
        names = ("application_name", "TimeZone", "DateStyle", "IntervalStyle", "client_encoding")
        self.seen.append((info.transaction_status, *(info.parameter_status(name) for name in names)))

    def show_all(self) -> None:
        """The values as they stand."""
        for name in SHOW:
            self.run(f"SHOW {name}")


def statements(story: str) -> list[str]:
    return [part.strip() for part in story.split(";")]


PROTOCOLS = ("simple", "prepared", "one string")
LATE = DIFFERENCES["defaults in a string"].title
KNOWN = {
    ("characteristics", "one string"): LATE,
    ("read only", "one string"): LATE,
}


def stories() -> Iterator[Any]:
    """Each story by each protocol; those that end differently are marked."""
    for name, protocol in itertools.product(STORIES, PROTOCOLS):
        reason = KNOWN.get((name, protocol))
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        yield pytest.param(name, protocol, marks=marks)


@pytest.mark.parametrize(("name", "protocol"), list(stories()))
def test_session_settings_are_as_on_a_direct_connection(place: Place, mover: Mover, name: str, protocol: str) -> None:
    seen = []
    named = {"application_name": "shop"}  # without it Gatehouse's servers have a name of its own
    with place.connect(**named) as connection, place.connect_directly(**named) as direct:
        for each in (connection, direct):
            listener = Listener(each)
            listener.look()
            if protocol == "one string":
                listener.run(STORIES[name])
                each.rollback()
            else:
                for statement in statements(STORIES[name]):
                    listener.run(statement, prepare=protocol == "prepared")
                    if each is connection:
                        mover.move()
            listener.show_all()
            seen.append(listener.seen)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("back", ["RESET search_path", "SET search_path TO DEFAULT", "RESET ALL"])
@pytest.mark.parametrize("prepare", [False, True])
def test_a_narrowed_search_path_and_the_way_back(place: Place, mover: Mover, back: str, prepare: bool) -> None:
    seen = []
    with place.connect() as connection, place.connect_directly() as direct:
        for each in (connection, direct):
            found = []
            for statement in ("SET search_path TO public", back, "SET search_path TO ''", back):
                each.execute(statement.encode(), prepare=prepare)
                mover.move()
                found.append(each.execute("SELECT current_schemas(false)").fetchone())
            seen.append(found)
    assert seen[0] == seen[1]


def test_text_in_latin1(place: Place, notes: str, mover: Mover) -> None:
    with place.connect() as connection, place.connect() as other:
        connection.execute("SET client_encoding TO 'LATIN1'")
        assert connection.info.encoding == "iso8859-1"
        for prepare in (False, True):
            mover.move()
            row = connection.execute("SELECT %s::text || 'é', octet_length('é')", ("ü",), prepare=prepare).fetchone()
            assert row == ("üé", 2)
            assert other.execute("SELECT 'é', octet_length('é')").fetchone() == ("é", 2)
            with pytest.raises(psycopg.errors.UntranslatableCharacter):
                connection.execute("SELECT chr(8364)")
        connection.execute("INSERT INTO notes (id, body) VALUES (1, %s)", ("naïve",))
        assert other.execute("SELECT body FROM notes").fetchone() == ("naïve",)
        connection.execute("RESET client_encoding")
        assert connection.info.encoding == "utf-8"
    with place.connect(client_encoding="LATIN1") as connection:
        assert connection.info.encoding == "iso8859-1"
        assert connection.execute("SELECT body FROM notes").fetchone() == ("naïve",)
        with pytest.raises(psycopg.errors.UndefinedColumn) as raised:
            connection.execute("SELECT 'é', nope")
        assert raised.value.diag.statement_position == "13"


def test_clients_on_one_server_never_see_each_others_settings(narrow_place: Place) -> None:
    place = narrow_place
    zones = ("Asia/Tokyo", "Europe/Rome", "America/New_York")
    with place.connect() as a, place.connect() as b, place.connect() as c, place.connect() as untouched:
        clients = list(zip((a, b, c), zones, ("1MB", "2MB", "3MB"), strict=True))
        before = untouched.execute("SHOW timezone").fetchone()
        for connection, zone, memory in clients:
            connection.execute(f"SET TIME ZONE '{zone}'".encode())
            connection.execute("SELECT set_config('work_mem', %s, false)", (memory,))
            connection.execute(f"SET my.own TO '{zone}'; SET client_encoding TO 'LATIN1'".encode())
            connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        query = "SELECT current_setting('timezone'), current_setting('work_mem'), current_setting('my.own', true)"
        query += ", current_setting('client_encoding'), current_setting('transaction_isolation'), pg_backend_pid()"
        for prepare in (False, True, False):
            servers = set()
            for connection, zone, memory in clients:
                row = connection.execute(query.encode(), prepare=prepare).fetchone()
                assert row is not None
                assert row[:5] == (zone, memory, zone, "LATIN1", "serializable")
                servers.add(row[5])
                row = untouched.execute(query.encode(), prepare=prepare).fetchone()
                assert row is not None
                assert before is not None
                assert row[:2] == (before[0], "4MB")
                assert row[2] in ("", None)
                assert row[3:5] == ("UTF8", "read committed")
                servers.add(row[5])
            assert len(servers) == 1
        assert [connection.info.parameter_status("TimeZone") for connection, _, _ in clients] == list(zones)


def test_settings_that_make_the_context_stay(place: Place) -> None:
    with place.connect() as connection:
        protected = [
            "SET app.tenant_id TO 'umbrella'",
            "RESET app.tenant_id",
            "SET ROLE postgres",
            "SET LOCAL ROLE none",
        ]
        protected += ["SELECT set_config('app.tenant_id', 'umbrella', false)", "SET SESSION AUTHORIZATION DEFAULT"]
        for statement in protected:
            for prepare in (False, True):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode(), prepare=prepare)
        for clearing in ("RESET ALL", "DISCARD ALL", "BEGIN; RESET ALL; COMMIT"):
            connection.execute(clearing.encode())
            found = connection.execute("SELECT item FROM orders").fetchall()
            assert {row[0] for row in found} == place.items


def test_a_statement_timeout_of_the_clients_own(place: Place) -> None:
    with place.connect() as connection, moving(place) as mover:
        connection.execute("SET statement_timeout TO '1s'")
        for prepare in (False, True):
            mover.move()
            with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
                connection.execute("SELECT pg_sleep(20)", prepare=prepare)
        connection.execute("RESET statement_timeout")
        assert connection.execute("SELECT pg_sleep(1.2), 1").fetchone() == ("", 1)
