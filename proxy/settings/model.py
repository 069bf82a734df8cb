"""Everything that can be configured, with its default, its unit and the reason for it.

Frozen data. An attribute that has a unit says so at the end of its name (`wait_timeout_s`, `max_query_bytes`); the
YAML key is the name without it (`wait_timeout: 15s`, `max_query_size: 64MB`). What concerns several keys at once is
checked by `proxy.settings.checks`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from proxy.settings.hosts import HostPort
from proxy.settings.paths import ConfigPath
from proxy.settings.places import (
    Cluster,
    Keepalive,
    PlacementEntry,
    ServerTls,
    TenantEntry,
    Tier,
    User,
)
from proxy.settings.secret import Secret
from proxy.settings.types import (
    Count,
    CustomSettings,
    Duration,
    FileMode,
    Flag,
    HostName,
    Identifier,
    Label,
    Limit,
    Login,
    MessageSize,
    Mode,
    Port,
    Section,
    Size,
    SocketFolder,
    TenantId,
    Timeout,
    Workers,
)

__all__ = [
    "ClientTls",
    "Cluster",
    "ContextSettings",
    "Endpoint",
    "HostPort",
    "Http",
    "Keepalive",
    "Limits",
    "Listen",
    "Log",
    "PlacementEntry",
    "PoolSettings",
    "RegistrySettings",
    "Secret",
    "ServerTls",
    "Settings",
    "TenantEntry",
    "Tier",
    "Timeouts",
    "User",
]


class Listen(Section):
    """Where clients connect."""

    host: HostName = Field(
        default="127.0.0.1", min_length=1, description="address or name; 0.0.0.0 is all of IPv4, :: all there is"
    )
    port: Port = Field(default=6432, description="TCP port, and the number in the name of the Unix socket")
    unix_socket_dir: SocketFolder | None = Field(
        default=None, description="directory of the Unix socket .s.PGSQL.<port>; none for no Unix socket"
    )
    unix_socket_mode: FileMode = Field(
        default="0777",
        description="permissions of the Unix socket, octal; open to all as PostgreSQL's own, for a login follows",
    )
    backlog: Limit = Field(default=1024, description="connections the kernel queues while the proxy is busy accepting")
    mode: Mode | None = Field(
        default=None, description="pool.mode for clients that connect here; none for that of the user, tier or pool"
    )


class Endpoint(Section):
    """A further place where clients connect, with a pool mode of its own if need be."""

    host: HostName | None = Field(default=None, min_length=1, description="address or name; none is listen.host")
    port: Port = Field(
        description="TCP port, and the number in the name of the Unix socket; another one than all others",
        examples=[6433],
    )
    unix_socket_dir: SocketFolder | None = Field(
        default=None, description="directory of the Unix socket .s.PGSQL.<port>; none is listen.unix_socket_dir"
    )
    unix_socket_mode: FileMode | None = Field(
        default=None, description="permissions of the Unix socket, octal; none is listen.unix_socket_mode"
    )
    backlog: Limit | None = Field(
        default=None, description="connections the kernel queues while the proxy is busy; none is listen.backlog"
    )
    mode: Mode | None = Field(
        default=None,
        description="pool.mode for clients that connect here; none for that of the user, tier or pool",
        examples=["session"],
    )

    def beside(self, listen: Listen) -> Listen:
        """The endpoint with all that it leaves to `listen`, but for the mode."""
        return Listen(
            host=self.host or listen.host,
            port=self.port,
            unix_socket_dir=self.unix_socket_dir or listen.unix_socket_dir,
            unix_socket_mode=self.unix_socket_mode or listen.unix_socket_mode,
            backlog=self.backlog or listen.backlog,
            mode=self.mode,
        )


class Http(Section):
    """/metrics, /healthz, /readyz and the status page."""

    host: HostName = Field(
        default="127.0.0.1", min_length=1, description="address or name; has no login, so keep it private"
    )
    port: Port = Field(default=9632, description="TCP port")


class ClientTls(Section):
    """TLS towards clients."""

    mode: Literal["disable", "prefer", "require"] = Field(
        default="disable", description="prefer offers TLS to clients that ask, require refuses the others"
    )
    cert_file: ConfigPath | None = Field(default=None, description="PEM file of the certificate and its chain")
    key_file: ConfigPath | None = Field(default=None, description="PEM file of its private key")
    ca_file: ConfigPath | None = Field(
        default=None,
        description="PEM file of authorities for clients' certificates: one that a client shows must be of these, but "
        "it need not show any, and logs in by its password in any case",
    )
    min_version: Literal["TLSv1.2", "TLSv1.3"] = Field(default="TLSv1.2", description="oldest version of TLS accepted")


class PoolSettings(Section):
    """How server connections are kept. A pool is one login in one database of one cluster."""

    mode: Mode = Field(
        default="transaction",
        description="a server is lent for one transaction at a time, for a client's whole session, or, as statement, "
        "for one transaction with transaction blocks refused; an endpoint, a user or a tier may say otherwise, "
        "in this order",
    )
    size: Limit = Field(default=20, description="server connections of one pool; about twice the cores of its server")
    session_size: Limit = Field(
        default=10,
        description="server connections of one pool kept for clients in session mode, besides size; "
        "each client that has sent a statement holds one until it leaves",
    )
    min_size: Count = Field(
        default=0,
        description="connections kept open when idle, so that the first client need not wait; none where no tenant is "
        "served any more",
    )
    wait_timeout_s: Timeout = Field(
        default=15.0, description="a client's wait for a server; then 53300; off is no limit; also per tier and user"
    )
    max_waiting: Count = Field(
        default=10_000, description="clients that may wait in one pool; the next gets 53300 at once"
    )
    idle_timeout_s: Timeout = Field(default=30.0, description="an unused connection is closed after this; off is never")
    lifetime_s: Timeout = Field(
        default=3600.0, description="a connection is closed after this and frees its caches; off is never"
    )
    lifetime_jitter: float = Field(
        default=0.1, ge=0, lt=1, description="fraction by which a lifetime is shortened at random, lest all end at once"
    )
    query_wait_notify_s: Timeout = Field(
        default=5.0, description="a client that waited this long gets a NOTICE about it; off is never"
    )
    trusted: Flag = Field(
        default=False,
        description="true skips the reset when a connection moves to another tenant; only for a single owner",
    )
    reset_timeout_s: Duration = Field(
        default=5.0, description="for the reset of a connection, which is closed after that"
    )
    defer_begin: Flag = Field(
        default=True,
        description="a plain BEGIN is answered at once and sent with the first statement; false sends it by itself",
    )
    max_prepared_statements: Count = Field(
        default=200, description="prepared statements held on one server connection; the least recently used is closed"
    )


class ContextSettings(Section):
    """What makes a transaction a tenant's."""

    tenant_settings: CustomSettings = Field(
        default=("app.tenant_id",),
        validation_alias="tenant_setting",
        serialization_alias="tenant_setting",
        description="name of the custom setting that holds the tenant's id and that policies read; several as a list",
    )
    shared_schemas: tuple[Identifier, ...] = Field(
        default=("public",), description="schemas that a tenant with a schema of its own sees after it"
    )


