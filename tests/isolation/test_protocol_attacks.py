"""Attacks below SQL: foreign names, parameters, FunctionCall, malformed frames, and what a client may ask for at startup."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.isolation import world
from tests.isolation.test_attacks import CASTS, States, assert_unharmed, expected_state, untouched
from tests.isolation.world import Resident, connect, items_of, reach_of, state_of
from tests.support.messages import function_call
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import Frame, RawConnection, Refused, errors, rows

__all__ = ["untouched"]  # the fixture

SET_CONFIG_OID = 2078
TEXT, NAME, BPCHAR, VARCHAR, UNKNOWN = 25, 19, 1042, 1043, 705


async def bound(connection: RawConnection, sql: str, types: Sequence[int], values: Sequence[bytes]) -> list[Frame]:
    """A statement with parameters, declared to be of these types."""
    return await connection.ask(
        frontend.parse(b"", sql.encode(), types), frontend.bind(b"", b"", values), frontend.execute(b""), frontend.SYNC
    )


@pytest.mark.parametrize("types", [(), (TEXT, TEXT), (UNKNOWN, TEXT), (NAME, TEXT), (VARCHAR, VARCHAR), (BPCHAR, TEXT)])
@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT set_config($1, $2, true)", b"app.tenant_id"),
        ("SELECT set_config($1, $2, false)", b"APP.Tenant_ID"),
        ("SELECT set_config($1, $2, true), 1", b"app.tenant_id"),
        ("SELECT set_config($1, $2, true)", b"role"),
        ("SELECT set_config($1, $2, true)", b"app.tenant_id      "),
        ("SELECT set_config($1::varchar(13), $2, true)", b"app.tenant_idxyz"),
        ("SELECT set_config($1::char(13), $2, true)", b"app.tenant_idxyz"),
        ("WITH x AS (SELECT set_config($1, $2, true)) SELECT * FROM x", b"app.tenant_id"),
        ("DECLARE c CURSOR FOR SELECT set_config($1, $2, true)", b"app.tenant_id"),
        ("COPY (SELECT set_config($1, $2, true)) TO STDOUT", b"app.tenant_id"),
        ("EXPLAIN ANALYZE SELECT set_config($1, $2, true)", b"app.tenant_id"),
    ],
)
async def test_a_bound_parameter_does_not_hide_the_tenant_setting(
    single: ProxyUnderTest, sql: str, name: bytes, types: tuple[int, ...]
) -> None:
    value = b"umbrella" if b"role" not in name else b"tenant_hooli_role"
    async with await connect(single, world.ACME) as connection:
        for begins in ("SELECT 1", "BEGIN"):
            await connection.query(begins)
            await bound(connection, sql, types, (name, value))
            assert await reach_of(connection) <= world.ACME.items
            await connection.query("ROLLBACK")
        assert await items_of(connection, "orders") == sorted(world.ACME.items)
        assert (await state_of(connection))["user"] == "gatehouse"


async def test_a_named_statement_is_judged_at_every_bind(single: ProxyUnderTest) -> None:
    async with await connect(single, world.ACME) as connection:
        prepare = frontend.parse(b"s", b"SELECT set_config($1, $2, true)", ())
        await connection.ask(
            prepare, frontend.bind(b"", b"s", (b"evil.mark", b"x")), frontend.execute(b""), frontend.SYNC
        )
        attack = (frontend.bind(b"", b"s", (b"app.tenant_id", b"umbrella")), frontend.execute(b""), frontend.SYNC)
        assert errors(await connection.ask(*attack)) == ["42501"]
        await connection.query("BEGIN")
        assert errors(await connection.ask(*attack)) == ["42501"]
        assert connection.status == "E"


async def test_a_bind_too_large_to_be_read_is_refused(single: ProxyUnderTest) -> None:
    async with await connect(single, world.ACME) as connection:
        await connection.query("BEGIN")
        frames = await bound(
            connection, "SELECT set_config($1, $2, true), $3::text", (), (b"app.tenant_id", b"umbrella", b"x" * 200_000)
        )
        assert errors(frames)
        assert await reach_of(connection) <= world.ACME.items


async def test_a_function_call_message_does_not_set_the_tenant(single: ProxyUnderTest) -> None:
    async with await connect(single, world.ACME) as connection:
        await connection.query("BEGIN")
        frames = await connection.ask(function_call(SET_CONFIG_OID, (b"app.tenant_id", b"umbrella", b"t")))
        assert errors(frames)
        assert await reach_of(connection) <= world.ACME.items


async def test_a_function_call_message_does_nothing_to_the_next_client(
    single: ProxyUnderTest, untouched: States
) -> None:
    await expected_state(single, world.UMBRELLA, untouched)
    async with await connect(single, world.ACME) as connection:
        call = function_call(SET_CONFIG_OID, (b"app.tenant_id", b"umbrella", b"f"))
        assert errors(await connection.ask(call)), "outside a transaction there is no context"
        await connection.query("BEGIN")
        await connection.ask(call)
        await connection.ask(function_call(SET_CONFIG_OID, (b"work_mem", b"1GB", b"f")))
        await connection.query("COMMIT")
        await assert_unharmed(single, world.UMBRELLA, untouched)


def _names_of_others(names: Sequence[bytes]) -> list[bytes]:
    messages = []
    for name in names:
        messages += [
            frontend.bind(b"", name, ()) + frontend.execute(b"") + frontend.SYNC,
            frontend.bind(b"", name, (b"app.tenant_id", b"umbrella")) + frontend.execute(b"") + frontend.SYNC,
            frontend.describe(b"S", name) + frontend.SYNC,
            frontend.execute(name) + frontend.SYNC,
            frontend.describe(b"P", name) + frontend.SYNC,
        ]
    return messages


@pytest.mark.parametrize("model", ["shared", "schema"])
async def test_statements_and_portals_of_others_have_no_name(
    single: ProxyUnderTest, untouched: States, model: str
) -> None:
    attacker, victim, _ = CASTS[model]
    await expected_state(single, victim, untouched)
    async with await connect(single, victim) as prey, await connect(single, attacker) as connection:
        own = (
            frontend.parse(b"s", b"SELECT item FROM orders"),
            frontend.bind(b"p", b"s", ()),
            frontend.execute(b"p", 1),
        )
        assert len(rows(await prey.ask(*own, frontend.SYNC))) == 1
        listing = "SELECT name FROM pg_prepared_statements"
        await connection.ask(*own, frontend.SYNC)
        await connection.query("BEGIN")
        await connection.ask(
            frontend.parse(b"t", b"SELECT 1"), frontend.bind(b"", b"t", ()), frontend.execute(b""), frontend.SYNC
        )
        found = [str(row[0]).encode() for row in rows(await connection.query(listing))]
        await connection.query("COMMIT")
        assert found, "the attacker knows the names on its server"
        for message in _names_of_others([*found, b"p"]):
            assert errors(await connection.ask(message)), message
        # The statement of the same name and text is each client's own.
        again = (frontend.bind(b"", b"s", ()), frontend.execute(b""), frontend.SYNC)
        assert {row[0] for row in rows(await prey.ask(*again))} == victim.items
        assert {row[0] for row in rows(await connection.ask(*again))} == attacker.items
        # To close or deallocate the proxy's own statements harms nobody, and putting others in their place neither.
        for name in found:
            await connection.ask(frontend.close(b"S", name), frontend.SYNC)
            await connection.query(f'DEALLOCATE "{name.decode()}"')
        assert {row[0] for row in rows(await prey.ask(*again))} == victim.items
        assert {row[0] for row in rows(await connection.ask(*again))} == attacker.items
    await assert_unharmed(single, victim, untouched)


async def test_the_contexts_own_statement_can_not_be_replaced(single: ProxyUnderTest, untouched: States) -> None:
    """DEALLOCATE and PREPARE by SQL share their names with the proxy's statements (facts, 14)."""
    await expected_state(single, world.UMBRELLA, untouched)
    own = (
        frontend.parse(b"", b"SELECT item FROM orders"),
        frontend.bind(b"", b"", ()),
        frontend.execute(b""),
        frontend.SYNC,
    )
    async with await connect(single, world.ACME) as connection:
        await connection.query("CREATE TEMP TABLE pinned (a text)")
        await connection.ask(*own)
        found = rows(await connection.query("SELECT name FROM pg_prepared_statements WHERE name LIKE '%ctx%'"))
        assert found
        name = found[0][0]
        await connection.query(f'DEALLOCATE "{name}"')
        await connection.query(f"PREPARE \"{name}\" (text, text) AS SELECT 'captured'")
        seen = await connection.ask(*own)
        replaced = not errors(seen) and {row[0] for row in rows(seen)} != world.ACME.items
    await assert_unharmed(single, world.UMBRELLA, untouched)
    assert not replaced, "the attacker's own statement ran in place of the context"


