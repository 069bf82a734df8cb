"""What PostgreSQL itself does, as far as the wire recipes rely on it, without Gatehouse, on every major there is.

When one of these fails on a new PostgreSQL, the recipe that stands on it has to be thought over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

import pytest

from proxy.guard.functions import KNOWN_BY_OID, REACH_SESSIONS, SESSION_LOCKS, TRANSACTION_LOCKS
from proxy.wire import codes
from proxy.wire.frontend import SYNC, bind, execute, parse, query
from tests.support.postgres import TestCluster
from tests.support.raw import RawConnection, errors, letters, notices, reported, rows, tags

TENANT = "SELECT current_setting('app.tenant_id', true)"
INJECT = b"gatehouse_context"
INJECTION = bind(b"", INJECT, [b"app.tenant_id", b"acme"]) + execute(b"")
FAILING_INJECTION = bind(b"", INJECT, [b"statement_timeout", b"not a number"]) + execute(b"")


def batch(sql: str) -> bytes:
    """An extended batch without its Sync."""
    return parse(b"", sql.encode()) + bind(b"", b"", []) + execute(b"")


async def connect(
    postgres: TestCluster, parameters: Mapping[str, str] | None = None, protocol: int = codes.PROTOCOL_3_0
) -> RawConnection:
    """Log in to `saas` as Gatehouse would."""
    return await RawConnection.connect(
        postgres.host,
        postgres.port,
        user=postgres.login,
        password=postgres.login_password,
        database="saas",
        parameters=parameters,
        protocol=protocol,
    )


@pytest.fixture
def table(postgres: TestCluster) -> Iterator[str]:
    """A table that the login may write, to see what was committed."""
    postgres.sql("CREATE TABLE facts (x text); GRANT ALL ON facts TO gatehouse", "saas")
    yield "facts"
    postgres.sql("DROP TABLE facts", "saas")


@pytest.fixture
async def raw(postgres: TestCluster) -> AsyncIterator[RawConnection]:
    """The login's connection, with the injected statement prepared."""
    async with await connect(postgres) as connection:
        await connection.ask(parse(INJECT, b"SELECT pg_catalog.set_config($1, $2, true)"), SYNC)
        yield connection


def committed(postgres: TestCluster) -> list[str]:
    return [row[0] for row in postgres.sql("SELECT x FROM facts ORDER BY x", "saas")]


# --- fact 1


async def test_a_setting_injected_before_a_batch_is_seen_by_it_and_gone_after_sync(raw: RawConnection) -> None:
    frames = await raw.ask(INJECTION, batch(TENANT), SYNC)
    assert letters(frames) == "2DC12DCZ"
    assert rows(frames) == [["acme"], ["acme"]]
    assert raw.status == "I"
    assert await raw.value(TENANT) == ""


async def test_a_batch_behind_an_injection_commits(raw: RawConnection, postgres: TestCluster, table: str) -> None:
    await raw.ask(INJECTION, batch("INSERT INTO facts SELECT current_setting('app.tenant_id')"), SYNC)
    assert committed(postgres) == ["acme"]


# --- fact 2


async def test_a_query_behind_an_unsynced_injection_is_lost_on_18_only(
    raw: RawConnection, postgres: TestCluster, table: str
) -> None:
    frames = await raw.ask(INJECTION, query(b"INSERT INTO facts VALUES ('told it is done')"))
    assert tags(frames) == ["SELECT 1", "INSERT 0 1"]
    if postgres.major < 18:
        assert raw.status == "I"
        assert committed(postgres) == ["told it is done"]
        return
    assert raw.status == "T"
    await raw.ask(SYNC)
    assert raw.status == "I"
    assert errors(await raw.query("SELECT 1")) == ["XX000"]
    assert committed(postgres) == []


# --- fact 3


async def test_set_local_in_front_of_a_query_string_is_silent_and_ends_with_it(raw: RawConnection) -> None:
    frames = await raw.query(f"SET LOCAL app.tenant_id = 'acme'; SET LOCAL work_mem = '5MB'; {TENANT}")
    assert tags(frames) == ["SET", "SET", "SELECT 1"]
    assert notices(frames) == []
    assert rows(frames) == [["acme"]]
    assert raw.status == "I"
    assert await raw.value(TENANT) == ""


