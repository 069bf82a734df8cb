"""The PostgreSQL that all proxies stand in front of: embedded, filled, removed at the end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.cli.demo.binaries import Account, PostgresBinaries
from proxy.cli.demo.places import cache_candidates, new_run_folder, workplace
from proxy.cli.demo.postgres import LocalPostgres, cluster_template
from proxy.cli.demo.seed import LOGIN, run_sql_file

DATABASE: Final = "bench"
TENANT: Final = "bench"
OTHER_TENANT: Final = "other"
TABLES: Final = Path(__file__).parent / "sql" / "tables.sql"
SETTINGS: Final = {"max_connections": "300", "shared_buffers": "128MB", "max_wal_size": "1GB", "autovacuum": "off"}


@dataclass(frozen=True, slots=True)
class Database:
    """A running PostgreSQL and a folder for what runs in front of it; `account` may enter that folder."""

    postgres: LocalPostgres
    account: Account
    folder: Path
    login_password: str = field(repr=False)

    @property
    def login(self) -> str:
        """The role that every proxy logs in as."""
        return LOGIN

    @property
    def pgbench(self) -> Path:
        """The pgbench of the same version."""
        return self.postgres.binaries.program("pgbench")


@contextmanager
def running_database() -> Iterator[Database]:
    """Start and fill it; raises `LaunchError` with a hint if that can not be done."""
    account = Account.suitable()
    found = PostgresBinaries.embedded()
    with workplace(cache_candidates(".demo"), account) as place:
        binaries = found.readable_by(account, place)
        template = cluster_template(binaries, place, account)
        home = new_run_folder(place)
        with LocalPostgres(binaries, home, template=template, account=account, settings=SETTINGS) as postgres:
            password = secrets.token_hex(8)
            run_sql_file(postgres, "prepare_cluster.sql", login_password=password)
            run_sql_file(postgres, str(TABLES))
            # In the cluster's own folder, so that its watchdog removes this too.
            folder = home / "proxies"
            folder.mkdir(mode=0o711)
            yield Database(postgres, account, folder, password)
