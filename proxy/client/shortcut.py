"""The short way for what most clients send most of the time: one unremarkable statement in one chunk.

A Query, or a Bind, Describe, Execute and Sync of a statement that the server holds, is looked at as a whole: no frame is
cut out, no unit handled by itself. What goes to the server is, byte for byte, what `simple.py` and `extended.py` would
send, and whatever is not exactly of this kind is left to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from proxy.client.mending import MAX_MENDED_BYTES
from proxy.client.states import State
from proxy.server.expected import BATCH_ANSWER, BEHIND_CONTEXT, DESCRIBED_ANSWER, MOST_SETS, behind_sets
from proxy.server.units import BIND, DESCRIBE, DROP, EXECUTE, INJECTED, QUERY, STATEMENT, SYNC
from proxy.wire import codes, frontend

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort

_RUN: Final[bytes] = frontend.execute(b"") + frontend.SYNC
_DESCRIBE_AND_RUN: Final[bytes] = frontend.describe(b"P", b"") + _RUN
_RUN_BYTES: Final = 15
_DESCRIBE_AND_RUN_BYTES: Final = 22

_LEAST_BIND_BYTES: Final = 13
_LEAST_BEHIND_NAME_BYTES: Final = 6
"""Three counts of two bytes: formats, parameters, formats of results."""

_CONTEXT_UNITS: Final = (BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED)
_UNITS: Final[tuple[int, ...]] = (BIND, EXECUTE, SYNC)
_UNITS_DESCRIBED: Final[tuple[int, ...]] = (BIND, DESCRIBE, EXECUTE, SYNC)
_UNITS_BEHIND_CONTEXT: Final[tuple[int, ...]] = (*_CONTEXT_UNITS, *_UNITS)
_UNITS_DESCRIBED_BEHIND_CONTEXT: Final[tuple[int, ...]] = (*_CONTEXT_UNITS, *_UNITS_DESCRIBED)


_QUERY_UNITS: Final[list[tuple[int, ...]]] = [
    (*[STATEMENT | DROP | INJECTED] * sets, QUERY) for sets in range(MOST_SETS + 1)
]
"""The units of a Query of one statement behind so many SET LOCALs."""


class Shortcut:
    """The short way of one session."""

    __slots__ = ("_name", "_name_end", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._name = b""  # of the statement that was run last, and where it ended: the next one is often the same
        self._name_end = 6

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
        if session.deferred or session.keeping.must_establish:
            return False
        size = len(data)
        if (
            size <= _LEAST_BIND_BYTES
            or size > MAX_MENDED_BYTES
            or size > session.limits.max_query_bytes
            or size > session.limits.max_message_bytes
        ):
            return False
        if data[0] == codes.BIND:
            return self._batch(data)
        return data[0] == codes.QUERY and self._query(data)

    def _batch(self, data: bytes) -> bool:
        size: i64 = len(data)
        low: i64 = data[3]
        length: i64 = data[4]
        length += low * 256
        rest = size - length - 1
        session = self._session
        extended = session.extended
        # The unnamed portal, and a statement with a name.
        if data[1] or data[2] or data[5] or not data[6] or extended.skips or length < _LEAST_BIND_BYTES:
            return False
        is_described = rest == _DESCRIBE_AND_RUN_BYTES
        if is_described:
            if data[size - rest :] != _DESCRIBE_AND_RUN:
                return False
        elif rest != _RUN_BYTES or data[size - rest :] != _RUN:
            return False
        name_end = self._name_end
        if name_end >= size or data[name_end] or data[6:name_end] != self._name:
            self._name_end = name_end = data.find(b"\0", 6)
            self._name = data[6:name_end]
        if name_end > length - _LEAST_BEHIND_NAME_BYTES:
            return False
        statement = extended.own.names.get(self._name)
        if (
            statement is None
            or not statement.verdict.is_unremarkable
            or statement.note is not None
            or statement.version != session.shared.catalog.schema_version
        ):
            return False
        if is_described and statement.columns is None:
            return False
        server = self._server_for(data)
        if server is None:
            return True
        context = session.context
        prepared = server.prepared
        must_inject = not session.progress.in_place
        if (must_inject and context.statement_name not in prepared) or not prepared.touch(statement.server_name):
            session.pump()
            return True
        session.intake.reader.clear()
        parameters = data[name_end:]
        head = statement.head_of_bind(len(parameters) - int(rest))
        if must_inject:
            written = b"".join((context.bind_execute, head, parameters))
            answer = BEHIND_CONTEXT
            units = _UNITS_DESCRIBED_BEHIND_CONTEXT if is_described else _UNITS_BEHIND_CONTEXT
        else:
            written = head + parameters
            answer = 0
            units = _UNITS_DESCRIBED if is_described else _UNITS
        answer += DESCRIBED_ANSWER if is_described else BATCH_ANSWER
        extended.in_batch = True
        if session.status == codes.IN_TRANSACTION:
            extended.portals[b""] = (statement, None)
        self._send(server, written, answer, units, must_inject=must_inject)
        return True

    def _query(self, data: bytes) -> bool:
        session = self._session
        size: i64 = len(data)
        low: i64 = data[3]
        length: i64 = data[4]
        length += low * 256
        if data[1] or data[2] or length + 1 != size or data.find(b"\0", 5) != size - 1:
            return False
        verdict = session.shared.verdicts.verdict(data[5:-1])
        context = session.context
        if not verdict.is_unremarkable or context.statements > MOST_SETS:
            return False
        server = self._server_for(data)
        if server is None:
            return True
        session.intake.reader.clear()
        session.extended.own.unnamed = None
        server.prepared.unnamed = None
        if session.progress.in_place:
            self._send(server, data, behind_sets(0), _QUERY_UNITS[0], must_inject=False)
            return True
        new_length = int(length) + len(context.prefix)
        head = (codes.QUERY << 32 | new_length).to_bytes(5, "big")
        written = b"".join((head, context.prefix, data[5:]))
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
        if server is not None and server.followed == session.wanted:
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
