"""The tables of the crowd, in every home that a tenant can have, and how they are put back before each play."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from tests.support.postgres import TestCluster

SETTINGS: Final[Mapping[str, str]] = {"autovacuum": "off", "lock_timeout": "60ms"}
"""Of the cluster. Who waits for another client's lock waits for ever when all take turns: it gets 55P03, as often as it
tries."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where tenants live: `other` is a schema that search_path may lead to as well."""

    database: str
    schema: str
    other: str
    grantee: str


HOMES: Final = (
    Home("saas", "public", "other", "gatehouse"),
    Home("saas", "tenant_globex", "public", "tenant_globex_role"),
    Home("tenant_initech", "public", "other", "gatehouse"),
)

_ONCE: Final = """
CREATE SCHEMA IF NOT EXISTS other; GRANT USAGE ON SCHEMA other TO PUBLIC;
CREATE TABLE IF NOT EXISTS other.alike (v text); INSERT INTO other.alike VALUES ('other');
CREATE FUNCTION other.kin() RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'other'::text $$;
GRANT SELECT ON other.alike TO PUBLIC;
"""
_HOME: Final = """
CREATE TABLE {schema}.alike (v int, w text); INSERT INTO {schema}.alike VALUES (7, '{schema}');
GRANT SELECT ON {schema}.alike TO PUBLIC;
CREATE FUNCTION {schema}.kin() RETURNS int LANGUAGE sql STABLE AS $$ SELECT 7 $$;
CREATE TABLE {schema}.moments (id int, t timestamptz, d date, i interval, r real, f float8, b bytea, x text);
INSERT INTO {schema}.moments VALUES
    (1, '2020-03-04 05:06:07+00', '2020-03-04', '1 mon -2 days 03:04:05', 0.1, 1.0 / 3, '\\x00ff41', 'é'),
    (2, '2021-12-31 23:59:59+00', '2021-12-31', '-1 year', 1e10, 1e-10, '\\x', 'plain');
GRANT SELECT ON {schema}.moments TO PUBLIC;
"""
_AGAIN: Final = """
DROP TABLE IF EXISTS {schema}.kept, {schema}.shifting, {schema}.plain CASCADE;
CREATE TABLE {schema}.kept (
    id int, v text, tenant_id text NOT NULL DEFAULT coalesce(nullif(current_setting('app.tenant_id', true), ''), '?'),
    PRIMARY KEY (tenant_id, id)
);
INSERT INTO {schema}.kept
    SELECT g, 'of ' || t, t FROM generate_series(1, 3) g, unnest('{{{tenants}}}'::text[]) t;
GRANT ALL ON {schema}.kept TO {grantee};
CREATE TABLE {schema}.plain (id int, v text);
GRANT ALL ON {schema}.plain TO {grantee};
CREATE TABLE {schema}.shifting (a int, b text); INSERT INTO {schema}.shifting VALUES (1, '11'), (2, '22');
ALTER TABLE {schema}.shifting OWNER TO {grantee};
"""
_ROW_SECURITY: Final = """
ALTER TABLE public.kept ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.kept FORCE ROW LEVEL SECURITY;
CREATE POLICY kept_tenant ON public.kept USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
"""
_TENANTS: Final = {
    ("saas", "public"): "acme,umbrella",
    ("saas", "tenant_globex"): "globex",
    ("tenant_initech", "public"): "initech",
}


class World:
    """The tables, by a superuser's connections that are kept."""

    def __init__(self, connections: Mapping[str, psycopg.Connection[tuple[Any, ...]]]) -> None:
        self._connections = connections
        for connection in connections.values():
            connection.execute(_ONCE.encode())
        for home in HOMES:
            self._run(home, _HOME)

    def _run(self, home: Home, text: str) -> None:
        sql = text.format(
            schema=home.schema, grantee=home.grantee, tenants=_TENANTS[home.database, home.schema], other=home.other
        )
        self._connections[home.database].execute(sql.encode())

    def reset(self) -> None:
        """Everything as it was before anybody played."""
        for home in HOMES:
            self._run(home, _AGAIN)
        self._connections["saas"].execute(_ROW_SECURITY.encode())


@contextmanager
def world(cluster: TestCluster) -> Iterator[World]:
    """The tables in a cluster that is the crowd's own."""
    with ExitStack() as stack:
        databases = sorted({home.database for home in HOMES})
        yield World({name: stack.enter_context(cluster.connect(name)) for name in databases})