async def test_set_local_in_front_commits_with_the_query(raw: RawConnection, postgres: TestCluster, table: str) -> None:
    await raw.query("SET LOCAL app.tenant_id = 'acme'; INSERT INTO facts SELECT current_setting('app.tenant_id')")
    assert committed(postgres) == ["acme"]


async def test_the_error_position_counts_the_prefix_too(raw: RawConnection) -> None:
    prefix, statement = "SET LOCAL app.tenant_id = 'acme';", "SELECT nowhere"
    alone = (await raw.query(statement))[0].fields["P"]
    behind = next(frame for frame in await raw.query(prefix + statement) if frame.code == "E").fields["P"]
    assert int(behind) == int(alone) + len(prefix)


async def test_a_failing_set_local_stops_the_rest_of_the_query_string(
    raw: RawConnection, postgres: TestCluster, table: str
) -> None:
    frames = await raw.query("SET LOCAL statement_timeout = 'not a number'; INSERT INTO facts VALUES ('leak')")
    assert errors(frames) == ["22023"]
    assert committed(postgres) == []


# --- fact 4


async def test_set_local_by_the_extended_protocol_works_but_warns(raw: RawConnection) -> None:
    frames = await raw.ask(batch("SET LOCAL app.tenant_id = 'acme'"), batch(TENANT), SYNC)
    assert notices(frames) == ["25P01"]
    assert rows(frames) == [["acme"]]


# --- fact 5


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL app.tenant_id = 'acme'; SHOW transaction_isolation",
        "SET LOCAL app.tenant_id = 'acme'; BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation",
    ],
)
async def test_set_local_takes_no_snapshot_so_isolation_levels_work(raw: RawConnection, sql: str) -> None:
    frames = await raw.query(sql)
    assert rows(frames) == [["serializable"]]
    assert raw.status == "T"
    assert await raw.value(TENANT) == "acme"


