"""What is measured: pgbench scripts, the protocol they are sent in, and how many clients send them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.endpoints import Role

SCRIPTS: Final = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of comparison.

    `gatehouse_script` is what Gatehouse's clients send when it differs: they need not say which tenant they are. `idle`
    clients are logged in and silent meanwhile; `reconnects` logs in anew for every transaction.
    """

    name: str
    title: str
    protocol: str
    script: str
    gatehouse_script: str | None = None
    clients: int = 16
    idle: int = 0
    reconnects: bool = False

    def script_for(self, role: Role) -> Path:
        """The pgbench script that clients of such an endpoint run."""
        own = self.gatehouse_script if role is Role.GATEHOUSE else None
        return SCRIPTS / f"{own or self.script}.sql"


def _by_key(name: str, title: str, protocol: str, clients: int = 16) -> Workload:
    return Workload(name, title, protocol, "select", clients=clients)


def _tenant(name: str, title: str, script: str) -> Workload:
    return Workload(name, title, "prepared", script, gatehouse_script="tenant_by_proxy")


def _idle(count: int) -> Workload:
    title = f"SELECT by key, prepared, 16 clients, while {count:,} others are idle"
    return Workload(f"idle-{count}", title, "prepared", "select", idle=count)


WORKLOADS: Final = (
    _by_key("simple", "SELECT by key, simple protocol, 16 clients", "simple"),
    _by_key("extended", "SELECT by key, extended protocol, 16 clients", "extended"),
    _by_key("prepared", "SELECT by key, prepared, 16 clients", "prepared"),
    _by_key("prepared-1", "SELECT by key, prepared, 1 client (latency)", "prepared", clients=1),
    _tenant("tenant-4", "one tenant's row: Gatehouse 1 statement, the others 4 in turn", "tenant_by_application"),
    _tenant("tenant-pipelined", "one tenant's row: Gatehouse 1 statement, the others 4 pipelined", "tenant_pipelined"),
    Workload("tpcb", "BEGIN, UPDATE, SELECT, INSERT, END, prepared, 16 clients", "prepared", "tpcb_like"),
    Workload("rows-10kb", "one row of 10 kB by key, prepared, 16 clients", "prepared", "rows_10kb"),
    Workload("connect", "log in with SCRAM, SELECT by key, leave; 16 at a time", "simple", "select", reconnects=True),
    _idle(10),
    _idle(100),
    _idle(1000),
)
