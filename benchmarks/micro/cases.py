"""Operations of the hot modules, small enough to repeat thousands of times.

Each case makes its objects once and returns a function that does `count` operations at a call.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from proxy.context.client_settings import ClientSettings
from proxy.context.context import Context, ContextBuilder, InjectionNames, follow
from proxy.guard.quick_look import quick_look
from proxy.guard.verdicts import VerdictCache, examine
from proxy.net.links import BaseReceiver, Link
from proxy.net.poller import READABLE, Poller
from proxy.net.sockets import SocketLink
from proxy.observe.counters import QUERY_SECONDS, Histogram
from proxy.pool.limits import PoolLimits
from proxy.pool.slots import TenantLine
from proxy.pool.waiters import WaitQueue
from proxy.server.ledger import Ledger
from proxy.server.prepared import PreparedOnServer, StatementCatalog
from proxy.server.units import Effect, PositionMap
from proxy.wire.framing import FrameReader
from tests.gate.stages import Action, CoreStage, Show, Stage, Theatre, plainly
from tests.gate.stories import STORIES, Story
from tests.support.messages import bind, copy_data, execute
from tests.support.playbook import ACME
from tests.unit.pool.fakes import Cluster, FakeClient, lend

Operation = Callable[[], None]

_WARM_UP: Final = 20
_NEW_TEXTS: Final = 100
_TEXT: Final = b"SELECT abalance FROM accounts WHERE aid = 4711"
_LITERALS: Final = (
    b"INSERT INTO orders (customer, name, street, city, created, amount, tax, note, state, kind) VALUES (%d, 'Miller''s', "
    b"'Main Street 12', 'Springfield', '2024-05-06 07:08:09', 1234.56, 19, 'please deliver', 'new', 3) RETURNING id, created"
)
_QUOTED_NAMES: Final = (
    b'SELECT "order"."id", "order"."name" FROM "order" WHERE "order"."id" = %d ORDER BY "order"."id" LIMIT 21'
)
_LIST: Final = b"SELECT name FROM accounts WHERE aid IN (" + b", ".join(b"%d" % (7919 * n) for n in range(1200)) + b")"
_SETS: Final = b"SET LOCAL work_mem = '64MB'; SELECT abalance FROM accounts WHERE aid = 4711"


@dataclass(frozen=True, slots=True)
class Case:
    """`modules`: what it is about, as paths from the package on. `operation` does what it names `count` times."""

    name: str
    modules: tuple[str, ...]
    operation: Operation
    count: int = 1


_CORE: Final = (
    "client/session",
    "client/intake",
    "client/simple",
    "client/extended",
    "client/replies",
    "client/rewrite",
    "client/statements",
    "client/keeping",
    "client/states",
    "client/ports",
)
_SHELL: Final = ("client/connection", "client/arrival", "server/connection", "server/ports")


async def all_cases(opened: Theatre) -> AsyncIterator[Case]:
    """Every case, made when its turn comes."""
    for group in (_wire, _guard, _context, _server, _pool, _core):
        for case in group():
            yield case
    for case in _sockets():
        yield case
    for story in STORIES[:3]:
        yield Case(f"connections: {story.name}", _SHELL, _replay(await opened.stage(), story))
        opened.send_away()


def _sockets() -> Iterator[Case]:
    """System calls included: they are half of it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    poller = Poller(asyncio.get_running_loop())
    link = SocketLink(poller, ours.detach())
    link.set_receiver(_Echo(link))

    def echo() -> None:
        theirs.send(_TEXT)
        link.ready(READABLE)
        theirs.recv(len(_TEXT))

    yield Case("read a chunk and write it back", ("net/links", "net/sockets", "net/poller"), echo)
    link.abort()
    theirs.close()
    poller.close()


class _Echo(BaseReceiver):
    def __init__(self, link: Link) -> None:
        self._link = link

    def data_received(self, data: bytes) -> None:
        self._link.write(data)


def _wire() -> Iterator[Case]:
    small, bulk = (bind("s", b"4711") + execute()) * 50, copy_data(b"x" * 4000) * 16
    yield Case("take a small frame", ("wire/framing",), _take_frames(small), 100)
    yield Case("take a frame of 4 kB", ("wire/framing",), _take_frames(bulk), 16)


def _take_frames(data: bytes) -> Operation:
    reader = FrameReader()

    def take() -> None:
        reader.feed(data)
        while reader.peek() and reader.has_whole_frame():
            reader.take_frame()

    return take


def _guard() -> Iterator[Case]:
    cache = VerdictCache()
    cache.verdict(_TEXT)
    yield Case("verdict that is cached", ("guard/verdicts",), lambda: _drop(cache.verdict(_TEXT)))
    shaped = ("guard/verdicts", "guard/shapes")
    for what, pattern in (
        ("a short text", _TEXT.replace(b"4711", b"%d")),
        ("ten literals", _LITERALS),
        ("quoted names", _QUOTED_NAMES),
    ):
        yield Case(f"verdict on a new text of a known shape: {what}", shaped, _new_texts(pattern), _NEW_TEXTS)
    yield Case("verdict on a new SELECT", ("guard/verdicts", "guard/quick_look"), lambda: _drop(examine(_TEXT)))
    yield Case("verdict on a new SET LOCAL; SELECT", ("guard/verdicts", "guard/model"), lambda: _drop(examine(_SETS)))
    yield Case("quick look at a SELECT", ("guard/quick_look", "guard/model"), lambda: _drop(quick_look(_TEXT)))
    yield Case("quick look at 1,200 values", ("guard/quick_look", "guard/model"), lambda: _drop(quick_look(_LIST)))


