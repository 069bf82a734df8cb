"""When a client keeps its server beyond a transaction: pinned for state that SET LOCAL can not carry, or in session pooling.

A pin ends as soon as PostgreSQL says that nothing is left of what it was for. In session pooling the server's session is
given the whole context, and anew whenever code that nobody can see into may have changed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.states import State
from proxy.context.context import follow
from proxy.errors import PoolFull, ProxyError
from proxy.guard.verdicts import Verdict
from proxy.server.units import DROP, INJECTED, NOTED, QUERY, STATEMENT, Capture
from proxy.wire import frontend

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort

LEFT_OVER: Final = frontend.query(
    b"SELECT (EXISTS (SELECT FROM pg_catalog.pg_listening_channels())"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE from_sql)"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = pg_catalog.pg_my_temp_schema())"
    b" OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = pg_catalog.pg_my_temp_schema()))::pg_catalog.int4"
)
"""Whether the session holds anything that outlives a transaction: 1 or 0. Settings and sequences are no reason to keep it."""


class Keeping:
    """What one session keeps its server for.

    `may_be_free`: what the server is pinned for may be gone. `must_establish`: the session's context may not stand.
    """

    __slots__ = ("_session", "may_be_free", "must_establish")

    def __init__(self, session: Session) -> None:
        self._session = session
        self.may_be_free = False
        self.must_establish = False

    def note_traces(self, server: ServerPort, verdict: Verdict, taint: int) -> ProxyError | None:
        """Note what a statement leaves behind on the server; an error if the tenant may not keep it there."""
        session = self._session
        if taint > server.taint:
            server.taint = taint
        if verdict.changes_schema:
            session.changed_schema = True
        single = verdict.single
        if single is None or single.command == "CREATE TEMP":
            session.parses_apart = True
        if session.is_session:
            self.must_establish = self.must_establish or verdict.taint > 0
            return None
        pin = verdict.pin
        if pin and not session.pinned:
            if not session.sink.claim_pin():
                return PoolFull(
                    f"too many server connections of this tenant are held by session state ({pin})",
                    hint="Raise max_pinned of the tenant's tier, or use a session endpoint for what needs a session.",
                )
            session.pinned = pin
            session.keeps = True
            session.stats.pins += 1
        self.may_be_free = self.may_be_free or (session.keeps and verdict.may_free)
        return None

    def discarded(self, *, for_real: bool) -> None:
        """DISCARD ALL ran on the server, or the batch said so that it stands in: nothing is kept there any more."""
        session = self._session
        session.extended.own.forget_all()
        server = session.server
        if server is None:
            return
        self.unpin()
        if for_real:
            server.prepared.clear()
            server.followed = ()
            server.taint = 0
            self.must_establish = session.is_session
        else:
            server.taint = 2
            session.keeps = False  # also in session pooling: another server takes over, or this one when it is clean

    def unpin(self) -> None:
        """The server need not be kept any more; what it was left with is cleaned away before anyone else gets it."""
        session = self._session
        if session.pinned:
            session.pinned = ""
            self.may_be_free = False
            session.keeps = session.is_session
            session.sink.unpin()

    def look_what_is_left(self, server: ServerPort) -> None:
        """Ask PostgreSQL whether anything is left of what the server is pinned for."""
        session = self._session
        self.may_be_free = False
        session.state = State.BUSY
        server.ledger.quiet = True
        server.ledger.units.extend((STATEMENT | DROP | NOTED, QUERY | DROP))
        server.ledger.notes.append(Capture(""))
        server.prepared.unnamed = None
        session.send(LEFT_OVER)
        session.flush()

    def establish(self, server: ServerPort) -> None:
        """Session pooling: give the server's session the whole context; nothing is sent until it stands."""
        session = self._session
        self.must_establish = False
        session.keeps = True
        held = tuple((name, ("",)) for name, _ in server.followed)  # it may hold anything
        session.send(follow(held, session.context.lasting))
        server.ledger.units.append(QUERY | DROP | INJECTED)
        server.followed = session.context.lasting
        server.taint = 2
        server.prepared.unnamed = None
        session.cancel_is_held = True
        session.state = State.BUSY
