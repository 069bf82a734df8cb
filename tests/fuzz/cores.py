"""What holds for the cores whatever bytes come, from either side and however they are cut.

Each property takes a `random.Random` and raises when it does not hold. No sockets, no clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final

from proxy.client.states import State
from proxy.context.client_settings import Parts
from proxy.errors import ContextFailed, ProtocolViolation, ProxyError
from proxy.server.connection import ServerConnection
from proxy.server.jobs import Recovery
from proxy.server.ledger import Ledger
from proxy.server.units import (
    BIND,
    CLOSE,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    KIND,
    LOCAL,
    NOTED,
    PARSE,
    QUERY,
    STATEMENT,
    SYNC,
    Capture,
    Description,
    Effect,
    Eviction,
    LocalReply,
    Note,
    ParseRecord,
    Refusal,
)
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields
from tests.fuzz import corpus
from tests.fuzz.mutations import chunks, split_frames, spoil
from tests.fuzz.pretend import Breach, Pretend
from tests.support import messages as m
from tests.support.playbook import BASELINE, Did, FakeServer, Play, shared_by_sessions
from tests.support.servers import LinkToNowhere, pretended_server

Property = Callable[[Random], None]


@dataclass(slots=True)
class Outcome:
    """What came of a conversation: all that the client was sent, and how it ended ("" open, else why not)."""

    to_client: bytes = b""
    end: str = ""
    state: int = State.IDLE


@dataclass(slots=True)
class _Wire:
    """A pretended server, what was sent to it, and what of its answers has not arrived."""

    server: Pretend = field(default_factory=lambda: Pretend(b"acme", BASELINE))
    to_server: list[bytes] = field(default_factory=list)
    from_server: list[bytes] = field(default_factory=list)


class _Stage(Play):
    """A session whose servers are pretended ones, and clean when it gets them."""

    def __init__(self, *, defers_begin: bool) -> None:
        # What PostgreSQL reports, and a client that asked for it need not hear.
        startup: dict[str, Parts] = {"application_name": ("fuzz",)}
        super().__init__(startup=startup, shared=shared_by_sessions(defers_begin=defers_begin))
        self.outcome = Outcome()
        self.wires: dict[FakeServer, _Wire] = {}
        self.is_waiting = False

    @property
    def wire(self) -> _Wire | None:
        """To the server that is held."""
        return None if self.held is None else self.wires.setdefault(self.held, _Wire())

    def did(self, did: Did) -> None:
        if did.what == "to_client":
            self.outcome.to_client += did.data
        elif did.what == "to_server":
            assert self.wire is not None
            self.wire.to_server.append(did.data)
        elif did.what == "acquire":
            self.is_waiting = self.waits

    def release(self, server: object) -> None:
        """As the pool does it: a server that is not clean is not lent again."""
        assert isinstance(server, FakeServer)
        wire = self.wire
        assert wire is not None
        super().release(server)
        if wire.from_server or not server.ledger.is_settled or server.ledger.status != codes.IDLE:
            self.outcome.end = LEFTOVERS
        elif server.taint:
            del self.servers[server.name]

    def hang_up(self, error: ProxyError | None) -> None:
        super().hang_up(error)
        self.outcome.end = f"hung up {error.sqlstate if error else ''}"


LEFTOVERS: Final = "the server had more to say when it was given back"
LOST: Final = "server lost"


def converse(
    client_chunks: Sequence[bytes],
    order: Random | None = None,
    answer: Callable[[bytes], bytes] | None = None,
    *,
    defers_begin: bool = False,
) -> Outcome:
    """Have a client's chunks meet a pretended PostgreSQL, until everything is said or somebody hung up.

    With `order` the network delivers now this, now that; without it the server answers everything at once. `answer`
    may change what the server says.
    """
    stage = _Stage(defers_begin=defers_begin)
    stage.waits = order is not None and order.randrange(2) == 0
    unsent = list(client_chunks)
    while not stage.outcome.end:
        wire = stage.wire
        may_move = stage.is_waiting or (wire is not None and bool(wire.to_server or wire.from_server))
        if unsent and (not may_move or (order is not None and order.randrange(3))):
            stage.session.client_data(unsent.pop(0))
        elif stage.is_waiting:
            stage.is_waiting = False
            stage.session.granted(stage.lend())
        elif may_move and wire is not None:
            _move(stage, wire, order, answer)
        else:
            break
    stage.outcome.state = stage.session.state
    return stage.outcome


def _move(stage: _Stage, wire: _Wire, order: Random | None, answer: Callable[[bytes], bytes] | None) -> None:
    """The server reads what there is, or some of its answer arrives."""
    if wire.from_server:
        try:
            stage.feed(wire.from_server.pop(0))
        except ProtocolViolation:
            stage.outcome.end = LOST
        return
    replies = wire.server.receive(b"".join(wire.to_server))
    wire.to_server.clear()
    if replies and answer is not None:
        replies = answer(replies)
    wire.from_server += [replies] if order is None else chunks(order, replies)


def _script(rng: Random) -> list[bytes]:
    count = rng.randrange(1, 3)
    return [message for _ in range(count) for message in corpus.SCRIPTS[rng.randrange(len(corpus.SCRIPTS))]]


def client_streams(rng: Random) -> None:
    """Whatever a client sends, however it is cut, and whenever the server answers: the same replies, and never a hang.

    The same, too, if whole segments can go the short way, and if it hears of a BEGIN later.
    `Pretend` watches that it gets whole messages, and nothing that reads without the context.
    """
    frames = _script(rng)
    if rng.randrange(5):
        frames = spoil(rng, frames, corpus.DONORS, corpus.FRONTEND_TYPES)
    data = b"".join(frames)
    expected = converse([data])
    assert expected.state not in (State.BUSY, State.WAITING), "the session waits for nothing"
    assert expected.end not in (LEFTOVERS, LOST), expected.end
    _assert_same(converse(chunks(rng, data), order=rng), expected)
    # In a block that fails before PostgreSQL has heard of it, it words no errors.
    for keeps_begin in (False, True):
        segments = _segments(frames, keeps_begin=keeps_begin)
        _assert_same(_until_failed(converse(segments, defers_begin=True)), _until_failed(expected))


def _assert_same(seen: Outcome, expected: Outcome) -> None:
    assert seen.end not in (LEFTOVERS, LOST), seen.end
    if seen.end or expected.end:
        # What is malformed ends the connection at once; in time it may turn out that it would have been skipped.
        _assert_one_begins_the_other(seen.to_client, expected.to_client)
    else:
        assert seen.to_client == expected.to_client, (
            f"{split_frames(seen.to_client)}\nin one piece: {split_frames(expected.to_client)}"
        )


def _until_failed(outcome: Outcome) -> Outcome:
    """As far as the first transaction that failed."""
    seen, failed, _ = outcome.to_client.partition(backend.READY[codes.FAILED])
    return replace(outcome, to_client=seen + failed)


def _segments(frames: Sequence[bytes], *, keeps_begin: bool = False) -> list[bytes]:
    """As most clients send: up to what is answered, and then they wait; some send a BEGIN together with what is next."""
    segments = [b""]
    for frame in frames:
        segments[-1] += frame
        if frame[:1] in (b"Q", b"S", b"F") and not (keeps_begin and frame == m.query("BEGIN")):
            segments.append(b"")
    return [segment for segment in segments if segment]


def server_streams(rng: Random) -> None:
    """Whatever a server answers, and when: it is lost, or the client is told something; nothing else is raised."""
    with suppress(Breach):  # who is lied to about transactions can not know where the context must go
        script = _script(rng)
        client_chunks = _segments(script) if rng.randrange(2) else [b"".join(script)]
        order = rng if rng.randrange(2) else None
        converse(client_chunks, order, _liar(rng.getrandbits(32)), defers_begin=rng.randrange(2) == 0)


def _liar(seed: int) -> Callable[[bytes], bytes]:
    """Spoils some of the answers, the same ones with the same seed."""
    rng = Random(seed)

    def answer(replies: bytes) -> bytes:
        if rng.randrange(2):
            return replies
        return b"".join(spoil(rng, split_frames(replies), corpus.BACKEND_DONORS, corpus.BACKEND_TYPES))

    return answer


def _assert_one_begins_the_other(one: bytes, other: bytes) -> None:
    short, long = sorted((one, other), key=len)
    assert long.startswith(short), f"{split_frames(short)}\ndoes not begin\n{split_frames(long)}"


# A server connection that nobody, or a job, holds.


class _Told:
    """A ledger's owner that writes down what it is told, between the bytes for the client."""

    def __init__(self) -> None:
        self.log: list[object] = []

    def can_mend(self, frame: bytes) -> bool:
        return False

    def mend(self) -> None:
        raise AssertionError("nothing is to be mended")

    def described(self, note: Description) -> None:
        self.log.append(("described", note.row))

    def statement_completed(self, effect: Effect, tag: bytes) -> None:
        self.log.append(("completed", tag))

    def value_captured(self, capture: Capture) -> None:
        self.log.append(("captured", capture.value))

    def parse_undone(self, record: ParseRecord) -> None:
        self.log.append(("parse undone", record.server_name, record.has_failed))

    def close_undone(self, note: LocalReply | Eviction) -> None:
        self.log.append("close undone")

    def copy_in_started(self) -> None:
        self.log.append("copy in")

    def injection_failed(self, fields: ErrorFields) -> ProxyError | None:
        self.log.append(("injection failed", fields))
        return ContextFailed("the context failed")

    def error_reported(self) -> None:
        self.log.append("error")

    def internal_ready(self, status: int) -> None:
        self.log.append(("internal", status))


