from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.errors import ContextProtected, FeatureRefused, ProxyError
from proxy.guard.rules import GuardPolicy, judge, judge_bind, judge_setting
from proxy.guard.statements import SettingChange, Taint
from proxy.guard.verdicts import examine

PROTECTED = frozenset(("app.tenant_id", "role", "session_authorization"))
SHARED = GuardPolicy(PROTECTED)
SCHEMA = GuardPolicy(PROTECTED, allowed_search_path=frozenset(("tenant_a", "common")))
DATABASE = GuardPolicy(PROTECTED, transaction_block_free=True)
STATELESS = GuardPolicy(PROTECTED, session_state_refused=True)


def verdict_on(text: str, policy: GuardPolicy = SHARED) -> ProxyError | None:
    return judge(examine(text.encode()), policy)


def bound(text: str, values: Mapping[int, str | None], policy: GuardPolicy = SHARED) -> ProxyError | None:
    verdict = examine(text.encode())
    assert judge(verdict, policy) is None
    assert verdict.single is not None
    return judge_bind(verdict.single, values.get, policy)


SPELLINGS = [
    "SET app.tenant_id = 'b'",
    "SET app.tenant_id TO b",
    "set local App.Tenant_ID = 'b'",
    "SET SESSION app.tenant_id = DEFAULT",
    "SET/**/app/* ; */./* */tenant_id/**/=/**/'b'",
    "SET -- app.x\n app.tenant_id = 'b'",
    'SET "app"."tenant_id" = \'b\'',
    "SET \"App.TENANT_id\" = 'b'",
    "SET U&\"app\".tenant_id = 'b'",
    "SET U&\"app.tenant\\005Fid\" = 'b'",
    "SET U&\"app.tenant!005Fid\" UESCAPE '!' = 'b'",
    "SET U&\"app.tenant!005Fid\" /**/ uescape E'!' = 'b'",
    "SET U&\"app.tenant\u00e9005Fid\" UESCAPE '\u00e9' = 'b'",
    "SET app.tenant_id = $$b$$",
    "SET app.tenant_id FROM CURRENT",
    "SET app.tenant_id = nonsense nonsense",
    "RESET app.tenant_id",
    'RESET "APP.tenant_id"',
    "SET ROLE b",
    "SET LOCAL ROLE 'b'",
    "SET ROLE NONE",
    "SET role = b",
    'SET "Role" TO b',
    "RESET ROLE",
    "RESET role",
    "SET SESSION AUTHORIZATION b",
    "SET LOCAL SESSION AUTHORIZATION DEFAULT",
    "SET session_authorization = b",
    "RESET SESSION AUTHORIZATION",
    "SELECT set_config('app.tenant_id', 'b', true)",
    "SELECT set_config('APP.tenant_id', $1, $2)",
    "SELECT set_config(E'app.\\x74enant_id', 'b', true)",
    "SELECT set_config(U&'app.\\0074enant_id', 'b', true)",
    "SELECT set_config(U&'app.!0074enant_id' UESCAPE '!', 'b', true)",
    "SELECT set_config('app.ten'\n'ant_id', 'b', true)",
    "SELECT set_config($x$app.tenant_id$x$, 'b', true)",
    "SELECT set_config('app.tenant_id'::text, 'b', true)",
    "SELECT set_config('app.tenant_idx'::varchar, 'b', true)",
    "SELECT set_config('app.' || 'tenant_id', 'b', true)",
    "SELECT set_config(N'app.tenant_id  ', 'b', true)",
    "SELECT set_config(text 'app.tenant_id', 'b', true)",
    "SELECT set_config(('app.tenant_id'), 'b', true)",
    "SELECT set_config(lower('APP.TENANT_ID'), 'b', true)",
    "SELECT set_config((SELECT 'app.tenant_id'), 'b', true)",
    "SELECT set_config(x, 'b', true) FROM (VALUES ('app.tenant_id')) AS t (x)",
    "SELECT set_config(setting_name => 'app.tenant_id', new_value => 'b', is_local => true)",
    "SELECT set_config(VARIADIC ARRAY['app.tenant_id', 'b', 't'])",
    "SELECT pg_catalog.set_config('role', 'b', true)",
    "SELECT \"pg_catalog\".\"set_config\"('app.tenant_id', 'b', true)",
    "SELECT mydb.pg_catalog.set_config('app.tenant_id', 'b', true)",
    "SELECT /**/ set_config -- x\n ('app.tenant_id', 'b', true)",
    "SELECT U&\"set_c\\006Fnfig\"('app.tenant_id', 'b', true)",
    "SELECT 1, set_config('app.tenant_id', 'b', true)",
    "SELECT * FROM set_config('app.tenant_id', 'b', true)",
    "SELECT 1 WHERE set_config('app.tenant_id', 'b', true) = 'b'",
    "WITH x AS (SELECT set_config('app.tenant_id', 'b', true)) SELECT * FROM x",
    "WITH x AS MATERIALIZED (SELECT set_config('app.tenant_id', 'b', true)) UPDATE t SET a = 1",
    "EXPLAIN ANALYZE SELECT set_config('app.tenant_id', 'b', true)",
    "COPY (SELECT set_config('app.tenant_id', 'b', true)) TO STDOUT",
    "CREATE TABLE t AS SELECT set_config('app.tenant_id', 'b', true)",
    "CREATE VIEW v AS SELECT set_config('app.tenant_id', 'b', true)",
    "DECLARE c CURSOR FOR SELECT set_config('app.tenant_id', 'b', true)",
    "PREPARE p AS SELECT set_config('app.tenant_id', 'b', true)",
    "INSERT INTO t VALUES (1), (set_config('app.tenant_id', 'b', true))",
    "INSERT INTO t (a) SELECT set_config('app.tenant_id', 'b', true)",
    "VALUES (1), (set_config('app.tenant_id', 'b', true))",
    "UPDATE t SET a = set_config('app.tenant_id', 'b', true)",
    "DELETE FROM t USING set_config('app.tenant_id', 'b', true)",
    "TABLE x UNION ALL SELECT set_config('app.tenant_id', 'b', true)",
    "CREATE FUNCTION f() RETURNS int SET app.tenant_id = 'b' AS ''",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET role = 'b' AS ''",
    "ALTER FUNCTION f() SET app.tenant_id TO 'b'",
    "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT set_config('app.tenant_id', 'b', true); END",
    "CREATE AGGREGATE pg_temp.a(text, boolean) (sfunc = set_config, stype = text, initcond = 'app.tenant_id')",
    "CREATE AGGREGATE pg_temp.a(text, boolean) (sfunc = 'set_config', stype = text, initcond = 'app.tenant_id')",
    "UPDATE pg_settings SET setting = 'b' WHERE name = 'app.tenant_id'",
    "ALTER ROLE CURRENT_USER SET app.tenant_id = 'b'",
    "ALTER ROLE CURRENT_USER PASSWORD 'x'",
    "ALTER USER gatehouse PASSWORD 'x'",
    "ALTER GROUP staff ADD USER b",
    "ALTER DATABASE saas SET app.tenant_id = 'b'",
    "ALTER DATABASE saas RESET ALL",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_spelling_changes_the_context(text: str) -> None:
    error = verdict_on(text)
    assert isinstance(error, ContextProtected)
    assert error.sqlstate == "42501"
    assert error.hint


@pytest.mark.parametrize("text", SPELLINGS[:40])
@pytest.mark.parametrize(
    "frame",
    ["SELECT 1; {}", "BEGIN; {}; COMMIT", ";;/**/{};", "SELECT ';'; -- ;\n{}", "SELECT $$;$$;{}", "{}; SELECT '"],
)
def test_no_other_statement_hides_one_that_changes_the_context(text: str, frame: str) -> None:
    assert isinstance(verdict_on(frame.format(text)), ContextProtected)


@pytest.mark.parametrize(
    "text",
    [
        "DO $$ BEGIN PERFORM set_config('app.tenant_id', 'b', false); END $$",
        "CALL p()",
        "SELECT f()",
        "SELECT query_to_xml('select set_config(''app.tenant_id'', ''b'', false)', true, true, '')",
        "SELECT * FROM ts_stat('select set_config(''app.tenant_id'', ''b'', false)')",
        "SELECT ts_rewrite('a'::tsquery, 'select set_config(...)')",
        "SELECT cursor_to_xml('c', 1, true, true, '')",
        "EXECUTE p",
        "EXPLAIN ANALYZE EXECUTE p",
        "CREATE TABLE t AS EXECUTE p",
        'SELECT U&"evil"()',
        "SELECT pg_temp.evil()",
        "CREATE FUNCTION pg_temp.evil() RETURNS text AS 'select set_config(...)' LANGUAGE sql",
    ],
)
def test_what_text_does_not_show_taints_the_server(text: str) -> None:
    assert examine(text.encode()).taint > Taint.NONE


@pytest.mark.parametrize(
    "text",
    [
        "SET work_mem = '1MB'",
        "SET app.other = 'x'",
        "SET app.tenant_identity = 'x'",
        "RESET ALL",
        "DISCARD ALL",
        "SELECT set_config('app.other', 'x', false)",
        "SELECT set_config('app.tenant_identity', 'x', false)",
        "SELECT set_config($1, $2, false)",
        "SELECT current_setting('app.tenant_id')",
        "SHOW app.tenant_id",
        "SELECT 'SET app.tenant_id = 1', \"SET\" FROM t -- SET app.tenant_id = 1",
        "SELECT * FROM pg_settings WHERE name = 'app.tenant_id'",
        "INSERT INTO t (a) VALUES ('; SET app.tenant_id = 1')",
        "UPDATE t SET role = 'b'",
        "ALTER USER MAPPING FOR b SERVER s OPTIONS (SET password 'x')",
        "ALTER DATABASE d RENAME TO e",
        "SET search_path = anything",
        "SET standard_conforming_strings = on",
        "SET client_encoding = 'UTF8'",
        "SET NAMES 'latin1'",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
        "SELECT set_config(name, 'view, foreign-table', false) FROM pg_settings "
        "WHERE name = 'restrict_nonsystem_relation_kind'",
        "",
    ],
)
def test_what_is_a_clients_own_is_allowed(text: str) -> None:
    assert verdict_on(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "SET search_path = ''",
        "SET search_path TO tenant_a, COMMON, pg_catalog, pg_temp",
        'SET search_path TO "tenant_a"',
        "SET LOCAL search_path TO common",
        "SET SCHEMA 'tenant_a'",
        "SET search_path TO DEFAULT",
        "RESET search_path",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SELECT set_config('search_path', 'Tenant_A, \"common\"', true)",
        "CREATE FUNCTION f() RETURNS int SET search_path = pg_catalog, pg_temp AS ''",
    ],
)
def test_a_schema_tenant_may_narrow_its_search_path(text: str) -> None:
    assert verdict_on(text, SCHEMA) is None


