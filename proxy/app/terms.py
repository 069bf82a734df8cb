"""What each client may do: by where it connected, its user, its tenant's tier, and what holds for all, in this order.

Built once per combination and settings; a reload makes new ones.
"""

from __future__ import annotations

from typing import Final, TypeVar

from proxy.client.services import Terms
from proxy.client.session_terms import SessionLimits
from proxy.context.context import ContextBuilder
from proxy.guard.rules import GuardPolicy
from proxy.settings.model import Settings
from proxy.tenants.model import (
    ClientRules,
    DatabasePlacement,
    PoolMode,
    SchemaPlacement,
    SessionState,
    Tenant,
    Tier,
)
from proxy.tenants.yaml_source import build_rules

T = TypeVar("T")

_ALWAYS_PROTECTED: Final = frozenset({"role", "session_authorization"})
_MAX_REMEMBERED: Final = 10_000
_NO_RULES: Final = ClientRules()


class TermsBook:
    """The terms of one Settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users = {name: build_rules(user) for name, user in settings.users.items()}
        self._known: dict[tuple[str, Tier, PoolMode | None], Terms] = {}

    def terms(self, user: str, tier: Tier, listener: PoolMode | None) -> Terms:
        """The terms of this user for tenants of this tier, where the listener decides the pool mode, or None."""
        key = (user, tier, listener)
        terms = self._known.get(key)
        if terms is None:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            terms = self._known[key] = self._build(self._users.get(user, _NO_RULES), tier.clients, listener)
        return terms

    def _build(self, user: ClientRules, tier: ClientRules, listener: PoolMode | None) -> Terms:
        limits, timeouts, pool = self._settings.limits, self._settings.timeouts, self._settings.pool
        max_message = _first(user.max_message_bytes, tier.max_message_bytes, limits.max_message_bytes)
        max_query = _first(user.max_query_bytes, tier.max_query_bytes, limits.max_query_bytes)
        wait_s = _first(user.wait_timeout_s, tier.wait_timeout_s, pool.wait_timeout_s)
        session = SessionLimits(
            max_message_bytes=max_message,
            max_query_bytes=min(max_query, max_message),
            client_buffer_bytes=limits.client_buffer_bytes,
            max_prepared_statements=limits.max_prepared_statements_per_client,
            max_settings_bytes=limits.max_session_settings_bytes,
            mode=_first(listener, user.pool_mode, tier.pool_mode, PoolMode(pool.mode)),
            query_timeout_s=_first(user.query_timeout_s, tier.query_timeout_s, timeouts.query_timeout_s),
            transaction_timeout_s=_first(
                user.transaction_timeout_s, tier.transaction_timeout_s, timeouts.transaction_timeout_s
            ),
            idle_in_transaction_timeout_s=_first(
                user.idle_in_transaction_timeout_s,
                tier.idle_in_transaction_timeout_s,
                timeouts.idle_in_transaction_timeout_s,
            ),
            idle_timeout_s=_first(
                user.client_idle_timeout_s, tier.client_idle_timeout_s, timeouts.client_idle_timeout_s
            ),
            pin_timeout_s=_first(tier.pin_timeout_s, timeouts.pin_timeout_s),
        )
        return Terms(session, None if wait_s == pool.wait_timeout_s else wait_s)


class Policies:
    """What clients of a tenant may not do; tenants for whom it is the same share one object."""

    def __init__(self, settings: Settings, builder: ContextBuilder) -> None:
        self._protected = _ALWAYS_PROTECTED | frozenset(settings.context.tenant_settings)
        self._builder = builder
        self._known: dict[GuardPolicy, GuardPolicy] = {}

    def policy(self, tenant: Tenant, mode: PoolMode) -> GuardPolicy:
        """The policy for a client of this tenant in this pool mode."""
        placement = tenant.placement
        path = self._builder.base_search_path(tenant) if isinstance(placement, SchemaPlacement) else None
        is_alone = isinstance(placement, DatabasePlacement)
        is_session = mode is PoolMode.SESSION
        policy = GuardPolicy(
            protected=self._protected,
            allowed_search_path=None if path is None else frozenset(path),
            # In a database of its own nobody else's data is there; in session mode the session has the context.
            transaction_block_free=is_alone or is_session,
            session_state_refused=tenant.tier.session_state is SessionState.REFUSE and not is_session,
            channels_refused=not (is_alone or tenant.tier.allows_channels),
            sessions_refused=not (is_alone or tenant.tier.allows_sessions),
            transactions_refused=mode is PoolMode.STATEMENT,
        )
        if len(self._known) >= _MAX_REMEMBERED:
            self._known.clear()
        return self._known.setdefault(policy, policy)


def _first(*values: T | None) -> T:
    """The first that is given; the last always is."""
    return next(value for value in values if value is not None)
