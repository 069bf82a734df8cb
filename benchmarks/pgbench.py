"""Run pgbench against one endpoint and find out what it did, and what the proxy used meanwhile.

pgbench logs when each transaction ended; the proxy's CPU is sampled beside it. Both are cut to one window that leaves
out logging in and the ends, so CPU per transaction is that of the transactions alone.
"""

from __future__ import annotations

import math
import re
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.endpoints import Endpoint
from benchmarks.measurement import Measurement, RunFailed, percentile
from benchmarks.system import CpuWatch, resident_kb

SCRIPTS: Final = Path(__file__).parent / "scripts"
RUN_IN_S: Final = 0.2
"""Left out at the start: plans and caches fill."""
TIMEOUT_MARGIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """What pgbench shall do; `rate`: transactions per second in all, if they are not to come as fast as they can.

    `reconnects`: each transaction logs in anew. One of pgbench's threads logs in one client at a time, so each has its own.
    """

    script: str
    protocol: str = "prepared"
    clients: int = 16
    rate: int = 0
    reconnects: bool = False

    def command(self, pgbench: Path | str, seconds: int, folder: Path | str = "benchmarks/scripts") -> list[str]:
        """pgbench's arguments, without where to connect."""
        threads = self.clients if self.reconnects else min(2, self.clients)
        arguments = [str(pgbench), "-n", "-M", self.protocol, "-c", str(self.clients), "-j", str(threads)]
        arguments += ["-C"] if self.reconnects else []
        arguments += ["-T", str(seconds), *(["-R", str(self.rate)] if self.rate else [])]
        return [*arguments, "-f", f"{folder}/{self.script}.sql"]


@dataclass(slots=True)
class Log:
    """Transactions in order of their ends (epoch seconds), each with how long it took (ms); what pgbench said."""

    ends: list[float] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    output: str = ""

    def between(self, begin: float, end: float) -> list[float]:
        """How long those took that ended then, the shortest first."""
        return sorted(self.took_ms[bisect_left(self.ends, begin) : bisect_left(self.ends, end)])

    def summary(self, label: str) -> float:
        """A figure of pgbench's summary, in milliseconds."""
        found = re.search(rf"^{label} = ([\d.]+) ms", self.output, re.MULTILINE)
        return float(found[1]) if found else math.nan


def check(pgbench: Path, endpoint: Endpoint, script: str) -> None:
    """Run a script once; raises `RunFailed` with what pgbench said."""
    arguments = [str(pgbench), "-n", "-t", "1", "-f", f"{SCRIPTS}/{script}.sql"]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, env=endpoint.environment(), timeout=30)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"{endpoint.name}: no answer") from None
    if done.returncode != 0:
        raise RunFailed(f"{endpoint.name}: {done.stderr.strip()}")


def measure(pgbench: Path, endpoint: Endpoint, job: Job, seconds: int, user: str | None = None) -> Measurement:
    """Run the job for so many seconds; raises `RunFailed` with what pgbench said."""
    with CpuWatch(endpoint.pid) as cpu, running(pgbench, endpoint, job, seconds, user) as log:
        pass
    if len(log.ends) < 10:
        raise RunFailed(f"{endpoint.name}: too few transactions to say anything")
    begin, end = log.ends[0] + RUN_IN_S, log.ends[-1]
    used = cpu.between(begin, end)
    if used is not None:
        begin, end, _ = used
    took_ms = log.between(begin, end)
    if not took_ms:
        raise RunFailed(f"{endpoint.name}: nothing ended in the time measured")
    return {
        "tps": len(took_ms) / (end - begin),
        "mean_ms": log.summary("latency average"),
        "p50_ms": percentile(took_ms, 0.50),
        "p99_ms": percentile(took_ms, 0.99),
        "cpu_us": None if used is None else used[2] / len(took_ms) * 1e6,
        "resident_kb": None if endpoint.pid is None else resident_kb(endpoint.pid),
    }


@contextmanager
def running(pgbench: Path, endpoint: Endpoint, job: Job, seconds: int, user: str | None = None) -> Iterator[Log]:
    """pgbench at work; the log is filled when the context ends. Raises `RunFailed` then."""
    log = Log()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        command = [*job.command(pgbench, seconds, SCRIPTS), "-l", f"--log-prefix={folder}/log"]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=endpoint.environment(user)
        )
        try:
            yield log
            log.output, _ = process.communicate(timeout=seconds + TIMEOUT_MARGIN_S)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{endpoint.name}: pgbench did not end") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode != 0:
            raise RunFailed(f"{endpoint.name}: {log.output.strip()[-600:]}")
        _read_logs(Path(folder), log)
        if not log.ends:
            raise RunFailed(f"{endpoint.name}: no transaction ended")


def _read_logs(folder: Path, log: Log) -> None:
    rows: list[tuple[float, float]] = []
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            # client, transaction, time in microseconds, script, epoch seconds, microseconds
            _, _, latency, _, second, microsecond, *_ = line.split()
            rows.append((int(second) + int(microsecond) / 1e6, int(latency) / 1e3))
    rows.sort()
    log.ends, log.took_ms = [end for end, _ in rows], [took for _, took in rows]
