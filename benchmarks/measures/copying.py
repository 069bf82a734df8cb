"""COPY, in and out: megabytes per second, and how much the proxy's memory grows meanwhile."""

from __future__ import annotations

from typing import Final

from benchmarks.endpoints import Endpoint
from benchmarks.load import process
from benchmarks.measurement import Measurement
from benchmarks.site import Site, Workload
from benchmarks.system import cpu_seconds, forget_peak, peak_resident_kb, resident_kb

MEGABYTES_PER_SECOND: Final = 200
"""About what goes through: a run of so many seconds copies that many times this."""

# Rows are read and thrown away: the proxies are measured, not how PostgreSQL writes.
_IN: Final = "COPY bulk FROM STDIN WHERE false"
_OUT: Final = "COPY (SELECT repeat('x', 1023) FROM generate_series(1, {rows})) TO STDOUT"


class Copying(Workload):
    """COPY of lines of 1 kB: in messages of 8 kB as psql sends them, out in one message a row as PostgreSQL does."""

    figures = ("mb_s", "cpu_us_mb", "peak_growth_kb", "resident_kb")
    ratios = ("mb_s", "cpu_us_mb")

    def __init__(self, name: str, title: str, *, is_in: bool) -> None:
        self.name = name
        self.title = title
        self._is_in = is_in

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        megabytes = seconds * MEGABYTES_PER_SECOND
        pid = endpoint.pid
        if pid is not None:
            forget_peak(pid)
        resident, cpu_s = (resident_kb(pid), cpu_seconds(pid)) if pid is not None else (0, 0.0)
        if self._is_in:
            told = process.run(endpoint, "copy_in", megabytes=megabytes, sql=_IN)
        else:
            told = process.run(endpoint, "copy_out", sql=_OUT.format(rows=megabytes * 1024))
        copied = told["bytes"] / 2**20
        measured: Measurement = {"mb_s": copied / (told["ended"] - told["began"])}
        if pid is not None:
            measured |= {
                "cpu_us_mb": (cpu_seconds(pid) - cpu_s) / copied * 1e6,
                "peak_growth_kb": peak_resident_kb(pid) - resident,
                "resident_kb": resident_kb(pid),
            }
        return measured

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        megabytes = seconds * MEGABYTES_PER_SECOND
        return f"{_IN} <- {megabytes} MB" if self._is_in else _OUT.format(rows=megabytes * 1024)
