"""The extended protocol: batches of Parse, Bind, Describe, Execute and Close up to their Sync.

The client's statement names stand for `Prepared` statements that any server can be given. The context goes in front of
the first message that needs it, as a Bind and Execute without Sync, so that PostgreSQL runs it in the same transaction
and discards everything up to the Sync if it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.binding import bind, describe
from proxy.client.deferral import begin_for_real, fail_block
from proxy.client.executing import execute
from proxy.client.failed_block import answer_in_failed_block
from proxy.client.mending import BeginFirst, CheckFirst
from proxy.client.names import ends_of_names, portal_name
from proxy.client.opening import BEGIN_UNITS, note_begin, run_begin
from proxy.client.preparing import (
    begin_segment,
    check,
    ensure_parsed,
    inject,
    inject_query,
    parse_unnamed,
    send_parse,
)
from proxy.client.rewrite import BARE, KEEPS_SNAPSHOT_AWAY, Kind, goes_bare, residue
from proxy.client.statements import ClientStatements, Statement
from proxy.client.states import State
from proxy.context import quoting
from proxy.errors import (
    InvalidPortal,
    ProtocolViolation,
    ProxyError,
)
from proxy.server.units import (
    BIND,
    CLOSE,
    LOCAL,
    NOTED,
    PARSE,
    SYNC,
    LocalReply,
    Note,
    Refusal,
)
from proxy.wire import backend, codes, frontend
from proxy.wire.codes import HEADER_BYTES

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort
    from proxy.wire.framing import FrameReader

_NO_SUCH_STATEMENT = b"gatehouse_refused"


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


class ExtendedProtocol:
    """Handles the extended protocol's messages for one session.

    `own`: the client's prepared statements. `portals`: open portals and what they run, with the values bound where those
    matter; None where that is not certain, and it may not be run. `bound`: the names that the batch under way binds or
    closes. `skips`: everything up to the next Sync is ignored, because something failed. `in_batch`: the COPY or Execute
    under way belongs to a batch, in which something ran if `has_run`, and before which the context was not in place if
    `puts_context`. `parsed`: what the client parsed last in the batch
    under way. `checks`: the proxy looks whether this statement still is what the client was told. `awaits_copy`: a COPY FROM
    STDIN was sent whose data may come before PostgreSQL has said that it takes them. `waits_behind_data`: the client's last
    word in a COPY was a Sync, which PostgreSQL answers if what came before fails.
    """

    __slots__ = (
        "awaits_copy",
        "bound",
        "checks",
        "has_run",
        "in_batch",
        "own",
        "parsed",
        "portals",
        "puts_context",
        "session",
        "sizes_set",
        "skips",
        "touched",
        "waits_behind_data",
    )

    def __init__(self, session: Session) -> None:
        self.session = session
        self.own = ClientStatements(session)
        self.portals: dict[bytes, tuple[Statement, tuple[str | None, ...] | None] | None] = {}
        self.bound: list[bytes] = []
        self.skips = False
        self.in_batch = False
        self.has_run = False
        self.puts_context = False
        self.parsed: Statement | None = None
        self.checks: Statement | None = None
        self.awaits_copy = False
        self.waits_behind_data = False
        self.touched: set[str] = set()  # settings changed in the batch under way
        self.sizes_set: dict[str, int] = {}  # by the same

    @property
    def is_skipping(self) -> bool:
        """Whether messages are ignored until the next Sync, by the proxy or by PostgreSQL."""
        if self.skips:
            return True
        server = self.session.server
        return server is not None and server.ledger.skipping

    # Frames.

    def frame(self, code: int, reader: FrameReader) -> bool:
        """Handle the whole frame at the front of the input; False if it has to wait."""
        if reader.size < _LEAST_BYTES[code] or (reader.size > HEADER_BYTES and _LEAST_BYTES[code] == HEADER_BYTES):
            raise ProtocolViolation("invalid message format")
        if code == codes.SYNC:
            reader.take_frame()
            return self.sync()
        if code == codes.FLUSH:
            self._flush(reader.take_frame())
            return True
        session = self.session
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
                answer_in_failed_block(self, code, message)
            elif code == codes.PARSE:
                self._parse(message)
            elif code == codes.BIND:
                bind(self, message)
            elif code == codes.EXECUTE:
                execute(self, message)
            elif code == codes.DESCRIBE:
                describe(self, message)
            else:
                self.send(message, CLOSE)
                name = portal_name(message[6:-1])
                self.portals.pop(name, None)
                self.bound.append(name)
        except CheckFirst as first:
            reader.give_back(message)
            if session.deferred and not self.in_batch:
                begin_for_real(session, self.server())
            else:
                check(self, first.statement, named=first.is_named)
            return False
        except BeginFirst:
            reader.give_back(message)
            begin_for_real(session, self.server())
            return False
        except ProxyError as error:
            if error.severity == "FATAL":
                raise
            session.report_refusal(error)
            self.refuse(error)
        return True

    def _parse(self, message: bytes) -> None:
        session = self.session
        name_end, text_end = ends_of_names(message)
        name = message[5:name_end]
        statement = self.parsed = self.own.meet(message[name_end + 1 :], message[name_end + 1 : text_end])
        server = self.begin(statement)
        single = statement.verdict.single
        if name:
            error = self.own.objection(name, statement)
            if session.progress.status == codes.FAILED and (error is None or single is None or single.kind not in BARE):
                # PostgreSQL refuses all but the end of the transaction; what it takes is prepared when it is bound.
                parse_unnamed(self, server, statement, None if error else name, statement.parse_unnamed)
                self.own.names.setdefault(name, statement)
                return
            if error is not None:
                # PostgreSQL looks at the name last: an error in the text counts first.
                ensure_parsed(self, server, statement, named=True)
                raise error
            self.own.names[name] = statement
            if server.prepared.touch(statement.server_name):
                self._reply_locally(LocalReply(backend.PARSE_COMPLETE, name, None, self.own.next_order()))
            else:
                send_parse(self, server, statement, PARSE, name)
        else:
            parse_unnamed(self, server, statement, b"", message if statement.note is None else statement.parse_unnamed)
            self.own.unnamed = statement

    def note_portal(self, name: bytes, statement: Statement, bound: tuple[str | None, ...] | None) -> None:
        name = portal_name(name)
        self.portals[name] = (statement, bound)
        self.bound.append(name)

    def doubt_portals(self) -> None:
        """The batch under way failed. A Bind or a Close that did not come to be leaves what stood there, and what that
        would run, a COMMIT of all things, must not be taken for something else. Behind a savepoint it can still be run.
        """
        for name in self.bound:
            self.portals[name] = None

    def note_traces(self, server: ServerPort, statement: Statement) -> None:
        """What a portal leaves behind when it is run, which FETCH can do, too."""
        verdict = statement.verdict
        taint = verdict.taint if verdict.single is None else residue(verdict.single, self.own.includes)
        error = self.session.keeping.note_traces(server, verdict, taint)
        if error is not None:
            raise error

    def send_noted(self, message: bytes, unit: int, note: Note) -> None:
        self.send(message, unit | NOTED)
        self.server().ledger.notes.append(note)

    def server(self) -> ServerPort:
        server = self.session.server
        assert server is not None
        return server

    def portal(self, name: bytes, *, is_whole: bool) -> tuple[Statement, tuple[str | None, ...] | None] | None:
        """What a portal runs; None for one that was not made by a Bind.

        Raises InvalidPortal where that is not certain, and where the client made no unnamed one: the server may have the
        context's. What is not a whole message is PostgreSQL's to refuse, before it looks for anything.
        """
        name = portal_name(name)
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
            self.session.send(message)

    def sync(self) -> bool:
        """Handle a Sync; False if its answer is to come."""
        session = self.session
        self.skips = False
        self.parsed = None
        self.checks = None
        self.awaits_copy = False
        if self.sizes_set:
            self.sizes_set = {}
        server = session.server
        if server is None or not self.in_batch:
            session.reply(backend.READY[session.status])
            return True
        session.state = State.BUSY
        server.ledger.units.append(SYNC)
        session.send(frontend.SYNC)
        return False

    # Sending.

    def begin(self, statement: Statement) -> ServerPort:
        """Before the first message that concerns `statement`: the context, unless it needs none."""
        session = self.session
        server = self.server()
        single = statement.verdict.single
        progress = session.progress
        if not self.in_batch:
            self._look_afresh()
        if (
            single is not None
            and not statement.verdict.is_ordinary
            and (single.kind in BARE or (goes_bare(single, progress.status) and not self.has_run))
        ):
            if single.kind == Kind.NO_BLOCK and session.status == codes.IDLE and not self.in_batch:
                begin_segment(session, is_alone=True)
                self._enter_batch()
            elif not self.in_batch:
                self._follow_client(server)
            return server
        if progress.in_place or progress.status == codes.FAILED:
            if not self.in_batch:
                self._follow_client(server)
            return server
        if session.deferred and not self.in_batch and single is not None and single.command in KEEPS_SNAPSHOT_AWAY:
            raise BeginFirst
        self._put_context(server)
        return server

    def _follow_client(self, server: ServerPort) -> None:
        """Have the server's session follow the client's before it is asked what it has: that drops its unnamed statement."""
        wanted = self.session.wanted
        if server.followed is not wanted and server.followed != wanted:
            self._open(server)

    def _look_afresh(self) -> None:
        """A message comes with which a batch may begin: what the one before came to decides nothing."""
        self.session.progress.status = self.session.status
        self.has_run = False

    def _put_context(self, server: ServerPort) -> None:
        session = self.session
        if session.status == codes.IN_TRANSACTION and not self.in_batch and not session.deferred:
            begin_segment(session)
            inject_query(session, server)
            self._enter_batch()
        else:
            inject(self, server)

    def begin_to_run(self, statement: Statement | None) -> None:
        """Before an Execute: whatever its portal is, it must not run without the context.

        From PostgreSQL 18 on, what follows the first command of a batch has an implicit transaction block, in which it takes
        what it refuses outside of one; a portal may have been bound before that, and what DECLARE made is unknown here.
        """
        progress = self.session.progress
        if not self.in_batch:
            self._look_afresh()
        if progress.in_place or progress.status == codes.FAILED:
            self.has_run = True
            return
        single = None if statement is None else statement.verdict.single
        is_bare = single is not None and (
            single.kind in BARE or (goes_bare(single, progress.status) and not self.has_run)
        )
        if not is_bare:
            self._put_context(self.server())
        self.has_run = True

    def _enter_batch(self) -> None:
        self.in_batch = True
        self.has_run = False
        self.puts_context = not self.session.progress.in_place
        self.bound = []
        self.touched.clear()
        self.session.state = State.BATCH

    def send(self, message: bytes, unit: int) -> None:
        session = self.session
        server = self.server()
        if not self.in_batch:
            self._open(server)
        server.ledger.units.append(unit)
        session.send(message)

    def _open(self, server: ServerPort) -> None:
        """Begin a batch, and the transaction that was deferred."""
        begin_segment(self.session)
        self._enter_batch()
        if self.session.deferred:
            self._begin_transaction(server)

    def _begin_transaction(self, server: ServerPort) -> None:
        """Send the BEGIN that was deferred, in the client's batch: if it fails, nothing of that runs."""
        session = self.session
        note_begin(server)
        server.ledger.units.extend(BEGIN_UNITS)
        session.send(run_begin(session.deferred))

    def _reply_locally(self, reply: LocalReply) -> None:
        """Answer in the client's order: at once if nothing is owed, else when its turn comes."""
        session = self.session
        server = session.server
        if server is None or not server.ledger.units:
            session.reply(reply.data)
        else:
            server.ledger.units.append(LOCAL | NOTED)
            server.ledger.notes.append(reply)

    def refuse(self, error: ProxyError) -> None:
        """Fail the batch with an error of the proxy's own; PostgreSQL must see the transaction fail too."""
        session = self.session
        server = session.server
        if server is None or (session.status == codes.IDLE and not self.in_batch):
            if server is None and session.status != codes.IDLE:
                fail_block(session)
            session.reply(backend.error_response(error))
        else:
            self.send(frontend.bind(b"", _NO_SUCH_STATEMENT, ()), BIND | NOTED)
            server.ledger.notes.append(Refusal(error))
        self.skips = True
