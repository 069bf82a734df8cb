"""`python -m tests.suites`: fetch the suites, run them on every target, write docs/compatibility.md."""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.cli.demo.binaries import PostgresBinaries
from tests.suites import targets
from tests.suites.node_postgres import NodePostgres
from tests.suites.page import REFERENCE, Row, page, table
from tests.suites.results import Results
from tests.suites.sqlalchemy_dialect import PACKAGES, SqlalchemyDialect
from tests.suites.unavailable import SuiteUnavailable
from tests.support.postgres import ClusterWorkshop, TestCluster

PROJECT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = PROJECT / ".cache" / "suites"
PAGE: Final = PROJECT / "docs" / "compatibility.md"
# The suites test two-phase commit; files of node-postgres leave connections to time out.
SETTINGS: Final = {"max_prepared_transactions": "20", "max_connections": "200"}

Suite = SqlalchemyDialect | NodePostgres


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 nothing is lost without a reason, 1 something is, 2 a suite could not be run."""
    options = _parser().parse_args(arguments)
    suites = _suites(options.suite, options.node_postgres)
    columns = _columns(options.pgbouncer)
    CACHE.mkdir(parents=True, exist_ok=True)
    rows, complete = _run_all(suites, columns)
    names = [column.name for column in columns]
    print("\n" + table(rows, names))
    if complete and not options.suite:
        PAGE.write_text(page(rows, names, _circumstances()), encoding="utf-8")
        print(f"written to {PAGE}")
    lost = [(row.suite, target, name) for row in rows for target in names[1:3] for name in row.unexplained(target)]
    for suite, target, name in lost:
        print(f"lost, and not explained: {suite}, {target}: {name}")
    return 2 if not complete else int(bool(lost))


def _run_all(suites: Sequence[Suite], columns: Sequence[targets.Target]) -> tuple[list[Row], bool]:
    rows, complete = [], True
    workshop = ClusterWorkshop()
    try:
        cluster = workshop.make(PostgresBinaries.embedded(), SETTINGS)
        cluster.start()
        try:
            for suite in suites:
                try:
                    suite.prepare()
                except SuiteUnavailable as error:
                    print(f"{suite.name}: {error}", file=sys.stderr)
                    complete = False
                    continue
                runs = {column.name: _run(suite, column, cluster) for column in columns}
                complete = complete and None not in runs.values()
                rows.append(Row(suite.name, suite.version, runs))
        finally:
            cluster.stop()
    finally:
        workshop.close()
    return rows, complete


def _run(suite: Suite, column: targets.Target, cluster: TestCluster) -> Results | None:
    log = CACHE / f"{suite.name} - {column.name}.log".replace(" ", "_").replace(",", "")
    started = time.monotonic()
    try:
        with column.opened(cluster) as endpoint:
            for statement in suite.statements(endpoint):
                cluster.sql(statement, endpoint.database)
            results = suite.run(endpoint, log)
    except (SuiteUnavailable, AssertionError) as error:
        # An AssertionError is a traceback in the log of Gatehouse, which is a failure even where the suite noticed nothing.
        print(f"{suite.name}, {column.name}: {error}", file=sys.stderr)
        return None
    print(f"{suite.name}, {column.name}: {results.summary} in {time.monotonic() - started:.0f} s ({log})", flush=True)
    return results


def _suites(chosen: str | None, tree: Path | None) -> list[Suite]:
    suites: dict[str, list[Suite]] = {
        "sqlalchemy": [SqlalchemyDialect(CACHE, "psycopg"), SqlalchemyDialect(CACHE, "asyncpg")],
        "node-postgres": [NodePostgres(CACHE, tree)],
    }
    return suites[chosen] if chosen else [suite for group in suites.values() for suite in group]


def _columns(pgbouncer: str | None) -> list[targets.Target]:
    columns = [targets.direct(), targets.gatehouse(), targets.gatehouse(mode="session")]
    assert columns[0].name == REFERENCE
    if found := targets.find_pgbouncer(pgbouncer):
        columns.append(targets.pgbouncer(*found))
    return columns


def _circumstances() -> str:
    packages = ", ".join(package for package in PACKAGES if not package.startswith(("sqlalchemy", "pytest")))
    postgres = PostgresBinaries.embedded().version
    return f"PostgreSQL {postgres}, Python {platform.python_version()}, {packages.replace('==', ' ')}."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument(
        "--suite", choices=["sqlalchemy", "node-postgres"], help="only this one; the page stays as it is"
    )
    parser.add_argument("--node-postgres", type=Path, metavar="PATH", help="a checkout, instead of fetching an archive")
    parser.add_argument("--pgbouncer", metavar="PROGRAM", help="instead of the one on the path, if there is one")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
