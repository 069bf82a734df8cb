"""The command: what it prints, and which exit code says what."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import proxy as package
from proxy.cli import app
from proxy.cli.demo.postgres import free_port
from tests.support import PATIENCE_S
from tests.support.compiled import IS_COMPILED
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest


def gatehouse(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, list(arguments))


def spawned(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)


@pytest.fixture
def config(pg18: TestCluster, tmp_path: Path) -> ProxyUnderTest:
    """A good configuration in a file; nothing runs."""
    return ProxyUnderTest(pg18, tmp_path, {})


def test_version() -> None:
    done = spawned("--version")
    kind = " (compiled)" if IS_COMPILED else ""
    assert (done.returncode, done.stdout) == (0, f"gatehouse {package.__version__}{kind}\n")


def test_without_a_command_the_help_is_shown() -> None:
    done = gatehouse()
    assert "serve" in done.output
    assert "check" in done.output


def test_check_accepts_a_good_file(config: ProxyUnderTest) -> None:
    done = gatehouse("check", "--config", str(config.config_path))
    assert done.exit_code == 0
    assert "1 cluster, 3 users, 4 tenants (2 shared, 1 schema, 1 database)" in done.output


def test_check_lists_all_problems_with_their_places(config: ProxyUnderTest) -> None:
    config.config_path.write_text(config.config_path.read_text() + "nonsense: 1\npool: {size: many}\n")
    done = gatehouse("check", "--config", str(config.config_path))
    assert done.exit_code == 2
    lines = config.config_path.read_text().count("\n")
    for number in (lines - 1, lines):
        assert f"gatehouse.yaml:{number}:" in done.output


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = gatehouse("check", "--config", str(tmp_path / "nowhere.yaml"))
    assert done.exit_code == 2
    assert "nowhere.yaml" in done.output


def test_check_connects_to_every_cluster(config: ProxyUnderTest) -> None:
    done = gatehouse("check", "--config", str(config.config_path), "--connect")
    assert done.exit_code == 0
    assert f"OK: main 127.0.0.1:{config.cluster.port}: database saas, PostgreSQL 18" in done.output
    assert "database tenant_initech" in done.output


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hosts": ["127.0.0.1:1"]}, "could not connect to the database server"),
        ({"password": {"file": "app.secret"}}, "password authentication failed"),
        ({"password": {"file": "gone.secret"}}, "gone.secret can not be read: No such file or directory"),
    ],
)
def test_check_reports_clusters_that_do_not_let_it_in(
    config: ProxyUnderTest, change: dict[str, Any], reason: str
) -> None:
    config.write({"clusters": {"main": change}})
    done = gatehouse("check", "--config", str(config.config_path), "--connect")
    assert done.exit_code == 1
    assert "FAILED: main 127.0.0.1:" in done.output
    assert reason in done.output
    assert config.password not in done.output


def test_check_looks_for_the_schemas_and_roles_of_tenants(config: ProxyUnderTest) -> None:
    def place(schema: str, **role: str) -> dict[str, Any]:
        return {"placement": {"model": "schema", "cluster": "main", "database": "saas", "schema": schema, **role}}

    tenants = {
        "globex": None,
        "roleless": place("tenant_globex"),
        "gone": place("tenant_gone"),
        "other": place("tenant_other", role="tenant_other_role"),
        "owner": place("tenant_owner", role="gatehouse_owner"),
    }
    config.write({"tenants": tenants, "users": {"globex": None}})
    done = gatehouse("check", "--config", str(config.config_path), "--connect")
    assert done.exit_code == 1
    where = f"FAILED: main 127.0.0.1:{config.cluster.port}: database saas: tenant"
    assert f'{where} "roleless": "gatehouse" has no USAGE on the schema "tenant_globex"' in done.output
    assert f'{where} "gone": the schema "tenant_gone" does not exist' in done.output
    assert f'{where} "other": the role "tenant_other_role" does not exist' in done.output
    assert f'{where} "owner": the login "gatehouse" can not become the role "gatehouse_owner"' in done.output
    assert done.output.count("FAILED") == 4


def test_serve_refuses_a_bad_file(config: ProxyUnderTest) -> None:
    config.config_path.write_text("clusters: {main: {hosts: [127.0.0.1:5432]}}\nlisten: {port: 70000}\n")
    done = gatehouse("serve", "--config", str(config.config_path))
    assert done.exit_code == 2
    assert "gatehouse.yaml:1:" in done.output
    assert "gatehouse.yaml:2:" in done.output


def test_serve_refuses_a_secret_that_is_not_there(config: ProxyUnderTest) -> None:
    (config.folder / "app.secret").unlink()
    done = spawned("serve", "--config", str(config.config_path))
    assert done.returncode == 2
    assert 'password of user "app": the secret file' in done.stderr
    assert "app.secret can not be read: No such file or directory" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ("listen", "can not listen on 127.0.0.1:{port}: address already in use"),
        ("http", "the HTTP endpoint can not listen on 127.0.0.1:{port}: address already in use"),
    ],
)
def test_serve_says_which_port_is_taken(config: ProxyUnderTest, section: str, text: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        config.write({section: {"port": port}})
        done = spawned("serve", "--config", str(config.config_path))
    assert done.returncode == 2
    assert text.format(port=port) in done.stderr
    assert f"{section}.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_says_what_is_wrong_with_the_socket_directory(config: ProxyUnderTest) -> None:
    config.write({"listen": {"unix_socket_dir": str(config.folder / "nowhere")}})
    done = spawned("serve", "--config", str(config.config_path))
    assert done.returncode == 2
    assert "no such file or directory" in done.stderr
    assert "listen.unix_socket_dir" in done.stderr