async def test_a_message_that_is_not_whole_does_not_swallow_what_others_say(
    single: ProxyUnderTest, untouched: States
) -> None:
    """Who has PostgreSQL wait for the rest of a CopyData could choose where in another client's bytes it reads on."""
    await expected_state(single, world.UMBRELLA, untouched)
    attack = frontend.query(b"RESET ROLE; SET app.tenant_id = 'umbrella'; DELETE FROM public.orders")
    async with await connect(single, world.GLOBEX) as second:
        await second.ask(frontend.parse(b"carries", b"SELECT length($1::bytea)"), frontend.SYNC)
        carries = frontend.bind(b"", b"carries", (attack * 10,)) + frontend.execute(b"") + frontend.SYNC
        for swallowed in (1, 100, 200):
            async with await connect(single, world.GLOBEX) as first:
                first.send(frontend.query(b"COPY orders (item, amount) FROM STDIN"))
                await first.until("G")
                first.send(frame(codes.COPY_DATA, b"item\tno number\n"), b"d" + (swallowed + 4).to_bytes(4, "big"))
                assert errors(await first.until_ready()) == ["22P02"]
                assert errors(await second.ask(carries)) == ["22021"]
    await assert_unharmed(single, world.UMBRELLA, untouched)


@pytest.mark.parametrize(
    "message",
    [
        frame(codes.QUERY, b"SELECT 1; SET app.tenant_id = 'umbrella'\0; SELECT item FROM orders\0"),
        frame(codes.QUERY, b"SELECT item FROM orders"),
        frame(codes.QUERY, b""),
        frame(codes.PARSE, b"\0SELECT 1\0RESET ROLE\0\0\0") + frontend.SYNC,
        frame(codes.PARSE, b"no end") + frontend.SYNC,
        frame(codes.PARSE, b"\0SELECT $1\0\0\x05") + frontend.SYNC,
        frame(codes.BIND, b"\0") + frontend.SYNC,
        frame(codes.BIND, b"\0\0\0\0\xff\xff") + frontend.SYNC,
        frame(codes.EXECUTE, b"") + frontend.SYNC,
        frame(codes.DESCRIBE, b"") + frontend.SYNC,
        frame(codes.DESCRIBE, b"X\0") + frontend.SYNC,
        frame(codes.CLOSE, b"") + frontend.SYNC,
        frame(codes.FUNCTION_CALL, b"\0"),
        frame(codes.SYNC, b"more"),
        b"Q\0\0\0\x03",
        b"Q\0\0\0\0",
        b"Q\xff\xff\xff\xff",
        b"Q\x7f\xff\xff\xff" + b"SELECT 1",
        b"P\x80\0\0\0",
        b"\0\0\0\0\x04",
        b"\xfe\0\0\0\x04",
        b"p\0\0\0\x09pass\0",
        b"R\0\0\0\x08\0\0\0\0",
        b"Z\0\0\0\x05I",
        frontend.parse(b"", b"SELECT 1; SET LOCAL app.tenant_id = 'umbrella'") + frontend.SYNC,
        frontend.parse(b"", b"COMMIT; SELECT item FROM orders") + frontend.SYNC,
        frontend.bind(b"", b"", ()) + frontend.query(b"SELECT item FROM orders"),
        frontend.parse(b"", b"BEGIN") + frontend.bind(b"", b"", ()) + frontend.query(b"SELECT item FROM orders"),
        frontend.copy_fail(b"") + frontend.query(b"SELECT 1"),
    ],
)
@pytest.mark.parametrize("begins", ["SELECT 1", "BEGIN"])
async def test_a_malformed_message_costs_at_most_its_own_connection(
    single: ProxyUnderTest, untouched: States, message: bytes, begins: str
) -> None:
    await expected_state(single, world.UMBRELLA, untouched)
    connection = await connect(single, world.ACME)
    await connection.query(begins)
    connection.send(message)
    connection.send(frontend.TERMINATE)
    seen: set[str | None] = set()
    try:
        async with asyncio.timeout(5):
            while True:
                answer = await connection.read()
                seen |= {row[0] for row in rows([answer])}
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        pass
    connection.abort()
    assert not seen & world.UMBRELLA.items
    await assert_unharmed(single, world.UMBRELLA, untouched)


