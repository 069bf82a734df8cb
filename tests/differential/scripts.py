"""The scripts of the differential test. Tables: diff(id, v, tenant_id), diff_child(id, deferred reference to diff)."""

from __future__ import annotations

from proxy.wire import codes, frontend
from proxy.wire.buffer import frame
from tests.differential.harness import Script, Step, b, c, d, e, h, p, q, run, s

SCRIPTS: list[Script] = []


def script(name: str, *steps: bytes | Step, protocol: int = codes.PROTOCOL_3_0, **skip: str) -> None:
    """Add one script; bytes are a step that ends with ReadyForQuery."""
    parts = [step if isinstance(step, Step) else Step(step) for step in steps]
    SCRIPTS.append(Script(name, parts, skip, protocol))


def queries(name: str, *texts: str, **skip: str) -> None:
    """A script of Queries."""
    script(name, *(q(text) for text in texts), protocol=codes.PROTOCOL_3_0, **skip)


def batches(name: str, *parts: bytes, **skip: str) -> None:
    """A script of batches, each with a Sync behind it."""
    script(name, *(part + s for part in parts), protocol=codes.PROTOCOL_3_0, **skip)


INSERT = "INSERT INTO diff (id, v) VALUES (1, 'one')"
BAD = "SELECT 1/0"
COUNT = "SELECT count(*) FROM diff"

# Plain statements, in both protocols.
STATEMENTS = {
    "select": "SELECT 1 AS a, 'x'::text AS b, NULL::int AS c",
    "select nothing": "SELECT FROM diff",
    "no rows": "SELECT * FROM diff WHERE false",
    "insert": INSERT,
    "insert returning": "INSERT INTO diff (id, v) VALUES (2, 'é€𝄞') RETURNING id, v",
    "insert select": "INSERT INTO diff (id, v) SELECT g, 'x' FROM generate_series(1, 5) g",
    "update": "UPDATE diff SET v = 'two' WHERE id = 1",
    "delete": "DELETE FROM diff",
    "cte": "WITH x AS (SELECT 1 AS n) SELECT n FROM x",
    "data-modifying cte": "WITH x AS (INSERT INTO diff (id) VALUES (7) RETURNING id) SELECT id FROM x",
    "values": "VALUES (1, 'a'), (2, 'b')",
    "table": "TABLE diff",
    "explain": "EXPLAIN (COSTS OFF) SELECT 1",
    "show": "SHOW standard_conforming_strings",
    "notice": "SELECT diff_notice('hello')",
    "exception": "SELECT diff_fail('é')",
    "syntax error": "SELEC 1",
    "syntax error late": "SELECT 'éé', 1 FROM diff WHERE wrong syntax here",
    "unknown column": "SELECT nothing FROM diff",
    "unknown table": "SELECT 1 FROM no_such_table",
    "unknown function": "SELECT no_such_function(1)",
    "division by zero": BAD,
    "null violation": "INSERT INTO diff (id) VALUES (NULL)",
    "comment first": "/* c /* nested */ */ -- line\n SELECT 1",
    "comment only": "-- nothing at all",
    "empty": "",
    "semicolons": " ; ; ",
    "blank": "  \n ",
    "unterminated string": "SELECT 'abc",
    "unterminated comment": "SELECT 1 /* abc",
    "long row": "SELECT repeat('x', 100000)",
    "many rows": "SELECT g, repeat('y', 50) FROM generate_series(1, 3000) g",
    "lock": "LOCK TABLE diff IN ACCESS SHARE MODE",
    "do": "DO $$ BEGIN RAISE NOTICE 'from do'; END $$",
    "do fails": "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$",
    "notify": "NOTIFY diff_channel, 'x'",
    "checkpoint refused": "CHECKPOINT",
    "copy to file refused": "COPY diff TO '/no/such/file'",
    "create table refused": "CREATE TABLE pg_catalog.nope (a int)",
    "prepare transaction outside": "PREPARE TRANSACTION 'x'",
    "commit prepared missing": "SHOW work_mem",
    "savepoint outside": "SAVEPOINT a",
    "release outside": "RELEASE a",
    "rollback to outside": "ROLLBACK TO a",
    "commit outside": "COMMIT",
    "rollback outside": "ROLLBACK",
    "end outside": "END",
    "abort outside": "ABORT",
    "commit and chain outside": "COMMIT AND CHAIN",
    "set transaction outside": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "set local outside": "SET LOCAL work_mem = '1MB'",
    "close missing": "CLOSE nothing",
    "fetch missing": "FETCH 1 FROM nothing",
    "declare outside": "DECLARE c CURSOR FOR SELECT 1",
    "deallocate missing": "DEALLOCATE nothing",
    "deallocate all": "DEALLOCATE ALL",
    "execute missing": "EXECUTE nothing",
    "reset all": "RESET ALL",
    "discard plans": "DISCARD PLANS",
    "discard sequences": "DISCARD SEQUENCES",
    "discard temp": "DISCARD TEMP",
    "discard all": "DISCARD ALL",
    "unlisten": "UNLISTEN *",
    "set": "SET work_mem = '3MB'",
    "set unknown": "SET no_such_setting = 1",
    "set bad value": "SET work_mem = 'lots'",
    "set syntax": "SET work_mem == 1",
    "set default": "SET work_mem TO DEFAULT",
    "set time zone": "SET TIME ZONE 'Asia/Tokyo'",
    "set time zone local": "SET TIME ZONE LOCAL",
    "set time zone interval": "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE",
    "set bad time zone": "SET TIME ZONE 'No/Where'",
    "set names": "SET NAMES 'LATIN1'",
    "set datestyle": "SET DateStyle = german",
    "set datestyle list": "SET datestyle TO 'SQL', 'DMY'",
    "set session": "SET SESSION statement_timeout = 12345",
    "set custom": "SET app.color = 'blue'",
    "set characteristics": "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "set postmaster setting": "SET shared_buffers = '1GB'",
    "set superuser setting": "SET log_statement = 'all'",
    "reset": "RESET work_mem",
    "reset unknown": "RESET no_such_setting",
    "show all-lower": "SHOW timezone",
    "show unknown": "SHOW no_such_setting",
    "set_config session": "SELECT set_config('work_mem', '4MB', false)",
    "set_config local": "SELECT set_config('work_mem', '4MB', true)",
    "set_config bad": "SELECT set_config('work_mem', 'lots', false)",
    "xact lock": "SELECT pg_advisory_xact_lock(42)",
}
for _name, _sql in STATEMENTS.items():
    queries(f"simple: {_name}", _sql, "SELECT 1")
    queries(f"simple in a block: {_name}", "BEGIN", _sql, "SELECT 2", "ROLLBACK")
    queries(f"simple in a failed block: {_name}", "BEGIN", BAD, _sql, "ROLLBACK", "SELECT 3")
    batches(f"extended: {_name}", run(_sql), run("SELECT 1"))
    batches(f"extended in a block: {_name}", run("BEGIN"), run(_sql), run("SELECT 2"), run("ROLLBACK"))
    batches(f"extended behind begin in one batch: {_name}", run("BEGIN") + run(_sql), run("ROLLBACK"))
    queries(f"in a string: {_name}", f"SELECT 1; {_sql}; SELECT 2", "SELECT 3")

