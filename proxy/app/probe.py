"""Log in to every host of every cluster and look for the tenants' schemas there, for `gatehouse check --connect`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from proxy.app import assembly
from proxy.auth.scram import SaltedPasswords
from proxy.context.quoting import literal
from proxy.errors import ProxyError
from proxy.server.connect import Connector
from proxy.server.connection import ServerConnection
from proxy.server.jobs import Outcome, query_job
from proxy.settings.model import Cluster, Settings
from proxy.settings.places import PlacementEntry

_PATIENCE_S: Final = 30.0
_AT_A_TIME: Final = 1000
_BECOMES: Final = b"CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END"
_LOOK: Final = b"""\
SELECT i || ' ' || CASE
    WHEN role IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN 'no role'
    WHEN role IS NOT NULL AND NOT pg_catalog.pg_has_role(role, %s) THEN 'not a member'
    WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = schema) THEN 'no schema'
    WHEN NOT pg_catalog.has_schema_privilege(coalesce(role, current_user), schema, 'USAGE') THEN 'no usage'
END FROM (VALUES %s) AS place (i, schema, role)"""


async def login_report(settings: Settings) -> list[tuple[str, str, bool, str]]:
    """(cluster, host, whether it is good, detail): a login to each host, for each database of the cluster's tenants, and
    each tenant's schema in there that its transactions could not use."""
    options = assembly.server_options(settings)
    report = []
    for name, cluster in settings.clusters.items():
        databases = {entry.placement.database for entry in settings.tenants.values() if entry.placement.cluster == name}
        for host in cluster.hosts:
            one = cluster.model_copy(update={"hosts": (host,)})
            for database in sorted(databases) or ["postgres"]:
                ok, detail = True, f"database {database}"
                misplaced: list[str] = []
                try:
                    connector = Connector(
                        name,
                        one,
                        options,
                        lambda cluster=cluster: assembly.server_password(cluster),  # type: ignore[misc]
                        SaltedPasswords(),
                        structlog.get_logger(),
                    )
                    server = await connector.open(database, cluster.user, lambda _: None)
                    detail += f", PostgreSQL {server.parameters.get(b'server_version', b'?').decode()}"
                    misplaced = await _misplaced(server, cluster, _schemas(settings, name, database))
                    server.close("checked")
                except ProxyError as error:
                    reason = error.log_context.get("reason") or error.log_context.get("server_message") or ""
                    ok, detail = False, f"{detail}: {error.message}" + (f" ({reason})" if reason else "")
                except OSError as error:
                    ok, detail = False, f"{detail}: {error}"
                report.append((name, str(host), ok, detail))
                report += [(name, str(host), False, f"database {database}: {text}") for text in misplaced]
    return report


def _schemas(settings: Settings, cluster: str, database: str) -> list[tuple[str, PlacementEntry]]:
    places = ((tenant, entry.placement) for tenant, entry in settings.tenants.items())
    return [
        (tenant, place)
        for tenant, place in places
        if (place.model, place.cluster, place.database) == ("schema", cluster, database)
    ]


async def _misplaced(
    server: ServerConnection, cluster: Cluster, places: Sequence[tuple[str, PlacementEntry]]
) -> list[str]:
    """What is wrong with these tenants' schemas and roles, as PostgreSQL has them."""
    found: list[str] = []
    for begin in range(0, len(places), _AT_A_TIME):
        some = places[begin : begin + _AT_A_TIME]
        rows = b", ".join(_row(number, place) for number, (_, place) in enumerate(some))
        outcome = await _run(server, _LOOK % (_BECOMES, rows))
        if outcome.error is not None:
            return [
                *found,
                f"the tenants' schemas could not be looked for ({outcome.error.get('M', 'no reason given')})",
            ]
        found += _told(cluster, some, outcome.values)
    return found


def _row(number: int, place: PlacementEntry) -> bytes:
    role = b"NULL" if place.role is None else literal(place.role)
    return b"(%d, %s::name, %s::name)" % (number, literal(place.schema or ""), role)


async def _run(server: ServerConnection, sql: bytes) -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    server.run(query_job(sql, done.set_result), _PATIENCE_S)
    return await done


def _told(
    cluster: Cluster, places: Sequence[tuple[str, PlacementEntry]], values: Sequence[bytes | None]
) -> Iterator[str]:
    for value in filter(None, values):
        number, _, what = value.decode().partition(" ")
        tenant, place = places[int(number)]
        user = cluster.user if place.role is None else place.role
        match what:
            case "no role":
                why = f'the role "{place.role}" does not exist'
            case "not a member":
                why = f'the login "{cluster.user}" can not become the role "{place.role}"; grant it'
            case "no schema":
                why = f'the schema "{place.schema}" does not exist, so names mean what the shared schemas have'
            case _:
                why = (
                    f'"{user}" has no USAGE on the schema "{place.schema}", so names mean what the shared schemas '
                    f"have; grant it, or name the role that has it"
                )
        yield f'tenant "{tenant}": {why}'
