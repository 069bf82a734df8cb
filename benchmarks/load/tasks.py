"""What a load process can do. Each task says what came of it as a mapping that is JSON."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

from benchmarks.load.clients import HOST, Client
from benchmarks.load.wire import ERROR, TERMINATE, Conversation, Login, Refused, message, query, startup
from benchmarks.system import stand_back

Result = dict[str, Any]
Tell = Callable[[Result], None]

_BUFFER_BYTES: Final = 256 * 1024
_END_OF_COPY: Final = b"Z\0\0\0\5I"
_LINE: Final = b"x" * 1023 + b"\n"
_COPY_BYTES: Final = 8 * len(_LINE)
_LOGIN_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where, and as whom by turns."""

    port: int
    logins: Sequence[Login]

    async def connect(self, number: int) -> Client:
        """The `number`th client, logged in."""
        return await Client.connect(self.port, self.logins[number % len(self.logins)])


async def hold(target: Target, tell: Tell, *, count: int, at_once: int) -> None:
    """Log clients in, tell, and hold them silent until the input ends."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> Client:
        async with gate:
            return await target.connect(number)

    began = time.time()
    clients = await asyncio.gather(*(one(number) for number in range(count)))
    tell({"began": began, "ended": time.time(), "clients": len(clients)})
    await _end_of_input()
    for client in clients:
        client.abort()


async def storm(target: Target, tell: Tell, *, count: int) -> None:
    """When a line comes: all log in at the same time; tell when the last is in. Then go.

    Out in the world a thousand clients do not live where the database does: here they have what it leaves them.
    """
    stand_back()
    tell({"is_ready": True})
    await asyncio.to_thread(sys.stdin.readline)
    began, failures = time.time(), Counter[str]()
    took: list[float] = []
    clients: list[Client] = []

    async def one(number: int) -> None:
        try:
            async with asyncio.timeout(_LOGIN_TIMEOUT_S):
                clients.append(await target.connect(number))
        except (OSError, Refused) as error:  # TimeoutError is an OSError
            failures[str(error)[:80] or type(error).__name__] += 1
        else:
            took.append(time.time() - began)

    await asyncio.gather(*(one(number) for number in range(count)))
    tell({"began": began, "ended": time.time(), "took_s": sorted(took), "failures": dict(failures)})
    for client in clients:
        client.leave()


async def logins(target: Target, tell: Tell, *, clients: int, seconds: float, sql: str) -> None:
    """Log in, ask, leave, again and again."""
    until = time.time() + seconds
    ask, rows = query(sql), list[tuple[float, float]]()

    async def one(number: int) -> None:
        while (began := time.time()) < until:
            client = await target.connect(number)
            await client.ask(ask)
            client.leave()
            rows.append((time.time(), time.time() - began))

    await asyncio.gather(*(one(number) for number in range(clients)))
    tell({"rows": sorted(rows)})


async def ask(target: Target, tell: Tell, *, clients: int, active: int, seconds: float, sqls: Sequence[str]) -> None:
    """`clients` are logged in, `active` of them at a time have a question; whose turn it is goes round."""
    connected = [await target.connect(number) for number in range(clients)]
    asks = cycle([query(sql) for sql in sqls])
    free, rows = cycle(range(clients)), list[tuple[float, float]]()
    busy: set[int] = set()
    until = time.time() + seconds

    async def one() -> None:
        while (began := time.time()) < until:
            number = next(number for number in free if number not in busy)
            busy.add(number)
            await connected[number].ask(next(asks))
            busy.discard(number)
            rows.append((time.time(), time.time() - began))

    await asyncio.gather(*(one() for _ in range(active)))
    tell({"rows": sorted(rows)})
    for client in connected:
        client.leave()


async def copy_in(target: Target, tell: Tell, *, megabytes: int, sql: str) -> None:
    """COPY FROM STDIN, as fast as it is taken."""
    connection = _blocking_login(target)
    chunk = message(b"d", _LINE * 8) * 16
    chunks = megabytes * 2**20 // (16 * _COPY_BYTES)
    connection.sendall(query(sql))
    first = connection.recv(_BUFFER_BYTES)
    if first[:1] != b"G":
        raise Refused(first[:200].decode("utf-8", "replace"))
    began = time.time()
    for _ in range(chunks):
        connection.sendall(chunk)
    connection.sendall(message(b"c", b""))
    _read_to_the_end(connection)
    tell({"began": began, "ended": time.time(), "bytes": chunks * 16 * _COPY_BYTES})
    connection.sendall(TERMINATE)
    connection.close()


async def copy_out(target: Target, tell: Tell, *, sql: str) -> None:
    """COPY TO STDOUT, as fast as it comes."""
    connection = _blocking_login(target)
    connection.sendall(query(sql))
    began = time.time()
    received = _read_to_the_end(connection)
    tell({"began": began, "ended": time.time(), "bytes": received})
    connection.sendall(TERMINATE)
    connection.close()


def _blocking_login(target: Target) -> socket.socket:
    login = target.logins[0]
    connection = socket.create_connection((HOST, target.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(startup(login))
    conversation = Conversation(login, "copying")
    while not conversation.is_in:
        data = connection.recv(_BUFFER_BYTES)
        if not data:
            raise Refused("the connection was closed during the login")
        connection.sendall(conversation.receive(data)[0])
    return connection


def _read_to_the_end(connection: socket.socket) -> int:
    """Read up to the ReadyForQuery; how many bytes there were. Raises Refused."""
    buffer = bytearray(_BUFFER_BYTES)
    total, tail = 0, b""
    while not tail.endswith(_END_OF_COPY):
        size = connection.recv_into(buffer)
        if not size or (total == 0 and buffer[0] == ERROR):
            raise Refused(bytes(buffer[: min(size, 200)]).decode("utf-8", "replace") or "closed during COPY")
        total += size
        tail = (tail + bytes(buffer[max(0, size - 64) : size]))[-64:]
    if b"COPY " not in tail:
        raise Refused(f"COPY failed: {tail!r}")
    return total


async def _end_of_input() -> None:
    await asyncio.to_thread(sys.stdin.read)


TASKS: Final = {task.__name__: task for task in (hold, storm, logins, ask, copy_in, copy_out)}
