"""Prepared statements, shared among clients by text and kept on servers under names that no client can guess.

A `Prepared` is what a client's name stands for. Servers hold any number of them, least recently used closed first;
whichever server a client gets, the statement is parsed there again when it is missing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame

_NO_TYPES = b"\0\0\0"
"""Behind the text of a Parse: its end, and that no parameter's type is told."""

V = TypeVar("V")


class Prepared(Generic[V]):
    """One statement text with its parameter types, for one plan key.

    `plan_key` is the catalog's, None for one client's own. `verdict` is the guard's; `parse` is the Parse frame under the
    server's name, `parse_unnamed` the same without one.
    `note` is whatever its user wants to know of it when it is run. `version` is the catalog's schema_version when it was
    first met. `has_types`: the client gave its parameters some. `columns` and `types` (of parameters) are what clients were
    told, None while nobody was; `is_outdated`: it would be something else if it was parsed today. `encoding`: the
    client_encoding of a text with characters beyond ASCII, b"" for others.
    """

    __slots__ = (
        "_body",
        "_head",
        "_head_for",
        "columns",
        "encoding",
        "has_types",
        "is_outdated",
        "note",
        "parse",
        "plan_key",
        "server_name",
        "types",
        "verdict",
        "version",
    )

    def __init__(
        self, server_name: bytes, body: bytes, verdict: V, version: int = 0, plan_key: bytes | None = None
    ) -> None:
        self.server_name = server_name
        self.plan_key = plan_key
        self.version = version
        self.columns: bytes | None = None
        self.types: bytes | None = None
        self.is_outdated = False
        self.encoding = b""
        self._body = body
        self.has_types = len(body) > body.find(0) + len(_NO_TYPES)
        self.verdict = verdict
        self.note: object | None = None
        self.parse = frame(codes.PARSE, server_name + b"\0" + body)
        self._head = b""
        self._head_for = -1

    def head_of_bind(self, rest: int) -> bytes:
        """A Bind of the unnamed portal to this statement, up to the NUL behind the statement's name: `rest` bytes are to come
        from there on. Parameters often take as many bytes as the last time."""
        if rest != self._head_for:
            length = 5 + len(self.server_name) + rest
            self._head = (codes.BIND << 32 | length).to_bytes(5, "big") + b"\0" + self.server_name
            self._head_for = rest
        return self._head

    @property
    def text(self) -> bytes:
        """The statement's text as servers are given it."""
        return self._body[: self._body.index(0)]

    @property
    def body(self) -> bytes:
        """The text as servers are given it, a NUL and the parameter types."""
        return self._body

    @property
    def takes_parameters(self) -> bool:
        """Whether clients were told types of parameters."""
        return self.types is not None and len(self.types) > 2

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        return len(self._body) + len(self.parse)

    @property
    def parse_unnamed(self) -> bytes:
        """The Parse frame for the unnamed statement."""
        return frame(codes.PARSE, b"\0" + self._body)


class StatementCatalog(Generic[V]):
    """All statements in use in this process by (plan key, text and types); the least recently used are forgotten.

    It keeps `max_entries` at most, of about `max_bytes` together. `schema_version` grows with every change of definitions
    that went through here: what was parsed before may mean something else now.
    """

    def __init__(
        self, names: Callable[[int], bytes], max_entries: int = 20_000, max_bytes: int = 64 * 1024 * 1024
    ) -> None:
        self._names = names
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._count = 0
        self.schema_version = 0
        self._entries: OrderedDict[tuple[bytes, bytes], Prepared[V]] = OrderedDict()

    def find(self, plan_key: bytes, body: bytes) -> Prepared[V] | None:
        """The statement, if it is known and no definition has changed since."""
        key = (plan_key, body)
        prepared = self._entries.get(key)
        if prepared is None or prepared.version != self.schema_version:
            return None
        self._entries.move_to_end(key)
        return prepared

    def next_name(self) -> bytes:
        """A name on servers that nothing else has."""
        self._count += 1
        return self._names(self._count)

    def private(self, body: bytes, verdict: V) -> Prepared[V]:
        """A statement that is not shared; `body` is what servers are given."""
        return Prepared(self.next_name(), body, verdict, self.schema_version)

    def add(self, plan_key: bytes, body: bytes, sent_body: bytes, verdict: V) -> Prepared[V]:
        """A new statement: `body` is what the client wrote, `sent_body` what servers are given (text, NUL, types)."""
        prepared = Prepared(self.next_name(), sent_body, verdict, self.schema_version, plan_key)
        replaced = self._entries.pop((plan_key, body), None)
        if replaced is not None:
            self._bytes -= len(plan_key) + len(body) + replaced.size_bytes
        self._entries[(plan_key, body)] = prepared
        self._bytes += len(plan_key) + len(body) + prepared.size_bytes
        while self._entries and (len(self._entries) > self._max_entries or self._bytes > self._max_bytes):
            (oldest_key, oldest_body), oldest = self._entries.popitem(last=False)
            self._bytes -= len(oldest_key) + len(oldest_body) + oldest.size_bytes
        return prepared


class _Held:
    """One statement on one server, and the number of its last use: cheaper to note than an order."""

    __slots__ = ("last_use",)

    def __init__(self, last_use: int) -> None:
        self.last_use = last_use


class PreparedOnServer:
    """Which named statements one server connection holds, and what its unnamed one is."""

    __slots__ = ("_held", "_limit", "_uses", "unnamed")

    def __init__(self, limit: int) -> None:
        self._held: dict[bytes, _Held] = {}
        self._limit = limit
        self._uses = 0
        self.unnamed: object | None = None

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: bytes) -> bool:
        return name in self._held

    def touch(self, name: bytes) -> bool:
        """Whether the server holds `name`; if so it counts as used just now."""
        held = self._held.get(name)
        if held is None:
            return False
        self._uses += 1
        held.last_use = self._uses
        return True

    def add(self, name: bytes) -> bytes | None:
        """`name` is being prepared; returns the name to close for it, if the limit is reached."""
        self._note_use(name)
        held = self._held
        if len(held) <= self._limit:
            return None
        oldest = min(held, key=lambda known: held[known].last_use)
        del held[oldest]
        return oldest

    def _note_use(self, name: bytes) -> None:
        self._uses += 1
        self._held[name] = _Held(self._uses)

    def restore(self, name: bytes) -> None:
        """`name` is there still: its Close was skipped."""
        self._note_use(name)

    def discard(self, name: bytes) -> None:
        """`name` is not there after all."""
        self._held.pop(name, None)

    def clear(self) -> None:
        """Everything was deallocated."""
        self._held.clear()
        self.unnamed = None


CLOSE_STATEMENT = b"S"


def close_statement(name: bytes) -> bytes:
    """Close for a statement of ours."""
    return frontend.close(CLOSE_STATEMENT, name)
