"""Say what was measured: medians, spreads and ratios, as a table and as JSON.

A ratio is taken within each round, where both sides met the same machine, and the median of those is reported.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.endpoints import Endpoint, Role
from benchmarks.pgbench import Run, command
from benchmarks.rounds import Outcome, Plan

Figure = Callable[[Run], float | None]

FIGURES: Final[dict[str, Figure]] = {
    "tps": lambda run: run.tps,
    "mean_ms": lambda run: run.mean_ms,
    "p50_ms": lambda run: run.p50_ms,
    "p99_ms": lambda run: run.p99_ms,
    "cpu_us": lambda run: run.cpu_us,
    "resident_kb": lambda run: run.resident_kb,
}


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


def figure_of(runs: Sequence[Run | None], figure: Figure) -> Spread | None:
    """One figure over the rounds of an endpoint."""
    return spread_of([figure(run) if run else None for run in runs])


def ratio_of(runs: Sequence[Run | None], base: Sequence[Run | None], figure: Figure) -> Spread | None:
    """The figure divided by the base's, round by round."""
    ratios: list[float | None] = []
    for run, other in zip(runs, base, strict=True):
        above, below = (figure(run) if run else None), (figure(other) if other else None)
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
        "workloads": {outcome.workload.name: _outcome(endpoints, outcome, plan) for outcome in outcomes},
    }


def _outcome(endpoints: Sequence[Endpoint], outcome: Outcome, plan: Plan) -> dict[str, Any]:
    workload = outcome.workload
    results: dict[str, Any] = {}
    for endpoint in endpoints:
        if (runs := outcome.runs.get(endpoint.name)) is None:
            continue
        script = workload.script_for(endpoint.role)
        figures = {name: figure_of(runs, figure) for name, figure in FIGURES.items()}
        ratios = {
            base.name: {
                name: ratio_of(runs, outcome.runs[base.name], FIGURES[name]) for name in ("tps", "cpu_us", "p50_ms")
            }
            for base in endpoints
            if base.role in (Role.POOLER, Role.SPLICE) and base.name in outcome.runs and base is not endpoint
        }
        results[endpoint.name] = {
            "command": " ".join(command("pgbench", f"benchmarks/scripts/{script.name}", workload, plan.seconds)),
            "figures": {name: asdict(spread) if spread else None for name, spread in figures.items()},
            "ratio_to": {
                base: {name: asdict(spread) if spread else None for name, spread in values.items()}
                for base, values in ratios.items()
            },
            "idle_client_kb": outcome.idle_client_kb.get(endpoint.name),
            "failure": outcome.failures.get(endpoint.name),
            "rounds": [asdict(run) if run else None for run in runs],
        }
    return {"title": workload.title, "results": results}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write it where a reader can compare it with another run's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def print_tables(console: Console, endpoints: Sequence[Endpoint], outcomes: Sequence[Outcome]) -> None:
    """One table per workload."""
    bases = [endpoint for endpoint in endpoints if endpoint.role in (Role.POOLER, Role.SPLICE)]
    for outcome in outcomes:
        console.print(_table(endpoints, outcome, [base for base in bases if base.name in outcome.runs]))
        for name, reason in outcome.failures.items():
            console.print(f"  [red]{name} failed:[/] {escape(reason.splitlines()[0][:160])}", soft_wrap=True)
        console.print()


def _table(endpoints: Sequence[Endpoint], outcome: Outcome, bases: Sequence[Endpoint]) -> Table:
    table = Table(box=None, title=outcome.workload.title, title_justify="left", padding=(0, 2, 0, 0))
    table.add_column("")
    mean = "login ms" if outcome.workload.reconnects else "mean ms"
    for heading in ("tps", mean, "p50 ms", "p99 ms", "CPU µs", "low-high", "RSS MB"):
        table.add_column(heading, justify="right")
    if outcome.workload.idle:
        table.add_column("kB/idle", justify="right")
    for base in bases:
        table.add_column(f"tps ÷ {base.name}", justify="right")
        table.add_column(f"CPU ÷ {base.name}", justify="right")
    for endpoint in endpoints:
        if endpoint.name in outcome.runs:
            table.add_row(endpoint.name, *_cells(endpoint, outcome, bases))
    return table


def _cells(endpoint: Endpoint, outcome: Outcome, bases: Sequence[Endpoint]) -> list[str]:
    runs = outcome.runs[endpoint.name]
    figures = {name: figure_of(runs, figure) for name, figure in FIGURES.items()}
    cpu, resident = figures["cpu_us"], figures["resident_kb"]
    cells = [_show(figures["tps"], ".0f"), *(_show(figures[name], ".2f") for name in ("mean_ms", "p50_ms", "p99_ms"))]
    cells += [_show(cpu, ".1f"), f"{cpu.low:.1f}-{cpu.high:.1f}" if cpu else "", ""]
    if resident:
        cells[-1] = f"{resident.median / 1024:.0f}"
    if outcome.workload.idle:
        cost = outcome.idle_client_kb.get(endpoint.name)
        cells.append("" if cost is None else f"{cost:.1f}")
    for base in bases:
        others = outcome.runs[base.name]
        cells += [_show(ratio_of(runs, others, FIGURES[name]), ".2f") for name in ("tps", "cpu_us")]
    return cells


def _show(spread: Spread | None, form: str) -> str:
    return format(spread.median, form) if spread else ""
