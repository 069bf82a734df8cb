"""Charts: well-formed, with every figure in words, and none of what was not measured."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks.charts import draw_all
from benchmarks.charts.scales import Linear, Logarithmic, tick_label
from benchmarks.charts.svg import width_of

SVG = "{http://www.w3.org/2000/svg}"


def result(**figures: float) -> dict[str, Any]:
    spreads = {name: {"median": value, "low": value, "high": value} for name, value in figures.items()}
    return {"figures": spreads, "ratio_to": {"pgbouncer": spreads}}


def run(workloads: dict[str, Any]) -> dict[str, Any]:
    return {
        "when": "2026-11-21T06:00:00+00:00",
        "machine": {"cpu": "A <quick> one & only", "cores": 2},
        "plan": {"rounds": 3, "seconds": 1},
        "endpoints": {"pgbouncer": "PgBouncer 1.25", "gatehouse": "Gatehouse 1"},
        "roles": {"pgbouncer": "pooler", "gatehouse": "gatehouse"},
        "workloads": workloads,
    }


def words(path: Path) -> list[str]:
    return [element.text or "" for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_bars_say_ratio_and_figure(tmp_path: Path) -> None:
    drawn = draw_all(run({"simple": {"title": "a SELECT", "results": {"gatehouse": result(cpu_us=1.25)}}}), tmp_path)
    assert [path.name for path in drawn] == ["cpu.svg"]
    assert "a SELECT" in words(drawn[0])
    assert "1.25 (1.2 µs)" in [" ".join(word.split()) for word in words(drawn[0])]


def test_lines_end_with_who_they_are_and_the_last_value(tmp_path: Path) -> None:
    idle = {
        f"idle-{count}": {"title": "", "results": {"gatehouse": result(cpu_us=20 + count / 1000)}}
        for count in (10, 1000)
    }
    drawn = draw_all(run(idle), tmp_path, "today-")
    assert [path.name for path in drawn] == ["today-clients.svg"]
    assert "gatehouse: 21.0" in words(drawn[0])


def test_poolers_have_colours_of_their_own_and_the_legend_stays_on_the_page(tmp_path: Path) -> None:
    names = [f"a pooler with number {number}" for number in range(5)]
    document = run({"copy-in": {"title": "COPY", "results": {name: result(mb_s=100) for name in names}}})
    document["roles"] = dict.fromkeys(names, "pooler")
    [path] = draw_all(document, tmp_path)
    root = ElementTree.parse(path).getroot()
    legend = [text for text in root.iter(f"{SVG}text") if text.text in names]
    assert len({text.get("y") for text in legend}) == 2
    assert all(float(text.get("x", "0")) + width_of(text.text or "", 12) < 860 for text in legend)
    assert len({rect.get("fill") for rect in root.iter(f"{SVG}rect") if rect.get("width") == "11.0"}) == 5


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    assert draw_all(run({}), tmp_path) == []


def test_linear_ticks_are_round_and_end_on_the_axis() -> None:
    assert Linear(8.2, 0, 100).ticks() == [0, 2, 4, 6, 8]
    assert Linear(0.93, 0, 100).place(0.93) == 100


def test_logarithmic_ticks_are_powers_of_ten() -> None:
    scale = Logarithmic.around(3, 800, 0, 90)
    assert scale.ticks() == [1, 10, 100, 1000]
    assert [scale.place(tick) for tick in scale.ticks()] == pytest.approx([0, 30, 60, 90])
    assert tick_label(10_000) == "10,000"
