"""Read a file of many tenants one by one: 100,000 of them take little more memory than what is kept of each.

There is never a tree of the whole file, and equal entries are one object. While the file is read, what is wrong is noted
by its path; only then is it read once more, for lines and columns. Files of an unusual form, such as one that merges all
its tenants from elsewhere, are read whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter, ValidationError

from proxy.settings.explain import Finding, explain
from proxy.settings.masking import secret_spans
from proxy.settings.names import Invalid, validate_tenant_id
from proxy.settings.paths import FromFile
from proxy.settings.places import TenantEntry
from proxy.settings.problems import InvalidConfiguration, Problem, SourceText, Span
from proxy.settings.yaml_nodes import MAX_SLOW, Composer, MappingNode, Node, ScalarNode, syntax_problem
from proxy.settings.yaml_tree import Converter, Document, decode, find, is_merge, line_of, problem_at, read_content

Pause = Callable[[], None]
"""Called between tenants by what goes through all of them: a thread that gives way to the event loop there."""

_ENTRY: Final = TypeAdapter(TenantEntry)
_MAX_SHARED: Final = 10_000
_OTHER_ENCODINGS: Final = (b"\xff\xfe", b"\xfe\xff")


def no_pause() -> None:
    """Go on."""


class TenantsFile:
    """One file of tenants, called `name` in messages. Raises InvalidConfiguration for one that can not be parsed.

    `known` are the tenants of a load before: an entry that is equal to the one there is that object.
    """

    def __init__(
        self, path: Path, name: str, context: FromFile, known: Mapping[str, TenantEntry], pause: Pause = no_pause
    ) -> None:
        self._name = name
        self._pause = pause
        self._content = read_content(path, name)
        self._document: Document | None = None
        self._is_wrapped = False
        self._findings: list[Finding] = []
        try:
            self._intake = self._read(_Intake(context, known))
        except _Unusual:
            self._intake = self._read_whole(_Intake(context, known))

    @property
    def entries(self) -> dict[str, TenantEntry]:
        """The tenants that are good."""
        return self._intake.entries

    @property
    def misnamed(self) -> dict[str, TenantEntry]:
        """Those of which nothing but the id is wrong."""
        return self._intake.misnamed

    @property
    def bad(self) -> Set[str]:
        """The ids of those that are not good; `misnamed` included."""
        return self._intake.bad

    def declares(self, tenant_id: str) -> bool:
        """Is there a tenant of this id, good or not?"""
        return tenant_id in self._intake.entries or tenant_id in self._intake.bad

    def problems(self, findings: Iterable[Finding] = ()) -> list[Problem]:
        """All that is wrong with the file; `findings` are others', with paths such as ("tenants", "acme", "tier")."""
        found = [*self._findings, *self._intake.findings, *findings]
        if self._document is None:
            return self._located(found) if found or self._intake.has_troubles else []
        document, at = self._document, ("tenants",) if self._is_wrapped else ()
        return document.problems + [
            document.problem((*at, *each.path[1:]), each.message, each.hint, at_key=each.at_key) for each in found
        ]

    def _read(self, intake: _Intake) -> _Intake:
        converter = Converter()
        try:
            for tenant in self._stream():
                for tenant_id, data in converter.convert(tenant).items():
                    intake.take(tenant_id, data)
                self._pause()
        except (yaml.YAMLError, RecursionError) as error:
            text = decode(self._content, self._name)
            if len(text) <= MAX_SLOW:
                raise _Unusual from None
            source = SourceText(self._name, text.splitlines())
            raise InvalidConfiguration([syntax_problem(text, source, error)]) from None
        intake.has_troubles = bool(converter.troubles or intake.repeated)
        return intake

    def _stream(self) -> Iterator[MappingNode]:
        """Each tenant as a mapping of its id alone. Raises YAMLError, RecursionError, and _Unusual even at the end."""
        if self._content.startswith(_OTHER_ENCODINGS):
            raise _Unusual
        composer = Composer(self._content)
        _begin(composer.root())
        first = composer.next()
        is_wrapped = isinstance(first, ScalarNode) and first.value == "tenants"
        if is_wrapped:
            _begin(composer.next())
            first = composer.next()
        for key, value in composer.pairs(first):
            # With a placement it was a tenant called tenants.
            if is_merge(key) or (is_wrapped and isinstance(key, ScalarNode) and key.value == "placement"):
                raise _Unusual
            yield MappingNode(key, (key, value))
        if is_wrapped and not isinstance(composer.next(), yaml.MappingEndEvent):
            raise _Unusual
        composer.end()

    def _located(self, findings: Iterable[Finding]) -> list[Problem]:
        """The problems of a file that was not read whole."""
        wanted: dict[str | int, list[Finding]] = {}
        for finding in findings:
            wanted.setdefault(finding.path[1], []).append(finding)
        repeated: dict[str, int] = {}
        converter = Converter()
        secrets: set[Span] = set()  # what has an anchor comes again
        places: list[tuple[Node, Finding]] = []
        for tenant in self._stream():
            self._pause()
            secrets.update(secret_spans(tenant))
            for tenant_id in converter.convert(tenant):
                key = tenant.pairs[0][0]
                if tenant_id in repeated:
                    converter.repeat(key, tenant_id, repeated[tenant_id])
                elif tenant_id in self._intake.repeated:
                    repeated[tenant_id] = line_of(key)
                here = wanted.pop(tenant_id, ())
                places.extend((find(tenant, each.path[1:])[not each.at_key], each) for each in here)
        source = SourceText(self._name, decode(self._content, self._name).splitlines(), tuple(secrets))
        problems = [trouble.problem(source) for trouble in converter.troubles]
        return problems + [problem_at(node, source, each.message, each.hint) for node, each in places]

    def _read_whole(self, intake: _Intake) -> _Intake:
        self._document = Document(self._name, decode(self._content, self._name))
        data = self._document.data
        self._is_wrapped = isinstance(data, dict) and list(data) == ["tenants"] and not _is_entry(data["tenants"])
        tenants = data["tenants"] if self._is_wrapped else data
        if not isinstance(tenants, dict):
            # Nothing at all is what a file looks like while it is being rewritten.
            message = "expected a mapping of tenant ids to entries"
            self._findings.append(Finding(("tenants",), message, "Write {} for no tenants."))
            return intake
        for tenant_id, entry in tenants.items():
            intake.take(tenant_id, entry)
            self._pause()
        return intake


