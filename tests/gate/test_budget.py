"""The budget lets small growth pass, and says what grew by more."""

from __future__ import annotations

from collections.abc import Callable

from tests.gate.budget import excesses, least
from tests.gate.counting import counts_of
from tests.gate.stages import CoreStage, Show
from tests.gate.stories import STORIES

BUDGET = {"a SELECT": {"instructions": 1000.0, "calls": 40.0, "kept_blocks": 0.0}}


def test_growth_within_the_tolerance_passes() -> None:
    assert excesses("a SELECT", {"instructions": 1030, "calls": 41, "kept_blocks": 0.1}, BUDGET) == []


def test_costing_less_passes() -> None:
    assert excesses("a SELECT", {"instructions": 500, "calls": 20, "kept_blocks": 0}, BUDGET) == []


def test_growth_beyond_the_tolerance_is_named_with_both_figures() -> None:
    assert excesses("a SELECT", {"instructions": 1100, "calls": 40, "kept_blocks": 2}, BUDGET) == [
        "a SELECT: instructions went from 1000 to 1100 (+10.0 %)",
        "a SELECT: kept_blocks went from 0 to 2 (from nothing)",
    ]


def test_a_story_without_a_budget_is_named() -> None:
    assert excesses("a new story", {"instructions": 1}, BUDGET) == ["a new story: has no budget yet"]


def test_one_more_function_per_message_is_seen() -> None:
    """Were counts blind, every budget would be kept."""

    class Slower(CoreStage):
        def from_client(self, data: bytes) -> None:
            self.look_twice(data)
            super().from_client(data)

        def look_twice(self, data: bytes) -> None:
            self.kept = [*getattr(self, "kept", ()), bytearray(data)]

    before, after = counts_of(Show(CoreStage(), STORIES[0])), counts_of(Show(Slower(), STORIES[0]))
    assert after["calls"] == before["calls"] + 2  # look_twice, and from_client twice instead of once
    assert after["instructions"] > before["instructions"]


def _cyclic_objects(make: Callable[[], CoreStage], expected: float) -> float:
    """What is counted, again while it is more: Gatehouses of other tests' fixtures, in threads of this process, leave some."""
    for _ in range(5):
        found = counts_of(Show(make(), STORIES[0]))["cyclic_objects"]
        if found <= expected:
            break
    return found


def test_a_cycle_per_message_is_seen() -> None:
    class Careless(CoreStage):
        def from_client(self, data: bytes) -> None:
            cycle: list[object] = []
            cycle.append(cycle)
            super().from_client(data)

    assert _cyclic_objects(Careless, 1) == 1


def test_what_finalizers_of_other_garbage_let_go_is_not_seen() -> None:
    """As of a process that another test forgot: its end frees what only later collections find."""

    class Forgotten:
        def __init__(self, more: int) -> None:
            self.itself = self
            self.more = more

        def __del__(self) -> None:
            if self.more > 0:
                for _ in range(20):
                    Forgotten(self.more - 1)

    def beside_garbage() -> CoreStage:
        Forgotten(3)
        return CoreStage()

    assert _cyclic_objects(beside_garbage, 0) == 0


def test_the_lesser_of_two_measurements_counts() -> None:
    first = {"a SELECT": {"calls": 4.0, "peak_bytes": 7.0}}
    assert least(first, {"a SELECT": {"calls": 5.0, "peak_bytes": 6.0}}) == {
        "a SELECT": {"calls": 4.0, "peak_bytes": 6.0}
    }
