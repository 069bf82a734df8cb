"""`python -m benchmarks`: start everything, measure in turns, print the table, write the JSON."""

from __future__ import annotations

import argparse
import resource
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks.charts import draw_all
from benchmarks.database import running_database
from benchmarks.endpoints import POOL_SIZE, Endpoint, Role
from benchmarks.measurement import RunFailed
from benchmarks.measures.logins import Storm
from benchmarks.peers.starting import missing_peers
from benchmarks.report import document, print_outcome, write_json
from benchmarks.rounds import Plan, check_endpoints, measure_workload
from benchmarks.site import Site, Workload, running_endpoints
from benchmarks.system import describe_machine, has_autogroups, load_average
from benchmarks.workloads import all_workloads
from proxy.cli.demo.binaries import LaunchError

PROJECT: Final = Path(__file__).resolve().parents[1]
COMPILED: Final = PROJECT / ".venv-compiled" / "bin" / "gatehouse"
_PAPER_WIDTH: Final = 150
RESULTS: Final = PROJECT / "benchmarks" / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 measured, 1 something could not be started or measured."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PAPER_WIDTH)
    _allow_many_files()
    plan = Plan(
        options.rounds or (1 if options.quick else 5),
        options.seconds or (1 if options.quick else 3),
        _chosen(options.workload, quick=options.quick),
    )
    try:
        return _run(console, plan, _builds(options.gatehouse), options)
    except (LaunchError, RunFailed) as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        if hint := getattr(error, "hint", None):
            console.print(f"[bold]hint:[/]  {escape(hint)}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(console: Console, plan: Plan, builds: dict[str, list[str]], options: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    load_before = load_average()
    with running_database() as database, running_endpoints(database, builds) as endpoints:
        site = Site(database, endpoints, builds)
        _say_who_is_here(console, endpoints)
        if has_autogroups() and any(isinstance(workload, Storm) for workload in plan.workloads):
            console.print(
                f"[yellow]{Storm.name}: autogroups are on, so the thousand clients get as much of the processors as PostgreSQL; "
                "on a machine of few cores, measure it after 'sysctl kernel.sched_autogroup_enabled=0'[/]\n"
            )
        check_endpoints(site)
        outcomes = []
        with console.status("measuring …") as status:
            for workload in plan.workloads:
                outcomes.append(measure_workload(site, workload, plan, status.update))
                print_outcome(console, outcomes[-1])
    load = {"before": load_before, "after": load_average()}
    circumstances = {
        "when": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "load_average": load,
        "pool_size": POOL_SIZE,
    }
    path = options.json or RESULTS / f"run-{now:%Y%m%d-%H%M%S}.json"
    content = document(endpoints, outcomes, plan, circumstances)
    write_json(path, content)
    console.print(f"load average {load['before']:.1f} before, {load['after']:.1f} after; written to {path}")
    if options.charts:
        for chart in draw_all(content, options.charts, f"{path.stem}-"):
            console.print(f"drawn: {chart}")
    complete = any(endpoint.role is Role.GATEHOUSE for endpoint in endpoints)
    return 0 if complete and not any(outcome.failures for outcome in outcomes) else 1


def _say_who_is_here(console: Console, endpoints: Sequence[Endpoint]) -> None:
    for endpoint in endpoints:
        console.print(f"{endpoint.name}: {endpoint.version}")
    for peer in missing_peers():
        console.print(f"[yellow]{peer.title} is not here; name it with {peer.variable}[/]")
    console.print()


def _builds(named: Sequence[str] | None) -> dict[str, list[str]]:
    """Gatehouse's builds: those named, else this interpreter's and the compiled one if `make compile` made it."""
    if named:
        pairs = (name.partition("=") for name in named)
        return {name: shlex.split(command) for name, _, command in pairs}
    builds = {"gatehouse (plain)": [sys.executable, "-m", "proxy"]}
    if COMPILED.exists():
        builds["gatehouse (compiled)"] = [str(COMPILED)]
    return builds


def _chosen(names: Sequence[str] | None, *, quick: bool) -> list[Workload]:
    workloads = all_workloads()
    if names:
        return [workload for workload in workloads if workload.name in names]
    return [workload for workload in workloads if not (quick and workload.is_long)]


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Gatehouse beside its peers.")
    parser.add_argument(
        "--quick", action="store_true", help="one short round of all but the largest numbers of clients and tenants"
    )
    parser.add_argument("--rounds", type=int, help="rounds per workload (5)")
    parser.add_argument("--seconds", type=int, help="seconds per run (3)")
    names = [workload.name for workload in all_workloads()]
    parser.add_argument("--workload", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument(
        "--gatehouse", action="append", metavar="NAME=COMMAND", help="a build to measure instead; may be repeated"
    )
    parser.add_argument("--json", type=Path, help="where to write (benchmarks/results/run-TIME.json)")
    parser.add_argument("--charts", type=Path, metavar="FOLDER", help="draw charts of it there, too")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