_Owed = tuple[int, Callable[[], Note] | None, list[bytes]]

_ROWS: Final = [backend.row_description(["a"]), m.row(b"1"), m.row(b"x" * 300), m.complete("SELECT 2")]
_OWED: Final[tuple[_Owed, ...]] = (
    (PARSE, None, [m.PARSED]),
    (PARSE | DROP | INJECTED, None, [m.PARSED]),
    (BIND | DROP | INJECTED, None, [m.BOUND]),
    (EXECUTE | DROP | INJECTED, None, [m.row(b"acme"), m.complete("SELECT 1")]),
    (BIND, None, [m.BOUND]),
    (DESCRIBE, None, [m.NO_PARAMETERS, m.NO_DATA]),
    (EXECUTE, None, _ROWS[1:]),
    (EXECUTE, None, [m.COPY_IN, m.complete("COPY 1")]),
    (EXECUTE, None, [m.notice("01000"), m.SUSPENDED]),
    (EXECUTE | NOTED, lambda: Effect(None, b"SET", is_rewritten=True), [m.notice("25P01"), m.complete("SET")]),
    (EXECUTE | DROP | NOTED, lambda: Capture("timezone"), [m.row(b"UTC"), m.complete("SHOW")]),
    (BIND | NOTED, lambda: Refusal(ProtocolViolation("refused")), [m.failed("26000")]),
    (CLOSE | DROP | NOTED, lambda: Eviction(b"s"), [m.CLOSED]),
    (LOCAL | NOTED, lambda: LocalReply(m.CLOSED, None, (b"s", None)), []),
    (STATEMENT | DROP | INJECTED, None, [m.complete("SET")]),
    (STATEMENT, None, _ROWS),
    (STATEMENT | NOTED, lambda: Effect(None), [m.complete("COMMIT")]),
    (EXECUTE, None, [m.failed("42601", position=60)]),
)


