"""pgx, with its own interface and as database/sql: the program in `go/`."""

from __future__ import annotations

import pytest

from tests.drivers.foreign import Language, Runs, checks_of

GO = Language(
    folder="go",
    tools=("go",),
    manifest=("go.mod", "go.sum"),
    fetch=(("go", "mod", "download"),),
    build=(("go", "build", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o", "checks", "."),),  # soon rather than well
    environment={"CGO_ENABLED": "0"},
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Runs:
    """The program, built when it is asked for."""
    return Runs(GO, request)


@checks_of("go/main.go")
def test_pgx(runs: Runs, way: str, tenant: str, check: str) -> None:
    runs.expect(("./checks",), way, tenant, check)
