"""A whole proxy among hostile clients and spoiled servers, and people who only want to work.

Everything runs against a `gatehouse serve` of its own, so that its log, its memory and its end can be looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from proxy.wire import frontend
from tests.fuzz import corpus
from tests.fuzz.mutations import chunks, spoil
from tests.fuzz.relay import SpoilingRelay
from tests.support import PATIENCE_S
from tests.support import messages as m
from tests.support.postgres import TestCluster
from tests.support.raw import Frame, RawConnection, Refused, rows
from tests.support.serve import ServedProxy, eventually, fetch

"""No answer for so long is a hang."""

_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")


@dataclass(slots=True)
class Tally:
    """What happened: to hostile connections, and how often those who work were served, and how slowly at worst."""

    hostile: Counter[str] = field(default_factory=Counter)
    served: int = 0
    slowest_s: float = 0.0
    findings: list[str] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def __str__(self) -> str:
        ends = ", ".join(f"{end}: {count}" for end, count in self.hostile.most_common())
        return f"{ends}; others served {self.served} times, in {self.slowest_s:.2f} s at the most"


async def connect(proxy: ServedProxy, tenant: str) -> RawConnection:
    """A client of the tenant."""
    return await RawConnection.connect(proxy.host, proxy.port, user=f"app.{tenant}", password=proxy.password)


# People who work.


@contextlib.asynccontextmanager
async def at_work(proxy: ServedProxy, tenant: str, tally: Tally) -> AsyncIterator[None]:
    """Somebody runs queries all the time; any wrong answer, or error, fails."""
    stop = asyncio.Event()
    worker = asyncio.create_task(_work(proxy, tenant, tally, stop))
    try:
        yield
    finally:
        stop.set()
        await worker
    assert tally.served
    assert not tally.findings, "\n".join(tally.findings)


async def _work(proxy: ServedProxy, tenant: str, tally: Tally, stop: asyncio.Event) -> None:
    async with await connect(proxy, tenant) as connection:
        expected = rows(await connection.query("SELECT item FROM orders ORDER BY 1"))
        assert expected
        while not stop.is_set():
            began = time.monotonic()
            number = f"{tenant}-{tally.served}"
            assert rows(await connection.ask(*_asks(number, tally.served))) == [[number]]
            if tally.served % 20 == 0:
                assert rows(await connection.query("SELECT item FROM orders ORDER BY 1")) == expected
            assert connection.status == "I"
            tally.served += 1
            if tally.served >= 40:
                tally.enough.set()
            tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.001)


def _asks(number: str, turn: int) -> list[bytes]:
    """A question whose answer is known, by each protocol in turn."""
    if turn % 2:
        return [m.query(f"SELECT '{number}'")]
    return [m.parse("", "SELECT $1::text"), m.bind("", number.encode()), m.describe("P"), m.execute(), m.SYNC]


# Hostile clients.


async def besiege(proxy: ServedProxy, rng: Random, tally: Tally, go_on: Callable[[], bool], clients: int = 4) -> None:
    """Hostile clients, so many at a time, one after the other, for as long as `go_on` says so."""

    async def attack(rng: Random) -> None:
        while go_on():
            attacker = _logged_in if rng.randrange(4) else _stranger
            try:
                async with asyncio.timeout(3 * PATIENCE_S):
                    tally.hostile[await attacker(proxy, rng)] += 1
            except AssertionError as error:
                tally.findings.append(str(error))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(attack(Random(rng.getrandbits(64))))


async def _stranger(proxy: ServedProxy, rng: Random) -> str:
    """Somebody who has not logged in: an error, or silence, and then the end."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        first = corpus.FIRST_MESSAGES[rng.randrange(len(corpus.FIRST_MESSAGES))]
        frames = [first, frontend.sasl_initial_response("SCRAM-SHA-256", b"n,,n=,r=nonce"), *_some(rng)]
        donors = (*corpus.FIRST_MESSAGES, *corpus.DONORS)
        with contextlib.suppress(OSError):  # the proxy has hung up already
            await _trickle(writer, rng, b"".join(spoil(rng, frames, donors, corpus.FRONTEND_TYPES)))
            writer.write_eof()
        data = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await reader.read()
        except ConnectionError:
            return "stranger reset"
        frames_seen = _frames_of(data.removeprefix(b"N").removeprefix(b"N"))
        assert all(frame.code in "REvN" for frame in frames_seen), data
        return _verdict("stranger", frames_seen)
    finally:
        writer.transport.abort()


