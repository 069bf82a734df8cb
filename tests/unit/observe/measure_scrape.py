"""How long a scrape takes, and how late the event loop wakes meanwhile.

`python -m tests.unit.observe.measure_scrape [TENANTS [OWNERS_PER_TURN]]`
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from proxy.observe import metrics
from proxy.observe.counters import ProxyStats
from proxy.observe.gauges import ClientCount, PoolSnapshot
from tests.unit.observe.sources import Gauges

_TICK_S = 0.0005


async def measure(tenants: int) -> None:
    """Render once in a thread and print what it cost."""
    stats = ProxyStats()
    for number in range(tenants):
        stats.tenant(f"tenant{number}", "shared").query_seconds.observe(0.01)
    clients = [ClientCount(f"tenant{number}", "idle", 3) for number in range(tenants)]
    gauges = Gauges(clients, [PoolSnapshot("main", f"database{number}", "gatehouse") for number in range(100)])
    collector = metrics.GatehouseCollector(stats, gauges)
    late: list[float] = []
    ticker = asyncio.create_task(_tick(late))
    await asyncio.sleep(0.3)
    quiet = statistics.median(late)
    late.clear()
    started = time.perf_counter()
    scrape = collector.snapshot()
    gathered = time.perf_counter()
    with ThreadPoolExecutor(1) as thread:
        body, _ = await asyncio.get_running_loop().run_in_executor(thread, collector.render, scrape)
    ended = time.perf_counter()
    ticker.cancel()
    late_ms, worst_ms = (statistics.median(late) - quiet) * 1e3, max(late) * 1e3
    print(f"{body.count(10)} lines; on the loop {(gathered - started) * 1e3:.1f} ms, in the thread", end=" ")
    print(f"{(ended - gathered) * 1e3:.0f} ms; the loop woke {late_ms:.2f} ms late (median; worst {worst_ms:.1f} ms)")


async def _tick(late: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        late.append(time.perf_counter() - before - _TICK_S)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        metrics._OWNERS_PER_TURN = int(sys.argv[2])  # type: ignore[misc]
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