# Transaction control.
queries("begin commit", "BEGIN", INSERT, "COMMIT", COUNT)
queries("begin rollback", "BEGIN", INSERT, "ROLLBACK", COUNT)
queries("begin twice", "BEGIN", "BEGIN", "COMMIT")
queries(
    "begin with options",
    "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
    "SHOW transaction_isolation",
    "SHOW transaction_read_only",
    "SHOW transaction_deferrable",
    INSERT,
    "ROLLBACK",
)
queries(
    "set transaction after begin",
    "BEGIN",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SHOW transaction_isolation",
    "COMMIT",
)
queries("set transaction too late", "BEGIN", "SELECT 1", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "ROLLBACK")
queries("read only transaction", "START TRANSACTION READ ONLY", INSERT, "ROLLBACK")
queries("read only then write", "BEGIN READ ONLY", "SET TRANSACTION READ WRITE", INSERT, "ROLLBACK")
queries("failed then commit", "BEGIN", INSERT, BAD, "SELECT 1", "COMMIT", COUNT)
queries(
    "savepoints",
    "BEGIN",
    "SAVEPOINT a",
    INSERT,
    "SAVEPOINT b",
    BAD,
    "ROLLBACK TO b",
    COUNT,
    "RELEASE a",
    "COMMIT",
    COUNT,
)
queries("savepoint first then failure", "BEGIN", "SAVEPOINT a", BAD, "ROLLBACK TO a", INSERT, COUNT, "COMMIT", COUNT)
queries("commit and chain", "BEGIN", INSERT, "COMMIT AND CHAIN", COUNT, "ROLLBACK AND CHAIN", COUNT, "COMMIT")
queries(
    "chain keeps isolation",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "COMMIT AND CHAIN",
    "SHOW transaction_isolation",
    "COMMIT",
)
queries("failed then rollback and chain", "BEGIN", BAD, "ROLLBACK AND CHAIN", COUNT, "COMMIT")
queries("deferred constraint fails at commit", "BEGIN", "INSERT INTO diff_child VALUES (5)", "COMMIT", "SELECT 1")
queries("deferred constraint fails alone", "INSERT INTO diff_child VALUES (5)", "SELECT 1")
queries("end and abort", "BEGIN", INSERT, "END", "BEGIN WORK", "ABORT", COUNT)
queries("prepare transaction refused", "BEGIN", INSERT, "PREPARE TRANSACTION 'diff'", "SELECT 1")
queries(
    "cursor",
    "BEGIN",
    "DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) g",
    "FETCH 2 FROM c",
    "MOVE 1 FROM c",
    "FETCH ALL FROM c",
    "CLOSE c",
    "COMMIT",
)
queries(
    "scroll cursor",
    "BEGIN",
    "DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 5) g",
    "FETCH LAST FROM c",
    "FETCH PRIOR FROM c",
    "COMMIT",
)

