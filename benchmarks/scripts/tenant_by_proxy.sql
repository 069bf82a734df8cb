\set id random(1, 10000)
SELECT amount FROM orders WHERE id = :id;
