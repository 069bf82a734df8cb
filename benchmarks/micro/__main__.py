"""`python -m benchmarks.micro`: each operation in plain Python and compiled, the best of several runs in turns."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.support.compiled import hot_modules

PROJECT: Final = Path(__file__).resolve().parents[2]
COMPILED: Final = PROJECT / ".venv-compiled" / "bin" / "python"

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 compared, 1 a build is missing or is not what it is taken for."""
    options = _parser().parse_args(arguments)
    if not options.compiled.exists():
        print(f"error: there is no {options.compiled}; make it with: make compile", file=sys.stderr)
        return 1
    plain, compiled = _measure(options)
    if plain["is_compiled"] or not compiled["is_compiled"]:
        print("error: --plain must be plain Python, and --compiled must be compiled", file=sys.stderr)
        return 1
    _print(plain["figures"], compiled["figures"])
    if options.json:
        options.json.write_text(json.dumps({"plain": plain, "compiled": compiled}, indent=1) + "\n")
    return 0


def _measure(options: argparse.Namespace) -> tuple[Result, Result]:
    with _importable_from() as folder:
        runs = [
            [_work(interpreter, folder, options.seconds) for interpreter in (options.plain, options.compiled)]
            for _ in range(options.runs)
        ]
    return _best([plain for plain, _ in runs]), _best([compiled for _, compiled in runs])


@contextmanager
def _importable_from() -> Iterator[Path]:
    """A folder with the project's packages but `proxy`: that is each interpreter's own."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-micro-") as name:
        for package in ("benchmarks", "tests"):
            (Path(name) / package).symlink_to(PROJECT / package)
        yield Path(name)


def _work(interpreter: Path, folder: Path, seconds: float) -> Result:
    command = [str(interpreter), "-P", "-m", "benchmarks.micro.worker", str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    result: Result = json.loads(done.stdout)
    return result


def _best(runs: Sequence[Result]) -> Result:
    """What disturbs a run only ever slows it down, so the fastest says most."""
    best = runs[0]
    for run in runs[1:]:
        for name, figure in run["figures"].items():
            best["figures"][name]["ns"] = min(best["figures"][name]["ns"], figure["ns"])
    return best


def _print(plain: Result, compiled: Result) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("operation")
    for heading in ("plain ns", "compiled ns", "compiled ÷ plain"):
        table.add_column(heading, justify="right")
    table.add_column("modules")
    for name, figure in plain.items():
        slow, fast = figure["ns"], compiled[name]["ns"]
        modules = figure["modules"]
        named = modules[0] if len(modules) == 1 else f"{modules[0]} and {len(modules) - 1} more"
        table.add_row(name, f"{slow:,.0f}", f"{fast:,.0f}", f"{fast / slow:.2f}", named)
    Console(width=140 if not sys.stdout.isatty() else None).print(table)
    measured = {module for figure in plain.values() for module in figure["modules"]}
    hot = [module.removeprefix("proxy/") for module in hot_modules()]
    if missing := [module for module in hot if module not in measured]:
        print(f"compiled, but not measured here: {', '.join(missing)}")


def _interpreter(text: str) -> Path:
    """Not resolved, for a link is what makes it the interpreter of an environment; it is run in another folder."""
    return Path(text).absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description="Time the hot modules both ways.")
    parser.add_argument("--runs", type=int, default=3, help="processes of each kind, in turns (3)")
    parser.add_argument("--seconds", type=float, default=0.02, help="for one repeat of one operation (0.02)")
    parser.add_argument(
        "--plain", type=_interpreter, default=Path(sys.executable), help="the plain build's interpreter"
    )
    parser.add_argument("--compiled", type=_interpreter, default=COMPILED, help="the compiled build's interpreter")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
