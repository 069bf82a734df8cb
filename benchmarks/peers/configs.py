"""Each peer's configuration: one thread that works, transaction pooling on 20 servers, SCRAM both ways, no TLS.

What is not said is as the peer has it by default. Nothing here starts or reads anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.database import DATABASE
from benchmarks.endpoints import BACKLOG, MAX_CLIENTS, POOL_SIZE, Ability, Role
from proxy.auth.scram import ScramVerifier
from proxy.cli.demo.postgres import HOST

_STATEMENTS: Final = 200
"""So many prepared statements are kept, where that is to be said."""

_WAIT_MS: Final = 60_000
"""So long may a client wait for a server: a flood shall be served late, not refused."""


@dataclass(frozen=True, slots=True)
class Front:
    """What a peer must know: where to listen, where PostgreSQL is, who logs in at both, and its own folder."""

    port: int
    postgres_port: int
    login: str
    password: str = field(repr=False)
    folder: Path


@dataclass(frozen=True, slots=True)
class Setup:
    """The files of a configuration by name, and how the program is started with them."""

    files: Mapping[str, str] = field(repr=False)
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy: its name in tables, its program, what it is called, and where its program says its version."""

    name: str
    program: str
    title: str
    version: str
    configure: Callable[[Front], Setup]
    role: Role = Role.POOLER
    version_option: str = "--version"
    oldest: tuple[int, ...] = ()
    lacks: frozenset[Ability] = frozenset()

    @property
    def variable(self) -> str:
        """The environment variable that names another program than the one on the path."""
        return f"GATEHOUSE_BENCH_{self.program.upper()}"


def _haproxy(front: Front) -> Setup:
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
    bind {HOST}:{front.port} backlog {BACKLOG}
    server postgres {HOST}:{front.postgres_port}
"""
    return Setup({"haproxy.cfg": config}, ("-db", "-f", str(front.folder / "haproxy.cfg")))


def _pgbouncer(front: Front) -> Setup:
    config = f"""
[databases]
{DATABASE} = host={HOST} port={front.postgres_port} dbname={DATABASE}
[pgbouncer]
listen_addr = {HOST}
listen_port = {front.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {front.folder / "users.txt"}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = {MAX_CLIENTS}
listen_backlog = {BACKLOG}
max_prepared_statements = {_STATEMENTS}
log_connections = 0
log_disconnections = 0
"""
    users = f'"{front.login}" "{front.password}"\n'
    return Setup({"pgbouncer.ini": config, "users.txt": users}, ("-q", str(front.folder / "pgbouncer.ini")))


def _pgcat(front: Front) -> Setup:
    # connect_timeout is also how long a client waits for a server.
    config = f"""
[general]
host = "{HOST}"
port = {front.port}
worker_threads = 1
connect_timeout = {_WAIT_MS}
enable_prometheus_exporter = false
log_client_connections = false
log_client_disconnections = false
admin_username = "admin"
admin_password = "{front.password}"

[pools.{DATABASE}]
pool_mode = "transaction"
default_role = "primary"
query_parser_enabled = false
prepared_statements_cache_size = {_STATEMENTS}

[pools.{DATABASE}.users.0]
username = "{front.login}"
password = "{front.password}"
pool_size = {POOL_SIZE}

[pools.{DATABASE}.shards.0]
servers = [["{HOST}", {front.postgres_port}, "primary"]]
database = "{DATABASE}"
"""
    return Setup({"pgcat.toml": config}, ("--log-level", "warn", str(front.folder / "pgcat.toml")))


def _pgdog(front: Front) -> Setup:
    config = f"""
[general]
host = "{HOST}"
port = {front.port}
workers = 1
pooler_mode = "transaction"
default_pool_size = {POOL_SIZE}
prepared_statements = "extended"
prepared_statements_limit = {_STATEMENTS}
auth_type = "scram"
checkout_timeout = {_WAIT_MS}
shutdown_timeout = 1000
log_connections = false
log_disconnections = false

[[databases]]
name = "{DATABASE}"
host = "{HOST}"
port = {front.postgres_port}
"""
    users = f"""
[[users]]
name = "{front.login}"
database = "{DATABASE}"
password = "{front.password}"
"""
    arguments = ("--config", str(front.folder / "pgdog.toml"), "--users", str(front.folder / "users.toml"))
    return Setup({"pgdog.toml": config, "users.toml": users}, arguments, {"RUST_LOG": "warn"})


def _odyssey(front: Front) -> Setup:
    # A verifier, because from a password Odyssey would make one at each login. pool_discard would ask the server for a
    # reset after each transaction, which no other does.
    config = f"""
workers 1
client_max {MAX_CLIENTS}
log_format "%p %t %l [%i %s] (%c) %m\\n"
log_to_stdout yes
log_config no
log_session no
log_stats no
listen {{
    host "{HOST}"
    port {front.port}
    backlog {BACKLOG}
    tls "disable"
}}
storage "postgres" {{
    type "remote"
    host "{HOST}"
    port {front.postgres_port}
    tls "disable"
}}
database "{DATABASE}" {{
    user "{front.login}" {{
        authentication "scram-sha-256"
        password "{ScramVerifier.from_password(front.password).text()}"
        storage "postgres"
        storage_password "{front.password}"
        pool "transaction"
        pool_size {POOL_SIZE}
        pool_timeout {_WAIT_MS}
        pool_reserve_prepared_statement yes
        pool_discard no
    }}
}}
"""
    return Setup({"odyssey.conf": config}, (str(front.folder / "odyssey.conf"),))


def _pg_doorman(front: Front) -> Setup:
    config = f"""
[general]
host = "{HOST}"
port = {front.port}
backlog = {BACKLOG}
worker_threads = 1
max_connections = {MAX_CLIENTS}
query_wait_timeout = {_WAIT_MS}
prepared_statements = true
prepared_statements_cache_size = {_STATEMENTS}
tls_mode = "disable"
server_tls_mode = "disable"
log_client_connections = false
log_client_disconnections = false
admin_username = "admin"
admin_password = "{front.password}"

[pools.{DATABASE}]
server_host = "{HOST}"
server_port = {front.postgres_port}
pool_mode = "transaction"

[pools.{DATABASE}.users.0]
username = "{front.login}"
password = "{ScramVerifier.from_password(front.password).text()}"
server_username = "{front.login}"
server_password = "{front.password}"
pool_size = {POOL_SIZE}
"""
    return Setup({"pg_doorman.toml": config}, ("--log-level", "warn", str(front.folder / "pg_doorman.toml")))


PEERS: Final = (
    Peer("haproxy (TCP)", "haproxy", "HAProxy", r"version (\S+)", _haproxy, Role.SPLICE, version_option="-v"),
    # Older ones know no prepared statements.
    Peer("pgbouncer", "pgbouncer", "PgBouncer", r"PgBouncer (\S+)", _pgbouncer, oldest=(1, 21)),
    Peer("pgcat", "pgcat", "PgCat", r"pgcat (\S+)", _pgcat, lacks=frozenset({Ability.SCRAM_LOGIN})),
    Peer("pgdog", "pgdog", "PgDog", r"PgDog v(\S+)", _pgdog),
    Peer("odyssey", "odyssey", "Odyssey", r"odyssey (\S+)", _odyssey),
    Peer("pg_doorman", "pg_doorman", "pg_doorman", r"pg_doorman (\S+)", _pg_doorman),
)
"""In the order of the tables. The first pooler that is there is what the others are compared with."""