REFUSED_STARTUPS: list[tuple[str, dict[str, str]]] = [
    ("app.acme", {"tenant": "umbrella"}),
    ("app.acme", {"app.tenant_id": "umbrella"}),
    ("app.acme", {"APP.TENANT_ID": "umbrella"}),
    ("app.acme", {"options": "-c app.tenant_id=umbrella"}),
    ("app.acme", {"options": "--app.tenant-id=umbrella"}),
    ("app.acme", {"options": "-capp.tenant_id=umbrella"}),
    ("app.acme", {"options": "-c app.tenant_id=acme -c app.tenant_id=umbrella"}),
    ("app.acme", {"options": "-c app.tenant_id=umbrella", "app.tenant_id": "acme"}),
    ("app.acme", {"role": "tenant_hooli_role"}),
    ("app.acme", {"options": "-c role=tenant_hooli_role"}),
    ("app.acme", {"options": "-cROLE=tenant_hooli_role"}),
    ("app.acme", {"session_authorization": "postgres"}),
    ("app.globex", {"search_path": "tenant_hooli"}),
    ("app.globex", {"options": "-c search_path=tenant_globex,tenant_hooli"}),
    ("app.acme", {"client_encoding": "SJIS"}),
    ("app.acme", {"options": "-c client_encoding=gbk"}),
    ("app.acme", {"standard_conforming_strings": "off"}),
    ("app.acme", {"options": "-c standard_conforming_strings=of"}),
    ("app.acme", {"replication": "database"}),
    ("app.acme", {"options": "-d 5"}),
    ("app.acme", {"x'; SET app.tenant_id = 'umbrella": "1"}),
    ("app.acme'; SET app.tenant_id TO 'umbrella", {}),
    ('app."umbrella"', {}),
    ("app.umbrella'--", {}),
    ("app", {"tenant": "um'brella"}),
    ("app", {"tenant": "acme; RESET ROLE"}),
    ("app", {"tenant": "acme\n"}),
    ("app", {"tenant": " acme"}),
    ("app", {"tenant": "ACME"}),
    ("app", {}),
    ("initech", {"tenant": "acme"}),
    ("initech.acme", {}),
    ("gatehouse", {}),
]


