"""The tenants of these tests, what each of them may see, and how a connection is looked at.

The demo's four tenants and `hooli`, a second one with a schema and a role of its own, so that every placement in which
tenants share a server has an attacker and a victim. `globex` may create objects in its schema, as an application
that runs its own migrations may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from proxy.cli.demo.seed import SHARED_DATABASE, TENANTS
from proxy.wire import frontend
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import Frame, RawConnection, errors, rows

Protocol = Literal["simple", "extended"]
PROTOCOLS: Final[tuple[Protocol, ...]] = ("simple", "extended")


@dataclass(frozen=True, slots=True)
class Resident:
    """A tenant: where it lives, as whom it runs, and exactly which items its `orders` hold."""

    name: str
    model: str
    database: str
    schema: str
    user: str
    items: frozenset[str]

    @property
    def orders(self) -> str:
        """The qualified name of its `orders`."""
        return f"{self.schema}.orders"

    @property
    def schemas(self) -> str:
        """What current_schemas(false) is for it."""
        return "{public}" if self.model != "schema" else f"{{{self.schema},public}}"


_DEMO: Final = tuple(
    Resident(
        tenant.name, tenant.model, tenant.database, tenant.schema or "public", tenant.role or "gatehouse", tenant.items
    )
    for tenant in TENANTS
)
HOOLI: Final = Resident(
    "hooli", "schema", SHARED_DATABASE, "tenant_hooli", "tenant_hooli_role", frozenset({"signature box", "nucleus"})
)
ACME, UMBRELLA, GLOBEX, INITECH = _DEMO
RESIDENTS: Final = (*_DEMO, HOOLI)

HOOLI_CONFIG: Final = {
    "placement": {
        "model": "schema",
        "cluster": "main",
        "database": HOOLI.database,
        "schema": HOOLI.schema,
        "role": HOOLI.user,
    }
}

_PREPARE: Final = """
    INSERT INTO tenant_hooli.orders (item, amount) VALUES ('signature box', 1), ('nucleus', 2);
    GRANT CREATE ON SCHEMA tenant_globex TO tenant_globex_role;
"""


def settle(cluster: TestCluster) -> None:
    """Give hooli its home, and globex the right to create objects in its own."""
    cluster.sql_file("schema_tenant.sql", {"database": SHARED_DATABASE, "tenant": "hooli"})
    cluster.sql(_PREPARE, SHARED_DATABASE)


async def connect(proxy: ProxyUnderTest, resident: Resident, **parameters: str) -> RawConnection:
    """A client of the tenant, through Gatehouse."""
    return await RawConnection.connect(
        proxy.host,
        proxy.port,
        user=f"app.{resident.name}",
        password=proxy.password,
        database=resident.database,
        parameters=parameters,
    )


async def run(connection: RawConnection, sql: str, protocol: Protocol = "simple") -> list[Frame]:
    """One statement by the simple or the extended protocol, and its answer."""
    if protocol == "simple":
        return await connection.query(sql)
    return await connection.ask(
        frontend.parse(b"", sql.encode()), frontend.bind(b"", b"", ()), frontend.execute(b""), frontend.SYNC
    )


# What a session is like, as far as another tenant could have changed it. Every name is qualified: a captured one would lie.
_STATE: Final = {
    "tenant": "pg_catalog.current_setting('app.tenant_id', true)",
    "user": "current_user",
    "session user": "session_user",
    "search_path": "pg_catalog.current_setting('search_path')",
    "schemas": "pg_catalog.current_schemas(false)::pg_catalog.text",
    **{
        name: f"pg_catalog.current_setting('{name}')"
        for name in (
            "TimeZone application_name work_mem standard_conforming_strings client_encoding statement_timeout lock_timeout "
            "row_security DateStyle default_transaction_read_only transaction_read_only transaction_isolation "
            "idle_in_transaction_session_timeout bytea_output session_replication_role plan_cache_mode"
        ).split()
    },
    "temporary relations": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_class"
    " WHERE relnamespace = pg_catalog.pg_my_temp_schema())",
    "temporary types": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_type"
    " WHERE typnamespace = pg_catalog.pg_my_temp_schema())",
    "temporary functions": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_proc"
    " WHERE pronamespace = pg_catalog.pg_my_temp_schema())",
    "cursors": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_cursors WHERE is_holdable)",
    "channels": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_listening_channels())",
    "advisory locks": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks"
    " WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid())",
    "statements by SQL": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements WHERE from_sql)",
    "false context statements": "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_statements"
    " WHERE name LIKE 'gatehouse%ctx%' AND statement NOT LIKE 'SELECT pg_catalog.set_config(%')",
    "custom settings": "pg_catalog.current_setting('evil.mark', true)",
}
_LOOK: Final = "SELECT " + ", ".join(_STATE.values())


async def state_of(connection: RawConnection, protocol: Protocol = "simple") -> dict[str, str | None]:
    """Everything about the session that its client could notice."""
    frames = await run(connection, _LOOK, protocol)
    found = rows(frames)
    assert found, frames
    state = dict(zip(_STATE, found[0], strict=True))
    state["custom settings"] = state["custom settings"] or None  # '' is what is left of one that was reset
    return state


async def items_of(connection: RawConnection, table: str, protocol: Protocol = "simple") -> list[str] | None:
    """The items in a table of orders, sorted; None when it can not be read."""
    frames = await run(connection, f"SELECT item FROM {table} ORDER BY 1", protocol)
    if errors(frames):
        return None
    return sorted(str(row[0]) for row in rows(frames))


async def reach_of(connection: RawConnection, protocol: Protocol = "simple") -> set[str]:
    """Every item that the client can get at now, in whatever table of whatever tenant; nothing in a failed transaction."""
    found: set[str] = set()
    tables = ["orders", *sorted({resident.orders for resident in RESIDENTS})]
    for table in tables:
        if connection.status == "E":
            return found
        inside = connection.status == "T"
        if inside:
            await connection.query("SAVEPOINT reach")
        found.update(await items_of(connection, table, protocol) or ())
        if inside:
            await connection.query("ROLLBACK TO reach")
    return found
