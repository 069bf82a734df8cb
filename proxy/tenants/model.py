"""What a tenant is: where it lives, what it may use, and whether it may be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.errors import TenantUnavailable
from proxy.settings.names import Invalid, validate_identifier, validate_tenant_id

__all__ = [
    "ClientRules",
    "DatabasePlacement",
    "Invalid",
    "Placement",
    "PoolMode",
    "SchemaPlacement",
    "SessionState",
    "SharedPlacement",
    "Tenant",
    "TenantStatus",
    "Tier",
    "ensure_available",
    "placement_model",
    "validate_identifier",
    "validate_tenant_id",
]


@dataclass(frozen=True, slots=True)
class SharedPlacement:
    """Rows in tables shared with other tenants, behind row-level security."""

    cluster: str
    database: str


@dataclass(frozen=True, slots=True)
class SchemaPlacement:
    """A schema of its own in a shared database; `role`, if any, is taken on in every transaction."""

    cluster: str
    database: str
    schema: str
    role: str | None = None


@dataclass(frozen=True, slots=True)
class DatabasePlacement:
    """A database of its own."""

    cluster: str
    database: str


Placement = SharedPlacement | SchemaPlacement | DatabasePlacement


def placement_model(placement: Placement) -> str:
    """The name of the model, as the configuration and metric labels have it."""
    match placement:
        case SharedPlacement():
            return "shared"
        case SchemaPlacement():
            return "schema"
        case DatabasePlacement():
            return "database"


class TenantStatus(StrEnum):
    """Only an active tenant may be used."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    MAINTENANCE = "maintenance"
    OFFBOARDED = "offboarded"


class SessionState(StrEnum):
    """What to do about state that SET LOCAL can not carry."""

    PIN = "pin"
    REFUSE = "refuse"


class PoolMode(StrEnum):
    """For how long a client keeps the server it was lent."""

    TRANSACTION = "transaction"
    SESSION = "session"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What holds for some clients (a tier's, a user's) instead of what holds for all; None leaves that.

    Times in seconds, 0.0 is no limit; sizes in bytes.
    """

    pool_mode: PoolMode | None = None
    query_timeout_s: float | None = None
    transaction_timeout_s: float | None = None
    idle_in_transaction_timeout_s: float | None = None
    client_idle_timeout_s: float | None = None
    pin_timeout_s: float | None = None
    wait_timeout_s: float | None = None
    max_message_bytes: int | None = None
    max_query_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """What a class of tenants may use.

    `settings` are all settings the tier puts in the context, as PostgreSQL reads them, such as
    ("statement_timeout", "10000ms"). Timeouts in seconds; 0.0 is no limit, None leaves the server's own. `max_clients`
    of 0 is no limit, None leaves the proxy's. `allows_channels`: LISTEN, NOTIFY and advisory locks may be used where they
    reach other tenants. `allows_sessions`: so may what shows or ends other tenants' sessions.
    """

    name: str
    statement_timeout_s: float | None = None
    idle_in_transaction_session_timeout_s: float | None = None
    lock_timeout_s: float | None = None
    work_mem: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    max_server_connections: int | None = None
    max_clients: int | None = None
    session_state: SessionState = SessionState.PIN
    max_pinned: int = 2
    allows_channels: bool = False
    allows_sessions: bool = False
    clients: ClientRules = ClientRules()


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant; a changed tenant is another object."""

    id: str
    placement: Placement
    tier: Tier
    status: TenantStatus = TenantStatus.ACTIVE


_WHY: Final = {
    TenantStatus.SUSPENDED: ("is suspended", "Ask the operator of the service to reactivate it."),
    TenantStatus.MAINTENANCE: ("is in maintenance", "Try again later."),
    TenantStatus.OFFBOARDED: ("has been closed", "It can not be used any more; remove it from the application."),
}


def ensure_available(tenant: Tenant) -> None:
    """Raise TenantUnavailable (57P03), with what to do, unless the tenant is active."""
    if tenant.status is TenantStatus.ACTIVE:
        return
    state, hint = _WHY[tenant.status]
    raise TenantUnavailable(f'tenant "{tenant.id}" {state}', hint=hint, tenant=tenant.id, status=tenant.status.value)
