"""Measure in turns: every endpoint once per round, in another order each time, workload after workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import pgbench
from benchmarks.endpoints import Endpoint, Role
from benchmarks.idle import idle_clients
from benchmarks.pgbench import Run, RunFailed
from benchmarks.workloads import SCRIPTS, Workload


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    rounds: int
    seconds: int
    workloads: tuple[Workload, ...]


@dataclass(slots=True)
class Outcome:
    """All runs of one workload: by endpoint, one per round; None where a run failed, with the reason in `failures`."""

    workload: Workload
    runs: dict[str, list[Run | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    idle_client_kb: dict[str, float] = field(default_factory=dict)


Tell = Callable[[str], None]


def check_endpoints(program: Path, endpoints: Sequence[Endpoint]) -> None:
    """See that each endpoint shows the tenant its rows, lest nothing be measured quickly; raises `RunFailed`."""
    for endpoint in endpoints:
        script = "check_by_proxy" if endpoint.role is Role.GATEHOUSE else "check_by_application"
        pgbench.check(program, endpoint, SCRIPTS / f"{script}.sql")


def measure_all(program: Path, endpoints: Sequence[Endpoint], plan: Plan, tell: Tell) -> list[Outcome]:
    """Carry out the plan; a run that fails is recorded, not raised."""
    return [_measure_workload(program, endpoints, workload, plan, tell) for workload in plan.workloads]


def _measure_workload(
    program: Path, endpoints: Sequence[Endpoint], workload: Workload, plan: Plan, tell: Tell
) -> Outcome:
    # Idle clients of what does not pool are idle servers: another matter, and PostgreSQL's limit.
    taking_part = [endpoint for endpoint in endpoints if endpoint.pools or not workload.idle]
    outcome = Outcome(workload, {endpoint.name: [] for endpoint in taking_part})
    no_clients: AbstractContextManager[dict[str, float]] = nullcontext({})
    with idle_clients(taking_part, workload.idle) if workload.idle else no_clients as costs:
        outcome.idle_client_kb.update(costs)
        for number in range(plan.rounds):
            tell(f"{workload.name}: round {number + 1} of {plan.rounds}")
            shift = number % len(taking_part)
            for endpoint in taking_part[shift:] + taking_part[:shift]:
                outcome.runs[endpoint.name].append(_try(program, endpoint, outcome, plan.seconds))
    return outcome


def _try(program: Path, endpoint: Endpoint, outcome: Outcome, seconds: int) -> Run | None:
    try:
        return pgbench.measure(program, endpoint, outcome.workload, seconds)
    except RunFailed as error:
        outcome.failures[endpoint.name] = str(error)
        return None
