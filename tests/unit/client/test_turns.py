"""Logins take turns with everybody else."""

from __future__ import annotations

import asyncio
from functools import partial

from proxy.client.turns import Turns


async def test_a_piece_that_comes_alone_is_done_at_once() -> None:
    done: list[int] = []
    Turns().take(lambda: done.append(1))
    assert done == [1]


async def test_a_flood_lets_others_in_between_and_keeps_its_order() -> None:
    turns = Turns()
    done: list[int] = []
    for number in range(20):
        turns.take(partial(done.append, number))
    at_first = len(done)
    assert 0 < at_first < 20
    seen = []
    while len(done) < 20:
        await asyncio.sleep(0)  # somebody else's turn
        seen.append(len(done))
    assert done == list(range(20))
    assert len(seen) >= 3
    turns.take(lambda: done.append(20))
    await asyncio.sleep(0)
    assert done[-1] == 20
