"""What a metric family is: its name, labels, help text, and where its value is read.

Knows no Prometheus library; `families.py` has the table of them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from proxy.observe.counters import HistogramSnapshot

Value = float | Mapping[str, float] | HistogramSnapshot
"""A mapping gives one sample per value of the family's last label."""


class FamilyType(StrEnum):
    """Prometheus' type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Family(Generic[Owner]):
    """One metric family; `name` is as in the text format, with the unit and `_total` that Prometheus asks for."""

    name: str
    type: FamilyType
    labels: tuple[str, ...]
    help: str
    read: Callable[[Owner], Value]
    pgbouncer: str = ""
