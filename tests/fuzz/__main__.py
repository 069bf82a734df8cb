"""Fuzz for as long as one likes: `python -m tests.fuzz --seconds N --seed S`. Exit code 1 if anything was found.

A third of the time goes to the cores, the rest to a whole proxy. A finding of the cores comes with the seed that shows it
again: `--property NAME --seed S --seconds 0`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from random import Random

from proxy.cli.demo.binaries import PostgresBinaries
from tests.fuzz import hostile
from tests.fuzz.properties import PROPERTIES
from tests.fuzz.relay import SpoilingRelay
from tests.support.postgres import ClusterWorkshop, TestCluster
from tests.support.serve import served_proxy

MOST_FINDINGS = 20


def until(seconds: float) -> Callable[[], bool]:
    """True for so long."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def fuzz_property(name: str, seed: int, seconds: float) -> int:
    """One seed after the other, one at least; how many found something."""
    findings = tried = 0
    goes_on = until(seconds)
    while not tried or (goes_on() and findings < MOST_FINDINGS):
        try:
            PROPERTIES[name](Random(seed))
        except Exception:
            findings += 1
            print(f"--- {name!r}, seed {seed}")
            traceback.print_exc(limit=-4, file=sys.stdout)
        seed += 1
        tried += 1
    print(f"{name}: {tried} examples, {findings} findings", flush=True)
    return findings


async def _besieged(cluster: TestCluster, seed: int, seconds: float) -> None:
    with served_proxy(cluster, {"pool": {"size": 3}}) as proxy:
        tally = hostile.Tally()
        async with hostile.at_work(proxy, "umbrella", tally):
            before = proxy.resident_bytes()
            await hostile.besiege(proxy, Random(seed), tally, until(seconds))
        print(f"hostile clients: {tally}", flush=True)
        hostile.assert_unharmed(proxy, cluster, before)


async def _spoiled(cluster: TestCluster, seed: int, seconds: float) -> None:
    with (
        SpoilingRelay(cluster.host, cluster.port, seed) as relay,
        served_proxy(cluster, hostile.spoiled_config(relay, cluster)) as proxy,
    ):
        tally = hostile.Tally()
        async with hostile.at_work(proxy, "initech", tally):
            before = proxy.resident_bytes()
            relay.rate = 0.3
            await hostile.Doubters(proxy, tally).work(Random(seed), until(seconds))
            relay.rate = 0.0
        print(f"spoiled servers: {tally}", flush=True)
        hostile.assert_unharmed(proxy, cluster, before)


def fuzz_proxy(seed: int, seconds: float) -> int:
    """A proxy among hostile clients, then one with spoiled servers; how many of the two failed."""
    findings = 0
    workshop = ClusterWorkshop()
    cluster = workshop.make(PostgresBinaries.embedded())
    cluster.start()
    try:
        for siege in (_besieged, _spoiled):
            try:
                asyncio.run(siege(cluster, seed, seconds / 2))
            except Exception:
                findings += 1
                traceback.print_exc(file=sys.stdout)
    finally:
        cluster.stop()
        workshop.close()
    return findings


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="where to begin (default: the time)")
    parser.add_argument("--property", choices=[*PROPERTIES, "whole proxy"], help="this alone")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.property == "whole proxy":
        findings = fuzz_proxy(options.seed, options.seconds)
    elif options.property:
        findings = fuzz_property(options.property, options.seed, options.seconds)
    else:
        each = options.seconds / 3 / len(PROPERTIES)
        findings = sum(fuzz_property(name, options.seed, each) for name in PROPERTIES)
        findings += fuzz_proxy(options.seed, options.seconds * 2 / 3)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