@pytest.mark.parametrize(("user", "parameters"), REFUSED_STARTUPS)
async def test_a_login_can_not_ask_for_what_is_not_its_own(
    single: ProxyUnderTest, user: str, parameters: dict[str, str]
) -> None:
    with pytest.raises(Refused) as refused:
        await RawConnection.connect(
            single.host, single.port, user=user, password=single.password, database="saas", parameters=parameters
        )
    assert refused.value.fields["S"] == "FATAL"
    assert refused.value.fields["C"] in {"28000", "28P01", "42501", "0A000", "22023", "08P01"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"application_name": "'; SET app.tenant_id TO 'umbrella'; --"},
        {"application_name": "\\'; RESET ROLE; --"},
        {"options": r"-c application_name=a\ b'\;\ RESET\ ROLE\;"},
        {"options": "-c evil.mark=$$;SET-app.tenant_id"},
        {"search_path": 'public, "x"'},
        {"options": "-c row_security=on -c work_mem=1MB"},
        {"database": "tenant_initech"},
    ],
)
@pytest.mark.parametrize("resident", [world.ACME, world.INITECH], ids=lambda resident: resident.name)
async def test_startup_values_are_values_and_the_clients_own(
    single: ProxyUnderTest, untouched: States, parameters: dict[str, str], resident: world.Resident
) -> None:
    await expected_state(single, world.UMBRELLA, untouched)
    database = parameters.pop("database", "saas") if "database" in parameters else "saas"
    async with await RawConnection.connect(
        single.host,
        single.port,
        user=f"app.{resident.name}",
        password=single.password,
        database=database,
        parameters=parameters,
    ) as connection:
        for protocol in world.PROTOCOLS:
            assert await items_of(connection, "orders", protocol) == sorted(resident.items)
            state = await state_of(connection, protocol)
            assert (state["tenant"], state["user"]) == (resident.name, resident.user)
            assert state["application_name"] == parameters.get("application_name", state["application_name"])
        await assert_unharmed(single, world.UMBRELLA, untouched)


