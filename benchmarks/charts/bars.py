"""Horizontal bars in groups: one group a workload, one bar who was measured, a thin line from the lowest to the highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.charts.scales import Linear, Logarithmic, Scale, tick_label
from benchmarks.charts.svg import FAINT, GRID, INK, Drawing, wrapped

_WIDTH: Final = 860.0
_LEFT, _RIGHT, _TOP = 262.0, 710.0, 116.0
_BAR, _GAP, _GROUP_GAP = 15.0, 3.0, 18.0
_LINE: Final = 15.0
_LABEL_LETTERS: Final = 35


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its spread; `words` stand behind it."""

    who: str
    value: float
    low: float
    high: float
    words: str


@dataclass(frozen=True, slots=True)
class Group:
    """The bars of one workload."""

    title: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class BarChart:
    """`reference`: a value that a line is drawn at, with what it is; `is_logarithmic`: for values far apart."""

    title: str
    subtitle: str
    groups: Sequence[Group]
    colors: dict[str, str]
    reference: tuple[float, str] | None = None
    is_logarithmic: bool = False

    def draw(self) -> str:
        """The SVG."""
        drawing = Drawing(_WIDTH)
        bottom = _TOP + sum(_height(group) + _GROUP_GAP for group in self.groups)
        drawing.text(24, 34, self.title, size=18, bold=True)
        drawing.text(24, 55, self.subtitle, size=12, fill=FAINT)
        present = {bar.who for group in self.groups for bar in group.bars}
        drawing.legend(24, 80, [(color, who) for who, color in self.colors.items() if who in present])
        scale = self._scale()
        self._axis(drawing, scale, bottom)
        top = _TOP + _GROUP_GAP / 2
        for group in self.groups:
            self._group(drawing, group, scale, top)
            top += _height(group) + _GROUP_GAP
        return drawing.finish(bottom + 34, f"{self.title}. {self.subtitle}")

    def _scale(self) -> Scale:
        values = [value for group in self.groups for bar in group.bars for value in (bar.value, bar.low, bar.high)]
        if self.reference is not None:
            values.append(self.reference[0])
        if self.is_logarithmic:
            return Logarithmic.around(min(value for value in values if value > 0) / 2, max(values), _LEFT, _RIGHT)
        return Linear(max(values) * 1.02, _LEFT, _RIGHT)

    def _axis(self, drawing: Drawing, scale: Scale, bottom: float) -> None:
        for tick in scale.ticks():
            x = scale.place(tick)
            drawing.line((x, _TOP), (x, bottom), GRID)
            drawing.text(x, bottom + 18, tick_label(tick), size=11, fill=FAINT, anchor="middle")
        if self.reference is not None:
            value, words = self.reference
            x = scale.place(value)
            drawing.line((x, _TOP - 4), (x, bottom), INK, width=1.3, dashes="4 3")
            drawing.text(x, _TOP - 8, words, size=11, fill=INK, anchor="middle")

    def _group(self, drawing: Drawing, group: Group, scale: Scale, top: float) -> None:
        lines = wrapped(group.title, _LABEL_LETTERS)
        middle = top + _height(group) / 2
        for number, line in enumerate(lines):
            y = middle + 4 + (number - (len(lines) - 1) / 2) * _LINE
            drawing.text(_LEFT - 10, y, line, size=12, anchor="end")
        y = middle - len(group.bars) * (_BAR + _GAP) / 2 + _GAP / 2
        for bar in group.bars:
            drawing.rect(_LEFT, y, scale.place(bar.value) - _LEFT, _BAR, self.colors[bar.who])
            if bar.high > bar.low:
                drawing.line((scale.place(bar.low), y + _BAR / 2), (scale.place(bar.high), y + _BAR / 2), INK, width=1)
            drawing.text(scale.place(max(bar.value, bar.high)) + 6, y + _BAR - 3.5, bar.words, size=11, fill=FAINT)
            y += _BAR + _GAP


def _height(group: Group) -> float:
    return max(len(group.bars) * (_BAR + _GAP), len(wrapped(group.title, _LABEL_LETTERS)) * _LINE)