@pytest.mark.parametrize(
    "text",
    [
        "SET search_path = tenant_b",
        "SET search_path = tenant_a, tenant_b",
        'SET search_path = "$user", tenant_a',
        'SET search_path = "Tenant_A"',
        "SET search_path = 'tenant_a, common'",
        "SET LOCAL search_path = tenant_b",
        "SET SCHEMA 'tenant_b'",
        "SET LOCAL search_path TO DEFAULT",
        "SELECT set_config('search_path', 'tenant_b', false)",
        "SELECT set_config('search_path', '\"Tenant_A\"', false)",
        "SELECT set_config('search_path', 'a b', false)",
        "SELECT set_config('search_path', x, false)",
        "ALTER FUNCTION f() SET search_path = tenant_b",
        "UPDATE pg_settings SET setting = 'tenant_b' WHERE name = 'search_path'",
    ],
)
def test_a_schema_tenant_may_not_widen_it(text: str) -> None:
    assert isinstance(verdict_on(text, SCHEMA), ContextProtected)


@pytest.mark.parametrize(
    "text",
    [
        "SET standard_conforming_strings = off",
        "SET LOCAL standard_conforming_strings TO 'false'",
        'SET "Standard_Conforming_Strings" = 0',
        "SELECT set_config('standard_conforming_strings', 'off', true)",
        "SET client_encoding = 'SJIS'",
        "SET client_encoding TO sjis",
        "SET NAMES 'Shift_JIS-2004'",
        "SET NAMES 'mskanji'",
        "SET LOCAL NAMES 'WIN-932'",
        "SET client_encoding = 'big5'",
        "SET client_encoding = gbk",
        "SET client_encoding = 'uhc'",
        "SET client_encoding = 'GB 18030'",
        "SET client_encoding = johab",
        "SELECT set_config('client_encoding', 'windows-949', false)",
    ],
)
@pytest.mark.parametrize("policy", [SHARED, SCHEMA, DATABASE, GuardPolicy(frozenset())])
def test_text_is_always_read_the_one_way_the_guard_reads_it(text: str, policy: GuardPolicy) -> None:
    assert isinstance(verdict_on(text, policy), FeatureRefused)


