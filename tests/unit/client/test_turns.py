"""Logins take turns with everybody else."""

from __future__ import annotations

import asyncio

from proxy.client.turns import Turns


class Work:
    """Pieces, each of which takes so many seconds of a clock."""

    def __init__(self, piece_s: float) -> None:
        self.done: list[bytes] = []
        self._piece_s = piece_s
        self._now = 0.0

    def clock(self) -> float:
        return self._now

    def piece(self, data: bytes) -> None:
        self._now += self._piece_s
        self.done.append(data)

    def rest(self, seconds: float) -> None:
        self._now += seconds


async def test_a_login_that_comes_alone_does_not_wait() -> None:
    work = Work(0.001)
    turns = Turns(work.clock)
    turns.take(work.piece, b"first")
    assert work.done == [b"first"]
    work.rest(0.0011)
    turns.take(work.piece, b"second")
    assert work.done == [b"first", b"second"]


async def test_what_came_in_the_same_turn_goes_before_the_second() -> None:
    work = Work(0.001)
    turns = Turns(work.clock)
    turns.take(work.piece, b"a login")
    turns.take(work.piece, b"another")
    work.rest(0.01)
    turns.take(work.piece, b"a third")  # in its order, though there would be time
    work.done.append(b"a query")
    await asyncio.sleep(0)
    assert work.done == [b"a login", b"a query", b"another"]
    await asyncio.sleep(0)
    assert work.done[-1] == b"a third"


async def test_a_flood_lets_others_in_between_and_keeps_its_order() -> None:
    work = Work(0.0001)
    turns = Turns(work.clock)
    pieces = [b"%d" % number for number in range(20)]
    for data in pieces:
        turns.take(work.piece, data)
    seen = []
    while len(work.done) < 20:
        await asyncio.sleep(0)  # somebody else's turn
        seen.append(len(work.done))
    assert work.done == pieces
    assert len(seen) >= 5
    turns.take(work.piece, b"late")
    await asyncio.sleep(0)
    assert work.done[-1] == b"late"


async def test_however_long_a_piece_takes_each_turn_has_one() -> None:
    work = Work(60.0)
    turns = Turns(work.clock)
    for data in (b"1", b"2", b"3"):
        turns.take(work.piece, data)
    assert work.done == [b"1"]
    await asyncio.sleep(0)
    assert work.done == [b"1", b"2"]
    await asyncio.sleep(0)
    assert work.done == [b"1", b"2", b"3"]