# Several statements in one Query.
queries("string: two selects", "SELECT 1; SELECT 2")
queries("string: is atomic", f"{INSERT}; {BAD}", COUNT)
queries("string: error position in the second", "SELECT 1; SELECT wrong FROM diff")
queries("string: error position behind text", "SELECT 'é'; SELECT 'ü' FROM no_table")
queries("string: begin inside", f"BEGIN; {INSERT}; COMMIT", COUNT)
queries("string: begin stays open", f"BEGIN; {INSERT}", "SELECT 1", "ROLLBACK", COUNT)
queries("string: statement before begin", f"{INSERT}; BEGIN; SELECT 1", "COMMIT", COUNT)
queries("string: commit in the middle", f"{INSERT}; COMMIT; INSERT INTO diff (id) VALUES (2); {BAD}", COUNT)
queries("string: position behind commit", "SELECT 1; COMMIT; SELECT 'é', wrong FROM diff")
queries("string: rollback in the middle", f"{INSERT}; ROLLBACK; {COUNT}")
queries("string: two transactions", f"BEGIN; {INSERT}; COMMIT; BEGIN; DELETE FROM diff; ROLLBACK; {COUNT}")
queries("string: leaves a failed block", "BEGIN", BAD, f"ROLLBACK; {COUNT}")
queries("string: rollback begin select", "BEGIN", BAD, f"ROLLBACK; BEGIN; {COUNT}", "COMMIT")
queries("string: chain", f"BEGIN; {INSERT}; COMMIT AND CHAIN; {COUNT}", "ROLLBACK", COUNT)
queries("string: begin isolation", "BEGIN ISOLATION LEVEL SERIALIZABLE; SHOW transaction_isolation; COMMIT")
queries("string: savepoints", f"BEGIN; SAVEPOINT a; {INSERT}; ROLLBACK TO a; {COUNT}; COMMIT", COUNT)
queries("string: set and show", "SET work_mem = '5MB'; SHOW work_mem", "SHOW work_mem")
queries("string: set rolled back by error", f"SET work_mem = '5MB'; {BAD}", "SHOW work_mem")
queries("string: set then commit then error", f"SET work_mem = '5MB'; COMMIT; {BAD}", "SHOW work_mem")
queries("string: set time zone", "BEGIN; SET TimeZone = 'Asia/Tokyo'; COMMIT; SHOW TimeZone", "SHOW TimeZone")
queries("string: reset", "SET work_mem = '5MB'", "RESET work_mem; SHOW work_mem")
queries("string: reset all", "SET work_mem = '5MB'", "SELECT 1; RESET ALL; SHOW work_mem", "SHOW work_mem")
queries(
    "string: asyncpg's reset",
    "SET work_mem = '5MB'",
    "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
    "SHOW work_mem",
)
queries("string: error position at set", "SELECT 1; SET work_mem TO 'a' 'b' wrong")
queries("string: semicolons and comments", ";; SELECT 1;; -- x\n; SELECT 2; /* y */ ;")
queries("string: vacuum", "SELECT 1; VACUUM diff")
queries("string: discard all", "SELECT 1; DISCARD ALL")

