"""PostgreSQL's own programs through Gatehouse: psql, pgbench, pg_dump and pg_restore."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from proxy.cli.demo.binaries import clean_environment
from tests.drivers.places import SAMPLES, Place
from tests.support import PATIENCE_S
from tests.support.proxy import ProxyUnderTest


def command(place: Place, program: str) -> str:
    return str(place.cluster.postgres.binaries.program(program))


def run(
    place: Place, program: str, *arguments: str, script: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, through Gatehouse unless `env` says otherwise."""
    return subprocess.run(
        [command(place, program), *arguments],
        input=script,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=clean_environment(dict(env or place.environment())),
    )


def psql(place: Place, *arguments: str, script: str = "", env: Mapping[str, str] | None = None) -> str:
    """What psql prints, errors and all."""
    done = run(place, "psql", "-X", "-A", "-t", *arguments, script=script, env=env)
    return done.stdout + done.stderr


def items(place: Place, text: str) -> bool:
    return set(text.split("\n")) - {""} == place.items


def test_psql_shows_a_tenant_its_rows(place: Place) -> None:
    assert items(place, psql(place, "-c", "SELECT item FROM orders"))
    assert items(place, psql(place, script="SELECT item FROM orders WHERE amount > $1 \\bind 0 \\g\n"))


def test_psql_describes_what_is_there(place: Place) -> None:
    for arguments in (
        ["-c", "\\d"],
        ["-c", "\\dt"],
        ["-c", "\\d orders"],
        ["-c", "\\d+ orders"],
        ["-c", "\\dn"],
        ["-c", "\\dT"],
    ):
        through = psql(place, *arguments)
        assert through == psql(place, *arguments, env=place.environment_directly())
        assert "ERROR" not in through
    assert "orders" in psql(place, "-c", "\\dt")


