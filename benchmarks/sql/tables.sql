-- What the workloads read and write. Run after deploy/sql/prepare_cluster.sql.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE DATABASE bench OWNER gatehouse_owner;
GRANT CONNECT ON DATABASE bench TO gatehouse;

\connect bench
SET client_min_messages = warning;
GRANT USAGE, CREATE ON SCHEMA public TO gatehouse_owner;
GRANT USAGE ON SCHEMA public TO gatehouse;
SET ROLE gatehouse_owner;

CREATE TABLE accounts (aid int PRIMARY KEY, abalance int NOT NULL, filler text NOT NULL) WITH (fillfactor = 80);
CREATE TABLE history (aid int NOT NULL, delta int NOT NULL, at timestamptz NOT NULL);
-- Stored as it is, neither compressed nor out of line twice: the proxies are measured, not TOAST.
CREATE TABLE documents (id int PRIMARY KEY, body text NOT NULL);
ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL;
-- What COPY reads into and throws away.
CREATE UNLOGGED TABLE bulk (line text NOT NULL);
-- The tenants' table: forced row-level security, as deploy/sql/shared_tables.sql has it.
CREATE TABLE orders (
    tenant_id text NOT NULL DEFAULT nullif(current_setting('app.tenant_id', true), ''),
    id        int NOT NULL,
    amount    int NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

INSERT INTO accounts SELECT n, 0, repeat('x', 84) FROM generate_series(1, 10000) AS n;
INSERT INTO documents SELECT n, repeat('x', 10000) FROM generate_series(1, 200) AS n;
INSERT INTO orders SELECT tenant, n, n FROM unnest(ARRAY['bench', 'other']) AS tenant, generate_series(1, 10000) AS n;

ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON orders
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), ''));
GRANT SELECT, INSERT, UPDATE ON accounts, history, documents, bulk, orders TO gatehouse;
RESET ROLE;
VACUUM ANALYZE;
