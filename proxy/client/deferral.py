"""Transaction blocks that PostgreSQL has not heard of: the client's BEGIN was answered here, and waits for a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.preparing import begin_segment
from proxy.client.rewrite import BEGUN
from proxy.client.states import State
from proxy.server.units import DROP, INJECTED, NOTED, QUERY, STATEMENT
from proxy.wire import backend, codes, frontend

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.server.ports import ServerPort

_BEGUN: Final[bytes] = backend.command_complete(b"BEGIN") + backend.READY[codes.IN_TRANSACTION]
_STARTED: Final[bytes] = backend.command_complete(b"START TRANSACTION") + backend.READY[codes.IN_TRANSACTION]


def may_defer(session: Session) -> bool:
    """Whether PostgreSQL need not hear now of a transaction that begins."""
    return (
        session.server is None
        and session.status == codes.IDLE
        and session.shared.defers_begin
        and not session.keeps
        and not session.policy.transactions_refused
    )


def defer(session: Session, text: bytes) -> bytes:
    """The client's transaction begins; PostgreSQL will hear of it with the first statement. Returns the answer."""
    session.deferred = text.strip(b"; \t\r\n\f\v")
    session.status = codes.IN_TRANSACTION
    return _STARTED if session.deferred[0] in b"sS" else _BEGUN


def end_block(session: Session) -> None:
    """The client's transaction is over, and PostgreSQL never heard of it."""
    session.deferred = b""
    session.status = codes.IDLE


def fail_block(session: Session) -> None:
    """A transaction that PostgreSQL never heard of has failed."""
    session.deferred = b""
    session.status = codes.FAILED


def begin_for_real(session: Session, server: ServerPort) -> None:
    """Send the BEGIN by itself, for what can not go together with it; nothing is sent until it has run."""
    begin_segment(session)
    server.ledger.units.extend((STATEMENT | DROP | NOTED | INJECTED, QUERY | DROP | INJECTED))
    server.ledger.notes.append(BEGUN)
    server.prepared.unnamed = None
    session.send(frontend.query(session.deferred))
    session.cancel_is_held = True
    session.state = State.BUSY
