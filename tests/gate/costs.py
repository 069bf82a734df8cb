"""What everything costs now: each story on both stages, and what a client costs that is logged in and silent."""

from __future__ import annotations

import gc
import tempfile
import tracemalloc
from pathlib import Path
from typing import Final

from tests.gate.arrivals import LOGIN, Arrivals
from tests.gate.budget import Costs
from tests.gate.counting import Counts, counts_of, own_memory
from tests.gate.stages import CoreStage, Show, Theatre, theatre
from tests.gate.stories import STORIES

IDLE_CLIENT: Final = "an idle client"
_CLIENTS: Final = 200


def core_costs() -> Costs:
    """The session core alone."""
    return {f"session core: {story.name}": counts_of(Show(CoreStage(), story)) for story in STORIES}


async def whole_costs() -> Costs:
    """Whole connections, with pool and transports' ends; and idle clients."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-gate-") as folder:
        async with theatre(Path(folder)) as opened:
            costs = {}
            for story in STORIES:
                costs[f"whole connection: {story.name}"] = counts_of(Show(await opened.stage(), story))
                opened.send_away()
            costs[LOGIN] = counts_of(Arrivals(opened))
            costs[IDLE_CLIENT] = await _idle_client(opened)
            return costs


async def _idle_client(opened: Theatre) -> Counts:
    """Bytes of a client without its transport, which is the event loop's."""
    for _ in range(_CLIENTS):  # what grows with the first ones, such as tables, is there then
        await opened.log_in()
    opened.send_away()
    gc.collect()
    tracemalloc.start()
    try:
        before = own_memory()[1]
        for _ in range(_CLIENTS):
            await opened.log_in()
        gc.collect()
        return {"bytes": round((own_memory()[1] - before) / _CLIENTS)}
    finally:
        tracemalloc.stop()