_WHOSE = "SELECT current_setting('app.tenant_id', true), current_user"
_C = frontend.bind(b"", b"commit", ())
_TO_SAVEPOINT = (
    [frontend.parse(b"", b"SAVEPOINT s"), frontend.bind(b"q", b"", ()), frontend.execute(b"q")],
    [frontend.parse(b"", b"ROLLBACK TO s"), frontend.bind(b"r", b"", ()), frontend.execute(b"r")],
)


async def begun(connection: RawConnection) -> list[list[str | None]]:
    """Prepare COMMIT, BEGIN and a look at whose session it is, and begin a transaction; what that look is to show."""
    expected = rows(await connection.query(_WHOSE))
    texts = {b"commit": b"COMMIT", b"begin": b"BEGIN", b"whose": _WHOSE.encode()}
    await connection.ask(*(frontend.parse(name, text) for name, text in texts.items()), frontend.SYNC)
    await connection.query("BEGIN")
    return expected


async def assert_nothing_is_hidden(connection: RawConnection, portal: bytes, expected: list[list[str | None]]) -> None:
    """Whatever the portal runs, what stands behind it in the batch is the tenant's or does not run."""
    run_it = (frontend.bind(b"", b"whose", ()), frontend.execute(b""))
    assert rows(await connection.ask(frontend.execute(portal), *run_it, frontend.SYNC)) in ([], expected)
    await connection.query("ROLLBACK")
    assert rows(await connection.query(_WHOSE)) == expected


