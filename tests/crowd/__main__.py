"""Play crowds for as long as one likes: `python -m tests.crowd --seconds N --seed S`. Exit code 1 if anything differs.

`--seed S --seconds 0` plays one seed; what differs is made small and printed.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import time

from proxy.cli.demo.binaries import PostgresBinaries
from proxy.observe import logs
from tests.crowd.comparing import compare_seed, shrink
from tests.crowd.world import SETTINGS, World, world
from tests.support.postgres import ClusterWorkshop, TestCluster, system_binaries

MOST_FINDINGS = 20


async def explore(cluster: TestCluster, tables: World, options: argparse.Namespace) -> int:
    """One seed after the other, one at least; how many found something."""
    seed = options.seed
    end = time.monotonic() + options.seconds
    findings = turns = documented = 0
    while True:
        same, difference = await compare_seed(cluster, tables, seed, options.acts)
        turns += same
        if difference is not None and difference.is_documented:
            documented += 1
        elif difference is not None:
            findings += 1
            small = difference if options.whole else await shrink(cluster, tables, difference)
            print(f"--- seed {seed}\n{small.report()}", flush=True)
        seed += 1
        if time.monotonic() >= end or findings >= MOST_FINDINGS:
            break
    print(
        f"{seed - options.seed} seeds, {turns} turns the same, {documented} ended by a change of columns, {findings} findings"
    )
    return findings


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crowd", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="where to begin (default: the time)")
    parser.add_argument("--acts", type=int, default=10, help="about how much each client does")
    parser.add_argument(
        "--postgres",
        choices=("embedded", "system"),
        default="embedded",
        help="the PostgreSQL that comes along, or this machine's",
    )
    parser.add_argument("--whole", action="store_true", help="do not make what differs small")
    options = parser.parse_args()
    binaries = PostgresBinaries.embedded() if options.postgres == "embedded" else system_binaries()
    if binaries is None:
        parser.error("no PostgreSQL server on this machine: install one, or name its bin folder in PG_BIN")
    print(f"seed {options.seed}, PostgreSQL {binaries.major}", flush=True)
    logs.configure("json", "debug", stream=io.StringIO())
    workshop = ClusterWorkshop()
    cluster = workshop.make(binaries, SETTINGS)
    cluster.start()
    try:
        with world(cluster) as tables:
            return 1 if asyncio.run(explore(cluster, tables, options)) else 0
    finally:
        cluster.stop()
        workshop.close()


if __name__ == "__main__":
    sys.exit(main())
