SELECT amount FROM orders WHERE id = 7 \gset
SELECT body FROM documents WHERE id = 7 \gset
