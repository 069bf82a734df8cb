"""The short way for what most clients send most of the time: one unremarkable statement in one chunk.

A Query, or a Bind, Describe, Execute and Sync of a statement that the server holds or is given in front, is looked at as a
whole: no frame is cut out, no unit handled by itself. So are the BEGIN in front of such statements and the end of their
transaction. What goes to the server is, byte for byte, what `simple.py` and `extended.py` would send, and whatever is not
exactly of this kind is left to them. One thing is done here alone, where a batch is seen as a whole: a prepared BEGIN is
deferred, as one in a Query is.
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
from proxy.client.deferral import defer, may_defer
from proxy.client.mending import MAX_MENDED_BYTES
from proxy.client.opening import (
    BATCH_SHAPES,
    BEGIN_QUERY_UNITS,
    BEGINS,
    HAS_CONTEXT,
    IS_PARSED,
    QUERY_UNITS,
    Opening,
    note_begin,
)
from proxy.client.rewrite import BEGUN
from proxy.client.states import State
from proxy.guard.shapes import HAS_SHAPE_IS_CHEAP, has_shape
from proxy.server.expected import BATCH_ANSWER, DESCRIBED_ANSWER, MOST_SETS, QUERY_ANSWER, behind_sets
from proxy.server.units import BIND, DESCRIBE, EXECUTE, NOTED, QUERY, STATEMENT, SYNC, Effect, ParseRecord
from proxy.wire import backend, codes

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.client.statements import Statement
    from proxy.guard.verdicts import Verdict
    from proxy.server.ports import ServerPort

_remembers_shapes = HAS_SHAPE_IS_CHEAP  # not Final, for the tests
_BEFORE_TEXT: Final = 5
_BEHIND_TEXT: Final = 1
"""Bytes of a Query's head, and of its end."""

_NUL: Final = 0

_NO_PARAMETERS: Final = frozenset((bytes(6), bytes(4) + b"\0\1\0\0", bytes(4) + b"\0\1\0\1"))
"""The end of a Bind without parameters; a format of results may be given though there are none."""

_BOUND: Final[list[bytes]] = [backend.BIND_COMPLETE, backend.BIND_COMPLETE + backend.NO_DATA]
"""What is answered before the Execute of something without a result, by DESCRIBED."""
_END_SHAPES: Final[list[tuple[int, tuple[int, ...]]]] = [
    (BATCH_ANSWER, (BIND, EXECUTE | NOTED, SYNC)),
    (DESCRIBED_ANSWER, (BIND, DESCRIBE, EXECUTE | NOTED, SYNC)),
]
"""The answer to expect and the units of a batch that ends a transaction, by DESCRIBED."""
_END_UNITS: Final = (STATEMENT | NOTED, QUERY)
"""The same of a Query."""


