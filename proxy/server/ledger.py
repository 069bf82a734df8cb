"""What a server still owes, in order, and what becomes of each reply: forward it, drop it, or change it.

Everything sent to a server adds units here; every reply takes some away. The ledger cuts the server's bytes into
frames, passes bulk through untouched and stops at each ReadyForQuery that the client shall see. It knows no sockets and
no statements: what a reply means to somebody is told to the `LedgerOwner`.

Replies that have to be looked at one by one are taken by `endings.py` (what ends a unit), `faults.py` (errors) and
`asides.py` (the others).
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from mypy_extensions import i64

from proxy.errors import ProtocolViolation, ProxyError
from proxy.server.asides import RESULT_PARTS, look_at, unasked
from proxy.server.endings import finish_unit, ready
from proxy.server.expected import NOTHING, TRANSITIONS, clients_part
from proxy.server.units import (
    DROP,
    KIND,
    LOCAL,
    NOTED,
    PARSE,
    Capture,
    Description,
    Effect,
    Eviction,
    LocalReply,
    Note,
    ParseRecord,
    PositionMap,
)
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields

# What a message is to the unit that is owed first.
_ROW: Final = 1
_PART: Final = 2
_END: Final = 3

_ENDINGS: Final[tuple[bytes, ...]] = (b"", b"1", b"2", b"Tn", b"CIs", b"3", b"CI", b"", b"", b"")
"""The types of the messages that end a unit, by its kind."""


def _meanings() -> bytes:
    table = bytearray(256 * len(_ENDINGS))
    for kind, endings in enumerate(_ENDINGS):
        for meaning, types in ((_ROW, b"Dd"), (_PART, RESULT_PARTS if kind else b""), (_END, endings)):
            for code in types:
                table[kind * 256 + code] = meaning
    return bytes(table)


_MEANINGS: Final[bytes] = _meanings()
"""What a message of a type is to a unit of a kind, at kind * 256 + type; else 0. Where nothing is owed, that is all but rows."""

_JOINED_BYTES: Final = 64 * 1024
"""Messages up to this size are joined with each chunk that comes; longer ones once."""

_MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Replies other than rows are held whole; PostgreSQL's own are far smaller than this."""

_NO_UNITS: Final[tuple[int, ...]] = ()


class LedgerOwner(Protocol):
    """Who is told what replies mean: the session that holds the server, or a job of the proxy's own."""

    def statement_completed(self, effect: Effect, tag: bytes) -> None: ...
    def value_captured(self, capture: Capture) -> None: ...
    def can_mend(self, frame: bytes) -> bool: ...
    def mend(self) -> None: ...
    def described(self, note: Description) -> None: ...
    def parse_undone(self, record: ParseRecord) -> None: ...
    def close_undone(self, note: LocalReply | Eviction) -> None: ...
    def copy_in_started(self) -> None: ...
    def injection_failed(self, fields: ErrorFields) -> ProxyError | None: ...
    def error_reported(self) -> None: ...
    def internal_ready(self, status: int) -> None: ...


