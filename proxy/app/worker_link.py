"""How the processes of one Gatehouse talk to each other.

Two ways, both private. The *line* is a socket pair between the supervisor and one worker: orders go down, answers come
up, and its end tells each side that the other is gone. A *door* is a Unix socket of each worker in a folder that only
this user may enter: whoever needs something of that worker connects, asks one question and reads the answer to its end.
Both carry pickles, which is safe because only processes of the same Gatehouse can reach them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copyreg
import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy.observe.counters import Histogram, TrafficStats
from proxy.settings.live import Changes, TenantChanges
from proxy.settings.model import Settings

if TYPE_CHECKING:
    from proxy.admin.view import Check
    from proxy.observe.metrics import Scrape

LINE_VARIABLE: Final = "GATEHOUSE_WORKER_LINE"
"""The environment variable that makes a process a worker: the file descriptor of its line."""

_LENGTH_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among the others, and what all of them must have in common.

    `mock_secret` and `verifiers`, with their salts: or an unknown user could be told from a known one by trying every worker.
    `unix_sockets`: path to inherited file descriptor. `folder`: where the doors are.
    """

    index: int
    count: int
    mock_secret: bytes = field(repr=False)
    verifiers: Mapping[str, str] = field(repr=False)
    unix_sockets: Mapping[str, int]
    folder: Path


@dataclass(frozen=True, slots=True)
class Begin:
    """The first order: start, with these settings, which are this worker's share."""

    settings: Settings
    place: Place


@dataclass(frozen=True, slots=True)
class Reload:
    """Take over these settings.

    `settings` come without tenants: `tenants` makes them of those that were in the order before, whatever became of it.
    `changes` are those from the supervisor's settings before.
    """

    settings: Settings
    tenants: TenantChanges
    changes: Changes
    verifiers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stop:
    """Take no new clients and end, when running transactions have, or at once."""

    at_once: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker listens."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How a reload went: `problem` is empty if well."""

    problem: str


Message = Begin | Reload | Stop | Ready | Reloaded


@dataclass(frozen=True, slots=True)
class GiveReport:
    """A question at the door: how are you?"""


@dataclass(frozen=True, slots=True)
class DeliverCancel:
    """A question at the door: cancel your client's query; answered when PostgreSQL has taken it."""

    pid: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of itself; `process` are the values of `process_*`."""

    scrape: Scrape
    checks: list[Check]
    process: Mapping[str, float]


def send(writer: asyncio.StreamWriter, message: Message) -> None:
    """Put a message on the line; lost if the other side is gone."""
    data = pickle.dumps(message)
    writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message on the line; None when the other side is gone."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        message: Message = pickle.loads(await reader.readexactly(length))  # noqa: S301 - see above
    except (asyncio.IncompleteReadError, OSError):
        return None
    return message


def door(folder: Path, index: int) -> str:
    """The path of a worker's door."""
    return str(folder / f"worker-{index}")


async def ask(folder: Path, index: int, question: GiveReport | DeliverCancel) -> Any:
    """A worker's answer. Raises OSError or EOFError when it is not there."""
    reader, writer = await asyncio.open_unix_connection(door(folder, index))
    try:
        writer.write(pickle.dumps(question))
        writer.write_eof()
        answer = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return pickle.loads(answer)  # noqa: S301 - see above


class Door:
    """The door of this worker: `report` and `cancel` do what is asked for."""

    def __init__(
        self,
        place: Place,
        report: Callable[[], Report],
        cancel: Callable[[int, bytes, Callable[[], None]], None],
    ) -> None:
        self._path = door(place.folder, place.index)
        self._report = report
        self._cancel = cancel
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Let others ask; the socket that a dead worker left is replaced."""
        self._remove()
        self._server = await asyncio.start_unix_server(self._answer, self._path)

    def close(self) -> None:
        """Take no more questions."""
        if self._server is not None:
            self._server.close()
            self._remove()

    def _remove(self) -> None:
        Path(self._path).unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            question = pickle.loads(await reader.read())  # noqa: S301 - see above
            writer.write(await self._answer_to(question))
            await writer.drain()
        except (OSError, EOFError, pickle.UnpicklingError):
            pass  # whoever asked went away
        except (asyncio.CancelledError, RuntimeError):
            pass  # this worker ends; a task that was cancelled would be reported as an error by asyncio.streams
        finally:
            writer.close()

    async def _answer_to(self, question: GiveReport | DeliverCancel) -> bytes:
        match question:
            case GiveReport():
                report = self._report()
                return await asyncio.to_thread(dump, report)
            case DeliverCancel():
                taken = asyncio.Event()
                self._cancel(question.pid, question.key, taken.set)
                await taken.wait()
                return pickle.dumps(True)


class CancelPost:
    """Passes on cancel requests that came to the wrong worker; `limit_s` is how long one may take."""

    def __init__(self, place: Place, worker_of: Callable[[int], int], limit_s: Callable[[], float]) -> None:
        self._place = place
        self._worker_of = worker_of
        self._limit_s = limit_s
        self._tasks: set[asyncio.Task[None]] = set()

    def pass_on(self, pid: int, key: bytes, done: Callable[[], None]) -> None:
        """To the worker whose client it is; `done` is called when that has delivered it, or there is nobody to."""
        worker = self._worker_of(pid)
        if worker == self._place.index or worker >= self._place.count:
            done()
            return
        task = asyncio.get_running_loop().create_task(self._deliver(worker, pid, key, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, worker: int, pid: int, key: bytes, done: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(self._limit_s()):
                await ask(self._place.folder, worker, DeliverCancel(pid, key))
        except (OSError, EOFError, TimeoutError, pickle.UnpicklingError):
            pass  # its clients are gone with it, or PostgreSQL does not answer
        finally:
            done()


_TRAFFIC: Final = (
    "queries",
    "transactions",
    "received_bytes",
    "sent_bytes",
    "context_injections",
    "errors",
    "pins",
    "transaction_seconds",
    "query_seconds",
    "wait_seconds",
)


def _reduce_traffic(stats: TrafficStats) -> tuple[Any, ...]:
    return _make_traffic, (stats.placement, *(getattr(stats, name) for name in _TRAFFIC))


def _make_traffic(placement: str, *values: Any) -> TrafficStats:
    stats = TrafficStats(placement)
    for name, value in zip(_TRAFFIC, values, strict=True):
        setattr(stats, name, value)
    return stats


def _reduce_histogram(histogram: Histogram) -> tuple[Any, ...]:
    return _make_histogram, (histogram.bounds, histogram.counts, histogram.sum)


def _make_histogram(bounds: tuple[float, ...], counts: list[int], total: float) -> Histogram:
    histogram = Histogram(bounds)
    histogram.counts, histogram.sum = counts, total
    return histogram


REDUCERS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    TrafficStats: _reduce_traffic,
    Histogram: _reduce_histogram,
}
"""How objects of compiled classes go between processes: they can not be pickled by themselves."""


def dump(report: Report) -> bytes:
    """A report on its way."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.dispatch_table = {**copyreg.dispatch_table, **REDUCERS}
    pickler.dump(report)
    return buffer.getvalue()
