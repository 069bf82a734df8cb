"""What a suite's run says: an outcome for every test, by the test's own name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How one test ended; an error is one in a test's set-up or tear-down."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "errors"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Results:
    """One run of one suite on one target."""

    outcomes: Mapping[str, Outcome]

    @property
    def summary(self) -> str:
        """As in `1519 passed, 3 failed, 28 errors`."""
        counts = Counter(self.outcomes.values())
        return ", ".join(
            f"{counts[outcome]} {outcome.value}"
            for outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.ERROR)
            if counts[outcome] or outcome is Outcome.PASSED
        )

    @property
    def passed(self) -> frozenset[str]:
        """The tests that passed."""
        return frozenset(name for name, outcome in self.outcomes.items() if outcome is Outcome.PASSED)

    @property
    def failing(self) -> list[str]:
        """The tests that failed, or whose set-up did, in order."""
        bad = (Outcome.FAILED, Outcome.ERROR)
        return sorted(name for name, outcome in self.outcomes.items() if outcome in bad)

    def lost(self, reference: Results) -> list[str]:
        """The tests that pass in `reference` and not here, in order."""
        return sorted(reference.passed - self.passed)
