\set id random(1, 10000)
\startpipeline
BEGIN;
SELECT set_config('app.tenant_id', 'bench', true);
SELECT amount FROM orders WHERE id = :id;
COMMIT;
\endpipeline
