"""Without a context Gatehouse's login sees nothing: the floor that every mistake of a proxy falls on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest

from tests.isolation import world
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def login(attacked: TestCluster) -> AsyncIterator[Connection]:
    """Gatehouse's own login, straight to the shared database, with no context."""
    connection = await asyncpg.connect(
        host=attacked.host,
        port=attacked.port,
        user=attacked.login,
        password=attacked.login_password,
        database="saas",
        ssl=False,
    )
    yield connection
    await connection.close()


@pytest.mark.parametrize("setting", [None, ""])
async def test_the_login_sees_no_row_of_a_shared_table(login: Connection, setting: str | None) -> None:
    if setting is not None:
        await login.execute("SELECT set_config('app.tenant_id', $1, false)", setting)
    for table in ("orders", "customers"):
        assert await login.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert await login.execute(f"DELETE FROM {table}") == "DELETE 0"


async def test_the_login_can_write_no_row_of_a_shared_table(login: Connection) -> None:
    for tenant in ("acme", "", None):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.NotNullViolationError)):
            await login.execute("INSERT INTO orders (tenant_id, item, amount) VALUES ($1, 'x', 1)", tenant)


@pytest.mark.parametrize("resident", [world.GLOBEX, world.HOOLI], ids=lambda resident: resident.name)
async def test_the_login_can_not_enter_a_tenants_schema(login: Connection, resident: world.Resident) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await login.fetch(f"SELECT * FROM {resident.orders}")
    await login.execute(f"SET search_path TO {resident.schema}")
    assert await login.fetchval("SELECT current_schemas(false)") == []


async def test_a_tenants_role_reaches_its_own_schema_only(login: Connection) -> None:
    await login.execute("SET ROLE tenant_globex_role")
    assert await login.fetchval("SELECT count(*) FROM tenant_globex.orders") == len(world.GLOBEX.items)
    for table in ("tenant_hooli.orders", "public.orders"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.fetch(f"SELECT * FROM {table}")


async def test_the_login_is_bound_by_policies_and_owns_nothing(login: Connection) -> None:
    role = await login.fetchrow("SELECT * FROM pg_roles WHERE rolname = session_user")
    assert role is not None
    powers = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolinherit")
    assert not any(role[power] for power in powers)
    assert await login.fetchval("SELECT count(*) FROM pg_class WHERE relowner = session_user::regrole") == 0
    unforced = (
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " AND NOT (relrowsecurity AND relforcerowsecurity)"
    )
    assert await login.fetchval(unforced) == 0


async def test_gatehouses_own_servers_wait_without_a_context(single: ProxyUnderTest) -> None:
    """What an idle server would answer: seen from outside, it has run no transaction of anybody's since its reset."""
    connection = await world.connect(single, world.ACME)
    pid = await connection.value("SELECT pg_backend_pid()")
    await connection.close()
    admin = await single.cluster.admin("saas")
    try:
        row = await admin.fetchrow(
            "SELECT usename, state, xact_start FROM pg_stat_activity WHERE pid = $1", int(str(pid))
        )
    finally:
        await admin.close()
    assert row is not None
    assert (row["usename"], row["state"], row["xact_start"]) == ("gatehouse", "idle", None)