@pytest.mark.parametrize("text", ["VACUUM", "CREATE INDEX CONCURRENTLY i ON t (a)", "ALTER SYSTEM SET a = 1"])
def test_statements_that_refuse_a_block_need_a_database_of_their_own(text: str) -> None:
    assert isinstance(verdict_on(text, SCHEMA), FeatureRefused)
    assert verdict_on(text, DATABASE) is None
    # In a string of several PostgreSQL refuses it by itself.
    assert verdict_on("SELECT 1; " + text, SCHEMA) is None


@pytest.mark.parametrize(
    "text",
    [
        "LISTEN a",
        "CREATE TEMP TABLE t (a int)",
        "SELECT pg_advisory_lock(1)",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ],
)
def test_session_state_is_refused_where_the_tier_says_so(text: str) -> None:
    assert verdict_on(text) is None
    error = verdict_on(text, STATELESS)
    assert isinstance(error, FeatureRefused)
    assert error.sqlstate == "0A000"
    assert error.hint


@pytest.mark.parametrize("verb", ["PREPARE {} AS SELECT 1", "EXECUTE {}", "DEALLOCATE {}", "DEALLOCATE PREPARE {}"])
@pytest.mark.parametrize("name", ["gatehouse_1", "GATEHOUSE_1", '"gatehouse_1"', 'U&"gatehouse\\005f1"'])
def test_names_of_gatehouses_own_prepared_statements_are_out_of_reach(verb: str, name: str) -> None:
    assert isinstance(verdict_on(verb.format(name)), ContextProtected)


