"""Clients that take turns, at PostgreSQL directly and through Gatehouse; what each of them sees.

A turn is sent by one client and read to its end before the next, so the order is the same on both sides. Directly each client
has a connection of its own; Gatehouse has fewer servers than clients. A client that would have to wait for a server there
is passed over until there is one: who has one is known from the direct play.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from proxy.wire import codes, frontend
from tests.differential.harness import PLACES, Place
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import Frame, RawConnection

ALL_PLACES: Final[dict[str, Place]] = {**PLACES, "neighbour": Place("umbrella", "saas", "-c app.tenant_id=umbrella")}
"""Where clients of the crowd come from: two tenants share tables."""

_PATIENCE_S: Final = 10.0
_LEFT_OUT: Final = "FLRpq"  # where in PostgreSQL, and in whose words behind a function
_FIRST_OWN_OID: Final = 16384
_UNSTABLE: Final = re.compile(rb"pg_temp_\d+|pg_toast_\d+")
_STATEMENT_IN_BIND: Final = re.compile(
    rb'^(bind message supplies \d+ parameters, but prepared statement ").*(" requires)'
)


@dataclass(frozen=True, slots=True)
class Member:
    """A client of the crowd: its place, and what it asks for at startup, in parameters and in `options`."""

    place: str
    parameters: tuple[tuple[str, str], ...] = ()
    options: str = ""

    @property
    def database(self) -> str:
        """Clients of a database share servers."""
        return ALL_PLACES[self.place].database


@dataclass(frozen=True, slots=True)
class Turn:
    """What one client sends at once. The answer ends with the `count`th of the codes `until`; without ReadyForQuery among
    them an error ends it, too, and what follows up to the Sync is not answered.

    `pins`: the client may keep its server. `alone`: only while nobody else is in a transaction. `feeds`: it is the data of a
    COPY, of which PostgreSQL says nothing if that was refused. `returns`: the client leaves, as it stands, and comes again.
    """

    client: int
    messages: bytes
    until: str = "Z"
    count: int = 1
    pins: bool = False
    alone: bool = False
    feeds: bool = False
    returns: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a turn."""

    frames: list[object]
    status: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setup:
    """A Gatehouse to play through, and who comes."""

    members: tuple[Member, ...]
    servers: int
    config: dict[str, Any] = field(default_factory=dict)


class Oids:
    """OIDs of what was made for the play, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, oid: int) -> int:
        """The OID if it is PostgreSQL's own, else its number, which is negative."""
        return oid if oid < _FIRST_OWN_OID else self._numbers.setdefault(oid, -1 - len(self._numbers))


class Player:
    """One client, on one connection after the other."""

    def __init__(
        self, connection: RawConnection, reconnect: Callable[[], Awaitable[RawConnection]], oids: Oids
    ) -> None:
        self._connection = connection
        self._reconnect = reconnect
        self._oids = oids
        self._skips = False
        self._copies = False
        self.is_over = False
        self.is_in_batch = False
        self.heard: list[bytes] = []

    @property
    def status(self) -> str:
        """Of the last ReadyForQuery."""
        return self._connection.status

    async def take(self, turn: Turn) -> Seen:
        """Send it and read the answer."""
        if turn.returns:
            await self.close()
            self._connection = await self._reconnect()
            self._skips = self._copies = self.is_in_batch = False
            return Seen([], self.status, self._parameters())
        is_end = "Z" in turn.until
        self._connection.send(turn.messages)
        if (self._skips and not is_end) or (turn.feeds and not self._copies):
            return Seen([])
        self._skips = False
        frames: list[object] = []
        left = turn.count
        frame: Frame | None = None
        try:
            while left:
                async with asyncio.timeout(_PATIENCE_S):
                    frame = await self._connection.read()
                if frame.code == "A":
                    self.heard.append(frame.body[4:])
                elif frame.code != "S":
                    if frame.code == "E" and frames and isinstance(frames[-1], tuple) and frames[-1][0] == "t":
                        frames.pop()  # PostgreSQL looks at a statement's names again when it comes to its columns
                    frames.append(comparable(frame, self._oids))
                if frame.code in turn.until:
                    left -= 1
                elif frame.code == "E" and not is_end:
                    self._skips = True
                    break
        except (EOFError, ConnectionError):
            frames.append("closed")
            self.is_over = True
        except TimeoutError:
            frames.append("silence")
            self.is_over = True
        is_ready = bool(frames) and isinstance(frames[-1], tuple) and frames[-1][0] == "Z"
        self.is_in_batch = not is_ready
        self._copies = frame is not None and frame.code == "G"
        return Seen(frames, self.status if is_ready else "", self._parameters() if is_ready else {})

    def _parameters(self) -> dict[str, str]:
        return {name: value for name, value in self._connection.parameters.items() if name != "is_superuser"}

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()


