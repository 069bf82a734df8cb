"""Where values stand on an axis, and where its ticks are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Scale(Protocol):
    """An axis."""

    def place(self, value: float) -> float: ...
    def ticks(self) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class Linear:
    """From 0 to `most`, on the pixels from `start` to `end`."""

    most: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (self.end - self.start) * value / self.most

    def ticks(self) -> list[float]:
        """Round numbers, about six."""
        rough = self.most / 6
        size = 10 ** math.floor(math.log10(rough))
        step = next(size * times for times in (1, 2, 2.5, 5, 10) if size * times >= rough)
        return [number * step for number in range(int(self.most / step + 1e-9) + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """From `least` to `most`, both powers of ten, on the pixels from `start` to `end`."""

    least: float
    most: float
    start: float
    end: float

    @classmethod
    def around(cls, least: float, most: float, start: float, end: float) -> Logarithmic:
        """With room for all of these."""
        low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
        return cls(10.0**low, 10.0 ** max(high, low + 1), start, end)

    def place(self, value: float) -> float:
        share = math.log(max(value, self.least) / self.least) / math.log(self.most / self.least)
        return self.start + (self.end - self.start) * share

    def ticks(self) -> list[float]:
        """The powers of ten."""
        count = round(math.log10(self.most / self.least))
        return [self.least * 10.0**power for power in range(count + 1)]


def tick_label(value: float) -> str:
    """As short as it is exact."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"
