"""`docs/compatibility.md`: the table, and what does not pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.suites.reasons import REASONS
from tests.suites.results import Results

REFERENCE: Final = "directly"

_INTRODUCTION: Final = """\
# Compatibility

Public test suites, run against PostgreSQL directly and through poolers. Written by `make test-suites`, which fetches the
suites (nothing of them is kept here) and runs them one after the other, each on a fresh database that belongs to the
login. Gatehouse has its defaults (transaction mode, 20 servers), before a tenant with a database of its own; once more
with `pool.mode: session`. PgBouncer, if the machine has one of at least 1.21, is in transaction mode with 200 prepared
statements and as many servers.

Gatehouse's own tests use more drivers and frameworks, in all placements: see `tests/drivers`. What a client can tell by
looking closely is listed in [differences.md](differences.md).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One suite on all targets; `runs` is by the target's name, None where it could not be run to its end."""

    suite: str
    version: str
    runs: Mapping[str, Results | None]

    def unexplained(self, target: str) -> list[str]:
        """What is lost on `target` for no reason that we know."""
        return [name for name in self.lost(target) if name not in REASONS]

    def lost(self, target: str) -> list[str]:
        """What passes directly and not on `target`."""
        reference, results = self.runs[REFERENCE], self.runs.get(target)
        return results.lost(reference) if reference and results else []


def table(rows: Sequence[Row], targets: Sequence[str]) -> str:
    """The results as a table in Markdown."""
    lines = [f"| suite | {' | '.join(targets)} |", f"|---|{'---|' * len(targets)}"]
    for row in rows:
        runs = [row.runs.get(target) for target in targets]
        cells = " | ".join(run.summary if run else "did not end" for run in runs)
        lines.append(f"| {row.suite}, {row.version} | {cells} |")
    return "\n".join(lines) + "\n"


def page(rows: Sequence[Row], targets: Sequence[str], circumstances: str) -> str:
    """The whole page; `circumstances` are the versions of what took part."""
    ours = [target for target in targets if target.startswith("Gatehouse")]
    parts = [_INTRODUCTION, circumstances + "\n", table(rows, targets), _skipped_note(rows)]
    parts += [_lost_section(rows, target) for target in ours]
    return "\n".join(part for part in parts if part)


def _skipped_note(rows: Sequence[Row]) -> str:
    references = [(row.suite, row.runs[REFERENCE]) for row in rows]
    failing = [
        f"{suite}: {', '.join(f'`{name}`' for name in results.failing)}"
        for suite, results in references
        if results and results.failing
    ]
    text = "Tests that the suites themselves skip on PostgreSQL are not counted."
    return (
        f"{text} Failing directly, because that PostgreSQL is built without TLS: {'; '.join(failing)}.\n"
        if failing
        else text + "\n"
    )


def _lost_section(rows: Sequence[Row], target: str) -> str:
    lines = [f"## What passes directly and not through {target}", ""]
    for row in rows:
        for reason, names in _by_reason(row.lost(target)).items():
            tests = ", ".join(f"`{name}`" for name in names)
            lines.append(f"- {row.suite}: {reason}: {tests}")
    return "\n".join([*lines, *([] if len(lines) > 2 else ["Nothing."])]) + "\n"


def _by_reason(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(REASONS.get(name, "not explained yet"), []).append(name)
    return groups
