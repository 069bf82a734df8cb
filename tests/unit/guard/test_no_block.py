from __future__ import annotations

import pytest

from proxy.guard.statements import Statement, split
from proxy.guard.statements import StatementKind as Kind


def one(text: str) -> Statement:
    return split(text.encode())[0]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("VACUUM", "VACUUM"),
        ("vacuum (full) t", "VACUUM"),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE INDEX CONCURRENTLY"),
        ("create unique index /**/ concurrently on t (a)", "CREATE INDEX CONCURRENTLY"),
        ("DROP INDEX CONCURRENTLY i", "DROP INDEX CONCURRENTLY"),
        ("REINDEX TABLE CONCURRENTLY t", "REINDEX CONCURRENTLY"),
        ("REINDEX (VERBOSE, CONCURRENTLY) INDEX i", "REINDEX CONCURRENTLY"),
        ("REINDEX (CONCURRENTLY on) INDEX i", "REINDEX CONCURRENTLY"),
        ("REINDEX DATABASE d", "REINDEX DATABASE"),
        ("REINDEX SYSTEM", "REINDEX SYSTEM"),
        ("REINDEX (VERBOSE) SCHEMA s", "REINDEX SCHEMA"),
        ("CREATE DATABASE d", "CREATE DATABASE"),
        ("DROP DATABASE IF EXISTS d", "DROP DATABASE"),
        ("CREATE TABLESPACE t LOCATION 'x'", "CREATE TABLESPACE"),
        ("DROP TABLESPACE t", "DROP TABLESPACE"),
        ("ALTER SYSTEM SET a = 1", "ALTER SYSTEM"),
        ("ALTER DATABASE d SET TABLESPACE t", "ALTER DATABASE SET TABLESPACE"),
        ("CLUSTER", "CLUSTER"),
        ("CLUSTER (VERBOSE)", "CLUSTER"),
        ("CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", "CREATE SUBSCRIPTION"),
        ("DROP SUBSCRIPTION s", "DROP SUBSCRIPTION"),
        ("ALTER SUBSCRIPTION s REFRESH PUBLICATION", "ALTER SUBSCRIPTION REFRESH PUBLICATION"),
        ("ALTER SUBSCRIPTION s SET PUBLICATION p", "ALTER SUBSCRIPTION SET PUBLICATION"),
        ("ALTER SUBSCRIPTION s SET (two_phase = on)", "ALTER SUBSCRIPTION SET"),
        ("ALTER TABLE IF EXISTS a.b DETACH PARTITION c.d CONCURRENTLY", "ALTER TABLE DETACH PARTITION CONCURRENTLY"),
        ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
        ("ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED"),
    ],
)
def test_statements_that_refuse_a_block_are_known(text: str, command: str) -> None:
    assert (one(text).kind, one(text).command) == (Kind.NO_BLOCK, command)


@pytest.mark.parametrize(
    "text",
    [
        "ANALYZE t",
        "CREATE INDEX i ON t (a)",
        "CREATE INDEX ON t (concurrently)",
        "DROP INDEX i",
        "REINDEX TABLE t",
        "REINDEX (CONCURRENTLY false) TABLE t",
        "REINDEX (VERBOSE) INDEX i",
        "CLUSTER t",
        "CLUSTER (VERBOSE) t USING i",
        "ALTER DATABASE d RENAME TO e",
        "ALTER SUBSCRIPTION s DISABLE",
        "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
        "ALTER TABLE t DETACH PARTITION p",
        "ALTER TABLE t DETACH PARTITION p FINALIZE",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "ALTER TYPE e ADD VALUE 'x'",
        "COMMIT",
        '"vacuum"',
    ],
)
def test_their_neighbours_run_in_a_block(text: str) -> None:
    assert one(text).kind != Kind.NO_BLOCK