# Session settings.
queries("set lasts", "SET work_mem = '5MB'", "SHOW work_mem", "BEGIN", "SHOW work_mem", "COMMIT", "SHOW work_mem")
queries("set in a committed block", "BEGIN", "SET work_mem = '5MB'", "COMMIT", "SHOW work_mem")
queries(
    "set in a rolled back block",
    "SET work_mem = '2MB'",
    "BEGIN",
    "SET work_mem = '5MB'",
    "SHOW work_mem",
    "ROLLBACK",
    "SHOW work_mem",
)
queries("set in a failed block", "BEGIN", "SET work_mem = '5MB'", BAD, "COMMIT", "SHOW work_mem")
queries(
    "set under a savepoint",
    "BEGIN",
    "SET work_mem = '5MB'",
    "SAVEPOINT a",
    "SET work_mem = '6MB'",
    "SHOW work_mem",
    "ROLLBACK TO a",
    "SHOW work_mem",
    "COMMIT",
    "SHOW work_mem",
)
queries("set local", "BEGIN", "SET LOCAL work_mem = '5MB'", "SHOW work_mem", "COMMIT", "SHOW work_mem")
queries("set local over set", "BEGIN", "SET work_mem = '4MB'", "SET LOCAL work_mem = '5MB'", "COMMIT", "SHOW work_mem")
queries(
    "set local first in a block",
    "SET work_mem = '4MB'",
    "BEGIN",
    "SET LOCAL work_mem = '5MB'",
    "SELECT 1",
    "SHOW work_mem",
    "COMMIT",
    "SHOW work_mem",
)
queries(
    "reset in a block", "SET work_mem = '4MB'", "BEGIN", "RESET work_mem", "SHOW work_mem", "ROLLBACK", "SHOW work_mem"
)
queries(
    "reset all in a block",
    "SET work_mem = '4MB'",
    "BEGIN",
    "RESET ALL",
    "SHOW work_mem",
    "ROLLBACK",
    "SHOW work_mem",
    "BEGIN",
    "RESET ALL",
    "COMMIT",
    "SHOW work_mem",
)
queries(
    "discard all forgets",
    "SET work_mem = '4MB'",
    "SET TimeZone = 'Asia/Tokyo'",
    "DISCARD ALL",
    "SHOW work_mem",
    "SHOW TimeZone",
)
queries("discard all in a block", "BEGIN", "DISCARD ALL", "ROLLBACK")
queries(
    "time zone is reported", "SET TimeZone = 'asia/tokyo'", "BEGIN", "SET TimeZone = 'UTC'", "ROLLBACK", "SHOW TimeZone"
)
queries("time zone in a block", "BEGIN", "SET TimeZone = 'Asia/Tokyo'", "SELECT 1", "COMMIT", "SELECT 1")
queries(
    "datestyle in two steps",
    "SET datestyle = 'DMY'",
    "SET datestyle = 'ISO'",
    "SHOW datestyle",
    "SELECT '01/02/2020'::date",
)
queries(
    "intervalstyle",
    "SET intervalstyle = 'iso_8601'",
    "SELECT '1 day'::interval",
    "RESET intervalstyle",
    "SELECT '1 day'::interval",
)
queries(
    "latin1",
    "SET client_encoding = 'LATIN1'",
    "SHOW client_encoding",
    "SELECT length('x')",
    "SELECT chr(233)",
    "RESET client_encoding",
    "SELECT chr(233)",
)
queries(
    "characteristics last",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SHOW transaction_isolation",
    "BEGIN",
    "SHOW transaction_isolation",
    "COMMIT",
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "SHOW transaction_isolation",
    "COMMIT",
)
queries(
    "default read only",
    "SET default_transaction_read_only = on",
    INSERT,
    "BEGIN READ WRITE",
    INSERT,
    "ROLLBACK",
    "SET default_transaction_read_only = off",
    INSERT,
)
queries(
    "custom setting",
    "SET app.color = 'blue'",
    "SHOW app.color",
    "SELECT current_setting('app.color')",
    "RESET app.color",
    "SHOW app.color",
)
queries(
    "set_config lasts",
    "SELECT set_config('work_mem', '4MB', false)",
    "SHOW work_mem",
    "BEGIN",
    "SELECT set_config('work_mem', '5MB', false)",
    "ROLLBACK",
    "SHOW work_mem",
)
queries("timeout bites", "SET statement_timeout = 20", "SELECT pg_sleep(5)", "RESET statement_timeout", "SELECT 1")
queries(
    "lc_monetary list of one",
    "SET extra_float_digits = 3",
    "SELECT 0.1::float4",
    "SET extra_float_digits TO 0",
    "SELECT 0.1::float4",
)
queries("quoted names", "SET \"work_mem\" = '4MB'", 'SHOW "work_mem"', "SET WORK_MEM TO '5MB'", "SHOW Work_Mem")
queries("escape string", r"SET app.color = E'a\'b\\c'", "SHOW app.color", "SET app.color = 'a''b\\c'", "SHOW app.color")
batches("set by parse", run("SET work_mem = '5MB'"), run("SHOW work_mem"), run("RESET work_mem"), run("SHOW work_mem"))
batches("set time zone by parse", run("SET TimeZone = 'asia/tokyo'"), run("SHOW TimeZone"))
batches(
    "set twice in a batch",
    run("SET work_mem = '5MB'") + run("SHOW work_mem") + run("RESET ALL") + run("SHOW work_mem"),
    run("SHOW work_mem"),
)
batches("set fails in a batch", run("SET work_mem = '5MB'") + run(BAD), run("SHOW work_mem"))
batches("set_config with parameters", run("SELECT set_config($1, $2, false)", "work_mem", "5MB"), run("SHOW work_mem"))
batches("discard all by parse", run("SET work_mem = '5MB'"), run("SHOW work_mem"))

