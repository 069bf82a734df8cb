"""Hundreds of clients of all tenants over a few servers, doing everything at random while clients and servers are killed.

`GATEHOUSE_CHAOS_SEED` repeats a run's choices (not its timing); every failure carries the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.isolation import chaos, world
from tests.isolation.chaos import FIXED, RawClient, Run
from tests.isolation.world import Resident
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy

WHO = """
    SELECT current_setting('app.tenant_id'), current_user::text, (SELECT count(*) FROM ledger WHERE client = 0)::int,
           (SELECT count(*) FROM ledger WHERE client = $1::int)::int, current_setting('work_mem')
"""


class Undone(Exception):
    """Rolls a transaction back."""


CHAOS = {
    "pool": {"size": 3, "wait_timeout": "60s", "max_prepared_statements": 12},
    "tenants": {"hooli": world.HOOLI_CONFIG},
    "tiers": {"default": {"max_pinned": 1}},
}


@pytest.fixture(scope="module")
def furnished(attacked: TestCluster) -> Iterator[ProxyUnderTest]:
    """A proxy with three servers per pool, and a ledger for everybody."""
    chaos.furnish(attacked)
    with running_proxy(attacked, CHAOS) as proxy:
        yield proxy


def new_run(proxy: ProxyUnderTest) -> Run:
    seed = int(os.environ.get("GATEHOUSE_CHAOS_SEED") or random.SystemRandom().randrange(10**9))
    print(f"GATEHOUSE_CHAOS_SEED={seed}")
    return Run(proxy, seed)


@contextlib.asynccontextmanager
async def servers_being_killed(run: Run, every_s: float) -> AsyncIterator[None]:
    """Terminate one of Gatehouse's servers at random, again and again."""
    chance = random.Random(run.seed)
    admin = await run.proxy.cluster.admin()

    async def kill() -> None:
        while True:
            await asyncio.sleep(every_s)
            found = await admin.fetch("SELECT pid FROM pg_stat_activity WHERE usename = 'gatehouse' ORDER BY pid")
            if found:
                await admin.execute("SELECT pg_terminate_backend($1)", chance.choice(found)["pid"])
                run.met["servers killed"] += 1

    killer = asyncio.create_task(kill())
    try:
        yield
    finally:
        killer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killer
        await admin.close()


async def storm(run: Run, clients: int, steps: int, kill_every_s: float = 0) -> None:
    """All residents' clients at once, with servers killed as often as that; 0 is never."""
    crowd = [RawClient(run, world.RESIDENTS[n % len(world.RESIDENTS)], n) for n in range(1, clients + 1)]
    killing = servers_being_killed(run, kill_every_s) if kill_every_s else contextlib.nullcontext()
    async with killing, asyncio.TaskGroup() as group:
        for client in crowd:
            group.create_task(client.live(steps))
    print(dict(run.done), dict(run.met))
    # Nobody's rows are lost, and nobody has rows that it did not write.
    for client in crowd:
        assert await run.committed(client.resident, client.number) == client.rows, (run.seed, client.number)


def forget(proxy: ProxyUnderTest) -> None:
    for resident in world.RESIDENTS:
        proxy.cluster.sql(f"DELETE FROM {resident.schema}.ledger WHERE client <> 0", resident.database)


async def test_clients_at_random_see_their_own_and_all_of_it(furnished: ProxyUnderTest) -> None:
    run = new_run(furnished)
    forget(furnished)
    await storm(run, clients=200, steps=8)
    assert set(run.done) == {act.__name__ for act in chaos.ACTS} - {"left_in_the_middle"}
    assert not run.met["57P01"]


async def test_killed_servers_cost_their_own_clients_only(furnished: ProxyUnderTest) -> None:
    run = new_run(furnished)
    forget(furnished)
    await storm(run, clients=100, steps=6, kill_every_s=0.25)
    assert run.met["servers killed"]


def dsn(proxy: ProxyUnderTest, resident: Resident) -> dict[str, Any]:
    return {**proxy.dsn(resident.name), "database": resident.database}


async def through_asyncpg(run: Run, resident: Resident, number: int) -> None:
    """A pool with its statement cache and its reset query, transactions, cursors, executemany, COPY out."""
    chance = random.Random(f"{run.seed} asyncpg {number}")
    pool = await asyncpg.create_pool(**dsn(run.proxy, resident), ssl=False, min_size=1, max_size=4, command_timeout=60)
    async with pool:

        async def work() -> None:
            for _ in range(8):
                async with pool.acquire() as connection:
                    who = await connection.fetchrow(WHO, number)
                    assert who is not None
                    assert tuple(who) == (resident.name, resident.user, FIXED, 0, "4MB"), (run.seed, resident.name)
                    await connection.execute(f"SET work_mem = '{chance.choice([1, 2, 8])}MB'")
                    with contextlib.suppress(Undone):
                        async with connection.transaction():
                            await connection.executemany(
                                "INSERT INTO ledger VALUES ($1, $2)", [(resident.name, number)] * 3
                            )
                            with contextlib.suppress(asyncpg.DivisionByZeroError):
                                async with connection.transaction():
                                    await connection.execute("SELECT 1/0")
                            seen = [row["tenant"] async for row in connection.cursor("SELECT tenant FROM ledger")]
                            assert set(seen) == {resident.name}
                            raise Undone

        await asyncio.gather(*(work() for _ in range(5)))
        run.done["asyncpg"] += 1


def through_psycopg(run: Run, resident: Resident, number: int) -> None:
    """Server-side prepared statements, pipelines, transactions and COPY, from a thread."""
    settings = {**run.proxy.dsn(resident.name), "dbname": resident.database}
    with psycopg.connect(**settings, autocommit=True, prepare_threshold=1) as connection:
        for _ in range(6):
            for _ in range(3):
                who = connection.execute(WHO.replace("$1::int", "%s"), (number,)).fetchone()
                assert who == (resident.name, resident.user, FIXED, 0, "4MB"), (run.seed, resident.name)
            with connection.pipeline(), connection.transaction(force_rollback=True):
                cursors = [connection.execute("SELECT tenant FROM ledger WHERE client = 0") for _ in range(3)]
                assert all(cursor.fetchall() == [(resident.name,)] * FIXED for cursor in cursors)
            with connection.cursor().copy("COPY (SELECT DISTINCT tenant FROM ledger) TO STDOUT") as copy:
                assert list(copy.rows()) == [(resident.name,)]
    run.done["psycopg"] += 1


async def test_drivers_of_all_tenants_share_servers_and_nothing_else(furnished: ProxyUnderTest) -> None:
    """The same texts and the same statement names in every tenant: both drivers count theirs from one."""
    run = new_run(furnished)
    forget(furnished)
    with ThreadPoolExecutor(10) as threads:
        loop = asyncio.get_running_loop()
        work = [
            loop.run_in_executor(threads, through_psycopg, run, r, n) for n in (8001, 8002) for r in world.RESIDENTS
        ]
        await asyncio.gather(*work, *(through_asyncpg(run, resident, 9001) for resident in world.RESIDENTS))
    assert run.done == {"psycopg": 10, "asyncpg": 5}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_clients_at_random_for_long(furnished: ProxyUnderTest) -> None:
    run = new_run(furnished)
    forget(furnished)
    await storm(run, clients=400, steps=60, kill_every_s=1)
