"""What the kernel knows of processes and of the machine. Linux only: everything comes from /proc.

A proxy's figures are those of its whole family: some have worker processes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from bisect import bisect_left
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_SAMPLE_INTERVAL_S: Final = 0.04


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU that a process and its children have used, all their threads, user and system."""
    return sum(_own_cpu_seconds(one) for one in family(pid))


def _own_cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError):
        # Nanoseconds. /proc/PID/stat counts hundredths of a second, which is much for a run of one second.
        tasks = Path(f"/proc/{pid}/task").iterdir()
        if nanoseconds := sum(int((task / "schedstat").read_text().split()[0]) for task in tasks):
            return nanoseconds / 1e9
    with contextlib.suppress(OSError):
        # The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S
    return 0.0


def resident_kb(pid: int) -> int:
    """Resident memory of a process and its children in kilobytes, file mappings included, as `ps` shows it."""
    return sum(_status_kb(one, "VmRSS:") for one in family(pid))


def peak_resident_kb(pid: int) -> int:
    """The most that it was since `forget_peak`."""
    return sum(_status_kb(one, "VmHWM:") for one in family(pid))


def forget_peak(pid: int) -> None:
    """Have `peak_resident_kb` begin anew (manual page proc(5), clear_refs); where that is not allowed, it goes on."""
    for one in family(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{one}/clear_refs").write_text("5")


def _status_kb(pid: int, label: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1])
    return 0


class CpuWatch:
    """Samples the CPU that a process uses, for as long as the context lasts; `pid` None watches nothing."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._times: list[float] = []
        self._used: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cpu-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._pid is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        if self._pid is not None:
            self._thread.join()

    def between(self, begin: float, end: float) -> tuple[float, float, float] | None:
        """The first and last sample within these epoch seconds: their times and the CPU seconds used between them."""
        first, after = bisect_left(self._times, begin), bisect_left(self._times, end)
        if after - first < 2:
            return None
        return self._times[first], self._times[after - 1], self._used[after - 1] - self._used[first]

    def _watch(self) -> None:
        assert self._pid is not None
        while True:
            self._used.append(cpu_seconds(self._pid))
            self._times.append(time.time())
            if self._is_over.wait(_SAMPLE_INTERVAL_S):
                return


def stand_back() -> None:
    """Run only where a processor has nothing else to do, from now on: as a process of another machine would, almost.

    SCHED_IDLE of sched(7). Between sessions it does not hold while the kernel `has_autogroups`.
    """
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def has_autogroups() -> bool:
    """Whether the processors are divided between sessions first, then within them (sched(7), "The autogroup feature")."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/sched_autogroup_enabled").read_text().strip() != "0"
    return False


def describe_machine() -> dict[str, str | int]:
    """What a reader must know to judge the figures; nothing that names the machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_kb / 1024 / 1024),
        "kernel": platform.release(),
        "autogroups": "on" if has_autogroups() else "off",
        "python": platform.python_version(),
    }


def load_average() -> float:
    """The one-minute load average: above the number of cores, others were working too."""
    return os.getloadavg()[0]
