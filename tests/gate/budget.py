"""The budget: what each story may cost, by minor version of Python, because every version compiles and allocates its own way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from tests.gate.counting import Counts

Costs = dict[str, Counts]
"""Counts by the story's name."""

PATH: Final = Path(__file__).with_name("budget.json")
VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
RENEW: Final = "python -m tests.gate --write"

TOLERANCE: Final = 0.03
_SLACK: Final = {
    "instructions": 5,
    "calls": 1,
    "c_calls": 1,
    "peak_bytes": 256,
    "kept_blocks": 1,  # thousands of tests in the same process before this one leave a few blocks to chance
    "cyclic_objects": 2,
}
"""Growth that is let pass whatever its share: small counts have no three hundredths."""


def committed() -> Costs | None:
    """The budget of this version of Python; None if there is none."""
    budgets: dict[str, Costs] = json.loads(PATH.read_text()) if PATH.exists() else {}
    return budgets.get(VERSION)


def write(costs: Costs) -> None:
    """Make these the budget of this version of Python."""
    budgets: dict[str, Costs] = json.loads(PATH.read_text()) if PATH.exists() else {}
    budgets[VERSION] = costs
    PATH.write_text(json.dumps(dict(sorted(budgets.items())), indent=1) + "\n")


def excesses(name: str, counts: Counts, budget: Costs) -> list[str]:
    """What is over the budget, in words."""
    allowed = budget.get(name)
    if allowed is None:
        return [f"{name}: has no budget yet"]
    return [
        f"{name}: {unit} went from {allowed[unit]:g} to {count:g} ({_growth(allowed[unit], count)})"
        for unit, count in counts.items()
        if unit in allowed and count > allowed[unit] * (1 + TOLERANCE) and count - allowed[unit] > _SLACK.get(unit, 0)
    ]


def all_excesses(costs: Costs, budget: Costs) -> list[str]:
    """What is over the budget in any story, in words."""
    return [excess for name, counts in costs.items() for excess in excesses(name, counts, budget)]


def least(costs: Costs, again: Costs) -> Costs:
    """The lesser of each count in two measurements of the same stories."""
    return {
        name: {unit: min(count, again[name][unit]) for unit, count in counts.items()} for name, counts in costs.items()
    }


def _growth(before: float, after: float) -> str:
    return f"{(after / before - 1) * 100:+.1f} %" if before else "from nothing"
