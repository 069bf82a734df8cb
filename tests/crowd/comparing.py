"""Play a seed on both sides, compare, and make what differs small."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from proxy.wire.trace import frontend_lines
from tests.crowd.playing import Seen, Setup, Turn, play_directly, play_through
from tests.crowd.seeds import write
from tests.crowd.world import World
from tests.support.postgres import TestCluster
from tests.support.proxy import running_proxy

_PLAN_CHANGED = b"cached plan must not change result type"
_NOT_FOUND = re.compile(rb'relation ".*" does not exist')
_OF_A_TYPE = b"invalid input syntax for type "
_BLOCK_FAILED = b"current transaction is aborted, commands ignored until end of transaction block"


@dataclass(frozen=True, slots=True)
class Difference:
    """A turn of which something else came through Gatehouse, the last of `turns`."""

    setup: Setup
    turns: list[Turn]
    expected: object
    seen: object

    @property
    def is_documented(self) -> bool:
        """Whether it is one of the differences: "prepared before a change", or "failed block". What follows it can not be
        compared."""
        if not (isinstance(self.expected, Seen) and isinstance(self.seen, Seen)):
            return False
        # In the middle of a batch there is no status: PostgreSQL describes what needs no transaction, or finds fault.
        describes = {frame[0] for frame in self.expected.frames if isinstance(frame, tuple)} <= set("tnE")
        is_alike = self.expected.status == self.seen.status and (self.seen.status == "E" or describes)
        has_failed = is_alike and self.seen.status != "I" and _BLOCK_FAILED in _messages(self.seen)
        is_retyped = all(any(_OF_A_TYPE in text for text in _messages(seen)) for seen in (self.expected, self.seen))
        is_lost = any(map(_NOT_FOUND.fullmatch, _messages(self.seen))) and (
            ("t", []) in self.expected.frames
            or any(b"bind message supplies" in text for text in _messages(self.expected))
        )
        return has_failed or is_retyped or is_lost or _PLAN_CHANGED in _messages(self.expected)

    @property
    def is_beside_the_point(self) -> bool:
        """Whether it is documented, or comes of a program that lost the end of what it began."""
        is_broken = isinstance(self.expected, Seen) and bool({"closed", "silence"} & {*map(str, self.expected.frames)})
        return self.is_documented or is_broken

    def report(self) -> str:
        """All there is to know."""
        lines = [f"{self.setup.servers} servers, {self.setup.config}"]
        lines += [f"client {number}: {member}" for number, member in enumerate(self.setup.members)]
        for turn in self.turns:
            waits = "comes again" if turn.returns else f"to {turn.count} {turn.until}"
            lines.append(f"client {turn.client}{' (alone)' if turn.alone else ''}, {waits}")
            lines += [f"    {line}" for line in frontend_lines(turn.messages)]
        return "\n".join([*lines, *_told_apart(self.expected, self.seen)])


def _told_apart(expected: object, seen: object) -> list[str]:
    """What was seen on both sides, the parts that are the same left out."""
    if not (isinstance(expected, Seen) and isinstance(seen, Seen)):
        return [f"PostgreSQL: {expected}", f"Gatehouse:  {seen}"]
    lines = []
    for number, (theirs, ours) in enumerate(zip_longest(expected.frames, seen.frames)):
        if theirs != ours:
            lines += [f"message {number}", f"    PostgreSQL: {theirs}", f"    Gatehouse:  {ours}"]
    for name in sorted({*expected.parameters, *seen.parameters}):
        if expected.parameters.get(name) != seen.parameters.get(name):
            lines.append(f"{name}: {expected.parameters.get(name)} is {seen.parameters.get(name)} through Gatehouse")
    return lines


def _messages(seen: Seen) -> list[bytes]:
    """What the errors say."""
    fields = [frame[1] for frame in seen.frames if isinstance(frame, tuple) and frame[0] == "E"]
    return [known["M"] for known in fields if isinstance(known, dict)]


async def compare(
    cluster: TestCluster, world: World, setup: Setup, turns: Sequence[Turn]
) -> tuple[int, Difference | None]:
    """How many turns were the same, and the first difference."""
    world.reset()
    taken, heard = await play_directly(cluster, setup, turns)
    world.reset()
    with running_proxy(cluster, setup.config) as proxy:
        found = await play_through(proxy, setup, taken, heard)
    if found is None:
        return len(taken), None
    number, seen = found
    expected = taken[number][1] if number < len(taken) else heard
    return number, Difference(setup, [turn for turn, _ in taken[: number + 1]], expected, seen)


async def compare_seed(cluster: TestCluster, world: World, seed: int, acts: int) -> tuple[int, Difference | None]:
    """The same for what the seed says."""
    setup, turns = write(seed, acts)
    return await compare(cluster, world, setup, turns)


async def shrink(cluster: TestCluster, world: World, difference: Difference, tries: int = 80) -> Difference:
    """A difference of fewer turns, which need not be the same one: without whole clients first, then without halves."""

    async def without(gone: Sequence[Turn]) -> bool:
        nonlocal difference, tries
        tries -= 1
        left = [turn for turn in difference.turns if not any(turn is other for other in gone)]
        _, found = await compare(cluster, world, difference.setup, left)
        if found is None or found.is_beside_the_point or len(found.turns) >= len(difference.turns):
            return False
        difference = found
        return True

    for client in range(len(difference.setup.members)):
        of_client = [turn for turn in difference.turns if turn.client == client]
        if of_client and difference.turns[-1].client != client:
            await without(of_client)
    if isinstance(difference.seen, Seen) and "silence" in difference.seen.frames:
        tries = min(tries, 20)  # each takes long
    size = len(difference.turns) // 2
    while size and tries > 0:
        at = 0
        while at < len(difference.turns) and tries > 0:
            if not await without(difference.turns[at : at + size]):
                at += size
        size //= 2
    return difference
