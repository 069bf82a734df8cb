"""A network that misbehaves on purpose: a TCP relay in a thread of its own that delays, trickles, cuts and swallows."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Self

from tests.support import PATIENCE_S

_CHUNK_BYTES = 64 * 1024


@dataclass
class Faults:
    """What is wrong for now; 0 and False are nothing. Counts for bytes that come from now on."""

    delay_s: float = 0.0
    """Each piece is held back this long."""

    trickle_bytes: int = 0
    """Bytes go on in pieces of this size, each in a segment of its own."""

    is_black_hole: bool = False
    """Connections are taken and bytes are read, but nothing goes on."""

    cut_down_after: int = 0
    """The connection is reset after this many bytes from the server."""

    refuses: bool = False
    """New connections are closed at once."""

    holds_new_ones_back: bool = False
    """New connections are taken, and nothing of theirs ever goes on."""

    holds_answers_back: bool = False
    """What the server says waits until this is over."""

    delays_new_ones: bool = False
    """New connections are taken, and go on when this is over."""


class FaultProxy:
    """Relays `127.0.0.1:port` to the target, with `faults`, which may be changed at any time."""

    def __init__(self, host: str, port: int) -> None:
        self.faults = Faults()
        self.accepted = 0
        self.port = 0
        self._target = host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults")
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=PATIENCE_S)
        self._loop.close()

    def cut(self) -> None:
        """Reset every connection."""
        self._run(self._cut())

    @property
    def address(self) -> str:
        """host:port as a cluster's `hosts` have it."""
        return f"127.0.0.1:{self.port}"

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        done.result(timeout=PATIENCE_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        with self._kept(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            if self.faults.refuses:
                return
            if self.faults.holds_new_ones_back:
                while await reader.read(_CHUNK_BYTES):
                    pass
                return
            while self.faults.delays_new_ones:  # noqa: ASYNC110 - another thread says when it is over
                await asyncio.sleep(0.005)
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            with self._kept(up_writer):
                pumps = [
                    self._loop.create_task(self._pump(reader, up_writer, is_down=False)),
                    self._loop.create_task(self._pump(up_reader, writer, is_down=True)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)

    @contextlib.contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Any:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_down: bool) -> None:
        passed = 0
        while data := await reader.read(_CHUNK_BYTES):
            faults = self.faults
            if faults.is_black_hole:
                continue
            if faults.delay_s:
                await asyncio.sleep(faults.delay_s)
            while is_down and faults.holds_answers_back:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.005)
            if is_down and faults.cut_down_after:
                data = data[: faults.cut_down_after - passed]
                passed += len(data)
            size = faults.trickle_bytes or len(data)
            for start in range(0, len(data), size):
                writer.write(data[start : start + size])
                await writer.drain()
                if faults.trickle_bytes:
                    await asyncio.sleep(0)  # so that each piece is a write of its own
            if is_down and faults.cut_down_after and passed >= faults.cut_down_after:
                await asyncio.sleep(0.05)  # what was passed on shall arrive
                return
