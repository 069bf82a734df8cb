"""What a transaction must have to be the tenant's, as bytes that are ready to send.

Built once per (tenant, client settings) and cached: the data path only concatenates. Knows nothing of I/O or of the
transaction's state; `recipe.py` says where these bytes go.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from mypy_extensions import i64

from proxy.context import quoting
from proxy.context.client_settings import Parts
from proxy.tenants.model import DatabasePlacement, SchemaPlacement, SharedPlacement, Tenant
from proxy.wire import frontend

Pairs = tuple[tuple[str, Parts], ...]

FOLLOWED: Final = (
    "client_encoding",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
)
"""Client settings that must hold before a transaction starts, so SET LOCAL inside it is too late. They grant no access:
the server's session follows the client that uses it."""

REPORTED: Final = {
    "application_name": b"application_name",
    "client_encoding": b"client_encoding",
    "datestyle": b"DateStyle",
    "default_transaction_read_only": b"default_transaction_read_only",
    "intervalstyle": b"IntervalStyle",
    "search_path": b"search_path",
    "standard_conforming_strings": b"standard_conforming_strings",
    "timezone": b"TimeZone",
}
"""Settings that PostgreSQL reports by ParameterStatus and a client may change, by their lower-cased name."""


PLAN_SETTINGS: Final = frozenset(
    {
        "array_nulls",
        "backslash_quote",
        "bytea_output",
        "client_encoding",
        "datestyle",
        "extra_float_digits",
        "intervalstyle",
        "lc_monetary",
        "lc_numeric",
        "lc_time",
        "quote_all_identifiers",
        "role",
        "search_path",
        "standard_conforming_strings",
        "timezone",
        "timezone_abbreviations",
        "transform_null_equals",
        "xmlbinary",
        "xmloption",
    }
)
"""Settings by which PostgreSQL understands a text when it parses it: names, and literals, which become constants then.
Or when it plans it: what a constant looks like as text. A statement must not be shared across them."""

_MAX_CACHED_BYTES: Final = 4096
"""A context that is larger holds values of one client's own, which no other will ask for."""


class InjectionNames:
    """Names of the proxy's own prepared statements on servers: new in every process, so no client can guess them."""

    __slots__ = ("_prefix",)

    def __init__(self, token: str | None = None) -> None:
        self._prefix = b"gatehouse_" + (token or secrets.token_hex(8)).encode()

    def context(self, count: int) -> bytes:
        """The statement that sets `count` settings."""
        return self._prefix + b"_ctx_%d" % count

    def client(self, number: int) -> bytes:
        """The `number`th statement shared among clients."""
        return self._prefix + b"_%d" % number


class Context:
    """The settings of one (tenant, client settings), in every form that the wire recipes use.

    `prefix`: `SET LOCAL …; ` for the front of a Query; `statements` is how many CommandComplete replies that adds.
    `query`: the same as a Query of its own. `parse`, `bind_execute`: the extended form, for which `statement_name` must
    be prepared. `plan_key`: what makes a cached plan differ, the database and PLAN_SETTINGS. `followed`: the client's FOLLOWED
    settings. `lasting`: all of them, for a server whose session is the client's own. `reported`: ParameterStatus values
    as a client with this context sees them. `welcome` is what clients are greeted with, where servers report
    `welcome_for` by themselves.
    """

    __slots__ = (
        "bind_execute",
        "followed",
        "lasting",
        "parse",
        "plan_key",
        "prefix",
        "prefix_length",
        "query",
        "reported",
        "settings",
        "statement_name",
        "statements",
        "welcome",
        "welcome_for",
    )

    def __init__(self, settings: Pairs, followed: Pairs, names: InjectionNames, place: bytes = b"") -> None:
        self.settings = dict(settings)
        self.followed = followed
        self.lasting = (*followed, *settings)
        self.statements: i64 = len(settings)
        self.prefix = b"".join(quoting.set_local(name, parts) + b"; " for name, parts in settings)
        self.prefix_length = len(self.prefix.decode("utf-8", "replace"))
        self.query = frontend.query(self.prefix)
        self.statement_name = names.context(len(settings))
        calls = [b"pg_catalog.set_config($%d,$%d,true)" % (2 * i + 1, 2 * i + 2) for i in range(len(settings))]
        self.parse = frontend.parse(self.statement_name, b"SELECT " + b", ".join(calls))
        values: list[bytes | None] = []
        for name, parts in settings:
            values += (quoting.to_bytes(name), quoting.set_config_value(name, parts))
        self.bind_execute = frontend.bind(b"", self.statement_name, values) + frontend.execute(b"")
        self.plan_key = b"\0".join(
            (
                place,
                *(
                    quoting.to_bytes(name) + b"=" + quoting.set_config_value(name, parts)
                    for name, parts in sorted(self.lasting)
                    if name in PLAN_SETTINGS
                ),
            )
        )
        self.reported = {
            REPORTED[name]: quoting.set_config_value(name, parts)
            for name, parts in (*settings, *followed)
            if name in REPORTED
        }
        self.welcome = b""
        self.welcome_for: dict[bytes, bytes] | None = None


