"""Several clients see what each would see on a connection of its own: a fixed number of seeds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.cli.demo.binaries import PostgresBinaries
from tests.crowd.comparing import compare_seed
from tests.crowd.seeds import write
from tests.crowd.world import SETTINGS, World, world
from tests.support.postgres import ClusterWorkshop, TestCluster

ACTS = 10
FEW = range(1, 16)
MANY = range(16, 200)


@pytest.fixture(scope="module")
def cluster(clusters: ClusterWorkshop) -> Iterator[TestCluster]:
    """One of its own: it has settings, tables and roles' rights that others do without."""
    made = clusters.make(PostgresBinaries.embedded(), SETTINGS)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def tables(cluster: TestCluster) -> Iterator[World]:
    with world(cluster) as made:
        yield made


def test_a_seed_always_says_the_same() -> None:
    assert write(1) == write(1)
    assert write(1) != write(2)


@pytest.mark.parametrize("seed", [*FEW, *(pytest.param(seed, marks=pytest.mark.slow) for seed in MANY)])
async def test_each_client_sees_what_it_would_alone(cluster: TestCluster, tables: World, seed: int) -> None:
    _, difference = await compare_seed(cluster, tables, seed, ACTS)
    if difference is not None and not difference.is_documented:
        pytest.fail(f"{difference.report()}\n\nmake it small: python -m tests.crowd --seconds 0 --seed {seed}")