async def _trickle(writer: asyncio.StreamWriter, rng: Random, data: bytes) -> None:
    """Send, cut as it comes, unless the other side hung up."""
    for chunk in chunks(rng, data):
        if writer.is_closing():
            return
        writer.write(chunk)
        await asyncio.sleep(0)


def _some(rng: Random) -> list[bytes]:
    return corpus.SCRIPTS[rng.randrange(len(corpus.SCRIPTS))]


async def _logged_in(proxy: ServedProxy, rng: Random) -> str:
    """Somebody with a password: what is whole gets answers to the end or an error, and nothing is left hanging."""
    connection = await connect(proxy, "acme")
    try:
        data = b"".join(spoil(rng, [*_some(rng), *_some(rng)], corpus.DONORS, corpus.FRONTEND_TYPES))
        end = how_it_ends(data)
        mark = f"done {rng.getrandbits(32)}"
        await _trickle(connection._writer, rng, data)
        if end == "cut":
            await asyncio.sleep(rng.random() * 0.01)
            if rng.randrange(2):
                connection.abort()
            return "left in mid-message"
        if end == "whole":
            connection.send(m.SYNC, m.query("ROLLBACK"), m.query(f"SELECT '{mark}'"))
        frames: list[Frame] = []
        try:
            while True:
                frames.append(await connection.read())
                if frames[-1].code == "D" and frames[-1].body.endswith(mark.encode()):
                    await connection.until_ready()
                    return "answered to the end"
        except EOFError:
            assert end == "broken" or frames, f"closed without a word after {data!r}"
            verdict = _verdict("client", frames)
            assert verdict != "client 08006", f"out of step with the server after {data!r}"
            return verdict
        except ConnectionError:
            return "client reset"
        except TimeoutError:
            raise AssertionError(f"no answer after {frames} to {data!r}") from None
    finally:
        connection.abort()


def how_it_ends(data: bytes) -> str:
    """Where the stream ends, taking its lengths at their word: whole, cut in a message, or broken (or ended by Terminate)."""
    pos = 0
    while pos < len(data):
        if pos + 5 > len(data):
            return "cut"
        length = int.from_bytes(data[pos + 1 : pos + 5], "big")
        if length < 4 or (data[pos] == frontend.TERMINATE[0] and pos + length < len(data)):
            return "broken"
        pos += length + 1
    return "whole" if pos == len(data) else "cut"


def _frames_of(data: bytes) -> list[Frame]:
    frames = []
    while data:
        size = int.from_bytes(data[1:5], "big") + 1
        assert 5 <= size <= len(data), f"half a message: {data[:60]!r}"
        frames.append(Frame(chr(data[0]), data[5:size]))
        data = data[size:]
    return frames


def _verdict(who: str, frames: list[Frame]) -> str:
    """How a connection ended that was closed: by the SQLSTATE of a FATAL error, or without one."""
    if not frames or frames[-1].code != "E":
        return f"{who} closed"
    fields = frames[-1].fields
    assert _SQLSTATE.fullmatch(fields["C"]), fields
    return f"{who} {fields['C']}"


# Spoiled servers.


