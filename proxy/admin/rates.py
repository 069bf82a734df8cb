"""Rates from counters: two looks at the same numbers, a few seconds apart.

Pure; the clock's reading is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import sub
from typing import Final, NamedTuple

from proxy.observe.counters import TrafficStats

_WINDOW_S: Final = 5.0

Key = tuple[str, str]
"""A tenant and its placement."""


class Traffic(NamedTuple):
    """A tenant's counters at one moment, or the difference of two."""

    queries: int = 0
    transactions: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    query_count: int = 0
    query_seconds: float = 0.0
    wait_count: int = 0
    wait_seconds: float = 0.0
    context_injections: int = 0
    errors: int = 0
    pins: int = 0

    @classmethod
    def of(cls, stats: TrafficStats) -> Traffic:
        """What a tenant's counters say now."""
        query, wait = stats.query_seconds.snapshot(), stats.wait_seconds.snapshot()
        return cls(
            queries=stats.queries,
            transactions=stats.transactions,
            received_bytes=stats.received_bytes,
            sent_bytes=stats.sent_bytes,
            query_count=query.count,
            query_seconds=query.sum,
            wait_count=wait.count,
            wait_seconds=wait.sum,
            context_injections=stats.context_injections,
            errors=stats.errors,
            pins=stats.pins,
        )

    @classmethod
    def total(cls, parts: Iterable[Traffic]) -> Traffic:
        """The sum of `parts`."""
        return cls(*map(sum, zip(*parts, strict=True)))

    def minus(self, earlier: Traffic) -> Traffic:
        """What was added since `earlier`."""
        return Traffic(*map(sub, self, earlier))


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened per second over the last few seconds; times are means over what ended in them, in seconds."""

    queries: float
    transactions: float
    received_bytes: float
    sent_bytes: float
    query_seconds: float | None
    wait_seconds: float | None

    @classmethod
    def of(cls, traffic: Traffic, seconds: float) -> Rates:
        """`traffic` that took `seconds`."""
        return cls(
            queries=traffic.queries / seconds,
            transactions=traffic.transactions / seconds,
            received_bytes=traffic.received_bytes / seconds,
            sent_bytes=traffic.sent_bytes / seconds,
            query_seconds=traffic.query_seconds / traffic.query_count if traffic.query_count else None,
            wait_seconds=traffic.wait_seconds / traffic.wait_count if traffic.wait_count else None,
        )


class RateWindow:
    """Remembers the counters as they were 5 to 10 seconds ago, however many people look and how often."""

    def __init__(self) -> None:
        self._base: tuple[float, Mapping[Key, Traffic]] | None = None
        self._next: tuple[float, Mapping[Key, Traffic]] | None = None

    def since(self, now: float, counters: Mapping[Key, Traffic]) -> tuple[float, dict[Key, Traffic]] | None:
        """How many seconds ago the base was, and what was added since; None at the first look. `now` is monotonic."""
        if self._base is None or self._next is None:
            self._base = self._next = (now, counters)
            return None
        if now - self._next[0] >= _WINDOW_S:
            self._base, self._next = self._next, (now, counters)
        moment, earlier = self._base
        if now <= moment:
            return None
        return now - moment, {key: value.minus(earlier.get(key, Traffic())) for key, value in counters.items()}
