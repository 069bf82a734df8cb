"""What a client has SET, with the manual's transaction semantics: kept at commit, forgotten at rollback.

A map per client instead of state on a server. `None` as a value means that the client reset the setting: PostgreSQL's
default counts again, or what the client asked for at startup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Parts = tuple[str, ...]
Settings = Mapping[str, Parts]


_EACH_BYTES: Final = 100
"""What a setting costs besides its name and value, roughly."""


def setting_bytes(name: str, parts: Parts | None) -> int:
    """About what a setting takes in memory, and more than it takes in a context."""
    return _EACH_BYTES + len(name) + sum(len(part) for part in parts or ())


class ClientSettings:
    """The session-level settings of one client.

    `effective` is what the next transaction's context must hold; it changes only at commit and rollback, or by
    `reset_all` outside a transaction. Within a transaction the server itself holds what was SET. `base` is what the
    tenant's context has for settings that the client did not set.
    """

    __slots__ = ("_committed", "_levels", "_local", "base", "effective", "startup")

    def __init__(self, startup: Settings) -> None:
        self.startup: dict[str, Parts] = dict(startup)
        self._committed: dict[str, Parts] = dict(startup)
        self._levels: list[tuple[str, dict[str, Parts | None]]] = []
        self._local: set[str] | None = None
        self.effective: dict[str, Parts] = self._committed
        self.base: Settings = {}

    def copy(self) -> ClientSettings:
        """An independent copy, to try out what statements would do."""
        other = ClientSettings(self.startup)
        other.base = self.base
        other._committed = other.effective = dict(self._committed)
        other._levels = [(name, dict(level)) for name, level in self._levels]
        other._local = None if self._local is None else set(self._local)
        return other

    def default(self, name: str) -> Parts | None:
        """What RESET returns to: the startup value, the tenant's, None for PostgreSQL's own."""
        return self.startup[name] if name in self.startup else self.base.get(name)

    @property
    def is_touched(self) -> bool:
        """Whether the end of the transaction under way has anything to keep or to forget, if only a savepoint."""
        return len(self._levels) > 0 or self._local is not None

    @property
    def has_pending(self) -> bool:
        """Whether the transaction under way changed anything."""
        return any(level for _, level in self._levels)

    @property
    def has_savepoint(self) -> bool:
        """Whether an error takes back only what was changed behind a savepoint."""
        return len(self._levels) > 1

    def change(self, name: str, parts: Parts | None) -> None:
        """A successful SET (or RESET, with None) of the session's value."""
        if not self._levels:
            self._levels.append(("", {}))
        self._levels[-1][1][name] = parts if parts is not None else self.startup.get(name)

    def names(self) -> set[str]:
        """Every setting that has or had a value of the client's own, the transaction under way included."""
        return set(self._committed).union(*(level for _, level in self._levels))

    def note_local(self, name: str) -> None:
        """A successful SET LOCAL: RESET ALL takes that back, too."""
        if self._local is None:
            self._local = set()
        self._local.add(name)

    def forget_local(self) -> None:
        """Something failed, a SET LOCAL perhaps: what was set before that is taken back when the transaction ends, at the
        latest."""
        self._local = None

    def names_in_transaction(self) -> set[str]:
        """The same, and what was SET LOCAL in the transaction under way."""
        return self.names() | (self._local or set())

    def reset_all(self) -> None:
        """RESET ALL: back to the startup values (transactional, like SET)."""
        for name in self.names():
            self.change(name, None)

    def current(self) -> dict[str, Parts]:
        """The values as they stand now, inside the transaction under way."""
        merged: dict[str, Parts | None] = dict(self._committed)
        for _, level in self._levels:
            merged.update(level)
        return {name: parts for name, parts in merged.items() if parts is not None}

    def bytes_with(self, sizes: Mapping[str, int]) -> int:
        """About what is held when settings are changed to take so many bytes: what will stand when the transaction is
        over, or what it remembers until then, whichever is more."""
        top = self._levels[-1][1] if self._levels else {}
        pending = sum(setting_bytes(*entry) for _, level in self._levels for entry in level.items() if level is not top)
        pending += sum(setting_bytes(*entry) for entry in top.items() if entry[0] not in sizes)
        standing = sum(setting_bytes(*entry) for entry in self.current().items() if entry[0] not in sizes)
        return max(pending, standing) + sum(sizes.values())

    def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        if not self._levels:
            self._levels.append(("", {}))
        self._levels.append((name, {}))

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT: what it holds belongs to the level below."""
        index = self._find(name)
        if index is None:
            return
        for _, level in self._levels[index:]:
            self._levels[index - 1][1].update(level)
        del self._levels[index:]

    def rollback_to(self, name: str) -> None:
        """ROLLBACK TO SAVEPOINT: forget what came after it; the savepoint itself stays."""
        index = self._find(name)
        if index is None:
            return
        del self._levels[index:]
        self._levels.append((name, {}))

    def commit(self) -> bool:
        """Keep what the transaction changed; True if anything did."""
        changed = self.has_pending
        if changed:
            self._committed = self.current()
            self.effective = self._committed
        self._levels.clear()
        self._local = None
        return changed

    def rollback(self) -> None:
        """Forget what the transaction changed."""
        self._levels.clear()
        self._local = None

    def _find(self, name: str) -> int | None:
        for index in range(len(self._levels) - 1, 0, -1):
            if self._levels[index][0] == name:
                return index
        return None
