"""Count what code does, in units that do not depend on how busy the machine is.

instructions: bytecode instructions in Python functions. calls: Python functions entered. c_calls: C functions called
by Python code. peak_bytes: what is allocated at the most at once. kept_blocks, cyclic_objects: blocks of memory that each
transaction leaves behind, and objects that it leaves to the garbage collector; none, both. All are the same in every
run, for one version of Python.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, Protocol

import proxy
from tests.gate.stages import Action, Performer, plainly

Counts = dict[str, float]

Trace = Callable[[FrameType, str, Any], Any]

_WARM_UP: Final = 30
_KEEPING: Final = 100
_COLLECTIONS: Final = 10
_PROXY: Final = Path(proxy.__file__).parent
_OWN: Final = (
    tracemalloc.Filter(True, str(_PROXY / "*")),
    tracemalloc.Filter(False, str(_PROXY / "observe" / "*")),
)


class Countable(Protocol):
    """What can be done again and again."""

    def transaction(self, perform: Performer) -> None:
        """Once; what is the proxy's work goes through `perform`."""


class _Instructions:
    """Counts bytecode instructions, by sys.monitoring where there is that (Python 3.12), else by tracing."""

    def __init__(self) -> None:
        self.count = 0

    if sys.version_info >= (3, 12):

        def perform(self, action: Action, data: bytes) -> None:
            monitoring = sys.monitoring
            tool, event = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
            monitoring.use_tool_id(tool, "gate")
            monitoring.register_callback(tool, event, self._passed)
            monitoring.set_events(tool, event)
            action(data)
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)

        def _passed(self, code: CodeType, offset: int) -> None:
            self.count += 1

    else:

        def perform(self, action: Action, data: bytes) -> None:
            sys.settrace(self._enter)
            action(data)
            sys.settrace(None)

        def _enter(self, frame: FrameType, event: str, arg: Any) -> Trace:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return self._step

        def _step(self, frame: FrameType, event: str, arg: Any) -> Trace:
            if event == "opcode":
                self.count += 1
            return self._step


class _Calls:
    """A profile function that counts calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.c_calls = 0

    def perform(self, action: Action, data: bytes) -> None:
        sys.setprofile(self._note)
        action(data)
        sys.setprofile(None)
        self.c_calls -= 1  # setprofile itself

    def _note(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self.calls += 1
        elif event == "c_call":
            self.c_calls += 1


class _Peak:
    """The most that one action has allocated at a time."""

    def __init__(self) -> None:
        self.bytes = 0

    def perform(self, action: Action, data: bytes) -> None:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        action(data)
        self.bytes = max(self.bytes, tracemalloc.get_traced_memory()[1] - before)


def counts_of(show: Countable) -> Counts:
    """What one transaction costs once caches are warm."""
    with _undisturbed():
        for _ in range(_WARM_UP):
            show.transaction(plainly)
        instructions, calls = _Instructions(), _Calls()
        show.transaction(instructions.perform)
        show.transaction(calls.perform)
        tracemalloc.start()
        try:
            peak_bytes = _peak_bytes(show)
            kept_blocks, cyclic_objects = _left_behind(show)
        finally:
            tracemalloc.stop()
    return {
        "instructions": instructions.count,
        "calls": calls.calls,
        "c_calls": calls.c_calls,
        "peak_bytes": peak_bytes,
        "kept_blocks": kept_blocks,
        "cyclic_objects": cyclic_objects,
    }


def _peak_bytes(show: Countable) -> int:
    for _ in range(2):  # the first makes what is kept from one transaction to the next
        peak = _Peak()
        show.transaction(peak.perform)
    return peak.bytes


def _left_behind(show: Countable) -> tuple[float, float]:
    """Blocks of memory, and objects that only the collector frees, per transaction."""
    _collect_all()
    before = own_memory()[0]
    for _ in range(_KEEPING):
        show.transaction(plainly)
    cyclic = gc.collect()
    return round((own_memory()[0] - before) / _KEEPING, 1), round(cyclic / _KEEPING, 1)


def own_memory() -> tuple[int, int]:
    """Blocks and bytes that the proxy's own lines have allocated and nobody has freed, but for logs and counters.

    Only while tracemalloc traces, and only right behind a collection, which empties Python's free lists.
    """
    snapshot = tracemalloc.take_snapshot().filter_traces(_OWN)
    return len(snapshot.traces), sum(trace.size for trace in snapshot.traces)


def _collect_all() -> None:
    """Collect until there is nothing more: what finalizers let go is left to the next collection."""
    for _ in range(_COLLECTIONS):
        if gc.collect() == 0:
            return


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No debugger, no coverage, no collector meanwhile."""
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    _collect_all()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        sys.settrace(tracer)
        sys.setprofile(profiler)
