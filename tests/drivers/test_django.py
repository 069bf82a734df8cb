"""Django, its ORM and its migrations, with psycopg 3 and psycopg2: the checks of `django_app`, for each tenant."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from proxy.cli.demo.binaries import clean_environment
from tests.drivers.places import PLACEMENTS, SAMPLES, Place
from tests.support.proxy import ProxyUnderTest

pytest.importorskip("django")

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
DRIVERS = ("psycopg", "psycopg2")
KNOWN: Mapping[str, str] = {}
"""Reasons why checks fail through Gatehouse."""

# Tables of a shared database are visible from its schemas, too: these two must not migrate at the same time.
TOGETHER = (("acme", "initech"), ("globex",))


class Stories:
    """The program's runs: one for each driver and tenant, when the first of its checks is asked for."""

    def __init__(self, proxy: ProxyUnderTest) -> None:
        self._proxy = proxy
        self._outcomes: dict[tuple[str, str], Mapping[str, str]] = {}

    def problem(self, driver: str, tenant: str, check: str) -> str:
        """What went wrong with a check; empty if nothing did."""
        if (driver, tenant) not in self._outcomes:
            group = next(group for group in TOGETHER if tenant in group)
            processes = {name: self._start(driver, Place(SAMPLES[name], self._proxy)) for name in group}
            self._outcomes |= {(driver, name): _outcomes(process) for name, process in processes.items()}
        outcomes = self._outcomes[driver, tenant]
        return outcomes.get(check, f"it was not run: {outcomes['']}")

    def _start(self, driver: str, place: Place) -> subprocess.Popen[str]:
        where = {f"DJANGO_{name.upper()}": str(place.through[name]) for name in ("host", "port", "user", "password")}
        more = {"PLACEMENT": place.tenant.model, "ITEMS": json.dumps(sorted(place.items)), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-P", "-W", "error", "-m", "tests.drivers.django_app", driver],
            cwd=ROOT,
            env=clean_environment({**where, **more}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def _outcomes(process: subprocess.Popen[str]) -> dict[str, str]:
    """Problems by check; under the empty name what the program said besides."""
    try:
        output, said = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, said = process.communicate()
        said += f"\nnot finished after {TIMEOUT_S} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"check"')]
    return {"": said[-3000:], **{line["check"]: line["detail"] for line in lines}}


@pytest.fixture(scope="module")
def stories(gatehouse: ProxyUnderTest) -> Stories:
    return Stories(gatehouse)


def _checks() -> list[object]:
    """Every check with every driver; known to pytest without importing Django here."""
    text = (Path(__file__).parent / "django_app" / "checks.py").read_text()
    names = re.findall(r"^def check_(\w+)", text, re.MULTILINE)
    return [
        pytest.param(
            driver,
            name,
            marks=pytest.mark.xfail(strict=True, reason=KNOWN[name]) if name in KNOWN else (),
            id=f"{driver}-{name}",
        )
        for driver in DRIVERS
        for name in names
        if driver == "psycopg" or not name.endswith("__psycopg")
    ]


@pytest.mark.parametrize("tenant", PLACEMENTS)
@pytest.mark.parametrize(("driver", "check"), _checks())
def test_django(stories: Stories, tenant: str, driver: str, check: str) -> None:
    problem = stories.problem(driver, tenant, check)
    if problem:
        pytest.fail(problem, pytrace=False)
