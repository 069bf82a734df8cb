"""Run pgbench against one endpoint and find out what it did, and what the proxy used meanwhile.

pgbench logs when each transaction ended; the proxy's CPU is sampled beside it. Both are cut to one window that leaves
out logging in and the ends, so CPU per transaction is that of the transactions alone.
"""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
import time
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.endpoints import Endpoint
from benchmarks.system import cpu_seconds, resident_kb
from benchmarks.workloads import Workload

SAMPLE_INTERVAL_S: Final = 0.04
RUN_IN_S: Final = 0.2
"""Left out at the start: plans and caches fill."""
TIMEOUT_MARGIN_S: Final = 60.0


class RunFailed(Exception):
    """pgbench did not get through."""


@dataclass(frozen=True, slots=True)
class Run:
    """One endpoint, one workload, once. CPU and memory are None where there is no proxy.

    With a login per transaction the percentiles are None, because pgbench's threads stand still while they log in, and
    `mean_ms` is the time a login took.
    """

    tps: float
    mean_ms: float
    p50_ms: float | None
    p99_ms: float | None
    cpu_us: float | None
    resident_kb: int | None


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    cpu_s: float


def command(pgbench: Path | str, script: Path | str, workload: Workload, seconds: int) -> list[str]:
    """pgbench's arguments, without where to connect."""
    arguments = [str(pgbench), "-n", "-M", workload.protocol, "-c", str(workload.clients)]
    arguments += ["-j", str(min(2, workload.clients)), "-T", str(seconds)]
    return [*arguments, *(["-C"] if workload.reconnects else []), "-f", str(script)]


def check(pgbench: Path, endpoint: Endpoint, script: Path) -> None:
    """Run a script once; raises `RunFailed` with what pgbench said."""
    arguments = [str(pgbench), "-n", "-t", "1", "-f", str(script)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=endpoint.environment, timeout=30)
    if done.returncode != 0:
        raise RunFailed(f"{endpoint.name}: {done.stderr.strip()}")


def measure(pgbench: Path, endpoint: Endpoint, workload: Workload, seconds: int) -> Run:
    """Run the workload for so many seconds; raises `RunFailed` with what pgbench said."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        arguments = command(pgbench, workload.script_for(endpoint.role), workload, seconds)
        arguments += ["-l", f"--log-prefix={folder}/log"]
        samples, output = _run_sampled(arguments, endpoint, seconds)
        ends, latencies = _read_logs(Path(folder))
        return _evaluate(endpoint, workload, samples, output, ends, latencies)


def _run_sampled(arguments: list[str], endpoint: Endpoint, seconds: int) -> tuple[list[_Sample], str]:
    deadline = time.monotonic() + seconds + TIMEOUT_MARGIN_S
    samples: list[_Sample] = []
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=endpoint.environment
    ) as process:
        while process.poll() is None:
            if time.monotonic() > deadline:
                process.kill()
                raise RunFailed(f"{endpoint.name}: pgbench did not end")
            if endpoint.pid is not None:
                samples.append(_Sample(time.time(), cpu_seconds(endpoint.pid)))
            time.sleep(SAMPLE_INTERVAL_S)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode != 0:
        raise RunFailed(f"{endpoint.name}: {output.strip()[-600:]}")
    return samples, output


def _read_logs(folder: Path) -> tuple[list[float], list[int]]:
    """When each transaction ended (epoch seconds) and how long it took (µs), in order of their ends."""
    rows: list[tuple[float, int]] = []
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            # client, transaction, time, script, epoch seconds, microseconds
            _, _, latency, _, second, microsecond, *_ = line.split()
            rows.append((int(second) + int(microsecond) / 1e6, int(latency)))
    rows.sort()
    return [end for end, _ in rows], [latency for _, latency in rows]


def _evaluate(
    endpoint: Endpoint, workload: Workload, samples: list[_Sample], output: str, ends: list[float], latencies: list[int]
) -> Run:
    if len(ends) < 10:
        raise RunFailed(f"{endpoint.name}: too few transactions to say anything")
    begin, end = ends[0] + RUN_IN_S, ends[-1]
    inside = [sample for sample in samples if begin <= sample.at <= end]
    if len(inside) >= 2:
        begin, end = inside[0].at, inside[-1].at
    first, last = bisect_left(ends, begin), bisect_left(ends, end)
    count = last - first
    if count < 1:
        raise RunFailed(f"{endpoint.name}: nothing ended in the time measured")
    cpu_us = (inside[-1].cpu_s - inside[0].cpu_s) / count * 1e6 if len(inside) >= 2 else None
    ordered = sorted(latencies[first:last])
    mean_ms = _number(output, "average connection time") if workload.reconnects else _number(output, "latency average")
    return Run(
        tps=count / (end - begin),
        mean_ms=mean_ms,
        p50_ms=None if workload.reconnects else _percentile(ordered, 0.50) / 1e3,
        p99_ms=None if workload.reconnects else _percentile(ordered, 0.99) / 1e3,
        cpu_us=cpu_us,
        resident_kb=None if endpoint.pid is None else resident_kb(endpoint.pid),
    )


def _percentile(ordered: list[int], fraction: float) -> int:
    return ordered[min(len(ordered) - 1, math.ceil(fraction * len(ordered)) - 1)]


def _number(output: str, label: str) -> float:
    """A figure of pgbench's summary, in milliseconds."""
    found = re.search(rf"^{label} = ([\d.]+) ms", output, re.MULTILINE)
    return float(found[1]) if found else math.nan
