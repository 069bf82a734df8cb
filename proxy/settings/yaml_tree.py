"""A YAML file as plain data in which every value still knows its line.

Scalars follow YAML 1.2's core schema: only true and false are booleans (`no` is Norway, `off` a word), `22:22` and
`0777` are text. Keys are always text. Duplicate keys, unknown tags and aliases that hold themselves are problems.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from proxy.settings.masking import secret_spans
from proxy.settings.problems import InvalidConfiguration, Problem, SourceText
from proxy.settings.yaml_nodes import TOO_DEEP, MappingNode, Node, ScalarNode, SequenceNode, compose

KeyPath: TypeAlias = tuple[str | int, ...]

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]*(?:[eE][-+]?[0-9]+)?")
_NULLS: Final = ("~", "null", "Null", "NULL", "")
_BOOLEANS: Final = ("true", "True", "TRUE", "false", "False", "FALSE")
_MAX_WORDS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong with the form of a file."""

    node: Node
    message: str
    hint: str | None = None

    def problem(self, source: SourceText) -> Problem:
        """The same with the file's lines."""
        return problem_at(self.node, source, self.message, self.hint)


def problem_at(node: Node, source: SourceText, message: str, hint: str | None = None) -> Problem:
    """A problem with what stands where `node` begins."""
    mark = node.start_mark
    assert mark is not None
    return Problem(message, hint, source, mark.line, mark.column)


def find(root: Node, path: KeyPath) -> tuple[Node, Node]:
    """The key and the value at `path`, or as near as there is something."""
    key, value = root, root
    for step in path:
        found = child(value, step)
        if found is None:
            break
        key, value = found
    return key, value


class Converter:
    """Turns nodes into data, and collects what is wrong with them."""

    def __init__(self) -> None:
        self.troubles: list[Trouble] = []
        self._words: dict[str, str] = {}
        self._open: set[int] = set()
        self._done: dict[int, Any] = {}

    def convert(self, node: Node) -> Any:
        """The data of a node; None for what is wrong. Raises RecursionError."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        # Only what has an anchor can come again.
        return self._collection(node) if node.anchor is None else self._anchored(node)

    def repeat(self, key: Node, text: str, line: int) -> None:
        """Complain that the key stands in this line, counted from 0, already."""
        self.troubles.append(Trouble(key, f'duplicate key "{text}", first in line {line + 1}'))

    def _anchored(self, node: Node) -> Any:
        if id(node) in self._open:
            self.troubles.append(Trouble(node, "this value holds itself by an alias"))
            return None
        if id(node) in self._done:
            return self._done[id(node)]
        self._open.add(id(node))
        value = self._done[id(node)] = self._collection(node)
        self._open.remove(id(node))
        return value

    def _collection(self, node: Node) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node)
        assert isinstance(node, SequenceNode)
        return [self.convert(item) for item in node.items]

    def _mapping(self, node: MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        first: dict[str, Node] = {}
        for key, value in node.pairs:
            if is_merge(key):
                self._merge(value, merged)
            elif not isinstance(key, ScalarNode):
                self.troubles.append(Trouble(key, "a key must be plain text", "Quote text that begins with { or [."))
            elif (text := key.value) in first:
                self.repeat(key, text, line_of(first[text]))
            else:
                first[text] = key
                own[self._word(text)] = self.convert(value)
        return merged | own if merged else own

    def _merge(self, node: Node, into: dict[str, Any]) -> None:
        data = self.convert(node)
        parts = data if isinstance(data, list) else [data]
        if not all(isinstance(part, dict) for part in parts):
            self.troubles.append(Trouble(node, "only mappings can be merged with <<"))
            return
        for part in reversed(parts):
            into.update(part)

    def _scalar(self, node: ScalarNode) -> Any:
        text = node.value
        match _tag(node):
            case "str" | "merge":
                return self._word(text)
            case "null" if text in _NULLS:
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text):
                return int(text, 0)
            case "float" if _FLOAT.fullmatch(text) or _INT.fullmatch(text):
                return float(text)
        self.troubles.append(Trouble(node, "this tag can not be used here", "Write the value without a tag."))
        return None

    def _word(self, text: str) -> str:
        # Tenants repeat the same few keys and names: one object each.
        if len(self._words) < _MAX_WORDS:
            return self._words.setdefault(text, text)
        return self._words.get(text, text)


def is_merge(key: Node) -> bool:
    """Is this the key <<?"""
    return isinstance(key, ScalarNode) and key.value == "<<" and _tag(key) == "merge"


def line_of(node: Node) -> int:
    """The line a node begins in, counted from 0."""
    assert node.start_mark is not None
    return node.start_mark.line


def _tag(node: ScalarNode) -> str:
    """The short form of a scalar's tag, by its form where it has none."""
    if node.tag is not None and node.tag != "!":
        return node.tag.removeprefix(_TAG)
    text = node.value
    if not node.implicit[0]:
        return "str"
    if text in _NULLS:
        return "null"
    if text in _BOOLEANS:
        return "bool"
    if text[0] in "-+0123456789":
        if _INT.fullmatch(text):
            return "int"
        return "float" if _FLOAT.fullmatch(text) else "str"
    return "merge" if text == "<<" else "str"


class Document:
    """A parsed file: `data` is what it holds, `problems` what is wrong with its form, `problem()` points into it."""

    def __init__(self, name: str, text: str) -> None:
        lines = text.splitlines()
        self._root = compose(text, SourceText(name, lines))
        self.source = SourceText(name, lines, tuple(secret_spans(self._root)))
        converter = Converter()
        try:
            self.data = converter.convert(self._root)
        except RecursionError:
            raise InvalidConfiguration([Problem(TOO_DEEP, source=self.source)]) from None
        self.problems = [trouble.problem(self.source) for trouble in converter.troubles]

    def problem(self, path: KeyPath, message: str, hint: str | None = None, *, at_key: bool = False) -> Problem:
        """A problem with what is found at `path`, or as near as there is something; `at_key` points at its key."""
        key, value = find(self._root, path)
        return problem_at(key if at_key else value, self.source, message, hint)


def read_document(path: Path, name: str) -> Document:
    """Read and parse a file that is called `name` in messages; raises InvalidConfiguration."""
    return Document(name, decode(read_content(path, name), name))


def read_content(path: Path, name: str) -> bytes:
    """What is in a file that is called `name` in messages; raises InvalidConfiguration also for one that is empty."""
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
    return content


def decode(content: bytes, name: str) -> str:
    """The text of a file; raises InvalidConfiguration for one that holds none."""
    source = SourceText(name, ())
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start)
        message = f"line {line + 1} is not UTF-8"
        raise InvalidConfiguration([Problem(message, "Save the file as UTF-8.", source)]) from None
    if not text.strip():
        raise InvalidConfiguration([Problem("the file is empty", source=source)])
    return text


def child(node: Node, step: str | int) -> tuple[Node, Node] | None:
    """The key and the value of one step into a node; an item of a list is its own key."""
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
        return node.items[step], node.items[step]
    if not isinstance(node, MappingNode):
        return None
    for key, value in node.pairs:
        if isinstance(key, ScalarNode) and key.value == step:
            return key, value
    for key, value in node.pairs:
        if is_merge(key):
            parts = value.items if isinstance(value, SequenceNode) else [value]
            for part in parts:
                if found := child(part, step):
                    return found
    return None
