"""A tenant reached in two ways: through Gatehouse, and straight on PostgreSQL with the context as startup settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from proxy.cli.demo.seed import TENANTS, SampleTenant
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest

PLACEMENTS = ("acme", "globex", "initech")
SAMPLES = {tenant.name: tenant for tenant in TENANTS}

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant, seen through `proxy`. `notes` is a table that it owns: notes(id int, body text)."""

    tenant: SampleTenant
    proxy: ProxyUnderTest

    @property
    def name(self) -> str:
        """The tenant's id."""
        return self.tenant.name

    @property
    def cluster(self) -> TestCluster:
        """The PostgreSQL behind it."""
        return self.proxy.cluster

    @property
    def items(self) -> set[str]:
        """What its table `orders` holds."""
        return set(self.tenant.items)

    @property
    def through(self) -> dict[str, Any]:
        """Where Gatehouse is, in words that psycopg and asyncpg share."""
        return self.proxy.dsn(self.name)

    @property
    def settings(self) -> dict[str, str]:
        """What Gatehouse puts in place, as startup settings for a direct connection."""
        context = {"app.tenant_id": self.name}
        if self.tenant.schema and self.tenant.role:
            context |= {"search_path": f"{self.tenant.schema},public", "role": self.tenant.role}
        return context

    @property
    def straight(self) -> dict[str, Any]:
        """Where PostgreSQL is, for psycopg, with the tenant's context."""
        return {**self.login, "dbname": self.tenant.database, "options": options(self.settings)}

    @property
    def login(self) -> dict[str, Any]:
        """Gatehouse's own login."""
        cluster = self.cluster
        return {
            "host": cluster.host,
            "port": cluster.port,
            "user": cluster.login,
            "password": cluster.login_password,
        }

    def connect(self, **more: Any) -> Connection:
        """psycopg through Gatehouse, in autocommit unless told otherwise."""
        return psycopg.connect(**{"autocommit": True, "dbname": "any", **self.through, **more})

    def connect_directly(self, **more: Any) -> Connection:
        """psycopg on PostgreSQL itself."""
        return psycopg.connect(**{"autocommit": True, **self.straight, **more})

    def wait_until_it_runs(self, text: str) -> None:
        """Wait until PostgreSQL is running a statement that ends in `text`; AssertionError if nobody does."""
        seen = f"SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%{text}' AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + PATIENCE_S
        while not self.cluster.sql(seen):
            assert time.monotonic() < deadline, f"nobody runs {text}"

    def environment(self) -> dict[str, str]:
        """PG* variables for psql and its kin, through Gatehouse."""
        return _environment({**self.through, "dbname": "any"})

    def environment_directly(self) -> dict[str, str]:
        """The same for PostgreSQL itself."""
        return {**_environment(self.straight), "PGOPTIONS": self.straight["options"]}


def options(settings: dict[str, str]) -> str:
    """Settings as the startup parameter `options`."""
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


def _environment(where: dict[str, Any]) -> dict[str, str]:
    return {
        "PGHOST": str(where["host"]),
        "PGPORT": str(where["port"]),
        "PGUSER": str(where["user"]),
        "PGPASSWORD": str(where["password"]),
        "PGDATABASE": str(where["dbname"]),
        "PGCONNECT_TIMEOUT": "10",
    }


class Mover:
    """Makes a tenant's next transaction land on another server: `move()` takes the warmest one, or gives it back."""

    def __init__(self, place: Place) -> None:
        self._connection = place.connect()
        self._holds = False

    def move(self) -> None:
        """From now on the other server is the first in line; needs a pool of at least two that nobody else uses."""
        self._connection.execute("ROLLBACK" if self._holds else "BEGIN; SELECT 1")
        self._holds = not self._holds

    def close(self) -> None:
        """Give back what is held."""
        self._connection.close()


@contextmanager
def moving(place: Place) -> Iterator[Mover]:
    """A `Mover`, closed at the end."""
    mover = Mover(place)
    try:
        yield mover
    finally:
        mover.close()
