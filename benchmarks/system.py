"""What the kernel knows of processes and of the machine. Linux only: everything comes from /proc."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used, all its threads, user and system; from schedstat where the kernel keeps it."""
    with contextlib.suppress(OSError, ValueError):
        # Nanoseconds. /proc/PID/stat counts hundredths of a second, which is much for a run of one second.
        tasks = Path(f"/proc/{pid}/task").iterdir()
        if nanoseconds := sum(int((task / "schedstat").read_text().split()[0]) for task in tasks):
            return nanoseconds / 1e9
    # The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def resident_kb(pid: int) -> int:
    """Resident memory of a process in kilobytes, file mappings included, as `ps` shows it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


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
        "python": platform.python_version(),
    }


def load_average() -> float:
    """The one-minute load average: above the number of cores, others were working too."""
    return os.getloadavg()[0]
