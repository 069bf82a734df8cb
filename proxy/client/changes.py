"""What follows for a client that is logged in when the configuration or the registry changes.

Limits count at once. Where its tenant lives is asked when the client needs a server the next time. For one that waits for a
server it is asked at once, and for one that keeps its server beyond a transaction, and needs none, as soon as it is between
transactions.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.client.services import RECONFIGURED
from proxy.client.states import State
from proxy.errors import ProxyError, TenantMoved
from proxy.tenants.model import Tenant, ensure_available

if TYPE_CHECKING:
    from proxy.client.connection import ClientConnection
    from proxy.client.session import Session
    from proxy.pool.pool import Pool
    from proxy.server.connection import ServerConnection


def look_up_again(client: ClientConnection, session: Session) -> Pool | None:
    """The pool for a client that needs a server after the registry changed: the tenant may live elsewhere now.

    None if the registry has to ask for the tenant; the client waits then. Raises ProxyError if it is not served any more.
    """
    services = client.services
    tenant = services.registry.cached(session.tenant.id)
    if tenant is None:
        _acquire_later(client, session)
        return None
    ensure_available(tenant)
    # The pool can be another one though the tenant is the same: its cluster has a new login.
    client.pool = services.pools.pool(services.pool_key(tenant, session.limits.mode))
    _take_over(client, session, tenant)
    return client.pool


def is_granted_in_vain(client: ClientConnection, session: Session, server: ServerConnection) -> bool:
    """Whether the registry changed while the client waited, so that this server may not be its tenant's any more.

    It is given back then, and the client goes on waiting: where the tenant lives now, if it is served at all.
    """
    pool = client.server_pool
    assert pool is not None
    if _waits_in_place(client, session, pool):
        return False
    pool.release(server)
    _acquire_later(client, session)
    return True


def _waits_in_place(client: ClientConnection, session: Session, pool: Pool) -> bool:
    """Whether the tenant is known to be as it was when the client began to wait, so that it may wait on."""
    services = client.services
    tenant = services.registry.cached(session.tenant.id)
    if tenant != session.tenant or services.pool_key(session.tenant, session.limits.mode) != pool.key:
        return False
    client.generation = services.registry.changes.number
    return True


async def _look_up_and_move(client: ClientConnection, session: Session, pool: Pool) -> None:
    """For a client that waits for a server of this pool: have it wait where its tenant lives now."""

    def waits_here() -> bool:
        return not client.is_over and session.state == State.WAITING and client.server_pool is pool

    try:
        await client.services.registry.lookup(session.tenant.id)
    except ProxyError as error:
        if waits_here():
            pool.forget(client)
            client.refused(error)
        return
    if waits_here() and not _waits_in_place(client, session, pool):
        pool.forget(client)
        _acquire(client, session)


def _acquire_later(client: ClientConnection, session: Session) -> None:
    """Have the client wait for the registry's answer, and then for a server."""
    client.server_pool = None
    client.timekeeper.wait_begins()
    client.task = asyncio.get_running_loop().create_task(_look_up_and_acquire(client, session))


async def _look_up_and_acquire(client: ClientConnection, session: Session) -> None:
    try:
        await client.services.registry.lookup(session.tenant.id)
    except ProxyError as error:
        client.refused(error)
        return
    if not client.is_over and session.state == State.WAITING:
        _acquire(client, session)


def _acquire(client: ClientConnection, session: Session) -> None:
    """Have the client that waits get a server where its tenant lives now, or wait for one there, or hear that there is none."""
    try:
        server = client.find_server()
    except ProxyError as error:
        client.refused(error)
        return
    if server is not None:
        session.granted(server)
    client.update_reading()


def _take_over(client: ClientConnection, session: Session, tenant: Tenant) -> None:
    """The tenant as the registry has it now; only between transactions."""
    services = client.services
    client.generation = services.registry.changes.number
    if tenant != session.tenant:
        session.change_tenant(tenant, services.policy(tenant, session.limits.mode))
        client.max_servers = tenant.tier.max_server_connections or 0
        _renew_terms(client, session)


def live_by_new_settings(client: ClientConnection) -> None:
    """Other settings are in force, and the registry may say something else of the tenant."""
    session = client.session
    if session is None or client.is_over:
        return
    _renew_terms(client, session)
    if client.server is not None:
        client.must_ask = True
        ask_whether_to_stay(client)
    elif session.state == State.WAITING and (pool := client.server_pool) is not None:
        client.task = asyncio.get_running_loop().create_task(_look_up_and_move(client, session, pool))


def _renew_terms(client: ClientConnection, session: Session) -> None:
    """Limits count at once, for what runs as well; the pool mode is the client's for as long as it stays."""
    services, admitted = client.services, client.admitted
    assert admitted is not None
    terms = services.terms(admitted.user, session.tenant.tier, client.listener_mode)
    session.limits = replace(terms.session, mode=session.limits.mode)
    client.timekeeper.renew(terms, services.limits.cancel_timeout_s)


def ask_whether_to_stay(client: ClientConnection) -> None:
    """A client that keeps its server beyond a transaction asks for none: what holds for others then, holds now."""
    session, server = client.session, client.server
    if session is None or server is None or client.is_over:
        client.must_ask = False
        return
    if not session.is_between_transactions:
        return  # PostgreSQL's next bytes bring us back here
    tenant = client.services.registry.cached(session.tenant.id)
    if tenant is None:
        if client.task is None or client.task.done():
            client.task = asyncio.get_running_loop().create_task(_look_up_and_ask(client, session))
        return
    client.must_ask = False
    try:
        _stay(client, session, server, tenant)
    except ProxyError as error:
        client.hang_up(error)


async def _look_up_and_ask(client: ClientConnection, session: Session) -> None:
    try:
        await client.services.registry.lookup(session.tenant.id)
    except ProxyError as error:
        # In a transaction it may end that first, and is asked again.
        if client.server is not None and session.is_between_transactions:
            client.hang_up(error)
        return
    ask_whether_to_stay(client)


def _stay(client: ClientConnection, session: Session, server: ServerConnection, tenant: Tenant) -> None:
    """Go on with the server, as the tenant is now. Raises ProxyError where that can not be."""
    ensure_available(tenant)
    key = client.services.pool_key(tenant, session.limits.mode)
    lent_by = client.server_pool
    is_elsewhere = tenant.placement != session.tenant.placement or lent_by is None or key != lent_by.key
    if is_elsewhere or server.unusable_because() == RECONFIGURED:
        raise TenantMoved(
            f'terminating connection: tenant "{tenant.id}" has moved', hint="Connect again.", tenant=tenant.id
        )
    _take_over(client, session, tenant)
