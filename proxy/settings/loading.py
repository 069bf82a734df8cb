"""Read a configuration file, and the tenants file it names, into Settings; or list everything that is wrong.

Problems in one section must not hide those in another: entries that are not good are taken out, and what is left is
checked as a whole.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Collection, Set
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.checks import Declared, check
from proxy.settings.explain import Finding, explain
from proxy.settings.model import Settings
from proxy.settings.paths import FromFile
from proxy.settings.places import TenantEntry
from proxy.settings.problems import InvalidConfiguration, Problem
from proxy.settings.tenants_file import Pause, TenantsFile, no_pause
from proxy.settings.yaml_tree import KeyPath, read_document

_STAND_IN: Final = "gatehouse-stand-in-"
_STANDING_IN: Final = re.compile(f"{_STAND_IN}[0-9]+")
_NAMED: Final = ("endpoints", "clusters", "users", "tiers", "tenants")


def load_settings(path: Path, known: dict[str, TenantEntry] | None = None, pause: Pause = no_pause) -> Settings:
    """The settings in the file `path`; raises InvalidConfiguration, a ConfigError whose text lists all problems.

    Paths in the file are taken relative to it. Secrets are not read, only where they are. `known` are the tenants there
    were: what is equal is taken from there. `pause` is called now and then where there are many tenants.
    """
    return _Load(path, {} if known is None else known, pause).settings()


class _Load:
    """One loading: the two files, and the problems found so far."""

    def __init__(self, path: Path, known: dict[str, TenantEntry], pause: Pause) -> None:
        self._context = FromFile(path.absolute().parent)
        self._known = known
        self._pause = pause
        self._main = read_document(path, str(path))
        self._file: TenantsFile | None = None
        self._filed: list[Finding] = []
        self._problems: list[Problem] = list(self._main.problems)

    def settings(self) -> Settings:
        if not isinstance(self._main.data, dict):
            self._problems.append(self._main.problem((), "the file must hold a mapping, such as clusters: …"))
            raise InvalidConfiguration(self._problems)
        # A section whose lines are all commented out is one that is not there.
        data = {key: value for key, value in self._main.data.items() if value is not None}
        self._read_tenants_file(data)
        settings, errors = self._validate(data)
        self._report(explain(errors))
        stand_ins: dict[str, Any] = {}
        if errors:
            left, stand_ins = _without(data, errors)
            settings, _ = self._validate(left)
        if settings is not None:
            settings = self._with_filed(settings, stand_ins)
            found = check(settings, self._declared(data), self._pause)
            self._report([_in_own_words(finding, stand_ins) for finding in found])
        if self._file is not None:
            self._problems.extend(self._file.problems(self._filed))
        if self._problems or settings is None:
            raise InvalidConfiguration(self._problems)
        return settings

    def _validate(self, data: dict[str, Any]) -> tuple[Settings | None, list[ErrorDetails]]:
        try:
            # Attribute names (wait_timeout_s) are Python's; in a file only keys count.
            settings = Settings.model_validate(data, context=self._context, by_alias=True, by_name=False)
        except ValidationError as error:
            return None, error.errors(include_url=False)
        return settings, []

    def _read_tenants_file(self, data: dict[str, Any]) -> None:
        name = data.get("tenants_file")
        if not isinstance(name, str) or "\0" in name:
            return  # the validation says so
        path = self._context.base / name
        shown = name if Path(name).is_absolute() else str(_shown(path))
        try:
            self._file = TenantsFile(path, shown, self._context, self._known, self._pause)
        except InvalidConfiguration as error:
            self._problems.extend(error.problems)
            self._report([Finding(("tenants_file",), f'the tenants file "{name}" can not be used')])
            return
        for tenant_id in filter(self._file.declares, self._inline()):
            message = f'the tenant "{tenant_id}" is in {self._main.source.name} already'
            self._filed.append(Finding(("tenants", tenant_id), message, at_key=True))

    def _with_filed(self, settings: Settings, stand_ins: dict[str, Any]) -> Settings:
        """The settings with the tenants of the file, those without a good id under another one."""
        if self._file is None:
            return settings
        others = {_stand_in(stand_ins, tenant_id): entry for tenant_id, entry in self._file.misnamed.items()}
        others |= settings.tenants
        tenants = self._file.entries | others if others else self._file.entries
        return settings.model_copy(update={"tenants": self._known if self._are_known(tenants) else tenants})

    def _are_known(self, tenants: dict[str, TenantEntry]) -> bool:
        if len(tenants) != len(self._known):
            return False
        for tenant_id, entry in tenants.items():
            self._pause()
            known = self._known.get(tenant_id)
            if known is not entry and known != entry:
                return False
        return True

    def _inline(self) -> Set[str]:
        tenants = self._main.data.get("tenants")
        return tenants.keys() if isinstance(tenants, dict) else frozenset()

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            if self._file is not None and self._is_filed(finding.path, self._file):
                self._filed.append(finding)
            else:
                problem = self._main.problem(finding.path, finding.message, finding.hint, at_key=finding.at_key)
                self._problems.append(problem)

    def _declared(self, data: dict[str, Any]) -> Declared:
        def names(section: str) -> frozenset[str] | None:
            entries = data.get(section, {})
            return frozenset(entries) if isinstance(entries, dict) else None

        # Not a set of 100,000 ids.
        tenants: Collection[str] | None = names("tenants")
        if self._file is not None and tenants is not None:
            tenants = ChainMap[str, Any]({}, self._file.entries, dict.fromkeys({*self._file.bad, *tenants}))
        elif "tenants_file" in data:
            tenants = None
        return Declared(names("clusters"), names("tiers"), tenants)

    def _is_filed(self, path: KeyPath, file: TenantsFile) -> bool:
        if path[:1] != ("tenants",) or len(path) < 2:
            return False
        return file.declares(str(path[1])) and path[1] not in self._inline()


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
            left[section][_stand_in(stand_ins, rest[0])] = entry
    return left, stand_ins


def _stand_in(stand_ins: dict[str, Any], tenant_id: Any) -> str:
    """Another id for a tenant, noted in `stand_ins`."""
    stand_in = f"{_STAND_IN}{len(stand_ins)}"
    stand_ins[stand_in] = tenant_id
    return stand_in


def _in_own_words(finding: Finding, stand_ins: dict[str, Any]) -> Finding:
    """The finding with the ids that the file has."""

    def own(match: re.Match[str]) -> str:
        return ascii(stand_ins.get(match[0], match[0])).strip("'\"")

    path = tuple(stand_ins.get(step, step) if isinstance(step, str) else step for step in finding.path)
    hint = finding.hint and _STANDING_IN.sub(own, finding.hint)
    return Finding(path, _STANDING_IN.sub(own, finding.message), hint, at_key=finding.at_key)
