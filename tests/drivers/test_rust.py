"""tokio-postgres: the program in `rust/`."""

from __future__ import annotations

import pytest

from tests.drivers.foreign import Language, Runs, checks_of

RUST = Language(
    folder="rust",
    tools=("cargo", "rustc"),
    manifest=("Cargo.toml",),
    fetch=(("cargo", "fetch", "--quiet"),),
    build=(("cargo", "build", "--quiet", "--offline"),),
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Runs:
    """The program, built when it is asked for."""
    return Runs(RUST, request)


@checks_of("rust/src/main.rs")
def test_tokio_postgres(runs: Runs, way: str, tenant: str, check: str) -> None:
    runs.expect(("./target/debug/driver-checks",), way, tenant, check)