def _new_texts(pattern: bytes) -> Operation:
    """Texts that differ in a number, and that the cache meets for the first time; to make one is a quarter of the time."""
    cache = VerdictCache()
    cache.verdict(pattern % 0)
    last = 0

    def ask() -> None:
        nonlocal last
        texts = [pattern % number for number in range(last, last + _NEW_TEXTS)]
        last += _NEW_TEXTS
        for text in texts:
            cache.verdict(text)

    return ask


def _context() -> Iterator[Case]:
    names = InjectionNames("micro")
    builder = ContextBuilder(("app.tenant_id",), (), names)
    settings = {"timezone": ("UTC",), "work_mem": ("64MB",)}
    pairs = tuple(settings.items())
    client = ClientSettings({})
    builder.build(ACME, settings)

    def set_and_commit() -> None:
        client.change("timezone", ("UTC",))
        client.commit()

    yield Case("context that is cached", ("context/context",), lambda: _drop(builder.build(ACME, settings)))
    yield Case("context built anew", ("context/context",), lambda: _drop(Context(pairs, (), names)))
    yield Case("SETs that follow a client", ("context/context",), lambda: _drop(follow((), pairs)))
    yield Case("SET and COMMIT in a client's settings", ("context/client_settings",), set_and_commit)


def _server() -> Iterator[Case]:
    prepared, names = PreparedOnServer(200), [b"gatehouse_micro_%d" % number for number in range(100)]
    catalog = StatementCatalog[None](InjectionNames("micro").client)
    catalog.add(b"", _TEXT, _TEXT, None)
    positions = PositionMap(b"SET LOCAL x TO y; " + _TEXT, ((0, 18),))
    for name in names:
        prepared.add(name)

    def touch_all() -> None:
        for name in names:
            prepared.touch(name)

    yield Case("touch a statement on a server", ("server/prepared",), touch_all, len(names))
    yield Case("find a statement by its text", ("server/prepared",), lambda: _drop(catalog.find(b"", _TEXT)))
    yield Case("note an effect", ("server/units",), lambda: _drop(Effect(None)))
    yield Case("put a position right", ("server/units",), lambda: _drop(positions.original(40)))
    for what, index in (("replies of a prepared SELECT", 2), ("replies of 100 rows", 5)):
        yield Case(what, ("server/ledger", "server/units"), _replies(STORIES[index]))


def _replies(story: Story) -> Operation:
    """The ledger's work alone: what is owed and what comes are those of the story's last answer."""
    stage = CoreStage()
    show = Show(stage, story)
    units: list[int] = []
    said = b""

    def note(action: Action, data: bytes) -> None:
        nonlocal said
        if action == stage.from_server:
            ledger, said = stage.server.ledger, data
            units[:] = ledger.units
            assert not ledger.notes, "a story whose answers are noted is no use here"
        action(data)

    for _ in range(_WARM_UP):
        show.transaction(note)
    ledger = Ledger(stage.session.replies)

    def answer() -> None:
        ledger.units.extend(units)
        ledger.feed(said)
        while ledger.advance():
            pass
        ledger.out.clear()

    return answer


def _pool() -> Iterator[Case]:
    cluster = Cluster()
    pool, client, queue = cluster.pool(PoolLimits()), FakeClient(), WaitQueue()
    server = lend(cluster, pool, client)
    pool.release(server)

    def acquire_and_release() -> None:
        lent = pool.acquire(client)
        assert lent is not None
        pool.release(lent)

    def wait_and_leave() -> None:
        queue.join(client, 1.0)
        queue.leave(client)

    modules = ("pool/pool", "pool/core", "pool/idle", "pool/slots", "pool/limits", "pool/waiters")
    yield Case("acquire and release a server", modules, acquire_and_release)
    yield Case("join and leave the queue", ("pool/waiters", "pool/slots"), wait_and_leave)
    yield Case("a new tenant's line", ("pool/slots",), lambda: _drop(TenantLine("acme")))


def _core() -> Iterator[Case]:
    histogram = Histogram(QUERY_SECONDS)
    yield Case("observe a time", ("observe/counters",), lambda: histogram.observe(0.003))
    for story in STORIES:
        yield Case(f"core: {story.name}", _CORE, _replay(CoreStage(), story))


def _replay(stage: Stage, story: Story) -> Operation:
    """The proxy's part of a story, as it was played once: the server's part takes no time."""
    show = Show(stage, story)
    for _ in range(_WARM_UP):
        show.transaction(plainly)
    script: list[tuple[Action, bytes]] = []

    def note(action: Action, data: bytes) -> None:
        script.append((action, data))
        action(data)

    show.transaction(note)
    to_server, to_client = stage.sent_to_server, stage.sent_to_client

    def replay() -> None:
        for action, data in script:
            action(data)
        to_server.clear()
        to_client.clear()

    return replay


def _drop(result: object) -> None:
    """Nobody wants it."""
