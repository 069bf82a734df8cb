"""The simple protocol: Query and FunctionCall, and what stands in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.client.deferral import begin_for_real, defer, end_block, fail_block, may_defer
from proxy.client.objections import objection, objection_to_encoding, objection_to_size
from proxy.client.preparing import begin_segment, inject_query
from proxy.client.rewrite import (
    BARE,
    BEGUN,
    Kind,
    Progress,
    Rewriter,
    block_has_failed,
    changes_encoding,
    changes_parsing,
    goes_bare,
    residue,
    set_locally,
)
from proxy.client.set_sizes import bytes_set
from proxy.client.states import State
from proxy.errors import FeatureRefused, ProtocolViolation, ProxyError
from proxy.guard.rules import judge, judge_function
from proxy.guard.verdicts import Verdict
from proxy.server.units import DROP, INJECTED, NOTED, QUERY, STATEMENT, SYNC, Effect, Refusal
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort
    from proxy.wire.framing import FrameReader

_LOCAL_TAGS = {Kind.RESET_ALL: b"RESET", Kind.DISCARD_ALL: b"DISCARD ALL", Kind.DEALLOCATE: b"DEALLOCATE"}


class SimpleProtocol:
    """Handles Query and FunctionCall for one session."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def query(self, reader: FrameReader) -> bool:
        """Handle the whole Query at the front of the input; False if it has to wait."""
        session = self._session
        if session.state == State.BATCH:
            assert session.server is not None
            _end_batch(session, session.server)
            return False
        message = reader.look(reader.size)
        if message.find(b"\0", 5) != len(message) - 1:
            raise ProtocolViolation("invalid message format")
        session.extended.own.unnamed = None  # a Query drops it (manual, "Extended Query")
        text = message[5:-1]
        verdict = session.shared.verdicts.verdict(text)
        if verdict.needs_rules or verdict.has_transaction_control:
            sizes = bytes_set(verdict.statements)
            error = (
                judge(verdict, session.policy)
                or objection(session, verdict, in_batch=False)
                or objection_to_size(session, sizes)
                or objection_to_encoding(session, verdict.statements)
            )
            if error is not None:
                reader.take_frame()
                session.report_refusal(error)
                self.refuse(error)
                return True
        if session.server is None and (session.status != codes.IDLE or verdict.can_be_deferred):
            if self._without_server(verdict, text, reader):
                return True
        elif (
            session.status == codes.IDLE
            and not (verdict.is_plain and verdict.statements)
            and self._answer_locally(verdict, reader)
        ):
            return True
        if not session.ensure_server():
            return session.state == State.IDLE
        reader.take_frame()
        self._send(message, text, verdict)
        return True

    def _send(self, message: bytes, text: bytes, verdict: Verdict) -> None:
        session = self._session
        server = session.server
        assert server is not None
        if verdict.leaves_traces:
            error = session.keeping.note_traces(server, verdict, self._taint(verdict))
            if error is not None:
                session.report_refusal(error)
                self.refuse(error)
                return
        single = verdict.single
        is_idle = session.status == codes.IDLE
        begin_segment(session, is_alone=is_idle and single is not None and single.kind == Kind.NO_BLOCK)
        if verdict.needs_rules or not (verdict.is_plain or (single is not None and single.kind in BARE)):
            self._note_settings(verdict)
        ledger = server.ledger
        progress = session.progress
        server.prepared.unnamed = None
        session.state = State.BUSY
        if single is not None and not session.deferred and self._is_only_noted(single.kind):
            ledger.units.append(STATEMENT | NOTED)
            ledger.units.append(QUERY)
            ledger.notes.append(Effect(single))
            session.send(message)
            return
        if not verdict.is_plain and self._rewrite(text, verdict, server):
            return
        if session.deferred:
            self._send_with_begin(text, verdict, server)
            return
        if (
            session.status == codes.FAILED
            or progress.in_place
            or not verdict.statements
            or _goes_bare(verdict, session.status)
        ):
            ledger.units.append(QUERY)
            session.send(message)
        else:
            context = session.context
            ledger.units.extend([STATEMENT | DROP | INJECTED] * context.statements)
            ledger.units.append(QUERY)
            ledger.positions = context.prefix_length
            progress.in_place = True
            session.stats.context_injections += 1
            session.send(frame(codes.QUERY, context.prefix + message[5:]))

    def _note_settings(self, verdict: Verdict) -> None:
        """What the rest of the transaction has to know of settings that the Query changes."""
        session = self._session
        for statement in verdict.statements:
            session.parses_apart = session.parses_apart or changes_parsing(statement)
            session.recodes = session.recodes or changes_encoding(statement)
            for name in set_locally(statement):
                session.settings.note_local(name)
                session.replies.undoes_context = session.replies.undoes_context or not session.progress.in_place

    def _is_only_noted(self, kind: int) -> bool:
        """Whether a statement goes as it is, without context, and only its success matters to the session."""
        if kind == Kind.COMMIT or kind == Kind.ROLLBACK:
            return True
        return kind == Kind.DISCARD_ALL and self._session.status == codes.IDLE

    def _send_with_begin(self, text: bytes, verdict: Verdict, server: ServerPort) -> None:
        """Send a plain Query behind the BEGIN that was deferred, in one string: if that fails, nothing runs."""
        session = self._session
        context = session.context
        prefix = session.deferred + b"; " + context.prefix
        ledger = server.ledger
        ledger.units.append(STATEMENT | DROP | NOTED | INJECTED)
        ledger.notes.append(BEGUN)
        ledger.units.extend([STATEMENT | DROP | INJECTED] * context.statements)
        ledger.units.append(QUERY)
        ledger.positions = len(prefix) - len(context.prefix) + context.prefix_length
        session.progress.in_place = True
        session.stats.context_injections += 1
        session.send(frontend.query(prefix + text))

    def _without_server(self, verdict: Verdict, text: bytes, reader: FrameReader) -> bool:
        """A transaction that PostgreSQL has not heard of: begin it, or end it, or say that it has failed."""
        session = self._session
        kind = verdict.single.kind if verdict.single is not None else -1
        if session.status == codes.IDLE:
            if verdict.can_be_deferred and may_defer(session):
                reader.take_frame()
                session.reply(defer(session, text))
                return True
            return False
        if not verdict.statements:
            answer = backend.EMPTY_QUERY
        elif (kind == Kind.COMMIT or kind == Kind.ROLLBACK) and (verdict.ends_block or session.status == codes.FAILED):
            has_failed = session.status == codes.FAILED
            end_block(session)
            answer = backend.command_complete(b"ROLLBACK" if has_failed or kind == Kind.ROLLBACK else b"COMMIT")
        elif session.status == codes.FAILED:
            answer = backend.error_response(block_has_failed())
        else:
            return False
        reader.take_frame()
        session.reply(answer + backend.READY[session.status])
        return True

    def _rewrite(self, text: bytes, verdict: Verdict, server: ServerPort) -> bool:
        """Send a Query whose statements need to be looked at one by one; False if it can go as it is."""
        session = self._session
        if not verdict.statements or (_goes_bare(verdict, session.status) and not session.deferred):
            return False
        if verdict.single is not None and verdict.single.kind == Kind.DISCARD_ALL:
            return False
        progress = Progress(session.status, session.progress.in_place)
        owns = session.extended.own.includes
        rewriter = Rewriter(
            session.context,
            session.settings,
            progress,
            owns,
            lambda settings: session.shared.builder.build(session.tenant, settings.effective),
            session.deferred,
        )
        sent = rewriter.rewrite(text, verdict.statements)
        ledger = server.ledger
        ledger.units.extend(sent.units)
        ledger.notes.extend(sent.notes)
        ledger.positions = sent.positions
        session.progress.in_place = sent.progress.in_place
        session.send(frontend.query(sent.sql))
        return True

    def _taint(self, verdict: Verdict) -> int:
        """The taint, without that of statements that PostgreSQL never gets to see as they are."""
        owns = self._session.extended.own.includes
        return max((residue(statement, owns) for statement in verdict.statements), default=int(verdict.taint))

    def refuse(self, error: ProxyError) -> None:
        """Answer a Query with an error. Inside a transaction PostgreSQL must fail it too, so it gets one that fails."""
        session = self._session
        server = session.server
        if session.status == codes.IDLE or server is None:
            if session.status != codes.IDLE:
                fail_block(session)
            session.reply(backend.error_response(error) + backend.READY[session.status])
            return
        begin_segment(session)
        server.ledger.units.extend((STATEMENT | NOTED, QUERY))
        server.ledger.notes.append(Refusal(error))
        session.send(frontend.query(b"gatehouse_refused /* SQLSTATE %s */" % error.sqlstate.encode()))
        session.state = State.BUSY

    def _answer_locally(self, verdict: Verdict, reader: FrameReader) -> bool:
        """Outside a transaction some statements are the proxy's to answer."""
        session = self._session
        if not verdict.statements:
            reader.take_frame()
            session.reply(backend.EMPTY_QUERY + backend.READY[codes.IDLE])
            return True
        statement = verdict.single
        if statement is None or statement.kind not in _LOCAL_TAGS:
            return False
        tag = _LOCAL_TAGS[statement.kind]
        if statement.kind == Kind.DISCARD_ALL and session.server is not None:
            return False
        if statement.kind == Kind.DEALLOCATE:
            if session.keeps or not session.extended.own.includes(statement.name):
                return False
            session.extended.own.deallocate(statement.name)
            tag = tag if statement.name else b"DEALLOCATE ALL"
        reader.take_frame()
        if statement.kind == Kind.RESET_ALL:
            _reset_all(session)
        elif statement.kind == Kind.DISCARD_ALL:
            _discard_all(session)
        session.reply(backend.command_complete(tag) + backend.READY[codes.IDLE])
        return True

    def _refuse_call(self, error: ProxyError) -> bool:
        self._session.report_refusal(error)
        self.refuse(error)
        return True

    def function_call(self, reader: FrameReader) -> bool:
        """Handle the whole FunctionCall at the front of the input; False if it has to wait."""
        session = self._session
        if session.state == State.BATCH:
            assert session.server is not None
            _end_batch(session, session.server)
            return False
        function = int.from_bytes(reader.look(9)[5:9], "big")
        error = judge_function(function, session.policy, is_session=session.is_session)
        if error is not None:
            reader.take_frame()
            return self._refuse_call(error)
        if session.status == codes.IDLE and not session.policy.transaction_block_free:
            reader.take_frame()
            return self._refuse_call(
                FeatureRefused(
                    "a function call message outside a transaction can not be given the tenant's context",
                    hint="Open a transaction with BEGIN first, or call the function with SELECT.",
                )
            )
        if not session.ensure_server():
            return session.state == State.IDLE
        assert session.server is not None
        if session.deferred:
            begin_for_real(session, session.server)
            return False
        server = begin_segment(session, is_alone=session.status == codes.IDLE)
        if session.status == codes.IN_TRANSACTION and not session.progress.in_place:
            inject_query(session, server)
        server.taint = max(server.taint, 1)
        session.keeping.must_establish = session.is_session
        server.ledger.units.append(QUERY)
        session.send(reader.take_frame())
        session.state = State.BUSY
        return True


def _goes_bare(verdict: Verdict, status: int) -> bool:
    return verdict.single is not None and not verdict.is_ordinary and goes_bare(verdict.single, status)


def _end_batch(session: Session, server: ServerPort) -> None:
    """A Query or FunctionCall came behind messages without Sync: end those first.

    PostgreSQL 18 would lose the transaction otherwise.
    """
    session.send(frontend.SYNC)
    server.ledger.units.append(SYNC | DROP)
    session.state = State.BUSY


def _reset_all(session: Session) -> None:
    """RESET ALL outside a transaction."""
    session.settings.reset_all()
    session.settings.commit()
    session.refresh_context()
    session.replies.report_view(session.out)


def _discard_all(session: Session) -> None:
    """DISCARD ALL outside a transaction, with no server kept: forget what is the client's own."""
    _reset_all(session)
    session.extended.own.forget_all()
    session.extended.portals.clear()