# Extended protocol.
batches(
    "named statement",
    p("SELECT $1::int + 1", "s1") + d("s1", "S"),
    b("41", name="s1") + e(),
    b("1", name="s1") + d() + e(),
    c("s1"),
    b("1", name="s1"),
)
batches("named twice", p("SELECT 1", "s1"), p("SELECT 2", "s1"), b(name="s1") + e())
batches("close and name anew", p("SELECT 1", "s1"), c("s1") + p("SELECT 2", "s1") + b(name="s1") + e())
batches("close of nothing", c("nope") + c("nope", "P"))
batches("bind to nothing", b(name="nope") + e(), run("SELECT 1"))
batches("unnamed is missing", b() + e(), run("SELECT 1"))
batches("execute of nothing", e("nope"), run("SELECT 1"))
script(
    "execute of nothing in a block that failed at its beginning",
    q("BEGIN"),
    b(name="nope") + s,
    e("nope", 2) + s,
    q("ROLLBACK"),
)
batches(
    "what needs a block, behind a batch",
    run("SELECT 1") + run("SELECT 2"),
    run("LOCK TABLE diff"),
    run("SELECT 1") + run("SELECT 2"),
    run("DECLARE cur CURSOR FOR SELECT 1"),
    run("SELECT 1") + run("SELECT 2"),
    run("SET LOCAL work_mem TO '1MB'"),
)
batches("describe of nothing", d("nope", "S"), d("nope"), run("SELECT 1"))
batches("unnamed outlives the transaction", p("SELECT $1::text"), b("a") + e(), b("b") + d() + e())
batches("unnamed is replaced", p("SELECT 1") + p("SELECT 2") + b() + e())
batches("failed parse leaves no statement", p("SELEC", "s1"), p("SELECT 1", "s1") + b(name="s1") + e())
batches(
    "failed batch defines nothing",
    run(BAD) + p("SELECT 1", "s1"),
    b(name="s1") + e(),
    p("SELECT 2", "s1") + b(name="s1") + e(),
)
batches("parse before the error stays", p("SELECT 1", "s1") + run(BAD), b(name="s1") + e())
batches("deallocate by sql", p("SELECT 1", "s1"), run("DEALLOCATE s1"), b(name="s1") + e())
batches("discard all leaves the unnamed statement", run("DISCARD ALL"), d("", "S"), b() + e())
batches("deallocate all by sql", p("SELECT 1", "s1"), run("DEALLOCATE ALL"), b(name="s1") + e())
batches("error skips the rest", run("SELECT 1") + run(BAD) + run("SELECT 2") + c("x"), run("SELECT 3"))
batches("batch is one transaction", run(INSERT) + run(BAD), run(COUNT))
batches("batch of two inserts", run(INSERT) + run("INSERT INTO diff (id) VALUES (2)"), run(COUNT))
batches(
    "portal with rows",
    p("SELECT g FROM generate_series(1, 5) g")
    + b(portal="c1")
    + d("c1")
    + e("c1", 2)
    + e("c1", 2)
    + e("c1", 2)
    + e("c1", 2),
)
batches(
    "portal over syncs in a block",
    run("BEGIN"),
    p("SELECT g FROM generate_series(1, 5) g") + b(portal="c1") + e("c1", 2),
    e("c1", 2),
    c("c1", "P"),
    e("c1", 1),
    run("ROLLBACK"),
)
batches("portal ends with the transaction", p("SELECT 1") + b(portal="c1"), e("c1"))
batches("unnamed portal that was not bound", p("SELECT 1") + d("P"), p("SELECT 1") + e(), e(), d("P"))
script(
    "unnamed portal that was not bound in a block",
    q("BEGIN"),
    p("SELECT 1") + d("P") + s,
    e() + s,
    q("ROLLBACK"),
    e() + s,
)
batches("unnamed portal after the end of its block", run("BEGIN"), run("SELECT 1"), run("COMMIT"), e())
batches("portal twice", p("SELECT 1") + b(portal="c1") + b(portal="c1"))
batches(
    "two portals",
    run("BEGIN"),
    p("SELECT g FROM generate_series(1, 4) g", "s")
    + b(name="s", portal="a")
    + b(name="s", portal="b")
    + e("a", 1)
    + e("b", 3)
    + e("a", 0),
    run("COMMIT"),
)
batches("execute sql cursor by portal", run("BEGIN"), run("DECLARE cur CURSOR FOR SELECT 1"), e("cur"), run("COMMIT"))
batches("wrong number of parameters", p("SELECT $1::int") + b(), run("SELECT 1"))
batches("bad parameter", p("SELECT $1::int") + b("x") + e())
batches("null parameter", p("SELECT $1::text") + b(None) + d() + e())
batches("several statements in parse", p("SELECT 1; SELECT 2"))
batches("empty in a batch", p("") + b() + d() + e())
batches("begin in a batch", run("BEGIN") + run(INSERT) + run("COMMIT") + run(COUNT))
batches(
    "begin isolation in a batch",
    run("BEGIN ISOLATION LEVEL SERIALIZABLE") + run("SHOW transaction_isolation") + run("COMMIT"),
)
batches(
    "begin then set transaction in a batch",
    run("BEGIN") + run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") + run("SHOW transaction_isolation"),
    run("COMMIT"),
)
batches("commit in a batch", run(INSERT) + run("COMMIT") + run(COUNT) + run(BAD), run(COUNT))
batches("rollback in a batch", run("BEGIN"), run(INSERT) + run("ROLLBACK") + run(COUNT))
batches(
    "chain in a batch", run("BEGIN") + run(INSERT) + run("COMMIT AND CHAIN") + run(COUNT), run(COUNT), run("COMMIT")
)
batches("leave a failed block in a batch", run("BEGIN"), run(BAD), run("SELECT 1"), run("ROLLBACK") + run(COUNT))
batches(
    "rollback to in a batch",
    run("BEGIN") + run("SAVEPOINT a"),
    run(BAD),
    run("ROLLBACK TO a") + run(INSERT) + run("COMMIT"),
    run(COUNT),
)
batches("deferred constraint fails at sync", run("INSERT INTO diff_child VALUES (5)"), run("SELECT 1"))
batches(
    "vacuum in a batch",
    run("SELECT 1") + run("VACUUM diff"),
    shared="no block",
    schema="no block",
)
batches("position in parse", p("SELECT 'é', wrong FROM diff"), p("SELECT 1 FROM"))
batches("sync alone", b"", b"", run("SELECT 1"))
batches("notice in a batch", run("SELECT diff_notice('a')") + run("SELECT diff_notice('b')"))
script("several syncs in one go", Step(run("SELECT 1") + s, "Z"))
script(
    "pipeline of three", run("SELECT 1") + s + run("SELECT 2") + s + run("SELECT 3") + s, Step(b"", "Z"), Step(b"", "Z")
)
script("pipeline with an error", run(INSERT) + s + run(BAD) + s + run(COUNT) + s, Step(b"", "Z"), Step(b"", "Z"))
script(
    "pipeline with begin",
    run("BEGIN") + s + run(INSERT) + s + run("COMMIT") + s,
    Step(b"", "Z"),
    Step(b"", "Z"),
    run(COUNT) + s,
)
script("queries in one go", q("SELECT 1") + q("SELECT 2") + q(BAD) + q("SELECT 3"), *[Step(b"", "Z")] * 3)
script("flush", Step(p("SELECT 1", "s1") + d("s1", "S") + h, "T"), b(name="s1") + e() + s)
script(
    "flush after every message",
    Step(p("SELECT 1") + h, "1"),
    Step(b() + h, "2"),
    Step(d() + h, "T"),
    Step(e() + h, "C"),
    s,
)
script("flush then error", Step(run("SELECT 1") + h, "C"), Step(run(BAD) + h, "E"), run("SELECT 2") + s)
script(
    "flush in a block",
    run("BEGIN") + s,
    Step(run("SELECT 1") + h, "C"),
    Step(run("SELECT 2") + h, "C"),
    s,
    run("COMMIT") + s,
)
script("sync behind an error", Step(p("SELEC") + h, "E"), s)

