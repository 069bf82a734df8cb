"""Turn settings into what the layers below take: limits, pool keys, TLS contexts."""

from __future__ import annotations

import ssl
from collections.abc import Container
from functools import partial

from structlog.typing import FilteringBoundLogger

from proxy.auth.scram import SaltedPasswords, tls_server_end_point
from proxy.client.services import ClientLimits
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.net.tls_files import UnusableFile, load_authorities, load_certificate
from proxy.pool.limits import PoolKey, PoolLimits
from proxy.server.connect import Connector, ServerOptions
from proxy.settings.model import ClientTls, Cluster, Settings
from proxy.tenants.model import PoolMode, Tenant
from proxy.tenants.registry import TenantRegistry
from proxy.tenants.yaml_source import SettingsSource

Place = tuple[str, str]
"""A cluster and a database of it."""


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


def connectors(settings: Settings, salted: SaltedPasswords, log: FilteringBoundLogger) -> dict[str, Connector]:
    """What opens server connections, by cluster. Raises ConfigError for TLS files that can not be used."""
    options = server_options(settings)
    made = {}
    for name, cluster in settings.clusters.items():
        try:
            made[name] = Connector(name, cluster, options, partial(server_password, cluster), salted, log)
        except OSError as error:
            raise ConfigError(f'the TLS files of cluster "{name}" can not be used: {error}') from None
    return made


def tenant_registry(settings: Settings, source: SettingsSource) -> TenantRegistry:
    """The cache in front of where tenants are declared."""
    registry = settings.registry
    return TenantRegistry(
        source,
        registry.ttl_s,
        registry.negative_ttl_s,
        registry.stale_s,
        max_entries=registry.max_entries,
        max_negative_entries=registry.max_negative_entries,
    )


def pool_limits(settings: Settings, key: PoolKey, served: Container[Place] | None = None) -> PoolLimits:
    """The settings of one pool; a cluster that left the configuration gets no new servers.

    `served`: the places of all tenants that are served, None if that is not known. Where nobody lives, and by a login that
    the cluster had before, no servers are kept for those who may come: the database could not be dropped.
    """
    pool = settings.pool
    cluster = settings.clusters.get(key.cluster)
    is_session = key.mode is PoolMode.SESSION
    is_served = served is None or (key.cluster, key.database) in served
    is_used = cluster is not None and cluster.user == key.user and is_served
    return PoolLimits(
        size=pool.session_size if is_session else pool.size,
        min_size=pool.min_size if is_used and not is_session else 0,
        wait_timeout_s=pool.wait_timeout_s,
        max_waiting=pool.max_waiting,
        idle_timeout_s=pool.idle_timeout_s,
        lifetime_s=pool.lifetime_s,
        lifetime_jitter=pool.lifetime_jitter,
        query_wait_notify_s=pool.query_wait_notify_s,
        trusted=pool.trusted,
        max_connections=cluster.max_connections if cluster is not None else 0,
    )


def pool_key(settings: Settings, tenant: Tenant, mode: PoolMode) -> PoolKey:
    """The pool that serves a tenant's clients in this mode. Raises ConfigError for a cluster that is not there."""
    placement = tenant.placement
    cluster = settings.clusters.get(placement.cluster)
    if cluster is None:
        raise ConfigError(f'tenant "{tenant.id}" lives on cluster "{placement.cluster}", which is not configured')
    kept = PoolMode.SESSION if mode is PoolMode.SESSION else PoolMode.TRANSACTION
    return PoolKey(placement.cluster, placement.database, cluster.user, kept)


def client_limits(settings: Settings) -> ClientLimits:
    """How many clients, and how long."""
    limits, timeouts = settings.limits, settings.timeouts
    return ClientLimits(
        max_clients=limits.max_clients,
        max_logins=limits.max_logins,
        max_clients_per_user=limits.max_clients_per_user,
        max_clients_per_tenant=limits.max_clients_per_tenant,
        client_buffer_bytes=limits.client_buffer_bytes,
        login_timeout_s=timeouts.client_login_timeout_s,
        recovery_timeout_s=timeouts.server_recovery_timeout_s,
        cancel_timeout_s=timeouts.cancel_timeout_s,
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "TLSv1.3" else ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as PostgreSQL
    try:
        der = load_certificate(context, tls.cert_file, tls.key_file)
        if tls.ca_file is not None:
            load_authorities(context, tls.ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
    except UnusableFile as error:
        hint = "Correct the file, or name another one in the section tls."
        raise ConfigError(f"the TLS files can not be used: {error}", hint=hint) from None
    return context, tls_server_end_point(der)
