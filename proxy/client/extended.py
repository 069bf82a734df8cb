"""The extended protocol: batches of Parse, Bind, Describe, Execute and Close up to their Sync.

The client's statement names stand for `Prepared` statements that any server can be given. The context goes in front of
the first message that needs it, as a Bind and Execute without Sync, so that PostgreSQL runs it in the same transaction
and discards everything up to the Sync if it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.mending import CheckFirst, outdated
from proxy.client.opening import BEGIN_UNITS, note_begin, run_begin
from proxy.client.rewrite import BARE, Kind, Substitute, block_has_failed, goes_bare, residue
from proxy.client.set_sizes import bytes_set
from proxy.client.statements import ClientStatements, Statement, bound_value, bound_values
from proxy.client.states import State
from proxy.context import quoting
from proxy.errors import (
    InTransaction,
    InvalidPortal,
    LimitExceeded,
    ProtocolViolation,
    ProxyError,
)
from proxy.guard.rules import judge_bind
from proxy.guard.statements import Statement as SqlStatement
from proxy.server.prepared import close_statement
from proxy.server.units import (
    BIND,
    CLOSE,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    LOCAL,
    NOTED,
    PARSE,
    SYNC,
    Capture,
    Description,
    Effect,
    Eviction,
    LocalReply,
    Note,
    ParseRecord,
    Refusal,
)
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame
from proxy.wire.codes import HEADER_BYTES

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort
    from proxy.wire.framing import FrameReader

_MAY_COMMIT = frozenset({"CALL", "DO"})
_NO_SUCH_STATEMENT = b"gatehouse_refused"
_MAX_BIND_HEAD_BYTES = 4096
_BEHIND_PORTAL_BYTES = 5
"""Of an Execute: the end of the portal's name, and a number of rows."""
_NAME_BYTES = 63
"""What PostgreSQL keeps of a portal's name."""


_LEAST_BYTES: Final[dict[int, int]] = {
    codes.SYNC: HEADER_BYTES,
    codes.FLUSH: HEADER_BYTES,
    codes.EXECUTE: HEADER_BYTES + 5,
    codes.DESCRIBE: HEADER_BYTES + 2,
    codes.CLOSE: HEADER_BYTES + 2,
    codes.PARSE: HEADER_BYTES + 4,
    codes.BIND: HEADER_BYTES + 8,
}
"""The shortest messages there can be; Sync and Flush are never longer."""


def _ends_of_names(message: bytes) -> tuple[int, int]:
    """Where the two strings at the front of a Parse or Bind end."""
    first = 5 if message[5] == 0 else message.find(b"\0", 5)
    second = message.find(b"\0", first + 1)
    if first < 0 or second < 0:
        raise ProtocolViolation("invalid string in message")
    return first, second


