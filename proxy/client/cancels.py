"""Cancels on their way from a client to its server: those it asked for, and that of a query that took too long.

One is held back while something of the proxy's own runs on the server for the client: it would hit that instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.client.states import State
from proxy.errors import QueryCanceled, QueryTimeout

if TYPE_CHECKING:
    from proxy.client.connection import ClientConnection
    from proxy.client.session import Session
    from proxy.pool.pool import Pool
    from proxy.server.connection import ServerConnection


def cancel_as_asked(client: ClientConnection, done: Callable[[], None]) -> None:
    """Cancel what the client runs or waits for; `done` is called when PostgreSQL has taken it, or need not."""
    session, server, pool = client.session, client.server, client.server_pool
    if session is None or client.is_over:
        done()
        return
    if session.state == State.WAITING and pool is not None:
        pool.forget(client)
        session.refused(QueryCanceled("canceling statement due to user request"))
    elif server is not None and session.state in (State.BUSY, State.BATCH, State.COPY_IN):
        _send_or_hold(client, session, server, done)
        return
    done()


def cancel_overdue(client: ClientConnection, session: Session, server: ServerConnection) -> None:
    """Cancel a query that has reached its limit."""
    error = QueryTimeout(
        "canceling statement due to query timeout",
        hint=f"A query may take {session.limits.query_timeout_s:g} s: see query_timeout.",
    )
    client.report(error)
    server.ledger.cancel_error = error
    # The query may end by itself meanwhile, and what the client asks then, or has asked already, must not be hit.
    client.cancel_is_on_its_way = session.waits_for_cancel = True
    client.update_reading()

    def arrived() -> None:
        client.cancel_is_on_its_way = session.waits_for_cancel = False
        client.update_reading()
        if client.server is server:
            session.pump()

    _send_or_hold(client, session, server, arrived)


def _send_or_hold(
    client: ClientConnection, session: Session, server: ServerConnection, done: Callable[[], None]
) -> None:
    if session.cancel_is_held:
        client.held_cancels.append(done)
    else:
        server.cancel()
        server.when_cancels_are_done(done)


def send_held(client: ClientConnection) -> None:
    """What was held back may go: one cancel does for all."""
    held, client.held_cancels = client.held_cancels, []
    if client.server is not None:
        client.server.cancel()
        for done in held:
            client.server.when_cancels_are_done(done)


def drop_held(client: ClientConnection) -> None:
    """What was to be cancelled is over."""
    held, client.held_cancels = client.held_cancels, []
    for done in held:
        done()


def release_later(pool: Pool, server: ServerConnection, session: Session | None) -> None:
    """Release the server once no cancel is on its way to it; the client may go on with another one."""
    if session is not None:
        session.waits_for_cancel = False
    server.when_cancels_are_done(lambda: pool.release(server))
