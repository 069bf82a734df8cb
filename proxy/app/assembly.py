"""Turn settings into what the layers below take: limits, policies, pool keys, TLS contexts."""

from __future__ import annotations

import ssl

from proxy.auth.scram import tls_server_end_point
from proxy.client.services import ClientLimits
from proxy.client.session import SessionLimits
from proxy.context.context import ContextBuilder
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.guard.rules import GuardPolicy
from proxy.pool.limits import PoolKey, PoolLimits
from proxy.server.connect import ServerOptions
from proxy.settings.model import ClientTls, Cluster, Settings
from proxy.tenants.model import DatabasePlacement, SchemaPlacement, SessionState, Tenant

_ALWAYS_PROTECTED = frozenset({"role", "session_authorization"})


def server_options(settings: Settings) -> ServerOptions:
    """What server connections start with: a session that sees no tenant's data, in an encoding that is safe to read."""
    baseline = dict.fromkeys(settings.context.tenant_settings, "")
    # A role that was given by ALTER ROLE … SET must not come along.
    baseline |= {"role": "none"}
    baseline |= {"application_name": "gatehouse", "client_encoding": "UTF8", "standard_conforming_strings": "on"}
    return ServerOptions(
        baseline=baseline,
        max_prepared_statements=settings.pool.max_prepared_statements,
        reset_timeout_s=settings.pool.reset_timeout_s,
        cancel_timeout_s=settings.timeouts.cancel_timeout_s,
    )


def pool_limits(settings: Settings, key: PoolKey) -> PoolLimits:
    """The settings of one pool; a cluster that left the configuration gets no new servers."""
    pool = settings.pool
    cluster = settings.clusters.get(key.cluster)
    return PoolLimits(
        size=pool.size,
        min_size=pool.min_size if cluster is not None else 0,
        wait_timeout_s=pool.wait_timeout_s,
        max_waiting=pool.max_waiting,
        idle_timeout_s=pool.idle_timeout_s,
        lifetime_s=pool.lifetime_s,
        lifetime_jitter=pool.lifetime_jitter,
        query_wait_notify_s=pool.query_wait_notify_s,
        trusted=pool.trusted,
        max_connections=cluster.max_connections if cluster is not None else 0,
    )


def pool_key(settings: Settings, tenant: Tenant) -> PoolKey:
    """The pool that serves a tenant."""
    placement = tenant.placement
    cluster = settings.clusters.get(placement.cluster)
    if cluster is None:
        raise ConfigError(f'tenant "{tenant.id}" lives on cluster "{placement.cluster}", which is not configured')
    return PoolKey(placement.cluster, placement.database, cluster.user)


def guard_policy(settings: Settings, builder: ContextBuilder, tenant: Tenant) -> GuardPolicy:
    """What clients of this tenant may not do."""
    path = builder.base_search_path(tenant) if isinstance(tenant.placement, SchemaPlacement) else None
    return GuardPolicy(
        protected=_ALWAYS_PROTECTED | frozenset(settings.context.tenant_settings),
        allowed_search_path=None if path is None else frozenset(path),
        # A database of its own: nobody else's data is there, so a statement may run without the context.
        transaction_block_free=isinstance(tenant.placement, DatabasePlacement),
        session_state_refused=tenant.tier.session_state is SessionState.REFUSE,
    )


def session_limits(settings: Settings) -> SessionLimits:
    """What one client may send and hold."""
    limits = settings.limits
    return SessionLimits(
        max_message_bytes=limits.max_message_bytes,
        max_query_bytes=limits.max_query_bytes,
        client_buffer_bytes=limits.client_buffer_bytes,
        max_prepared_statements=limits.max_prepared_statements_per_client,
    )


def client_limits(settings: Settings) -> ClientLimits:
    """How many clients, and how long."""
    limits, timeouts = settings.limits, settings.timeouts
    return ClientLimits(
        max_clients=limits.max_clients,
        max_clients_per_user=limits.max_clients_per_user,
        max_clients_per_tenant=limits.max_clients_per_tenant,
        login_timeout_s=timeouts.client_login_timeout_s,
        idle_timeout_s=timeouts.client_idle_timeout_s,
        recovery_timeout_s=timeouts.server_recovery_timeout_s,
    )


def server_password(cluster: Cluster) -> str | None:
    """The password of Gatehouse's login, read anew. Raises ConfigError."""
    return None if cluster.password is None else read_secret(cluster.password)


def client_tls(tls: ClientTls) -> tuple[ssl.SSLContext | None, bytes | None]:
    """The TLS context towards clients and its channel binding data. Raises ConfigError."""
    if tls.mode == "disable":
        return None, None
    if tls.cert_file is None or tls.key_file is None:
        raise ConfigError("tls.mode needs cert_file and key_file", hint="Name both, or set tls.mode to disable.")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls.cert_file, tls.key_file)
        if tls.ca_file is not None:
            context.load_verify_locations(tls.ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
        pem = tls.cert_file.read_text()
        der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") :].split("-----END")[0] + _PEM_END)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"the TLS files can not be used: {error}", hint="Check tls.cert_file and tls.key_file."
        ) from None
    return context, tls_server_end_point(der)


_PEM_END = "-----END CERTIFICATE-----\n"
