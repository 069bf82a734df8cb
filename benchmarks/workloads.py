"""What is measured, in the order of the tables."""

from __future__ import annotations

from typing import Final

from benchmarks.measures.copying import Copying
from benchmarks.measures.logins import Connecting, ConnectingByLibpq, Storm
from benchmarks.measures.neighbours import Neighbours
from benchmarks.measures.tenants import Tenants
from benchmarks.measures.transactions import AmongIdleClients, Transactions
from benchmarks.pgbench import Job
from benchmarks.site import Workload

_PREPARED: Final = Job("select")
_TENANT: Final = "one tenant's row: Gatehouse 1 statement, the others 4"


def all_workloads() -> list[Workload]:
    """Made anew, because they keep what they find out between opening and measuring."""
    return [
        Transactions("simple", "SELECT by key, simple protocol, 16 clients", Job("select", "simple")),
        Transactions("extended", "SELECT by key, extended protocol, 16 clients", Job("select", "extended")),
        Transactions("prepared", "SELECT by key, prepared, 16 clients", _PREPARED),
        Transactions("prepared-1", "SELECT by key, prepared, 1 client (latency)", Job("select", clients=1)),
        Transactions("tenant-4", f"{_TENANT} in turn", Job("tenant_by_application"), "tenant_by_proxy"),
        Transactions("tenant-pipelined", f"{_TENANT} pipelined", Job("tenant_pipelined"), "tenant_by_proxy"),
        Transactions("block-3", "BEGIN, three SELECTs, COMMIT, prepared, 16 clients", Job("block_of_three")),
        Transactions("tpcb", "BEGIN, UPDATE, SELECT, INSERT, END, prepared, 16 clients", Job("tpcb_like")),
        Transactions("rows-10kb", "one row of 10 kB by key, prepared, 16 clients", Job("rows_10kb")),
        Copying("copy-in", "COPY FROM STDIN, 1 client", is_in=True),
        Copying("copy-out", "COPY TO STDOUT, 1 client", is_in=False),
        Connecting(),
        ConnectingByLibpq(),
        Storm(),
        *(AmongIdleClients(count, _PREPARED, is_long=count > 1000) for count in (10, 100, 1000, 10_000)),
        *(Tenants(count, is_long=count > 10_000) for count in (1, 100, 10_000, 100_000)),
        Neighbours(),
    ]
