"""What must be true of several keys at once: names that lead somewhere, and places that belong to one tenant.

The second is about isolation: two tenants that were given the same schema or database by mistake would read each
other's rows, and nothing downstream could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from proxy.settings.explain import Finding, suggest
from proxy.settings.hosts import HostPort
from proxy.settings.model import Listen, Settings, TenantEntry
from proxy.settings.names import CONTEXT_SETTINGS, READING_SETTINGS
from proxy.settings.yaml_tree import KeyPath

TIER_KEYS = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "work_mem")


@dataclass(frozen=True, slots=True)
class Declared:
    """The names a file declares, also those whose entries are not good: a reference to them is not dangling.

    None where the names can not be told, because the section or the file that holds it is not good.
    """

    clusters: frozenset[str] | None
    tiers: frozenset[str] | None
    tenants: Collection[str] | None


def check(settings: Settings, declared: Declared, pause: Callable[[], None]) -> Iterator[Finding]:
    """Everything that is wrong between the sections; `pause` is called for each tenant."""
    yield from _check_ports(settings)
    yield from _check_tenants(settings, declared, pause)
    yield from _check_places(settings, pause)
    yield from _check_users(settings, declared)
    yield from _check_tiers(settings)
    yield from _check_shared_schemas(settings)
    yield from _check_numbers(settings)
    yield from _check_workers(settings)
    yield from _check_tls(settings)


def _check_ports(settings: Settings) -> Iterator[Finding]:
    """Two places on one port would be one, or fail at the start; a Unix socket has only the port in its name."""
    places: list[tuple[str, Listen]] = [("listen", settings.listen)]
    if settings.http is not None:
        http = Listen(host=settings.http.host, port=settings.http.port)
        if _collide(settings.listen, http):
            yield _taken(("http", "port"), http.port, "listen")
        places.append(("http", http))
    for name, endpoint in settings.endpoints.items():
        own = endpoint.beside(settings.listen)
        other = next((other for other, listen in places if _collide(own, listen)), None)
        if other is not None:
            yield _taken(("endpoints", name, "port"), own.port, other)
        places.append((f"endpoints.{name}", own))


_EVERYWHERE = ("0.0.0.0", "::", "*")  # noqa: S104 - compared, not bound


def _collide(one: Listen, other: Listen) -> bool:
    if one.port != other.port:
        return False
    is_same_host = one.host == other.host or one.host in _EVERYWHERE or other.host in _EVERYWHERE
    return is_same_host or one.unix_socket_dir == other.unix_socket_dir is not None


def _taken(path: KeyPath, port: int, other: str) -> Finding:
    return Finding(path, f"the port {port} is that of {other} already", "Give each place a port of its own.")


def _check_tenants(settings: Settings, declared: Declared, pause: Callable[[], None]) -> Iterator[Finding]:
    tiers = None if declared.tiers is None else declared.tiers | {"default"}
    for tenant_id, tenant in settings.tenants.items():
        pause()
        at = ("tenants", tenant_id)
        yield from _dangling((*at, "placement", "cluster"), "cluster", tenant.placement.cluster, declared.clusters)
        yield from _dangling((*at, "tier"), "tier", tenant.tier, tiers)
        yield from _check_placement(at, tenant, settings.context.shared_schemas)


def _check_placement(at: tuple[str, str], tenant: TenantEntry, shared: tuple[str, ...]) -> Iterator[Finding]:
    place = tenant.placement
    at_schema = (*at, "placement", "schema")
    if place.model != "schema":
        for key, value in (("schema", place.schema), ("role", place.role)):
            if value is not None:
                message = f'a placement of the model "{place.model}" has no {key}'
                yield Finding((*at, "placement", key), message, f"Leave it out, or use the model schema for {key}s.")
    elif place.schema is None:
        yield Finding((*at, "placement"), '"schema" is missing', "The model schema needs the name of one.", at_key=True)
    elif place.schema.lower().startswith("pg_") or place.schema.lower() == "information_schema":
        yield Finding(at_schema, f'the schema "{place.schema}" belongs to PostgreSQL')
    elif place.schema in shared:
        message = f'the schema "{place.schema}" is shared by all tenants, so it can not be this one\'s own'
        yield Finding(at_schema, message, "Choose another schema, or take it out of context.shared_schemas.")


@dataclass(slots=True)
class _Database:
    """Who lives in one database."""

    owner: str | None = None
    others: str | None = None
    schemas: dict[str, str] = field(default_factory=dict)


def _check_places(settings: Settings, pause: Callable[[], None]) -> Iterator[Finding]:
    same = _same_clusters(settings)
    databases: dict[tuple[str, str], _Database] = {}
    for tenant_id, tenant in settings.tenants.items():
        pause()
        place = tenant.placement
        database = databases.setdefault((same.get(place.cluster, place.cluster), place.database), _Database())
        yield from _move_in(tenant_id, tenant, database)


def _move_in(tenant_id: str, tenant: TenantEntry, database: _Database) -> Iterator[Finding]:
    place = tenant.placement
    at = ("tenants", tenant_id, "placement")
    neighbour = database.owner
    if place.model == "database":
        neighbour = neighbour or database.others
        database.owner = database.owner or tenant_id
    else:
        database.others = database.others or tenant_id
    if neighbour is not None:
        owner = tenant_id if neighbour == database.others else neighbour
        message = f'the database "{place.database}" is also used by the tenant "{neighbour}"'
        yield Finding((*at, "database"), message, f'It belongs to "{owner}" alone, by the placement model database.')
    if place.model == "schema" and place.schema is not None:
        holder = database.schemas.setdefault(place.schema, tenant_id)
        if holder != tenant_id:
            message = f'the schema "{place.schema}" belongs to the tenant "{holder}" already'
            yield Finding((*at, "schema"), message, "Each tenant of the model schema needs one of its own.")


def _same_clusters(settings: Settings) -> Mapping[str, str]:
    """For each cluster the first of those that share addresses with it: another name for the same data."""
    first: dict[tuple[str, int], str] = {}
    same = {name: name for name in settings.clusters}
    for name, cluster in settings.clusters.items():
        for host in cluster.hosts:
            other, own = same[first.setdefault(_place_of(host), name)], same[name]
            if other != own:
                same = {each: other if group == own else group for each, group in same.items()}
    return same


def _place_of(host: HostPort) -> tuple[str, int]:
    """The address as such compare: a host's name in any case, and whatever ends it."""
    return (host.socket_path if host.is_unix else host.host.lower().removesuffix(".")), host.port


