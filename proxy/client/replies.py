"""What a server's replies mean to the session that holds it: settings that took effect, statements that did not come to
be, parameters as this client sees them."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from proxy.client.mending import can_mend, mend, outdated
from proxy.client.rewrite import CHAINS, ENDS_TRANSACTION, Kind, take_effect
from proxy.client.states import State
from proxy.client.unheard import Unheard
from proxy.context import quoting
from proxy.context.context import PLAN_SETTINGS, REPORTED, Context
from proxy.errors import ContextFailed, ProxyError
from proxy.guard.encodings import is_safe_encoding
from proxy.guard.statements import Statement
from proxy.server.expected import READY_BYTES
from proxy.server.parameters import absorb
from proxy.server.prepared import Prepared
from proxy.server.units import DROP, Capture, Description, Effect, Eviction, LocalReply, ParseRecord
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort


def _reads_safely(reported: dict[bytes, bytes]) -> bool:
    """Whether text can still be judged: code that nobody can see into may have changed how PostgreSQL reads it."""
    encoding = reported.get(b"client_encoding", b"UTF8")
    return reported.get(b"standard_conforming_strings") != b"off" and is_safe_encoding(quoting.to_text(encoding))


def _at_rest(server: ServerPort, name: bytes) -> bytes:
    """What a parameter is in the server's session when no transaction is there: in session pooling what it was given."""
    for setting, parts in server.followed:
        if REPORTED.get(setting) == name:
            return quoting.set_config_value(setting, parts)
    return server.parameters.get(name, b"")


def _given(server: ServerPort, context: Context) -> Container[bytes]:
    """The parameters of a server's session that say nothing of the server: those it was given, and is to be given next."""
    if server.followed is context.lasting:
        return context.reported
    return {*context.reported, *(REPORTED[name] for name, _ in server.followed if name in REPORTED)}


