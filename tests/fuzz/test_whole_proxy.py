"""Hostile clients and spoiled servers cost nothing but their own connections: a fixed number of examples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random

import pytest

from proxy.cli.demo.binaries import PostgresBinaries
from tests.fuzz import hostile
from tests.fuzz.relay import SpoilingRelay
from tests.support import PATIENCE_S
from tests.support.postgres import ClusterWorkshop, TestCluster
from tests.support.serve import ServedProxy, connect, eventually, served_proxy, value

HOSTILE_CONNECTIONS = 250
SPOILED_ANSWERS = 60
SPOILED_LOGINS = 12


def times(count: int) -> Callable[[], bool]:
    """True so many times."""
    left = iter(range(count))
    return lambda: next(left, None) is not None


@pytest.fixture(scope="module")
def cluster(clusters: ClusterWorkshop) -> Iterator[TestCluster]:
    """One of its own: what is left of a spoiled script may write."""
    made = clusters.make(PostgresBinaries.embedded())
    made.start()
    yield made
    made.stop()


async def test_hostile_clients_cost_nothing_but_their_own_connections(cluster: TestCluster) -> None:
    with served_proxy(cluster, {"pool": {"size": 3}}) as proxy:
        tally = hostile.Tally()
        async with hostile.at_work(proxy, "umbrella", tally):
            before = proxy.resident_bytes()
            await hostile.besiege(proxy, Random(1), tally, times(HOSTILE_CONNECTIONS))
        assert tally.hostile["client 08P01"]
        assert tally.hostile["answered to the end"]
        hostile.assert_unharmed(proxy, cluster, before)


async def test_spoiled_servers_reach_nobody_but_their_own_clients(cluster: TestCluster) -> None:
    with (
        SpoilingRelay(cluster.host, cluster.port, seed=1) as relay,
        served_proxy(cluster, hostile.spoiled_config(relay, cluster)) as proxy,
    ):
        tally = hostile.Tally()
        async with hostile.at_work(proxy, "initech", tally):
            before = proxy.resident_bytes()
            relay.rate = 0.3
            await hostile.Doubters(proxy, tally).work(Random(1), lambda: relay.spoiled < SPOILED_ANSWERS)
            relay.rate = 0.0
        eventually(lambda: hostile.is_at_rest(proxy))
        await assert_healed(proxy)
        hostile.assert_unharmed(proxy, cluster, before)


@pytest.mark.slow
async def test_spoiled_logins_of_servers_are_got_over(cluster: TestCluster) -> None:
    with (
        SpoilingRelay(cluster.host, cluster.port, seed=2) as relay,
        served_proxy(
            cluster, hostile.spoiled_config(relay, cluster) | {"pool": {"size": 3, "lifetime": "1s"}}
        ) as proxy,
    ):
        tally = hostile.Tally()
        async with hostile.at_work(proxy, "initech", tally):
            before = proxy.resident_bytes()
            relay.rate, relay.spoils_logins = 0.5, True
            await hostile.Doubters(proxy, tally).work(Random(1), lambda: relay.spoiled < SPOILED_LOGINS)
            relay.rate = 0.0
        eventually(lambda: hostile.is_at_rest(proxy))
        await assert_healed(proxy)
        hostile.assert_unharmed(proxy, cluster, before)


async def assert_healed(proxy: ServedProxy) -> None:
    """Who was behind a spoiled server is served again."""
    eventually(lambda: connected(proxy))
    healed = hostile.Tally()
    async with hostile.at_work(proxy, "acme", healed), hostile.at_work(proxy, "umbrella", healed):
        await asyncio.wait_for(healed.enough.wait(), PATIENCE_S)


def connected(proxy: ServedProxy) -> bool:
    with connect(proxy, "acme") as connection:
        return bool(value(connection, "SELECT 1"))
