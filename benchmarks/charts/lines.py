"""Lines over a logarithmic axis: how a figure grows with the number of something, with a faint band for its spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.charts.scales import Linear, Logarithmic, tick_label
from benchmarks.charts.svg import FAINT, GRID, Drawing

_WIDTH, _HEIGHT = 860.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 76.0, 596.0, 84.0, 356.0
_LABEL_GAP: Final = 15.0


@dataclass(frozen=True, slots=True)
class Value:
    """A median at `x`, and its extremes."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """One line, named at its end."""

    who: str
    color: str
    values: Sequence[Value]
    dashes: str = ""


@dataclass(frozen=True, slots=True)
class LineChart:
    """`x_label` is what there are more and more of."""

    title: str
    subtitle: str
    x_label: str
    series: Sequence[Series]

    def draw(self) -> str:
        """The SVG."""
        drawing = Drawing(_WIDTH)
        values = [value for series in self.series for value in series.values]
        across = Logarithmic.around(min(v.x for v in values), max(v.x for v in values), _LEFT + 14, _RIGHT - 14)
        up = Linear(max(value.high for value in values) * 1.08, _BOTTOM, _TOP)
        drawing.text(24, 34, self.title, size=18, bold=True)
        drawing.text(24, 55, self.subtitle, size=12, fill=FAINT)
        for tick in up.ticks():
            drawing.line((_LEFT, up.place(tick)), (_RIGHT, up.place(tick)), GRID)
            drawing.text(_LEFT - 8, up.place(tick) + 4, tick_label(tick), size=11, fill=FAINT, anchor="end")
        for tick in across.ticks():
            drawing.text(across.place(tick), _BOTTOM + 20, tick_label(tick), size=11, fill=FAINT, anchor="middle")
        drawing.text((_LEFT + _RIGHT) / 2, _BOTTOM + 44, self.x_label, size=12, fill=FAINT, anchor="middle")
        for series in self.series:
            self._line(drawing, series, across, up)
        self._names(drawing, up)
        return drawing.finish(_HEIGHT, f"{self.title}. {self.subtitle}")

    def _line(self, drawing: Drawing, series: Series, across: Logarithmic, up: Linear) -> None:
        above = [(across.place(value.x), up.place(value.high)) for value in series.values]
        below = [(across.place(value.x), up.place(value.low)) for value in reversed(series.values)]
        points = [(across.place(value.x), up.place(value.y)) for value in series.values]
        drawing.band([*above, *below], series.color)
        drawing.path(points, series.color, dashes=series.dashes)
        for point in points:
            drawing.dot(point, series.color)

    def _names(self, drawing: Drawing, up: Linear) -> None:
        """At the ends of the lines, moved apart where they would cover each other."""
        above = float("-inf")
        for series in sorted(self.series, key=lambda series: -series.values[-1].y):
            y = max(up.place(series.values[-1].y) + 4, above + _LABEL_GAP)
            drawing.text(
                _RIGHT + 10, y, f"{series.who}: {series.values[-1].y:.1f}", size=12, fill=series.color, bold=True
            )
            above = y
