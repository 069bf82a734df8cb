"""node-postgres and postgres.js: the programs in `node/`."""

from __future__ import annotations

import pytest

from tests.drivers.foreign import Language, Runs, checks_of

NODE = Language(
    folder="node",
    tools=("node", "npm"),
    manifest=("package.json", "package-lock.json"),
    fetch=(("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"),),
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Runs:
    """The programs, installed when the first is asked for."""
    return Runs(NODE, request)


@checks_of("node/node_postgres.mjs")
def test_node_postgres(runs: Runs, way: str, tenant: str, check: str) -> None:
    runs.expect(("node", "--no-deprecation", "node_postgres.mjs"), way, tenant, check)


@checks_of("node/postgres_js.mjs")
@pytest.mark.parametrize("how", ["prepared", pytest.param("unprepared", marks=pytest.mark.slow)])
def test_postgres_js(runs: Runs, how: str, way: str, tenant: str, check: str) -> None:
    runs.expect(("node", "postgres_js.mjs", how), way, tenant, check)
