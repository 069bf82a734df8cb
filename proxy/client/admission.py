"""From a proven identity to a session: the tenant is looked up, limits and startup settings are judged, a pool is warm.

Every refusal here is FATAL for the login and says why.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.client.login import Authenticated
from proxy.client.probe import probe
from proxy.client.services import ClientServices, Terms
from proxy.context import quoting
from proxy.context.client_settings import ClientSettings, Parts
from proxy.guard.rules import GuardPolicy, judge_setting
from proxy.guard.statements import SettingChange
from proxy.observe.counters import TrafficStats
from proxy.pool.limits import PoolKey
from proxy.tenants.model import PoolMode, Tenant, ensure_available, placement_model
from proxy.wire import backend, codes


@dataclass(frozen=True, slots=True)
class Admitted:
    """All that a session starts from; `generation` is the registry's when the tenant was looked up."""

    user: str
    tenant: Tenant
    terms: Terms
    policy: GuardPolicy
    pool_key: PoolKey
    settings: ClientSettings
    baseline: dict[bytes, bytes]
    stats: TrafficStats
    generation: int


async def admit(services: ClientServices, event: Authenticated, mode: PoolMode | None) -> Admitted:
    """Let a client in that connected where this pool mode was decided, if any was.

    Raises ProxyError: tenant unknown or unavailable, a limit, a setting, no database.
    """
    registry = services.registry
    generation = registry.generation
    tenant = registry.cached(event.tenant_id) or await registry.lookup(event.tenant_id)
    ensure_available(tenant)
    services.census.admit(event.identity, tenant, services.limits)
    try:
        terms = services.terms(event.user, tenant.tier, mode)
        policy = services.policy(tenant, terms.session.mode)
        asked = _settings(event, policy)
        key = services.pool_key(tenant, terms.session.mode)
        await services.pools.warm(key)
        settings = await probe(services, tenant, key, asked)
    except BaseException:
        services.census.leave(event.user, tenant.id)
        raise
    baseline = services.pools.pool(key).baseline
    stats = services.stats.tenant(tenant.id, placement_model(tenant.placement))
    return Admitted(event.user, tenant, terms, policy, key, ClientSettings(settings), baseline, stats, generation)


def _settings(event: Authenticated, policy: GuardPolicy) -> dict[str, Parts]:
    """The startup settings, judged like SETs of the client."""
    settings: dict[str, Parts] = {}
    for name, value in event.startup.settings.items():
        lowered = name.lower()
        parts: Parts = quoting.split_list(value) if lowered in quoting.LIST_QUOTED else (value,)
        error = judge_setting(SettingChange(lowered, parts, is_local=False), policy)
        if error is not None:
            raise error
        settings[lowered] = parts
    return settings


def greeting(parameters: dict[bytes, bytes], pid: int, key: bytes) -> bytes:
    """What a client hears when it is in: AuthenticationOk to ReadyForQuery."""
    statuses = [backend.parameter_status(name, value) for name, value in parameters.items()]
    return b"".join(
        (
            backend.AUTHENTICATION_OK,
            *statuses,
            backend.backend_key_data(pid, key),
            backend.READY[codes.IDLE],
        )
    )
