"""Real PostgreSQL clusters for tests: seeded once per version and session, copied for every test that wants its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from proxy.cli.demo.binaries import Account, PostgresBinaries
from proxy.cli.demo.places import cache_candidates, workplace
from proxy.cli.demo.postgres import LocalPostgres, cluster_template
from proxy.cli.demo.seed import LOGIN, run_sql_file, seed
from tests.support import PATIENCE_S

LOGIN_PASSWORD = "login's own \\ password"  # with the characters that tend to be quoted wrongly
_ROOM_BYTES = 4 << 30  # five times what the clusters of a session take at most
SYSTEM_PLACES = ("/usr/lib/postgresql", "/usr/pgsql", "/opt/homebrew/opt/postgresql")


class Lock:
    """A lock of the test's own on `public.orders`: who reads it waits inside PostgreSQL until it is released."""

    wait = "(SELECT count(*) FROM public.orders) AS released"
    """For FROM, in a statement of a tenant in shared tables: one row, then."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._connection.execute("BEGIN; LOCK TABLE public.orders")

    def waiting(self) -> int:
        """How many statements wait."""
        found = self._connection.execute(
            "SELECT count(*) FROM pg_locks WHERE relation = 'public.orders'::regclass AND NOT granted"
        )
        return int(found.fetchall()[0][0])

    def release(self) -> None:
        """Let them go on."""
        self._connection.execute("COMMIT")


class TestCluster:
    """A running PostgreSQL with the demo's four tenants: databases `saas` and `tenant_initech`, login `gatehouse`.

    Tests that share it must leave the sample rows, roles and settings as they found them.
    """

    __test__ = False  # its name is not a test's

    def __init__(self, postgres: LocalPostgres) -> None:
        self.postgres = postgres
        self.host = postgres.host
        self.port = postgres.port
        self.superuser = postgres.superuser
        self.superuser_password = postgres.password
        self.login = LOGIN
        self.login_password = LOGIN_PASSWORD
        self.major = postgres.binaries.major

    def __repr__(self) -> str:
        return f"TestCluster(PostgreSQL {self.postgres.binaries.version}, {self.host}:{self.port})"

    async def admin(self, database: str = "postgres") -> asyncpg.Connection[asyncpg.Record]:
        """A superuser's connection, straight to PostgreSQL; the caller closes it."""
        return await asyncpg.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=self.superuser_password,
            database=database,
            ssl=False,
            timeout=PATIENCE_S,
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A superuser's connection in autocommit, straight to PostgreSQL."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.superuser,
            password=self.superuser_password,
            dbname=database,
            autocommit=True,
            connect_timeout=int(PATIENCE_S),
        )

    @contextmanager
    def locked(self) -> Iterator[Lock]:
        """A lock in the database `saas`; it is gone at the end."""
        with self.connect("saas") as connection:
            yield Lock(connection)

    def sql(self, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements as the superuser in autocommit; the rows of the last one, if it gives any."""
        with self.connect(database) as connection:
            cursor = connection.execute(text.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def sql_file(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        """Run a file of deploy/sql by psql as the superuser."""
        run_sql_file(self.postgres, name, variables)

    def start(self) -> None:
        """Start after `stop`."""
        self.postgres.start()

    def stop(self, *, immediate: bool = False) -> None:
        """Stop: fast, or at once as if it had crashed."""
        self.postgres.stop(immediate=immediate)

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start on the same port."""
        self.postgres.restart(immediate=immediate)


class ClusterWorkshop:
    """Makes clusters below one temporary folder of the test session; `close` removes them all."""

    def __init__(self) -> None:
        self._account = Account.suitable()
        self._cleanup = ExitStack()
        self._cache = self._cleanup.enter_context(workplace([*cache_candidates(".cache")[:1]], self._account))
        self._home = Path(
            self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-tests-", dir=_in_memory()))
        )
        self._home.chmod(0o711)  # pytest's own temporary folders can not be entered by PostgreSQL's account
        self._seeded: dict[str, Path] = {}
        self._count = 0

    def make(
        self, binaries: PostgresBinaries, settings: Mapping[str, str] | None = None, hba: Sequence[str] = ()
    ) -> TestCluster:
        """A new cluster with the demo's tenants, not started yet."""
        runnable = binaries.readable_by(self._account, self._cache)
        if runnable.version not in self._seeded:
            self._seeded[runnable.version] = self._seeded_template(runnable)
        template = self._seeded[runnable.version]
        postgres = LocalPostgres(
            runnable, self._new_home(), template=template, account=self._account, settings=settings, hba=hba
        )
        postgres.create()
        return TestCluster(postgres)

    def _seeded_template(self, binaries: PostgresBinaries) -> Path:
        empty = cluster_template(binaries, self._cache, self._account)
        postgres = LocalPostgres(binaries, self._new_home(), template=empty, account=self._account)
        postgres.create()
        postgres.start()
        try:
            seed(postgres, LOGIN_PASSWORD)
        finally:
            postgres.stop()
        return postgres.data_dir

    def _new_home(self) -> Path:
        self._count += 1
        return self._home / f"cluster-{self._count}"

    def close(self) -> None:
        """Remove everything the session made; the cached template stays."""
        self._cleanup.close()


def _in_memory() -> Path | None:
    """Linux's folder in memory where it has room: a cluster is a thousand files, which disks are slow to make and remove."""
    folder = Path("/dev/shm")
    is_roomy = os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free >= _ROOM_BYTES
    return folder if is_roomy else None


def system_binaries() -> PostgresBinaries | None:
    """PostgreSQL as installed on this machine: the folder PG_BIN, or the newest that the distribution brought."""
    if named := os.environ.get("PG_BIN"):
        return PostgresBinaries.in_folder(Path(named))
    found = [PostgresBinaries.in_folder(folder) for folder in _system_folders(SYSTEM_PLACES)]
    return max(found, key=lambda binaries: binaries.major, default=None)


def _system_folders(places: Iterable[str]) -> list[Path]:
    patterns = [pattern for place in places for pattern in (f"{place}/*/bin/postgres", f"{place}[-@]*/bin/postgres")]
    return [path.parent for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))]
