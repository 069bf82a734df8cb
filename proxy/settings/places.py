"""What tenants are made of: clusters they live on, tiers that bound them, users who connect for them, and themselves.

Tenants may be many, so their entries are slotted dataclasses with interned names instead of pydantic models: about
a quarter of the memory.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from proxy.settings.names import Invalid
from proxy.settings.paths import ConfigPath
from proxy.settings.secret import SecretField
from proxy.settings.types import (
    Address,
    Count,
    Duration,
    Identifier,
    KeepaliveTime,
    Label,
    Limit,
    Login,
    MessageSize,
    Mode,
    Probes,
    RoleName,
    Section,
    ServerTimeout,
    SettingName,
    SettingValue,
    TenantList,
    Timeout,
    available,
)


class ServerTls(Section):
    """TLS towards a cluster."""

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        default="prefer", description="as libpq's sslmode; only verify-full proves that the server is the one meant"
    )
    ca_file: ConfigPath | None = Field(
        default=None,
        description="PEM file of authorities that verify-ca and verify-full trust; without it the system's",
    )
    cert_file: ConfigPath | None = Field(
        default=None, description="PEM file of the certificate Gatehouse shows the server"
    )
    key_file: ConfigPath | None = Field(default=None, description="PEM file of that certificate's private key")


class Keepalive(Section):
    """TCP keepalive towards a cluster: finds servers that vanished without a word."""

    idle_s: KeepaliveTime = Field(
        default=60.0, description="silence before the first probe (TCP_KEEPIDLE); whole seconds"
    )
    interval_s: KeepaliveTime = Field(default=10.0, description="between probes (TCP_KEEPINTVL); whole seconds")
    count: Probes = Field(
        default=3, description="probes without an answer until the connection counts as dead (TCP_KEEPCNT)"
    )


class Cluster(Section):
    """A PostgreSQL cluster: addresses that lead to the same data, and the login Gatehouse uses there."""

    hosts: tuple[Address, ...] = Field(
        min_length=1,
        description="host:port, [IPv6]:port or /directory:port, port 5432 if there is none; tried in this order until one accepts",
        examples=[["127.0.0.1:5432"]],
    )
    user: Login = Field(
        description="role that server connections log in as; must not be a superuser nor bypass row-level security",
        examples=["gatehouse"],
    )
    password: SecretField | None = Field(
        default=None, description="where that role's password is kept; none when the server trusts this machine"
    )
    max_connections: Limit = Field(
        default=80,
        description="server connections in all pools of this cluster; below its own max_connections less reserves",
    )
    tls: ServerTls = Field(default_factory=ServerTls, description="TLS towards this cluster")
    connect_timeout_s: Duration = Field(
        default=5.0, description="for connecting and logging in to one host, then the next"
    )
    keepalive: Keepalive = Field(default_factory=Keepalive, description="TCP keepalive towards this cluster")

    @field_validator("password")
    @classmethod
    def _check_password(cls, password: SecretField | None) -> SecretField | None:
        if password is not None and password.scram is not None:
            raise Invalid(
                "a SCRAM verifier can not be used to log in to a server",
                "Give the password itself by {env: NAME} or {file: PATH}.",
            )
        return password


class User(Section):
    """A login clients may use, and the tenants it may speak for."""

    auth: Annotated[Literal["password"], available("password", planned=("jwt",))] = Field(
        default="password", description="how the client proves itself: password is SCRAM-SHA-256"
    )
    password: SecretField | None = Field(
        default=None,
        description="where the password is kept, or its verifier: {env: NAME}, {file: PATH} or {scram: VERIFIER}",
        examples=[{"env": "APP_PASSWORD"}],
    )
    tenants: TenantList = Field(
        description='"*" for every tenant, or a list of ids; a login with one tenant need not name it when it connects',
        examples=["*"],
    )
    max_clients: Count | None = Field(
        default=None,
        description="client connections of this user, instead of limits.max_clients_per_user; 0 is no limit",
    )
    pool_mode: Mode | None = Field(default=None, description="pool.mode for this user; none for that of the tier")
    query_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.query_timeout for this user; none for that of the tier"
    )
    transaction_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.transaction_timeout for this user; none for that of the tier"
    )
    idle_in_transaction_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.idle_in_transaction_timeout for this user; none for that of the tier"
    )
    client_idle_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.client_idle_timeout for this user; none for that of the tier"
    )
    wait_timeout_s: Timeout | None = Field(
        default=None, description="pool.wait_timeout for this user; none for that of the tier"
    )
    max_message_bytes: MessageSize | None = Field(
        default=None, description="limits.max_message_size for this user; none for that of the tier"
    )
    max_query_bytes: MessageSize | None = Field(
        default=None, description="limits.max_query_size for this user; none for that of the tier"
    )


class Tier(Section):
    """What a class of tenants may use.

    A setting of PostgreSQL that is left out is left to the server's own value, a limit of Gatehouse's to that for all
    clients.
    """

    statement_timeout_s: ServerTimeout | None = Field(
        default=None, description="statement_timeout in the tenant's context"
    )
    idle_in_transaction_session_timeout_s: ServerTimeout | None = Field(
        default=None,
        description="idle_in_transaction_session_timeout in the tenant's context; an idle transaction holds a server",
    )
    lock_timeout_s: ServerTimeout | None = Field(default=None, description="lock_timeout in the tenant's context")
    work_mem: SettingValue | None = Field(
        default=None, description="work_mem in the tenant's context, in PostgreSQL's notation, as in 16MB"
    )
    settings: dict[SettingName, SettingValue] = Field(
        default_factory=dict,
        description="further settings in the tenant's context, by name; each costs the server 1 to 2 µs a transaction",
    )
    max_server_connections: Limit | None = Field(
        default=None, description="server connections one tenant may hold at a time; none is as many as the pool has"
    )
    max_clients: Count | None = Field(
        default=None,
        description="client connections of one tenant, instead of limits.max_clients_per_tenant; 0 is no limit",
    )
    session_state: Literal["pin", "refuse"] = Field(
        default="pin",
        description="for what SET LOCAL can not carry (LISTEN, temporary tables, session locks …): pin keeps the "
        "server with the client until it is gone, refuse answers 0A000",
    )
    max_pinned: Count = Field(default=2, description="servers that clients of one tenant may have pinned at a time")
    cross_tenant_channels: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="LISTEN, NOTIFY and advisory locks where tenants share a database (the models shared and schema): "
        "channels and keys are the same for all of them, so what one sends or locks reaches the others",
    )
    cross_tenant_sessions: Literal["refuse", "allow"] = Field(
        default="refuse",
        description="views and functions that show what other sessions of the login run (pg_stat_activity, pg_stat_statements, "
        "pg_prepared_statements) or end it (pg_terminate_backend, pg_cancel_backend), where tenants share a database: "
        "what they show holds other tenants' constants",
    )
    pool_mode: Mode | None = Field(default=None, description="pool.mode for clients of these tenants")
    query_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.query_timeout for clients of these tenants"
    )
    transaction_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.transaction_timeout for clients of these tenants"
    )
    idle_in_transaction_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.idle_in_transaction_timeout for clients of these tenants"
    )
    client_idle_timeout_s: Timeout | None = Field(
        default=None, description="timeouts.client_idle_timeout for clients of these tenants"
    )
    pin_timeout_s: Timeout | None = Field(default=None, description="timeouts.pin_timeout for clients of these tenants")
    wait_timeout_s: Timeout | None = Field(default=None, description="pool.wait_timeout for clients of these tenants")
    max_message_bytes: MessageSize | None = Field(
        default=None, description="limits.max_message_size for clients of these tenants"
    )
    max_query_bytes: MessageSize | None = Field(
        default=None, description="limits.max_query_size for clients of these tenants"
    )


_STRICT = ConfigDict(extra="forbid")
Interned = AfterValidator(sys.intern)


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlacementEntry:
    """Where a tenant lives."""

    model: Literal["shared", "schema", "database"] = Field(
        description="shared tables behind row-level security, a schema of its own, or a database of its own"
    )
    cluster: Annotated[Label, Interned] = Field(description="name of a cluster", examples=["main"])
    database: Annotated[Identifier, Interned] = Field(
        description="the database; with the model database no other tenant may use it", examples=["saas"]
    )
    schema: Identifier | None = Field(
        default=None,
        description="the tenant's schema; for the model schema, and needed there; PostgreSQL does not say when it is missing, "
        "but gatehouse check --connect does",
    )
    role: RoleName | None = Field(
        default=None,
        description="role taken on in every transaction; for the model schema, where its grants keep tenants apart; without "
        "one the cluster's user needs the grants",
    )


@dataclass(frozen=True, slots=True, config=_STRICT)
class TenantEntry:
    """A tenant: where it lives, what it may use, whether it may be used."""

    placement: PlacementEntry = Field(description="where the tenant lives")
    tier: Annotated[Label, Interned] = Field(
        default="default", description="name of a tier; default exists in any case"
    )
    status: Literal["active", "suspended", "maintenance", "offboarded"] = Field(
        default="active", description="anything but active is refused, with a text of its own"
    )