async def test_set_transaction_works_behind_a_set_local_of_its_own(raw: RawConnection) -> None:
    await raw.query("BEGIN")
    await raw.query("SET LOCAL app.tenant_id = 'acme'")
    assert errors(await raw.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE")) == []
    assert await raw.value("SHOW transaction_isolation") == "repeatable read"


@pytest.mark.parametrize(
    "snapshot", ["SELECT set_config('app.tenant_id', 'acme', true)", "DO 'BEGIN PERFORM 1; END'", "SELECT 1"]
)
async def test_whatever_takes_a_snapshot_first_forbids_isolation_levels(raw: RawConnection, snapshot: str) -> None:
    await raw.query(f"BEGIN; {snapshot}")
    assert errors(await raw.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")) == ["25001"]


# --- fact 6


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
async def test_the_end_of_a_transaction_inside_a_string_ends_the_setting(raw: RawConnection, end: str) -> None:
    frames = await raw.query(f"SET LOCAL app.tenant_id = 'acme'; {TENANT}; {end}; {TENANT}")
    assert rows(frames) == [["acme"], [""]]


async def test_the_end_of_a_transaction_inside_a_pipeline_ends_the_setting(raw: RawConnection) -> None:
    frames = await raw.ask(INJECTION, batch(TENANT), batch("COMMIT"), batch(TENANT), SYNC)
    assert rows(frames)[1:] == [["acme"], [""]]


@pytest.mark.parametrize("end", ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"])
async def test_and_chain_ends_the_setting_though_the_status_stays_t(raw: RawConnection, end: str) -> None:
    await raw.query("BEGIN; SET LOCAL app.tenant_id = 'acme'")
    await raw.query(end)
    assert raw.status == "T"
    assert await raw.value(TENANT) == ""


@pytest.mark.parametrize("end", ["ROLLBACK TO s", "RELEASE s"])
async def test_a_setting_made_before_a_savepoint_outlives_it(raw: RawConnection, end: str) -> None:
    await raw.query("BEGIN; SET LOCAL app.tenant_id = 'acme'; SAVEPOINT s")
    await raw.query(end)
    assert await raw.value(TENANT) == "acme"


# --- fact 7


@pytest.mark.parametrize("sql", ["VACUUM facts", "CREATE INDEX CONCURRENTLY i ON facts (x)", "DISCARD ALL"])
async def test_statements_that_refuse_a_block_refuse_a_prefix(raw: RawConnection, table: str, sql: str) -> None:
    assert errors(await raw.query(f"SET LOCAL app.tenant_id = 'acme'; {sql}")) == ["25001"]


# --- fact 8


async def test_a_failing_injection_discards_everything_up_to_sync(
    raw: RawConnection, postgres: TestCluster, table: str
) -> None:
    raw.send(FAILING_INJECTION, batch("INSERT INTO facts VALUES ('leak')"), query(b"INSERT INTO facts VALUES ('leak')"))
    frames = await raw.ask(SYNC)
    assert letters(frames) == "2EZ"
    assert errors(frames) == ["22023"]
    assert committed(postgres) == []


async def test_a_second_segment_in_flight_runs_without_the_context(raw: RawConnection) -> None:
    raw.send(FAILING_INJECTION, batch(TENANT), SYNC, batch(TENANT), SYNC)
    assert rows(await raw.until_ready()) == []
    assert rows(await raw.until_ready()) in ([[""]], [[None]])


async def test_an_injection_in_a_failed_transaction_swallows_the_rollback(raw: RawConnection) -> None:
    await raw.query("BEGIN; SELECT 1/0")
    assert raw.status == "E"
    frames = await raw.ask(INJECTION, batch("ROLLBACK"), SYNC)
    assert errors(frames) == ["25P02"]
    assert raw.status == "E"


async def test_a_failing_in_block_query_leaves_the_statement_behind_it_with_25p02(
    raw: RawConnection, postgres: TestCluster, table: str
) -> None:
    await raw.query("BEGIN")
    raw.send(query(b"SET LOCAL statement_timeout = 'not a number'"), query(b"INSERT INTO facts VALUES ('leak')"))
    assert errors(await raw.until_ready()) == ["22023"]
    assert errors(await raw.until_ready()) == ["25P02"]
    assert committed(postgres) == []


# --- fact 9


@pytest.mark.parametrize("back", ["RESET app.tenant_id", "RESET ALL", "DISCARD ALL"])
async def test_a_setting_that_was_used_is_empty_afterwards_and_never_null_again(raw: RawConnection, back: str) -> None:
    assert await raw.value(TENANT) is None
    await raw.query("SET LOCAL app.tenant_id = 'acme'; SELECT 1")
    assert await raw.value(TENANT) == ""
    await raw.query(back)
    assert await raw.value(TENANT) == ""
    assert await raw.value("SELECT nullif(current_setting('app.tenant_id', true), '')") is None


@pytest.mark.parametrize("back", ["RESET app.tenant_id", "RESET ALL", "DISCARD ALL"])
async def test_a_startup_parameter_is_what_reset_returns_to(postgres: TestCluster, back: str) -> None:
    postgres.sql("ALTER ROLE gatehouse SET search_path = pg_catalog")
    settings = {"search_path": "nowhere", "app.tenant_id": "none"}
    try:
        async with await connect(postgres, settings) as raw:
            assert await raw.value("SHOW search_path") == "nowhere"
            await raw.query("SET search_path = public; SET app.tenant_id = 'acme'")
            await raw.query(back)
            assert await raw.value(TENANT) == "none"
            if back != "RESET app.tenant_id":
                assert await raw.value("SHOW search_path") == "nowhere"
    finally:
        postgres.sql("ALTER ROLE gatehouse RESET search_path")


# --- fact 10


async def test_a_setting_in_front_of_an_autocommit_query_is_not_reported(raw: RawConnection) -> None:
    frames = await raw.query("SET LOCAL application_name = 'in front'; SELECT 1")
    assert reported(frames) == []


async def test_in_a_block_a_setting_is_reported_before_ready_and_taken_back_at_commit(raw: RawConnection) -> None:
    await raw.query("BEGIN")
    frames = await raw.query("SET LOCAL application_name = 'in a block'")
    assert [frame.code for frame in frames] == ["C", "S", "Z"]
    assert reported(frames) == [("application_name", "in a block")]
    assert reported(await raw.query("COMMIT")) == [("application_name", "")]


async def test_18_and_later_report_search_path(raw: RawConnection, postgres: TestCluster) -> None:
    frames = await raw.query("SET search_path = public")
    expected = [("search_path", "public")] if postgres.major >= 18 else []
    assert reported(frames) == expected


# --- protocol 3.2


async def test_18_gives_long_cancel_keys_to_who_asks_for_protocol_3_2(postgres: TestCluster) -> None:
    async with await connect(postgres, protocol=codes.PROTOCOL_3_2) as raw:
        assert len(raw.key) == (32 if postgres.major >= 18 else 4)


# --- the walls that deploy/sql builds


async def test_without_context_the_login_sees_nothing(raw: RawConnection) -> None:
    assert rows(await raw.query("SELECT * FROM orders")) == []
    assert errors(await raw.query("INSERT INTO orders (item, amount) VALUES ('stray', 1)")) == ["42501"]
    assert errors(await raw.query("SELECT * FROM tenant_globex.orders")) == ["42501"]
    await raw.query("SET search_path = ''")
    assert errors(await raw.query("SELECT * FROM orders")) == ["42P01"]


async def test_with_context_the_login_sees_and_writes_only_that_tenant(raw: RawConnection) -> None:
    put = "BEGIN; SET LOCAL app.tenant_id = 'acme'"
    await raw.query(put)
    assert await raw.value("SELECT count(*) FROM orders") == "3"
    assert await raw.value("SELECT count(*) FROM orders WHERE tenant_id <> 'acme'") == "0"
    assert await raw.value("INSERT INTO orders (item, amount) VALUES ('x', 1) RETURNING tenant_id") == "acme"
    await raw.query(f"ROLLBACK; {put}")
    stray = "INSERT INTO orders (tenant_id, item, amount) VALUES ('umbrella', 'x', 1)"
    assert errors(await raw.query(stray)) == ["42501"]
    await raw.query(f"ROLLBACK; {put}")
    assert errors(await raw.query("TRUNCATE orders")) == ["42501"]


async def test_forced_row_level_security_binds_the_owner_too(postgres: TestCluster) -> None:
    sql = "SET ROLE gatehouse_owner; SELECT count(*) FROM public.orders"
    assert postgres.sql(sql, "saas")[-1] == (0,)


async def test_in_the_tenants_role_qualified_names_of_others_are_refused(raw: RawConnection) -> None:
    put = "BEGIN; SET LOCAL search_path = tenant_globex; SET LOCAL ROLE tenant_globex_role"
    await raw.query(put)
    assert await raw.value("SELECT count(*) FROM orders") == "4"
    assert errors(await raw.query("SELECT * FROM public.orders")) == ["42501"]
    await raw.query(f"ROLLBACK; {put}")
    assert errors(await raw.query("CREATE TABLE more (x int)")) == ["42501"]


async def test_the_preparing_files_can_be_run_again(postgres: TestCluster) -> None:
    for name in ("prepare_cluster", "shared_tables", "schema_tenant", "database_tenant"):
        postgres.sql_file(f"{name}.sql")
    assert postgres.sql("SELECT count(*) FROM orders", "tenant_initech") == [(5,)]


def test_a_schema_tenant_without_a_role_of_its_own_is_granted_to_the_login(postgres: TestCluster) -> None:
    postgres.sql_file("schema_tenant.sql", {"tenant": "hooli", "use_role": "false"})
    try:
        granted = "SELECT has_table_privilege('gatehouse', 'tenant_hooli.orders', 'SELECT')"
        assert postgres.sql(granted, "saas") == [(True,)]
        assert postgres.sql("SELECT FROM pg_roles WHERE rolname = 'tenant_hooli_role'") == []
    finally:
        postgres.sql("DROP SCHEMA tenant_hooli CASCADE", "saas")


def test_functions_have_the_same_numbers_everywhere(postgres: TestCluster) -> None:
    """A FunctionCall message names its function by number; the guard knows these."""
    remarkable = SESSION_LOCKS | TRANSACTION_LOCKS | REACH_SESSIONS | {b"set_config", b"pg_notify"}
    names = ", ".join(f"'{name.decode()}'" for name in sorted(remarkable))
    found = postgres.sql(
        f"SELECT oid::int, proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND proname IN ({names})"
    )
    assert {number: name.encode() for number, name in found} == KNOWN_BY_OID
