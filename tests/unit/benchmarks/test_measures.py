"""What a measure does when one of those measured does not play along."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

import pytest

from benchmarks import pgbench
from benchmarks.database import Database
from benchmarks.endpoints import Endpoint, Role
from benchmarks.load.process import LoadFailed
from benchmarks.measures import transactions
from benchmarks.measures.transactions import AmongIdleClients
from benchmarks.pgbench import Job
from benchmarks.rounds import Plan, measure_workload
from benchmarks.site import Site

FULL = Endpoint("full", Role.POOLER, 1, "login", "secret", 1, "1")
OPEN = Endpoint("open", Role.POOLER, 2, "login", "secret", 2, "2")


class IdleClients:
    """Stands for the load process: nobody gets into `full`."""

    def __init__(self, endpoint: Endpoint, task: str, **arguments: object) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def hear(self) -> dict[str, Any]:
        if self._endpoint is FULL:
            raise LoadFailed("full: 53300: no more connections allowed")
        return {}


def test_who_does_not_take_the_idle_clients_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "LoadProcess", IdleClients)
    monkeypatch.setattr(transactions, "resident_kb", lambda pid: 4096)
    monkeypatch.setattr(pgbench, "measure", lambda *_: {"tps": 1000})
    workload = AmongIdleClients(10, Job("select"), is_long=False)
    site = Site(cast(Database, Nowhere()), [FULL, OPEN], {})
    outcome = measure_workload(site, workload, Plan(1, 1, [workload]), lambda _: None)
    assert outcome.failures == {"full": "full: 53300: no more connections allowed"}
    assert outcome.runs == {"full": [None], "open": [{"tps": 1000, "idle_client_kb": 0}]}


class Nowhere:
    """Stands for the database, of which nothing is asked."""

    pgbench = None
