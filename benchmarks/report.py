"""Say what was measured: medians, spreads and ratios, as a table and as JSON.

A ratio is taken within each round, where both sides met the same machine, and the median of those is reported.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.endpoints import Endpoint, Role
from benchmarks.measurement import FIGURES, Measurement
from benchmarks.rounds import Outcome, Plan

_BASES: Final = (Role.POOLER, Role.SPLICE)
Runs = Sequence[Measurement | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float


def spread_of(values: Sequence[float | None]) -> Spread | None:
    """Median and extremes of what there is; None if there is nothing."""
    there = [value for value in values if value is not None]
    return Spread(statistics.median(there), min(there), max(there)) if there else None


def figure_of(runs: Runs, name: str) -> Spread | None:
    """One figure over the rounds of an endpoint."""
    return spread_of([run.get(name) if run else None for run in runs])


def ratio_of(runs: Runs, base: Runs, name: str) -> Spread | None:
    """The figure divided by the base's, round by round."""
    ratios: list[float | None] = []
    for run, other in zip(runs, base, strict=True):
        above, below = (run.get(name) if run else None), (other.get(name) if other else None)
        ratios.append(above / below if above is not None and below else None)
    return spread_of(ratios)


def document(
    endpoints: Sequence[Endpoint], outcomes: Sequence[Outcome], plan: Plan, circumstances: dict[str, Any]
) -> dict[str, Any]:
    """Everything, for JSON: every round, and what it comes to. No path and no name of the machine is in it."""
    return {
        **circumstances,
        "plan": {"rounds": plan.rounds, "seconds": plan.seconds},
        "endpoints": {endpoint.name: endpoint.version for endpoint in endpoints},
        "roles": {endpoint.name: endpoint.role.value for endpoint in endpoints},
        "workloads": {outcome.workload.name: _outcome(outcome, plan) for outcome in outcomes},
    }


def _outcome(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for endpoint in outcome.endpoints:
        runs = outcome.runs[endpoint.name]
        results[endpoint.name] = {
            "command": outcome.workload.command(endpoint, plan.seconds),
            "figures": {name: _as_dict(figure_of(runs, name)) for name in outcome.workload.figures},
            "ratio_to": {
                base.name: {
                    name: _as_dict(ratio_of(runs, outcome.runs[base.name], name)) for name in outcome.workload.ratios
                }
                for base in _bases(outcome)
                if base is not endpoint
            },
            "failure": outcome.failures.get(endpoint.name),
            "rounds": list(runs),
        }
    failure = outcome.failures.get(outcome.workload.name)
    return {
        "title": outcome.workload.title,
        "failure": failure,
        "left_out": outcome.left_out,
        "results": results,
    }


def _as_dict(spread: Spread | None) -> dict[str, float] | None:
    return asdict(spread) if spread else None


def _bases(outcome: Outcome) -> list[Endpoint]:
    """The peers that others are compared with: the first of each kind."""
    firsts = {endpoint.role: endpoint for endpoint in reversed(outcome.endpoints)}
    return [endpoint for endpoint in outcome.endpoints if endpoint.role in _BASES and endpoint is firsts[endpoint.role]]


def _shown_ratios(outcome: Outcome) -> list[tuple[Endpoint, str]]:
    """What the table compares: all with the pooler, and CPU alone with the splice, lest it get too wide."""
    ratios = outcome.workload.ratios
    return [
        (base, name)
        for base in _bases(outcome)
        for name in ratios
        if base.role is Role.POOLER or name.startswith("cpu_us")
    ]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write it where a reader can compare it with another run's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def print_outcome(console: Console, outcome: Outcome) -> None:
    """One workload's table."""
    if outcome.endpoints:
        console.print(_table(outcome))
    for name, reason in outcome.left_out.items():
        console.print(f"  [yellow]{name} left out:[/] {escape(reason)}", soft_wrap=True)
    for name, reason in outcome.failures.items():
        console.print(f"  [red]{name} failed:[/] {escape(reason.splitlines()[0][:160])}", soft_wrap=True)
    console.print()


def _table(outcome: Outcome) -> Table:
    workload = outcome.workload
    table = Table(box=None, title=f"{workload.name}: {workload.title}", title_justify="left", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for name in workload.figures:
        table.add_column(FIGURES[name].heading, justify="right")
        if name == "cpu_us":
            table.add_column("low-high", justify="right")
    for base, name in _shown_ratios(outcome):
        table.add_column(f"{FIGURES[name].plain_heading} ÷ {base.name.split()[0]}", justify="right")
    for endpoint in outcome.endpoints:
        table.add_row(endpoint.name, *_cells(outcome, outcome.runs[endpoint.name]))
    return table


def _cells(outcome: Outcome, runs: Runs) -> list[str]:
    cells: list[str] = []
    for name in outcome.workload.figures:
        spread, figure = figure_of(runs, name), FIGURES[name]
        cells.append(figure.show(spread.median) if spread else "")
        if name == "cpu_us":
            cells.append(f"{figure.show(spread.low)}-{figure.show(spread.high)}" if spread else "")
    for base, name in _shown_ratios(outcome):
        ratio = ratio_of(runs, outcome.runs[base.name], name)
        cells.append(f"{ratio.median:.2f}" if ratio else "")
    return cells
