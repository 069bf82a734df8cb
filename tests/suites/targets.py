"""Where a suite connects: PostgreSQL itself, Gatehouse, and PgBouncer if it is there; to a fresh database each time.

Gatehouse stands there as it would for a tenant with a database of its own: a pool of several servers, defaults for the
rest. The role is the same everywhere, and owns the database.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from proxy.cli.demo.binaries import Account, clean_environment
from proxy.cli.demo.postgres import HOST, free_port
from tests.support.postgres import TestCluster
from tests.support.serve import served_proxy

DATABASE: Final = "suite"
TENANT: Final = "suite"
START_TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and as whom."""

    port: int
    user: str
    password: str = field(repr=False)
    host: str = HOST
    database: str = DATABASE


@dataclass(frozen=True, slots=True)
class Target:
    """One column of the table: its title, and how to get there."""

    name: str
    opened: Callable[[TestCluster], AbstractContextManager[Endpoint]]


def direct() -> Target:
    """PostgreSQL itself."""

    @contextmanager
    def opened(cluster: TestCluster) -> Iterator[Endpoint]:
        with _fresh_database(cluster):
            yield Endpoint(cluster.port, cluster.login, cluster.login_password)

    return Target("directly", opened)


def gatehouse(mode: str = "transaction") -> Target:
    """`gatehouse serve` with its defaults, and a login that belongs to one tenant."""
    extra = {
        **({} if mode == "transaction" else {"pool": {"mode": mode}}),
        "users": {TENANT: {"password": {"file": "app.secret"}, "tenants": [TENANT]}},
        "tenants": {TENANT: {"placement": {"model": "database", "cluster": "main", "database": DATABASE}}},
    }

    @contextmanager
    def opened(cluster: TestCluster) -> Iterator[Endpoint]:
        with _fresh_database(cluster), served_proxy(cluster, extra) as proxy:
            yield Endpoint(proxy.port, TENANT, proxy.password)

    return Target("Gatehouse" if mode == "transaction" else f"Gatehouse in {mode} mode", opened)


def find_pgbouncer(named: str | None) -> tuple[str, str] | None:
    """Program and version of a PgBouncer that knows prepared statements (1.21), or None."""
    program = named or shutil.which("pgbouncer")
    if program is None:
        return None
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20)
    found = re.search(r"PgBouncer (\d+)\.(\d+)\S*", done.stdout)
    if found is None or (int(found[1]), int(found[2])) < (1, 21):
        return None
    return program, found[0].removeprefix("PgBouncer ")


def pgbouncer(program: str, version: str) -> Target:
    """PgBouncer in transaction mode, with as many servers."""

    @contextmanager
    def opened(cluster: TestCluster) -> Iterator[Endpoint]:
        with _fresh_database(cluster), _running_pgbouncer(cluster, program) as port:
            yield Endpoint(port, cluster.login, cluster.login_password)

    return Target(f"PgBouncer {version}", opened)


@contextmanager
def _fresh_database(cluster: TestCluster) -> Iterator[None]:
    cluster.sql(f"CREATE DATABASE {DATABASE} OWNER {cluster.login}")
    try:
        yield
    finally:
        cluster.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")


@contextmanager
def _running_pgbouncer(cluster: TestCluster, program: str) -> Iterator[int]:
    account = Account.suitable()
    port = free_port()
    # PgBouncer refuses to run as root, so its files are those of the account that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="gatehouse-pgbouncer-") as name:
        folder = Path(name)
        users = folder / "users.txt"
        users.write_text(f'"{cluster.login}" "{cluster.login_password}"\n')
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{DATABASE} = host={cluster.host} port={cluster.port} dbname={DATABASE}\n"
            f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 20\n"
            "max_prepared_statements = 200\nignore_startup_parameters = extra_float_digits\n"
        )
        for path in (folder, users, config):
            account.give(path)
        log = folder / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [program, str(config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=clean_environment(),
                user=account.uid,
                group=account.uid,
                extra_groups=None if account.uid is None else [],
            )
        try:
            _wait_until_it_listens(process, port, log)
            yield port
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"PgBouncer did not start: {log.read_text(errors='replace')[-800:]}")