def ledgers(rng: Random) -> None:
    """What a ledger makes of a server's bytes does not depend on how they are cut, and they raise one error at most."""
    owed = [_OWED[rng.randrange(len(_OWED))] for _ in range(rng.randrange(1, 8))]
    owed.append(((SYNC, QUERY, SYNC | DROP, QUERY | DROP | INJECTED)[rng.randrange(4)], None, [m.ready("I")]))
    frames = [frame for _, _, answer in owed for frame in answer]
    if rng.randrange(5):
        frames = spoil(rng, frames, corpus.BACKEND_DONORS, corpus.BACKEND_TYPES)
    data = b"".join(frames)
    in_one_piece, was_refused = _settle(owed, [data])
    cut, is_refused = _settle(owed, chunks(rng, data))
    assert is_refused == was_refused
    assert cut == in_one_piece, f"{cut}\nin one piece: {in_one_piece}"


def _settle(owed: Sequence[_Owed], pieces: Sequence[bytes]) -> tuple[list[object], bool]:
    """What was forwarded and told, in order, and whether the server's bytes were refused."""
    told = _Told()
    ledger = Ledger(told)
    ledger.positions = 40
    for unit, note, _ in owed:
        ledger.units.append(unit)
        if note is not None:
            ledger.notes.append(note())
        if unit & KIND == PARSE:
            ledger.parses.append(ParseRecord(b"s", b"c"))
    forwarded = b""
    try:
        for piece in pieces:
            ledger.feed(piece)
            status = 1
            while status:
                status = ledger.advance()
                forwarded += b"".join(ledger.out)
                ledger.out.clear()
                if status:
                    forwarded += b"<%c>" % status
    except ProtocolViolation:
        return told.log, True
    return [*told.log, forwarded], False


