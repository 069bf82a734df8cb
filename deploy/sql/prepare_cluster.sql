-- Prepare a cluster for Gatehouse: its two roles. Run once per cluster, as a superuser (or with CREATEROLE), with psql:
--
--     GATEHOUSE_PASSWORD='…' psql -d postgres -f prepare_cluster.sql
--     GATEHOUSE_PASSWORD='…' psql -d postgres -v owner=saas_owner -v login=gatehouse -f prepare_cluster.sql
--
-- Then, as often as needed: shared_tables.sql, schema_tenant.sql, database_tenant.sql. All can be run again.
--
-- variable   default           meaning
-- owner      gatehouse_owner   owns databases, schemas and tables; nobody logs in as it
-- login      gatehouse         what Gatehouse logs in as; owns nothing, is nothing
--
-- The password comes from the environment, because a command line is visible to everybody on the machine. It may also be
-- a stored verifier ('SCRAM-SHA-256$4096:…'). Unset leaves the login's password as it is.

\set ON_ERROR_STOP on
SET client_min_messages = warning;
\if :{?owner}
\else
  \set owner gatehouse_owner
\endif
\if :{?login}
\else
  \set login gatehouse
\endif
\getenv password GATEHOUSE_PASSWORD

SELECT format('CREATE ROLE %I NOLOGIN', :'owner')
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'owner') \gexec

SELECT format('CREATE ROLE %I', :'login')
 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'login') \gexec

-- The login stands for nobody. NOBYPASSRLS and no ownership: row-level security applies to it. NOINHERIT: a right that was
-- granted to a tenant's role counts only after SET ROLE, which Gatehouse puts in front of that tenant's transactions.
ALTER ROLE :"login" LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

\if :{?password}
  -- Neither the log nor an error's context shall show the password.
  BEGIN;
  SET LOCAL log_statement = 'none';
  SET LOCAL log_min_error_statement = 'panic';
  SET LOCAL log_min_duration_statement = -1;
  SET LOCAL password_encryption = 'scram-sha-256';
  ALTER ROLE :"login" PASSWORD :'password';
  COMMIT;
\endif

-- Optional: keep the login out of databases that are not for tenants.
-- REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
