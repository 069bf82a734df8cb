"""Time every case in this process, and print what came of it as one line of JSON: `python -m benchmarks.micro.worker`."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns
from typing import Final

import proxy.server.ledger
from benchmarks.micro.cases import Operation, all_cases
from proxy.observe import logs
from tests.gate.stages import theatre

_REPEATS: Final = 5


async def measure(once_s: float) -> dict[str, object]:
    """Nanoseconds per operation, the best of a few repeats of about `once_s` seconds each."""
    figures: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="gatehouse-micro-") as folder:
        async with theatre(Path(folder)) as opened:
            async for case in all_cases(opened):
                figures[case.name] = {"modules": case.modules, "ns": _best_ns(case.operation, once_s) / case.count}
    is_compiled = not proxy.server.ledger.__file__.endswith(".py")
    return {"is_compiled": is_compiled, "python": sys.version.split()[0], "figures": figures}


def _best_ns(operation: Operation, once_s: float) -> float:
    times, taken = 1, 0
    while (taken := _time_ns(operation, times)) < once_s * 1e9 / 4:
        times = max(times * 2, int(times * once_s * 1e9 / 2 / max(taken, 1)))
    times = max(1, int(times * once_s * 1e9 / taken))
    return min(_time_ns(operation, times) for _ in range(_REPEATS)) / times


def _time_ns(operation: Operation, times: int) -> int:
    gc.collect()
    gc.disable()
    begin = perf_counter_ns()
    for _ in range(times):
        operation()
    taken = perf_counter_ns() - begin
    gc.enable()
    return taken


if __name__ == "__main__":
    logs.configure("json", "error", stream=io.StringIO())
    print(json.dumps(asyncio.run(measure(float(sys.argv[1])))))
