"""A server that PostgreSQL ends at the worst moments: in the same breath as its last answer, or while nobody uses it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ShuttingDown
from proxy.server.connection import ServerConnection
from proxy.wire import backend, frontend
from tests.isolation import world
from tests.isolation.test_failed_context import batch
from tests.support.compiled import IS_COMPILED
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import RawConnection, errors, rows

FAREWELL = backend.error_response(ShuttingDown("terminating connection due to administrator command"), severity="FATAL")
READY = b"Z\0\0\0\x05I"
MESSAGES = {
    "batch": batch("SELECT item FROM orders") + frontend.SYNC,
    "query": frontend.query(b"SELECT item FROM orders"),
    "describe": frontend.parse(b"late", b"SELECT item FROM orders") + frontend.describe(b"S", b"late") + frontend.SYNC,
}


class FarewellLedger:
    """A server's ledger that hears a farewell right behind the next ReadyForQuery, in the same chunk."""

    def __init__(self, ledger: object) -> None:
        object.__setattr__(self, "_ledger", ledger)
        object.__setattr__(self, "_is_due", True)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_ledger"), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "_ledger"), name, value)

    def feed(self, data: bytes) -> None:
        if object.__getattribute__(self, "_is_due") and data.endswith(READY):
            object.__setattr__(self, "_is_due", False)
            data += FAREWELL
        object.__getattribute__(self, "_ledger").feed(data)


def servers(proxy: ProxyUnderTest) -> list[ServerConnection]:
    """The servers of the shared database."""
    pools = proxy.gatehouse._pools._pools
    slots = [pool._core.slots for key, pool in pools.items() if key.database == "saas"]
    return [server for held in slots for server in held if isinstance(server, ServerConnection)]


def say_farewell(proxy: ProxyUnderTest) -> None:
    """The idle servers are told that they end; that they are closed will be seen later."""
    for server in servers(proxy):
        server.data_received(FAREWELL)


def expect_farewell(proxy: ProxyUnderTest) -> None:
    """The servers will hear it behind their next answer."""
    for server in servers(proxy):
        server.ledger = FarewellLedger(server.ledger)  # type: ignore[assignment]


async def assert_answered(connection: RawConnection, message: bytes) -> None:
    """There is an answer: the rows, their description, or an error; never a bare ReadyForQuery."""
    answer = await connection.ask(message)
    assert errors(answer) or rows(answer) or "T" in {frame.code for frame in answer}, answer


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
async def test_a_farewell_to_an_idle_server_costs_the_next_client_nothing(
    single: ProxyUnderTest, message: bytes
) -> None:
    async with await world.connect(single, world.ACME) as connection:
        await connection.query("SELECT 1")
        single.call(lambda: say_farewell(single))
        await assert_answered(connection, message)
        assert {row[0] for row in rows(await connection.query("SELECT item FROM orders"))} == world.ACME.items


@pytest.mark.skipif(IS_COMPILED, reason="a compiled connection takes no other ledger")
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
async def test_a_farewell_right_behind_an_answer_costs_the_next_client_nothing(
    single: ProxyUnderTest, message: bytes
) -> None:
    async with await world.connect(single, world.ACME) as one, await world.connect(single, world.ACME) as other:
        await other.query("SELECT 1")
        single.call(lambda: expect_farewell(single))
        await one.query("SELECT 1")
        # The first client has its answer, and the farewell was not meant for it.
        await assert_answered(other, message)
        await assert_answered(one, message)