class Limits(Section):
    """What one client, or all, may take."""

    max_clients: Limit = Field(
        default=10_000,
        description="clients logged in, in all; each needs a file descriptor, and so do those logging in",
    )
    max_logins: Limit = Field(
        default=2000,
        description="connections that are not logged in yet, besides max_clients; the next is refused before it has "
        "said a word, so that strangers can not take the place of clients",
    )
    max_clients_per_user: Count = Field(default=0, description="client connections of one user; 0 is no limit")
    max_clients_per_tenant: Count = Field(default=0, description="client connections of one tenant; 0 is no limit")
    max_message_bytes: MessageSize = Field(
        default=1_073_741_823,
        description="longest message; the default is PostgreSQL's own limit; also per tier and user",
    )
    max_query_bytes: MessageSize = Field(
        default=64 << 20, description="longest Query or Parse; these are held whole; also per tier and user"
    )
    client_buffer_bytes: Size = Field(
        default=256 << 10, ge=4096, description="bytes buffered per direction before the sender is paused"
    )
    max_prepared_statements_per_client: Limit = Field(
        default=1000, description="prepared statements one client may have"
    )
    max_session_settings_bytes: Size = Field(
        default=64 << 10,
        ge=1024,
        description="what a client has SET, names and values, and 100 bytes for each; it travels with every transaction; "
        "more gives 54000",
    )


