"""What is measured: the ways to PostgreSQL, straight, through a build of Gatehouse, and (`peers`) through others.

Each proxy is one process with one thread that works, 20 server connections where it pools, and SCRAM both ways.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import yaml

from benchmarks.database import DATABASE, OTHER_TENANT, TENANT, Database
from proxy.cli.demo.binaries import Account, LaunchError, clean_environment
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


class Ability(Enum):
    """What not everybody can do; the value says it of who can not."""

    SCRAM_LOGIN = "it takes no SCRAM from clients"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, as whom, and which process to watch; `pid` None is PostgreSQL itself.

    `start_s`: seconds from its start until it listened. `lacks`: what it is not asked for.
    """

    name: str
    role: Role
    port: int
    user: str
    password: str = field(repr=False)
    pid: int | None
    version: str
    start_s: float = 0.0
    lacks: frozenset[Ability] = frozenset()

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


def straight(database: Database) -> Endpoint:
    """PostgreSQL itself."""
    version = f"PostgreSQL {database.postgres.binaries.version}"
    return Endpoint(
        "direct", Role.DIRECT, database.postgres.port, database.login, database.login_password, None, version
    )


@contextmanager
def running_gatehouse(
    database: Database, name: str, command: Sequence[str], tenants_file: str | None = None
) -> Iterator[Endpoint]:
    """A Gatehouse with the tenants that every workload knows, and those of a file with this content."""
    port = free_port()
    write_file(database, name, "secret", database.login_password)
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
        config["tenants_file"] = str(write_file(database, name, "tenants.yaml", tenants_file))
    path = write_file(database, name, "gatehouse.yaml", yaml.safe_dump(config, sort_keys=False))
    timeout_s = START_TIMEOUT_S if tenants_file is None else LONG_START_TIMEOUT_S
    version = said_version([*command, "--version"], r"gatehouse (\S+)")
    began = time.monotonic()
    serve = [*command, "serve", "--config", str(path)]
    # As ourselves: other accounts may be unable to reach this interpreter.
    with running(database, name, serve, port, account=Account(), timeout_s=timeout_s) as pid:
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
def running(
    database: Database,
    name: str,
    command: Sequence[str],
    port: int,
    *,
    account: Account,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[int]:
    """A proxy that runs until the end, its output in a file; gives its process id. Raises `LaunchError`."""
    log_path = database.folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean_environment(environment),
            user=account.uid,
            group=account.uid,
            extra_groups=None if account.uid is None else [],
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


def write_file(database: Database, owner: str, name: str, content: str) -> Path:
    """Write a file that only PostgreSQL's account can read, in a folder for its owner."""
    folder = database.folder / owner
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / name
    path.write_text(content)
    database.account.give(folder)
    return path


def said_version(command: Sequence[str], pattern: str) -> str:
    """The version that a program says it is."""
    return read_version(subprocess.run(command, capture_output=True, text=True, timeout=20).stdout, pattern)


def read_version(said: str, pattern: str) -> str:
    """The version in what a program said of itself."""
    found = re.search(pattern, said)
    return found[1] if found else "of unknown version"
