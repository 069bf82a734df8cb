"""Read and write durations and sizes as people put them in a configuration file.

A duration needs its unit, because a bare `15` is milliseconds in postgresql.conf and seconds in pgbouncer.ini.
Durations are whole milliseconds, PostgreSQL's own resolution; sizes follow PostgreSQL, where 1 kB is 1024 bytes.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from proxy.settings.names import Invalid

_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES: Final = {"TB": 1 << 40, "GB": 1 << 30, "MB": 1 << 20, "kB": 1 << 10, "B": 1}
_FOLDED: Final = {unit.lower(): factor for unit, factor in _BYTES.items()}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)")

DURATION_HINT: Final = "Write a number with a unit, ms, s, m, h or d, as in 15s."
TIMEOUT_HINT: Final = "Write a number with a unit, ms, s, m, h or d, as in 15s, or off for no limit."
SIZE_HINT: Final = "Write a number of bytes, or one with a unit, B, kB, MB, GB or TB, as in 64MB."


def parse_duration(text: str, hint: str = DURATION_HINT) -> float:
    """Seconds of `15s`, `250ms`, `1.5h`; raises Invalid for anything else, `0` and `off` included."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise Invalid(f'"{text[:40]}" is not a duration', hint)
    number, unit = match.groups()
    if not unit:
        raise Invalid(f'the duration "{text[:40]}" has no unit', hint)
    factor = _MS.get(unit)
    if factor is None:
        raise Invalid(f'"{unit[:20]}" is not a unit of time', hint)
    milliseconds = Decimal(number) * factor
    if milliseconds != int(milliseconds):
        raise Invalid(f'the duration "{text[:40]}" is not a whole number of milliseconds', hint)
    return int(milliseconds) / 1000


def parse_timeout(text: str) -> float:
    """As `parse_duration`; `0` and `off` give 0.0, no limit."""
    if text.strip() in ("0", "off"):
        return 0.0
    return parse_duration(text, TIMEOUT_HINT)


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_timeout` reads as the same number of milliseconds."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "off"
    unit, factor = next((unit, factor) for unit, factor in _MS.items() if milliseconds % factor == 0)
    return f"{milliseconds // factor}{unit}"


def parse_size(text: str) -> int:
    """Bytes of `64MB`, `256kB`, `4096`; units are read in any case. Raises Invalid for anything else."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise Invalid(f'"{text[:40]}" is not a size', SIZE_HINT)
    number, unit = match.groups()
    factor = _FOLDED.get(unit.lower() or "b")
    if factor is None:
        raise Invalid(f'"{unit[:20]}" is not a unit of size', SIZE_HINT)
    size = Decimal(number) * factor
    if size != int(size):
        raise Invalid(f'the size "{text[:40]}" is not a whole number of bytes', SIZE_HINT)
    return int(size)


def format_size(size: int) -> str:
    """The shortest text that `parse_size` reads as the same number of bytes."""
    if size == 0:
        return "0"
    unit, factor = next((unit, factor) for unit, factor in _BYTES.items() if size % factor == 0)
    return f"{size // factor}{unit}"
