"""Decide which tenant a login speaks for.

Every source that is present must name the same tenant, and the login must be allowed for it. Nothing is looked up:
whether the tenant exists is asked later, and only for logins that passed here, so a login that is limited to its
tenants can not find out which others there are.
"""

from __future__ import annotations

from collections.abc import Collection

from proxy.auth.identity import Identity, UserDirectory, UserRecord
from proxy.client.startup import ClientStartup
from proxy.errors import LoginRefused, TenantUnknown

Source = tuple[str, str]
"""Where a tenant was named, in words, and the tenant."""


def split_user(name: str, directory: UserDirectory) -> tuple[str, str | None, UserRecord | None]:
    """The login's name, the tenant after it, as in `app.acme`, and what is known of the login.

    A login of exactly this name wins. Else the last dot parts them, because a tenant id holds no dot and a login's
    name may. A name that no login fits comes back whole.
    """
    record = directory.find(name)
    if record is not None:
        return name, None, record
    user, _, tenant = name.rpartition(".")
    if user and tenant:
        record = directory.find(user)
        if record is not None:
            return user, tenant, record
    return name, None, None


def login_in(name: str) -> str:
    """The login that a name nobody has would be of, by the same rules.

    `app.acme` and `app.globex` share the salt of `app`, while `app.` is a name of its own: names that nobody has must
    do the same, or salts would tell which logins there are. (A login with a dot in its name can be told by them.)
    """
    user, _, tenant = name.rpartition(".")
    return user if user and tenant else name


def resolve_tenant(
    startup: ClientStartup, identity: Identity, user_tenant: str | None, tenant_settings: Collection[str]
) -> str:
    """The tenant id that this connection speaks for; not yet known to exist.

    Raises `LoginRefused` when sources disagree or the login is not allowed, `TenantUnknown` when there is no source.
    """
    sources = _sources(startup, user_tenant, tenant_settings)
    tenant: str | None = None
    for _, named in sources:
        if tenant is not None and named != tenant:
            raise _disagreement(sources)
        tenant = named
    if tenant is None:
        tenant = identity.single_tenant
    if tenant is None:
        raise _nothing_named(identity, tenant_settings)
    if not identity.may_use(tenant):
        raise LoginRefused(
            f'user "{identity.user}" is not allowed to connect for tenant "{tenant}"',
            hint="Ask whoever runs the proxy to allow this user for the tenant.",
        )
    return tenant


def without_tenant_settings(startup: ClientStartup, tenant_settings: Collection[str]) -> ClientStartup:
    """The same startup, the tenant's own settings taken out: from here on they are the context's, not the client's."""
    if not startup.settings:
        return startup
    names = {name.lower() for name in tenant_settings}
    if names.isdisjoint(startup.settings):
        return startup  # nothing of theirs can be among the overridden ones then
    return ClientStartup(
        startup.user,
        startup.database,
        {name: value for name, value in startup.settings.items() if name not in names},
        startup.tenant,
        startup.protocol_minor,
        startup.unknown_protocol_options,
        tuple([pair for pair in startup.overridden if pair[0] not in names]),
    )


def _sources(startup: ClientStartup, user_tenant: str | None, tenant_settings: Collection[str]) -> list[Source]:
    """Every place that names a tenant; an empty value names none."""
    found: list[Source] = []
    if startup.tenant:
        found.append(('parameter "tenant"', startup.tenant))
    if startup.settings:  # else nothing was overridden either
        names = {name.lower() for name in tenant_settings}
        assignments = [*startup.settings.items(), *startup.overridden]
        found += [(f'setting "{name}"', value) for name, value in assignments if value and name in names]
    if user_tenant:
        found.append(("user name", user_tenant))
    return found


def _disagreement(sources: list[Source]) -> LoginRefused:
    return LoginRefused(
        "the connection names more than one tenant",
        details="; ".join(f'{source} says "{tenant}"' for source, tenant in sources) + ".",
        hint="Name the tenant once, or the same one everywhere.",
    )


def _nothing_named(identity: Identity, tenant_settings: Collection[str]) -> TenantUnknown:
    options = "".join(f", options=-c {name}=..." for name in tenant_settings)
    return TenantUnknown(
        "no tenant specified",
        hint=f"Name one by the startup parameter tenant=...{options}, or by the user name {identity.user}.<tenant>.",
    )
