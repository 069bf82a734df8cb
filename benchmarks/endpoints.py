"""The ways to PostgreSQL that are compared: straight, through Gatehouse (as often as there are builds), through peers.

Each proxy is one process with one thread of its own, 20 server connections where it pools, and SCRAM both ways.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import yaml

from benchmarks.database import DATABASE, OTHER_TENANT, TENANT, Database
from proxy.cli.demo.binaries import LaunchError, clean_environment
from proxy.cli.demo.postgres import HOST, free_port

POOL_SIZE: Final = 20
MAX_CLIENTS: Final = 12_000
BACKLOG: Final = 1024
GATEHOUSE_USER: Final = "app"
START_TIMEOUT_S: Final = 20.0
LONG_START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 10.0

PLACEMENT: Final = {"model": "shared", "cluster": "main", "database": DATABASE}
"""Where every tenant lives."""


class Role(Enum):
    """What stands between client and PostgreSQL."""

    GATEHOUSE = "gatehouse"
    POOLER = "pooler"
    SPLICE = "splice"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, as whom, and which process to watch; `pid` None is PostgreSQL itself.

    `start_s`: seconds from its start until it listened.
    """

    name: str
    role: Role
    port: int
    user: str
    password: str = field(repr=False)
    pid: int | None
    version: str
    start_s: float = 0.0

    @property
    def pools(self) -> bool:
        """Whether clients share server connections."""
        return self.role in (Role.GATEHOUSE, Role.POOLER)

    def user_of(self, tenant: str) -> str:
        """Who logs in for a tenant: peers know no tenants."""
        return f"{GATEHOUSE_USER}.{tenant}" if self.role is Role.GATEHOUSE else self.user

    def environment(self, user: str | None = None) -> dict[str, str]:
        """For libpq's programs: where and who, and neither TLS nor GSS, which not all of them do."""
        where = {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": user or self.user, "PGDATABASE": DATABASE}
        return clean_environment(
            {**where, "PGPASSWORD": self.password, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
        )


def find_program(name: str) -> str | None:
    """A peer's program: what `GATEHOUSE_BENCH_<NAME>` names, else what is on the path."""
    return os.environ.get(f"GATEHOUSE_BENCH_{name.upper()}") or shutil.which(name)


@contextmanager
def running_endpoints(database: Database, builds: Mapping[str, Sequence[str]]) -> Iterator[list[Endpoint]]:
    """Start everything there is; `builds` are the commands of Gatehouse's builds by name.

    Raises `LaunchError` if one does not start.
    """
    with ExitStack() as stack:
        found = [_direct(database)]
        if program := find_program("haproxy"):
            found.append(stack.enter_context(_haproxy(database, program)))
        if program := find_program("pgbouncer"):
            found.append(stack.enter_context(_pgbouncer(database, program)))
        for name, command in builds.items():
            found.append(stack.enter_context(running_gatehouse(database, name, command)))
        yield found


def _direct(database: Database) -> Endpoint:
    version = f"PostgreSQL {database.postgres.binaries.version}"
    return Endpoint(
        "direct", Role.DIRECT, database.postgres.port, database.login, database.login_password, None, version
    )


@contextmanager
def _haproxy(database: Database, program: str) -> Iterator[Endpoint]:
    port = free_port()
    config = f"""
global
    maxconn 5000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen postgres
    bind {HOST}:{port} backlog {BACKLOG}
    server postgres {HOST}:{database.postgres.port}
"""
    path = _file(database, "haproxy", "haproxy.cfg", config)
    with _running(database, "haproxy", [program, "-db", "-f", str(path)], port) as pid:
        version = _first_line([program, "-v"], r"version (\S+)")
        yield Endpoint(
            "haproxy (TCP)", Role.SPLICE, port, database.login, database.login_password, pid, f"HAProxy {version}"
        )


@contextmanager
def _pgbouncer(database: Database, program: str) -> Iterator[Endpoint]:
    version = _first_line([program, "--version"], r"PgBouncer (\S+)")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < (1, 21):
        raise LaunchError(
            f"{program} is PgBouncer {version}, which knows no prepared statements",
            "Name one of at least 1.21 with GATEHOUSE_BENCH_PGBOUNCER, or take this one off the path.",
        )
    port = free_port()
    users = _file(database, "pgbouncer", "users.txt", f'"{database.login}" "{database.login_password}"\n')
    config = f"""
[databases]
{DATABASE} = host={HOST} port={database.postgres.port} dbname={DATABASE}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = {MAX_CLIENTS}
listen_backlog = {BACKLOG}
max_prepared_statements = 200
log_connections = 0
log_disconnections = 0
"""
    path = _file(database, "pgbouncer", "pgbouncer.ini", config)
    with _running(database, "pgbouncer", [program, "-q", str(path)], port) as pid:
        yield Endpoint(
            "pgbouncer", Role.POOLER, port, database.login, database.login_password, pid, f"PgBouncer {version}"
        )


@contextmanager
def running_gatehouse(
    database: Database, name: str, command: Sequence[str], tenants_file: str | None = None
) -> Iterator[Endpoint]:
    """A Gatehouse with the tenants that every workload knows, and those of a file with this content."""
    port = free_port()
    _file(database, name, "secret", database.login_password)
    config = {
        "listen": {"host": HOST, "port": port, "backlog": BACKLOG},
        "http": {"host": HOST, "port": free_port()},
        "log": {"level": "warning", "connections": False},
        "limits": {"max_clients": MAX_CLIENTS},
        "pool": {"size": POOL_SIZE},
        "clusters": {
            "main": {
                "hosts": [f"{HOST}:{database.postgres.port}"],
                "user": database.login,
                "password": {"file": "secret"},
                "tls": {"mode": "disable"},
                "max_connections": 2 * POOL_SIZE,
            }
        },
        "users": {GATEHOUSE_USER: {"password": {"file": "secret"}, "tenants": "*"}},
        "tenants": {tenant: {"placement": PLACEMENT} for tenant in (TENANT, OTHER_TENANT)},
    }
    if tenants_file is not None:
        config["tenants_file"] = str(_file(database, name, "tenants.yaml", tenants_file))
    path = _file(database, name, "gatehouse.yaml", yaml.safe_dump(config, sort_keys=False))
    timeout_s = START_TIMEOUT_S if tenants_file is None else LONG_START_TIMEOUT_S
    version = _first_line([*command, "--version"], r"gatehouse (\S+)")
    began = time.monotonic()
    with _running(database, name, [*command, "serve", "--config", str(path)], port, timeout_s) as pid:
        start_s = time.monotonic() - began
        kind = "compiled" if _is_compiled(pid) else "plain Python"
        version = f"Gatehouse {version}, {kind}"
        user = f"{GATEHOUSE_USER}.{TENANT}"
        yield Endpoint(name, Role.GATEHOUSE, port, user, database.login_password, pid, version, start_s)


def _is_compiled(pid: int) -> bool:
    """Asked of the process itself, because what an installation says of itself may be about another one."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return "__mypyc." in maps and "/proxy/" in maps


@contextmanager
def _running(
    database: Database, name: str, command: Sequence[str], port: int, timeout_s: float = START_TIMEOUT_S
) -> Iterator[int]:
    """A proxy that runs as PostgreSQL's account does (PgBouncer refuses root) until the end; gives its process id."""
    log_path = database.folder / f"{name}.log"
    is_root = database.account.uid is not None and "serve" not in command
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean_environment(),
            user=database.account.uid if is_root else None,
            group=database.account.uid if is_root else None,
            extra_groups=[] if is_root else None,
        )
    try:
        _wait_until_it_listens(process, port, name, log_path, timeout_s)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_listens(
    process: subprocess.Popen[bytes], port: int, name: str, log_path: Path, timeout_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.01)
    said = "\n".join(log_path.read_text(errors="replace").splitlines()[-8:])
    raise LaunchError(f"{name} did not start: {said or 'it said nothing'}")


def _file(database: Database, owner: str, name: str, content: str) -> Path:
    folder = database.folder / owner
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    path.write_text(content)
    database.account.give(folder)
    return path


def _first_line(command: Sequence[str], pattern: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    found = re.search(pattern, done.stdout)
    return found[1] if found else "of unknown version"
