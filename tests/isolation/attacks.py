"""The attacks, as a table: what a hostile client may send as SQL, and what is promised about it.

In the texts `@tenant`, `@role`, `@schema` and `@table` stand for the victim's; `@own` for the attacker's own schema.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from tests.isolation.world import Resident


class Promise(Enum):
    """What holds while the attack runs. That nobody else notices anything holds for all of them."""

    REFUSED = auto()  # the last step is answered with 42501 or 0A000, and changes nothing
    HARMLESS = auto()  # whatever it does, the attacker sees its own rows and no others
    GAP = (
        auto()
    )  # docs/isolation.md says that it is not guaranteed: within its transaction the attacker may see others' rows


@dataclass(frozen=True, slots=True)
class Attack:
    """`steps` are sent one by one; with `simple_only` they hold what only the simple protocol takes.

    `models` are the placements of attackers that can try it. An attacker that is `pinned` keeps its server until it
    leaves. One that `ends_connection` changes how text
    is read, so Gatehouse hangs up.
    """

    name: str
    steps: tuple[str, ...]
    promise: Promise = Promise.REFUSED
    simple_only: bool = False
    pinned: bool = False
    ends_connection: bool = False
    models: tuple[str, ...] = ("shared", "schema", "database")

    def against(self, attacker: Resident, victim: Resident) -> tuple[str, ...]:
        """The steps as this attacker sends them."""
        words = {
            "@tenant": victim.name,
            "@role": "tenant_hooli_role" if victim.model != "schema" else victim.user,
            "@schema": victim.schema,
            "@table": victim.orders,
            "@own": attacker.schema,
        }
        steps = []
        for step in self.steps:
            for word, value in words.items():
                step = step.replace(word, value)
            steps.append(step)
        return tuple(steps)


def _each(name: str, texts: str, promise: Promise = Promise.REFUSED, **options: bool | tuple[str, ...]) -> list[Attack]:
    """One attack per line."""
    lines = [line.strip() for line in texts.strip().splitlines()]
    return [Attack(f"{name}: {line}", (line,), promise, **options) for line in lines]  # type: ignore[arg-type]


_TENANT_SETTING: Final = _each(
    "tenant setting",
    r"""
    SET app.tenant_id = '@tenant'
    SET app.tenant_id TO @tenant
    SET SESSION app.tenant_id = '@tenant'
    SET LOCAL app.tenant_id = '@tenant'
    set/**/App . Tenant_ID/* /* nested */ */=/**/'@tenant'
    SET "app.tenant_id" = '@tenant'
    SET "APP"."TENANT_ID" = '@tenant'
    SET app."tenant_id" TO E'\x61cme', '@tenant'
    SET U&"app.tenant\005fid" = '@tenant'
    SET U&"app.tenant!005fid" UESCAPE '!' = '@tenant'
    SET app.tenant_id = DEFAULT
    SET app.tenant_id FROM CURRENT
    RESET app.tenant_id
    RESET "app.tenant_id"
    SELECT set_config('app.tenant_id', '@tenant', false)
    SELECT set_config('app.tenant_id', '@tenant', true)
    SELECT pg_catalog.set_config('APP.TENANT_ID', '@tenant', true)
    SELECT "set_config"('app.tenant_id', '@tenant', true)
    SELECT U&"set_c\006Fnfig"('app.tenant_id', '@tenant', true)
    SELECT pg_catalog . /* */ set_config ('app.tenant_id'::text, '@tenant', true)
    SELECT set_config(E'app.tenant\x5fid', '@tenant', true)
    SELECT set_config(U&'app.tenant\005fid', '@tenant', true)
    SELECT set_config($$app.tenant_id$$, '@tenant', true)
    SELECT set_config('app.' || 'tenant_id', '@tenant', true)
    SELECT set_config('app.tenant_id_and_more'::varchar(13), '@tenant', true)
    SELECT set_config(setting_name => 'app.tenant_id', new_value => '@tenant', is_local => true)
    SELECT set_config(n, '@tenant', true) FROM (VALUES ('app.tenant_id')) v(n)
    SELECT 1 WHERE set_config('app.tenant_id', '@tenant', false) IS NOT NULL
    WITH x AS (SELECT set_config('app.tenant_id', '@tenant', true)) SELECT * FROM x
    WITH x AS MATERIALIZED (SELECT set_config('app.tenant_id', '@tenant', false)) SELECT item FROM x, orders
    EXPLAIN ANALYZE SELECT set_config('app.tenant_id', '@tenant', true)
    COPY (SELECT set_config('app.tenant_id', '@tenant', true)) TO STDOUT
    CREATE TEMP TABLE stolen AS SELECT set_config('app.tenant_id', '@tenant', true)
    SELECT set_config('app.tenant_id', '@tenant', true) INTO TEMP stolen
    DECLARE c CURSOR FOR SELECT set_config('app.tenant_id', '@tenant', true)
    PREPARE p AS SELECT set_config('app.tenant_id', '@tenant', true)
    CREATE VIEW pg_temp.v AS SELECT set_config('app.tenant_id', '@tenant', true)
    CREATE TEMP TABLE t (a text DEFAULT set_config('app.tenant_id', '@tenant', false))
    CREATE FUNCTION pg_temp.f() RETURNS text BEGIN ATOMIC SELECT set_config('app.tenant_id', '@tenant', true); END
    CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql SET app.tenant_id = '@tenant' AS 'select 1::text'
    CREATE AGGREGATE pg_temp.a(text, boolean) (sfunc = set_config, stype = text)
    UPDATE pg_settings SET setting = '@tenant' WHERE name = 'app.tenant_id'
    VALUES (set_config('app.tenant_id', '@tenant', true))
    INSERT INTO orders (item, amount) VALUES (set_config('app.tenant_id', '@tenant', true), 1)
    LISTEN x; SET app.tenant_id = '@tenant'
    SELECT 1; SET app.tenant_id = '@tenant'; SELECT item FROM @table
    COMMIT; SET LOCAL app.tenant_id = '@tenant'
    SELECT '\'; SET app.tenant_id = '@tenant'; --'
    SELECT $a$ $b$ $a$; SET app.tenant_id = '@tenant' --$b$
    """,
)
_TENANT_SETTING_SIMPLE: Final = ("LISTEN x;", "SELECT 1;", "COMMIT;", "SELECT '", "SELECT $a$")

_IDENTITY: Final = _each(
    "role",
    r"""
    SET ROLE @role
    SET ROLE '@role'
    SET ROLE NONE
    SET LOCAL ROLE @role
    SET SESSION ROLE @role
    SET role = @role
    SET "ROLE" TO @role
    SET U&"r\006Fle" = @role
    RESET ROLE
    RESET "role"
    SET SESSION AUTHORIZATION @role
    SET SESSION AUTHORIZATION DEFAULT
    SET LOCAL SESSION AUTHORIZATION @role
    RESET SESSION AUTHORIZATION
    SET session_authorization = @role
    SELECT set_config('role', '@role', false)
    SELECT set_config('role', 'none', true)
    SELECT set_config('Session_Authorization', '@role', true)
    ALTER ROLE CURRENT_USER SET app.tenant_id = '@tenant'
    ALTER ROLE gatehouse SET role = '@role'
    ALTER ROLE ALL SET search_path = '@schema'
    ALTER ROLE CURRENT_USER PASSWORD 'stolen'
    ALTER USER SESSION_USER RESET ALL
    ALTER DATABASE saas SET app.tenant_id = '@tenant'
    ALTER DATABASE saas RESET ALL
    CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql SET role = '@role' AS 'select 1::text'
    """,
)

_READING: Final = _each(
    "how text is read",
    r"""
    SET standard_conforming_strings = off
    SET LOCAL standard_conforming_strings TO 'off'
    SELECT set_config('standard_conforming_strings', 'off', true)
    SET client_encoding = 'SJIS'
    SET NAMES 'sjis'
    SET client_encoding TO Shift_JIS_2004
    SET LOCAL client_encoding = 'big5'
    SET client_encoding = 'GB18030'
    SELECT set_config('client_encoding', 'Win-932', true)
    """,
)

_SEARCH_PATH: Final = _each(
    "search_path",
    r"""
    SET search_path = @schema
    SET search_path TO tenant_globex, @schema, public
    SET SCHEMA '@schema'
    SET LOCAL search_path = "@schema"
    SELECT set_config('search_path', '@schema', false)
    SELECT set_config('search_path', ' "@schema" , public', true)
    UPDATE pg_settings SET setting = '@schema' WHERE name = 'search_path'
    CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql SET search_path = @schema AS 'select 1::text'
    """,
    models=("schema",),
)

_NO_BLOCK: Final = _each(
    "outside a transaction",
    """
    VACUUM @table
    ALTER SYSTEM SET search_path = '@schema'
    CREATE DATABASE stolen
    REINDEX TABLE CONCURRENTLY @table
    """,
    models=("shared", "schema"),
)

_HARMLESS_ONE_LINERS: Final = _each(
    "reset",
    """
    RESET ALL
    DISCARD ALL
    DISCARD TEMP
    DISCARD PLANS
    ROLLBACK
    COMMIT AND CHAIN
    SET search_path = ''
    SET row_security = off
    SET plan_cache_mode = force_generic_plan
    SET TIME ZONE 'Asia/Tokyo'
    SET application_name = $$'; SET app.tenant_id TO '@tenant$$
    SET session_replication_role = replica
    SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY
    SET evil.mark = '@tenant'
    SELECT set_config('evil.mark', '@tenant', false)
    INSERT INTO @table DEFAULT VALUES
    SELECT * FROM @table
    COPY @table TO STDOUT
    LOCK TABLE @table
    TRUNCATE @table
    ALTER TABLE @table DISABLE ROW LEVEL SECURITY
    DROP POLICY tenant_isolation ON public.orders
    SELECT pg_advisory_unlock_all()
    SELECT setseed(0.5)
    """,
    Promise.HARMLESS,
)


def _sequence(name: str, *steps: str, **options: object) -> Attack:
    return Attack(name, steps, **options)  # type: ignore[arg-type]


_HARMLESS: Final = [
    _sequence(
        "several statements: everything is reset between them",
        "RESET ALL; SELECT 1; COMMIT; SELECT item FROM @table; BEGIN; COMMIT AND CHAIN; SELECT item FROM @table; ROLLBACK",
        promise=Promise.HARMLESS,
        simple_only=True,
    ),
    _sequence(
        "asyncpg's reset query",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL; SELECT item FROM orders",
        promise=Promise.HARMLESS,
        simple_only=True,
    ),
    _sequence(
        "ROLLBACK TO does not uncover a session without context",
        "BEGIN",
        "SAVEPOINT a",
        "SELECT 1/0",
        "ROLLBACK TO a",
        "SELECT item FROM @table",
        "ROLLBACK AND CHAIN",
        "SELECT item FROM @table",
        "ROLLBACK",
        promise=Promise.HARMLESS,
    ),
    _sequence(
        "a cursor from before COMMIT AND CHAIN",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT item FROM orders",
        "COMMIT AND CHAIN",
        "FETCH ALL FROM c",
        "ROLLBACK",
        promise=Promise.HARMLESS,
    ),
    _sequence(
        "a cursor WITH HOLD is left over",
        "DECLARE held CURSOR WITH HOLD FOR SELECT item FROM orders",
        "FETCH ALL FROM held",
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence("LISTEN is left over", "LISTEN victim", promise=Promise.HARMLESS, pinned=True),
    _sequence("advisory locks are left over", "SELECT pg_advisory_lock(42)", promise=Promise.HARMLESS, pinned=True),
    _sequence(
        "advisory locks by a name that hides",
        'SELECT pg_catalog . U&"pg_advisory\\005flock"(43)',
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence(
        "temporary objects shadow tables",
        "CREATE TEMP TABLE IF NOT EXISTS orders (item text, amount numeric)",
        "CREATE TEMP TABLE IF NOT EXISTS customers (name text)",
        "DROP TABLE IF EXISTS pg_temp.orders, pg_temp.customers",
        "CREATE TEMP VIEW customers AS SELECT 'captured'::text AS name",
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence(
        "a temporary table by its schema's name, with ON COMMIT DELETE ROWS",
        "CREATE TABLE IF NOT EXISTS pg_temp.captured (item text) ON COMMIT DELETE ROWS",
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence(
        "SELECT INTO a temporary table", "SELECT 1 AS item INTO TEMP captured", promise=Promise.HARMLESS, pinned=True
    ),
    _sequence(
        "a domain in pg_temp with the name of a type",
        "DROP DOMAIN IF EXISTS pg_temp.numeric",
        "CREATE DOMAIN pg_temp.numeric AS pg_catalog.text CHECK (false)",
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence(
        "a function and an operator in pg_temp",
        "CREATE OR REPLACE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'select null::timestamptz'",
        "CREATE OR REPLACE FUNCTION pg_temp.eq(text, text) RETURNS boolean LANGUAGE sql AS 'select true'",
        "CREATE OPERATOR pg_temp.= (leftarg = text, rightarg = text, function = pg_temp.eq)",
        promise=Promise.HARMLESS,
        pinned=True,
    ),
    _sequence(
        "a view over pg_settings",
        "CREATE OR REPLACE TEMP VIEW settings AS SELECT name, setting FROM pg_catalog.pg_settings",
        "UPDATE pg_temp.settings SET setting = '@schema, pg_catalog' WHERE name = 'search_path'",
        "UPDATE pg_temp.settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
        promise=Promise.HARMLESS,
        pinned=True,
        ends_connection=True,
    ),
    _sequence(
        "sequences' values of the one before",
        "SELECT currval('public.orders_id_seq'), lastval()",
        promise=Promise.HARMLESS,
    ),
    _sequence(
        "SQL PREPARE under a common name", "PREPARE s1 AS SELECT 'captured'", promise=Promise.HARMLESS, pinned=True
    ),
    _sequence(
        "DO ends the transaction",
        "DO $$ BEGIN COMMIT; END $$",
        "DO $$ BEGIN ROLLBACK; PERFORM 1; COMMIT AND CHAIN; END $$",
        promise=Promise.HARMLESS,
    ),
    _sequence("notes to everybody", "NOTIFY victim, 'forged'", promise=Promise.HARMLESS),
    _sequence("a lone surrogate of a string", "SELECT '\\xed\\xa0\\x80", promise=Promise.HARMLESS),
    _sequence(
        "DEALLOCATE of everything",
        "DEALLOCATE ALL",
        "DEALLOCATE PREPARE ALL",
        'DEALLOCATE "gatehouse_ctx_1"',
        promise=Promise.HARMLESS,
    ),
]

_PARAMETERS: Final = [
    _sequence(
        "SQL PREPARE hides what set_config is given",
        "DEALLOCATE ALL",
        "PREPARE p (text, text) AS SELECT set_config($1, $2, true)",
    ),
    _sequence(
        "SQL PREPARE hides it in a CTE",
        "PREPARE p (text, text) AS WITH x AS (SELECT set_config($1, $2, true)) SELECT * FROM x",
    ),
    _sequence("SQL PREPARE hides the new role", "PREPARE p (text) AS SELECT set_config('role', $1, true)"),
]

_DO: Final = "DO $$ BEGIN PERFORM pg_catalog.set_config('app.tenant_id', '@tenant', {}); END $$"
_GAPS: Final = [
    _sequence("DO sets the tenant", _DO.format("true"), promise=Promise.GAP, models=("shared",)),
    _sequence("DO sets the tenant for the session", _DO.format("false"), promise=Promise.GAP, models=("shared",)),
    _sequence(
        "DO with text that is put together",
        "DO $$ BEGIN EXECUTE 'SET app.te' || 'nant_id TO ''@tenant'''; END $$",
        promise=Promise.GAP,
        models=("shared",),
    ),
    _sequence(
        "a function of pg_temp",
        "CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql"
        " AS 'select pg_catalog.set_config(''app.tenant_id'', ''@tenant'', false)'",
        "SELECT pg_temp.f()",
        promise=Promise.GAP,
        pinned=True,
        models=("shared",),
    ),
    _sequence(
        "SQL in a string: ts_stat",
        "SELECT count(*) FROM ts_stat($q$SELECT to_tsvector('simple', set_config('app.tenant_id', '@tenant', true))$q$)",
        promise=Promise.GAP,
        models=("shared",),
    ),
    _sequence(
        "DO becomes the role", "DO $$ BEGIN SET ROLE @role; END $$", promise=Promise.GAP, models=("shared", "schema")
    ),
    _sequence(
        "DO falls back to the login, and on to a role",
        "DO $$ BEGIN RESET ROLE; SET SESSION ROLE @role; END $$",
        promise=Promise.GAP,
        models=("schema",),
    ),
    _sequence(
        "DO leaves what it can",
        "DO $$ BEGIN SET app.tenant_id = '@tenant'; SET ROLE @role; SET evil.mark = 'x'; SET work_mem = '1GB';"
        " SET statement_timeout = 1000; SET row_security = off;"
        " PERFORM pg_advisory_lock(44); EXECUTE 'LISTEN victim'; EXECUTE 'PREPARE s1 AS SELECT 1';"
        " CREATE TEMP TABLE IF NOT EXISTS orders (item text); END $$",
        promise=Promise.GAP,
        models=("schema",),
    ),
]

# What a view or trigger of the tenant's own calls is not to be seen in the statement that uses it.
_HIDDEN: Final = (
    ("a setting", "PERFORM set_config('work_mem', '1GB', false), set_config('evil.mark', 'x', false)"),
    ("how text is read", "SET standard_conforming_strings = off"),
    ("a statement of SQL PREPARE", "DEALLOCATE ALL; PREPARE s1 AS SELECT 'captured'"),
    ("no prepared statement", "DEALLOCATE ALL"),
    ("an advisory lock", "PERFORM pg_advisory_lock(45)"),
    ("a channel", "LISTEN victim"),
    ("a temporary table", "CREATE TEMP TABLE IF NOT EXISTS orders (item text)"),
    ("no role", "RESET ROLE"),
    ("another role", "SET ROLE @role"),
)
HIDDEN: Final = [
    _sequence(
        f"a view leaves {what}",
        f"CREATE OR REPLACE FUNCTION @own.evil() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN {body}; RETURN 'evil'; END $f$",
        "CREATE OR REPLACE VIEW @own.evil_view AS SELECT @own.evil() AS evil",
        "SELECT * FROM @own.evil_view",
        promise=Promise.HARMLESS if "@role" not in body else Promise.GAP,
        models=("schema",),
        ends_connection="standard_conforming_strings" in body,
    )
    for what, body in _HIDDEN
]


def _simple_only(attack: Attack) -> Attack:
    head = attack.steps[0]
    return replace(attack, simple_only=head.startswith(_TENANT_SETTING_SIMPLE))


REFUSED: Final = [*map(_simple_only, _TENANT_SETTING), *_IDENTITY, *_READING, *_SEARCH_PATH, *_NO_BLOCK]
"""Statements that are refused wherever they stand."""

_SHADOWS: Final = [
    _sequence(
        f"a table named pg_settings, {shape}",
        "BEGIN",
        f"CREATE TEMP TABLE pg_settings (name {kind}) ON COMMIT DROP",
        "INSERT INTO pg_settings VALUES ('app.tenant_id')",
        f"SELECT set_config(name, '@tenant', false) FROM pg_settings WHERE name = '{literal}'",
    )
    for shape, kind, literal in (
        ("padded", "char(30)", "app.tenant_id "),
        ("as it is", "text", "app.tenant_id"),
        ("by another name", "text", "work_mem"),
    )
]
_TOO_LONG: Final = [
    _sequence(
        "a search_path of more words than are read",
        "SET search_path = " + "public, " * 1100 + "@schema",
        models=("schema",),
    )
]

ATTACKS: Final = [
    *_SHADOWS,
    *_TOO_LONG,
    *_HARMLESS_ONE_LINERS,
    *_HARMLESS,
    *_PARAMETERS,
    *_GAPS,
    *HIDDEN,
]
