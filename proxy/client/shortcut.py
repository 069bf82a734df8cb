"""The short way for what most clients send most of the time: one unremarkable statement in one chunk.

A Query, or a Bind, Describe, Execute and Sync of a statement that the server holds or is given in front, is looked at as a
whole: no frame is cut out, no unit handled by itself. What goes to the server is, byte for byte, what `simple.py` and
`extended.py` would send, and whatever is not exactly of this kind is left to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from proxy.client.chunks import (
    DESCRIBED,
    END_OF_NAME,
    LEAST_BIND_BYTES,
    RUN_BYTES,
    SAME_NAME,
    assemble,
    described_by_end,
    look_at_batch,
)
from proxy.client.mending import MAX_MENDED_BYTES
from proxy.client.states import State
from proxy.guard.shapes import HAS_SHAPE_IS_CHEAP, has_shape
from proxy.server.expected import (
    BATCH_ANSWER,
    BEHIND_CONTEXT,
    BEHIND_PARSE,
    DESCRIBED_ANSWER,
    MOST_SETS,
    behind_sets,
)
from proxy.server.units import BIND, DESCRIBE, DROP, EXECUTE, INJECTED, PARSE, QUERY, STATEMENT, SYNC, ParseRecord
from proxy.wire import codes

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.client.statements import Statement
    from proxy.context.context import Context
    from proxy.server.ports import ServerPort

_LOOK_AT_BATCH: Final = look_at_batch
_ASSEMBLE: Final = assemble
_HAS_SHAPE: Final = has_shape
_remembers_shapes = HAS_SHAPE_IS_CHEAP  # not Final, for the tests
_BEFORE_TEXT: Final = 5
_BEHIND_TEXT: Final = 1
"""Bytes of a Query's head, and of its end."""

_NUL: Final = 0

_IS_PARSED: Final = 2  # beside DESCRIBED
_HAS_CONTEXT: Final = 4


def _batch_shapes() -> list[tuple[int, tuple[int, ...]]]:
    """The answer to expect and the units of a batch, by what is in it."""
    shapes = []
    for shape in range(8):
        answer = DESCRIBED_ANSWER if shape & DESCRIBED else BATCH_ANSWER
        units = [BIND, *([DESCRIBE] if shape & DESCRIBED else []), EXECUTE, SYNC]
        if shape & _IS_PARSED:
            answer += BEHIND_PARSE
            units = [PARSE, *units]
        if shape & _HAS_CONTEXT:
            answer += BEHIND_CONTEXT
            units = [BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED, *units]
        shapes.append((answer, tuple(units)))
    return shapes


_BATCH_SHAPES: Final[list[tuple[int, tuple[int, ...]]]] = _batch_shapes()

_QUERY_UNITS: Final[list[tuple[int, ...]]] = [
    (*[STATEMENT | DROP | INJECTED] * sets, QUERY) for sets in range(MOST_SETS + 1)
]
"""The units of a Query of one statement behind so many SET LOCALs."""