def _check_users(settings: Settings, declared: Declared) -> Iterator[Finding]:
    for name, user in settings.users.items():
        if user.password is None:
            hint = "Write password: {env: NAME}, {file: PATH} or {scram: VERIFIER}."
            yield Finding(("users", name), f'the user "{name}" has no password', hint, at_key=True)
        base, _, tenant = name.rpartition(".")
        if base in settings.users and tenant in (declared.tenants or ()):
            message = f'"{name}" would also be the user "{base}" of the tenant "{tenant}"'
            yield Finding(("users", name), message, "Rename one of the users.", at_key=True)
        for index, tenant in enumerate(() if user.tenants == "*" else user.tenants):
            yield from _dangling(("users", name, "tenants", index), "tenant", tenant, declared.tenants)


def _check_tiers(settings: Settings) -> Iterator[Finding]:
    taken = CONTEXT_SETTINGS | set(settings.context.tenant_settings)
    for name, tier in settings.tiers.items():
        for setting in tier.settings:
            at = ("tiers", name, "settings", setting)
            if setting in taken:
                yield Finding(at, f'"{setting}" is part of the tenant\'s context and can not be set here', at_key=True)
            elif setting in READING_SETTINGS:
                message = f'"{setting}" can not be set here: with it PostgreSQL would read another text than was judged'
                hint = "Leave it out; clients may SET what can be read safely."
                yield Finding(at, message, hint, at_key=True)
            elif setting in TIER_KEYS:
                yield Finding(at, f'"{setting}" has a key of its own', "Write it one level up.", at_key=True)


def _check_shared_schemas(settings: Settings) -> Iterator[Finding]:
    for index, schema in enumerate(settings.context.shared_schemas):
        if schema.lower().startswith("pg_"):
            message = f'the schema "{schema}" belongs to PostgreSQL'
            yield Finding(("context", "shared_schemas", index), message, "pg_catalog is seen by all in any case.")
    for key in ("shared_schemas", "tenant_settings"):
        values: tuple[str, ...] = getattr(settings.context, key)
        if len(set(values)) < len(values):
            yield Finding(("context", key.replace("_settings", "_setting")), "a name is listed twice")


def _check_numbers(settings: Settings) -> Iterator[Finding]:
    if settings.pool.min_size > settings.pool.size:
        yield Finding(("pool", "min_size"), f"must not be more than pool.size, which is {settings.pool.size}")
    limits = settings.limits
    if limits.max_query_bytes > limits.max_message_bytes:
        yield Finding(("limits", "max_query_size"), "must not be more than max_message_size")
    for section, entries in (("tiers", settings.tiers), ("users", settings.users)):
        for name, entry in entries.items():
            # One of the two alone may be below or above the other's global value: the smaller of both counts.
            query, message = entry.max_query_bytes, entry.max_message_bytes
            if query is not None and message is not None and query > message:
                yield Finding((section, name, "max_query_size"), "must not be more than max_message_size")


def _check_workers(settings: Settings) -> Iterator[Finding]:
    """Every worker needs a server of each pool and of each cluster."""
    workers = settings.workers
    shared: list[tuple[KeyPath, int]] = [
        (("pool", "size"), settings.pool.size),
        (("pool", "session_size"), settings.pool.session_size),
        *((("clusters", name, "max_connections"), each.max_connections) for name, each in settings.clusters.items()),
    ]
    for path, limit in shared:
        if limit < workers:
            key = path[-1]
            message = f"must not be less than workers, which is {workers}: {key} is {limit}, and each worker needs one"
            yield Finding(path, message, f"Raise {key}, or run fewer workers.")


def _check_tls(settings: Settings) -> Iterator[Finding]:
    tls = settings.tls
    if tls.mode != "disable":
        for key in ("cert_file", "key_file"):
            if getattr(tls, key) is None:
                hint = "Give cert_file and key_file, or mode: disable."
                yield Finding(("tls", "mode"), f"TLS towards clients needs a {key}", hint)
    for name, cluster in settings.clusters.items():
        if (cluster.tls.cert_file is None) != (cluster.tls.key_file is None):
            yield Finding(("clusters", name, "tls"), "cert_file and key_file need each other", at_key=True)


def _dangling(path: KeyPath, kind: str, name: str, known: Collection[str] | None) -> Iterator[Finding]:
    if known is not None and name not in known:
        yield Finding(path, f'there is no {kind} "{name}"', suggest(name, known) or f"Declare it under {kind}s.")
