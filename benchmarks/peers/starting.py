"""Find the peers' programs and start what there is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.database import Database
from benchmarks.endpoints import Endpoint, running, said_version, write_file
from benchmarks.peers.configs import PEERS, Front, Peer
from proxy.cli.demo.binaries import LaunchError
from proxy.cli.demo.postgres import free_port


def find_program(peer: Peer) -> str | None:
    """A peer's program: what its variable names, else what is on the path."""
    return os.environ.get(peer.variable) or shutil.which(peer.program)


def missing_peers() -> list[Peer]:
    """Those that can not be measured here."""
    return [peer for peer in PEERS if not find_program(peer)]


@contextmanager
def running_peers(database: Database) -> Iterator[list[Endpoint]]:
    """Start all that are here. Raises `LaunchError` if one does not start."""
    with ExitStack() as stack:
        found = [(peer, program) for peer in PEERS if (program := find_program(peer))]
        yield [stack.enter_context(_running(database, peer, program)) for peer, program in found]


@contextmanager
def _running(database: Database, peer: Peer, program: str) -> Iterator[Endpoint]:
    version = said_version([program, peer.version_option], peer.version)
    check_version(peer, program, version)
    port, login, password = free_port(), database.login, database.login_password
    setup = peer.configure(Front(port, database.postgres.port, login, password, database.folder / peer.program))
    for name, content in setup.files.items():
        write_file(database, peer.program, name, content)
    command = [program, *setup.arguments]
    # As PostgreSQL's account, because PgBouncer refuses root.
    with running(database, peer.program, command, port, account=database.account, environment=setup.environment) as pid:
        yield Endpoint(peer.name, peer.role, port, login, password, pid, f"{peer.title} {version}", lacks=peer.lacks)


def check_version(peer: Peer, program: str, version: str) -> None:
    """Raises `LaunchError` for a version that can not take part."""
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < peer.oldest:
        at_least = ".".join(map(str, peer.oldest))
        raise LaunchError(
            f"{program} is {peer.title} {version}, which knows no prepared statements",
            f"Name one of at least {at_least} with {peer.variable}, or take this one off the path.",
        )