batches(
    "do leaves what was set local alone",
    run("BEGIN"),
    run("SET LOCAL work_mem = '7MB'"),
    run("DO $$ BEGIN NULL; END $$"),
    run("SHOW work_mem"),
    run("ROLLBACK"),
)
batches(
    "set local outlives do in its block",
    run("SET work_mem = '5MB'"),
    run("BEGIN"),
    run("SET LOCAL work_mem = '7MB'"),
    run("DO $$ BEGIN NULL; END $$"),
    run("SHOW work_mem"),
    run("ROLLBACK"),
)

# COPY.
COPY_IN = "COPY diff_plain FROM STDIN"
COUNT_PLAIN = "SELECT count(*) FROM diff_plain"
done = frontend.COPY_DONE


def data(text: str) -> bytes:
    """CopyData."""
    return frame(codes.COPY_DATA, text.encode())


script("copy in", Step(q(COPY_IN), "G"), data("1\ta\n2\tb\n") + done, q(COUNT_PLAIN))
script(
    "copy in, one byte at a time",
    Step(q(COPY_IN), "G"),
    b"".join(data(x) for x in "1\ta\n2\tb\n") + done,
    q(COUNT_PLAIN),
)
script("copy in with a bad row", Step(q(COPY_IN), "G"), data("1\ta\nx\tb\n") + done, q(COUNT_PLAIN))
script("copy in given up", Step(q(COPY_IN), "G"), data("1\ta\n") + frontend.copy_fail(b"no more"), q(COUNT_PLAIN))
script(
    "copy in csv",
    Step(q(COPY_IN + " (FORMAT csv, HEADER)"), "G"),
    data('id,v\n1,"x,y"\n') + done,
    q("SELECT id, v FROM diff_plain"),
)
script(
    "copy in within a block",
    q("BEGIN"),
    Step(q(COPY_IN), "G"),
    data("1\ta\n") + done,
    q(COUNT_PLAIN),
    q("ROLLBACK"),
    q(COUNT_PLAIN),
)
script(
    "copy in behind a statement",
    Step(q(f"INSERT INTO diff (id) VALUES (9); {COPY_IN}; {COUNT_PLAIN}"), "G"),
    data("1\ta\n") + done,
)
script("copy in by execute", Step(p(COPY_IN) + b() + e() + h, "G"), data("1\ta\n") + done + s, q(COUNT_PLAIN))
script("copy in by execute with sync", Step(p(COPY_IN) + b() + e() + s, "G"), data("1\ta\n") + done + s, q(COUNT_PLAIN))
script("copy in by execute, bad row", Step(p(COPY_IN) + b() + e() + s, "G"), data("x\ta\n") + done + s, q(COUNT_PLAIN))
script(
    "copy in by execute, given up",
    Step(p(COPY_IN) + b() + e() + h, "G"),
    data("1\ta\n") + frontend.copy_fail(b"no") + s,
    q(COUNT_PLAIN),
)
script("copy in refused", q("COPY no_such_table FROM STDIN"), q("SELECT 1"))
script("copy out", q("COPY (SELECT g, 'x' FROM generate_series(1, 1000) g) TO STDOUT"), q("SELECT 1"))
script("copy out binary", q("COPY (SELECT g FROM generate_series(1, 10) g) TO STDOUT (FORMAT binary)"))
script("copy out by execute", run("COPY (SELECT 1) TO STDOUT") + s)
script("copy out fails", q("COPY (SELECT 1/(3-g) FROM generate_series(1, 5) g) TO STDOUT"), q("SELECT 1"))
script("stray copy data", data("x") + done + q("SELECT 1"))

# What a text and a value mean depends on settings, and those on transactions.
TOKYO = "set_config('TimeZone', 'Asia/Tokyo'"
MIDNIGHT = "SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'"
for _name, _call in {"local": f"SELECT {TOKYO}, true)", "lasting": f"SELECT {TOKYO}, false)"}.items():
    queries(f"set_config {_name} in a block", "SET TimeZone TO 'UTC'", "BEGIN", _call, "COMMIT", "SHOW TimeZone")
    queries(f"set_config {_name} in a string", "SET TimeZone TO 'UTC'", f"BEGIN; {_call}; COMMIT", "SHOW TimeZone")
    batches(f"set_config {_name} in a batch", run("SET TimeZone TO 'UTC'"), run(_call), run("SHOW TimeZone"))
    script(
        f"set_config {_name}, a row at a time",
        q("SET TimeZone TO 'UTC'"),
        p(_call) + b() + e(rows=1) + s,
        q("SHOW TimeZone"),
        q("BEGIN"),
        p(_call) + b() + e(rows=1) + e() + s,
        q("COMMIT"),
        q("SHOW TimeZone"),
    )
