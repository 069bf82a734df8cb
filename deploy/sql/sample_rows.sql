-- A few rows for the four tenants of the demo: acme and umbrella (shared tables in saas), globex (a schema in saas),
-- initech (a database of its own). Run after the four other files with their defaults; running it twice adds them twice.
--
--     psql -d postgres -f sample_rows.sql

\set ON_ERROR_STOP on
SET client_min_messages = warning;

\connect saas
SET client_min_messages = warning;

-- As Gatehouse does it: the setting stands in front, and tenant_id fills itself in.
BEGIN;
SET LOCAL ROLE gatehouse;
SET LOCAL app.tenant_id = 'acme';
INSERT INTO customers (name) VALUES ('Wile E. Coyote'), ('Road Runner');
INSERT INTO orders (item, amount) VALUES ('anvil', 99.90), ('rocket skates', 249.00), ('bird seed', 4.50);
COMMIT;

BEGIN;
SET LOCAL ROLE gatehouse;
SET LOCAL app.tenant_id = 'umbrella';
INSERT INTO customers (name) VALUES ('Albert Wesker');
INSERT INTO orders (item, amount) VALUES ('lab coat', 35.00), ('cold store', 12000.00);
COMMIT;

INSERT INTO tenant_globex.customers (name) VALUES ('Hank Scorpio'), ('Homer Simpson'), ('Mr. Bont');
INSERT INTO tenant_globex.orders (item, amount)
VALUES ('hammock', 80.00), ('sugar cubes', 3.20), ('moat', 90000.00), ('weather machine', 1500000.00);

\connect tenant_initech
SET client_min_messages = warning;
INSERT INTO customers (name) VALUES ('Bill Lumbergh'), ('Milton Waddams'), ('Peter Gibbons'), ('Samir Nagheenanajar');
INSERT INTO orders (item, amount)
VALUES ('red stapler', 12.00), ('printer', 499.00), ('report cover sheet', 0.10), ('floor mat', 25.00), ('mug', 7.00);