class Shortcut:
    """The short way of one session."""

    __slots__ = ("_context", "_head", "_name", "_rest", "_session", "_shape")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._name = b""  # of the statement that was run last: the next one is often the same
        self._shape = b""  # of the last Query's text, if all texts of that shape are unremarkable
        # What was put in front of the last Query, by which context, and how many bytes followed: values differ, most often
        # not in length.
        self._head = b""
        self._context: Context | None = None
        self._rest = 0

    def take(self, data: bytes) -> bool:
        """Handle `data`, a chunk that came when nothing was waiting; False if it has to go the long way."""
        session = self._session
        if session.state == State.IDLE:
            if session.status != codes.IDLE:
                return False
        elif session.state != State.HELD or not session.progress.in_place or session.status == codes.FAILED:
            return False
        return self._handle(data)

    def take_held_back(self) -> bool:
        """The server is here that a chunk has waited for: as `take`."""
        session = self._session
        if session.state != State.HELD or session.status != codes.IDLE or session.intake.is_streaming:
            return False
        return self._handle(session.intake.reader.whole)

    def _handle(self, data: bytes) -> bool:
        session = self._session
        if len(session.deferred) or session.keeping.must_establish or session.extended.is_skipping:
            return False
        size = len(data)
        if (
            size <= LEAST_BIND_BYTES
            or size > MAX_MENDED_BYTES
            or size > session.limits.max_query_bytes
            or size > session.limits.max_message_bytes
        ):
            return False
        if data[0] == codes.BIND:
            return self._batch(data)
        if data[0] == codes.PARSE:
            return self._parsed_batch(data)
        return data[0] == codes.QUERY and self._query(data)

    def _batch(self, data: bytes) -> bool:
        """Bind of the unnamed portal to a statement with a name, Describe or not, Execute, Sync."""
        look: i64 = _LOOK_AT_BATCH(data, self._name)
        if look < 0:
            return False
        name_end: i64 = look // END_OF_NAME
        if not look & SAME_NAME:
            self._name = data[6:name_end]
        shape = int(look & DESCRIBED)
        session = self._session
        statement = session.extended.own.names.get(self._name)
        if statement is None or not self._is_for_us(statement, shape):
            return False
        server = self._server_for(data)
        if server is None:
            return True
        if not self._has_context(server) or not server.prepared.touch(statement.server_name):
            session.pump()
            return True
        low: i64 = data[3]
        bind_end: i64 = data[4]
        bind_end += low * 256 + 1
        head = statement.head_of_bind(int(bind_end - name_end))
        context = b"" if session.progress.in_place else session.context.bind_execute
        written = _ASSEMBLE(context, head, data, int(name_end))
        self._send_batch(server, written, shape, statement)
        return True

    def _parsed_batch(self, data: bytes) -> bool:
        """The same with the unnamed statement, and its Parse in front."""
        size: i64 = len(data)
        low: i64 = data[3]
        bind: i64 = data[4]
        bind += low * 256 + 1
        if data[1] or data[2] or data[5] or bind + LEAST_BIND_BYTES + RUN_BYTES > size or data[bind] != codes.BIND:
            return False
        low = data[bind + 3]
        length: i64 = data[bind + 4]
        length += low * 256
        if data[bind + 1] or data[bind + 2] or data[bind + 5] or data[bind + 6] or length < LEAST_BIND_BYTES - 1:
            return False
        shape = described_by_end(data, int(size - bind - length - 1))
        if shape < 0:
            return False
        session = self._session
        own = session.extended.own
        statement = session.shared.catalog.find(session.context.plan_key, data[6:bind])
        if statement is None or session.changed_schema or not self._is_for_us(statement, shape):
            return False
        server = self._server_for(data)
        if server is None:
            return True
        if not self._has_context(server):
            session.pump()
            return True
        server.ledger.parses.append(ParseRecord(b"", b"", own.next_order(), own.unnamed))
        server.prepared.unnamed = own.unnamed = statement
        written = data if session.progress.in_place else session.context.bind_execute + data
        self._send_batch(server, written, shape | _IS_PARSED, statement)
        return True

    def _is_for_us(self, statement: Statement, shape: int) -> bool:
        """Whether a statement can be run with no more ado; what a Describe says of it must be known already."""
        session = self._session
        return (
            statement.verdict.is_unremarkable
            and statement.note is None
            and statement.version == session.shared.catalog.schema_version
            and (not shape & DESCRIBED or statement.columns is not None)
        )

    def _has_context(self, server: ServerPort) -> bool:
        """Whether the context is in place, or can be put there by a statement that the server holds."""
        session = self._session
        return session.progress.in_place or session.context.statement_name in server.prepared

    def _send_batch(self, server: ServerPort, written: bytes, shape: int, statement: Statement) -> None:
        session = self._session
        session.intake.reader.clear()
        session.extended.in_batch = True
        if session.status == codes.IN_TRANSACTION:
            session.extended.portals[b""] = (statement, None)
        must_inject = not session.progress.in_place
        answer, units = _BATCH_SHAPES[shape | _HAS_CONTEXT if must_inject else shape]
        self._send(server, written, answer, units, must_inject=must_inject)

    def _query(self, data: bytes) -> bool:
        session = self._session
        size: i64 = len(data)
        low: i64 = data[3]
        length: i64 = data[4]
        length += low * 256
        if data[1] or data[2] or length + 1 != size or data[size - 1]:
            return False
        if len(self._shape) == 0 or not _HAS_SHAPE(data, _BEFORE_TEXT, _BEHIND_TEXT, self._shape):
            text = data[_BEFORE_TEXT:-_BEHIND_TEXT]
            verdicts = session.shared.verdicts
            if _NUL in text or not verdicts.verdict(text).is_unremarkable:
                return False
            if _remembers_shapes:
                self._shape = verdicts.shape
        server = self._server_for(data)
        if server is None:
            return True
        # Not before: a tenant that has moved is noticed when a server is asked for.
        context = session.context
        if context.statements > MOST_SETS:
            session.pump()
            return True
        session.intake.reader.clear()
        session.extended.own.unnamed = None
        server.prepared.unnamed = None
        if session.progress.in_place:
            self._send(server, data, behind_sets(0), _QUERY_UNITS[0], must_inject=False)
            return True
        if length != self._rest or context is not self._context:
            new_length = int(length) + len(context.prefix)
            self._head = (codes.QUERY << 32 | new_length).to_bytes(5, "big") + context.prefix
            self._context, self._rest = context, int(length)
        written = _ASSEMBLE(self._head, b"", data, _BEFORE_TEXT)
        server.ledger.positions = context.prefix_length
        sets = context.statements
        self._send(server, written, behind_sets(sets), _QUERY_UNITS[sets], must_inject=True)
        return True

    def _server_for(self, data: bytes) -> ServerPort | None:
        """A server whose session is as the client's has to be; None if the long way goes on from here."""
        session = self._session
        if session.server is None:
            session.intake.reader.feed(data)
            if not session.ensure_server():
                session.pump()
                return None
        elif not len(session.intake.reader):
            session.intake.reader.feed(data)
        server = session.server
        if server is not None and (server.followed is session.wanted or server.followed == session.wanted):
            return server
        session.pump()
        return None

    def _send(
        self, server: ServerPort, written: bytes, answer: int, units: tuple[int, ...], *, must_inject: bool
    ) -> None:
        session = self._session
        session.start(server)
        session.state = State.BUSY
        if must_inject:
            session.progress.in_place = True
            session.stats.context_injections += 1
        server.ledger.expect(answer, session.status, units)
        session.last_write = written
        server.write(written)
