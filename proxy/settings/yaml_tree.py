"""A YAML file as plain data in which every value still knows its line.

Scalars follow YAML 1.2's core schema: only true and false are booleans (`no` is Norway, `off` a word), `22:22` and
`0777` are text. Keys are always text. Duplicate keys, unknown tags and aliases that hold themselves are problems.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from proxy.settings.masking import secret_spans
from proxy.settings.problems import InvalidConfiguration, Problem, SourceText

KeyPath: TypeAlias = tuple[str | int, ...]

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = _TAG + "merge"
_TOO_DEEP: Final = "lists and mappings are nested too deeply"
_RESOLVERS: Final = (
    ("null", re.compile(r"~|null|Null|NULL|"), ("~", "n", "N", "")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), tuple("tTfF")),
    ("int", re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})|0o[0-7]+|0x[0-9a-fA-F]+"), tuple("-+0123456789")),
    ("float", re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+]?[0-9]+)?"), tuple("-+0123456789")),
    ("merge", re.compile("<<"), ("<",)),
)


def _core_schema() -> dict[str | None, list[tuple[str, re.Pattern[str]]]]:
    resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}
    for name, pattern, first in _RESOLVERS:
        anchored = re.compile(f"(?:{pattern.pattern})\\Z")
        for char in first:
            resolvers.setdefault(char, []).append((_TAG + name, anchored))
    return resolvers


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _core_schema()


# libyaml is ten times as fast, PyYAML's own parser gives the better messages.
_FAST: Final[type[Any]] = (
    type("_FastLoader", (yaml.CSafeLoader,), {"yaml_implicit_resolvers": _core_schema()})
    if yaml.__with_libyaml__
    else _Loader
)


class Document:
    """A parsed file: `data` is what it holds, `problems` what is wrong with its form, `problem()` points into it."""

    def __init__(self, name: str, text: str) -> None:
        lines = text.splitlines()
        self._root = _compose(text, SourceText(name, lines))
        self.source = SourceText(name, lines, tuple(secret_spans(self._root)))
        self.problems: list[Problem] = []
        self._words: dict[str, str] = {}
        self._open: set[int] = set()
        self._done: dict[int, Any] = {}
        try:
            self.data = self._convert(self._root)
        except RecursionError:
            raise InvalidConfiguration([Problem(_TOO_DEEP, source=self.source)]) from None

    def problem(self, path: KeyPath, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem with what is found at `path`, or as near as there is something; `at_key` points at its key."""
        key, value = self._root, self._root
        for step in path:
            found = _child(value, step)
            if found is None:
                break
            key, value = found
        return self._at(key if at_key else value, message, hint)

    def _at(self, node: yaml.Node, message: str, hint: str | None = None) -> Problem:
        mark = node.start_mark
        return Problem(message, hint, self.source, mark.line, mark.column)

    def _convert(self, node: yaml.Node) -> Any:
        if id(node) in self._open:
            self.problems.append(self._at(node, "this value holds itself by an alias"))
            return None
        if id(node) in self._done:
            return self._done[id(node)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        value = self._mapping(node) if isinstance(node, yaml.MappingNode) else [self._convert(n) for n in node.value]
        self._open.remove(id(node))
        self._done[id(node)] = value
        return value

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        first: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                self._merge(value, merged)
            elif not isinstance(key, yaml.ScalarNode):
                self.problems.append(self._at(key, "a key must be plain text", "Quote text that begins with { or [."))
            elif key.value in first:
                line = first[key.value].start_mark.line + 1
                self.problems.append(self._at(key, f'duplicate key "{key.value}", first in line {line}'))
            else:
                first[key.value] = key
                own[self._word(key.value)] = self._convert(value)
        return merged | own if merged else own

    def _merge(self, node: yaml.Node, into: dict[str, Any]) -> None:
        data = self._convert(node)
        parts = data if isinstance(data, list) else [data]
        if not all(isinstance(part, dict) for part in parts):
            self.problems.append(self._at(node, "only mappings can be merged with <<"))
            return
        for part in reversed(parts):
            into.update(part)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        match node.tag.removeprefix(_TAG):
            case "str" | "merge":
                return self._word(text)
            case "null" if text in ("~", "null", "Null", "NULL", ""):
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _RESOLVERS[2][1].fullmatch(text):
                return int(text, 0)
            case "float" if _RESOLVERS[3][1].fullmatch(text) or _RESOLVERS[2][1].fullmatch(text):
                return float(text)
        self.problems.append(self._at(node, "this tag can not be used here", "Write the value without a tag."))
        return None

    def _word(self, text: str) -> str:
        # 1,000 tenants repeat the same few keys and names: one object each.
        return self._words.setdefault(text, text)


def read_document(path: Path, name: str) -> Document:
    """Read and parse a file that is called `name` in messages; raises InvalidConfiguration."""
    text = _read_text(path, name)
    if not text.strip():
        raise InvalidConfiguration([Problem("the file is empty", source=SourceText(name, ()))])
    return Document(name, text)


def _read_text(path: Path, name: str) -> str:
    source = SourceText(name, ())
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InvalidConfiguration([Problem("no such file", source=source)]) from None
    except IsADirectoryError:
        raise InvalidConfiguration([Problem("this is a directory, not a file", source=source)]) from None
    except PermissionError:
        hint = "The account Gatehouse runs as must be allowed to read it."
        raise InvalidConfiguration([Problem("permission denied", hint, source)]) from None
    except OSError as error:
        raise InvalidConfiguration([Problem(f"can not be read: {error.strerror}", source=source)]) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        message = f"line {line + 1} is not UTF-8"
        raise InvalidConfiguration([Problem(message, "Save the file as UTF-8.", source)]) from None


def _compose(text: str, source: SourceText) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=_FAST)
    except (yaml.YAMLError, RecursionError):
        root = _compose_slowly(text, source)
    if root is None:
        raise InvalidConfiguration([Problem("the file holds nothing but comments", source=source)])
    return root


def _compose_slowly(text: str, source: SourceText) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        problem = Problem(_syntax(error), None, source, min(line, len(source.lines) - 1), column)
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes and PyYAML characters; this one is PyYAML's.
        before = text[: error.position]
        line = before.count("\n")
        message = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        problem = Problem(message, None, source, line, len(before) - before.rfind("\n") - 1)
    except RecursionError:
        problem = Problem(_TOO_DEEP, source=source)
    raise InvalidConfiguration([problem]) from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "invalid YAML"
    if isinstance(error, yaml.composer.ComposerError) and "alias" in problem:
        # Its text holds the alias' name, which may be a password that begins with *.
        return "YAML: this alias stands for nothing; quote text that begins with *"
    if "cannot start any token" in problem:
        return "YAML: text that begins with this character must be quoted"
    if "mapping values are not allowed" in problem:
        return "YAML: a colon is not allowed here; check the indentation, and quote text that holds a colon"
    if "expected a single document" in f"{error.context} {problem}":
        return "YAML: a second document begins here; only one can be used"
    return f"YAML: {problem}"


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value == step:
            return key, value
    for key, value in node.value:
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for part in parts if key.tag == _MERGE else ():
            if found := _child(part, step):
                return found
    return None
