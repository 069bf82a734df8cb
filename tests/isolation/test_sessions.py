"""Session pooling: one server for a client as long as it stays, with the tenant's context, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy

ITEMS = "SELECT array_agg(item ORDER BY item) FROM orders"
ONE = {
    "pool": {"mode": "session", "session_size": 1, "wait_timeout": "10s"},
    "tiers": {"default": {"cross_tenant_channels": "allow", "cross_tenant_sessions": "allow"}},
}


@pytest.fixture(scope="module")
def sessions(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    """A single server for all sessions of a database."""
    with running_proxy(pg18, ONE) as proxy:
        yield proxy


def connect(proxy: ProxyUnderTest, tenant: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**proxy.dsn(tenant), dbname="any", autocommit=True)


def ask(client: psycopg.Connection[Any], text: str) -> Any:
    row = client.execute(text.encode()).fetchone()
    return None if row is None else row[0]


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech"])
@pytest.mark.parametrize(
    "hidden",
    [
        "DO $$ BEGIN PERFORM set_config('app.tenant_id', 'umbrella', false); END $$",
        "DO $$ BEGIN EXECUTE 'RESET ALL'; END $$",
        "DO $$ BEGIN EXECUTE 'RESET ROLE'; END $$",
        "DISCARD ALL",
        "RESET ALL",
    ],
)
def test_the_context_stands_again_behind_whatever_ran(sessions: ProxyUnderTest, tenant: str, hidden: str) -> None:
    with closing(connect(sessions, tenant)) as client:
        own, pid = ask(client, ITEMS), ask(client, "SELECT pg_backend_pid()")
        assert own
        client.execute(hidden.encode())
        assert ask(client, ITEMS) == own
        assert ask(client, "SELECT current_setting('app.tenant_id')") == tenant
        assert ask(client, "SELECT pg_backend_pid()") == pid


def test_the_path_of_a_schema_stands_again(sessions: ProxyUnderTest) -> None:
    with closing(connect(sessions, "globex")) as client:
        own = ask(client, ITEMS)
        client.execute("DO $$ BEGIN EXECUTE 'SET search_path = pg_catalog'; END $$")
        assert ask(client, ITEMS) == own


def test_the_next_tenant_finds_a_session_that_is_its_own(sessions: ProxyUnderTest) -> None:
    with closing(connect(sessions, "acme")) as client:
        pid = ask(client, "SELECT pg_backend_pid()")
        own = ask(client, ITEMS)
        client.execute("CREATE TEMP TABLE orders AS SELECT 'acme''s' AS item")
        client.execute("SET application_name = 'acme'")
        client.execute("PREPARE mine AS SELECT 1")
        client.execute("LISTEN acme")
        client.execute("SELECT pg_advisory_lock(7)")
        client.execute("BEGIN")
        client.execute("DO $$ BEGIN PERFORM set_config('my.mark', 'left', false); END $$")
    with closing(connect(sessions, "umbrella")) as client:
        assert ask(client, "SELECT pg_backend_pid()") == pid, "it is to be the same server"
        assert ask(client, ITEMS) not in (own, ["acme's"])
        assert ask(client, "SELECT current_setting('my.mark', true)") in (None, "")
        assert ask(client, "SELECT count(*) FROM pg_listening_channels()") == 0
        assert ask(client, "SELECT count(*) FROM pg_prepared_statements WHERE from_sql") == 0
        assert ask(client, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        assert ask(client, "SHOW application_name") == "gatehouse"


def test_what_needs_no_block_has_the_context_too(sessions: ProxyUnderTest) -> None:
    with closing(connect(sessions, "globex")) as client:
        client.execute("VACUUM")  # a warning for what is not its own, and no refusal
        assert ask(client, "SELECT current_setting('app.tenant_id')") == "globex"


def test_the_tenant_can_not_be_changed_in_a_session_either(sessions: ProxyUnderTest) -> None:
    with closing(connect(sessions, "acme")) as client:
        for text in (
            "SET app.tenant_id = 'umbrella'",
            "SET ROLE none",
            "SELECT set_config('app.tenant_id', 'x', false)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                client.execute(text.encode())
        assert ask(client, "SELECT current_setting('app.tenant_id')") == "acme"
