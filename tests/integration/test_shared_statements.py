"""Prepared statements are shared among clients, and yet each client has its own: what a text means is not shared."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame, int16
from tests.conftest import NewCluster
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.raw import RawConnection, errors, rows
from tests.support.serve import connect, eventually, pool_of, value

RUN = frontend.bind(b"", b"s", ()) + frontend.execute(b"")
RUN_BINARY = frame(codes.BIND, b"\0s\0" + int16(0) + int16(0) + int16(1) + int16(1)) + frontend.execute(b"")
DESCRIBE = frontend.describe(b"S", b"s")


@pytest.fixture(scope="module")
def one_server(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """All clients meet on the same server."""
    with running_proxy(pg18, {"pool": {"size": 1}}) as running:
        yield running


@pytest.fixture(scope="module")
def two_servers(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """A client that holds one sends the others to the other."""
    with running_proxy(pg18, {"pool": {"size": 2}}) as running:
        yield running


async def raw(proxy: ProxyUnderTest, tenant: str = "acme", **parameters: str) -> RawConnection:
    return await RawConnection.connect(
        proxy.host, proxy.port, user=f"app.{tenant}", password=proxy.password, parameters=parameters
    )


def parse(sql: str) -> bytes:
    return frontend.parse(b"s", sql.encode())


MEANINGS = {
    "TimeZone": ("UTC", "Asia/Tokyo", "SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'"),
    "DateStyle": ("ISO, MDY", "ISO, DMY", "SELECT extract(month FROM '01/02/2020'::date)"),
    "IntervalStyle": ("postgres", "sql_standard", "SELECT extract(epoch FROM '-1 2:03:04'::interval)"),
    "client_encoding": ("LATIN1", "UTF8", "SELECT length('é')"),
    "quote_all_identifiers": ("on", "off", "SELECT quote_ident('a')"),
}


@pytest.mark.parametrize("other", ["acme", "umbrella"], ids=["same tenant", "another tenant"])
@pytest.mark.parametrize("setting", MEANINGS)
async def test_a_literal_is_read_by_the_settings_of_who_wrote_it(
    one_server: ProxyUnderTest, setting: str, other: str
) -> None:
    first, second, sql = MEANINGS[setting]
    async with (
        await raw(one_server, **{setting: first}) as one,
        await raw(one_server, other, **{setting: second}) as two,
    ):
        for client in (one, two):
            await client.ask(parse(sql) + frontend.SYNC)
        answers = [rows(await client.ask(RUN + frontend.SYNC)) for client in (one, two, one)]
        assert answers == [rows(await client.query(sql)) for client in (one, two, one)]
        assert answers[0] != answers[1]


async def test_the_unnamed_statement_is_the_clients_own(one_server: ProxyUnderTest) -> None:
    sql = b"SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'"
    unnamed = frontend.parse(b"", sql)
    execute = frontend.bind(b"", b"", ()) + frontend.execute(b"") + frontend.SYNC
    async with await raw(one_server, TimeZone="UTC") as one, await raw(one_server, TimeZone="Asia/Tokyo") as two:
        await two.ask(unnamed + frontend.SYNC)
        assert rows(await one.ask(unnamed + execute)) == [["2020-01-01 00:00:00"]]
        assert rows(await two.ask(execute)) == [["2019-12-31 15:00:00"]]


async def test_what_is_parsed_behind_set_local_is_nobody_elses(one_server: ProxyUnderTest) -> None:
    sql = "SELECT '2020-01-01 00:03'::timestamptz AT TIME ZONE 'UTC'"
    async with await raw(one_server, TimeZone="UTC") as one, await raw(one_server, TimeZone="UTC") as two:
        await one.query("BEGIN; SET LOCAL TimeZone TO 'Asia/Tokyo'")
        assert rows(await one.ask(parse(sql) + RUN + frontend.SYNC)) == [["2019-12-31 15:03:00"]]
        await one.query("COMMIT")
        assert rows(await two.ask(parse(sql) + RUN + frontend.SYNC)) == [["2020-01-01 00:03:00"]]


async def test_a_statement_follows_its_client_to_other_settings_and_takes_nobody_along(
    two_servers: ProxyUnderTest,
) -> None:
    sql = "SELECT '2020-01-01 00:04'::timestamptz AT TIME ZONE 'UTC'"
    async with (
        await raw(two_servers, TimeZone="UTC") as one,
        await raw(two_servers, TimeZone="UTC") as two,
        await raw(two_servers) as holder,
    ):
        await one.ask(parse(sql) + frontend.SYNC)
        await one.query("SET TimeZone TO 'Asia/Tokyo'")
        await holder.query("BEGIN; SELECT 1")  # on the server that has it
        await one.ask(RUN + frontend.SYNC)  # parsed on the other, by the new setting
        assert rows(await two.ask(parse(sql) + RUN + frontend.SYNC)) == [["2020-01-01 00:04:00"]]
        await holder.query("COMMIT")


async def test_now_is_the_moment_of_the_clients_own_parse(one_server: ProxyUnderTest) -> None:
    sql = "SELECT 'now'::timestamptz = transaction_timestamp()"
    async with await raw(one_server) as one, await raw(one_server) as two:
        for client in (one, two):
            assert rows(await client.ask(parse(sql) + RUN + frontend.SYNC)) == [["t"]]


def unnamed(sql: str) -> bytes:
    return frontend.parse(b"", sql.encode()) + frontend.bind(b"", b"", ()) + frontend.execute(b"")


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("SET TimeZone TO 'Asia/Tokyo'", []),
        ("SELECT set_config('DateStyle', 'German', true)", []),
        ("CREATE TEMP TABLE brief (i int) ON COMMIT DROP", []),
        ("SET client_encoding TO 'LATIN1'", ["0A000"]),
        ("SELECT set_config('Client_Encoding', 'LATIN1', true)", ["0A000"]),
        ("RESET ALL", ["0A000"]),
        ("ROLLBACK", ["0A000"]),
    ],
)
async def test_what_a_text_is_written_in_is_known_behind_other_changes_in_its_batch(
    two_servers: ProxyUnderTest, before: str, code: list[str]
) -> None:
    async with await raw(two_servers, client_encoding="UTF8") as client, await raw(two_servers) as holder:
        await client.query("BEGIN")
        await client.query("SET LOCAL client_encoding TO 'UTF8'" if before == "ROLLBACK" else "SELECT 1")
        await client.ask(unnamed(before) + parse("SELECT 'é'") + frontend.SYNC)
        await client.query("COMMIT; SET client_encoding TO 'UTF8'")
        await holder.query("BEGIN; SELECT 1")  # on the server that has it
        assert errors(await client.ask(RUN + frontend.SYNC)) == code


async def test_a_text_is_never_read_in_another_encoding_than_it_was_written_in(two_servers: ProxyUnderTest) -> None:
    """PostgreSQL would go on with what it read; here it is read again, by a server that has not seen it."""
    sql = "SELECT length('é')"
    async with await raw(two_servers, client_encoding="UTF8") as client, await raw(two_servers) as holder:
        await client.ask(parse(sql) + frontend.SYNC)
        assert rows(await client.ask(RUN + frontend.SYNC)) == [["1"]]
        await client.query("SET client_encoding TO 'LATIN1'")
        await holder.query("BEGIN; SELECT 1")
        assert errors(await client.ask(RUN + frontend.SYNC)) == ["0A000"]
        await client.ask(frontend.close(b"S", b"s") + parse(sql) + frontend.SYNC)
        assert rows(await client.ask(RUN + frontend.SYNC)) == [["2"]]
        await client.query("SET client_encoding TO 'UTF8'")
        await holder.query("COMMIT")
        await holder.query("BEGIN; SELECT 1")
        assert errors(await client.ask(RUN + frontend.SYNC)) == ["0A000"]
        await client.query("SET client_encoding TO 'LATIN1'")
        assert rows(await client.ask(RUN + frontend.SYNC)) == [["2"]]
        await holder.query("COMMIT")


# Columns.


@pytest.fixture
def of_two_types(pg18: TestCluster) -> Iterator[None]:
    """A table that is another one in another database."""
    for database, kind, given in (("saas", "int", "5"), ("tenant_initech", "text", "'five'")):
        create = f"CREATE TABLE public.kinds (id int, v {kind}); INSERT INTO public.kinds VALUES (1, {given})"
        pg18.sql(f"{create}; GRANT ALL ON public.kinds TO gatehouse", database)
    yield
    for database in ("saas", "tenant_initech"):
        pg18.sql("DROP TABLE public.kinds", database)


@pytest.mark.usefixtures("of_two_types")
async def test_a_text_is_another_statement_in_another_database(two_servers: ProxyUnderTest) -> None:
    sql = "SELECT v FROM public.kinds WHERE id = 1"
    async with (
        await raw(two_servers) as acme,
        await raw(two_servers, "initech") as initech,
        await raw(two_servers, "initech") as holder,
    ):
        for client in (acme, initech):
            await client.ask(parse(sql) + DESCRIBE + RUN + frontend.SYNC)
        await acme.query("CREATE TEMP TABLE unrelated (i int); DROP TABLE unrelated")
        await holder.query("BEGIN; SELECT 1")
        for _ in range(2):
            assert rows(await initech.ask(RUN + frontend.SYNC)) == [["five"]]
            assert rows(await acme.ask(RUN + frontend.SYNC)) == [["5"]]


async def test_rows_of_other_columns_than_told_never_reach_the_client(
    pg18: TestCluster, two_servers: ProxyUnderTest
) -> None:
    """The table is changed behind Gatehouse's back, and the client's next server has never seen the statement."""
    pg18.sql("CREATE TABLE public.changing (v int); INSERT INTO public.changing VALUES (1)", "saas")
    pg18.sql("GRANT ALL ON public.changing TO gatehouse", "saas")
    try:
        async with await raw(two_servers) as client, await raw(two_servers) as holder:
            await client.ask(parse("SELECT v FROM public.changing") + DESCRIBE + RUN_BINARY + frontend.SYNC)
            pg18.sql("ALTER TABLE public.changing ALTER v TYPE text USING 'ABCD'", "saas")
            await holder.query("BEGIN; SELECT 1")
            for _ in range(2):
                frames = await client.ask(RUN_BINARY + frontend.SYNC)
                assert errors(frames) == ["0A000"]
                assert not rows(frames)
            await client.ask(frontend.close(b"S", b"s") + frontend.SYNC)
            frames = await client.ask(parse("SELECT v FROM public.changing") + RUN + frontend.SYNC)
            assert rows(frames) == [["ABCD"]]
            await holder.query("COMMIT")
    finally:
        pg18.sql("DROP TABLE public.changing", "saas")


# What servers hold.


async def test_a_statement_whose_parse_and_close_were_skipped_is_parsed_again(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"pool": {"size": 1, "max_prepared_statements": 2}}) as proxy:
        async with await raw(proxy) as client:
            texts = [f"SELECT {number}".encode() for number in range(4)]
            parses = b"".join(frontend.parse(b"n%d" % number, text) for number, text in enumerate(texts))
            fails = frontend.parse(b"", b"SELECT 1/0") + frontend.bind(b"", b"", ()) + frontend.execute(b"")
            assert errors(await client.ask(fails + parses + frontend.SYNC)) == ["22012"]
            for number, text in enumerate(texts):
                name = b"n%d" % number
                run = frontend.bind(b"", name, ()) + frontend.execute(b"") + frontend.SYNC
                assert rows(await client.ask(frontend.parse(name, text) + run)) == [[str(number)]]


# What servers report.


async def test_a_parameter_that_changes_in_a_block_by_configuration_stays(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with running_proxy(cluster, {"pool": {"size": 1}}) as proxy:
        async with await raw(proxy) as client:
            await client.query("BEGIN; SELECT 1")
            cluster.sql("ALTER SYSTEM SET DateStyle TO 'German'")
            cluster.sql("SELECT pg_reload_conf()")
            while client.parameters["DateStyle"] != "German, DMY":
                await client.query("SELECT 1")
            await client.query("COMMIT")
            assert client.parameters["DateStyle"] == "German, DMY"
            assert await client.value("SELECT date '2020-02-01'") == "01.02.2020"
        with connect(proxy) as other:
            assert value(other, "SHOW DateStyle") == other.info.parameter_status("DateStyle") == "German, DMY"


async def test_a_parameter_that_was_set_before_a_chained_transaction_is_told_to_nobody_else(
    one_server: ProxyUnderTest,
) -> None:
    async with await raw(one_server) as one, await raw(one_server, "umbrella") as two:
        before = two.parameters["TimeZone"]
        for sql in ("BEGIN", "SET TimeZone TO 'Asia/Tokyo'", "COMMIT AND CHAIN", "ROLLBACK"):
            await one.query(sql)
        assert one.parameters["TimeZone"] == "Asia/Tokyo"
        assert await two.value("SHOW TimeZone") == before
        assert two.parameters["TimeZone"] == before


def test_a_parameter_that_hidden_code_changes_is_not_met_by_the_next(pg18: TestCluster) -> None:
    pg18.sql(
        "CREATE TABLE public.hidden (z text DEFAULT set_config('TimeZone', 'Asia/Tokyo', false)); "
        "GRANT ALL ON public.hidden TO gatehouse",
        "saas",
    )
    try:
        with running_proxy(pg18, {"pool": {"size": 1}}) as proxy, connect(proxy) as one, connect(proxy) as two:
            before = value(two, "SHOW TimeZone")
            one.execute("INSERT INTO public.hidden DEFAULT VALUES")
            assert value(two, "SHOW TimeZone") == before
            assert eventually(lambda: pool_of(proxy).resets_total) == 1
    finally:
        pg18.sql("DROP TABLE public.hidden", "saas")