for _local in ("true", "false"):
    script(
        f"set_config with parameters, {_local}",
        q("SET TimeZone TO 'UTC'"),
        p("SELECT set_config($1, $2, $3)", "s") + s,
        q("BEGIN"),
        b("TimeZone", "asia/tokyo", _local, name="s") + e() + b("DateStyle", "dmy", _local, name="s") + e() + s,
        q("COMMIT"),
        b("client_encoding", "latin1", _local, name="s") + e() + s,
        q("SHOW TimeZone; SHOW DateStyle; SHOW client_encoding"),
    )
for _name, _change in {
    "reset": "RESET DateStyle",
    "reset all": "RESET ALL",
    "set local": "SET LOCAL DateStyle TO 'ISO, MDY'",
    "an error": "SET LOCAL DateStyle TO 'ISO, MDY'; SELECT 1/0",
}.items():
    queries(
        f"a parameter taken back by rollback and chain, behind {_name}",
        "SET DateStyle TO 'German'",
        "BEGIN",
        _change,
        "ROLLBACK AND CHAIN",
        "SHOW DateStyle",
        "COMMIT",
    )
for _name, _change in {
    "set local": "SET LOCAL DateStyle TO 'ISO, MDY'",
    "set_config": "SELECT set_config('DateStyle', 'ISO, MDY', true)",
}.items():
    queries(f"back to the server's own in a block by {_name}", "SET DateStyle TO 'German'", "BEGIN", _change, "COMMIT")
    queries(
        f"back to the server's own in a string by {_name}", "SET DateStyle TO 'German'", f"BEGIN; {_change}", "COMMIT"
    )
    batches(
        f"back to the server's own in batches by {_name}",
        run("SET DateStyle TO 'German'"),
        run("BEGIN"),
        run(_change),
        run("SELECT 1"),
        run("SET LOCAL TimeZone TO 'Asia/Tokyo'"),
        run("COMMIT"),
    )
    batches(
        f"back to the server's own in a batch by {_name}",
        run("SET DateStyle TO 'German'"),
        run("BEGIN") + run(_change),
        run("COMMIT"),
    )
batches(
    "set_config in a batch that begins with a Close",
    run("SET TimeZone TO 'Asia/Tokyo'"),
    run("BEGIN"),
    run("SELECT 1") + run("SELECT 2"),
    c("p", "P") + run("SELECT set_config('work_mem', '5MB', true)"),
    run("COMMIT"),
)
for _name, _begin in {"": "SELECT 1", " on a server that is kept": "CREATE TEMP TABLE kept (i int)"}.items():
    script(
        f"reset behind set_config with parameters{_name}",
        q(_begin),
        run("SELECT set_config($1, $2, $3)", "IntervalStyle", "iso_8601", "false") + s,
        q("RESET IntervalStyle"),
        q("SHOW IntervalStyle"),
        q("SELECT set_config('IntervalStyle', 'iso_8601', false)"),
        run("SELECT set_config($1, $2, $3)", "DateStyle", "German, DMY", None) + s,
        q("SHOW DateStyle"),
        q("RESET ALL"),
        q("SHOW DateStyle"),
    )
for _name, _change in {
    "set": "SET DateStyle TO 'ISO, MDY'",
    "set local": "SET LOCAL DateStyle TO 'ISO, MDY'",
    "set and a savepoint": "SET DateStyle TO 'ISO, MDY'; SAVEPOINT a",
    "a savepoint and set": "SAVEPOINT a; SET DateStyle TO 'ISO, MDY'",
    "a savepoint and sets": "SET DateStyle TO 'ISO, MDY'; SAVEPOINT a; SET DateStyle TO 'German'",
}.items():
    queries(
        f"back to the server's own, and an error, by {_name}",
        "SET DateStyle TO 'German'",
        "BEGIN",
        _change,
        "SELECT 1/0",
        "SELECT 1",
        "ROLLBACK",
    )
