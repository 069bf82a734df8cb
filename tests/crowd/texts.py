"""What clients of the crowd say: settings and their values, and statements with the values of their parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNDERSTANDING: Final[dict[str, tuple[str, ...]]] = {
    "TimeZone": ("UTC", "Asia/Tokyo", "America/New_York", "<+03>-03"),
    "DateStyle": ("ISO, MDY", "ISO, DMY", "German", "SQL, DMY", "Postgres, YMD"),
    "IntervalStyle": ("postgres", "sql_standard", "iso_8601", "postgres_verbose"),
    "extra_float_digits": ("-5", "0", "1", "3"),
    "bytea_output": ("hex", "escape"),
    "array_nulls": ("on", "off"),
    "transform_null_equals": ("on", "off"),
    "xmlbinary": ("base64", "hex"),
    "client_encoding": ("UTF8", "LATIN1", "WIN1252", "SQL_ASCII"),
}
"""Settings by which a text is understood, or its constants written, when it is parsed or planned."""

OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "plan_cache_mode": ("auto", "force_generic_plan", "force_custom_plan"),
    "row_security": ("on", "off"),
    "work_mem": ("4MB", "5MB", "64kB"),
    "enable_seqscan": ("on", "off"),
    "app.color": ("blue", "it''s", "a\\b"),
    "application_name": ("job", "crowd"),
    "default_transaction_isolation": ("read committed", "repeatable read", "serializable"),
    "default_transaction_read_only": ("on", "off"),
    "statement_timeout": ("0", "1min"),
    "no.such": ("1",),
    "work_mem ": ("lots",),
}
SEARCH_PATHS: Final = {
    "schema": ("public, tenant_globex", "tenant_globex", "public", "pg_temp, tenant_globex, public"),
    "other": ("other, public", "public, other", "other", "public", "pg_catalog, other, public", '"$user", public'),
}
LONG_LIVED: Final = frozenset({"default_transaction_isolation", "default_transaction_read_only"})
"""Left out of strings of several statements: see "defaults in a string" of the differences."""


@dataclass(frozen=True, slots=True)
class Text:
    """A statement; `values` are those that each parameter may have. `is_literal`: it has constants by whose meaning the
    settings at its Parse can be told from those at its run."""

    sql: str
    values: tuple[tuple[str | None, ...], ...] = ()
    types: tuple[int, ...] = ()
    is_literal: bool = False


_IDS: Final = ("1", "2", "3", "4", "9", "1", "2", "3", "10", "11", "x", None)
_TIMES: Final = ("2020-01-02 03:04:05", "01/02/2020 00:00", "2020-06-07 00:00:00+02", None, "yesterday noon?")
_WORDS: Final = ("one", "é", "€𝄞", "", None, "\\x41", "it's")

OF_CHANGES: Final = (
    Text("SELECT a FROM shifting ORDER BY a"),
    Text("SELECT * FROM shifting ORDER BY a"),
    Text("SELECT * FROM shifting WHERE b = $1", (("11", "x"),)),
    Text("SELECT b FROM shifting WHERE a = $1", (("1", "2", "1", "2", "x"),)),
    Text("SELECT count(*) FROM shifting"),
    Text("INSERT INTO shifting VALUES ({own}, '1') RETURNING *"),
)
READS: Final = (
    Text("SELECT 1 AS a, 'x'::text AS b"),
    Text("SELECT id, t, d, i, r, f, b, x FROM moments ORDER BY id"),
    Text("SELECT * FROM moments WHERE id = $1", (_IDS,)),
    Text("SELECT $1::timestamptz, $2::date, $3::interval", (_TIMES, ("01/02/2020", "2020-03-04"), ("1 2:03", "-1 1"))),
    Text("SELECT t FROM moments WHERE t > $1 ORDER BY id", (("2020-03-04 06:00", "2021-01-01"),)),
    Text("SELECT $1::real, $2::bytea, $3::text[]", (("0.1", "1e10"), ("\\x00ff", "abc"), ("{a,NULL}", "{}"))),
    Text("SELECT quote_ident($1), $2 || 'é', length($2::text)", (("a", "A b"), _WORDS)),
    Text(
        "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('app.tenant_id'),"
        " current_setting('search_path'), current_setting('work_mem'), nullif(current_setting('app.color', true), '')"
    ),
    Text("SHOW TimeZone"),
    Text("SHOW search_path"),
    Text("SHOW transaction_isolation"),
    Text("SHOW client_encoding"),
    Text("SELECT v FROM kept ORDER BY id"),
    Text("SELECT v FROM kept WHERE id = $1", (_IDS,)),
    Text("SELECT v FROM kept WHERE id = $1", (("1", "2"),), (23,)),
    Text("SELECT tenant_id, count(*) FROM kept GROUP BY 1"),
    Text("SELECT v FROM alike"),
    Text("SELECT * FROM alike"),
    Text("SELECT kin()"),
    Text("SELECT kin() || $1", (_WORDS,)),
    Text("SELECT 'alike'::regclass"),
    *OF_CHANGES,
    Text("SELECT count(*) FROM plain"),
    Text("SELECT count(*) FROM orders"),
    Text("SELECT g FROM generate_series(1, 5) g"),
    Text("SELECT g, $1::int FROM generate_series(1, $1) g", (("3", "0", "1", "3", "x"),)),
    Text("VALUES (1, 'a'), (2, 'b')"),
    Text("SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'work_mem', 'plan_cache_mode') ORDER BY 1"),
    Text("SELECT count(*) FROM pg_cursors WHERE name <> ''"),
    Text("SELECT repeat('y', 300) FROM generate_series(1, 200)"),
    Text("EXPLAIN (COSTS OFF) SELECT v FROM plain WHERE id = 1"),
)
UNREADABLE: Final = "SELEC"
FAILING: Final = (
    Text("SELECT 1/0"),
    Text(UNREADABLE),
    Text("SELECT nothing FROM kept"),
    Text("SELECT $1::int / 0", (("1",),)),
    Text("SELECT 1 FROM no_such_table"),
    Text("SELECT 10 / (3 - g) FROM generate_series(1, 5) g"),
)
WRITES: Final = (
    Text("INSERT INTO kept (id, v) VALUES ($1, $2) RETURNING id, v", (("{own}", "1"), _WORDS)),
    Text("INSERT INTO kept (id, v) VALUES ({own}, 'own')"),
    Text("UPDATE kept SET v = $1 WHERE id = {own}", (_WORDS,)),
    Text("DELETE FROM kept WHERE id = $1", (("{own}",),)),
    Text("DELETE FROM kept WHERE id = {own}"),
    Text("INSERT INTO plain VALUES ({own}, 'é'), (0, NULL)"),
    Text("WITH x AS (INSERT INTO plain VALUES ({own}) RETURNING id) SELECT id FROM x"),
    Text("UPDATE kept SET tenant_id = 'umbrella' WHERE id = {own}"),
)
LITERALS: Final = tuple(
    Text(sql, is_literal=True)
    for sql in (
        "SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'",
        "SELECT extract(month FROM '01/02/2020'::date)",
        "SELECT extract(epoch FROM '-1 2:03:04'::interval)",
        "SELECT '1 day 02:03'::interval, '2020-02-01'::date",
        "SELECT length('é'), 'é'",
        "SELECT 0.1::real::text, (1.0::float8 / 3)::text",
        "SELECT '\\x00ff41'::bytea::text",
        "SELECT '{a,NULL}'::text[]",
        "SELECT NULL = (1 IS NULL), 1 = NULL, (SELECT count(*) FROM alike WHERE NULL = v)",
        "SELECT quote_ident('a'), quote_ident('A')",
    )
)
CHANGES: Final = (
    "ALTER TABLE shifting ADD COLUMN IF NOT EXISTS c int DEFAULT 5",
    "ALTER TABLE shifting DROP COLUMN IF EXISTS c",
    "ALTER TABLE shifting ALTER b TYPE int USING b::int",
    "ALTER TABLE shifting ALTER b TYPE text",
    "ALTER TABLE shifting ALTER a TYPE bigint",
    "ALTER TABLE shifting ALTER a TYPE int",
    "ALTER TABLE shifting RENAME b TO bb",
    "ALTER TABLE shifting RENAME bb TO b",
)
GENTLE_CHANGES: Final = (
    "ALTER TABLE shifting ALTER b SET DEFAULT 'x'",
    "ALTER TABLE shifting ADD CONSTRAINT positive CHECK (a > 0)",
    "ALTER TABLE shifting DROP CONSTRAINT IF EXISTS positive",
    "ANALYZE shifting",
    "UPDATE shifting SET b = b",
)
"""Those that change no statement's columns."""
