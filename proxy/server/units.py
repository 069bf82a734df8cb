"""What a server can owe, and what goes with it: the vocabulary of `ledger.py`.

A unit is an int: its low bits say which reply ends it, its flags what becomes of its replies. A note says more about a
unit where that is needed; units with one are flagged NOTED.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import ProxyError
from proxy.wire.buffer import Reader

# Units: the low bits say which reply ends one, the flags what becomes of its replies.
PARSE: Final = 1
BIND: Final = 2
DESCRIBE: Final = 3
EXECUTE: Final = 4
CLOSE: Final = 5
STATEMENT: Final = 6  # one statement of a Query: its CommandComplete
LOCAL: Final = 7  # nothing is owed: the proxy answers when its turn comes; always NOTED
SYNC: Final = 8
QUERY: Final = 9  # also FunctionCall: everything up to ReadyForQuery
KIND: Final = 15
DROP: Final = 16
NOTED: Final = 32  # a note in `notes` belongs to it
INJECTED: Final = 64  # part of putting the context in place: its failure is Gatehouse's to report


class Effect:
    """A statement whose success changes what the proxy knows.

    `tag` replaces the command tag that the client sees; `bound` are the values of its parameters. `is_rewritten`: a SET
    LOCAL stands in its place, of which some versions warn (25P01) that it is not in a block.
    """

    __slots__ = ("bound", "is_rewritten", "statement", "tag")

    def __init__(
        self,
        statement: object,
        tag: bytes | None = None,
        bound: tuple[str | None, ...] | None = None,
        *,
        is_rewritten: bool = False,
    ) -> None:
        self.statement = statement
        self.tag = tag
        self.bound = bound
        self.is_rewritten = is_rewritten


class LocalReply:
    """Bytes to send when all that is owed before them has come.

    `defines` is the statement name that they acknowledge, `closes` one that they say is closed, with what it stood for.
    `order` numbers what may have to be undone.
    """

    __slots__ = ("closes", "data", "defines", "order")

    def __init__(
        self,
        data: bytes,
        defines: bytes | None = None,
        closes: tuple[bytes, object] | None = None,
        order: int = 0,
    ) -> None:
        self.data = data
        self.defines = defines
        self.closes = closes
        self.order = order


class Eviction:
    """A Close of the proxy's own, for a statement that made room on the server; `order` as above."""

    __slots__ = ("order", "server_name")

    def __init__(self, server_name: bytes, order: int = 0) -> None:
        self.server_name = server_name
        self.order = order


class Refusal:
    """Something sent only to fail, so that PostgreSQL aborts where the proxy refused; the client sees `error`."""

    __slots__ = ("error",)

    def __init__(self, error: ProxyError) -> None:
        self.error = error


class Capture:
    """A value asked for by the proxy: the first column of the one row."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: bytes | None = None) -> None:
        self.name = name
        self.value = value


class Description:
    """A Describe whose answer is kept: `statement` is what it is about, `row` and `types` are PostgreSQL's words.

    `is_fatal`: rows are on their way, and if the statement is not what the client was told, they must not reach it.
    """

    __slots__ = ("is_fatal", "row", "statement", "types")

    def __init__(self, statement: object, *, is_fatal: bool = False) -> None:
        self.statement = statement
        self.is_fatal = is_fatal
        self.types: bytes | None = None
        self.row = b""

    @property
    def columns(self) -> bytes:
        """The columns' names and types, without where they come from and in which format."""
        if self.row[:1] != b"T":
            return b""
        reader = Reader(self.row[5:])
        parts: list[bytes] = []
        for _ in range(reader.int16()):
            parts.append(reader.cstring())
            reader.take(6)
            parts.append(reader.take(4))
            reader.take(2)
            parts.append(reader.take(4))
            reader.take(2)
        return b"\0".join(parts)


Note = Description | Effect | LocalReply | Refusal | Capture | Eviction


class ParseRecord:
    """A Parse under way: the name on the server and, where the client waits for it too, the client's (b"": unnamed).

    `order` as above; `replaces` is what was unnamed before. `has_failed`: it was reached, and PostgreSQL refused it.
    """

    __slots__ = ("client_name", "has_failed", "order", "replaces", "server_name")

    def __init__(
        self, server_name: bytes, client_name: bytes | None, order: int = 0, replaces: object | None = None
    ) -> None:
        self.server_name = server_name
        self.client_name = client_name
        self.order = order
        self.replaces = replaces
        self.has_failed = False


class PositionMap:
    """Maps a position in what was sent (in characters, from 1) back to the position in what the client wrote.

    `edits` are (byte offset in the sent text, characters added there, negative for removed ones), in order.
    """

    __slots__ = ("_edits", "_sent")

    def __init__(self, sent: bytes, edits: tuple[tuple[int, int], ...]) -> None:
        self._sent = sent
        self._edits = edits

    def original(self, position: int) -> int:
        """The client's position, never below 1."""
        shift = 0
        for offset, added in self._edits:
            if position > len(self._sent[:offset].decode("utf-8", "replace")):
                shift += added
        return max(1, position - shift)
