"""Programs in other languages that use their own drivers: fetched and built once, run for all tenants at a time.

A language has a folder beside this file with sources and a manifest that pins its packages. They are copied to
`.cache/drivers` and built there. A program finds PGHOST and its kin in its environment, and

- PGOPTIONS: straight on PostgreSQL, the tenant's context; a program puts its own options behind it,
- TENANT: the tenant's name; ITEMS: what its table `orders` holds, a list in JSON,
- WAY: how it gets to PostgreSQL, one of `WAYS`.

It prints a line of JSON for each of its checks: {"check": name, "ok": true or false, "detail": text}. A check that
fails straight on PostgreSQL, where it is run with the slow tests, is wrong itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.cli.demo.binaries import clean_environment
from tests.drivers.places import PLACEMENTS, SAMPLES, Place

DIRECTLY, FEW_SERVERS, ONE_SERVER = WAYS = ("directly", "few servers", "one server")

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "drivers"
BUILD_TIMEOUT_S = 110
RUN_TIMEOUT_S = 240
FIRST_TIMEOUT_S = 600
"""Whichever test is the first fetches, builds and runs."""

Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Language:
    """How programs of a language come to be: commands run in a copy of its folder."""

    folder: str
    tools: tuple[str, ...]
    manifest: tuple[str, ...]
    """What names the packages: a change of it starts in a new folder."""

    fetch: tuple[Command, ...]
    """Bring the packages; what fails here skips the tests, for it is the network most of the time."""

    build: tuple[Command, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """For these commands, besides our own."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one run for one tenant printed."""

    by_check: Mapping[str, Mapping[str, object]]
    rest: str
    """What it printed besides, and on stderr."""

    def expect(self, check: str) -> None:
        """Fail unless the check was run and went well."""
        outcome = self.by_check.get(check)
        if outcome is None:
            pytest.fail(f"the program did not get to it:\n{self.rest}", pytrace=False)
        if not outcome["ok"]:
            pytest.fail(f"{outcome['detail']}\n{self.rest}", pytrace=False)


@dataclass
class Runs:
    """A language's programs, each run once per way when its first check is asked for."""

    language: Language
    request: pytest.FixtureRequest
    _outcomes: dict[tuple[Command, str], dict[str, Outcomes]] = field(default_factory=dict)
    _home: Path | None = None

    def expect(self, command: Command, way: str, tenant: str, check: str) -> None:
        """Fail unless the program's check went well; skip if the program can not be had on this machine."""
        if self._home is None:
            self._home = prepared(self.language)
        if (command, way) not in self._outcomes:
            proxy = self.request.getfixturevalue("narrow" if way == ONE_SERVER else "gatehouse")
            places = [Place(SAMPLES[name], proxy) for name in PLACEMENTS]
            self._outcomes[command, way] = run(command, self._home, places, way)
        self._outcomes[command, way][tenant].expect(check)


def checks_of(
    source: str, known: Mapping[str, str] | None = None, slow: Collection[str] = (DIRECTLY,)
) -> pytest.MarkDecorator:
    """Parametrise a test by each way, tenant and check of a program.

    `known`: reasons why checks fail through Gatehouse. `slow`: ways that run with the slow tests only.
    """
    text = (HERE / source).read_text()
    names = [name for _, name in re.findall(r"""^\s*check\(\s*(["'])(.+?)\1""", text, re.MULTILINE)]
    assert len(names) == len(set(names)) > 0, f"checks of {source}"
    return pytest.mark.parametrize(
        ("way", "tenant", "check"),
        [
            pytest.param(way, tenant, name, marks=_marks(way, name, known or {}, slow))
            for way in WAYS
            for tenant in PLACEMENTS
            for name in names
        ],
    )


def _marks(way: str, name: str, known: Mapping[str, str], slow: Collection[str]) -> list[pytest.MarkDecorator]:
    marks = [pytest.mark.timeout(FIRST_TIMEOUT_S)]
    if way in slow:
        marks.append(pytest.mark.slow)
    if way != DIRECTLY and name in known:
        marks.append(pytest.mark.xfail(strict=True, reason=known[name]))
    return marks


def prepared(language: Language) -> Path:
    """The folder with the language's programs, ready to run; skips the test if they can not be had."""
    for tool in language.tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine")
    source = HERE / language.folder
    home = CACHE / f"{language.folder}-{_digest(source / name for name in language.manifest)}"
    home.mkdir(parents=True, exist_ok=True)
    sources = [path for path in sorted(source.rglob("*")) if path.is_file()]
    for path in sources:
        _copy(path, home / path.relative_to(source))
    environment = {**os.environ, **language.environment}
    _once(home, "fetched", "", language.fetch, environment, is_network=True)
    _once(home, "built", _digest(sources), language.build, environment, is_network=False)
    return home


def _copy(source: Path, target: Path) -> None:
    """Files that are the same are left alone, for build tools that go by time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _once(
    home: Path, name: str, key: str, commands: Iterable[Command], environment: Mapping[str, str], *, is_network: bool
) -> None:
    stamp = home / f".{name}"
    if stamp.exists() and stamp.read_text() == key:
        return
    for command in commands:
        try:
            done = subprocess.run(
                command,
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=BUILD_TIMEOUT_S,
            )
            problem = "" if done.returncode == 0 else (done.stderr + done.stdout)[-1500:]
        except subprocess.TimeoutExpired:
            problem = f"not finished after {BUILD_TIMEOUT_S} s"
        if problem and is_network:
            pytest.skip(f"`{' '.join(command)}` could not bring the packages: {problem}")
        if problem:
            pytest.fail(f"`{' '.join(command)}` failed:\n{problem}", pytrace=False)
    stamp.write_text(key)


def run(command: Command, home: Path, places: Iterable[Place], way: str) -> dict[str, Outcomes]:
    """Run a program for several tenants at the same time, so that they meet on their servers."""
    processes = {place.name: _start(command, home, place, way) for place in places}
    return {tenant: _outcomes(process) for tenant, process in processes.items()}


def _start(command: Command, home: Path, place: Place, way: str) -> subprocess.Popen[str]:
    where = place.environment_directly() if way == DIRECTLY else place.environment()
    environment = {
        name: value for name, value in clean_environment({}).items() if name not in ("PYTHONPATH", "NODE_OPTIONS")
    }
    environment |= where | {"TENANT": place.name, "ITEMS": json.dumps(sorted(place.items)), "WAY": way}
    return subprocess.Popen(
        command,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _outcomes(process: subprocess.Popen[str]) -> Outcomes:
    try:
        output, errors = process.communicate(timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        errors += f"\nnot finished after {RUN_TIMEOUT_S} s"
    by_check: dict[str, Mapping[str, object]] = {}
    rest = []
    for line in output.splitlines():
        if line.startswith('{"check"'):
            outcome = json.loads(line)
            by_check[outcome["check"]] = outcome
        else:
            rest.append(line)
    return Outcomes(by_check, "\n".join([*rest[-30:], errors[-2000:]]).strip())