def test_what_execute_will_bind_is_never_seen() -> None:
    assert isinstance(verdict_on("PREPARE p AS SELECT set_config($1, 'x', true)"), ContextProtected)
    assert verdict_on("PREPARE p AS SELECT set_config('app.other', $1, true)") is None
    assert isinstance(verdict_on("PREPARE p AS SELECT set_config('search_path', $1, true)", SCHEMA), ContextProtected)


def test_more_statements_than_can_be_looked_at_are_refused() -> None:
    assert isinstance(verdict_on("SELECT 1;" * 20_001), FeatureRefused)


@pytest.mark.parametrize(
    "name",
    ["app.tenant_id", "APP.Tenant_Id", "app.tenant_id  ", "app.tenant_idx", "role", "session_authorization", None],
)
def test_bound_names_are_judged_too(name: str | None) -> None:
    """A parameter of type character is trimmed, one of type name or of a domain is cut, on its way to text."""
    assert isinstance(bound("SELECT set_config($1, $2, true)", {1: name, 2: "b"}), ContextProtected)


def test_bound_values_are_judged_where_they_matter() -> None:
    text = "SELECT set_config('search_path', $1, false)"
    assert bound(text, {1: "tenant_a"}, SCHEMA) is None
    assert bound(text, {1: ""}, SCHEMA) is None
    assert bound(text, {1: "tenant_b"}, SHARED) is None
    for value in ("tenant_b", '"Tenant_A"', None):
        assert isinstance(bound(text, {1: value}, SCHEMA), ContextProtected)
    text = "SELECT set_config($2, $1, $3)"
    assert bound(text, {1: "x", 2: "app.other", 3: "f"}) is None
    assert bound(text, {1: "on", 2: "standard_conforming_strings", 3: "f"}) is None
    assert isinstance(bound(text, {1: "off", 2: "Standard_conforming_strings", 3: "f"}), FeatureRefused)
    assert isinstance(bound(text, {1: "sjis", 2: "client_encoding", 3: "f"}), FeatureRefused)
    assert bound("SELECT set_config('app.other', $1, true)", {}) is None


def test_bound_names_in_any_statement_are_judged() -> None:
    text = "INSERT INTO t SELECT set_config($1, 'x', true), set_config($2, 'y', true)"
    assert bound(text, {1: "app.a", 2: "app.b"}) is None
    assert isinstance(bound(text, {1: "app.a", 2: "app.tenant_id"}), ContextProtected)


def test_startup_parameters_are_judged_like_set() -> None:
    assert isinstance(judge_setting(SettingChange("client_encoding", ("SJIS",), False), SHARED), FeatureRefused)
    assert isinstance(judge_setting(SettingChange("role", ("b",), False), SHARED), ContextProtected)
    assert judge_setting(SettingChange("datestyle", ("ISO",), False), SHARED) is None


def test_the_error_says_what_and_why_without_the_value() -> None:
    error = verdict_on("SET app.tenant_id = 'secret'")
    assert error is not None
    assert (
        error.message == '"app.tenant_id" is set by Gatehouse for the tenant of this connection and can not be changed'
    )
    assert "secret" not in (error.hint or "")
