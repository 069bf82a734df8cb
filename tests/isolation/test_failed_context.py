"""A context that can not be put in place: what the client sent did not run, the error says why, and repair is enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.isolation import world
from tests.isolation.conftest import SINGLE
from tests.isolation.world import Resident, connect
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, merge, running_proxy
from tests.support.raw import Frame, RawConnection, errors, rows

MARK = "must not be there"
INSERT = f"INSERT INTO orders (item, amount) VALUES ('{MARK}', 1)"
CONTEXT_FAILED = "57P03"


def batch(sql: str, name: bytes = b"") -> bytes:
    """Parse, Bind, Execute."""
    return frontend.parse(name, sql.encode()) + frontend.bind(b"", name, ()) + frontend.execute(b"")


async def _simple(connection: RawConnection) -> list[Frame]:
    return await connection.query(INSERT)


async def _extended(connection: RawConnection) -> list[Frame]:
    return await connection.ask(batch(INSERT), frontend.SYNC)


async def _prepared(connection: RawConnection) -> list[Frame]:
    """The statement is there already, and the server knows it."""
    return await connection.ask(frontend.bind(b"", b"ready", ()), frontend.execute(b""), frontend.SYNC)


async def _several_statements(connection: RawConnection) -> list[Frame]:
    return await connection.query(f"{INSERT}; COMMIT; {INSERT}; BEGIN; {INSERT}; COMMIT")


async def _begin_in_string(connection: RawConnection) -> list[Frame]:
    answer = await connection.query(f"BEGIN; {INSERT}; COMMIT; {INSERT}")
    if connection.status == "E":  # PostgreSQL leaves the block open, too
        await connection.query("ROLLBACK")
    return answer


async def _several_in_a_batch(connection: RawConnection) -> list[Frame]:
    return await connection.ask(batch(INSERT), batch("COMMIT"), batch(INSERT), frontend.SYNC)


async def _in_transaction(connection: RawConnection) -> list[Frame]:
    await connection.query("BEGIN")
    answer = await connection.query(INSERT)
    assert connection.status == "E"
    later = await connection.query(INSERT)
    assert errors(later) == ["25P02"]
    assert [frame.tag for frame in await connection.query("COMMIT") if frame.code == "C"] == ["ROLLBACK"]
    return answer


async def _in_transaction_extended(connection: RawConnection) -> list[Frame]:
    await connection.ask(batch("BEGIN"), frontend.SYNC)
    answer = await connection.ask(batch(INSERT), frontend.SYNC)
    assert connection.status == "E"
    await connection.ask(batch("ROLLBACK"), frontend.SYNC)
    return answer


async def _in_transaction_behind_a_savepoint(connection: RawConnection) -> list[Frame]:
    await connection.query("BEGIN")
    answer = await connection.query("SAVEPOINT a")
    await connection.query("ROLLBACK TO a")
    await connection.query(INSERT)
    await connection.query("COMMIT")
    return answer


async def _begin_in_batch(connection: RawConnection) -> list[Frame]:
    answer = await connection.ask(batch("BEGIN"), batch(INSERT), batch("COMMIT"), frontend.SYNC)
    if connection.status != "I":
        await connection.query("ROLLBACK")
    return answer


async def _pipeline(connection: RawConnection) -> list[Frame]:
    """Several segments on their way at once: each fails by itself."""
    connection.send((batch(INSERT) + frontend.SYNC) * 3 + frontend.query(INSERT.encode()))
    answers = [await connection.until_ready() for _ in range(4)]
    assert all(errors(answer) == [CONTEXT_FAILED] for answer in answers)
    return answers[0]


async def _copy(connection: RawConnection) -> list[Frame]:
    connection.send(
        frontend.query(b"COPY orders (item, amount) FROM STDIN"),
        frame(codes.COPY_DATA, f"{MARK}\t1\n".encode()),
        frame(codes.COPY_DONE, b""),
    )
    return await connection.until_ready()


WAYS: list[Callable[[RawConnection], Awaitable[list[Frame]]]] = [
    _simple,
    _extended,
    _prepared,
    _several_statements,
    _begin_in_string,
    _several_in_a_batch,
    _in_transaction,
    _in_transaction_extended,
    _in_transaction_behind_a_savepoint,
    _begin_in_batch,
    _pipeline,
    _copy,
]


def marks(cluster: TestCluster, resident: Resident) -> int:
    """How many rows were written, as the superuser sees it."""
    return int(cluster.sql(f"SELECT count(*) FROM {resident.orders} WHERE item = '{MARK}'", resident.database)[0][0])


def role_renamed(cluster: TestCluster) -> Iterator[None]:
    cluster.sql("ALTER ROLE tenant_hooli_role RENAME TO tenant_hooli_lost")
    try:
        yield
    finally:
        cluster.sql("ALTER ROLE tenant_hooli_lost RENAME TO tenant_hooli_role")


def role_revoked(cluster: TestCluster) -> Iterator[None]:
    cluster.sql("REVOKE tenant_hooli_role FROM gatehouse")
    try:
        yield
    finally:
        options = " WITH INHERIT FALSE, SET TRUE" if cluster.major >= 16 else ""
        cluster.sql(f"GRANT tenant_hooli_role TO gatehouse{options}")


FAULTS = [role_renamed, role_revoked]


async def _ready(connection: RawConnection) -> None:
    """The server has the context's statement and the client's own, as in the middle of a day's work."""
    await connection.ask(frontend.parse(b"ready", INSERT.encode()), frontend.SYNC)
    assert len(rows(await connection.ask(batch("SELECT item FROM orders"), frontend.SYNC))) == len(world.HOOLI.items)


