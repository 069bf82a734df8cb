"""One cluster and one Gatehouse for all drivers: few servers, few prepared statements.

Each tenant has two tables to write: `notes`, and `loads`, which stands for tables that COPY FROM may fill (PostgreSQL
refuses that under row-level security).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.cli.demo.binaries import PostgresBinaries
from tests.drivers.places import PLACEMENTS, SAMPLES, Mover, Place, moving
from tests.support.postgres import ClusterWorkshop, TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy

_FEW = {
    "pool": {"size": 3, "max_prepared_statements": 25},
    "tiers": {"default": {"max_pinned": 3, "cross_tenant_channels": "allow"}},
}

# What a migration would do in each placement, and the rights that frameworks need for their DDL.
_SHARED = """
CREATE TABLE notes (
    tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant_id', true), ''), id int, body text
);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
CREATE TABLE loads (id int, body text);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes, loads TO gatehouse;
GRANT CREATE ON SCHEMA public TO gatehouse;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO gatehouse
"""
_SCHEMA = """
CREATE TABLE tenant_globex.notes (id int, body text);
CREATE TABLE tenant_globex.loads (id int, body text);
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_globex.notes, tenant_globex.loads TO tenant_globex_role;
GRANT CREATE ON SCHEMA tenant_globex TO tenant_globex_role
"""
_DATABASE = """
CREATE TABLE notes (id int, body text);
CREATE TABLE loads (id int, body text);
GRANT SELECT, INSERT, UPDATE, DELETE ON notes, loads TO gatehouse;
GRANT CREATE ON SCHEMA public TO gatehouse;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO gatehouse
"""
_TYPES = """
CREATE TYPE {0}.mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE {0}.place AS (street text, no int);
GRANT USAGE ON TYPE {0}.mood, {0}.place TO PUBLIC
"""


@pytest.fixture(scope="session")
def drivers_cluster(clusters: ClusterWorkshop) -> Iterator[TestCluster]:
    """A PostgreSQL of the drivers' own, so that what they create bothers nobody."""
    cluster = clusters.make(PostgresBinaries.embedded(), {"max_prepared_transactions": "0"})
    cluster.start()
    cluster.sql(_SHARED + ";" + _SCHEMA, "saas")
    cluster.sql(_DATABASE, "tenant_initech")
    cluster.sql(_TYPES.format("public"), "saas")
    cluster.sql(_TYPES.format("public"), "tenant_initech")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def gatehouse(drivers_cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    """Three servers to a pool, 25 prepared statements to a server."""
    with running_proxy(drivers_cluster, _FEW) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def narrow(drivers_cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    """One server to a pool, and five prepared statements on it: everything meets there."""
    extra = {
        "pool": {"size": 1, "max_prepared_statements": 5},
        "tiers": {"default": {"cross_tenant_sessions": "allow"}},
    }
    with running_proxy(drivers_cluster, extra) as proxy:
        yield proxy


@pytest.fixture(params=PLACEMENTS)
def place(request: pytest.FixtureRequest, gatehouse: ProxyUnderTest) -> Place:
    """Each placement, one after the other."""
    return Place(SAMPLES[request.param], gatehouse)


@pytest.fixture(params=PLACEMENTS)
def narrow_place(request: pytest.FixtureRequest, narrow: ProxyUnderTest) -> Place:
    """Each placement behind a single server."""
    return Place(SAMPLES[request.param], narrow)


@pytest.fixture
def mover(place: Place) -> Iterator[Mover]:
    """Moves the place's clients from server to server."""
    with moving(place) as mover:
        yield mover


@pytest.fixture
def notes(place: Place) -> Iterator[str]:
    """The table `notes`, empty before and after."""
    yield "notes"
    with place.connect() as connection:
        connection.execute("DELETE FROM notes")


@pytest.fixture
def loads(place: Place) -> Iterator[str]:
    """The table `loads`, empty before and after."""
    yield "loads"
    with place.connect() as connection:
        connection.execute("DELETE FROM loads")