class Replies:
    """The session as its server's `LedgerOwner`."""

    __slots__ = ("_changed", "_has_told", "_reported", "_session", "_touched", "undoes_context", "unheard")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed = False
        self._has_told = False  # the client of a parameter, in this transaction
        self._touched: set[str] = set()  # settings changed since the last ReadyForQuery
        self._reported: dict[bytes, bytes] | None = None  # in this transaction, of what is not the client's own
        self.undoes_context = False  # perhaps: something is SET LOCAL in the same go as the context
        self.unheard = Unheard()

    @property
    def has_news(self) -> bool:
        """Whether the client may have to be told of settings at the end of its transaction."""
        return self._changed or self._has_told or len(self._touched) > 0 or self._reported is not None

    # LedgerOwner.

    def statement_completed(self, effect: Effect, tag: bytes) -> None:
        """A noted statement succeeded."""
        session = self._session
        statement = effect.statement
        assert isinstance(statement, Statement)
        kind = statement.kind
        if kind == Kind.BEGIN:
            session.deferred = b""
            return
        if kind == Kind.DISCARD_ALL:
            session.keeping.discarded(for_real=not effect.is_rewritten)
        elif kind == Kind.DEALLOCATE:
            session.extended.own.deallocate(statement.name)
            if not effect.is_rewritten and session.server is not None:
                session.server.prepared.clear()
        self._touched.update(
            session.settings.names_in_transaction()
            if kind == Kind.RESET_ALL
            else [change.name for change in statement.changes if not change.is_local]
        )
        if kind in CHAINS:
            self._touched.update(REPORTED)  # what is taken back may be what the server has by itself: no report then
        if kind == Kind.SET_CONFIG and tag == b"SELECT 0":
            return  # it was not called: pg_dump asks for a setting only where there is one
        is_touched = session.settings.is_touched
        # COMMIT of a failed transaction answers ROLLBACK.
        take_effect(session.settings, statement, effect.bound, committed=not tag.startswith(b"ROLLBACK"))
        if is_touched and (kind in ENDS_TRANSACTION or kind in CHAINS):
            session.refresh_context()
            self._changed = True

    def value_captured(self, capture: Capture) -> None:
        """PostgreSQL's own spelling of a value that was just SET, or whether a pinned server holds anything."""
        if not capture.name:
            if capture.value == b"0":
                self._session.keeping.unpin()
            return
        settings = self._session.settings
        if capture.value is not None and capture.name in settings.current():
            settings.change(capture.name, (quoting.to_text(capture.value),))

    def described(self, note: Description) -> None:
        """What a statement is: what the client is told, or what has become of it."""
        statement = note.statement
        assert isinstance(statement, Prepared)
        columns = note.columns
        if statement.columns is None:
            statement.columns = columns
        if statement.types is None:
            statement.types = note.types
        if columns != statement.columns or (note.types is not None and note.types != statement.types):
            statement.is_outdated = True
            if note.is_fatal:
                self._session.end_with = outdated()
            if statement.plan_key is not None:
                # A change that was not seen here: whoever prepares it from now on gets it parsed anew.
                self._session.shared.catalog.schema_version += 1

    def can_mend(self, frame: bytes) -> bool:
        """Whether a batch that failed can be sent again, and will not fail."""
        return can_mend(self._session, frame)

    def mend(self) -> None:
        """Send the batch again."""
        mend(self._session)

    def parse_undone(self, record: ParseRecord) -> None:
        """A Parse failed, or was skipped because something before it failed."""
        session = self._session
        if session.server is not None:
            if record.server_name:
                session.server.prepared.discard(record.server_name)
            else:
                session.server.prepared.unnamed = None
        own = session.extended.own
        if record.client_name:
            own.names.pop(record.client_name, None)
        elif record.client_name is not None:
            # A Parse that fails takes the unnamed statement before it along; one that is skipped does not.
            own.set_unnamed(None if record.has_failed else record.replaces)

    def close_undone(self, note: LocalReply | Eviction) -> None:
        """A Close was skipped because something before it failed: the statement is there still."""
        session = self._session
        if isinstance(note, Eviction):
            if session.server is not None:
                session.server.prepared.restore(note.server_name)
        elif note.closes is not None:
            session.extended.own.restore(*note.closes)

    def copy_in_started(self) -> None:
        """CopyInResponse."""
        session = self._session
        session.state = State.COPY_IN
        session.extended.awaits_copy = False
        session.extended.waits_behind_data = False

    def injection_failed(self, fields: ErrorFields) -> ProxyError | None:
        """The context did not come to be, and what the client sent behind it did not run.

        None passes PostgreSQL's own words on: a cancel, a time-out, no memory are no fault of the context.
        """
        session = self._session
        session.progress.in_place = False
        server = session.server
        if (
            (session.status == codes.IDLE or len(session.deferred))
            and server is not None
            and server.ledger.units
            and server.ledger.units[0] & DROP
        ):
            # The server's session did not follow the client's, and what came behind may have run all the same; or a BEGIN
            # that can not fail did, and would again.
            server.followed = ()
            server.taint = 2
            session.must_end = True
        if fields.get("C", "")[:2] in ("53", "57", "58"):
            return None
        error = ContextFailed(
            "the tenant's context could not be put in place, so nothing was run",
            hint="Gatehouse's log has PostgreSQL's reason; check the tenant's placement, role and tier settings.",
            server_message=fields.get("M", ""),
            server_sqlstate=fields.get("C", ""),
        )
        session.sink.report(error)
        return error

    def error_reported(self) -> None:
        """The client is being told of an error of PostgreSQL's."""
        session = self._session
        session.stats.errors += 1
        session.settings.forget_local()
        session.extended.awaits_copy = False
        if session.extended.in_batch:
            session.extended.doubt_portals()
        session.extended.skips = session.extended.skips or session.extended.checks is not None
        server = session.server
        if server is not None and server.ledger.lacks_statement:
            # A statement of ours is not there: hidden SQL deallocated it. Nobody else shall stumble over that.
            server.ledger.lacks_statement = False
            server.taint = 2
        if session.state == State.COPY_IN:
            session.state = State.BATCH if session.extended.in_batch else State.BUSY
            if session.extended.in_batch and session.extended.waits_behind_data:
                session.extended.sync()
                session.flush()

    def internal_ready(self, status: int) -> None:
        """A Query or Sync of the proxy's own was answered."""
        session = self._session
        session.cancel_is_held = False
        session.sink.cancel_now()
        server = session.server
        if server is not None:
            server.ledger.quiet = False
        if server is not None and not server.ledger.units and session.state == State.BUSY:
            # A Sync in front of a Query: see `simple`.
            session.status = status
            session.state = State.HELD
            if session.extended.in_batch and server.ledger.failed:
                session.extended.skips = True  # the Query behind it too: PostgreSQL looks for the client's own Sync
            session.extended.in_batch = False
            if session.is_session:
                # The session has been given it: the client's own, if it is reset next.
                for name in session.context.reported:
                    server.ledger.reported.pop(name, None)
            if status == codes.IDLE:
                self.end_transaction(failed=server.ledger.failed)

    # ParameterStatus: the client is told of what changes for it, and only that.

    def report_parameters(self, status: int, server: ServerPort, out: list[bytes]) -> None:
        """Before a ReadyForQuery: say what changed for this client.

        Inside a transaction PostgreSQL reports the values as they are. At its end it reports that SET LOCAL is over,
        which the client's next context takes back, so what counts is what the context will be.
        """
        session = self._session
        reported = server.ledger.reported
        said = len(out)
        if reported and not _reads_safely(reported):
            session.must_end = True
        if status != codes.IDLE:
            own = session.context.reported
            if reported:
                self._keep_reported(reported, own)
            is_gone = not session.progress.in_place or (status == codes.FAILED and not session.settings.has_savepoint)
            for name, value in reported.items():
                if is_gone and value == _at_rest(server, name):
                    # The context went with its transaction; to the client it holds all the time.
                    value = own.get(name, value)
                self._show(name, value, out)
            self._report_unreported(status, server, out)
            if self.undoes_context:
                self._report_undone(status, server, out)
            if reported and status == codes.IN_TRANSACTION and session.progress.in_place and len(out) == said:
                self.unheard.keep_opening(session.context, reported)
            reported.clear()
            return
        self._touched.clear()
        self.undoes_context = False
        changed = self.end_transaction(failed=server.ledger.failed)
        parameters = server.parameters
        if self._reported is not None:
            # PostgreSQL says what a transaction takes back, so what it does not say again stays.
            reported = {**self._reported, **reported}
            self._reported = None
        if not reported and not changed and not self._has_told and parameters is session.baseline:
            return
        at_end = dict(reported)
        has_all = session.is_session or server.followed is session.context.lasting
        server.parameters = absorb(reported, parameters, _given(server, session.context) if has_all else ())
        server.ledger.reported.clear()
        if server.parameters is not parameters and not has_all:
            server.taint = (
                2  # by the server's configuration, or by code that nobody saw, which may have set more than that
            )
        session.baseline = server.parameters
        self.report_view(out)
        if at_end and not changed and server.parameters is parameters and len(out) == said:
            self.unheard.keep_end(session.context, parameters, at_end)

    def _keep_reported(self, reported: dict[bytes, bytes], own: dict[bytes, bytes]) -> None:
        session = self._session
        for name, value in reported.items():
            if name == b"client_encoding" and value != session.shown.get(name):
                session.parses_apart = session.recodes = True
            if name not in own:
                session.parses_apart = session.parses_apart or quoting.to_text(name).lower() in PLAN_SETTINGS
                if self._reported is None:
                    self._reported = {}
                self._reported[name] = value
            elif self._reported is not None and name in self._reported:
                # COMMIT AND CHAIN: it is the client's own by now, and the server has been told to take it back.
                self._reported[name] = value

    def with_view(self, answer: bytes, server: ServerPort) -> bytes:
        """The end of a transaction, as `answer` has it, on a server that is not as the client was told."""
        self._session.baseline = server.parameters
        out: list[bytes] = []
        self.report_view(out)
        return b"".join((answer[:-READY_BYTES], *out, answer[-READY_BYTES:]))

    def _report_unreported(self, status: int, server: ServerPort, out: list[bytes]) -> None:
        """PostgreSQL says nothing of a SET that goes back to its own default, away from what the context had set."""
        touched, self._touched = self._touched, set()
        settings = self._session.settings
        if status == codes.FAILED:
            # Nor then of an error, which takes that back together with the context.
            if self._has_told and not settings.has_savepoint:
                self._show_all(server.parameters, out)
            return
        if not touched:
            return
        current = settings.current()
        for name in touched & REPORTED.keys():
            reported_as = REPORTED[name]
            parts = current.get(name) or settings.base.get(name)
            value = server.parameters.get(reported_as) if parts is None else quoting.set_config_value(name, parts)
            if value is not None and reported_as in server.parameters and reported_as not in server.ledger.reported:
                self._show(reported_as, value, out)

    def _report_undone(self, status: int, server: ServerPort, out: list[bytes]) -> None:
        """PostgreSQL says nothing of what the context set, and the client set back to what it was, before it was asked."""
        self.undoes_context = False
        if status == codes.FAILED or not self._session.progress.in_place:
            return
        for name in self._session.context.settings:
            reported_as = REPORTED.get(name, b"")
            if reported_as in server.parameters and reported_as not in server.ledger.reported:
                self._show(reported_as, _at_rest(server, reported_as), out)

    def report_view(self, out: list[bytes]) -> None:
        """Tell the client of every parameter that differs from what it was told last."""
        self._show_all(self._session.baseline, out)
        self._has_told = False  # in this transaction: it is told what holds outside of any

    def _show_all(self, parameters: dict[bytes, bytes], out: list[bytes]) -> None:
        """What holds outside of any transaction, by a server with these parameters."""
        own = self._session.context.reported
        for name, value in parameters.items():
            self._show(name, own.get(name, value), out)

    def _show(self, name: bytes, value: bytes, out: list[bytes]) -> None:
        shown = self._session.shown
        if shown.get(name) != value:
            self._has_told = True
            shown[name] = value
            out.append(backend.parameter_status(name, value))

    def end_transaction(self, *, failed: bool) -> bool:
        """The transaction is over: what was SET is kept or forgotten. True if the session's settings changed."""
        session = self._session
        session.progress.in_place = session.is_session  # there the session has it
        session.extended.portals.clear()
        changed, self._changed = self._changed, False
        if failed:
            session.settings.rollback()
        elif session.settings.commit():
            session.refresh_context()
            changed = True
        return changed
