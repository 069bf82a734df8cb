"""What changed between two configurations, which changes a running proxy can not take on, and what it lives by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from proxy.settings.checks import Declared, check
from proxy.settings.model import Settings, TenantEntry
from proxy.settings.problems import InvalidConfiguration, Problem
from proxy.settings.types import Section, yaml_key

# They are bound when the process starts: sockets, and what every server and session was given.
NEEDS_RESTART: Final = ("listen", "endpoints", "http", "workers", "context")
_LOG_NEEDS_RESTART: Final = ("log.format", "log.level")
_NOT_OF_A_FILE: Final = Declared(None, None, None)

# A line of 100,000 tenants held up the event loop for 1.5 s.
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Changes:
    """Dotted paths of the keys that differ, sorted; an entry that came or went is one path."""

    live: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def shown(self) -> list[str]:
        """The live ones for a log line; of very many the first."""
        rest = len(self.live) - _MAX_SHOWN
        return [*self.live[:_MAX_SHOWN], f"… and {rest} more"] if rest > 0 else list(self.live)

    @property
    def is_empty(self) -> bool:
        """Is everything the same?"""
        return not self.live and not self.needs_restart


@dataclass(frozen=True, slots=True)
class TenantChanges:
    """What makes other tenants of some: little to pass on, where a few of 100,000 changed."""

    entries: dict[str, TenantEntry]
    gone: tuple[str, ...]

    @classmethod
    def between(cls, old: dict[str, TenantEntry], new: dict[str, TenantEntry]) -> TenantChanges:
        """What is different in `new`."""
        if old is new:
            return NO_TENANT_CHANGES
        entries = {name: entry for name, entry in new.items() if entry is not old.get(name) and entry != old.get(name)}
        return cls(entries, tuple(name for name in old if name not in new))

    def applied_to(self, tenants: dict[str, TenantEntry]) -> dict[str, TenantEntry]:
        """The others; the same object where nothing changed."""
        if not self.entries and not self.gone:
            return tenants
        applied = tenants | self.entries
        for name in self.gone:
            applied.pop(name, None)
        return applied


NO_CHANGES: Final = Changes((), ())
NO_TENANT_CHANGES: Final = TenantChanges({}, ())


def diff(old: Settings, new: Settings, pause: Callable[[], None] = lambda: None) -> Changes:
    """What is different in `new`; `pause` is called now and then where there are many tenants."""
    paths = sorted(_differences(old, new, "", pause))
    needs_restart = tuple(
        path for path in paths if path.split(".", 1)[0] in NEEDS_RESTART or path in _LOG_NEEDS_RESTART
    )
    return Changes(tuple(path for path in paths if path not in needs_restart), needs_restart)


def until_restart(old: Settings, new: Settings, changes: Changes, pause: Callable[[], None] = lambda: None) -> Settings:
    """What a proxy that runs by `old` lives by when it takes over `new`: what needs a restart stays as it was.

    Raises InvalidConfiguration where the two do not go together, though the file is good: a tenant's own schema can be one
    that all tenants see until then, or a pool too small for the workers there are. `pause` as in `diff`.
    """
    if not changes.needs_restart:
        return new
    kept: dict[str, Section | int | dict[str, Any] | None] = {each: getattr(old, each) for each in NEEDS_RESTART}
    kept["log"] = new.log.model_copy(update={"format": old.log.format, "level": old.log.level})
    lived_by = new.model_copy(update=kept)
    problems = [
        Problem(
            f"{'.'.join(map(str, found.path))}: {found.message}",
            f"Until a restart this is as it was: {', '.join(changes.needs_restart)}. Restart, or change the rest later.",
        )
        for found in check(lived_by, _NOT_OF_A_FILE, pause)
    ]
    if problems:
        raise InvalidConfiguration(problems)
    return lived_by


def _differences(old: Any, new: Any, path: str, pause: Callable[[], None]) -> Iterator[str]:
    if old is new:
        return
    dot = f"{path}." if path else ""
    if isinstance(old, Section) and isinstance(new, Section):
        for name, field in type(old).model_fields.items():
            key = field.validation_alias if isinstance(field.validation_alias, str) else yaml_key(name)
            yield from _differences(getattr(old, name), getattr(new, name), dot + key, pause)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name, value in new.items():
            pause()
            if value is not (before := old.get(name)):
                yield from _differences(before, value, dot + name, pause)
        yield from (dot + name for name in old if name not in new)
    elif old != new:
        yield path
