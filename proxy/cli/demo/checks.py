"""Prove, through Gatehouse and over the real protocol, what a tenant sees and that it can not see the others.

Every attempt says beforehand how it must end; anything else, success included, is a failure of the demo.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import asyncpg

from proxy.cli.demo.attempts import NO_ROWS, Attempt, Finding, attempts
from proxy.cli.demo.binaries import clean_environment
from proxy.cli.demo.config import HOST, SINGLE_TENANT, DemoConfig
from proxy.cli.demo.seed import TENANTS, SampleTenant

TIMEOUT_S: Final = 15.0


async def check_all(config: DemoConfig, psql: str | None) -> list[Finding]:
    """Everything about every tenant; `psql` is a program to ask too. Never raises for what a server answers."""
    findings: list[Finding] = []
    for tenant in TENANTS:
        findings += await _check_tenant(config, tenant)
        if psql:
            findings.append(await _ask_psql(config, tenant, psql))
    findings.append(await _check_bound_login(config))
    return findings


async def _check_tenant(config: DemoConfig, tenant: SampleTenant) -> list[Finding]:
    try:
        async with _connect(config, config.user(tenant), config.password(tenant), tenant.database) as connection:
            findings = [await _check_own_rows(connection, tenant)]
            others = [other for other in TENANTS if other is not tenant]
            return findings + [await _make(attempt, connection, tenant) for attempt in attempts(tenant, others)]
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        return [Finding(tenant.name, f"log in as {config.user(tenant)}", _describe(error), False)]


async def _check_own_rows(connection: asyncpg.Connection[asyncpg.Record], tenant: SampleTenant) -> Finding:
    sql = "SELECT item FROM orders"
    items = [row["item"] for row in await connection.fetch(sql, timeout=TIMEOUT_S)]
    customers = await connection.fetchval("SELECT count(*) FROM customers", timeout=TIMEOUT_S)
    passed = sorted(items) == sorted(tenant.items) and customers == tenant.customers
    return Finding(tenant.name, sql, f"{len(items)} rows: {', '.join(items)}", passed)


async def _make(attempt: Attempt, connection: asyncpg.Connection[asyncpg.Record], tenant: SampleTenant) -> Finding:
    try:
        outcome = await _outcome(connection, attempt.sql)
        return Finding(tenant.name, attempt.sql, outcome, outcome == attempt.expected)
    except asyncpg.PostgresError as error:
        return Finding(tenant.name, attempt.sql, _describe(error), error.sqlstate == attempt.expected)


async def _outcome(connection: asyncpg.Connection[asyncpg.Record], sql: str) -> str:
    # Queries go by the extended protocol, the rest by the simple one.
    if sql.startswith(("SELECT", "TABLE")):
        rows = await connection.fetch(sql, timeout=TIMEOUT_S)
        return str(rows[0][0]) if rows else NO_ROWS
    return await connection.execute(sql, timeout=TIMEOUT_S)


async def _check_bound_login(config: DemoConfig) -> Finding:
    """The login of one tenant asks for another."""
    action = "log in with tenant=acme"
    with contextlib.suppress(OSError):
        try:
            async with _connect(config, SINGLE_TENANT, config.tenant_password, "saas", tenant="acme"):
                return Finding(SINGLE_TENANT, action, "was let in", False)
        except asyncpg.PostgresError as error:
            return Finding(SINGLE_TENANT, action, _describe(error), error.sqlstate == "28000")
    return Finding(SINGLE_TENANT, action, "the connection broke", False)


async def _ask_psql(config: DemoConfig, tenant: SampleTenant, psql: str) -> Finding:
    sql = "SELECT count(*) FROM orders"
    where = ["-h", HOST, "-p", str(config.port), "-U", config.user(tenant), "-d", tenant.database]
    process = await asyncio.create_subprocess_exec(
        *(psql, "-X", "-A", "-t", *where, "-c", sql),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=clean_environment({"PGPASSWORD": config.password(tenant), "PGCONNECT_TIMEOUT": "10"}),
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Finding(tenant.name, f"psql: {sql}", f"no answer after {TIMEOUT_S:.0f} s", False)
    answer = output.decode(errors="replace").strip()
    return Finding(tenant.name, f"psql: {sql}", answer, answer == str(len(tenant.items)))


@contextlib.asynccontextmanager
async def _connect(
    config: DemoConfig, user: str, password: str, database: str, **settings: str
) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        host=HOST,
        port=config.port,
        user=user,
        password=password,
        database=database,
        ssl=False,
        timeout=TIMEOUT_S,
        server_settings=settings,
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=TIMEOUT_S)


def _describe(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{getattr(error, 'sqlstate', None) or type(error).__name__}: {text}"
