"""Fixtures that every test may use: real PostgreSQL clusters with the demo's tenants in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest

from proxy.cli.demo.binaries import PostgresBinaries
from proxy.observe import logs
from tests.support.postgres import ClusterWorkshop, TestCluster, system_binaries

NewCluster = Callable[..., TestCluster]


@pytest.fixture(scope="session", autouse=True)
def _quiet_log() -> None:
    """What proxies log from their own threads would come between the tests' own output."""
    logs.configure("json", "debug", stream=io.StringIO())


@pytest.fixture(scope="session")
def clusters() -> Iterator[ClusterWorkshop]:
    """Where clusters come from."""
    workshop = ClusterWorkshop()
    yield workshop
    workshop.close()


@pytest.fixture(scope="session")
def pg18(clusters: ClusterWorkshop) -> Iterator[TestCluster]:
    """The embedded PostgreSQL 18, shared by the session."""
    cluster = clusters.make(PostgresBinaries.embedded())
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def system_postgres() -> PostgresBinaries:
    """The binaries of the machine's own PostgreSQL (or of PG_BIN); without one the test is skipped."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server on this machine: install one, or name its bin folder in PG_BIN")
    return binaries


@pytest.fixture(scope="session")
def pg_system(clusters: ClusterWorkshop, system_postgres: PostgresBinaries) -> Iterator[TestCluster]:
    """A cluster of the machine's own PostgreSQL, shared by the session."""
    cluster = clusters.make(system_postgres)
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session", params=["pg18", "pg_system"])
def postgres(request: pytest.FixtureRequest) -> TestCluster:
    """Each PostgreSQL major there is, one after the other."""
    cluster: TestCluster = request.getfixturevalue(request.param)
    return cluster


@pytest.fixture
def new_cluster(clusters: ClusterWorkshop) -> Iterator[NewCluster]:
    """Makes clusters for one test alone, which may stop, break and reconfigure them.

    `new_cluster(binaries=None, settings=None, hba=())`; embedded unless `binaries` are given; it runs when returned.
    """
    made: list[TestCluster] = []

    def make(binaries: PostgresBinaries | None = None, **options: object) -> TestCluster:
        cluster = clusters.make(binaries or PostgresBinaries.embedded(), **options)  # type: ignore[arg-type]
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()
        cluster.postgres.remove()