script(
    "a name that is taken, in another encoding",
    p("SELECT 1", "a") + s,
    run("SELECT set_config($1, $2, $3)", "TimeZone", "Asia/Tokyo", "false") + p("SELECT 'é'", "a") + s,
)
queries(
    "chain behind set local in a string",
    "SET DateStyle TO 'German'",
    "BEGIN; SET LOCAL work_mem TO '3MB'; COMMIT AND CHAIN",
    "SHOW DateStyle",
    "COMMIT",
)
batches(
    "chain behind set local in a batch",
    run("SET DateStyle TO 'German'"),
    run("BEGIN") + run("SET LOCAL work_mem TO '3MB'") + run("COMMIT AND CHAIN"),
    run("SHOW DateStyle"),
    run("COMMIT"),
)
batches(
    "reset all right behind set",
    run("SET IntervalStyle TO 'sql_standard'"),
    run("RESET ALL"),
    run("SELECT 1"),
    run("SHOW IntervalStyle"),
)
queries(
    "reset right behind set",
    "SET DateStyle TO 'German'",
    "RESET DateStyle",
    "SELECT 1",
    "SHOW DateStyle",
)
batches(
    "describe the unnamed statement that set",
    run("SET default_transaction_isolation TO 'serializable'"),
    d("", "S") + b() + e(),
    run("SHOW default_transaction_isolation"),
)
batches(
    "describe an unnamed rollback behind a setting",
    p("SET default_transaction_isolation TO 'serializable'", "set"),
    p("ROLLBACK") + b(name="set") + e(),
    d("", "S") + b() + e(),
    run("SHOW default_transaction_isolation"),
)
queries(
    "set local behind chain",
    "SET DateStyle TO 'German'",
    "SELECT 1",
    "BEGIN",
    "COMMIT AND CHAIN",
    "SET LOCAL work_mem TO '3MB'",
    "SHOW DateStyle",
    "COMMIT",
)
queries(
    "chain behind another value than before",
    "SET DateStyle TO 'German'",
    "SELECT 1",
    "BEGIN",
    "SET DateStyle TO 'SQL, DMY'",
    "COMMIT AND CHAIN",
    "SET LOCAL DateStyle TO 'German'",
    "ROLLBACK AND CHAIN",
    "SHOW DateStyle",
    "COMMIT",
)
queries(
    "set local of something else in a block",
    "SET DateStyle TO 'German'",
    "BEGIN",
    "SELECT 1",
    "SET LOCAL TimeZone TO 'Asia/Tokyo'",
    "COMMIT",
)
queries(
    "set_config local of the encoding",
    "BEGIN",
    "SELECT set_config('client_encoding', 'LATIN1', true)",
    "COMMIT",
    "SELECT 'é'",
)
queries(
    "set local twice",
    "SET LOCAL TimeZone TO 'Asia/Tokyo'",
    "BEGIN; SET LOCAL TimeZone TO 'Asia/Tokyo'; COMMIT",
    "SHOW TimeZone",
)
batches(
    "set local in a batch",
    run("BEGIN") + run("SET LOCAL TimeZone TO 'Asia/Tokyo'") + run("COMMIT"),
    run("SHOW TimeZone"),
)
batches("a literal behind set", run(MIDNIGHT), run("SET TimeZone TO 'Asia/Tokyo'"), run(MIDNIGHT), run(MIDNIGHT))
batches(
    "a literal behind set local",
    run(MIDNIGHT),
    run("BEGIN"),
    run("SET LOCAL TimeZone TO 'Asia/Tokyo'") + run(MIDNIGHT),
    run(MIDNIGHT),
    run("COMMIT"),
    run(MIDNIGHT),
)
for _name in ("work_mem", "my.own"):
    queries(
        f"reset all behind set local {_name}",
        "BEGIN",
        f"SET LOCAL {_name} TO '3MB'",
        "RESET ALL",
        f"SHOW {_name}",
        "ROLLBACK",
    )
    batches(
        f"reset all behind set local {_name}, in batches",
        run("BEGIN"),
        run(f"SET LOCAL {_name} TO '3MB'"),
        run("RESET ALL") + run(f"SHOW {_name}"),
        run("ROLLBACK"),
    )
queries(
    "reset all behind set_config",
    "BEGIN",
    "SELECT set_config('work_mem', '3MB', true)",
    "RESET ALL; SHOW work_mem",
    "ROLLBACK",
)
script(
    "deallocate leaves settings alone",
    p("SELECT 1", "s1") + p("SELECT 1", "s2") + p("SELECT 1", "s3") + s,
    q("BEGIN"),
    q("SET LOCAL application_name TO 'job'"),
    q("DEALLOCATE s1"),
    run("DEALLOCATE s2") + s,
    q("DEALLOCATE ALL"),
    q("SHOW application_name"),
    q("ROLLBACK"),
)
ISOLATION = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
for _name, _first in {
    "set": run("SET LOCAL lock_timeout TO '1s'"),
    "show": run("SHOW lock_timeout"),
    "savepoint": run("SAVEPOINT a"),
    "lock": run("LOCK TABLE diff_plain"),
    "a parse": p("SET lock_timeout TO '1s'", "s"),
}.items():
    script(
        f"set transaction behind {_name} in a batch",
        q("BEGIN"),
        _first + s,
        q(ISOLATION),
        q("SHOW transaction_isolation"),
        q("ROLLBACK"),
    )
queries("no comma behind begin", "BEGIN, READ ONLY", "SELECT 1", "ROLLBACK")
queries("no space behind a level", "BEGIN ISOLATION LEVEL READ COMMITTEDREAD ONLY", "SELECT 1", "ROLLBACK")
queries(
    "a comma behind a level",
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SHOW transaction_read_only",
    "ROLLBACK",
)
script(
    "begin with a parameter",
    p("BEGIN", "", 23) + s,
    p("BEGIN", "", 23) + b("1") + e() + s,
    q("SELECT 1"),
    q("ROLLBACK"),
)
script(
    "settings of what must be alone",
    q("SET search_path TO pg_catalog; SET TimeZone TO 'Asia/Tokyo'"),
    q("VACUUM diff_plain"),
    run("VACUUM diff_plain") + s,
    q("SHOW TimeZone"),
    shared="no block",
    schema="no block",
)

# Protocol 3.2 and odd ends.
script("protocol 3.2", q("SELECT 1"), protocol=codes.PROTOCOL_3_2)
script(
    "function call in a block",
    q("BEGIN"),
    q("SELECT 1"),
    frame(codes.FUNCTION_CALL, (1370).to_bytes(4, "big") + b"\0\0" + b"\0\0" + b"\0\0"),
    q("ROLLBACK"),
)
script(
    "query behind messages without sync",
    run(INSERT) + q(COUNT),
    q("ROLLBACK"),
    shared="query without sync",
    schema="query without sync",
    database="query without sync",
)