class _Unusual(Exception):
    """The file is to be read as a whole."""


class _Intake:
    """Tenants as they are read, one after the other."""

    def __init__(self, context: FromFile, known: Mapping[str, TenantEntry]) -> None:
        self.entries: dict[str, TenantEntry] = {}
        self.misnamed: dict[str, TenantEntry] = {}
        self.bad: set[str] = set()
        self.repeated: set[str] = set()
        self.findings: list[Finding] = []
        self.has_troubles = False
        self._context = context
        self._known = known
        self._shared: dict[Hashable, TenantEntry] = {}

    def take(self, tenant_id: str, data: Any) -> None:
        """Check one and keep it."""
        if tenant_id in self.entries or tenant_id in self.bad:
            self.repeated.add(tenant_id)
            return
        is_misnamed = self._is_misnamed(tenant_id)
        entry = self._entry(tenant_id, data)
        if entry is None or is_misnamed:
            self.bad.add(tenant_id)
        if entry is not None:
            # Interned: the next load has the same strings.
            (self.misnamed if is_misnamed else self.entries)[sys.intern(tenant_id)] = entry

    def _is_misnamed(self, tenant_id: str) -> bool:
        try:
            validate_tenant_id(tenant_id)
        except Invalid as error:
            self.findings.append(Finding(("tenants", tenant_id), str(error), error.hint, at_key=True))
            return True
        return False

    def _entry(self, tenant_id: str, data: Any) -> TenantEntry | None:
        form = _form(data)
        entry = self._shared.get(form)
        if entry is None:
            try:
                entry = _ENTRY.validate_python(data, context=self._context, by_alias=True, by_name=False)
            except ValidationError as error:
                for each in error.errors(include_url=False):
                    each["loc"] = ("tenants", tenant_id, *each["loc"])
                    self.findings.extend(explain([each]))
                return None
        known = self._known.get(tenant_id)
        if known is not None and known == entry:
            entry = known
        if form is not None and len(self._shared) < _MAX_SHARED:
            self._shared[form] = entry
        return entry


def _form(data: Any) -> Hashable:
    """What equal entries have in common; None for one that can not be like another."""
    try:
        placement = data["placement"]
        if "schema" in placement:
            return None
        form = (tuple(placement.items()), *(item for item in data.items() if item[0] != "placement"))
        hash(form)
    except (AttributeError, KeyError, TypeError):
        return None
    return form


def _begin(event: yaml.Event | None) -> None:
    """Go into a mapping. Raises _Unusual where there is none, or one that may be referred to."""
    if not isinstance(event, yaml.MappingStartEvent) or event.anchor is not None:
        raise _Unusual


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "placement" in value
