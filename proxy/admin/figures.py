"""Numbers for people: three digits and a unit, with spaces that do not break."""

from __future__ import annotations

from typing import Final

NARROW: Final = "\u202f"
NOTHING: Final = "\u2013"
"""What stands where there is no number."""


def number(value: float) -> str:
    """1234567 as `1 234 567`."""
    return f"{value:,.0f}".replace(",", NARROW)


def rate(value: float | None) -> str:
    """Something per second: one decimal while it is small."""
    if value is None:
        return NOTHING
    return number(value) if value >= 9.95 or value == 0 else f"{value:.1f}"


def seconds(value: float | None) -> str:
    """A short time: `850 µs`, `12.5 ms`, `3.20 s`."""
    if value is None:
        return NOTHING
    if value < 0.9995e-3:
        return f"{value * 1e6:.0f}{NARROW}µs"
    if value < 0.9995:
        return f"{_three(value * 1e3)}{NARROW}ms"
    return f"{_three(value)}{NARROW}s"


def size(value: float) -> str:
    """Bytes: `512 B`, `1.50 MB`; decimal units."""
    if value < 999.5:
        return f"{value:.0f}{NARROW}B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.5:
            return f"{_three(value)}{NARROW}{unit}"
    return f"{_three(value / 1000)}{NARROW}TB"


def duration(value: float) -> str:
    """A long time in its two largest units: `3 d 4 h`, `12 min 5 s`."""
    left = max(0, int(value))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count}{NARROW}{unit}")
    return " ".join(parts[:2])


def _three(value: float) -> str:
    return f"{value:.{0 if value >= 99.5 else 1 if value >= 9.95 else 2}f}"
