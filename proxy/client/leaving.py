"""What a client that was logged in gives back when it leaves: its places, and the server if it held one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.client.cancels import drop_held
from proxy.client.states import State
from proxy.server.jobs import Recovery

if TYPE_CHECKING:
    from proxy.client.connection import ClientConnection
    from proxy.client.session import Session


def leave(client: ClientConnection, session: Session) -> None:
    """Give back everything; called once."""
    services = client.services
    client.timekeeper.stop()
    services.cancel_keys.revoke(client.cancel_pid)
    if client.admitted is not None:
        services.census.leave(client.admitted.user, client.admitted.tenant.id)
    if session.state == State.WAITING and client.server_pool is not None:
        client.server_pool.forget(client)
    if session.pinned:
        client.unpin()
    _abandon_server(client, session)
    if client.held_cancels:
        drop_held(client)


def _abandon_server(client: ClientConnection, session: Session) -> None:
    """The client left while it held a server: a rollback saves the server, if it can be saved."""
    in_copy, owes_sync, mid_frame = session.is_in_copy, session.owes_sync, session.is_mid_frame
    if session.keeps and client.server is not None:
        client.server.taint = 2
    session.detach()
    server, client.server = client.server, None
    pool = client.server_pool
    if server is None or pool is None:
        return
    if mid_frame:
        server.close("client left in mid-message")
        pool.discard(server, "client left in mid-message")
        return

    pool.counters.recovering += 1

    def done(recovered: bool) -> None:
        pool.counters.recovering -= 1
        if not recovered:
            pool.discard(server, "not recovered")
        elif not server.when_cancels_are_done(lambda: pool.release(server)):
            pool.release(server)

    recovery = Recovery(in_copy=in_copy, owes_sync=owes_sync, done=done)
    server.recover(recovery, client.services.limits.recovery_timeout_s)
