"""One timer for all logins under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.client.login_deadlines import LoginDeadlines


class Loop:
    """Holds the one call that was asked for last, and a clock that it goes by."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Call] = []

    def call_at(self, at: float, call: Callable[[], None]) -> Call:
        self.calls.append(Call(at, call))
        return self.calls[-1]

    def run_to(self, now: float) -> None:
        """Let time pass."""
        while due := [call for call in self.calls if call.at <= now]:
            first = min(due, key=lambda call: call.at)
            self.calls.remove(first)
            self.now = max(self.now, first.at)
            if not first.is_cancelled:
                first.call()
        self.now = now

    @property
    def armed(self) -> list[float]:
        return [call.at for call in self.calls if not call.is_cancelled]


class Call:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.is_cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.is_cancelled = True


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def deadlines(loop: Loop) -> LoginDeadlines:
    return LoginDeadlines(lambda: loop.now)


def test_each_is_called_when_its_time_is_up(loop: Loop, deadlines: LoginDeadlines) -> None:
    called: list[str] = []
    deadlines.begin("a", 5.0, lambda: called.append("a"))
    loop.run_to(102.0)
    deadlines.begin("b", 5.0, lambda: called.append("b"))
    assert len(loop.armed) == 1
    loop.run_to(104.9)
    assert called == []
    loop.run_to(105.1)
    assert called == ["a"]
    loop.run_to(107.1)
    assert called == ["a", "b"]
    assert not loop.armed


def test_who_has_ended_is_not_called(loop: Loop, deadlines: LoginDeadlines) -> None:
    deadlines.begin("a", 5.0, lambda: pytest.fail("a has logged in"))
    deadlines.end("a")
    deadlines.end("a")
    loop.run_to(200.0)
    assert not loop.armed


def test_a_limit_that_was_made_shorter_counts_for_those_who_come_then(loop: Loop, deadlines: LoginDeadlines) -> None:
    called: list[str] = []
    deadlines.begin("a", 60.0, lambda: called.append("a"))
    deadlines.begin("b", 5.0, lambda: called.append("b"))
    loop.run_to(105.1)
    assert called == ["b"]
    loop.run_to(160.1)
    assert called == ["b", "a"]


def test_one_whose_time_is_up_may_end_another(loop: Loop, deadlines: LoginDeadlines) -> None:
    called: list[str] = []

    def first() -> None:
        called.append("a")
        deadlines.end("b")

    deadlines.begin("a", 5.0, first)
    deadlines.begin("b", 5.0, lambda: called.append("b"))
    loop.run_to(200.0)
    assert called == ["a"]
