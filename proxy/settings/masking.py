"""Where a configuration file may hold a secret that should not be there, so that no message shows it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Final

from proxy.settings.names import is_environment_name
from proxy.settings.problems import Span
from proxy.settings.yaml_nodes import Node, ScalarNode, SequenceNode

_KEYS: Final = ("password", "secret", "scram", "token")
_PARTS: Final = ("pass", "pwd", "secret", "scram", "token", "verifier", "credential", "api_key", "apikey")
_CLOSE: Final = 0.7
_SOURCES: Final = frozenset({"file", "vault"})


def secret_spans(root: Node) -> Iterator[Span]:
    """Where secrets may be: all there is below a key that reads like one, but for names of sources."""
    seen: set[tuple[int, bool]] = set()
    todo: list[tuple[Node, bool]] = [(root, False)]
    while todo:
        node, is_secret = todo.pop()
        if isinstance(node, ScalarNode):
            if is_secret and node.start_mark is not None and node.end_mark is not None:
                begin, end = node.start_mark, node.end_mark
                yield Span(begin.line, begin.column, end.line, end.column)
        elif (id(node), is_secret) not in seen:
            seen.add((id(node), is_secret))
            todo.extend(_below(node, is_secret))


def _below(node: Node, is_secret: bool) -> Sequence[tuple[Node, bool]]:
    if isinstance(node, SequenceNode):
        return [(item, is_secret) for item in node.items]
    below: list[tuple[Node, bool]] = []
    for key, value in () if isinstance(node, ScalarNode) else node.pairs:
        name = key.value if isinstance(key, ScalarNode) else ""
        if is_secret and isinstance(value, ScalarNode) and is_source(name, value.value):
            continue
        below.append((value, is_secret or reads_like_secret(name)))
        if is_secret and name not in _KEYS:
            below.append((key, True))
    return below


def is_source(key: str, value: object) -> bool:
    """Does this entry of a secret say where it is kept, without being one?"""
    return isinstance(value, str) and (key in _SOURCES or (key == "env" and is_environment_name(value)))


@lru_cache(maxsize=1000)
def reads_like_secret(key: str) -> bool:
    """Could this key, possibly mistyped, hold a secret?"""
    word = key.lower()
    if any(part in word for part in _PARTS) or "pw" in word.split("_"):
        return True
    return bool(difflib.get_close_matches(word, [*filter(partial(_may_be_close, word), _KEYS)], n=1, cutoff=_CLOSE))


def _may_be_close(word: str, key: str) -> bool:
    """False where there are too few letters of `key`; difflib takes 20 times as long, and ids of tenants are many."""
    return 2 * sum(letter in key for letter in word) >= _CLOSE * (len(word) + len(key))