def test_psql_copies_in_and_out(place: Place, loads: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = "".join(f'{number},"line, {number}"\n' for number in range(5000))
    source.write_text(lines)
    assert psql(place, "-c", f"\\copy loads (id, body) FROM '{source}' CSV") == "COPY 5000\n"
    copied = psql(place, "-c", f"\\copy (SELECT id, body FROM loads ORDER BY id) TO '{target}' CSV")
    assert copied == "COPY 5000\n"
    assert target.read_text() == lines
    assert (
        psql(place, script="COPY loads (id, body) FROM STDIN;\n1\tx\n\\.\nSELECT count(*) FROM loads;\n")
        == "COPY 1\n5001\n"
    )
    assert "invalid input syntax" in psql(place, script="COPY loads (id) FROM STDIN;\nx\n\\.\n")


def test_psql_watches(place: Place) -> None:
    shown = psql(place, script="SELECT count(*) FROM orders \\watch interval=0.01 count=3\n")
    assert re.findall(r"^\d+$", shown, re.MULTILINE) == [str(len(place.items))] * 3


def test_psql_runs_several_statements_in_one_string(place: Place, notes: str) -> None:
    assert psql(place, "-c", "INSERT INTO notes (id) VALUES (1); SELECT id FROM notes") == "INSERT 0 1\n1\n"
    failed = psql(place, "-c", "INSERT INTO notes (id) VALUES (2); SELECT 1/0")
    assert "division by zero" in failed
    assert psql(place, "-c", "SELECT id FROM notes") == "1\n"


def test_psql_runs_a_script_in_one_transaction_or_not_at_all(place: Place, notes: str) -> None:
    script = "INSERT INTO notes (id) VALUES (1);\nSAVEPOINT s;\nINSERT INTO notes (id) VALUES (2);\nROLLBACK TO s;\n"
    run(place, "psql", "-X", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-", script=script)
    assert psql(place, "-c", "SELECT id FROM notes") == "1\n"
    run(place, "psql", "-X", "-1", "-v", "ON_ERROR_STOP=1", "-f", "-", script=script + "SELECT nope;\n")
    assert psql(place, "-c", "SELECT id FROM notes") == "1\n"


def test_psql_variables_settings_and_conditions(place: Place) -> None:
    script = """
    SET my.value TO 'kept';
    SELECT count(*) AS n, count(*) > 0 AS any FROM orders \\gset
    \\if :any
    SELECT :'who' || :n || current_setting('my.value');
    \\endif
    \\set AUTOCOMMIT off
    SELECT 1;
    ROLLBACK;
    \\encoding LATIN1
    \\echo :ENCODING
    \\unset FETCH_COUNT
    \\set FETCH_COUNT 2
    SELECT generate_series(1, 5);
    """
    shown = psql(place, "-q", "-v", "who=me", script=script)
    assert shown.split() == [f"me{len(place.items)}kept", "1", "LATIN1", *"12345"]


def test_psql_points_at_errors(place: Place) -> None:
    for text in (
        "SELECT nope FROM orders",
        "SELECT 'ä', nope",
        "SELECT 1; SELEC 2",
        "SET work_mem TO '1MB'; SELECT 1 FROM",
    ):
        through = psql(place, "-c", text)
        assert through == psql(place, "-c", text, env=place.environment_directly())
        assert "^" in through


def test_an_interrupt_of_psql_cancels_its_statement(place: Place) -> None:
    process = subprocess.Popen(
        [command(place, "psql"), "-X", "-A", "-t"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(place.environment()),
    )
    assert process.stdin is not None
    process.stdin.write("SELECT pg_sleep(32);\n")
    process.stdin.flush()
    try:
        place.wait_until_it_runs("SELECT pg_sleep(32);")
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert shown == "Cancel request sent\nERROR:  canceling statement due to user request\n"


@pytest.fixture(scope="module")
def bench_tables(gatehouse: ProxyUnderTest) -> None:
    """pgbench's tables where each of the tenants finds them."""
    acme = Place(SAMPLES["acme"], gatehouse)
    for name, schema in (("acme", "public"), ("globex", "tenant_globex"), ("initech", "public")):
        place = Place(SAMPLES[name], gatehouse)
        superuser = {
            "PGHOST": place.cluster.host,
            "PGPORT": str(place.cluster.port),
            "PGUSER": place.cluster.superuser,
            "PGPASSWORD": place.cluster.superuser_password,
            "PGDATABASE": place.tenant.database,
            "PGOPTIONS": f"-c search_path={schema}",
        }
        done = run(acme, "pgbench", "-i", "-q", "--partitions=0", env=superuser)
        assert done.returncode == 0, done.stderr
        tables = ", ".join(f"{schema}.pgbench_{table}" for table in ("accounts", "branches", "tellers", "history"))
        place.cluster.sql(f"GRANT ALL ON {tables} TO {place.tenant.role or 'gatehouse'}", place.tenant.database)


# A thread of pgbench waits for PQprepare with all of its clients, those that hold a server too: so one client to a thread.
CROWD = ("-c", "8", "-j", "8")


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_runs_without_errors(place: Place, bench_tables: None, mode: str) -> None:
    done = run(place, "pgbench", "-n", "-M", mode, *CROWD, "-t", "40", "--max-tries=1")
    assert done.returncode == 0, done.stderr
    assert "number of transactions actually processed: 320/320" in done.stdout
    assert "number of failed transactions: 0" in done.stdout


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_runs_a_tenants_own_script(place: Place, mode: str, tmp_path: Path) -> None:
    pipeline = "" if mode == "simple" else "\\startpipeline\nSELECT 1;\nSELECT :n + 1;\n\\endpipeline\n"
    script = tmp_path / "own.sql"
    script.write_text(
        f"""
        \\set n random(1, 100)
        SELECT count(*) AS c FROM orders WHERE amount > :n - 101 \\gset
        \\if :c <> {len(place.items)}
        SELECT 1 / 0;
        \\endif
        BEGIN;
        SET LOCAL work_mem TO '1MB';
        INSERT INTO notes (id) VALUES (:n);
        SELECT count(*) FROM notes WHERE id = :n;
        ROLLBACK;
        {pipeline}
        """
    )
    done = run(place, "pgbench", "-n", "-M", mode, *CROWD, "-t", "25", "-f", str(script))
    assert done.returncode == 0, done.stderr
    assert "number of transactions actually processed: 200/200" in done.stdout


def dump(place: Place, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = run(place, "pg_dump", "--no-owner", "--no-privileges", *arguments, env=env)
    assert done.returncode == 0, done.stderr
    # The keys of \restrict are random, and so is the name of the database that the client gave.
    return re.sub(r"^\\(un)?restrict .*$", "", done.stdout, flags=re.MULTILINE)


TABLES = ("-t", "orders", "-t", "customers")


def test_pg_dump_gives_what_it_gives_directly(place: Place) -> None:
    arguments = [*TABLES, "--inserts", "--enable-row-security"]
    through = dump(place, *arguments)
    assert through == dump(place, *arguments, env=place.environment_directly())
    assert all(item in through for item in place.items)
    others = {item for tenant in SAMPLES.values() for item in tenant.items} - place.items
    assert not any(f"'{item}'" in through for item in others)


def test_a_dump_is_restored_for_another_tenant(gatehouse: ProxyUnderTest) -> None:
    globex, initech = (Place(SAMPLES[name], gatehouse) for name in ("globex", "initech"))
    text = dump(globex, "--data-only", "-t", "orders", "--exclude-table-data=*customers")
    assert "COPY tenant_globex.orders" in text
    moved = text.replace("tenant_globex.orders", "moved_orders")
    moved = re.sub(r"^SELECT pg_catalog.setval.*$", "", moved, flags=re.MULTILINE)
    moved = re.sub(r"^SELECT pg_catalog.set_config\('search_path'.*$", "", moved, flags=re.MULTILINE)
    try:
        psql(initech, "-c", "CREATE TABLE moved_orders (id bigint, item text, amount numeric)")
        shown = run(initech, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", script=moved)
        assert shown.returncode == 0, shown.stderr
        assert items(globex, psql(initech, "-c", "SELECT item FROM moved_orders"))
    finally:
        psql(initech, "-c", "DROP TABLE moved_orders")


_ARCHIVED = """
CREATE TYPE archived_kind AS ENUM ('oak', 'steel');
CREATE TABLE archived_shelves (id serial PRIMARY KEY, label text UNIQUE, kind archived_kind);
CREATE TABLE archived_binders (id int, shelf int REFERENCES archived_shelves, body text);
CREATE INDEX archived_body ON archived_binders (body);
COMMENT ON TABLE archived_binders IS 'it''s a test';
INSERT INTO archived_shelves (label, kind) VALUES ('first', 'oak'), (E'sec\\ond', NULL);
INSERT INTO archived_binders SELECT n, n % 2 + 1, 'binder' || n FROM generate_series(1, 3000) AS n
"""
_DROP_ARCHIVED = "DROP TABLE IF EXISTS archived_binders, archived_shelves; DROP TYPE IF EXISTS archived_kind"


@pytest.fixture
def archived(place: Place) -> Iterator[None]:
    """Tables, a type, an index and rows that the tenant made itself."""
    psql(place, "-q", script="SET client_min_messages TO error;" + _DROP_ARCHIVED)
    assert "ERROR" not in psql(place, "-q", "-v", "ON_ERROR_STOP=1", "-c", _ARCHIVED)
    yield
    psql(place, "-q", "-c", _DROP_ARCHIVED)


def described(place: Place) -> str:
    """All there is to see of them."""
    rows = "SELECT s.*, b.* FROM archived_shelves s JOIN archived_binders b ON b.shelf = s.id ORDER BY b.id"
    return psql(place, "-c", "\\d+ archived_*", "-c", rows, "-c", "\\dd archived_binders")


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("custom", ()),
        ("custom", ("--clean", "--if-exists")),
        ("custom", ("--single-transaction", "--clean", "--if-exists")),
        ("directory", ("--jobs=2", "--clean", "--if-exists")),
        ("tar", ()),
    ],
)
def test_pg_restore_brings_back_what_pg_dump_took(
    place: Place, archived: None, tmp_path: Path, form: str, options: tuple[str, ...]
) -> None:
    before = described(place)
    assert "binder3000" in before
    archive = str(tmp_path / "archive")
    # The type of a tenant in a schema comes with the schema alone; elsewhere everybody's tables would come, too.
    what = ["--table=archived_*"]
    dumped = run(place, "pg_dump", f"--format={form}", f"--file={archive}", "--no-owner", "--no-privileges", *what)
    assert dumped.returncode == 0, dumped.stderr
    tables = "DROP TABLE archived_binders, archived_shelves"
    if "--clean" not in options:
        psql(place, "-q", "-c", tables)
        assert "binder3000" not in described(place)
    else:
        psql(place, "-q", "-c", "DELETE FROM archived_binders")
    restored = run(
        place, "pg_restore", "--dbname=any", "--exit-on-error", "--no-owner", "--no-privileges", *options, archive
    )
    assert restored.returncode == 0, restored.stderr
    assert described(place) == before


def test_pg_dump_takes_a_whole_tenant_with_parallel_jobs(gatehouse: ProxyUnderTest, tmp_path: Path) -> None:
    place = Place(SAMPLES["initech"], gatehouse)
    # Its workers take up one exported snapshot.
    dumped = run(place, "pg_dump", "--format=directory", "--jobs=2", f"--file={tmp_path / 'all'}")
    assert dumped.returncode == 0, dumped.stderr
    listed = run(place, "pg_restore", "--list", str(tmp_path / "all")).stdout
    assert "TABLE DATA public orders" in listed


def interrupted(place: Place, env: dict[str, str]) -> str:
    """What psql prints when Ctrl-C ends its \\watch."""
    process = subprocess.Popen(
        [command(place, "psql"), "-X", "-A", "-t"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment(env),
    )
    assert process.stdin is not None
    process.stdin.write("SELECT pg_sleep(33) \\watch 0.01\n")
    process.stdin.flush()
    try:
        place.wait_until_it_runs("SELECT pg_sleep(33) ")
        process.send_signal(signal.SIGINT)
        shown, _ = process.communicate("SELECT count(*) FROM orders;\n", timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    return shown


def test_an_interrupt_ends_psqls_watch(place: Place) -> None:
    shown = interrupted(place, place.environment())
    assert "canceling statement due to user request" in shown
    assert shown == interrupted(place, place.environment_directly())
