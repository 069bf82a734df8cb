"""Read a configuration file, and the tenants file it names, into Settings; or list everything that is wrong.

Problems in one section must not hide those in another: entries that are not good are taken out, and what is left is
checked as a whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.checks import Declared, check
from proxy.settings.explain import Finding, explain
from proxy.settings.model import Settings
from proxy.settings.paths import FromFile
from proxy.settings.problems import InvalidConfiguration, Problem
from proxy.settings.yaml_tree import Document, read_document

_STAND_IN: Final = "gatehouse-stand-in-"
_STANDING_IN: Final = re.compile(f"{_STAND_IN}[0-9]+")
_NAMED: Final = ("endpoints", "clusters", "users", "tiers", "tenants")


def load_settings(path: Path) -> Settings:
    """The settings in the file `path`; raises InvalidConfiguration, a ConfigError whose text lists all problems.

    Paths in the file are taken relative to it. Secrets are not read, only where they are.
    """
    return _Load(path).settings()


class _Load:
    """One loading: the two files, and the problems found so far."""

    def __init__(self, path: Path) -> None:
        self._base = path.absolute().parent
        self._main = read_document(path, str(path))
        self._file: Document | None = None
        self._filed: dict[str, Any] = {}
        self._is_wrapped = False
        self._problems: list[Problem] = list(self._main.problems)

    def settings(self) -> Settings:
        if not isinstance(self._main.data, dict):
            self._problems.append(self._main.problem((), "the file must hold a mapping, such as clusters: …"))
            raise InvalidConfiguration(self._problems)
        # A section whose lines are all commented out is one that is not there.
        data = {key: value for key, value in self._main.data.items() if value is not None}
        self._add_tenants_file(data)
        settings, errors = self._validate(data)
        self._report(explain(errors))
        stand_ins: dict[str, Any] = {}
        if errors:
            left, stand_ins = _without(data, errors)
            settings, _ = self._validate(left)
        if settings is not None:
            found = check(settings, self._declared(data))
            self._report([_in_own_words(finding, stand_ins) for finding in found])
        if self._problems or settings is None:
            raise InvalidConfiguration(self._problems)
        return settings

    def _validate(self, data: dict[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
        try:
            # Attribute names (wait_timeout_s) are Python's; in a file only keys count.
            settings = Settings.model_validate(data, context=FromFile(self._base), by_alias=True, by_name=False)
        except ValidationError as error:
            return None, error.errors(include_url=False)
        return settings, []

    def _add_tenants_file(self, data: dict[str, Any]) -> None:
        name = data.get("tenants_file")
        if not isinstance(name, str):
            return
        path = self._base / name
        try:
            self._file = read_document(path, name if Path(name).is_absolute() else str(_shown(path)))
        except InvalidConfiguration as error:
            self._problems.extend(error.problems)
            self._report([Finding(("tenants_file",), f'the tenants file "{name}" can not be used')])
            return
        self._problems.extend(self._file.problems)
        self._filed = self._unwrap(self._file)
        inline = data.get("tenants") or {}
        if isinstance(inline, dict):
            data["tenants"] = self._filed | inline
            for tenant_id in self._filed.keys() & inline.keys():
                message = f'the tenant "{tenant_id}" is in {self._main.source.name} already'
                self._problems.append(self._file.problem(self._inside(tenant_id), message, at_key=True))

    def _unwrap(self, document: Document) -> dict[str, Any]:
        data = document.data
        self._is_wrapped = isinstance(data, dict) and list(data) == ["tenants"] and not _is_entry(data["tenants"])
        tenants = data["tenants"] if self._is_wrapped else data
        if isinstance(tenants, dict):
            return tenants
        # Nothing at all is what a file looks like while it is being rewritten.
        message = "expected a mapping of tenant ids to entries"
        self._problems.append(document.problem(("tenants",), message, "Write {} for no tenants."))
        return {}

    def _inside(self, *path: str | int) -> tuple[str | int, ...]:
        return ("tenants", *path) if self._is_wrapped else path

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            document, path = self._main, finding.path
            if self._file is not None and self._is_filed(path):
                document, path = self._file, self._inside(*path[1:])
            self._problems.append(document.problem(path, finding.message, finding.hint, at_key=finding.at_key))

    def _declared(self, data: dict[str, Any]) -> Declared:
        def names(section: str) -> frozenset[str] | None:
            entries = data.get(section, {})
            return frozenset(entries) if isinstance(entries, dict) else None

        is_incomplete = "tenants_file" in data and self._file is None
        return Declared(names("clusters"), names("tiers"), None if is_incomplete else names("tenants"))

    def _is_filed(self, path: tuple[str | int, ...]) -> bool:
        if path[:1] != ("tenants",) or len(path) < 2:
            return False
        inline = self._main.data.get("tenants")
        return path[1] in self._filed and not (isinstance(inline, dict) and path[1] in inline)


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "placement" in value


def _shown(path: Path) -> Path:
    """A path as short as it can be said from the working directory."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _without(data: dict[str, Any], errors: list[ErrorDetails]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data less what has errors: an entry of a named section, or else a whole section.

    A tenant of which nothing but the id is wrong stays under another id, so that the rest of it is checked, too: the second
    result is what stands for which.
    """
    left = {key: dict(value) if key in _NAMED and isinstance(value, dict) else value for key, value in data.items()}
    spoilt = {error["loc"][:2] for error in errors if error["loc"][2:] != ("[key]",)}
    stand_ins: dict[str, Any] = {}
    for error in errors:
        section, *rest = error["loc"]
        if section not in _NAMED or not rest:
            left.pop(str(section), None)
            continue
        entry = left.get(section, {}).pop(rest[0], None)
        if section == "tenants" and entry is not None and error["loc"][:2] not in spoilt:
            stand_in = f"{_STAND_IN}{len(stand_ins)}"
            stand_ins[stand_in] = rest[0]
            left[section][stand_in] = entry
    return left, stand_ins


def _in_own_words(finding: Finding, stand_ins: dict[str, Any]) -> Finding:
    """The finding with the ids that the file has."""

    def own(match: re.Match[str]) -> str:
        return ascii(stand_ins.get(match[0], match[0])).strip("'\"")

    path = tuple(stand_ins.get(step, step) if isinstance(step, str) else step for step in finding.path)
    hint = finding.hint and _STANDING_IN.sub(own, finding.hint)
    return Finding(path, _STANDING_IN.sub(own, finding.message), hint, at_key=finding.at_key)
