# ruff: noqa: E501
"""Statements of the SQL reference, one a line, and texts with every lexical nastiness.

What the guard and PostgreSQL's grammar must agree on.
"""

from __future__ import annotations

from typing import Final

_REFERENCE: Final = r"""
ABORT
ABORT WORK AND CHAIN
ABORT TRANSACTION AND NO CHAIN
ALTER AGGREGATE myavg(integer) RENAME TO my_average
ALTER COLLATION "de_DE" RENAME TO german
ALTER CONVERSION iso_8859_1_to_utf8 RENAME TO latin1_to_unicode
ALTER DATABASE test SET enable_indexscan TO off
ALTER DATABASE test RESET ALL
ALTER DATABASE test SET TABLESPACE fast
ALTER DATABASE test REFRESH COLLATION VERSION
ALTER DEFAULT PRIVILEGES IN SCHEMA myschema GRANT SELECT ON TABLES TO PUBLIC
ALTER DOMAIN zipcode SET NOT NULL
ALTER EVENT TRIGGER t DISABLE
ALTER EXTENSION hstore UPDATE TO '2.0'
ALTER FOREIGN DATA WRAPPER dbi OPTIONS (ADD foo '1', DROP bar)
ALTER FOREIGN TABLE distributors ALTER COLUMN street SET NOT NULL
ALTER FUNCTION sqrt(integer) SET search_path = admin, pg_temp
ALTER FUNCTION sqrt(integer) RESET search_path
ALTER GROUP staff ADD USER karl, john
ALTER INDEX distributors SET (fillfactor = 75)
ALTER LANGUAGE plsample RENAME TO x
ALTER MATERIALIZED VIEW foo RENAME TO bar
ALTER OPERATOR @@ (text, text) OWNER TO joe
ALTER OPERATOR FAMILY integer_ops USING btree DROP OPERATOR 1 (int4, int2)
ALTER POLICY p ON t USING (tenant_id = current_setting('app.tenant_id')::int)
ALTER PROCEDURE insert_data(integer, integer) RENAME TO insert_record
ALTER PUBLICATION noinsert SET (publish = 'update, delete')
ALTER ROLE davide WITH PASSWORD 'hu8jmn3'
ALTER ROLE worker_bee SET maintenance_work_mem = 100000
ALTER ROLE CURRENT_USER IN DATABASE devel RESET ALL
ALTER RULE notify_all ON emp RENAME TO notify_me
ALTER SCHEMA a RENAME TO b
ALTER SEQUENCE serial RESTART WITH 105
ALTER SERVER foo OPTIONS (host 'foo', dbname 'foodb')
ALTER STATISTICS s SET STATISTICS 100
ALTER SUBSCRIPTION mysub SET PUBLICATION insert_only
ALTER SUBSCRIPTION mysub REFRESH PUBLICATION
ALTER SUBSCRIPTION mysub ADD PUBLICATION x
ALTER SUBSCRIPTION mysub DISABLE
ALTER SUBSCRIPTION mysub SET (slot_name = NONE)
ALTER SUBSCRIPTION mysub SET (failover = true)
ALTER SYSTEM SET wal_level = replica
ALTER SYSTEM RESET ALL
ALTER TABLE distributors ADD COLUMN address varchar(30)
ALTER TABLE measurement DETACH PARTITION measurement_y2015m12
ALTER TABLE measurement DETACH PARTITION s.measurement_y2015m12 CONCURRENTLY
ALTER TABLE measurement DETACH PARTITION measurement_y2015m12 FINALIZE
ALTER TABLE t ALTER c SET DEFAULT now(), ADD CONSTRAINT x CHECK (length(c) > 0) NOT VALID
ALTER TABLESPACE index_space RENAME TO fast_raid
ALTER TEXT SEARCH CONFIGURATION my_config ALTER MAPPING REPLACE english WITH swedish
ALTER TRIGGER emp_stamp ON emp RENAME TO emp_track_chgs
ALTER TYPE colors ADD VALUE 'orange' AFTER 'red'
ALTER USER MAPPING FOR bob SERVER foo OPTIONS (SET password 'public')
ALTER USER bob VALID UNTIL 'infinity'
ALTER VIEW foo RENAME TO bar
ANALYZE
ANALYZE VERBOSE t (a, b)
BEGIN
BEGIN WORK
BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE
CALL do_db_maintenance()
CHECKPOINT
CLOSE liahona
CLOSE ALL
CLUSTER
CLUSTER VERBOSE
CLUSTER (VERBOSE)
CLUSTER employees USING employees_ind
CLUSTER (VERBOSE) employees
COMMENT ON TABLE mytable IS 'This is my table.'
COMMENT ON FUNCTION my_function (timestamp) IS NULL
COMMIT
COMMIT WORK
COMMIT TRANSACTION AND CHAIN
COMMIT AND NO CHAIN
COMMIT AND CHAIN
COMMIT PREPARED 'foobar'
COPY country TO STDOUT (DELIMITER '|')
COPY country FROM '/usr1/proj/bray/sql/country_data'
COPY country FROM STDIN
COPY country (a, b, "c d") FROM STDIN WITH (FORMAT csv, HEADER true)
COPY country FROM STDOUT
COPY BINARY country FROM STDIN
COPY country FROM STDIN WITH DELIMITER ',' NULL 'x'
COPY (SELECT * FROM country WHERE country_name LIKE 'A%') TO STDOUT
COPY (SELECT a FROM stdin) TO STDOUT
COPY country FROM STDIN WHERE a > 5
CREATE ACCESS METHOD heptree TYPE INDEX HANDLER heptree_handler
CREATE AGGREGATE sum (complex) (sfunc = complex_add, stype = complex, initcond = '(0,0)')
CREATE CAST (bigint AS int4) WITH FUNCTION int4(bigint) AS ASSIGNMENT
CREATE COLLATION french (locale = 'fr_FR.utf8')
CREATE DEFAULT CONVERSION myconv FOR 'UTF8' TO 'LATIN1' FROM myfunc
CREATE DATABASE lusiadas
CREATE DATABASE sales OWNER salesapp TABLESPACE salesspace
CREATE DOMAIN us_postal_code AS TEXT CHECK (VALUE ~ '^\d{5}$' OR VALUE ~ '^\d{5}-\d{4}$')
CREATE EVENT TRIGGER abort_ddl ON ddl_command_start EXECUTE FUNCTION abort_any_command()
CREATE EXTENSION hstore SCHEMA addons
CREATE FOREIGN DATA WRAPPER dummy
CREATE FOREIGN TABLE films (code char(5) NOT NULL, title varchar(40) NOT NULL) SERVER film_server
CREATE FUNCTION add(integer, integer) RETURNS integer AS 'select $1 + $2;' LANGUAGE SQL IMMUTABLE
CREATE OR REPLACE FUNCTION increment(i integer) RETURNS integer AS $$ BEGIN RETURN i + 1; END; $$ LANGUAGE plpgsql
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 ELSE 2 END; END
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC END
CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS "end"; SELECT 2 AS end; SELECT 3 end; SELECT CASE WHEN a THEN CASE b WHEN 1 THEN 2 END END end; END
CREATE FUNCTION f() RETURNS int RETURN 1 + 1
CREATE OR REPLACE PROCEDURE p(a int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (a); ; DELETE FROM t; END
CREATE FUNCTION begin(atomic int) RETURNS int RETURN 1
CREATE GROUP staff WITH USER karl, john
CREATE UNIQUE INDEX title_idx ON films (title)
CREATE INDEX ON films ((lower(title)))
CREATE INDEX CONCURRENTLY sales_quantity_index ON sales_table (quantity)
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t USING btree (a)
CREATE INDEX gin_idx ON documents_table USING GIN (locations) WITH (fastupdate = off)
CREATE LANGUAGE plsample HANDLER plsample_call_handler
CREATE MATERIALIZED VIEW mv AS SELECT 1 WITH NO DATA
CREATE OPERATOR === (LEFTARG = box, RIGHTARG = box, FUNCTION = area_equal_function, COMMUTATOR = ===)
CREATE OPERATOR CLASS gist__int_ops DEFAULT FOR TYPE _int4 USING gist AS OPERATOR 3 &&, FUNCTION 1 g_int_consistent (internal, _int4, smallint, oid, internal)
CREATE OPERATOR FAMILY f USING btree
CREATE POLICY p ON t FOR ALL TO app USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::int)
CREATE PROCEDURE insert_data(a integer, b integer) LANGUAGE SQL AS $$ INSERT INTO tbl VALUES (a); INSERT INTO tbl VALUES (b); $$
CREATE PUBLICATION mypublication FOR TABLE users, departments
CREATE ROLE jonathan LOGIN
CREATE RULE "_RETURN" AS ON SELECT TO t1 DO INSTEAD SELECT * FROM t2
CREATE RULE notify_me AS ON UPDATE TO mytable DO ALSO (NOTIFY mytable; INSERT INTO log VALUES (1); DELETE FROM x)
CREATE SCHEMA hollywood CREATE TABLE films (title text, release date, awards text[]) CREATE VIEW winners AS SELECT title FROM films
CREATE TEMP SEQUENCE serial START 101
CREATE SEQUENCE serial
CREATE SERVER myserver FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'foo', port '5432')
CREATE STATISTICS s1 (dependencies) ON a, b FROM t1
CREATE SUBSCRIPTION mysub CONNECTION 'host=192.168.1.50 port=5432' PUBLICATION mypublication
CREATE TABLE films (code char(5) CONSTRAINT firstkey PRIMARY KEY, did integer NOT NULL, len interval hour to minute, kind varchar(10) DEFAULT 'x', n numeric(10,2), UNIQUE (did, len), FOREIGN KEY (did) REFERENCES d (id))
CREATE TABLE IF NOT EXISTS s.t (a int GENERATED ALWAYS AS IDENTITY, b text COLLATE "C", CHECK (a > 0), EXCLUDE USING gist (c WITH &&))
CREATE TABLE measurement_y2016m07 PARTITION OF measurement FOR VALUES FROM ('2016-07-01') TO ('2016-08-01')
CREATE TEMP TABLE a (b int)
CREATE TEMPORARY TABLE a (b int) ON COMMIT DELETE ROWS
CREATE LOCAL TEMP TABLE a (b int) ON COMMIT DROP
CREATE GLOBAL TEMPORARY TABLE a (b int)
CREATE TEMP TABLE films_recent ON COMMIT DROP AS SELECT 1
CREATE TABLE pg_temp.x (a int)
CREATE UNLOGGED TABLE x AS TABLE y
CREATE TABLE films2 AS EXECUTE recentfilms('2002-01-01')
CREATE TABLE films_recent AS SELECT * FROM films WHERE date_prod >= '2002-01-01'
CREATE TABLESPACE dbspace LOCATION '/data/dbs'
CREATE TEXT SEARCH DICTIONARY my_russian (template = snowball, language = russian)
CREATE TRANSFORM FOR hstore LANGUAGE plpython3u (FROM SQL WITH FUNCTION hstore_to_plpython(internal), TO SQL WITH FUNCTION plpython_to_hstore(internal))
CREATE TRIGGER check_update BEFORE UPDATE ON accounts FOR EACH ROW WHEN (OLD.balance IS DISTINCT FROM NEW.balance) EXECUTE FUNCTION check_account_update()
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON x DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE PROCEDURE f()
CREATE TYPE compfoo AS (f1 int, f2 text)
CREATE TYPE bug_status AS ENUM ('new', 'open', 'closed')
CREATE USER bob PASSWORD 'x'
CREATE USER MAPPING FOR bob SERVER foo OPTIONS (user 'bob', password 'secret')
CREATE VIEW vista (x) AS SELECT text 'Hello World' AS hello
CREATE OR REPLACE TEMP VIEW v AS SELECT 1
CREATE RECURSIVE VIEW public.nums_1_100 (n) AS VALUES (1) UNION ALL SELECT n+1 FROM nums_1_100 WHERE n < 100
DEALLOCATE foo
DEALLOCATE PREPARE foo
DEALLOCATE ALL
DEALLOCATE PREPARE ALL
DEALLOCATE "all"
DEALLOCATE prepare
DECLARE liahona CURSOR FOR SELECT * FROM films
DECLARE c BINARY INSENSITIVE NO SCROLL CURSOR WITH HOLD FOR SELECT 1
DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1 FOR UPDATE
DECLARE "C C" CURSOR FOR WITH x AS (SELECT 1) SELECT * FROM x
DELETE FROM films USING producers WHERE producer_id = producers.id AND producers.name = 'foo' RETURNING *
DISCARD ALL
DISCARD PLANS
DISCARD SEQUENCES
DISCARD TEMP
DISCARD TEMPORARY
DO $$ BEGIN PERFORM set_config('app.tenant_id', 'x', false); END $$
DO LANGUAGE plpgsql 'BEGIN END'
DROP ACCESS METHOD heptree
DROP AGGREGATE myavg(integer)
DROP CAST (text AS int)
DROP COLLATION german
DROP CONVERSION myname
DROP DATABASE IF EXISTS x
DROP DATABASE x WITH (FORCE)
DROP DOMAIN box
DROP EVENT TRIGGER snitch
DROP EXTENSION hstore
DROP FOREIGN DATA WRAPPER dbi
DROP FOREIGN TABLE films, distributors
DROP FUNCTION sqrt(integer)
DROP GROUP x
DROP INDEX title_idx
DROP INDEX CONCURRENTLY IF EXISTS title_idx
DROP LANGUAGE plsample
DROP MATERIALIZED VIEW order_summary
DROP OPERATOR ^ (integer, integer)
DROP OPERATOR CLASS widget_ops USING btree
DROP OWNED BY x
DROP POLICY my_policy ON my_table
DROP PROCEDURE do_db_maintenance
DROP PUBLICATION mypublication
DROP ROLE jonathan
DROP ROUTINE foo(integer)
DROP RULE newrule ON mytable
DROP SCHEMA mystuff CASCADE
DROP SEQUENCE serial
DROP SERVER IF EXISTS foo
DROP STATISTICS IF EXISTS a
DROP SUBSCRIPTION mysub
DROP TABLE films, distributors
DROP TABLESPACE mystuff
DROP TEXT SEARCH PARSER my_parser
DROP TRANSFORM FOR hstore LANGUAGE plpython3u
DROP TRIGGER if_dist_exists ON films
DROP TYPE box
DROP USER x
DROP USER MAPPING IF EXISTS FOR bob SERVER foo
DROP VIEW kinds
END
END WORK
END TRANSACTION AND CHAIN
EXECUTE foo
EXECUTE fooplan(1, 'Hunter Valley', 't', 200.00)
EXPLAIN SELECT * FROM foo
EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM foo WHERE i = 4
EXPLAIN ANALYZE EXECUTE query(100, 200)
EXPLAIN ANALYZE VERBOSE DELETE FROM t
FETCH FORWARD 5 FROM liahona
FETCH ALL IN c
GRANT INSERT ON films TO PUBLIC
GRANT SELECT (a, b), UPDATE (c) ON t TO joe
GRANT EXECUTE ON FUNCTION f(int) TO joe
GRANT admins TO joe
IMPORT FOREIGN SCHEMA foreign_films FROM SERVER film_server INTO films
INSERT INTO films VALUES ('UA502', 'Bananas', 105, '1971-07-13', 'Comedy', '82 minutes')
INSERT INTO films (code, title) VALUES ('T_601', 'Yojimbo'), ('x', DEFAULT), ($1, NULL)
INSERT INTO s.films AS f (code, title) VALUES ($1, $2::text) ON CONFLICT (code) DO UPDATE SET title = EXCLUDED.title
INSERT INTO films DEFAULT VALUES
INSERT INTO t (a) OVERRIDING SYSTEM VALUE SELECT a FROM b RETURNING id, lower(a)
INSERT INTO distributors AS d (did, dname) VALUES (8, 'Anvil') ON CONFLICT ON CONSTRAINT distributors_pkey DO NOTHING
WITH upd AS (UPDATE employees SET sales_count = sales_count + 1 WHERE id = 1 RETURNING *) INSERT INTO employees_log SELECT *, current_timestamp FROM upd
LISTEN virtual
LISTEN "Mixed Case"
LOAD 'plpgsql'
LOCK TABLE films IN SHARE MODE
MERGE INTO customer_account t USING recent r ON t.id = r.id WHEN MATCHED THEN UPDATE SET balance = t.balance + r.v WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (r.id, r.v)
MOVE 5 FROM liahona
NOTIFY virtual
NOTIFY foo, 'This is the payload'
PREPARE fooplan (int, text, bool, numeric) AS INSERT INTO foo VALUES($1, $2, $3, $4)
PREPARE p AS SELECT 1
PREPARE transaction AS SELECT 1
PREPARE TRANSACTION 'foobar'
REASSIGN OWNED BY a TO b
REFRESH MATERIALIZED VIEW CONCURRENTLY order_summary
REINDEX INDEX my_index
REINDEX TABLE my_table
REINDEX TABLE CONCURRENTLY my_broken_table
REINDEX (CONCURRENTLY, VERBOSE) INDEX i
REINDEX (CONCURRENTLY FALSE) INDEX i
REINDEX (VERBOSE) TABLE i
REINDEX DATABASE broken_db
REINDEX SYSTEM x
REINDEX SCHEMA s
RELEASE SAVEPOINT my_savepoint
RELEASE my_savepoint
RELEASE savepoint
RESET timezone
RESET "App"."Tenant_id"
RESET ALL
RESET TIME ZONE
RESET SESSION AUTHORIZATION
RESET ROLE
RESET app.tenant_id
REVOKE INSERT ON films FROM PUBLIC
ROLLBACK
ROLLBACK WORK
ROLLBACK AND CHAIN
ROLLBACK TRANSACTION AND NO CHAIN
ROLLBACK PREPARED 'foobar'
ROLLBACK TO SAVEPOINT my_savepoint
ROLLBACK TO my_savepoint
ROLLBACK WORK TO "My Savepoint"
ROLLBACK TO savepoint
SAVEPOINT my_savepoint
SAVEPOINT "x;y"
SECURITY LABEL FOR selinux ON TABLE mytable IS 'system_u:object_r:sepgsql_table_t:s0'
SELECT f.title, f.did, d.name, f.date_prod, f.kind FROM distributors d JOIN films f USING (did)
SELECT kind, sum(len) AS total FROM films GROUP BY kind HAVING sum(len) < interval '5 hours'
SELECT DISTINCT ON (location) location, time, report FROM weather_reports ORDER BY location, time DESC
SELECT m.name AS mname, pname FROM manufacturers m, LATERAL get_product_names(m.id) pname
SELECT * FROM (VALUES (1, 'one'), (2, 'two')) AS t (num, letter)
SELECT *, row_number() OVER (PARTITION BY a ORDER BY b), sum(x) FILTER (WHERE y) OVER w FROM t WINDOW w AS (ORDER BY z)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY income) FROM households
SELECT a, b FROM t GROUP BY GROUPING SETS ((a), (b), ()), ROLLUP (a, b), CUBE (a)
SELECT CASE WHEN a IN (1, 2) THEN coalesce(b, 0) ELSE nullif(c, 1) END, CAST(x AS numeric(10, 2)), extract(year FROM now()), x::varchar(20), ARRAY[1, 2], ROW(1, 2), EXISTS (SELECT 1)
SELECT a FROM b WHERE c = ANY (ARRAY[1]) AND d <> ALL ($1) AND NOT (e OR f) FOR UPDATE OF b SKIP LOCKED
SELECT * FROM t TABLESAMPLE system(10) LIMIT (1) OFFSET (2)
SELECT * INTO films_recent FROM films
SELECT * INTO TEMP TABLE films_recent FROM films
SELECT * INTO LOCAL TEMPORARY x FROM y
SELECT 1 INTO pg_temp.x
SELECT a OPERATOR(pg_catalog.+) b FROM t
SELECT json_object('a': 1), json_array(1, 2), xmlelement(name foo, 'x'), trim(both ' ' from x), substring(a from 1 for 2), overlay(a placing b from 1), position('a' in b), treat(a as int)
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n+1 FROM t WHERE n < 100) SELECT sum(n) FROM t
WITH x AS MATERIALIZED (SELECT 1), y AS NOT MATERIALIZED (SELECT 2) SELECT * FROM x, y
(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1
SELECT set_config('a.b', 'c', false)
SELECT pg_catalog.set_config('a.b', $1, true) AS x
SELECT myschema.do_things(1)
SELECT "Do_Things"()
SELECT nextval('s'), currval('s')
SELECT pg_advisory_lock(1)
SELECT pg_try_advisory_lock_shared(1, 2)
SELECT pg_advisory_xact_lock(1)
SELECT pg_advisory_unlock_all()
SELECT query_to_xml('select 1', true, true, '')
SET search_path TO my_schema, public
SET search_path TO "$user", 'a b', "X"
SET SESSION work_mem = '64MB'
SET LOCAL work_mem TO 64
SET work_mem TO DEFAULT
SET datestyle TO postgres, dmy
SET x.y = -1.5
SET x.y = +2
SET x.y = 1e10
SET x.y = .5
SET x.y = 99999999999
SET x.y = -99999999999
SET x.y = 2147483647
SET x.y = -2147483648
SET x.y = 007
SET x.y = 0x1F
SET x.y = 1_000
SET x.y = on
SET x.y = TRUE
SET x.y = none
SET x.y=-1
SET "x.Y" = E'a\'b\\c\n\x41\101\u00e9'
SET x.y = U&'d\0061t\+000061'
SET x.y = U&'d!0061t' UESCAPE '!'
SET x.y = $$a'b$$
SET x.y = $t$a$$b$t$
SET x.y = 'it''s'
SET U&"x.\0079" = 1
SET local.x = 1
SET session.x TO 2
SET LOCAL session.x TO 2
SET SESSION local = 2
SET time.x = 2
SET names.x = 2
SET role.x = 2
SET transaction.x = 2
SET TIME ZONE 'PST8PDT'
SET TIME ZONE utc
SET TIME ZONE -7
SET TIME ZONE 3.5
SET TIME ZONE LOCAL
SET TIME ZONE DEFAULT
SET LOCAL TIME ZONE 'Europe/Rome'
SET NAMES 'UTF8'
SET NAMES
SET NAMES DEFAULT
SET SCHEMA 'x'
SET seed TO 0.5
SET ROLE paul
SET ROLE 'paul'
SET ROLE NONE
SET role = 'x'
SET role TO x
SET SESSION ROLE x
SET LOCAL ROLE x
SET SESSION AUTHORIZATION 'paul'
SET SESSION AUTHORIZATION DEFAULT
SET LOCAL SESSION AUTHORIZATION x
SET SESSION SESSION AUTHORIZATION x
SET session_authorization = x
SET XML OPTION DOCUMENT
SET LOCAL XML OPTION content
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
SET TRANSACTION READ ONLY, DEFERRABLE
SET TRANSACTION SNAPSHOT '00000003-0000001B-1'
SET LOCAL TRANSACTION READ WRITE
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, NOT DEFERRABLE ISOLATION LEVEL READ UNCOMMITTED
SET CONSTRAINTS ALL DEFERRED
SET CONSTRAINTS a, b IMMEDIATE
SHOW DateStyle
SHOW ALL
SHOW TIME ZONE
SHOW TRANSACTION ISOLATION LEVEL
SHOW SESSION AUTHORIZATION
START TRANSACTION
START TRANSACTION ISOLATION LEVEL SERIALIZABLE
TABLE films
TRUNCATE bigtable, fattable RESTART IDENTITY
UNLISTEN virtual
UNLISTEN *
UPDATE films SET kind = 'Dramatic' WHERE kind = 'Drama'
UPDATE weather SET (temp_lo, temp_hi, prcp) = (temp_lo+1, temp_lo+15, DEFAULT) WHERE city = 'San Francisco'
UPDATE employees e SET sales_count = sales_count + 1 FROM accounts WHERE accounts.name = 'Acme' RETURNING e.*
VACUUM
VACUUM (FULL, ANALYZE) t
VACUUM ANALYZE t (a)
VALUES (1, 'one'), (2, 'two')
"""

