"""pgjdbc: the program in `java/`."""

from __future__ import annotations

import pytest

from tests.drivers.foreign import DIRECTLY, ONE_SERVER, Language, Runs, checks_of

_COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

JAVA = Language(
    folder="java",
    tools=("java", "javac", "mvn"),
    manifest=("pom.xml",),
    fetch=(("mvn", "-q", "-B", _COPY_DEPENDENCIES, "-DoutputDirectory=lib"),),
    build=(("javac", "-cp", "lib/*", "-d", "classes", "Harness.java", "Checks.java"),),
)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Runs:
    """The program, built when it is asked for."""
    return Runs(JAVA, request)


@checks_of("java/Checks.java", slow=(DIRECTLY, ONE_SERVER))
def test_pgjdbc(runs: Runs, way: str, tenant: str, check: str) -> None:
    # A small machine for a short life: three of them run at a time.
    options = ("-Xmx128m", "-Xss512k", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
    runs.expect(("java", *options, "-cp", "classes:lib/*", "Checks"), way, tenant, check)