def comparable(frame: Frame, oids: Oids) -> object:
    """A frame without what can not be the same."""
    if frame.code in "EN":
        fields = {piece[:1].decode(): piece[1:] for piece in frame.body.split(b"\0") if piece}
        kept = {name: _UNSTABLE.sub(b"pg_temp", value) for name, value in fields.items() if name not in _LEFT_OUT}
        kept["M"] = _STATEMENT_IN_BIND.sub(rb"\1\2", kept["M"])
        return frame.code, kept
    if frame.code == "T":
        return frame.code, _columns(frame.body, oids)
    if frame.code == "t":
        types = [int.from_bytes(frame.body[at : at + 4], "big") for at in range(2, len(frame.body), 4)]
        return frame.code, [oids.number(oid) for oid in types]
    return frame.code, frame.body


def _columns(body: bytes, oids: Oids) -> list[tuple[object, ...]]:
    columns: list[tuple[object, ...]] = []
    at = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        end = body.index(b"\0", at)
        rest = body[end + 1 : end + 19]
        table, kind = int.from_bytes(rest[:4], "big"), int.from_bytes(rest[6:10], "big")
        columns.append((body[at:end], oids.number(table), rest[4:6], oids.number(kind), rest[10:]))
        at = end + 19
    return columns


Connect = Callable[[Member], Awaitable[RawConnection]]


async def connect_directly(cluster: TestCluster, member: Member) -> RawConnection:
    """As the tenant, by settings of the session."""
    place = ALL_PLACES[member.place]
    return await RawConnection.connect(
        cluster.host,
        cluster.port,
        user=cluster.login,
        password=cluster.login_password,
        database=place.database,
        parameters={
            "client_encoding": "UTF8",
            "application_name": "crowd",
            **dict(member.parameters),
            "options": f"{place.options} {member.options}",
        },
    )


async def connect_through(proxy: ProxyUnderTest, member: Member) -> RawConnection:
    """As the tenant, by the user's name."""
    place = ALL_PLACES[member.place]
    return await RawConnection.connect(
        proxy.host,
        proxy.port,
        user=f"app.{place.tenant}",
        password=proxy.password,
        database=place.database,
        parameters={
            "client_encoding": "UTF8",
            "application_name": "crowd",
            **dict(member.parameters),
            "options": member.options,
        },
    )


