"""Answer who a tenant is, from memory when possible and from the source when needed.

An answer is fresh for `ttl_s`, then asked for again; when the source fails it is used for `stale_s` more. Unknown ids
are remembered for `negative_ttl_s`. Concurrent look-ups of one id ask the source once. No sockets here, and the
clock is passed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from proxy.errors import ProxyError, RegistryUnavailable, TenantUnknown
from proxy.tenants.generation import Generation
from proxy.tenants.model import Invalid, Tenant, ensure_available, validate_tenant_id

__all__ = ["TenantRegistry", "TenantSource", "ensure_available"]

# After a failure the stale answer counts as fresh for this long: a broken source is not asked for every transaction.
_RETRY_S: Final = 1.0


class TenantSource(Protocol):
    """Where tenants are written down."""

    async def fetch(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None when there is none of this id; raises any exception when it can not be told."""


@dataclass(slots=True)
class _Answer:
    tenant: Tenant
    fresh_until: float
    usable_until: float
    invalidations: int
    """How many there had been when it was given: after another one it is not fresh."""


class TenantRegistry:
    """A cache in front of a source.

    `changes` grows whenever an answer given before may no longer hold: a session that keeps a Tenant compares two
    ints, and asks again when they differ. A change that nobody announces by `invalidate` is seen when `ttl_s` has
    passed and somebody asks.
    """

    def __init__(
        self,
        source: TenantSource,
        ttl_s: float,
        negative_ttl_s: float,
        stale_s: float,
        clock: Callable[[], float] = monotonic,
        *,
        max_entries: int = 100_000,
        max_negative_entries: int = 10_000,
        fetch_timeout_s: float = 5.0,
    ) -> None:
        self.changes: Final = Generation()
        self.source_failures = 0
        self.hits = 0
        self.misses = 0
        self.negative_hits = 0
        self.stale_served = 0
        self._source = source
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self._stale_s = stale_s
        self._clock = clock
        self._max_entries = max_entries
        self._max_negative_entries = max_negative_entries
        self._fetch_timeout_s = fetch_timeout_s
        self._invalidations = 0
        self._answers: dict[str, _Answer] = {}
        self._unknown: dict[str, float] = {}
        self._fetches: dict[str, asyncio.Task[Tenant | None]] = {}
        self._tasks: set[asyncio.Task[Tenant | None]] = set()

    def cached(self, tenant_id: str) -> Tenant | None:
        """The tenant if a fresh answer is at hand, else None: then `lookup` tells."""
        answer = self._answers.get(tenant_id)
        if answer is None or answer.invalidations != self._invalidations or answer.fresh_until <= self._clock():
            return None
        self.hits += 1
        return answer.tenant

    async def lookup(self, tenant_id: str) -> Tenant:
        """The tenant, whatever its status; raises TenantUnknown, or RegistryUnavailable when it can not be told."""
        tenant = self.cached(tenant_id)
        if tenant is not None:
            return tenant
        if self._is_known_as_unknown(tenant_id):
            self.negative_hits += 1
            raise _unknown(tenant_id)
        self.misses += 1
        tenant = await self._fetch_once(tenant_id)
        if tenant is None:
            raise _unknown(tenant_id)
        return tenant

    def invalidate(self) -> None:
        """Ask the source again for every tenant; until it answers, old answers serve only when it fails."""
        self.changes.number += 1
        self._invalidations += 1
        self._unknown.clear()
        # Fetches under way may bring an answer from before: later look-ups do not join them.
        self._fetches.clear()

    async def close(self) -> None:
        """Stop the fetches under way; whoever waits for one is cancelled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_known_as_unknown(self, tenant_id: str) -> bool:
        until = self._unknown.get(tenant_id)
        if until is not None:
            return until > self._clock()
        # An id that can not exist is not worth an entry that guessing could fill the cache with.
        try:
            validate_tenant_id(tenant_id)
        except Invalid:
            return True
        return False

    async def _fetch_once(self, tenant_id: str) -> Tenant | None:
        task = self._fetches.get(tenant_id)
        if task is None:
            task = asyncio.create_task(self._fetch(tenant_id), name=f"tenant {tenant_id}")
            self._fetches[tenant_id] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._forget(tenant_id, done))
        # A client that leaves must not take the answer away from the others who wait for it.
        return await asyncio.shield(task)

    def _forget(self, tenant_id: str, task: asyncio.Task[Tenant | None]) -> None:
        self._tasks.discard(task)
        if self._fetches.get(tenant_id) is task:
            del self._fetches[tenant_id]
        if not task.cancelled():
            task.exception()  # everyone who waited may have left; then nobody else looks at it

    async def _fetch(self, tenant_id: str) -> Tenant | None:
        before = self._invalidations
        try:
            async with asyncio.timeout(self._fetch_timeout_s):
                tenant = await self._source.fetch(tenant_id)
        except Exception as error:
            return self._stale(tenant_id, error)
        if before != self._invalidations:
            return await self._fetch_once(tenant_id)
        return self._remember(tenant_id, tenant)

    def _stale(self, tenant_id: str, error: Exception) -> Tenant:
        self.source_failures += 1
        answer = self._answers.get(tenant_id)
        now = self._clock()
        if answer is None or answer.usable_until <= now:
            reason = error.message if isinstance(error, ProxyError) else str(error) or type(error).__name__
            raise RegistryUnavailable(
                "the tenant registry is not available", hint="Try again later.", tenant=tenant_id, reason=reason
            ) from error
        self.stale_served += 1
        answer.fresh_until = min(now + _RETRY_S, answer.usable_until)
        answer.invalidations = self._invalidations
        return answer.tenant

    def _remember(self, tenant_id: str, tenant: Tenant | None) -> Tenant | None:
        """Keep the answer; the same object as before where nothing changed, so that sessions see that at a glance."""
        now = self._clock()
        known = self._answers.pop(tenant_id, None)
        if known is not None:
            if known.tenant == tenant:
                tenant = known.tenant
            else:
                self.changes.number += 1
        if tenant is None:
            self._unknown.pop(tenant_id, None)
            self._unknown[tenant_id] = now + self._negative_ttl_s
            _keep_newest(self._unknown, self._max_negative_entries)
            return None
        self._unknown.pop(tenant_id, None)
        fresh_until = now + self._ttl_s
        self._answers[tenant.id] = _Answer(tenant, fresh_until, fresh_until + self._stale_s, self._invalidations)
        _keep_newest(self._answers, self._max_entries)
        return tenant


def _keep_newest(entries: dict[str, _Answer] | dict[str, float], limit: int) -> None:
    while len(entries) > limit:
        del entries[next(iter(entries))]


def _unknown(tenant_id: str) -> TenantUnknown:
    return TenantUnknown(
        f'tenant "{ascii(tenant_id[:63])[1:-1]}" does not exist', hint="Check the tenant the connection names."
    )
