BEGIN;
SELECT set_config('app.tenant_id', 'bench', true);
SELECT amount FROM orders WHERE id = 7 \gset
SELECT body FROM documents WHERE id = 7 \gset
COMMIT;
