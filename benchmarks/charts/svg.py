"""A few elements of SVG 1.1, and the looks that all charts share: readable on white and on dark pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

INK: Final = "#1f2937"
FAINT: Final = "#6b7280"
GRID: Final = "#e5e7eb"
PAPER: Final = "#ffffff"
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_WIDTH_OF_A_LETTER: Final = 0.56

Point = tuple[float, float]


class Drawing:
    """Elements in the order they are drawn, in pixels from the upper left corner."""

    def __init__(self, width: float) -> None:
        self.width = width
        self._elements: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, fill: str, *, opacity: float = 1) -> None:
        """A bar, its corners a little rounded."""
        shade = f' fill-opacity="{opacity:g}"' if opacity != 1 else ""
        self._add(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" rx="1.5" fill="{fill}"{shade}/>'
        )

    def line(self, start: Point, end: Point, stroke: str, *, width: float = 1, dashes: str = "") -> None:
        """A straight line."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._add(
            f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{stroke}" '
            f'stroke-width="{width:g}"{dashed}/>'
        )

    def path(self, points: Sequence[Point], stroke: str, *, dashes: str = "") -> None:
        """A line through points."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add(f'<polyline points="{joined}" fill="none" stroke="{stroke}" stroke-width="2.2"{dashed}/>')

    def band(self, points: Sequence[Point], fill: str) -> None:
        """A faint area."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add(f'<polygon points="{joined}" fill="{fill}" fill-opacity="0.13"/>')

    def dot(self, at: Point, fill: str) -> None:
        """A point of a line."""
        self._add(
            f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.6" fill="{fill}" stroke="{PAPER}" stroke-width="1.2"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 12,
        fill: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """One line of text; `y` is its base line, `anchor` start, middle or end."""
        weight = ' font-weight="600"' if bold else ""
        self._add(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"{weight} '
            f'paint-order="stroke" stroke="{PAPER}" stroke-width="3">'
            f"{escape(words, quote=False)}</text>"
        )

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
        """Colours and what they stand for, side by side, in as many lines as it takes."""
        left = x
        for color, words in entries:
            width = 16 + width_of(words, 12)
            if x + width > self.width - left:
                x, y = left, y + 16
            self.rect(x, y - 9, 11, 11, color)
            self.text(x + 16, y, words, size=12)
            x += width + 20

    def finish(self, height: float, description: str) -> str:
        """The document, with words for those who can not see it."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {height:g}" width="{self.width:g}" '
            f'height="{height:g}" role="img" font-family="{_FONT}">'
        )
        paper = f'<rect width="{self.width:g}" height="{height:g}" rx="6" fill="{PAPER}"/>'
        return "\n".join(
            (head, f"<title>{escape(description, quote=False)}</title>", paper, *self._elements, "</svg>", "")
        )

    def _add(self, element: str) -> None:
        self._elements.append(element)


def width_of(words: str, size: float) -> float:
    """About how wide a text is: there is no font to ask."""
    return len(words) * size * _WIDTH_OF_A_LETTER


def wrapped(words: str, most: int) -> list[str]:
    """The text in lines of at most so many letters."""
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