def assert_clear(answer: list[Frame]) -> None:
    """The error names the cause, and nothing else came."""
    (error,) = (frame.fields for frame in answer if frame.code == "E")
    assert error["C"] == CONTEXT_FAILED
    assert "context" in error["M"]
    assert "nothing was run" in error["M"]
    assert error.get("H")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_runs_when_the_role_can_not_be_taken(
    single: ProxyUnderTest,
    way: Callable[[RawConnection], Awaitable[list[Frame]]],
    fault: Callable[[TestCluster], Iterator[None]],
) -> None:
    cluster = single.cluster
    async with await connect(single, world.HOOLI) as connection:
        await _ready(connection)
        with contextmanager(fault)(cluster):
            answer = await way(connection)
            assert marks(cluster, world.HOOLI) == 0
            assert connection.status == "I"
        assert_clear(answer)
        # Repaired: the same connection works again, by both protocols.
        try:
            assert [frame.tag for frame in await _simple(connection) if frame.code == "C"] == ["INSERT 0 1"]
            assert [frame.tag for frame in await _prepared(connection) if frame.code == "C"] == ["INSERT 0 1"]
            assert marks(cluster, world.HOOLI) == 2
        finally:
            cluster.sql(f"DELETE FROM {world.HOOLI.orders} WHERE item = '{MARK}'", world.HOOLI.database)


async def test_a_schema_taken_from_its_role_is_an_error_and_not_an_empty_answer(single: ProxyUnderTest) -> None:
    cluster = single.cluster
    async with await connect(single, world.HOOLI) as connection:
        await _ready(connection)
        cluster.sql("REVOKE USAGE ON SCHEMA tenant_hooli FROM tenant_hooli_role", "saas")
        try:
            for message in (
                frontend.query(b"SELECT item FROM orders"),
                batch("SELECT item FROM tenant_hooli.orders") + frontend.SYNC,
            ):
                answer = await connection.ask(message)
                assert errors(answer)[0] in {"42501", "42P01"}
                assert not rows(answer)
        finally:
            cluster.sql("GRANT USAGE ON SCHEMA tenant_hooli TO tenant_hooli_role", "saas")
        assert len(rows(await connection.query("SELECT item FROM orders"))) == len(world.HOOLI.items)


@pytest.fixture(scope="module")
def misconfigured(attacked: TestCluster) -> Iterator[ProxyUnderTest]:
    """A tier with a setting that PostgreSQL refuses."""
    tiers = {"wrong": {"work_mem": "8MB", "settings": {"default_table_access_method": "no_such_method"}}}
    tenants = {name: {"tier": "wrong"} for name in ("acme", "globex", "initech")}
    with running_proxy(attacked, merge(SINGLE, {"tiers": tiers, "tenants": tenants})) as proxy:
        yield proxy


@pytest.mark.parametrize("resident", [world.ACME, world.GLOBEX, world.INITECH], ids=lambda resident: resident.name)
async def test_nothing_runs_with_a_tier_that_postgresql_refuses(
    misconfigured: ProxyUnderTest, resident: Resident
) -> None:
    cluster = misconfigured.cluster
    async with await connect(misconfigured, resident) as connection:
        await connection.ask(frontend.parse(b"ready", INSERT.encode()), frontend.SYNC)
        for way in WAYS:
            assert errors(await way(connection)), way
            assert connection.status == "I", way
            assert marks(cluster, resident) == 0, way
    # Others on the same server are served, and get nothing of what was put in place before it failed.
    async with await connect(misconfigured, world.UMBRELLA) as other:
        assert {row[0] for row in rows(await other.query("SELECT item FROM orders"))} == world.UMBRELLA.items
        assert await other.value("SHOW work_mem") == "4MB"
