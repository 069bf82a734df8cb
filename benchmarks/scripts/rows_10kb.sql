\set id random(1, 200)
SELECT body FROM documents WHERE id = :id;
