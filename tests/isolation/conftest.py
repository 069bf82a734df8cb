"""Clusters and proxies for the isolation tests: their own, because attacks and faults leave marks on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from proxy.cli.demo.binaries import PostgresBinaries
from tests.isolation import world
from tests.support.postgres import ClusterWorkshop, TestCluster, system_binaries
from tests.support.proxy import ProxyUnderTest, running_proxy

SINGLE: dict[str, Any] = {
    "pool": {"size": 1, "wait_timeout": "5s"},
    "tiers": {"default": {"cross_tenant_sessions": "allow"}},
    "tenants": {"hooli": world.HOOLI_CONFIG},
}
"""Clients may see all of their session, for they are to notice what others have left in it."""


@pytest.fixture(scope="session", params=["embedded", "system"])
def attacked(request: pytest.FixtureRequest, clusters: ClusterWorkshop) -> Iterator[TestCluster]:
    """A cluster of each PostgreSQL major there is, with all residents."""
    binaries = PostgresBinaries.embedded() if request.param == "embedded" else system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server on this machine: install one, or name its bin folder in PG_BIN")
    cluster = clusters.make(binaries)
    cluster.start()
    world.settle(cluster)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def single(attacked: TestCluster) -> Iterator[ProxyUnderTest]:
    """A proxy whose pools have one server each: who comes next gets what the one before has left."""
    with running_proxy(attacked, SINGLE) as proxy:
        yield proxy