_NASTY: Final = [
    "SELECT 'a;b'; SELECT 2",
    "SELECT 'a'';b' ; COMMIT",
    "SELECT E'a\\';b'; SELECT 'b\\'; COMMIT",
    "SELECT $$;$$; SELECT $a$;$$;$b$;$a$",
    "SELECT a$1;SELECT $1;SELECT a$b$c FROM t",
    'SELECT "a;""b"; SELECT U&"a;b" ; SELECT U&"a;b!0041" UESCAPE \'!\'',
    "-- comment; SELECT\nSELECT 1; -- COMMIT\n",
    "/* ; /* ; */ ; */ SELECT 1 /* ; */; /**/ COMMIT /* -- */",
    "SELECT 1--2;\n+3; SELECT 4",
    "SELECT 1/*2;*/+3; SELECT 4",
    "SELECT 1 +--;\n 2",
    "SELECT 2 */*;*/ 3",
    "SELECT 1 @- -- ;\n 2",
    "SELECT 'a'\n  'b;' ; SELECT 'a' \t\n\n 'b;'",
    "SELECT E'a'\n'\\';b'; SELECT 1",
    "SELECT U&'a'\n'b;' UESCAPE '!'; SELECT 1",
    "SELECT X'1F'; SELECT B'01'\n'10'; SELECT N'a;b'",
    "SELECT 1.5, .5, 5., 1e5, 1.5e-10, 0x1F, 0b101, 0o17, 1_000",
    "SELECT a[1:2], b.c, d::text, f(x => 1), g(y := 2)",
    ";;; SELECT 1 ;; ; COMMIT ;;",
    "",
    " -- nothing\n/* at all */ ;",
    "SELECT (';'); SELECT ((1)); SELECT 1",
    "SELECT é, \"é\", 'é;' FROM été; SELECT $é$;$é$",
    "BEGIN; SET LOCAL x.y = 1; SELECT 1; COMMIT AND CHAIN; ROLLBACK",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT 2",
    "CREATE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN 1 = 1 THEN 2 END; END; COMMIT; SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT (SELECT 1); SELECT a.end FROM a; END ; BEGIN; END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2;); SELECT 3",
    "CREATE TABLE begin (atomic int); END",
    "SELECT begin atomic FROM t; END",
    "SELECT 1 AS begin; SELECT 2 AS atomic; COMMIT",
    "SELECT '\\'; SELECT '\\\\'; SELECT E'\\\\'; SELECT 1",
    "SELECT u&'\\0041', u & 'x', U&'a' ; SELECT 1",
    "SELECT $1, $2; SELECT 1",
    "SELECT 1 <> -2, 3 != -4, 5 =-6, 7 <=-8, a->'b', a->>'c', a#>>'{d}', a @> 'e', f ?| g, -h, +i, @-j",
    "SELECT e'', x'', b'', ''",
    "select\t1\f;\r\nselect\n2",
    "SELECT name FROM t; SELECT e FROM t; SELECT b, x, n, u FROM t; SELECT e.x, n.b FROM e, n",
    "INSERT INTO t VALUES (1,'a;b',NULL),(2,$1,-3),('x''y;',DEFAULT,true),($2::text,1.5,'z'::varchar); SELECT 1",
    "INSERT INTO t VALUES (1 /* ; */, 2), (3, -- ;\n 4); SELECT 1",
    "INSERT INTO t VALUES (1), (E'\\';'), (';'), (lower(';')); SELECT 1",
    "SELECT 1 IN (1,2), (3,4) = (5,6), ('a;','b'), ($1,$2); COMMIT",
]

STATEMENTS: Final = [line for line in _REFERENCE.splitlines() if line]
TEXTS: Final = STATEMENTS + _NASTY
