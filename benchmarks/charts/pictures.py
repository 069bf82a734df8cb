"""Which charts there are, and what of a run's JSON they show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.charts.bars import Bar, BarChart, Group
from benchmarks.charts.lines import LineChart, Series, Value
from benchmarks.measurement import FIGURES

Document = dict[str, Any]

_COLORS: Final = {
    "direct": ("#d1d5db",),
    "splice": ("#9ca3af",),
    "pooler": ("#f59e0b", "#92400e", "#ef4444", "#84cc16", "#14b8a6"),
    "gatehouse": ("#60a5fa", "#1d4ed8", "#7c3aed", "#db2777", "#059669"),
}
"""By role; who comes after the last has the last one's."""
_TRANSACTIONS: Final = (
    "simple",
    "extended",
    "prepared",
    "prepared-1",
    "tenant-4",
    "tenant-pipelined",
    "block-3",
    "tpcb",
    "rows-10kb",
)


def draw_all(document: Document, folder: Path, prefix: str = "") -> list[Path]:
    """Draw what the run has figures for; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, chart in _Pictures(document).all():
        paths.append(folder / f"{prefix}{name}.svg")
        paths[-1].write_text(chart.draw())
    return paths


class _Pictures:
    """The charts of one run."""

    def __init__(self, document: Document) -> None:
        self._workloads: dict[str, Any] = document["workloads"]
        self._roles: dict[str, str] = document.get("roles") or {name: _role(name) for name in document["endpoints"]}
        self._colors = dict(self._chosen_colors())
        self._base = next((name for name, role in self._roles.items() if role == "pooler"), None)
        self._note = _note(document)

    def all(self) -> Iterator[tuple[str, BarChart | LineChart]]:
        """Each with the name of its file, unless there is nothing to show."""
        if self._base is not None:
            yield from self._bars(
                "cpu", f"CPU per transaction, {self._base} = 1", _TRANSACTIONS, "cpu_us", is_ratio=True
            )
            yield from self._bars("throughput", f"Throughput, {self._base} = 1", _TRANSACTIONS, "tps", is_ratio=True)
        else:
            yield from self._bars("cpu", "CPU per transaction, in µs", _TRANSACTIONS, "cpu_us")
            yield from self._bars("throughput", "Transactions per second", _TRANSACTIONS, "tps")
        yield from self._bars("copy", "COPY, in MB per second", ("copy-in", "copy-out"), "mb_s")
        yield from self._bars(
            "logins", "Logins with SCRAM per second", ("connect", "connect-libpq", "storm-1000"), "logins_s"
        )
        yield from self._bars(
            "neighbours",
            "What a quiet client waits at most (p99, ms)",
            ("hot-tenant", "storm-1000"),
            "p99_ms",
            is_logarithmic=True,
        )
        yield from self._lines(
            "clients", "CPU per transaction, in µs, by idle clients beside", "idle", "idle clients", {}
        )
        yield from self._lines(
            "tenants",
            "CPU per transaction, in µs, by tenants in the registry",
            "tenants",
            "tenants (dashed: clients of many tenants by turns)",
            {"cpu_us": "", "spread_cpu_us": "5 4"},
        )

    def _bars(
        self,
        name: str,
        title: str,
        workloads: Sequence[str],
        figure: str,
        *,
        is_ratio: bool = False,
        is_logarithmic: bool = False,
    ) -> Iterator[tuple[str, BarChart]]:
        groups = []
        for workload in workloads:
            results = self._workloads.get(workload, {}).get("results", {})
            bars = [bar for who in results if (bar := self._bar(who, results[who], figure, is_ratio=is_ratio))]
            if bars:
                groups.append(Group(self._workloads[workload]["title"], bars))
        if groups:
            reference = (1.0, f"{self._base} = 1") if is_ratio else None
            yield name, BarChart(title, self._note, groups, self._colors, reference, is_logarithmic)

    def _bar(self, who: str, result: Document, figure: str, *, is_ratio: bool) -> Bar | None:
        absolute = result["figures"].get(figure)
        spread = result["ratio_to"].get(self._base, {}).get(figure) if is_ratio else absolute
        if spread is None or absolute is None:
            return None
        shown = f"{FIGURES[figure].show(absolute['median'])} {_UNITS.get(figure, '')}".strip()
        words = f"{spread['median']:.2f}  ({shown})" if is_ratio else shown
        return Bar(who, spread["median"], spread["low"], spread["high"], words)

    def _lines(
        self, name: str, title: str, family: str, x_label: str, figures: dict[str, str]
    ) -> Iterator[tuple[str, LineChart]]:
        sizes = sorted(int(key.removeprefix(f"{family}-")) for key in self._workloads if key.startswith(f"{family}-"))
        series = []
        for who, color in self._colors.items():
            for figure, dashes in (figures or {"cpu_us": ""}).items():
                values = [value for size in sizes if (value := self._value(f"{family}-{size}", who, figure, size))]
                if len(values) > 1:
                    words = f"{who}, spread" if figure.startswith("spread") else who
                    series.append(Series(words, color, values, dashes))
        if series:
            yield name, LineChart(title, self._note, x_label, series)

    def _value(self, workload: str, who: str, figure: str, size: int) -> Value | None:
        spread = self._workloads[workload]["results"].get(who, {}).get("figures", {}).get(figure)
        return None if spread is None else Value(size, spread["median"], spread["low"], spread["high"])

    def _chosen_colors(self) -> Iterator[tuple[str, str]]:
        left = {role: iter(colors) for role, colors in _COLORS.items()}
        for who, role in self._roles.items():
            yield who, next(left[role], _COLORS[role][-1])


_UNITS: Final = {"cpu_us": "µs", "tps": "tps", "mb_s": "MB/s", "logins_s": "/s", "p99_ms": "ms"}


def _note(document: Document) -> str:
    """Under each title: on what it was measured, and how often."""
    machine, plan = document["machine"], document["plan"]
    rounds = f"median of {plan['rounds']} rounds, and their extremes" if plan["rounds"] > 1 else "one round"
    return f"{rounds}; {machine['cores']} cores, {machine['cpu']}; {document['when'][:10]}"


def _role(name: str) -> str:
    """For runs that do not say: published ones from before."""
    known = {"direct": "direct", "haproxy (TCP)": "splice", "pgbouncer": "pooler"}
    return known.get(name, "gatehouse")
