"""Measure in turns: every endpoint once per round, in another order each time, workload after workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks import pgbench
from benchmarks.endpoints import Endpoint, Role
from benchmarks.load.process import LoadFailed
from benchmarks.measurement import Measurement, RunFailed
from benchmarks.site import Site, Workload


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure."""

    rounds: int
    seconds: int
    workloads: Sequence[Workload]


@dataclass(slots=True)
class Outcome:
    """All runs of one workload: by endpoint, one per round; None where a run failed, with the reason in `failures`.

    `left_out`: who was not asked, and why.
    """

    workload: Workload
    endpoints: Sequence[Endpoint] = ()
    runs: dict[str, list[Measurement | None]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


Tell = Callable[[str], None]


def check_endpoints(site: Site) -> None:
    """See that each endpoint shows the tenant its rows, lest nothing be measured quickly; raises `RunFailed`."""
    for endpoint in site.endpoints:
        script = "check_by_proxy" if endpoint.role is Role.GATEHOUSE else "check_by_application"
        pgbench.check(site.pgbench, endpoint, script)


def measure_workload(site: Site, workload: Workload, plan: Plan, tell: Tell) -> Outcome:
    """All rounds of one workload; a run that fails is recorded, not raised."""
    outcome = Outcome(workload)
    tell(f"{workload.name}: making ready")
    try:
        with workload.open(site) as present:
            outcome.left_out = {one.name: reason for one in present if (reason := _why_not(workload, one))}
            outcome.endpoints = endpoints = [one for one in present if one.name not in outcome.left_out]
            outcome.runs = {endpoint.name: [] for endpoint in endpoints}
            for number in range(plan.rounds):
                tell(f"{workload.name}: round {number + 1} of {plan.rounds}")
                shift = number % len(endpoints)
                for endpoint in [*endpoints[shift:], *endpoints[:shift]]:
                    outcome.runs[endpoint.name].append(_try(site, endpoint, outcome, plan.seconds))
    except LoadFailed as error:
        outcome.failures[workload.name] = str(error)
    return outcome


def _why_not(workload: Workload, endpoint: Endpoint) -> str:
    """Why it is left out; nothing if it is not."""
    return "; ".join(sorted(ability.value for ability in workload.needs & endpoint.lacks))


def _try(site: Site, endpoint: Endpoint, outcome: Outcome, seconds: int) -> Measurement | None:
    try:
        return outcome.workload.measure(site, endpoint, seconds)
    except (RunFailed, LoadFailed) as error:
        outcome.failures[endpoint.name] = str(error)
        return None
