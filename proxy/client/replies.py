"""What a server's replies mean to the session that holds it: settings that took effect, statements that did not come to
be, parameters as this client sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.client.rewrite import CHAINS, ENDS_TRANSACTION, Kind
from proxy.client.states import State
from proxy.context import quoting
from proxy.errors import ContextFailed, ProxyError, QueryCanceled
from proxy.guard.statements import Statement
from proxy.server.ledger import Capture, Effect, ParseRecord
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields

if TYPE_CHECKING:
    from proxy.client.ports import ServerPort
    from proxy.client.session import Session


class Replies:
    """The session as its server's `LedgerOwner`."""

    __slots__ = ("_changed", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changed = False

    # LedgerOwner.

    def statement_completed(self, effect: Effect, tag: bytes) -> None:
        """A noted statement succeeded."""
        session = self._session
        statement = effect.statement
        assert isinstance(statement, Statement)
        settings = session.settings
        kind = statement.kind
        if kind in ENDS_TRANSACTION or kind in CHAINS:
            # COMMIT of a failed transaction answers ROLLBACK.
            if tag.startswith(b"ROLLBACK"):
                settings.rollback()
            else:
                settings.commit()
            session.refresh_context()
            self._changed = True
        elif kind == Kind.SAVEPOINT:
            settings.savepoint(statement.name)
        elif kind == Kind.RELEASE:
            settings.release(statement.name)
        elif kind == Kind.ROLLBACK_TO:
            settings.rollback_to(statement.name)
        elif kind == Kind.RESET_ALL:
            settings.reset_all()
        elif kind == Kind.DEALLOCATE:
            session.extended.deallocate(statement.name)
        elif kind == Kind.SET_CONFIG:
            self._set_config(statement, effect.bound)
        else:
            for change in statement.changes:
                if not change.is_local:
                    settings.change(change.name, change.value)

    def _set_config(self, statement: Statement, bound: tuple[str | None, ...] | None) -> None:
        call = statement.set_config[0]
        name, value, is_local = (_argument(arg, bound) for arg in (call.name, call.value, call.is_local))
        if name is None or value is None or is_local is None or is_local.lower() in ("true", "t", "on", "yes", "1"):
            return
        lowered = name.lower()
        parts = quoting.split_list(value) if lowered in quoting.LIST_QUOTED else (value,)
        self._session.settings.change(lowered, parts)

    def value_captured(self, capture: Capture) -> None:
        """PostgreSQL's own spelling of a value that was just SET."""
        settings = self._session.settings
        if capture.value is not None and capture.name in settings.current():
            settings.change(capture.name, (quoting.to_text(capture.value),))

    def parse_undone(self, record: ParseRecord) -> None:
        """A Parse failed, or was skipped because something before it failed."""
        session = self._session
        if session.server is not None:
            if record.server_name:
                session.server.prepared.discard(record.server_name)
            else:
                session.server.prepared.unnamed = None
        if record.client_name is not None:
            session.extended.names.pop(record.client_name, None)

    def copy_in_started(self) -> None:
        """CopyInResponse."""
        session = self._session
        session.state = State.COPY_IN

    def injection_failed(self, fields: ErrorFields) -> ProxyError:
        """PostgreSQL refused the context; what the client sent behind it did not run."""
        session = self._session
        session.progress.in_place = False
        session.stats.errors += 1
        if fields.get("C") == "57014":
            return QueryCanceled("canceling statement due to user request")
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
        if session.state == State.COPY_IN:
            session.state = State.BATCH if session.extended.in_batch else State.BUSY

    def internal_ready(self, status: int) -> None:
        """A Query or Sync of the proxy's own was answered."""
        session = self._session
        session.cancel_is_held = False
        session.sink.cancel_now()
        server = session.server
        if server is not None and not server.ledger.units and session.state == State.BUSY:
            # A Sync in front of a Query: see Session.sync_for_query.
            session.status = status
            session.state = State.HELD
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
        if status != codes.IDLE:
            for name, value in reported.items():
                self._show(name, value, out)
            reported.clear()
            return
        changed = self.end_transaction(failed=server.ledger.failed)
        if reported or changed:
            server.parameters.update(reported)
            reported.clear()
            session.baseline = server.parameters
            self.report_view(out)

    def report_view(self, out: list[bytes]) -> None:
        """Tell the client of every parameter that differs from what it was told last."""
        session = self._session
        own = session.context.reported
        for name, value in session.baseline.items():
            self._show(name, own.get(name, value), out)

    def _show(self, name: bytes, value: bytes, out: list[bytes]) -> None:
        shown = self._session.shown
        if shown.get(name) != value:
            shown[name] = value
            out.append(backend.parameter_status(name, value))

    def end_transaction(self, *, failed: bool) -> bool:
        """The transaction is over: what was SET is kept or forgotten. True if the session's settings changed."""
        session = self._session
        session.progress.in_place = False
        session.extended.portals.clear()
        changed, self._changed = self._changed, False
        if failed:
            session.settings.rollback()
        elif session.settings.commit():
            session.refresh_context()
            changed = True
        return changed


def _argument(arg: str | int | bool | None, bound: tuple[str | None, ...] | None) -> str | None:
    """An argument of set_config(): a constant, or the value bound to its parameter."""
    if isinstance(arg, bool):
        return "true" if arg else "false"
    if isinstance(arg, int):
        return bound[arg - 1] if bound is not None and 0 < arg <= len(bound) else None
    return arg
