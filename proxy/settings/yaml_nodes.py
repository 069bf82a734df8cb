"""YAML text as a tree of nodes that know their place, whole or one branch at a time.

A scalar is the parser's own event, which has all there is to know; lists and mappings are thin. libyaml is ten times as
fast as PyYAML's own parser, which gives the better messages, so that one is asked when something is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import yaml
from yaml.composer import ComposerError

from proxy.settings.problems import InvalidConfiguration, Problem, SourceText

TOO_DEEP: Final = "lists and mappings are nested too deeply"

ScalarNode: TypeAlias = yaml.ScalarEvent

_FAST: Final[type[Any]] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_NOT_PRINTABLE: Final = yaml.reader.Reader.NON_PRINTABLE
MAX_SLOW: Final = 1 << 20
"""Characters of a text that PyYAML's own parser gets to see: it takes 5 s for as many."""


class SequenceNode:
    """A list."""

    __slots__ = ("anchor", "items", "start_mark")

    def __init__(self, start: yaml.SequenceStartEvent) -> None:
        self.anchor: str | None = start.anchor
        self.start_mark: Any = start.start_mark
        self.items: list[Node] = []


class MappingNode:
    """A mapping: its keys and values in their order, repeated keys and merges included."""

    __slots__ = ("anchor", "pairs", "start_mark")

    def __init__(self, start: yaml.MappingStartEvent | Node, *pairs: tuple[Node, Node]) -> None:
        self.anchor: str | None = start.anchor
        self.start_mark: Any = start.start_mark
        self.pairs = list(pairs)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


class Composer:
    """Makes nodes of a text's events. What an anchor stands for is known until the end; other nodes are not kept.

    Raises YAMLError from everywhere.
    """

    def __init__(self, text: str | bytes, loader: type[Any] = _FAST) -> None:
        self.next: Callable[[], yaml.Event] = loader(text).get_event
        self._anchors: dict[str, Node] = {}
        self.next()

    def root(self) -> yaml.Event | None:
        """The first event of the only document; None if there is none."""
        event = self.next()
        return None if isinstance(event, yaml.StreamEndEvent) else self.next()

    def end(self) -> None:
        """Take what is behind the document, which must be nothing."""
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _refused("expected a single document in the stream", None, "but found another document", event)

    def node(self, event: yaml.Event) -> Node:
        """The node that begins with this event, all of it."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.anchor is not None:  # type: ignore[attr-defined]
                self._remember(event)  # type: ignore[arg-type]
            return event  # type: ignore[return-value]
        if kind is yaml.MappingStartEvent:
            mapping = MappingNode(event)  # type: ignore[arg-type]
            if mapping.anchor is not None:
                self._remember(mapping)
            mapping.pairs.extend(self.pairs())
            return mapping
        if kind is yaml.SequenceStartEvent:
            return self._sequence(event)  # type: ignore[arg-type]
        return self._anchored(event)  # type: ignore[arg-type]

    def pairs(self, event: yaml.Event | None = None) -> Iterator[tuple[Node, Node]]:
        """The keys and values of a mapping that has begun, one after the other, to its end.

        `event` is what follows the beginning, if it was taken already.
        """
        following, node = self.next, self.node
        if event is None:
            event = following()
        while type(event) is not yaml.MappingEndEvent:
            key = node(event)
            yield key, node(following())
            event = following()

    def _sequence(self, event: yaml.SequenceStartEvent) -> SequenceNode:
        sequence = SequenceNode(event)
        if sequence.anchor is not None:
            self._remember(sequence)
        while type(event := self.next()) is not yaml.SequenceEndEvent:  # type: ignore[assignment]
            sequence.items.append(self.node(event))
        return sequence

    def _remember(self, node: Node) -> None:
        assert node.anchor is not None
        first = self._anchors.setdefault(node.anchor, node)
        if first is not node:
            raise _refused(
                f"found duplicate anchor {node.anchor!r}; first occurrence", first, "second occurrence", node
            )

    def _anchored(self, event: yaml.AliasEvent) -> Node:
        assert event.anchor is not None
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _refused(None, None, f"found undefined alias {event.anchor!r}", event)
        return node


def _refused(context: str | None, first: Any, problem: str, second: Any) -> ComposerError:
    return ComposerError(context, first and first.start_mark, problem, second.start_mark)


def compose(text: str, source: SourceText) -> Node:
    """The whole tree; raises InvalidConfiguration."""
    try:
        root = _compose(text, _FAST)
    except (yaml.YAMLError, RecursionError) as error:
        root = _compose_slowly(text, source, error)
    if root is None:
        raise InvalidConfiguration([Problem("the file holds nothing but comments", source=source)])
    return root


def syntax_problem(text: str, source: SourceText, error: yaml.YAMLError | RecursionError) -> Problem:
    """What is wrong with a text that a parser gave up on."""
    if isinstance(error, RecursionError):
        return Problem(TOO_DEEP, source=source)
    if found := _NOT_PRINTABLE.search(text):
        # libyaml counts bytes here.
        line = text.count("\n", 0, found.start())
        column = found.start() - text.rfind("\n", 0, found.start()) - 1
        return Problem(f"the character U+{ord(found[0]):04X} is not allowed in YAML", None, source, line, column)
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(f"YAML: {error}", source=source)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return Problem(_syntax(error), None, source, min(line, len(source.lines) - 1), column)


def _compose(text: str, loader: type[Any]) -> Node | None:
    composer = Composer(text, loader)
    event = composer.root()
    if event is None:
        return None
    node = composer.node(event)
    composer.end()
    return node


def _compose_slowly(text: str, source: SourceText, error: yaml.YAMLError | RecursionError) -> Node | None:
    if len(text) <= MAX_SLOW:
        try:
            return _compose(text, yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError) as better:
            error = better
    raise InvalidConfiguration([syntax_problem(text, source, error)]) from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "invalid YAML"
    if isinstance(error, ComposerError) and "alias" in problem:
        # Its text holds the alias' name, which may be a password that begins with *.
        return "YAML: this alias stands for nothing; quote text that begins with *"
    if "alphabetic or numeric" in problem:
        return "YAML: text that begins with * or & must be quoted"
    if r"found character '\t'" in problem:
        return "YAML: a tab can not stand here; indent with spaces"
    if "cannot start any token" in problem:
        return "YAML: text that begins with this character must be quoted"
    if "mapping values are not allowed" in problem:
        return "YAML: a colon is not allowed here; check the indentation, and quote text that holds a colon"
    if "expected a single document" in f"{error.context} {problem}":
        return "YAML: a second document begins here; only one can be used"
    return f"YAML: {problem}"
