"""A worker as the supervisor sees it: a child process and the line to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable
from enum import StrEnum

from structlog.typing import FilteringBoundLogger

from proxy.app.worker_link import LINE_VARIABLE, Begin, Ready, Reload, Reloaded, Stop, receive, send


class State(StrEnum):
    """What a worker does; the label of the metric."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    RESTARTING = "restarting"


class WorkerProcess:
    """Worker number `index`, in as many lives as it takes.

    `refuses` says that it lives by older settings than it was told to; `refused` is called each time that it says so.
    """

    def __init__(
        self, index: int, command: list[str], log: FilteringBoundLogger, refused: Callable[[WorkerProcess], None]
    ) -> None:
        self.index = index
        self.state = State.RESTARTING
        self.restarts = 0
        self.was_ever_ready = False
        self.refuses = False
        self.ready = asyncio.Event()
        self.gone = asyncio.Event()
        self.gone.set()
        self._command = command
        self._log = log
        self._refused = refused
        self._process: asyncio.subprocess.Process | None = None
        self._stop: Stop | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None while there is none."""
        return self._process.pid if self._process is not None else None

    async def run(self, begin: Callable[[], Begin], descriptors: Iterable[int]) -> int:
        """Start the process, and be there for it until it ends; its exit code, negative for a signal.

        `begin` is asked when the process is there: what was ordered before then must be in it. Raises OSError if it can not
        be started.
        """
        self.state = State.STARTING
        self.gone.clear()
        try:
            process, line = await self._start(descriptors)
            reader, self._writer = await asyncio.open_unix_connection(sock=line)
            if self._stop is None:
                send(self._writer, begin())
            else:
                self._writer.close()  # it ends without having begun
            await self._listen(reader)
            return await process.wait()
        finally:
            if self._writer is not None:
                self._writer.close()
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()
            self._process, self._writer = None, None
            self.state = State.RESTARTING
            self.refuses = False
            self.ready.clear()
            self.gone.set()

    async def _start(self, descriptors: Iterable[int]) -> tuple[asyncio.subprocess.Process, socket.socket]:
        """The process, and this side of the line to it."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as unless_started:
            unless_started.callback(ours.close)
            with theirs:
                # A session of its own: Ctrl-C in a terminal is for the supervisor, who passes it on.
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, LINE_VARIABLE: str(theirs.fileno())},
                    pass_fds=(theirs.fileno(), *descriptors),
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
            unless_started.pop_all()
        self._process = process
        return process, ours

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while (message := await receive(reader)) is not None:
            match message:
                case Ready():
                    self.was_ever_ready = True
                    if self.state is State.STARTING:
                        self.state = State.READY
                    self.ready.set()
                case Reloaded(problem) if problem:
                    self._log.error("a worker refused the configuration", worker=self.index, problem=problem)
                    self._refused(self)
                    self.refuses = True
                case Reloaded():
                    self.refuses = False
                case _:
                    pass

    def order(self, order: Reload | Stop) -> None:
        """Tell the worker; one that is not there needs no telling."""
        if isinstance(order, Stop):
            self._stop = order
            self.state = State.STOPPING
        if self._writer is None:
            return
        with contextlib.suppress(OSError):
            send(self._writer, order)

    def kill(self) -> None:
        """End the process if there still is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