class Shortcut:
    """The short way of one session."""

    __slots__ = ("_name", "_opening", "_session", "_shape")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._opening = Opening(session)
        self._name = b""  # of the statement that was run last: the next one is often the same
        self._shape = b""  # of the last Query's text, if all texts of that shape are unremarkable

    def take(self, data: bytes) -> bool:
        """Handle `data`, a chunk that came when nothing was waiting; False if it has to go the long way."""
        session = self._session
        if session.state == State.IDLE:
            if session.status != codes.IDLE and len(session.deferred) == 0:
                return False
        elif session.state != State.HELD or not session.progress.in_place or session.status == codes.FAILED:
            return False
        return self._handle(data)

    def take_held_back(self) -> bool:
        """The server is here that a chunk has waited for: as `take`."""
        session = self._session
        if session.state != State.HELD or session.intake.is_streaming:
            return False
        if session.status != codes.IDLE and len(session.deferred) == 0:
            return False
        return self._handle(session.intake.reader.whole)

    def _handle(self, data: bytes) -> bool:
        session = self._session
        if session.keeping.must_establish or session.extended.is_skipping:
            return False
        size = len(data)
        if (
            size <= _BEFORE_TEXT
            or size > MAX_MENDED_BYTES
            or size > session.limits.max_query_bytes
            or size > session.limits.max_message_bytes
        ):
            return False
        if data[0] == codes.QUERY:
            return self._query(data)
        if size <= LEAST_BIND_BYTES:
            return False
        if data[0] == codes.BIND:
            return self._batch(data)
        return data[0] == codes.PARSE and self._parsed_batch(data)

    def _batch(self, data: bytes) -> bool:
        """Bind of the unnamed portal to a statement with a name, Describe or not, Execute, Sync."""
        look: i64 = look_at_batch(data, self._name)
        if look < 0:
            return False
        name_end: i64 = look // END_OF_NAME
        if not look & SAME_NAME:
            self._name = data[6:name_end]
        shape = int(look & DESCRIBED)
        low: i64 = data[3]
        bind_end: i64 = data[4]
        bind_end += low * 256 + 1
        session = self._session
        statement = session.extended.own.names.get(self._name)
        if statement is None:
            return False
        if not self._is_for_us(statement, shape):
            return self._controlling_batch(data, statement, shape, int(name_end), int(bind_end))
        server = self._server_for(data)
        if server is None:
            return True
        # Not before: a tenant that has moved is noticed when a server is asked for.
        is_strange = statement.plan_key is not None and (
            statement.plan_key != session.context.plan_key or session.is_apart
        )
        if is_strange or not self._has_context(server) or not server.prepared.touch(statement.server_name):
            session.pump()
            return True
        head = statement.head_of_bind(int(bind_end - name_end))
        written = assemble(self._open_batch(server), head, data, int(name_end))
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
        if statement is None or session.is_apart or not self._is_for_us(statement, shape):
            return False
        server = self._server_for(data)
        if server is None:
            return True
        if not self._has_context(server):
            session.pump()
            return True
        opening = self._open_batch(server)
        server.ledger.parses.append(ParseRecord(b"", b"", own.next_order(), own.unnamed))
        server.prepared.unnamed = own.unnamed = statement
        self._send_batch(server, opening + data if len(opening) else data, shape | IS_PARSED, statement)
        return True

    def _is_for_us(self, statement: Statement, shape: int) -> bool:
        """Whether a statement can be run with no more ado."""
        return statement.verdict.is_unremarkable and statement.note is None and self._is_current(statement, shape)

    def _is_current(self, statement: Statement, shape: int) -> bool:
        """Whether nothing has to be found out of it: what a Describe says must be known already."""
        return statement.version == self._session.shared.catalog.schema_version and (
            not shape & DESCRIBED or statement.columns is not None
        )

    def _has_context(self, server: ServerPort) -> bool:
        """Whether the context is in place, or can be put there by a statement that the server holds."""
        session = self._session
        return session.progress.in_place or session.context.statement_name in server.prepared

    def _open_batch(self, server: ServerPort) -> bytes:
        """What has to come in front of a batch; a BEGIN is noted."""
        session = self._session
        if session.progress.in_place:
            return b""
        if len(session.deferred) == 0:
            return session.context.bind_execute
        note_begin(server)
        return self._opening.of_first_batch()

    def _send_batch(self, server: ServerPort, written: bytes, shape: int, statement: Statement) -> None:
        session = self._session
        session.intake.reader.clear()
        session.extended.in_batch = True
        if session.status == codes.IN_TRANSACTION:
            session.extended.portals[b""] = (statement, None)
            session.extended.bound = [b""]
        must_inject = not session.progress.in_place
        if must_inject:
            shape |= BEGINS if len(session.deferred) else HAS_CONTEXT
        answer, units = BATCH_SHAPES[shape]
        self._send(server, written, answer, units, must_inject=must_inject)

    def _query(self, data: bytes) -> bool:
        session = self._session
        size: i64 = len(data)
        low: i64 = data[3]
        length: i64 = data[4]
        length += low * 256
        if data[1] or data[2] or length >= size or length < _BEFORE_TEXT or data[length]:
            return False
        if length + 1 != size:
            return self._begin_and_more(data, int(length))
        if len(self._shape) == 0 or not has_shape(data, _BEFORE_TEXT, _BEHIND_TEXT, self._shape):
            text = data[_BEFORE_TEXT:-_BEHIND_TEXT]
            if _NUL in text:
                return False
            verdicts = session.shared.verdicts
            verdict = verdicts.verdict(text)
            if not verdict.is_unremarkable:
                return self._controlling_query(data, text, verdict)
            if _remembers_shapes:
                self._shape = verdicts.shape
        server = self._server_for(data)
        if server is None:
            return True
        # Not before: a tenant that has moved is noticed when a server is asked for.
        context = session.context
        if context.statements >= MOST_SETS:  # there may be a BEGIN, too
            session.pump()
            return True
        self._forget_unnamed(server)
        if session.progress.in_place:
            self._send(server, data, QUERY_ANSWER, QUERY_UNITS[0], must_inject=False)
            return True
        written = assemble(self._opening.of_query(int(length)), b"", data, _BEFORE_TEXT)
        ledger = server.ledger
        sets = context.statements
        if len(session.deferred):
            ledger.positions = self._opening.begin_length + context.prefix_length
            ledger.notes.append(BEGUN)
            self._send(server, written, behind_sets(sets + 1), BEGIN_QUERY_UNITS[sets], must_inject=True)
        else:
            ledger.positions = context.prefix_length
            self._send(server, written, behind_sets(sets), QUERY_UNITS[sets], must_inject=True)
        return True

    def _server_for(self, data: bytes) -> ServerPort | None:
        """A server whose session is as the client's has to be; None if the long way goes on from here."""
        session = self._session
        if session.server is None:
            session.intake.reader.feed(data)
            if not session.ensure_server():
                session.pump()
                return None
        elif session.intake.reader.held == 0:
            session.intake.reader.feed(data)
        server = session.server
        if server is not None and (server.followed is session.wanted or server.followed == session.wanted):
            return server
        session.pump()
        return None

    def _forget_unnamed(self, server: ServerPort) -> None:
        """A Query is about to be sent, which drops the unnamed statement."""
        session = self._session
        session.intake.reader.clear()
        session.extended.own.unnamed = None
        server.prepared.unnamed = None

    def _send(
        self,
        server: ServerPort,
        written: bytes,
        answer: int,
        units: tuple[int, ...],
        *,
        must_inject: bool,
        is_end: bool = False,
    ) -> None:
        """Send it; `is_end`: most probably there is no transaction any more behind it."""
        session = self._session
        session.start(server)
        session.state = State.BUSY
        status = session.status
        unheard = b""
        if must_inject:
            session.progress.in_place = True
            session.stats.context_injections += 1
            if len(session.deferred):
                unheard = session.replies.unheard.opening(session.context)
        elif is_end:
            status = codes.IDLE
            unheard = session.replies.unheard.at_end(session.context, server.parameters)
        server.ledger.expect(answer, status, units, unheard)
        session.last_write = written
        server.write(written)

    # Beginning and ending a transaction.

    def _controlling_batch(self, data: bytes, statement: Statement, shape: int, name_end: int, bind_end: int) -> bool:
        """As `_batch`, of a statement that is no unremarkable query."""
        verdict = statement.verdict
        if verdict.can_be_deferred:
            if statement.has_types or data[name_end + 1 : bind_end] not in _NO_PARAMETERS:
                return False
            return self._begin(statement.text, _BOUND[shape])
        server = self._server_to_end()
        if not verdict.ends_block or server is None or not self._is_current(statement, shape):
            return False
        if not server.prepared.touch(statement.server_name):
            return False
        self._session.extended.in_batch = True
        self._session.extended.bound = [b""]
        server.ledger.notes.append(Effect(verdict.single))
        written = assemble(b"", statement.head_of_bind(bind_end - name_end), data, name_end)
        answer, units = _END_SHAPES[shape]
        self._send(server, written, answer, units, must_inject=False, is_end=True)
        return True

    def _controlling_query(self, data: bytes, text: bytes, verdict: Verdict) -> bool:
        """As `_query`, of a text that is no unremarkable query."""
        if verdict.can_be_deferred:
            self._session.extended.own.unnamed = None
            return self._begin(text, b"")
        server = self._server_to_end()
        if not verdict.ends_block or server is None:
            return False
        self._forget_unnamed(server)
        server.ledger.notes.append(Effect(verdict.single))
        self._send(server, data, QUERY_ANSWER, _END_UNITS, must_inject=False, is_end=True)
        return True

    def _begin_and_more(self, data: bytes, length: int) -> bool:
        """A Query in front of more: JDBC and Npgsql send the BEGIN together with the first statement."""
        session = self._session
        text = data[_BEFORE_TEXT:length]
        if _NUL in text or not session.shared.verdicts.verdict(text).can_be_deferred or not self._may_begin():
            return False
        session.extended.own.unnamed = None
        session.reply(defer(session, text))
        rest = data[length + 1 :]
        if not self.take(rest):
            session.intake.reader.feed(rest)
            session.pump()
        return True

    def _may_begin(self) -> bool:
        return self._session.state == State.IDLE and may_defer(self._session)

    def _begin(self, text: bytes, before: bytes) -> bool:
        """Defer a BEGIN; `before`: what the client is told in front of its tag."""
        session = self._session
        if not self._may_begin():
            return False
        answer = before + defer(session, text)
        session.stats.sent_bytes += len(answer)
        session.sink.to_client(answer)
        return True

    def _server_to_end(self) -> ServerPort | None:
        """The server on which the transaction can be ended, and the client's settings will be what they were; or None."""
        session = self._session
        if (
            session.status != codes.IN_TRANSACTION
            or len(session.deferred)
            or session.keeps
            or not session.progress.in_place
            or session.settings.is_touched
            or session.replies.has_news
        ):
            return None
        return session.server