class Ledger:
    """Replies owed by one server connection."""

    __slots__ = (
        "_data",
        "_expected_status",
        "_missing",
        "_parts",
        "_pass",
        "_pass_forward",
        "_pos",
        "_unheard",
        "_units",
        "_units_ahead",
        "cancel_error",
        "expected",
        "failed",
        "has_said_farewell",
        "is_mended",
        "lacks_statement",
        "notes",
        "out",
        "override",
        "owner",
        "parses",
        "positions",
        "quiet",
        "replaying",
        "reported",
        "skipping",
        "status",
        "sync_in_doubt",
        "types_told",
    )

    def __init__(self, owner: LedgerOwner) -> None:
        self.owner = owner
        self._units: deque[int] = deque()
        self.notes: deque[Note] = deque()
        self.parses: deque[ParseRecord] = deque()
        self.out: list[bytes] = []
        self.reported: dict[bytes, bytes] = {}
        self.positions: PositionMap | int = 0
        self.status: i64 = codes.IDLE
        self.skipping = False
        self.quiet = False  # what is under way is the proxy's own: its failure is nobody's business
        self.replaying = False  # a batch failed, and is sent again, mended, behind its ReadyForQuery
        self.failed = False
        self.has_said_farewell = False
        self.cancel_error: ProxyError | None = None  # what a cancel of the proxy's own is to be called
        self.lacks_statement = False
        self.override = b""  # what the next error is to be called, which is a consequence of this one
        self.is_mended = False  # what is under way was sent again
        # A COPY has begun whose Sync came with it: PostgreSQL ignores that, if it reads it in time.
        self.sync_in_doubt = False
        self.types_told = b""  # the ParameterDescription that the client has got before that
        self._data = b""
        self._pos: i64 = 0
        self._parts: list[bytes] = []  # of a long message that has not come whole
        self._missing: i64 = 0  # bytes of it
        self._pass: i64 = 0
        self._pass_forward = False
        self.expected: i64 = NOTHING
        self._expected_status: i64 = 0
        self._unheard = b""
        self._units_ahead: tuple[int, ...] = _NO_UNITS

    @property
    def units(self) -> deque[int]:
        """What is owed, in order."""
        if self._units_ahead:
            # What was expected as a whole is looked at one by one now.
            self._units.extend(self._units_ahead)
            self._units_ahead = _NO_UNITS
            self.expected = NOTHING
        return self._units

    @property
    def is_settled(self) -> bool:
        """Nothing is owed and no part of a reply is waiting."""
        return (  # lengths: compiled, to ask an object for its truth is a call
            len(self._units) == 0
            and len(self._units_ahead) == 0
            and self._pos == len(self._data)
            and self._pass == 0
            and len(self._parts) == 0
        )

    @property
    def is_in_row(self) -> bool:
        """The client has got a part of a row, or of COPY's data, and not the rest."""
        return self._pass > 0 and self._pass_forward

    def feed(self, data: bytes) -> None:
        """Take the server's next bytes; `advance` must be called until it returns 0."""
        if self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            self._missing = 0
            self._data = b"".join(self._parts)
            self._parts.clear()
        elif self._pos == len(self._data):
            self._data = data
        else:
            self._data = self._data[self._pos :] + data
        self._pos = 0

    def expect(self, answer: int, status: int, units: tuple[int, ...], unheard: bytes = b"") -> None:
        """A whole segment is on its way, and nothing else: `units` are owed, and will probably come as `answer` says.

        `answer` is one of `expected.py`'s, `status` the transaction status that its end shall have, `unheard` what may be
        reported before that and concerns nobody.
        """
        self._unheard = unheard
        self._units_ahead = units
        self.expected = answer
        self._expected_status = status

    def take_expected(self) -> bytes:
        """What the client shall see of a segment, ReadyForQuery included, if all that is here is what was expected.

        Else nothing, and `advance` is to read what came. What was noted of it stays in `notes`.
        """
        data, status = self._data, self._expected_status
        if self._pos or len(self._units_ahead) == 0:  # compiled, `not` is a call
            return b""
        answer = clients_part(TRANSITIONS, data, self.expected, status, self._unheard)
        self.expected = NOTHING
        if len(answer) == 0:
            return b""
        self._units_ahead = _NO_UNITS
        if len(self.parses):
            self.parses.clear()
        self._data = b""
        self.status = status
        self.positions = 0
        self.cancel_error = None
        return answer

    def take_exactly(self, answer: bytes) -> bool:
        """Whether all that is here is `answer`, the whole of what is owed; if so, it is taken. It leaves the server idle."""
        if self._pos or len(self.units) != 1 or self._data != answer:
            return False
        self.units.clear()
        self._data = b""
        self.status = codes.IDLE
        return True

    def advance(self) -> int:
        """Work through the replies at hand; what the client shall see is appended to `out`.

        Stops behind a ReadyForQuery meant for the client and returns its status (the frame itself is not in `out`);
        0 when all complete frames are used up. Raises `ProtocolViolation` when the server says what it can not mean.
        """
        data, end = self._data, len(self._data)
        if self._pos == end:
            self._data = b""
            self._pos = 0
            return 0
        if self._pass:
            self._stream()
        units = self.units
        while after := self._pass_on(units, end):
            pos = self._pos
            code = data[pos]
            head = units[0] if units else 0
            meaning = _MEANINGS[(head & KIND) << 8 | code]
            if meaning == _ROW:
                self._drop_row(head, after)
                continue
            frame = data[pos:after]
            self._pos = after
            if meaning == _END:
                self._end_unit(head)
                finish_unit(self, units, head, frame)
            elif code != codes.READY_FOR_QUERY:
                look_at(self, code, head, frame)
            elif ready(self, units, head, frame):
                return self.status
        return 0

    def _pass_on(self, units: deque[int], end: i64) -> i64:
        """Pass on what need not be looked at; returns the end of the first message that must be, which begins at `_pos`.

        0 when there is none, or not the whole of it. Rows need not be whole, unless they are noted.
        """
        data = self._data
        start = pos = self._pos
        stop: i64 = 0
        while end - pos >= 5:
            length: i64 = data[pos + 3] << 8 | data[pos + 4]
            if data[pos + 2] or data[pos + 1]:
                length |= data[pos + 1] << 24 | data[pos + 2] << 16
            if length < 4:
                raise ProtocolViolation("invalid message length from server")
            after = pos + 1 + length
            head: i64 = units[0] if units else 0
            meaning = _MEANINGS[(head & KIND) << 8 | data[pos]]
            if meaning == _ROW and head and not head & DROP:
                pos = after
                continue
            if after > end and (meaning != _ROW or head & NOTED):
                return self._wait(start, pos, after)
            is_end = meaning == _END
            if head & (DROP | NOTED) or meaning < _PART or (is_end and len(units) > 1 and units[1] & KIND == LOCAL):
                stop = after
                break
            if is_end:
                self._end_unit(head)
            pos = after
        if start < pos:
            self.out.append(data[start:pos])
        if pos > end:  # a row goes on
            self._pass, self._pass_forward = pos - end, True
        if pos >= end:
            self._data = b""
            pos = 0
        self._pos = pos
        return stop

    def _wait(self, start: i64, pos: i64, after: i64) -> i64:
        """A message that must be whole begins at `pos` and is not: pass on what is before it, and keep this."""
        data, length = self._data, after - pos - 1
        if length > _MAX_HELD_BYTES:
            raise ProtocolViolation("a message from the server is too large to hold")
        if start < pos:
            self.out.append(data[start:pos])
        self._pos = pos
        if length > _JOINED_BYTES:
            self._parts.append(data[pos:])
            self._missing = after - len(data)
            self._data = b""
            self._pos = 0
        return 0

    def _stream(self) -> None:
        """Pass on, or drop, what came of the rest of a row that is larger than a chunk."""
        data, pos = self._data, self._pos
        count = min(self._pass, len(data) - pos)
        if self._pass_forward and count:
            self.out.append(data[pos : pos + count])
        self._pass -= count
        self._pos = pos + count

    def _drop_row(self, head: int, after: i64) -> None:
        """A row that nobody shall see, or that was asked for by the proxy: take what is there of it."""
        data, pos = self._data, self._pos
        if not head:
            raise unasked(data[pos])
        if head & NOTED and isinstance(note := self.notes[0], Capture):
            note.value = backend.read_first_column(data[pos + 5 : after])
        end = len(data)
        self._pass, self._pass_forward = max(0, after - end), False
        self._pos = min(after, end)

    def _end_unit(self, head: int) -> None:
        """The first unit is over."""
        self._units.popleft()
        if head & KIND == PARSE and self.parses:
            self.parses.popleft()
