\set a random(1, 10000)
\set b random(1, 10000)
\set c random(1, 10000)
BEGIN;
SELECT abalance FROM accounts WHERE aid = :a;
SELECT abalance FROM accounts WHERE aid = :b;
SELECT abalance FROM accounts WHERE aid = :c;
COMMIT;
