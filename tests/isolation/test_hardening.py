"""What an operator can revoke (docs/isolation.md, "Hardening"): that it closes the gaps, and what Gatehouse itself needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.isolation import world
from tests.isolation.attacks import ATTACKS, Attack, Promise
from tests.isolation.world import connect, items_of, reach_of, run
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import errors, rows

RIGHTS = (
    "USAGE ON LANGUAGE plpgsql",
    "TEMPORARY ON DATABASE saas",
    "EXECUTE ON FUNCTION pg_catalog.ts_stat(text), pg_catalog.ts_stat(text, text)",
    "EXECUTE ON FUNCTION pg_catalog.ts_rewrite(tsquery, text)",
    "EXECUTE ON FUNCTION pg_catalog.query_to_xml(text, boolean, boolean, text)",
    "EXECUTE ON FUNCTION pg_catalog.query_to_xmlschema(text, boolean, boolean, text)",
    "EXECUTE ON FUNCTION pg_catalog.query_to_xml_and_xmlschema(text, boolean, boolean, text)",
)
SET_CONFIG = ("EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean)",)


@contextmanager
def revoked(cluster: TestCluster, rights: tuple[str, ...]) -> Iterator[None]:
    cluster.sql("; ".join(f"REVOKE {right} FROM PUBLIC" for right in rights), "saas")
    try:
        yield
    finally:
        cluster.sql("; ".join(f"GRANT {right} TO PUBLIC" for right in rights), "saas")


@pytest.fixture(scope="module")
def hardened(single: ProxyUnderTest) -> Iterator[ProxyUnderTest]:
    with revoked(single.cluster, RIGHTS):
        yield single


@pytest.mark.parametrize(
    "attack",
    [attack for attack in ATTACKS if attack.promise is Promise.GAP and "shared" in attack.models],
    ids=lambda attack: attack.name,
)
async def test_a_gap_in_shared_tables_is_closed_by_revoking(hardened: ProxyUnderTest, attack: Attack) -> None:
    steps = attack.against(world.ACME, world.UMBRELLA)
    async with await connect(hardened, world.ACME) as connection:
        for protocol in world.PROTOCOLS:
            await connection.query("BEGIN")
            for step in steps:
                await connection.query("SAVEPOINT step")
                await run(connection, step, protocol)
                if connection.status == "E":
                    await connection.query("ROLLBACK TO step")
            assert await reach_of(connection, protocol) == world.ACME.items
            await connection.query("ROLLBACK")


async def test_where_set_config_is_revoked_the_extended_protocol_fails_closed(single: ProxyUnderTest) -> None:
    """The context goes in front by it: docs/isolation.md tells operators to leave it to Gatehouse's login."""
    with revoked(single.cluster, SET_CONFIG):
        async with await connect(single, world.ACME) as connection:
            assert await items_of(connection, "orders", "simple") == sorted(world.ACME.items)
            frames = await run(connection, "SELECT item FROM orders", "extended")
            assert errors(frames) == ["57P03"]
            assert not rows(frames)
