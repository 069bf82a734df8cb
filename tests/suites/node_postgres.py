"""The integration test files of node-postgres (`packages/pg/test/integration`), each run by node as its Makefile does.

The npm package comes without its tests, so the source tree is needed: a folder the user names, or the archive of a
pinned commit. A file passes when node ends with 0. They run on a copy of `packages/pg`, with its dependencies from npm.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import urllib.request
from pathlib import Path
from typing import Final

from tests.suites.results import Outcome, Results
from tests.suites.targets import Endpoint
from tests.suites.unavailable import SuiteUnavailable

COMMIT: Final = "c9e57617bc92c2ded23a75345f50eadc527bd131"
ARCHIVE: Final = f"https://codeload.github.com/brianc/node-postgres/tar.gz/{COMMIT}"
PACKAGE: Final = Path("packages", "pg")
FETCH_TIMEOUT_S: Final = 30.0
FILE_TIMEOUT_S: Final = 60.0


class NodePostgres:
    """The suite, built below `cache`."""

    name = "node-postgres, integration files"

    def __init__(self, cache: Path, tree: Path | None) -> None:
        """`tree` is a checkout; None fetches one."""
        self._home = cache / "node-postgres"
        self._tree = tree
        self.version = ""

    def prepare(self) -> None:
        """Copy and install; raises `SuiteUnavailable` with what to do."""
        if shutil.which("node") is None or shutil.which("npm") is None:
            raise SuiteUnavailable("node and npm are not here: install Node.js 16 or later")
        source = (self._tree or _fetched(self._home / "source")) / PACKAGE
        if not (source / "test" / "integration").is_dir():
            raise SuiteUnavailable(f"{source} has no test/integration: name the root of a checkout of node-postgres")
        work = self._home / "pg"
        for part in ("lib", "test"):
            shutil.rmtree(work / part, ignore_errors=True)
            shutil.copytree(source / part, work / part)
        self.version = _install(source, work)

    def run(self, endpoint: Endpoint, log: Path) -> Results:
        """Run every file, one after the other; what they print goes to `log`."""
        work = self._home / "pg"
        outcomes = {}
        with log.open("wb") as sink:
            for path in sorted((work / "test" / "integration").rglob("*-tests.js")):
                name = str(path.relative_to(work / "test" / "integration"))
                sink.write(f"\n=== {name}\n".encode())
                sink.flush()
                outcomes[name] = _outcome(path, work, endpoint, sink.fileno())
        return Results(outcomes)

    def statements(self, endpoint: Endpoint) -> list[str]:
        """What the superuser must run in the fresh database: nothing."""
        del endpoint
        return []


def _outcome(path: Path, work: Path, endpoint: Endpoint, log: int) -> Outcome:
    where = {
        "PGHOST": endpoint.host,
        "PGPORT": str(endpoint.port),
        "PGUSER": endpoint.user,
        "PGPASSWORD": endpoint.password,
        "PGDATABASE": endpoint.database,
        "PGTESTNOSSL": "true",
    }
    try:
        done = subprocess.run(
            ["node", str(path)],
            cwd=work,
            env={**_environment(), **where},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=FILE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        os.write(log, b"no end within the time limit\n")
        return Outcome.FAILED
    return Outcome.PASSED if done.returncode == 0 else Outcome.FAILED


def _environment() -> dict[str, str]:
    """Ours without libpq's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _fetched(target: Path) -> Path:
    found = target / f"node-postgres-{COMMIT}"
    if found.is_dir():
        return found
    try:
        with urllib.request.urlopen(ARCHIVE, timeout=FETCH_TIMEOUT_S) as answer:
            archive = answer.read()
    except OSError as error:
        raise SuiteUnavailable(
            f"its source could not be fetched ({error}): clone it and name the folder with --node-postgres"
        ) from error
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(target, filter="data")
    return found


def _install(source: Path, work: Path) -> str:
    """Install what the tests need, and none of the package's other tools; gives the package's version."""
    package = json.loads((source / "package.json").read_text())
    needed = {name: package["devDependencies"][name] for name in ("async", "bluebird", "co", "pg-copy-streams")}
    reduced = {
        "name": "pg",
        "version": package["version"],
        "private": True,
        "dependencies": {**package["dependencies"], **needed},
    }
    manifest, stamp = json.dumps(reduced, indent=2), work / ".installed"
    if not stamp.exists() or stamp.read_text() != manifest:
        (work / "package.json").write_text(manifest)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode != 0:
            raise SuiteUnavailable(f"npm could not install its dependencies: {done.stderr.strip()[-400:]}")
        stamp.write_text(manifest)
    return str(package["version"])
