"""Medians and ratios: taken within rounds, and nothing made of what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, cast

from rich.console import Console

from benchmarks.database import Database
from benchmarks.endpoints import Ability, Endpoint, Role
from benchmarks.measurement import Measurement, RunFailed
from benchmarks.report import Spread, document, figure_of, print_outcome, ratio_of
from benchmarks.rounds import Outcome, Plan, measure_workload
from benchmarks.site import Site, Workload

OURS = Endpoint("ours", Role.GATEHOUSE, 1, "app.bench", "secret", None, "1")
PEER = Endpoint("peer", Role.POOLER, 2, "login", "secret", None, "2")

SITE = Site(cast(Database, None), [OURS, PEER], {})


NEWCOMER = Endpoint("newcomer", Role.POOLER, 3, "login", "secret", None, "3", lacks=frozenset({Ability.SCRAM_LOGIN}))


class Scripted(Workload):
    """Gives what is written down for each endpoint; None is a run that fails."""

    name = "scripted"
    title = "what is written down"
    figures = ("tps",)
    ratios = ("tps",)

    def __init__(self, **values: list[float | None]) -> None:
        self.order: list[str] = []
        self._values = values

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        yield [one for one in (OURS, PEER, NEWCOMER) if one.name in self._values]

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        self.order.append(endpoint.name)
        value = self._values[endpoint.name].pop(0)
        if value is None:
            raise RunFailed("it fell over")
        return {"tps": value}

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        return "read it"


def outcome_of(workload: Scripted, rounds: int = 1) -> Outcome:
    return measure_workload(SITE, workload, Plan(rounds, 1, [workload]), lambda _: None)


def recorded(outcome: Outcome) -> dict[str, Any]:
    plan = Plan(1, 1, [outcome.workload])
    workload: dict[str, Any] = document([OURS, PEER], [outcome], plan, {})["workloads"]["scripted"]
    return workload


def measured(workload: Scripted, rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = recorded(outcome_of(workload, rounds))["results"]
    return results


def printed(outcome: Outcome) -> str:
    console = Console(file=StringIO(), width=150)
    print_outcome(console, outcome)
    return cast(StringIO, console.file).getvalue()


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    ours: list[Measurement | None] = [{"tps": 10}, {"tps": 200}, {"tps": 30}]
    peer: list[Measurement | None] = [{"tps": 10}, {"tps": 100}, {"tps": 10}]
    assert ratio_of(ours, peer, "tps") == Spread(2, 1, 3)


def test_a_round_in_which_one_side_failed_gives_no_ratio() -> None:
    ours: list[Measurement | None] = [None, {"tps": 30}]
    peer: list[Measurement | None] = [{"tps": 10}, {"tps": 10}]
    assert ratio_of(ours, peer, "tps") == Spread(3, 3, 3)
    assert figure_of([None, None], "tps") is None


def test_rounds_begin_with_another_endpoint_each_time() -> None:
    workload = Scripted(ours=[1, 1], peer=[1, 1])
    measured(workload, rounds=2)
    assert workload.order == ["ours", "peer", "peer", "ours"]


def test_a_run_that_fails_is_recorded_and_the_others_go_on() -> None:
    results = measured(Scripted(ours=[None, 20], peer=[10, 10]), rounds=2)
    assert results["ours"] == {
        "command": "read it",
        "figures": {"tps": {"median": 20, "low": 20, "high": 20}},
        "ratio_to": {"peer": {"tps": {"median": 2, "low": 2, "high": 2}}},
        "failure": "it fell over",
        "rounds": [None, {"tps": 20}],
    }


def test_who_lacks_what_a_workload_needs_is_left_out_and_that_is_said() -> None:
    workload = Scripted(ours=[20], peer=[10], newcomer=[])
    workload.needs = frozenset({Ability.SCRAM_LOGIN})
    outcome = outcome_of(workload)
    assert workload.order == ["ours", "peer"]
    assert outcome.failures == {}
    assert recorded(outcome)["left_out"] == {"newcomer": "it takes no SCRAM from clients"}
    assert "newcomer left out: it takes no SCRAM from clients" in printed(outcome)


def test_all_are_compared_with_the_first_pooler_alone() -> None:
    outcome = outcome_of(Scripted(ours=[20], peer=[10], newcomer=[5]))
    assert recorded(outcome)["results"]["newcomer"]["ratio_to"] == {
        "peer": {"tps": {"median": 0.5, "low": 0.5, "high": 0.5}}
    }
    assert "÷ peer" in printed(outcome)
    assert "÷ newcomer" not in printed(outcome)