@pytest.mark.parametrize("resident", [world.ACME, world.GLOBEX, world.INITECH], ids=lambda resident: resident.name)
@pytest.mark.parametrize(
    ("before", "fails", "portal"),
    [
        ([[frontend.bind(b"p", b"commit", ())]], [frontend.bind(b"p", b"whose", ())], b"p"),
        ([[frontend.bind(b"p", b"commit", ())]], [frontend.bind(b"", b"nobody", ()), frontend.close(b"P", b"p")], b"p"),
        ([[_C]], [frontend.bind(b"", b"whose", (b"1",))], b""),
        ([[_C]], [frontend.bind(b"", b"whose", (b"1",)), frontend.execute(b"")], b""),
        ([[_C]], [frontend.bind(b"", b"begin", (b"1",)), frontend.execute(b"")], b""),
    ],
    ids=["a name twice", "a skipped Close", "a wrong count", "a wrong count in one batch", "a BEGIN"],
)
@pytest.mark.parametrize("goes_back", [True, False], ids=["behind the savepoint", "in the failed block"])
async def test_a_commit_left_in_a_portal_hides_no_end_of_the_transaction(
    single: ProxyUnderTest,
    resident: Resident,
    before: list[list[bytes]],
    fails: list[bytes],
    portal: bytes,
    *,
    goes_back: bool,
) -> None:
    """What a Bind that fails should have replaced is there still; what follows its COMMIT must have the context."""
    sync = frontend.SYNC
    async with await connect(single, resident) as connection:
        expected = await begun(connection)
        await connection.query("SELECT 1")
        for batch in before:
            assert not errors(await connection.ask(*batch, sync))
        assert not errors(await connection.ask(*_TO_SAVEPOINT[0], sync))
        assert errors(await connection.ask(*fails, sync))
        if goes_back:
            assert not errors(await connection.ask(*_TO_SAVEPOINT[1], sync))
        await assert_nothing_is_hidden(connection, portal, expected)


@pytest.mark.parametrize("resident", [world.ACME, world.GLOBEX, world.INITECH], ids=lambda resident: resident.name)
async def test_a_commit_bound_in_a_failed_block_hides_no_end_of_it(single: ProxyUnderTest, resident: Resident) -> None:
    sync = frontend.SYNC
    async with await connect(single, resident) as connection:
        expected = await begun(connection)
        assert errors(await connection.query("SELECT 1/0"))
        assert not errors(await connection.ask(_C, sync))
        assert errors(await connection.ask(frontend.bind(b"", b"begin", ()), sync))
        await assert_nothing_is_hidden(connection, b"", expected)


# Commands of a batch, of which PostgreSQL 18 and later give all but the first an implicit transaction block.

IN_BLOCKS_ONLY = "DECLARE c CURSOR FOR SELECT current_setting('app.tenant_id', true) || ' ' || current_user"


def run(sql: str) -> bytes:
    return frontend.parse(b"", sql.encode()) + frontend.bind(b"", b"", ()) + frontend.execute(b"")


def prepared_as(portal: bytes, sql: str) -> bytes:
    return frontend.parse(b"", sql.encode()) + frontend.bind(portal, b"", ())


@pytest.mark.parametrize("first", ["SET TRANSACTION READ WRITE", "SET LOCAL work_mem = '1MB'", "COMMIT", "BEGIN; "])
@pytest.mark.parametrize(
    "rest",
    [
        run(IN_BLOCKS_ONLY) + frontend.execute(b"c"),
        run(IN_BLOCKS_ONLY) + run("FETCH ALL FROM c"),
        prepared_as(b"p", IN_BLOCKS_ONLY) + frontend.execute(b"p") + frontend.execute(b"c"),
    ],
    ids=["portal", "fetch", "bound before"],
)
@pytest.mark.parametrize("attacker", [world.ACME, world.HOOLI], ids=lambda resident: resident.name)
async def test_what_needs_a_block_never_runs_without_the_context(
    single: ProxyUnderTest, attacker: Resident, first: str, rest: bytes
) -> None:
    async with await connect(single, attacker) as connection:
        own = await connection.value("SELECT current_setting('app.tenant_id', true) || ' ' || current_user")
        orders = (run(first.rstrip("; ")) + rest, prepared_as(b"p", IN_BLOCKS_ONLY) + run(first.rstrip("; ")) + rest)
        for messages in orders:
            frames = await connection.ask(messages + frontend.SYNC)
            assert all(row == [own] for row in rows(frames)), rows(frames)
            await connection.query("ROLLBACK")
