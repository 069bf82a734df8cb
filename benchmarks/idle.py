"""Clients that log in and then say nothing, held open while something else is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from benchmarks.database import DATABASE
from benchmarks.endpoints import Endpoint
from benchmarks.system import resident_kb
from proxy.cli.demo.postgres import HOST

AT_ONCE: Final = 16
LOGIN_TIMEOUT_S: Final = 60.0

if TYPE_CHECKING:
    # Subscriptable for type checkers only.
    Connection = asyncpg.Connection[asyncpg.Record]


@contextmanager
def idle_clients(endpoints: Sequence[Endpoint], count: int) -> Iterator[dict[str, float]]:
    """Hold `count` idle clients at each endpoint; gives the kilobytes that one costs, by the endpoint's name.

    What the endpoint used for earlier clients and still holds is not counted, so the first large number is the one that
    tells. Their sockets are not read meanwhile: the loop that owns them stands still.
    """
    with asyncio.Runner() as runner:
        clients: list[Connection] = []
        costs: dict[str, float] = {}
        try:
            for endpoint in endpoints:
                before = resident_kb(endpoint.pid) if endpoint.pid else 0
                clients += runner.run(_connect_all(endpoint, count))
                if endpoint.pid:
                    costs[endpoint.name] = (resident_kb(endpoint.pid) - before) / count
            yield costs
        finally:
            runner.run(_close_all(clients))


async def _connect_all(endpoint: Endpoint, count: int) -> list[Connection]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def connect() -> Connection:
        async with gate:
            return await asyncpg.connect(
                host=HOST,
                port=endpoint.port,
                user=endpoint.user,
                password=endpoint.password,
                database=DATABASE,
                ssl=False,
                timeout=LOGIN_TIMEOUT_S,
            )

    return list(await asyncio.gather(*(connect() for _ in range(count))))


async def _close_all(clients: Sequence[Connection]) -> None:
    for client in clients:
        client.terminate()
    # Terminating closes transports on the next turn of the loop.
    await asyncio.sleep(0)
