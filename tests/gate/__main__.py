"""`python -m tests.gate`: print what everything costs beside the budget; `--write` makes it the budget."""

from __future__ import annotations

import argparse
import asyncio
import io

from rich.console import Console
from rich.table import Table

from proxy.observe import logs
from tests.gate import budget
from tests.gate.budget import Costs
from tests.gate.costs import core_costs, whole_costs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gate", description="Count what transactions cost.")
    parser.add_argument("--write", action="store_true", help="make these counts the budget")
    options = parser.parse_args()
    logs.configure("json", "error", stream=io.StringIO())
    costs = core_costs() | asyncio.run(whole_costs())
    _print(costs, budget.committed() or {})
    if options.write:
        budget.write(costs)
        print(f"written to {budget.PATH} for Python {budget.VERSION}")


def _print(costs: Costs, before: Costs) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), title=f"Python {budget.VERSION}; in brackets the budget")
    units = list(dict.fromkeys(unit for counts in costs.values() for unit in counts))
    for heading in ("", *units):
        table.add_column(heading, justify="right" if heading else "left")
    for name, counts in costs.items():
        table.add_row(name, *(_cell(counts.get(unit), before.get(name, {}).get(unit)) for unit in units))
    Console(width=180).print(table)


def _cell(count: float | None, allowed: float | None) -> str:
    if count is None:
        return ""
    return f"{count:,g}" if allowed in (None, count) else f"{count:,g} ({allowed:,g})"


if __name__ == "__main__":
    main()