class ExtendedProtocol:
    """Handles the extended protocol's messages for one session.

    `own`: the client's prepared statements. `portals`: open portals and what they run, with the values bound where those
    matter; None where that is not certain, and it may not be run. `bound`: the names that the batch under way binds or
    closes. `skips`: everything up to the next Sync is ignored, because something failed. `in_batch`: the COPY or Execute
    under way belongs to a batch. `parsed`: what the client parsed last in the batch under way. `checks`: the proxy looks
    whether this statement still is what the client was told. `awaits_copy`: a COPY FROM STDIN was sent whose data may come
    before PostgreSQL has said that it takes them.
    """

    __slots__ = (
        "_bytes_set",
        "_session",
        "_touched",
        "awaits_copy",
        "bound",
        "checks",
        "in_batch",
        "own",
        "parsed",
        "portals",
        "skips",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        self.own = ClientStatements(session)
        self.portals: dict[bytes, tuple[Statement, tuple[str | None, ...] | None] | None] = {}
        self.bound: list[bytes] = []
        self.skips = False
        self.in_batch = False
        self.parsed: Statement | None = None
        self.checks: Statement | None = None
        self.awaits_copy = False
        self._touched: set[str] = set()  # settings changed in the batch under way
        self._bytes_set: dict[str, int] = {}  # by the same

    @property
    def is_skipping(self) -> bool:
        """Whether messages are ignored until the next Sync, by the proxy or by PostgreSQL."""
        if self.skips:
            return True
        server = self._session.server
        return server is not None and server.ledger.skipping

    # Frames.

    def frame(self, code: int, reader: FrameReader) -> bool:
        """Handle the whole frame at the front of the input; False if it has to wait."""
        if reader.size < _LEAST_BYTES[code] or (reader.size > HEADER_BYTES and _LEAST_BYTES[code] == HEADER_BYTES):
            raise ProtocolViolation("invalid message format")
        if code == codes.SYNC:
            reader.take_frame()
            return self._sync()
        if code == codes.FLUSH:
            self._flush(reader.take_frame())
            return True
        session = self._session
        if code == codes.CLOSE:
            message = reader.look(reader.size)
            if message[5:6] == b"S":
                reader.take_frame()
                self._close_statement(message)
                return True
        is_nobodys = session.server is None and session.status == codes.FAILED
        if not is_nobodys and not session.ensure_server():
            return session.state == State.IDLE
        message = reader.take_frame()
        try:
            if is_nobodys:
                self._in_failed_block(code, message)
            elif code == codes.PARSE:
                self._parse(message)
            elif code == codes.BIND:
                self._bind(message)
            elif code == codes.EXECUTE:
                self._execute(message)
            elif code == codes.DESCRIBE:
                self._describe(message)
            else:
                self._send(message, CLOSE)
                name = message[6:-1][:_NAME_BYTES]
                self.portals.pop(name, None)
                self.bound.append(name)
        except CheckFirst as first:
            reader.give_back(message)
            self._check(first.statement, named=first.is_named)
            return False
        except ProxyError as error:
            if error.severity == "FATAL":
                raise
            session.report_refusal(error)
            self.refuse(error)
        return True

    def _in_failed_block(self, code: int, message: bytes) -> None:
        """A transaction that PostgreSQL never heard of has failed: it can only be ended."""
        session = self._session
        if code == codes.PARSE:
            name_end, text_end = _ends_of_names(message)
            statement = self.own.meet(message[name_end + 1 :], message[name_end + 1 : text_end])
            self._must_end_block(statement)
            if name_end > 5:
                self.own.names[message[5:name_end]] = statement
            else:
                self.own.unnamed = statement
            session.reply(backend.PARSE_COMPLETE)
        elif code == codes.BIND:
            portal_end, name_end = _ends_of_names(message)
            statement = self.own.find(message[portal_end + 1 : name_end])
            self._must_end_block(statement)
            self.portals[message[5:portal_end][:_NAME_BYTES]] = (statement, None)
            session.reply(backend.BIND_COMPLETE)
        elif code == codes.DESCRIBE:
            is_statement = message[5:6] == b"S"
            if is_statement:
                self._must_end_block(self.own.find(message[6:-1]))
            session.reply(backend.NO_PARAMETERS + backend.NO_DATA if is_statement else backend.NO_DATA)
        elif code == codes.EXECUTE:
            if message[5 : message.find(b"\0", 5)][:_NAME_BYTES] not in self.portals:
                raise block_has_failed()
            self.portals.clear()
            session.end_block()
            session.reply(backend.command_complete(b"ROLLBACK"))
        else:
            session.reply(backend.CLOSE_COMPLETE)

    def _must_end_block(self, statement: Statement) -> None:
        single = statement.verdict.single
        if single is None or (single.kind != Kind.COMMIT and single.kind != Kind.ROLLBACK):
            raise block_has_failed()

    def _parse(self, message: bytes) -> None:
        session = self._session
        name_end, text_end = _ends_of_names(message)
        name = message[5:name_end]
        statement = self.parsed = self.own.meet(message[name_end + 1 :], message[name_end + 1 : text_end])
        server = self._begin(statement)
        single = statement.verdict.single
        if name:
            error = self.own.objection(name, statement)
            if session.progress.status == codes.FAILED and (error is None or single is None or single.kind not in BARE):
                # PostgreSQL refuses all but the end of the transaction; what it takes is prepared when it is bound.
                self._parse_unnamed(server, statement, None if error else name, statement.parse_unnamed)
                self.own.names.setdefault(name, statement)
                return
            if error is not None:
                # PostgreSQL looks at the name last: an error in the text counts first.
                self._ensure_parsed(server, statement, named=True)
                raise error
            self.own.names[name] = statement
            if server.prepared.touch(statement.server_name):
                self._reply_locally(LocalReply(backend.PARSE_COMPLETE, name, None, self.own.next_order()))
            else:
                self._send_parse(server, statement, PARSE, name)
        else:
            self._parse_unnamed(server, statement, b"", message if statement.note is None else statement.parse_unnamed)
            self.own.unnamed = statement

    def _parse_unnamed(
        self, server: ServerPort, statement: Statement, client_name: bytes | None, message: bytes
    ) -> None:
        record = ParseRecord(b"", client_name, self.own.next_order(), self.own.unnamed)
        server.ledger.parses.append(record)
        server.prepared.unnamed = statement
        self._send(message, PARSE)

    def _send_parse(self, server: ServerPort, statement: Statement, unit: int, client_name: bytes | None) -> None:
        self._make_room(server, statement.server_name)
        server.ledger.parses.append(ParseRecord(statement.server_name, client_name, self.own.next_order()))
        self._send(statement.parse, unit)

    def _make_room(self, server: ServerPort, name: bytes) -> None:
        """`name` is about to be prepared: close the least recently used statement, if there are too many."""
        surplus = server.prepared.add(name)
        if surplus is not None:
            self._send(close_statement(surplus), CLOSE | DROP | NOTED)
            server.ledger.notes.append(Eviction(surplus))

    def _ensure_parsed(self, server: ServerPort, statement: Statement, *, named: bool) -> None:
        """Have the statement on this server."""
        if named:
            if server.prepared.touch(statement.server_name):
                return
            self._send_parse(server, statement, PARSE | DROP, None)
        elif server.prepared.unnamed is not statement:
            server.prepared.unnamed = statement
            server.ledger.parses.append(ParseRecord(b"", None))
            self._send(statement.parse_unnamed, PARSE | DROP)
        else:
            return
        is_old = statement.version != self._session.shared.catalog.schema_version
        if is_old and statement.columns and self.checks is not statement:
            # In the middle of a batch it can not be looked at before: should it be something else now, nobody sees rows of it.
            self._send_noted(
                frontend.describe(b"S", statement.server_name if named else b""),
                DESCRIBE | DROP,
                Description(statement, is_fatal=True),
            )

    def _bind(self, message: bytes) -> None:
        session = self._session
        if message[5] == 0:
            portal_end = 5
            name_end = message.find(b"\0", 6)
            if name_end < 0:
                raise ProtocolViolation("invalid string in message")
        else:
            portal_end, name_end = _ends_of_names(message)
        name = message[portal_end + 1 : name_end]
        statement = self.own.find(name)
        if statement.version != session.shared.catalog.schema_version:
            self._mind_version(statement, named=bool(name))
        bound = None
        single = statement.verdict.single
        if single is not None and statement.verdict.needs_rules:
            if single.set_config:
                bound = values = bound_values(message[name_end + 1 :])
                error = judge_bind(single, lambda number: bound_value(values, number), session.policy)
                if error is not None:
                    raise error
            self._mind_size(single, bound)
        server = self._begin(statement)
        self._ensure_parsed(server, statement, named=bool(name))
        portal = message[5:portal_end]
        if name:
            message = frame(codes.BIND, message[5 : portal_end + 1] + statement.server_name + message[name_end:])
        if statement.verdict.leaves_traces:
            self._note_traces(server, statement)
        self._send(message, BIND)
        self._note_portal(portal, statement, bound)

    def _note_portal(self, name: bytes, statement: Statement, bound: tuple[str | None, ...] | None) -> None:
        name = name[:_NAME_BYTES]
        self.portals[name] = (statement, bound)
        self.bound.append(name)

    def doubt_portals(self) -> None:
        """The batch under way failed. A Bind or a Close that did not come to be leaves what stood there, and what that
        would run, a COMMIT of all things, must not be taken for something else. Behind a savepoint it can still be run.
        """
        for name in self.bound:
            self.portals[name] = None

    def _mind_size(self, single: SqlStatement, bound: tuple[str | None, ...] | None) -> None:
        """What is set must not become too much, what is still on its way in this batch included."""
        sizes = bytes_set((single,), bound)
        if not sizes:
            return
        sizes = {**self._bytes_set, **sizes}
        error = self._session.objection_to_settings(sizes)
        if error is not None:
            raise error
        self._bytes_set = sizes

    def _note_traces(self, server: ServerPort, statement: Statement) -> None:
        """What a portal leaves behind when it is run, which FETCH can do, too."""
        verdict = statement.verdict
        taint = verdict.taint if verdict.single is None else residue(verdict.single, self.own.includes)
        error = self._session.keeping.note_traces(server, verdict, taint)
        if error is not None:
            raise error

    def large_bind(self, reader: FrameReader) -> bool:
        """A Bind that is too large to hold: change its head and stream the rest."""
        session = self._session
        head = reader.look(_MAX_BIND_HEAD_BYTES)
        portal_end, name_end = _ends_of_names(head)
        name = head[portal_end + 1 : name_end]
        size = reader.size
        if session.server is None and session.status == codes.FAILED:
            self.refuse(block_has_failed())
            return True
        try:
            statement = self.own.find(name)
            single = statement.verdict.single
            if single is not None and single.set_config:
                raise LimitExceeded("a set_config() call with parameters of this size is not accepted")
        except ProxyError as error:
            self.refuse(error)
            return True  # the frame is skipped with the rest of the batch
        if not session.ensure_server():
            return session.state == State.IDLE
        if session.deferred and not self.in_batch:
            session.begin_for_real(self._server())
            return False
        server = self._begin(statement)
        self._ensure_parsed(server, statement, named=bool(name))
        new_name = statement.server_name if name else b""
        try:
            if statement.verdict.leaves_traces:
                self._note_traces(server, statement)
        except ProxyError as error:
            session.report_refusal(error)
            self.refuse(error)
            return True
        new_size = size - len(name) + len(new_name)
        reader.take_some(name_end)
        self._send(bytes((codes.BIND,)) + (new_size - 1).to_bytes(4, "big") + head[5 : portal_end + 1] + new_name, BIND)
        self._note_portal(head[5:portal_end], statement, None)
        session.intake.stream_rest(size - name_end)
        return True

    def _describe(self, message: bytes) -> None:
        if message[5:6] != b"S":
            name = message[6:-1]
            known = self._portal(name, is_whole=message[5:6] == b"P" and message.find(b"\0", 6) == len(message) - 1)
            if known is None or known[0].columns is not None:
                self._send(message, DESCRIBE)
            else:
                self._send_noted(message, DESCRIBE, Description(known[0]))
            return
        name = message[6:-1]
        statement = self.own.find(name)
        if statement.version != self._session.shared.catalog.schema_version:
            self._mind_version(statement, named=bool(name))
        server = self._begin(statement)
        self._ensure_parsed(server, statement, named=bool(name))
        if name:
            message = frontend.describe(b"S", statement.server_name)
        if statement.types is None:
            self._send_noted(message, DESCRIBE, Description(statement))
        else:
            self._send(message, DESCRIBE)

    def _mind_version(self, statement: Statement, *, named: bool) -> None:
        """Definitions have changed since the client prepared the statement.

        Where it was parsed before, PostgreSQL sees to it. Elsewhere it is parsed anew, and must not give columns other
        than those that the client was told.
        """
        if statement.is_outdated:
            raise outdated()
        if statement.columns is None and statement.types is None:
            return
        session = self._session
        prepared = self._server().prepared
        is_there = statement.server_name in prepared if named else prepared.unnamed is statement
        if is_there or session.status == codes.FAILED or self.checks is statement:
            self.checks = None
        elif not self.in_batch:
            raise CheckFirst(statement, is_named=named)

    def _check(self, statement: Statement, *, named: bool) -> None:
        """Parse the statement, and see what it is now, in a batch of its own before the client's."""
        session = self._session
        server = self._begin(statement)
        self.checks = statement
        self._ensure_parsed(server, statement, named=named)
        self._send_noted(
            frontend.describe(b"S", statement.server_name if named else b""), DESCRIBE | DROP, Description(statement)
        )
        server.ledger.units.append(SYNC | DROP)
        session.send(frontend.SYNC)
        session.state = State.BUSY

    def _send_noted(self, message: bytes, unit: int, note: Note) -> None:
        self._send(message, unit | NOTED)
        self._server().ledger.notes.append(note)

    def _execute(self, message: bytes) -> None:
        session = self._session
        server = self._server()
        end = 5 if message[5] == 0 else message.find(b"\0", 5)
        known = self._portal(message[5:end], is_whole=len(message) == end + _BEHIND_PORTAL_BYTES)
        if known is None:
            self._send(message, EXECUTE)  # a cursor of DECLARE, or an error that PostgreSQL words itself
            return
        statement, bound = known
        verdict = statement.verdict
        if verdict.is_ordinary and statement.note is None:
            self.awaits_copy = False
            self._send(message, EXECUTE)
            return
        if (
            verdict.single is not None
            and verdict.single.kind == Kind.DISCARD_ALL
            and session.progress.status != codes.IDLE
        ):
            raise InTransaction("DISCARD ALL cannot run inside a transaction block")
        sent = statement.note
        if not isinstance(sent, Substitute) or sent.effect is None:
            self._send(message, EXECUTE)
        else:
            self._send(message, EXECUTE | NOTED)
            server.ledger.notes.append(
                Effect(sent.effect.statement, sent.effect.tag, bound, is_rewritten=sent.effect.is_rewritten)
            )
            if (
                sent.effect.is_rewritten
                and verdict.single is not None
                and verdict.single.kind == Kind.SET_CHARACTERISTICS
            ):
                self._run_all_unseen(sent.texts[:-1])
            for name in sent.captures:
                self._capture(server, name)
        if verdict.single is not None:
            self.awaits_copy = verdict.single.copy_from_stdin
            self._touched.update(change.name for change in verdict.single.changes)
            session.progress.after(verdict.single.kind)
            if verdict.single.command in _MAY_COMMIT and session.progress.status == codes.IDLE:
                # Until PostgreSQL 17 it may end its transaction inside. In a block it can not, and the context placed
                # anew would override what the client SET LOCAL there.
                session.progress.in_place = False
            if verdict.single.kind in (Kind.RESET_ALL, Kind.DISCARD_ALL):
                self._reset_all()

    def _reset_all(self) -> None:
        """Behind the Execute that stands for RESET ALL: reset what the client changed, for the rest of the batch."""
        settings = self._session.settings
        names = sorted(settings.names() | self._touched)
        self._run_all_unseen(tuple(quoting.set_local(name, settings.default(name)) for name in names))

    def _run_all_unseen(self, texts: tuple[bytes, ...]) -> None:
        for text in texts:
            self._run_unseen(text)
            self._send(frontend.execute(b""), EXECUTE | DROP)

    def _run_unseen(self, sql: bytes) -> None:
        """Parse and Bind a statement of the proxy's own."""
        server = self._server()
        server.prepared.unnamed = None
        server.ledger.parses.append(ParseRecord(b"", None))
        self._send(frontend.parse(b"", sql), PARSE | DROP)
        self._send(frontend.bind(b"", b"", ()), BIND | DROP)

    def _server(self) -> ServerPort:
        server = self._session.server
        assert server is not None
        return server

    def _capture(self, server: ServerPort, name: str) -> None:
        """Ask for the value that was just SET: PostgreSQL does not report what the transaction takes back."""
        self._run_unseen(b"SHOW " + quoting.setting_name(name))
        self._send(frontend.execute(b""), EXECUTE | DROP | NOTED)
        server.ledger.notes.append(Capture(name))

    def _portal(self, name: bytes, *, is_whole: bool) -> tuple[Statement, tuple[str | None, ...] | None] | None:
        """What a portal runs; None for one that was not made by a Bind.

        Raises InvalidPortal where that is not certain, and where the client made no unnamed one: the server may have the
        context's. What is not a whole message is PostgreSQL's to refuse, before it looks for anything.
        """
        name = name[:_NAME_BYTES]
        known = self.portals.get(name)
        if known is None and is_whole and (len(name) == 0 or name in self.portals):
            raise InvalidPortal(f'portal "{quoting.to_text(name)}" does not exist')
        return known

    def _close_statement(self, message: bytes) -> None:
        name = message[6:-1]
        closed = self.own.close(name)
        closes = None if closed is None else (name, closed)
        self._reply_locally(LocalReply(backend.CLOSE_COMPLETE, None, closes, self.own.next_order()))

    def _flush(self, message: bytes) -> None:
        if self.in_batch:
            self._session.send(message)

    def _sync(self) -> bool:
        session = self._session
        self.skips = False
        self.parsed = None
        self.checks = None
        self.awaits_copy = False
        if self._bytes_set:
            self._bytes_set = {}
        server = session.server
        if server is None or not self.in_batch:
            session.reply(backend.READY[session.status])
            return True
        session.state = State.BUSY
        server.ledger.units.append(SYNC)
        session.send(frontend.SYNC)
        return False

    # Sending.

    def _begin(self, statement: Statement) -> ServerPort:
        """Before the first message that concerns `statement`: the context, unless it needs none."""
        session = self._session
        server = self._server()
        single = statement.verdict.single
        progress = session.progress
        if not self.in_batch:
            progress.status = session.status
        if (
            single is not None
            and not statement.verdict.is_ordinary
            and (single.kind in BARE or goes_bare(single, progress.status))
        ):
            return server
        if progress.in_place or progress.status == codes.FAILED:
            return server
        if session.status == codes.IN_TRANSACTION and not self.in_batch and not session.deferred:
            session.begin_segment()
            session.inject_query(server)
            self._enter_batch()
        else:
            self._inject(server)
        return server

    def _inject(self, server: ServerPort) -> None:
        """Put the context in place by a Bind and Execute without Sync."""
        session = self._session
        context = session.context
        if not server.prepared.touch(context.statement_name):
            self._make_room(server, context.statement_name)
            server.ledger.parses.append(ParseRecord(context.statement_name, None))
            self._send(context.parse, PARSE | DROP | INJECTED)
        self._send(context.bind_execute, BIND | DROP | INJECTED)
        server.ledger.units.append(EXECUTE | DROP | INJECTED)
        session.progress.in_place = True
        session.stats.context_injections += 1

    def _enter_batch(self) -> None:
        self.in_batch = True
        self.bound = []
        self._touched.clear()
        self._session.state = State.BATCH

    def _send(self, message: bytes, unit: int) -> None:
        session = self._session
        server = self._server()
        if not self.in_batch:
            session.begin_segment()
            self._enter_batch()
            if session.deferred:
                self._begin_transaction(server)
        server.ledger.units.append(unit)
        session.send(message)

    def _begin_transaction(self, server: ServerPort) -> None:
        """Send the BEGIN that was deferred, in the client's batch: if it fails, nothing of that runs."""
        session = self._session
        note_begin(server)
        server.ledger.units.extend(BEGIN_UNITS)
        session.send(run_begin(session.deferred))

    def _reply_locally(self, reply: LocalReply) -> None:
        """Answer in the client's order: at once if nothing is owed, else when its turn comes."""
        session = self._session
        server = session.server
        if server is None or not server.ledger.units:
            session.reply(reply.data)
        else:
            server.ledger.units.append(LOCAL | NOTED)
            server.ledger.notes.append(reply)

    def refuse(self, error: ProxyError) -> None:
        """Fail the batch with an error of the proxy's own; PostgreSQL must see the transaction fail too."""
        session = self._session
        server = session.server
        if server is None or (session.status == codes.IDLE and not self.in_batch):
            if server is None and session.status != codes.IDLE:
                session.fail_block()
            session.reply(backend.error_response(error))
        else:
            self._send(frontend.bind(b"", _NO_SUCH_STATEMENT, ()), BIND | NOTED)
            server.ledger.notes.append(Refusal(error))
        self.skips = True