class _Servers:
    """Who would have a server in Gatehouse, and whether there is one for another."""

    def __init__(self, setup: Setup, players: Sequence[Player]) -> None:
        self._setup = setup
        self._players = players
        self._pinned: set[int] = set()

    def is_busy(self, client: int) -> bool:
        """Whether a client is in a transaction, or in a batch."""
        player = self._players[client]
        return not player.is_over and (player.is_in_batch or player.status != "I")

    def _neighbours(self, client: int) -> list[int]:
        database = self._setup.members[client].database
        return [n for n, member in enumerate(self._setup.members) if member.database == database and n != client]

    def may(self, turn: Turn) -> bool | None:
        """Whether the client would get a server now; None where the turn is not to be taken at all."""
        client, neighbours = turn.client, self._neighbours(turn.client)
        if turn.returns:
            return True
        if turn.alone and any(map(self.is_busy, neighbours)):
            return None
        pinned = sum(1 for other in neighbours if other in self._pinned)
        if turn.pins and client not in self._pinned and pinned + 1 >= self._setup.servers:
            return None
        if client in self._pinned or self.is_busy(client):
            return True
        taken = sum(1 for other in neighbours if other in self._pinned or self.is_busy(other))
        return taken < self._setup.servers

    def note(self, turn: Turn) -> None:
        """The turn was taken."""
        if turn.pins:
            self._pinned.add(turn.client)
        elif turn.returns:
            self._pinned.discard(turn.client)


async def _players(stack: AsyncExitStack, setup: Setup, connect: Connect) -> list[Player]:
    oids = Oids()
    players = [Player(await connect(member), partial(connect, member), oids) for member in setup.members]
    for player in players:
        stack.push_async_callback(player.close)
    return players


async def play_directly(
    cluster: TestCluster, setup: Setup, turns: Sequence[Turn]
) -> tuple[list[tuple[Turn, Seen]], list[list[bytes]]]:
    """The turns in the order in which they could be taken, with what came of them; and the notifications of each client."""
    taken: list[tuple[Turn, Seen]] = []
    left = list(turns)
    async with AsyncExitStack() as stack:
        players = await _players(stack, setup, lambda member: connect_directly(cluster, member))
        servers = _Servers(setup, players)
        while (turn := _next(left, servers, players)) is not None:
            seen = await players[turn.client].take(turn)
            servers.note(turn)
            taken.append((turn, seen))
        return taken, [await _heard(player) for player in players]


def _next(left: list[Turn], servers: _Servers, players: Sequence[Player]) -> Turn | None:
    """The first turn that can be taken, each client's in their order."""
    waits: set[int] = set()
    for turn in list(left):
        if turn.client in waits:
            continue
        may = None if players[turn.client].is_over else servers.may(turn)
        if may is None or may:
            left.remove(turn)
        if may:
            return turn
        if may is False:
            waits.add(turn.client)
    return None


async def play_through(
    proxy: ProxyUnderTest, setup: Setup, taken: Sequence[tuple[Turn, Seen]], heard: list[list[bytes]]
) -> tuple[int, object] | None:
    """The first turn, by its number, of which something else came, and what that was; None if there is none."""
    async with AsyncExitStack() as stack:
        players = await _players(stack, setup, lambda member: connect_through(proxy, member))
        for number, (turn, expected) in enumerate(taken):
            seen = await players[turn.client].take(turn)
            if seen != expected:
                return number, seen
        ours = [await _heard(player) for player in players]
        return None if ours == heard else (len(taken), ours)


async def _heard(player: Player) -> list[bytes]:
    """All notifications that the client was sent; it must be between transactions for that."""
    if not player.is_over and not player.is_in_batch and player.status == "I":
        await player.take(Turn(0, frontend.query(b"SELECT")))
    return player.heard


def frames_of(data: bytes) -> list[bytes]:
    """The messages in what a client sends."""
    frames = []
    while data:
        size = 1 + int.from_bytes(data[1:5], "big")
        frames.append(data[:size])
        data = data[size:]
    return frames


_ENDINGS: Final = {
    codes.PARSE: "1",
    codes.BIND: "2",
    codes.CLOSE: "3",
    codes.DESCRIBE: "Tn",
    codes.EXECUTE: "CsI",
}


def flushed(client: int, messages: bytes, *, pins: bool = False) -> Turn:
    """A turn that is a part of a batch, with a Flush behind it: it ends with the answer to its last message."""
    kinds = [message[0] for message in frames_of(messages)]
    return Turn(client, messages + frontend.FLUSH, _ENDINGS[kinds[-1]], kinds.count(kinds[-1]), pins)
