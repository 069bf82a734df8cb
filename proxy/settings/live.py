"""What changed between two configurations, and which changes a running proxy can not take on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.settings.model import Settings
from proxy.settings.types import Section, yaml_key

# They are bound when the process starts: sockets, and what every server and session was given.
NEEDS_RESTART: Final = ("listen", "endpoints", "http", "workers", "context")


@dataclass(frozen=True, slots=True)
class Changes:
    """Dotted paths of the keys that differ, sorted; an entry that came or went is one path."""

    live: tuple[str, ...]
    needs_restart: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Is everything the same?"""
        return not self.live and not self.needs_restart


def diff(old: Settings, new: Settings) -> Changes:
    """What is different in `new`."""
    paths = sorted(_differences(old, new, ""))
    needs_restart = tuple(path for path in paths if path.split(".", 1)[0] in NEEDS_RESTART)
    return Changes(tuple(path for path in paths if path not in needs_restart), needs_restart)


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    dot = f"{path}." if path else ""
    if isinstance(old, Section) and isinstance(new, Section):
        for name, field in type(old).model_fields.items():
            key = field.validation_alias if isinstance(field.validation_alias, str) else yaml_key(name)
            yield from _differences(getattr(old, name), getattr(new, name), dot + key)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from _differences(old.get(name), new.get(name), dot + name)
    else:
        yield path