_RESET_ANSWER: Final = [
    *(m.complete(tag) for tag in ("CLOSE CURSOR ALL", "SET", "RESET", "RESET", "UNLISTEN")),
    *(backend.row_description(["n"]), m.row(b""), m.complete("SELECT 1")),
    *(m.complete("DISCARD TEMP"), m.complete("DISCARD SEQUENCES")),
    *(backend.row_description(["n"]), m.row(b"0"), m.complete("SELECT 1")),
    *(backend.row_description(["n"]), m.row(b"0"), m.complete("SELECT 1")),
    m.ready("I"),
]
_BATCH_ANSWER: Final = [m.PARSED, m.row(b"1"), m.complete("SELECT 1"), m.failed("34000"), m.ready("I")]


def jobs_on_servers(rng: Random) -> None:
    """Resets, recoveries and idle servers, with whatever a server says: nothing escapes, each is answered exactly once."""
    asyncio.run(_job(rng))


async def _job(rng: Random) -> None:
    lost: list[ServerConnection] = []
    server = pretended_server(LinkToNowhere(), BASELINE, on_lost=lost.append)
    answered: list[bool] = []
    kind = rng.randrange(3)
    if kind == 0:
        server.reset(rng.randrange(1, 3), answered.append)
        frames = _RESET_ANSWER
    elif kind == 1:
        server.ledger.units.extend((PARSE, EXECUTE) if rng.randrange(2) else (QUERY,))
        if server.ledger.units[0] == PARSE:
            server.ledger.parses.append(ParseRecord(b"", None))
        owes_sync = server.ledger.units[0] == PARSE and bool(rng.randrange(2))
        if server.ledger.units[0] == PARSE and not owes_sync:
            server.ledger.units.append(SYNC)
        server.recover(Recovery(in_copy=False, owes_sync=owes_sync, done=answered.append), 60.0)
        frames = _BATCH_ANSWER
    else:
        frames = [m.status("TimeZone", "UTC"), m.notice("01000")]
    if rng.randrange(6):
        frames = spoil(rng, frames, corpus.BACKEND_DONORS, corpus.BACKEND_TYPES)
    for chunk in chunks(rng, b"".join(frames)):
        server.data_received(chunk)
        await asyncio.sleep(0)
        if server.is_closed:
            break
    server.connection_lost(None)
    assert len(answered) == (kind < 2), answered
    assert len(lost) <= 1
    assert server.is_closed
