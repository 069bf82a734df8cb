"""SQLAlchemy's dialect suite (`sqlalchemy.testing.suite`), run by its pytest plugin with what it asks of PostgreSQL.

It lives in a virtual environment of its own, because its plugin would take our pytest over. Which features the dialect
must have is said by `test/requirements.py`, which is in the source distribution only.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.suites.results import Outcome, Results
from tests.suites.targets import Endpoint
from tests.suites.unavailable import SuiteUnavailable

SQLALCHEMY: Final = "2.0.52"
PACKAGES: Final = (
    f"sqlalchemy[asyncio]=={SQLALCHEMY}",
    "asyncpg==0.30.0",
    "psycopg[binary]==3.2.13",
    "pytest==8.4.2",
)
SCHEMAS: Final = ("test_schema", "test_schema_2")
RUN_TIMEOUT_S: Final = 900.0

_SCRATCH: Final = {
    "conftest.py": (
        "import pytest\n"
        'pytest.register_assert_rewrite("sqlalchemy.testing.assertions")\n'
        "from sqlalchemy.testing.plugin.pytestplugin import *\n"
    ),
    "test_suite.py": "from sqlalchemy.testing.suite import *\n",
    "setup.cfg": (
        "[sqla_testing]\nrequirement_cls=dialect_requirements:DefaultRequirements\nprofile_file=profiles.txt\n"
        "[tool:pytest]\npython_files=test_suite.py\n"
    ),
}


class SqlalchemyDialect:
    """The suite with one driver, built below `cache`."""

    version = SQLALCHEMY

    def __init__(self, cache: Path, driver: str) -> None:
        """`driver` is psycopg or asyncpg."""
        self.name = f"SQLAlchemy dialect suite, {driver}"
        self._driver = driver
        self._home = cache / f"sqlalchemy-{SQLALCHEMY}"
        self._python = self._home / "venv" / "bin" / "python"

    def prepare(self) -> None:
        """Fetch and install; raises `SuiteUnavailable` with what pip said."""
        stamp = self._home / "packages.txt"
        wanted = "\n".join(PACKAGES)
        if not stamp.exists() or stamp.read_text() != wanted:
            self._home.mkdir(parents=True, exist_ok=True)
            _must([sys.executable, "-m", "venv", "--clear", str(self._python.parents[1])])
            self._pip("install", *PACKAGES)
            self._fetch_requirements()
            stamp.write_text(wanted)
        for name, content in _SCRATCH.items():
            (self._home / name).write_text(content)

    def run(self, endpoint: Endpoint, log: Path) -> Results:
        """Run it; what pytest prints goes to `log`."""
        with tempfile.TemporaryDirectory(prefix="gatehouse-suite-") as folder, log.open("wb") as sink:
            report = Path(folder) / "report.xml"
            command = [str(self._python), "-m", "pytest", "test_suite.py", "-q", "-p", "no:cacheprovider", "-rfE"]
            # Its plugin stops at the first error otherwise.
            command += ["--maxfail=100000", f"--junitxml={report}", "--dburi", self._url(endpoint)]
            environment = {"PYTHONPATH": str(self._home), "PATH": "/usr/bin:/bin"}
            subprocess.run(command, cwd=self._home, env=environment, stdout=sink, stderr=sink, timeout=RUN_TIMEOUT_S)
            if not report.exists():
                raise SuiteUnavailable(f"pytest did not get to its end; see {log}")
            return Results(_read_report(report))

    def statements(self, endpoint: Endpoint) -> list[str]:
        """What the superuser must run in the fresh database."""
        del endpoint
        return [f"CREATE SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO PUBLIC" for schema in SCHEMAS]

    def _url(self, endpoint: Endpoint) -> str:
        user, password = quote(endpoint.user, safe=""), quote(endpoint.password, safe="")
        where = f"{endpoint.host}:{endpoint.port}/{endpoint.database}"
        return f"postgresql+{self._driver}://{user}:{password}@{where}"

    def _pip(self, *arguments: str) -> None:
        _must([str(self._python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", *arguments])

    def _fetch_requirements(self) -> None:
        with tempfile.TemporaryDirectory(prefix="gatehouse-suite-") as folder:
            self._pip("download", "--no-deps", "--no-binary", ":all:", "-d", folder, f"sqlalchemy=={SQLALCHEMY}")
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                name = next(name for name in tar.getnames() if re.fullmatch(r"[^/]+/test/requirements\.py", name))
                member = tar.extractfile(name)
                assert member is not None
                (self._home / "dialect_requirements.py").write_bytes(member.read())


def _read_report(report: Path) -> dict[str, Outcome]:
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        # The class is named after driver and server, as in `TextTest_postgresql+psycopg_18_6`.
        place = case.get("classname", "").rpartition(".")[2].split("_postgresql")[0]
        outcomes[f"{place}.{case.get('name')}"] = _outcome(case)
    return outcomes


def _outcome(case: ElementTree.Element) -> Outcome:
    for child, outcome in (("error", Outcome.ERROR), ("failure", Outcome.FAILED), ("skipped", Outcome.SKIPPED)):
        if case.find(child) is not None:
            return outcome
    return Outcome.PASSED


def _must(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SuiteUnavailable(f"{' '.join(command[:4])} … failed: {(done.stderr or done.stdout).strip()[-400:]}")
