"""Try a client's startup settings on a server, as PostgreSQL would at connection start: bad values are refused at login
with PostgreSQL's own words, good ones come back in PostgreSQL's own spelling."""

from __future__ import annotations

import asyncio

from proxy.client.services import ClientServices
from proxy.context import quoting
from proxy.context.client_settings import Parts
from proxy.context.context import REPORTED
from proxy.errors import InvalidStartupParameter, ProxyError, ServerLost
from proxy.pool.limits import PoolKey
from proxy.pool.pool import Pool
from proxy.server.connection import ServerConnection
from proxy.server.jobs import Outcome, query_job
from proxy.server.ports import ServerPort
from proxy.tenants.model import Tenant

_UNPROBED = frozenset({"application_name"})
"""PostgreSQL takes any value of these, and clients differ in them: a probe for each would be in vain."""
_MAX_REMEMBERED = 10_000
_TIMEOUT_S = 30.0


class _Borrower:
    """Asks a pool for one server on behalf of a login."""

    def __init__(self, tenant: Tenant, pool: Pool) -> None:
        self._pool = pool
        self.tenant_id = tenant.id
        self.max_servers = tenant.tier.max_server_connections or 0
        self.server: asyncio.Future[ServerPort] = asyncio.get_running_loop().create_future()

    def granted(self, server: ServerPort) -> None:
        """Here it is; a client that is about to be told of nothing any more gives it back."""
        if self.server.done():
            self._pool.release(server)
        else:
            self.server.set_result(server)

    def refused(self, error: ProxyError) -> None:
        """There is none."""
        if not self.server.done():
            self.server.set_exception(error)

    def still_waiting(self, waited_s: float) -> None:
        """A login has nothing to say yet."""


async def probe(services: ClientServices, tenant: Tenant, key: PoolKey, settings: dict[str, Parts]) -> dict[str, Parts]:
    """The settings as they are to be kept: canonical, without those that servers have by themselves.

    Raises InvalidStartupParameter with PostgreSQL's message, or what kept a server from being had.
    """
    known = known_settings(services, key, settings)
    if known is not None:
        return known
    asked = _to_be_asked(settings)
    canonical = await _ask(services, tenant, key, asked)
    if len(services.probed) >= _MAX_REMEMBERED:
        services.probed.clear()
    services.probed[_memory(key, asked)] = canonical
    return _kept(settings, canonical)


def known_settings(services: ClientServices, key: PoolKey, settings: dict[str, Parts]) -> dict[str, Parts] | None:
    """What `probe` would say, if it need not ask a server; else None."""
    asked = _to_be_asked(settings)
    if not asked:
        return settings
    canonical = services.probed.get(_memory(key, asked))
    return None if canonical is None else _kept(settings, canonical)


def _to_be_asked(settings: dict[str, Parts]) -> dict[str, Parts]:
    return {name: parts for name, parts in settings.items() if name not in _UNPROBED}


def _memory(key: PoolKey, asked: dict[str, Parts]) -> object:
    return key, tuple(sorted(asked.items()))


def _kept(settings: dict[str, Parts], canonical: dict[str, Parts]) -> dict[str, Parts]:
    return {**{name: parts for name, parts in settings.items() if name in _UNPROBED}, **canonical}


async def _ask(services: ClientServices, tenant: Tenant, key: PoolKey, asked: dict[str, Parts]) -> dict[str, Parts]:
    pool = services.pools.pool(key)
    borrower = _Borrower(tenant, pool)
    server = pool.acquire(borrower)
    if server is None:
        try:
            server = await borrower.server
        except asyncio.CancelledError:
            pool.forget(borrower)
            if borrower.server.done() and not borrower.server.cancelled() and not borrower.server.exception():
                pool.release(borrower.server.result())
            raise
    assert isinstance(server, ServerConnection)
    try:
        outcome = await _run(server, asked)
    finally:
        pool.release(server)
    if outcome.error is not None:
        raise _refused(outcome.error)
    baseline = server.parameters
    kept: dict[str, Parts] = {}
    for name, value in zip(asked, outcome.values, strict=True):
        canonical = asked[name] if name in quoting.LIST_QUOTED else (quoting.to_text(value or b""),)
        reported = REPORTED.get(name)
        if reported is None or baseline.get(reported) != value:
            kept[name] = canonical
    return kept


async def _run(server: ServerConnection, asked: dict[str, Parts]) -> Outcome:
    finished: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    statements = [quoting.set_local(name, parts) for name, parts in asked.items()]
    statements += [b"SHOW " + quoting.setting_name(name) for name in asked]

    def done(outcome: Outcome) -> None:
        if not finished.done():
            finished.set_result(outcome)

    server.run(query_job(b"; ".join(statements), done), _TIMEOUT_S)
    return await asyncio.shield(finished)


def _refused(fields: dict[str, str]) -> ProxyError:
    sqlstate = fields.get("C", "22023")
    if sqlstate == ServerLost.sqlstate:
        return ServerLost(fields.get("M", "the server connection was lost"))
    return InvalidStartupParameter(
        fields.get("M", "invalid startup parameter"),
        hint=fields.get("H"),
        details=fields.get("D"),
        server_sqlstate=sqlstate,
    ).with_sqlstate(sqlstate)
