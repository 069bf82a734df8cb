"""Every script gives a client the same through Gatehouse as from PostgreSQL itself, in every placement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.differential.differences import DIFFERENCES, document
from tests.differential.harness import CHANNELS, PLACES, Script, direct, through
from tests.differential.scripts import SCRIPTS
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy

SETUP = """
CREATE TABLE {schema}.diff (
    id int PRIMARY KEY, v text,
    tenant_id text NOT NULL DEFAULT coalesce(nullif(current_setting('app.tenant_id', true), ''), '?')
);
GRANT ALL ON {schema}.diff TO {grantee};
CREATE TABLE {schema}.diff_plain (id int, v text);
GRANT ALL ON {schema}.diff_plain TO {grantee};
CREATE TABLE {schema}.diff_child (id int REFERENCES {schema}.diff DEFERRABLE INITIALLY DEFERRED);
GRANT ALL ON {schema}.diff_child TO {grantee};
CREATE FUNCTION {schema}.diff_notice(text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RAISE NOTICE 'said %', $1; RETURN $1; END $$;
CREATE FUNCTION {schema}.diff_fail(text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'failed: %', $1 USING HINT = 'a hint', DETAIL = 'a detail', ERRCODE = 'P0042'; END $$;
"""
RLS = """
ALTER TABLE public.diff ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.diff FORCE ROW LEVEL SECURITY;
CREATE POLICY diff_tenant ON public.diff USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
"""
TEARDOWN = """
DROP TABLE {schema}.diff_child, {schema}.diff, {schema}.diff_plain;
DROP FUNCTION {schema}.diff_notice(text), {schema}.diff_fail(text)
"""
WHERE = {
    "shared": ("saas", "public", "gatehouse"),
    "schema": ("saas", "tenant_globex", "tenant_globex_role"),
    "database": ("tenant_initech", "public", "gatehouse"),
}


@pytest.fixture(scope="module")
def cluster(postgres: TestCluster) -> Iterator[TestCluster]:
    for database, schema, grantee in WHERE.values():
        postgres.sql(SETUP.format(schema=schema, grantee=grantee), database)
    postgres.sql(RLS, "saas")
    yield postgres
    for database, schema, _ in WHERE.values():
        postgres.sql(TEARDOWN.format(schema=schema), database)


@pytest.fixture(scope="module")
def proxy(cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(cluster, {"pool": {"size": 3}, **CHANNELS}) as running:
        yield running


@pytest.fixture(scope="module")
def sessions(cluster: TestCluster) -> Iterator[ProxyUnderTest]:
    """Session pooling."""
    with running_proxy(cluster, {"pool": {"mode": "session", "session_size": 3}, **CHANNELS}) as running:
        yield running


def test_the_page_of_differences_is_in_step() -> None:
    page = Path(__file__).parents[2] / "docs" / "differences.md"
    assert page.read_text() == document(), "run: python -m tests.differential.differences > docs/differences.md"


Emptier = Callable[[str], None]


@pytest.fixture(scope="module")
def empty(cluster: TestCluster) -> Iterator[Emptier]:
    """Empties a placement's tables."""
    with ExitStack() as stack:
        connections = {name: stack.enter_context(cluster.connect(where[0])) for name, where in WHERE.items()}

        def run(place: str) -> None:
            schema = WHERE[place][1]
            tables = ("diff_child", "diff", "diff_plain")
            connections[place].execute("; ".join(f"DELETE FROM {schema}.{table}" for table in tables).encode())

        yield run


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_a_client_sees_the_same(
    cluster: TestCluster, proxy: ProxyUnderTest, empty: Emptier, place: str, script: Script
) -> None:
    if place in script.skip:
        pytest.skip(DIFFERENCES[script.skip[place]].title)
    await compare(cluster, proxy, empty, place, script)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
async def test_a_client_sees_the_same_in_session_pooling(
    cluster: TestCluster, sessions: ProxyUnderTest, empty: Emptier, place: str, script: Script
) -> None:
    if script.skip.get(place) not in (None, "no block"):
        pytest.skip(DIFFERENCES[script.skip[place]].title)
    await compare(cluster, sessions, empty, place, script)


async def compare(cluster: TestCluster, proxy: ProxyUnderTest, empty: Emptier, place: str, script: Script) -> None:
    empty(place)
    expected = await direct(cluster, PLACES[place], script)
    empty(place)
    seen = await through(proxy, PLACES[place], script)
    for number, (theirs, ours) in enumerate(zip(expected, seen, strict=True), 1):
        assert ours == theirs, f"step {number} of {script.name}"