@dataclass(slots=True)
class Doubters:
    """Clients behind servers that say anything: each gets its own answer, an error, or none, never another's."""

    proxy: ServedProxy
    tally: Tally
    _asked: set[bytes] = field(default_factory=set)

    async def work(self, rng: Random, go_on: Callable[[], bool], clients: int = 4) -> None:
        """So many at a time, for as long as `go_on` says so."""
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(Random(rng.getrandbits(64)), go_on))

    async def _client(self, rng: Random, go_on: Callable[[], bool]) -> None:
        while go_on():
            try:
                connection = await connect(self.proxy, "acme")
            except Refused as refused:
                self.tally.hostile[f"refused {refused.fields['C']}"] += 1
                continue
            try:
                while go_on():
                    self.tally.hostile[await self._ask(connection, rng)] += 1
            except _Gone as gone:
                self.tally.hostile[str(gone)] += 1
            finally:
                connection.abort()

    async def _ask(self, connection: RawConnection, rng: Random) -> str:
        mark = rng.randbytes(16).hex()
        self._asked.add(mark.encode())
        frames: list[Frame] = []
        connection.send(*_asks(mark, rng.randrange(2)))
        try:
            async with asyncio.timeout(0.3):
                while not frames or frames[-1].code != "Z":
                    frames.append(await connection.read())
        except TimeoutError:
            raise _Gone("no answer") from None
        except EOFError:
            raise _Gone(_verdict("server lost", frames)) from None
        except ConnectionError:
            raise _Gone("reset") from None
        finally:
            for frame in frames:
                for found in re.findall(rb"[0-9a-f]{32}", frame.body):
                    assert found == mark.encode() or found not in self._asked, "another query's answer"
        return "answered"


class _Gone(Exception):
    """The connection can not be used any more."""


# Afterwards.


def _status(proxy: ServedProxy) -> dict[str, Any]:
    code, text = fetch(f"{proxy.http_url}/status.json")
    assert code == 200, text
    return dict(json.loads(text))


def is_at_rest(proxy: ServedProxy) -> bool:
    """Whether no server is in use, recovering or being opened, and no client is left."""
    status = _status(proxy)
    names = ("sv_active", "sv_used", "sv_recovering", "sv_login", "cl_waiting", "cl_active")
    return not any(status["clients"].values()) and not any(pool[name] for pool in status["pools"] for name in names)


def assert_unharmed(proxy: ServedProxy, cluster: TestCluster, before_bytes: int, spare_bytes: int = 60_000_000) -> None:
    """The proxy is as it was: at rest, no server leaked or in a transaction, no surprise in its log, little memory."""
    eventually(lambda: is_at_rest(proxy))
    sessions = "SELECT state FROM pg_stat_activity WHERE usename = 'gatehouse' AND backend_type = 'client backend'"
    eventually(lambda: len(cluster.sql(sessions)) <= sum(pool["sv_idle"] for pool in _status(proxy)["pools"]))
    assert {state for (state,) in cluster.sql(sessions)} <= {"idle"}
    log = proxy.log()
    assert "Traceback" not in log, log[log.index("Traceback") - 2000 :]
    assert [line for line in proxy.events() if "exception" in line or line["event"].startswith("Fatal error")] == []
    code, metrics = fetch(f"{proxy.http_url}/metrics")
    assert code == 200
    assert "gatehouse_errors_total" in metrics
    assert not re.search(r"(?m)^[^#].* (-\d|NaN)", metrics), "a count below zero"
    assert proxy.resident_bytes() - before_bytes < spare_bytes


def spoiled_config(relay: SpoilingRelay, cluster: TestCluster) -> dict[str, Any]:
    """A proxy whose shared database is behind the relay, and initech's is not."""
    main: dict[str, Any] = {"hosts": [relay.address]}
    calm = {
        "hosts": [f"{cluster.host}:{cluster.port}"],
        "user": cluster.login,
        "password": {"file": "main.secret"},
        "tls": {"mode": "disable"},
    }
    return {
        "clusters": {"main": main, "calm": calm},
        "tenants": {"initech": {"placement": {"cluster": "calm"}}},
        "pool": {"size": 3, "reset_timeout": "1s"},
        "timeouts": {"server_recovery_timeout": "1s"},
    }
