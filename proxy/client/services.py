"""What client connections share in one process: collaborators and the settings in force.

Built and replaced by `app.py`; connections read the attributes each time, so a reload counts for everything that
happens after it.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from proxy.auth.identity import Identity, UserDirectory
from proxy.client.cancel_keys import CancelKeys
from proxy.client.login import TlsMode
from proxy.client.session import SessionLimits, SessionShared
from proxy.errors import TooManyClients
from proxy.guard.rules import GuardPolicy
from proxy.observe.audit import AuditLog
from proxy.observe.counters import ProxyStats
from proxy.observe.throttle import Throttle
from proxy.pool.limits import PoolKey
from proxy.pool.manager import PoolManager
from proxy.tenants.model import Tenant
from proxy.tenants.registry import TenantRegistry

if TYPE_CHECKING:
    from proxy.client.connection import ClientConnection


@dataclass(slots=True)
class ClientLimits:
    """Clients in all, of one user and of one tenant (0: no limit), and times in seconds (0: none)."""

    max_clients: int
    max_clients_per_user: int
    max_clients_per_tenant: int
    login_timeout_s: float
    idle_timeout_s: float
    recovery_timeout_s: float


class Census:
    """Who is connected: counted when admitted, by user and by tenant.

    `present` has those, too, whose connection is being closed.
    """

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self.present: set[ClientConnection] = set()
        self.by_user: Counter[str] = Counter()
        self.by_tenant: Counter[str] = Counter()
        self.pins: Counter[str] = Counter()

    def admit(self, identity: Identity, tenant: Tenant, limits: ClientLimits) -> None:
        """Count a client in. Raises TooManyClients, naming the limit."""
        per_user = identity.max_clients or limits.max_clients_per_user
        per_tenant = tenant.tier.max_clients or limits.max_clients_per_tenant
        if per_user and self.by_user[identity.user] >= per_user:
            raise _too_many(f'user "{identity.user}"', per_user, "max_clients of the user")
        if per_tenant and self.by_tenant[tenant.id] >= per_tenant:
            raise _too_many(f'tenant "{tenant.id}"', per_tenant, "max_clients of the tenant's tier")
        self.by_user[identity.user] += 1
        self.by_tenant[tenant.id] += 1

    def leave(self, user: str, tenant_id: str) -> None:
        """Count a client out."""
        for counter, name in ((self.by_user, user), (self.by_tenant, tenant_id)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]


def too_many_in_all(limit: int) -> TooManyClients:
    """The limit on clients in all is reached."""
    return TooManyClients(
        f"sorry, too many clients already: Gatehouse takes {limit}",
        hint="Close idle connections, or raise limits.max_clients.",
    )


def _too_many(whose: str, limit: int, setting: str) -> TooManyClients:
    return TooManyClients(
        f"too many connections for {whose}: the limit is {limit}", hint=f"Close idle connections, or raise {setting}."
    )


@dataclass(slots=True)
class ClientServices:
    """See the module's docstring."""

    directory: UserDirectory
    mock_secret: bytes
    tls_mode: TlsMode
    tls: ssl.SSLContext | None
    channel_binding: bytes | None
    tenant_settings: tuple[str, ...]
    registry: TenantRegistry
    pools: PoolManager
    pool_key: Callable[[Tenant], PoolKey]
    policy: Callable[[Tenant], GuardPolicy]
    shared: SessionShared
    session_limits: SessionLimits
    limits: ClientLimits
    stats: ProxyStats
    audit: AuditLog
    log: FilteringBoundLogger
    complaints: Throttle
    cancel_keys: CancelKeys[ClientConnection]
    census: Census = field(default_factory=Census)
    probed: dict[object, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    is_stopping: bool = False
