"""What goes in front of a statement on the short way: the context, and the BEGIN that was deferred.

Clients send their like again, so what was put together for the last one is kept: it holds until the context is another
one, or the BEGIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.chunks import DESCRIBED
from proxy.client.rewrite import BEGUN
from proxy.server.expected import BATCH_ANSWER, BEHIND_BEGIN, BEHIND_CONTEXT, BEHIND_PARSE, DESCRIBED_ANSWER, MOST_SETS
from proxy.server.units import (
    BIND,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    NOTED,
    PARSE,
    QUERY,
    STATEMENT,
    SYNC,
    ParseRecord,
)
from proxy.wire import codes, frontend

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.context.context import Context
    from proxy.server.ports import ServerPort

IS_PARSED: Final = 2
HAS_CONTEXT: Final = 4
BEGINS: Final = 8
"""What is in a batch, beside DESCRIBED. What begins a transaction puts the context in place, too."""

_BEHIND_BEGIN: Final = b"; "
BEGIN_UNITS: Final = [PARSE | DROP | INJECTED, BIND | DROP | INJECTED, EXECUTE | DROP | NOTED | INJECTED]
_CONTEXT_UNITS: Final = [BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED]


def _batch_shapes() -> list[tuple[int, tuple[int, ...]]]:
    """The answer to expect and the units of a batch, by what is in it."""
    shapes = []
    for shape in range(2 * BEGINS):
        answer = DESCRIBED_ANSWER if shape & DESCRIBED else BATCH_ANSWER
        units = [BIND, *([DESCRIBE] if shape & DESCRIBED else []), EXECUTE, SYNC]
        if shape & IS_PARSED:
            answer += BEHIND_PARSE
            units = [PARSE, *units]
        if shape & (HAS_CONTEXT | BEGINS):
            answer += BEHIND_CONTEXT
            units = [*_CONTEXT_UNITS, *units]
        if shape & BEGINS:
            answer += BEHIND_BEGIN
            units = [*BEGIN_UNITS, *units]
        shapes.append((answer, tuple(units)))
    return shapes


BATCH_SHAPES: Final[list[tuple[int, tuple[int, ...]]]] = _batch_shapes()

QUERY_UNITS: Final[list[tuple[int, ...]]] = [
    (*[STATEMENT | DROP | INJECTED] * sets, QUERY) for sets in range(MOST_SETS + 1)
]
"""The units of a Query of one statement behind so many SET LOCALs."""
BEGIN_QUERY_UNITS: Final[list[tuple[int, ...]]] = [
    (STATEMENT | DROP | NOTED | INJECTED, *units) for units in QUERY_UNITS
]
"""The same, and a BEGIN in front of all."""


class Opening:
    """What one session put in front of its last Query, and of a block's first batch."""

    __slots__ = (
        "_batch",
        "_batch_begin",
        "_batch_context",
        "_head",
        "_head_begin",
        "_head_context",
        "_rest",
        "_session",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self._head = b""
        self._head_begin = b""
        self._head_context: Context | None = None
        self._rest = 0  # bytes that follow: values differ, most often not in length
        self._batch = b""
        self._batch_begin = b""
        self._batch_context: Context | None = None

    def of_query(self, rest: int) -> bytes:
        """A Query's head, up to the client's own text; the client's own Query says a length of `rest`."""
        session = self._session
        context = session.context
        begin = session.deferred
        if rest != self._rest or context is not self._head_context or begin != self._head_begin:
            front = begin + _BEHIND_BEGIN + context.prefix if len(begin) else context.prefix
            self._head = (codes.QUERY << 32 | rest + len(front)).to_bytes(5, "big") + front
            self._head_begin, self._head_context, self._rest = begin, context, rest
        return self._head

    @property
    def begin_length(self) -> int:
        """How many characters of the last Query's head belong to its BEGIN."""
        return len(self._head_begin) + len(_BEHIND_BEGIN)

    def of_first_batch(self) -> bytes:
        """The messages in front of a transaction block's first batch."""
        session = self._session
        context = session.context
        begin = session.deferred
        if context is not self._batch_context or begin != self._batch_begin:
            self._batch = run_begin(begin) + context.bind_execute
            self._batch_begin, self._batch_context = begin, context
        return self._batch


def note_begin(server: ServerPort) -> None:
    """A BEGIN is about to be run in a batch: what has to be known of it, besides BEGIN_UNITS."""
    server.prepared.unnamed = None
    server.ledger.parses.append(ParseRecord(b"", None))
    server.ledger.notes.append(BEGUN)


def run_begin(begin: bytes) -> bytes:
    """The messages that run a BEGIN in a batch, owed BEGIN_UNITS."""
    return frontend.parse(b"", begin) + frontend.bind(b"", b"", ()) + frontend.execute(b"")