class Timeouts(Section):
    """How long things may take. Waiting for a server is pool.wait_timeout.

    The first five are also keys of a tier and, but for pin_timeout, of a user; the user's counts before the tier's.
    """

    query_timeout_s: Timeout = Field(
        default=0.0,
        description="a Query, or a batch up to its Sync, is cancelled after this and fails with 57014; counted by "
        "Gatehouse, the time the client takes to send and to read included; off is never",
    )
    transaction_timeout_s: Timeout = Field(
        default=0.0, description="a transaction that lasts longer ends with its connection, 25P04; off is never"
    )
    idle_in_transaction_timeout_s: Timeout = Field(
        default=0.0,
        description="a client that is silent for this long inside a transaction is sent away, 25P03; off is never",
    )
    client_idle_timeout_s: Timeout = Field(
        default=0.0, description="a client idle outside a transaction is sent away, 57P05; off is never"
    )
    pin_timeout_s: Timeout = Field(
        default=0.0,
        description="a client that does not use a server it has pinned for this long is sent away, 57P05; off is never",
    )
    client_login_timeout_s: Duration = Field(default=60.0, description="from connecting to being logged in")
    shutdown_timeout_s: Timeout = Field(
        default=30.0, description="what running transactions get after SIGTERM; off waits for them without limit"
    )
    server_recovery_timeout_s: Duration = Field(
        default=5.0, description="for a rollback after its client left in mid-transaction; then the server is closed"
    )
    cancel_timeout_s: Duration = Field(
        default=10.0,
        description="for delivering a cancel request to a server, and for a query cancelled by query_timeout to end: "
        "after that its client is sent away",
    )


class RegistrySettings(Section):
    """How long answers about tenants are kept."""

    ttl_s: Duration = Field(default=60.0, description="an answer is used without asking again")
    negative_ttl_s: Duration = Field(default=5.0, description="as ttl, for tenants that do not exist")
    stale_s: Timeout = Field(
        default=600.0, description="how much longer an answer is used when the source fails; off is not"
    )
    max_entries: Limit = Field(default=100_000, description="tenants kept; the oldest answer is dropped")
    max_negative_entries: Limit = Field(default=10_000, description="unknown ids kept; bounds what guessing can fill")


class Log(Section):
    """The log, on standard error."""

    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto is console on a terminal, else json"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe events written"
    )
    connections: bool = Field(
        default=True,
        description="whether a line says that a client has logged in, and one that it has left; who is refused is always written",
    )


def _read_http(value: Any) -> Any:
    return None if value == "off" else value


class Settings(Section):
    """The whole configuration."""

    listen: Listen = Field(default_factory=Listen, description="where clients connect")
    endpoints: dict[Label, Endpoint] = Field(
        default_factory=dict, description="further places where clients connect, by name; such as one for session mode"
    )
    http: Annotated[Http | None, BeforeValidator(_read_http)] = Field(
        default_factory=Http, description="metrics, health and status page; off for none"
    )
    workers: Workers = Field(
        default=1,
        description="processes that share the ports, about one per core; each gets its share of the connections and "
        "clients allowed, so that a client may wait for a server while another process has an idle one",
    )
    tls: ClientTls = Field(default_factory=ClientTls, description="TLS towards clients")
    clusters: dict[Label, Cluster] = Field(default_factory=dict, description="PostgreSQL clusters by name")
    pool: PoolSettings = Field(default_factory=PoolSettings, description="how server connections are kept")
    context: ContextSettings = Field(default_factory=ContextSettings, description="what makes a transaction a tenant's")
    users: dict[Login, User] = Field(default_factory=dict, description="who may connect, and for which tenants")
    tiers: dict[Label, Tier] = Field(
        default_factory=lambda: {"default": Tier()},
        description="what classes of tenants may use; default exists in any case and can be redefined",
    )
    tenants: dict[TenantId, TenantEntry] = Field(default_factory=dict, description="tenants by id")
    tenants_file: ConfigPath | None = Field(
        default=None, description="file of further tenants, id to entry; watched and read again when it changes"
    )
    limits: Limits = Field(default_factory=Limits, description="what one client, or all, may take")
    timeouts: Timeouts = Field(default_factory=Timeouts, description="how long things may take")
    registry: RegistrySettings = Field(
        default_factory=RegistrySettings, description="how long answers about tenants are kept"
    )
    log: Log = Field(default_factory=Log, description="the log, on standard error")

    @field_validator("tiers")
    @classmethod
    def _add_default(cls, tiers: dict[str, Tier]) -> dict[str, Tier]:
        return tiers if "default" in tiers else {"default": Tier(), **tiers}
