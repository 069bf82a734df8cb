"""What clients do in a transaction, as the bytes that they send between two waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy.wire import codes
from tests.fuzz.mutations import split_frames
from tests.support.messages import COPY_DONE, SYNC, bind, copy_data, describe, execute, parse, query

Steps = tuple[bytes, ...]

BULK: Final = 100
_COPY_CHUNK: Final = b"".join(copy_data(b"x" * 8187) for _ in range(8))


@dataclass(frozen=True, slots=True)
class Story:
    """One transaction, to be played again and again; `prelude` comes once before. `rows`: how often a server says each
    row of its answers (a DataRow or a CopyData)."""

    name: str
    steps: Steps
    prelude: Steps = ()
    rows: int = 1

    def answers(self, said: bytes) -> bytes:
        """What a server says, with as many rows as the story wants."""
        if self.rows == 1:
            return said
        return b"".join(message * self._times(message) for message in split_frames(said))

    def _times(self, message: bytes) -> int:
        return self.rows if message[0] in (codes.DATA_ROW, codes.COPY_DATA) and len(message) > 40 else 1


def _run(name: str, *values: bytes) -> bytes:
    """As libpq runs a prepared statement."""
    return b"".join((bind(name, *values), describe("P"), execute(), SYNC))


def _prepared(*values: bytes) -> bytes:
    return _run("s", *values)


_SELECT: Final = "SELECT abalance FROM accounts WHERE aid = $1"
_PREPARE: Final[Steps] = (parse("s", _SELECT) + describe("S", "s") + SYNC,)

STORIES: Final = (
    Story("simple SELECT", (query("SELECT abalance FROM accounts WHERE aid = 4711"),)),
    Story("extended SELECT", (b"".join((parse("", _SELECT), bind("", b"4711"), describe("P"), execute(), SYNC)),)),
    Story("prepared SELECT", (_prepared(b"4711"),), _PREPARE),
    Story(
        "BEGIN, three prepared SELECTs, COMMIT",
        (query("BEGIN"), *[_prepared(b"%d" % number) for number in range(3)], query("COMMIT")),
        _PREPARE,
    ),
    Story(
        "BEGIN, three SELECTs, COMMIT, all prepared",
        (_run("b"), *[_prepared(b"%d" % number) for number in range(3)], _run("c")),
        (*_PREPARE, parse("b", "BEGIN") + describe("S", "b") + parse("c", "COMMIT") + describe("S", "c") + SYNC),
    ),
    Story("ten prepared SELECTs in a pipeline", ((bind("s", b"1") + execute()) * 10 + SYNC,), _PREPARE),
    Story("a result of 100 rows", (query("SELECT body FROM documents WHERE kind = 'a long enough one'"),), rows=BULK),
    Story("COPY FROM, 16 messages of 8 kB", (query("COPY t FROM STDIN"), _COPY_CHUNK, _COPY_CHUNK, COPY_DONE)),
    Story("COPY TO, 100 messages", (query("COPY a_table_with_quite_a_long_name TO STDOUT"),), rows=BULK),
)