def follow(held: Pairs, wanted: Pairs) -> bytes:
    """A Query that takes a server's session from the settings it was given, `held`, to those `wanted`."""
    before, after = dict(held), dict(wanted)
    gone = [quoting.set_session(name, None) for name in before if name not in after]
    changed = [quoting.set_session(name, parts) for name, parts in after.items() if parts != before.get(name)]
    return frontend.query(b"; ".join(gone + changed))


class ContextBuilder:
    """Makes and caches contexts.

    `tenant_settings` are the names that carry the tenant's id; `shared_schemas` stand behind a schema tenant's own in
    its search_path. At most `max_entries` contexts are kept.
    """

    def __init__(
        self,
        tenant_settings: tuple[str, ...],
        shared_schemas: tuple[str, ...],
        names: InjectionNames,
        max_entries: int = 50_000,
    ) -> None:
        self._tenant_settings = tenant_settings
        self._shared_schemas = shared_schemas
        self._names = names
        self._max_entries = max_entries
        # By the tenant's id: to hash all that a tenant is takes longer than the rest of `build`.
        self._cache: OrderedDict[tuple[str, Pairs], tuple[Tenant, Context]] = OrderedDict()

    def build(self, tenant: Tenant, client: Mapping[str, Parts]) -> Context:
        """The context of a transaction of `tenant` by a client with these settings."""
        key = (tenant.id, tuple(sorted(client.items())) if client else ())
        known = self._cache.get(key)
        if known is not None and known[0] is tenant:
            return known[1]
        if known is not None and known[0] == tenant:  # the same, looked up again
            context = known[1]
        else:
            followed = tuple((name, client[name]) for name in FOLLOWED if name in client)
            place = f"{tenant.placement.cluster}/{tenant.placement.database}".encode()
            context = Context(self._pairs(tenant, client), followed, self._names, place)
        if len(context.prefix) <= _MAX_CACHED_BYTES:
            self._cache[key] = (tenant, context)
            if len(self._cache) > self._max_entries:
                self._cache.popitem(last=False)
        return context

    def base_search_path(self, tenant: Tenant) -> Parts | None:
        """What search_path is for this tenant unless the client narrows it; None leaves it to the database."""
        placement = tenant.placement
        if isinstance(placement, SchemaPlacement):
            return (placement.schema, *self._shared_schemas)
        return None

    def _pairs(self, tenant: Tenant, client: Mapping[str, Parts]) -> Pairs:
        """Order matters twice: the tenant first, and the role last, because it may not set what stands behind it."""
        own: dict[str, Parts] = dict.fromkeys(self._tenant_settings, (tenant.id,))
        pairs = dict(own)
        path = self.base_search_path(tenant)
        if path is not None:
            pairs["search_path"] = path
        for name, value in tenant.tier.settings:
            pairs[name] = (value,)
        pairs.update((name, parts) for name, parts in client.items() if name not in FOLLOWED)
        pairs.update(own)  # whatever the client's map says
        pairs.pop("role", None)
        match tenant.placement:
            case SchemaPlacement(role=str() as role):
                pairs["role"] = (role,)
            case SchemaPlacement() | SharedPlacement() | DatabasePlacement():
                pass
        return tuple(pairs.items())
