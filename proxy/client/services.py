"""What client connections share in one process: collaborators and the settings in force.

Built and replaced by `app.py`; connections read the attributes each time, so a reload counts for everything that
happens after it.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from structlog.typing import FilteringBoundLogger

from proxy.auth.identity import Identity, UserDirectory
from proxy.client.cancel_keys import CancelKeys
from proxy.client.login import TlsMode
from proxy.client.login_deadlines import LoginDeadlines
from proxy.client.session_terms import SessionLimits, SessionShared
from proxy.client.turns import Turns
from proxy.errors import TooManyClients
from proxy.guard.rules import GuardPolicy
from proxy.observe.audit import AuditLog
from proxy.observe.counters import ProxyStats, TrafficStats
from proxy.observe.throttle import Throttle
from proxy.pool.limits import PoolKey
from proxy.pool.manager import PoolManager
from proxy.pool.pool import Pool
from proxy.tenants.model import PoolMode, Tenant, Tier
from proxy.tenants.registry import TenantRegistry

if TYPE_CHECKING:
    from proxy.client.connection import ClientConnection


RECONFIGURED: Final = "configuration changed"
"""Why a server of a cluster's old settings is closed."""


@dataclass(slots=True)
class ClientLimits:
    """Clients in all, connections that are not logged in yet, clients of one user and of one tenant (0: no limit); bytes
    that may come before the login is complete; times in seconds."""

    max_clients: int
    max_logins: int
    max_clients_per_user: int
    max_clients_per_tenant: int
    client_buffer_bytes: int
    login_timeout_s: float
    recovery_timeout_s: float
    cancel_timeout_s: float


@dataclass(frozen=True, slots=True)
class Terms:
    """What one client may do and how long, by its user, its tenant's tier and where it connected.

    `wait_timeout_s`: how long it waits for a server, in seconds (0.0: no limit), if that is not what the pool says (None).
    """

    session: SessionLimits
    wait_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows for all clients of one user and one tenant, where the registry is of this generation."""

    tenant: Tenant
    terms: Terms
    policy: GuardPolicy
    pool: Pool
    stats: TrafficStats
    generation: int


class Census:
    """Who is connected: counted when admitted, in all, by user and by tenant.

    `connections` are those that log in, too; `present` has those, too, whose connection is being closed.
    """

    def __init__(self) -> None:
        self.clients = 0
        self.connections: set[ClientConnection] = set()
        self.present: set[ClientConnection] = set()
        self.by_user: Counter[str] = Counter()
        self.by_tenant: Counter[str] = Counter()
        self.pins: Counter[str] = Counter()

    @property
    def logging_in(self) -> int:
        """Connections that are not admitted yet."""
        return len(self.connections) - self.clients

    def admit(self, identity: Identity, tenant: Tenant, limits: ClientLimits) -> None:
        """Count a client in. Raises TooManyClients, naming the limit."""
        if self.clients >= limits.max_clients:
            raise _too_many_in_all(limits.max_clients)
        per_user = identity.max_clients or limits.max_clients_per_user
        per_tenant = tenant.tier.max_clients or limits.max_clients_per_tenant
        of_user = self.by_user.get(identity.user, 0)
        of_tenant = self.by_tenant.get(tenant.id, 0)
        if per_user and of_user >= per_user:
            raise _too_many(f'user "{identity.user}"', per_user, "max_clients of the user")
        if per_tenant and of_tenant >= per_tenant:
            raise _too_many(f'tenant "{tenant.id}"', per_tenant, "max_clients of the tenant's tier")
        self.clients += 1
        self.by_user[identity.user] = of_user + 1
        self.by_tenant[tenant.id] = of_tenant + 1

    def leave(self, user: str, tenant_id: str) -> None:
        """Count a client out."""
        self.clients -= 1
        _count_out(self.by_user, user)
        _count_out(self.by_tenant, tenant_id)


def _count_out(counter: Counter[str], name: str) -> None:
    left = counter.get(name, 0) - 1
    if left:
        counter[name] = left
    else:
        counter.pop(name, None)


def too_many_logins(limit: int) -> TooManyClients:
    """The limit on connections that are not logged in yet is reached."""
    return TooManyClients(
        f"sorry, too many connections are logging in: Gatehouse takes {limit} at a time",
        hint="Try again in a moment, or raise limits.max_logins.",
    )


def _too_many_in_all(limit: int) -> TooManyClients:
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
    pool_key: Callable[[Tenant, PoolMode], PoolKey]
    policy: Callable[[Tenant, PoolMode], GuardPolicy]
    terms: Callable[[str, Tier, PoolMode | None], Terms]  # of a user and a tier, where the listener has this mode
    shared: SessionShared
    limits: ClientLimits
    stats: ProxyStats
    audit: AuditLog
    log: FilteringBoundLogger
    complaints: Throttle
    cancel_keys: CancelKeys[ClientConnection]
    census: Census = field(default_factory=Census)
    turns: Turns = field(default_factory=Turns)
    login_deadlines: LoginDeadlines = field(default_factory=LoginDeadlines)
    pass_cancel: Callable[[int, bytes, Callable[[], None]], None] | None = (
        None  # to the other workers, if there are any
    )
    standings: dict[tuple[str, str, PoolMode | None], Standing] = field(default_factory=dict)
    probed: dict[object, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    is_stopping: bool = False
