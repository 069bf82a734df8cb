"""The four tenants of the demo, and the SQL that gives them a home.

The files are those of `deploy/sql`, run by psql as an operator would run them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.cli.demo.binaries import PROGRAM_TIMEOUT_S, LaunchError, clean_environment
from proxy.cli.demo.postgres import LocalPostgres

SQL_FOLDER: Final = Path(__file__).parent / "sql"
LOGIN: Final = "gatehouse"
SHARED_DATABASE: Final = "saas"


@dataclass(frozen=True, slots=True)
class SampleTenant:
    """A tenant of the demo: where it lives, and what its table `orders` holds."""

    name: str
    model: str
    database: str
    schema: str | None
    role: str | None
    items: frozenset[str]
    customers: int

    @property
    def home(self) -> str:
        """The placement in words."""
        if self.model == "shared":
            return f"shared tables of {self.database}, row-level security"
        if self.model == "schema":
            return f"schema {self.schema} of {self.database}"
        return f"database {self.database}"

    @property
    def orders_table(self) -> str:
        """The qualified name of its `orders`."""
        return f"{self.schema or 'public'}.orders"


TENANTS: Final = (
    SampleTenant("acme", "shared", "saas", None, None, frozenset({"anvil", "rocket skates", "bird seed"}), 2),
    SampleTenant("umbrella", "shared", "saas", None, None, frozenset({"lab coat", "cold store"}), 1),
    SampleTenant(
        "globex",
        "schema",
        "saas",
        "tenant_globex",
        "tenant_globex_role",
        frozenset({"hammock", "sugar cubes", "moat", "weather machine"}),
        3,
    ),
    SampleTenant(
        "initech",
        "database",
        "tenant_initech",
        None,
        None,
        frozenset({"red stapler", "printer", "report cover sheet", "floor mat", "mug"}),
        4,
    ),
)


def run_sql_file(
    postgres: LocalPostgres, name: str, variables: Mapping[str, str] | None = None, login_password: str | None = None
) -> None:
    """Run one file of `deploy/sql` as the superuser with these psql variables; raises `LaunchError` when it fails."""
    command = [str(postgres.binaries.program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    command += ["-h", postgres.host, "-p", str(postgres.port), "-U", postgres.superuser, "-d", "postgres"]
    for key, value in (variables or {}).items():
        command += ["-v", f"{key}={value}"]
    passwords = {"PGPASSWORD": postgres.password}
    if login_password is not None:
        passwords["GATEHOUSE_PASSWORD"] = login_password
    environment = clean_environment({**passwords, "PGPASSFILE": os.devnull, "PGCONNECT_TIMEOUT": "10"})
    done = subprocess.run(  # noqa: S603
        [*command, "-f", str(SQL_FOLDER / name)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environment,
        timeout=PROGRAM_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise LaunchError(f"{name} failed: {done.stderr.strip()}")


def seed(postgres: LocalPostgres, login_password: str) -> None:
    """Prepare the cluster and create the four tenants with their rows; `login_password` becomes the login's."""
    run_sql_file(postgres, "prepare_cluster.sql", login_password=login_password)
    run_sql_file(postgres, "shared_tables.sql", {"database": SHARED_DATABASE})
    run_sql_file(postgres, "schema_tenant.sql", {"database": SHARED_DATABASE, "tenant": "globex"})
    run_sql_file(postgres, "database_tenant.sql", {"tenant": "initech"})
    run_sql_file(postgres, "sample_rows.sql")
