"""psycopg on an endpoint for sessions: what belongs to a session works there as on PostgreSQL itself."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.drivers.places import PLACEMENTS, SAMPLES, Place
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy


@pytest.fixture(scope="module")
def sessions(drivers_cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    """Session pooling for all."""
    extra = {
        "pool": {"mode": "session", "session_size": 4},
        "tiers": {"default": {"cross_tenant_channels": "allow"}},
    }
    with running_proxy(drivers_cluster, extra) as proxy:
        yield proxy


@pytest.fixture(params=PLACEMENTS)
def home(request: pytest.FixtureRequest, sessions: ProxyUnderTest) -> Place:
    """Each placement."""
    return Place(SAMPLES[request.param], sessions)


def test_notifications_reach_a_listener_that_does_nothing_else(home: Place) -> None:
    with home.connect() as listener, home.connect() as sender:
        listener.execute("LISTEN bell")
        sender.execute("NOTIFY bell, 'ding'")
        assert [note.payload for note in listener.notifies(timeout=PATIENCE_S, stop_after=1)] == ["ding"]


def test_temporary_tables_and_settings_stay_for_the_session(home: Place) -> None:
    with home.connect() as client:
        client.execute("CREATE TEMP TABLE mine AS SELECT item FROM orders")
        client.execute("SET work_mem = '7MB'")
        with client.transaction(), pytest.raises(psycopg.errors.DivisionByZero), client.transaction():
            client.execute("SELECT 1/0")
        assert {row[0] for row in client.execute("SELECT item FROM mine")} == home.items
        assert client.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_a_cursor_with_hold_outlives_its_transaction(home: Place) -> None:
    with home.connect(autocommit=False) as client, client.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT item FROM orders")
        client.commit()
        assert {row[0] for row in cursor.fetchall()} == home.items
