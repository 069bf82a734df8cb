"""What other sessions of the same login run, with the constants in it, is theirs: pg_stat_activity and its kin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.guard.functions import KNOWN_BY_OID, REACH_SESSIONS, SESSION_LOCKS, TRANSACTION_LOCKS
from proxy.wire import frontend
from tests.isolation import world
from tests.isolation.conftest import SINGLE
from tests.isolation.test_hardening import revoked
from tests.isolation.world import PROTOCOLS, Protocol, Resident, connect, run
from tests.support.messages import function_call
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.raw import RawConnection, errors, rows

SECRET = "4111 1111 1111 1111"
PRYING = (
    "SELECT query FROM pg_stat_activity",
    "SELECT query FROM pg_catalog.pg_stat_activity a WHERE a.pid <> pg_backend_pid()",
    "TABLE pg_stat_activity",
    'SELECT * FROM "pg_stat_activity"',
    'SELECT * FROM U&"pg_st\\0061t_activity"',
    "WITH a AS (SELECT query FROM pg_stat_activity) SELECT * FROM a",
    "SELECT pg_stat_get_backend_activity(n) FROM generate_series(1, 200) n",
    "SELECT query FROM pg_stat_get_activity(NULL)",
    "SELECT (pg_catalog.pg_stat_get_activity(NULL)).query",
    "COPY (SELECT query FROM pg_stat_activity) TO STDOUT",
    "DECLARE c CURSOR FOR SELECT query FROM pg_stat_activity",
    "PREPARE p AS SELECT query FROM pg_stat_activity",
    "CREATE TEMP VIEW v AS SELECT query FROM pg_stat_activity",
    "CREATE TEMP TABLE t AS SELECT query FROM pg_stat_activity",
    "SELECT 1; SELECT query FROM pg_stat_activity",
    "SELECT statement FROM pg_prepared_statements",
    "SELECT statement FROM pg_prepared_statement()",
)
MEDDLING = (
    "SELECT pg_terminate_backend({pid})",
    "SELECT pg_catalog.pg_terminate_backend(pid => {pid})",
    "SELECT pg_cancel_backend({pid})",
)


@pytest.fixture(scope="module")
def proxy(attacked: TestCluster) -> Iterator[ProxyUnderTest]:
    """Tenants may do what they may by default."""
    with running_proxy(attacked, {"pool": {"size": 2}, "tenants": SINGLE["tenants"]}) as running:
        yield running


@pytest.fixture
async def victim(proxy: ProxyUnderTest) -> AsyncIterator[RawConnection]:
    """In the middle of a transaction, with a statement that others must not read."""
    async with await connect(proxy, world.UMBRELLA) as connection:
        await connection.query("BEGIN")
        await connection.ask(
            frontend.parse(b"s", b"SELECT '%s'" % SECRET.encode()),
            frontend.bind(b"", b"s", ()),
            frontend.execute(b""),
            frontend.SYNC,
        )
        assert rows(await connection.query(f"SELECT '{SECRET}'")) == [[SECRET]]
        yield connection
        assert rows(await connection.query("SELECT 'still here'")) == [["still here"]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attacker", [world.ACME, world.GLOBEX], ids=lambda resident: resident.model)
async def test_statements_of_others_can_not_be_read(
    proxy: ProxyUnderTest, victim: RawConnection, attacker: Resident, protocol: Protocol
) -> None:
    async with await connect(proxy, attacker) as connection:
        for sql in PRYING:
            frames = await run(connection, sql, protocol)
            assert SECRET not in str(frames), sql
            assert errors(frames) == ["42501"], sql


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_others_can_not_be_ended(proxy: ProxyUnderTest, victim: RawConnection, protocol: Protocol) -> None:
    pid = rows(await victim.query("SELECT pg_backend_pid()"))[0][0]
    async with await connect(proxy, world.ACME) as connection:
        for sql in MEDDLING:
            assert errors(await run(connection, sql.format(pid=pid), protocol)) == ["42501"], sql


async def test_a_function_call_message_is_judged_by_its_number(proxy: ProxyUnderTest, victim: RawConnection) -> None:
    expected = dict.fromkeys(SESSION_LOCKS | TRANSACTION_LOCKS | {b"pg_notify"}, "0A000")
    expected |= dict.fromkeys(REACH_SESSIONS | {b"set_config"}, "42501")
    pid = str(rows(await victim.query("SELECT pg_backend_pid()"))[0][0]).encode()
    async with await connect(proxy, world.ACME) as connection:
        for oid, name in KNOWN_BY_OID.items():
            await connection.query("BEGIN")
            assert errors(await connection.ask(function_call(oid, (pid,)))) == [expected[name]], name
            await connection.query("ROLLBACK")


async def test_whose_database_it_is_may_see_all_sessions_in_it(proxy: ProxyUnderTest) -> None:
    async with await connect(proxy, world.INITECH) as connection:
        found = rows(await connection.query("SELECT count(*) > 0 FROM pg_stat_activity"))
        assert found == [["t"]]
        assert rows(await connection.query("SELECT pg_terminate_backend(0)")) == [["f"]]


async def test_what_hidden_code_reads_can_be_revoked(proxy: ProxyUnderTest, victim: RawConnection) -> None:
    """DO is not seen into (a gap): docs/isolation.md says what to revoke."""
    read = "DO $$ BEGIN RAISE '%', (SELECT string_agg(query, ' ') FROM pg_stat_activity); END $$"
    async with await connect(proxy, world.ACME) as connection:
        assert SECRET in str(await connection.query(read))
        functions = "pg_stat_get_activity(integer), pg_stat_get_backend_activity(integer)"
        with revoked(proxy.cluster, (f"EXECUTE ON FUNCTION {functions}",)):
            frames = await connection.query(read)
            assert errors(frames) == ["42501"]
            assert SECRET not in str(frames)
