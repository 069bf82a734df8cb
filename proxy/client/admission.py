"""From a proven identity to a session: the tenant is looked up, limits and startup settings are judged, a pool is warm.

Every refusal here is FATAL for the login and says why.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from proxy.client.login import Authenticated
from proxy.client.probe import known_settings, probe
from proxy.client.services import ClientServices, Standing, Terms
from proxy.client.session import Session
from proxy.context import quoting
from proxy.context.client_settings import ClientSettings, Parts
from proxy.errors import InvalidStartupParameter
from proxy.guard.rules import GuardPolicy, judge_setting
from proxy.guard.statements import SettingChange
from proxy.observe.counters import TrafficStats
from proxy.pool.pool import Pool
from proxy.tenants.model import PoolMode, Tenant, ensure_available, placement_model
from proxy.wire import backend, codes

_MAX_REMEMBERED: Final = 10_000
_MAX_WELCOMES: Final = 100


class Admitted:
    """All that a session starts from; `generation` is the registry's when the tenant was looked up."""

    __slots__ = ("generation", "policy", "pool", "settings", "stats", "tenant", "terms", "user")

    def __init__(self, user: str, standing: Standing, settings: dict[str, Parts], generation: int) -> None:
        self.user: Final = user
        self.tenant: Final[Tenant] = standing.tenant
        self.terms: Final[Terms] = standing.terms
        self.policy: Final[GuardPolicy] = standing.policy
        self.pool: Final[Pool] = standing.pool
        self.stats: Final[TrafficStats] = standing.stats
        self.settings: Final = ClientSettings(settings)
        self.generation: Final = generation


async def admit(services: ClientServices, event: Authenticated, mode: PoolMode | None) -> Admitted:
    """Let a client in that connected where this pool mode was decided, if any was.

    Raises ProxyError: tenant unknown or unavailable, a limit, a setting, no database.
    """
    registry = services.registry
    generation = registry.changes.number
    tenant = registry.cached(event.tenant_id) or await registry.lookup(event.tenant_id)
    standing = _standing(services, event.user, tenant, mode)
    services.census.admit(event.identity, tenant, services.limits)
    try:
        asked = _settings(event, standing.policy)
        await services.pools.warm(standing.pool.key)
        settings = await probe(services, tenant, standing.pool.key, asked)
    except BaseException:
        services.census.leave(event.user, tenant.id)
        raise
    return Admitted(event.user, standing, settings, generation)


def admit_at_once(services: ClientServices, event: Authenticated, mode: PoolMode | None) -> Admitted | None:
    """`admit`, where all that it asks for is known, as it is for all but the first logins; else None, and nobody is in.

    Spares them a task and a turn of the event loop, and their greeting a write of its own.
    """
    registry = services.registry
    tenant = registry.cached(event.tenant_id)
    if tenant is None:
        return None
    standing = _standing(services, event.user, tenant, mode)
    services.census.admit(event.identity, tenant, services.limits)
    settings = None
    try:
        asked = _settings(event, standing.policy)
        if standing.pool.has_baseline:
            settings = known_settings(services, standing.pool.key, asked) if asked else asked
    finally:
        if settings is None:
            services.census.leave(event.user, tenant.id)
    if settings is None:
        return None
    return Admitted(event.user, standing, settings, registry.changes.number)


def _standing(services: ClientServices, user: str, tenant: Tenant, mode: PoolMode | None) -> Standing:
    """What holds for all clients of a user and a tenant, remembered until the configuration or the tenant changes.

    Raises ProxyError: the tenant is unavailable.
    """
    key = (user, tenant.id, mode)
    generation = services.registry.changes.number  # every reload of the configuration makes it grow, too
    known = services.standings.get(key)
    if known is not None and known.generation == generation and known.tenant is tenant:
        return known
    ensure_available(tenant)
    terms = services.terms(user, tenant.tier, mode)
    pool_mode = terms.session.mode
    standing = Standing(
        tenant,
        terms,
        services.policy(tenant, pool_mode),
        services.pools.pool(services.pool_key(tenant, pool_mode)),
        services.stats.tenant(tenant.id, placement_model(tenant.placement)),
        generation,
    )
    if len(services.standings) >= _MAX_REMEMBERED:
        services.standings.clear()
    services.standings[key] = standing
    return standing


def _settings(event: Authenticated, policy: GuardPolicy) -> dict[str, Parts]:
    """The startup settings, judged like SETs of the client."""
    settings: dict[str, Parts] = {}
    for name, value in event.startup.settings.items():
        lowered = name.lower()
        parts = _parts(lowered, value)
        error = judge_setting(SettingChange(lowered, parts, is_local=False), policy)
        if error is not None:
            raise error
        settings[lowered] = parts
    return settings


def _parts(name: str, value: str) -> Parts:
    """Raises InvalidStartupParameter in PostgreSQL's words: SET, which is to try the others, would never see the list."""
    if name not in quoting.LIST_QUOTED:
        return (value,)
    parts = quoting.split_list(value)
    if parts is None:
        raise InvalidStartupParameter(
            f'invalid value for parameter "{name}": "{value}"', details="List syntax is invalid."
        )
    return parts


def greeting(session: Session, pid: int, key: bytes) -> bytes:
    """What a client hears when it is in: AuthenticationOk to ReadyForQuery."""
    context = session.context
    if context.welcome_for is not session.baseline:  # a pool's is replaced, never changed
        context.welcome = _welcome(tuple(session.shown.items()))
        context.welcome_for = session.baseline
    return context.welcome + backend.backend_key_data(pid, key) + backend.READY[codes.IDLE]


@lru_cache(maxsize=_MAX_WELCOMES)
def _welcome(parameters: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """What clients of the same settings hear alike, whichever their tenants; contexts share it."""
    return backend.AUTHENTICATION_OK + b"".join(backend.parameter_status(name, value) for name, value in parameters)
