"""What a server still owes, in order, and what becomes of each reply: forward it, drop it, or change it.

Everything sent to a server adds units here; every reply takes some away. The ledger cuts the server's bytes into
frames, passes bulk through untouched and stops at each ReadyForQuery that the client shall see. It knows no sockets and
no statements: what a reply means to somebody is told to the `LedgerOwner`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from itertools import islice
from typing import Final, Protocol

from mypy_extensions import i64

from proxy.context.context import FOLLOWED
from proxy.errors import ProtocolViolation, ProxyError
from proxy.server.expected import NOTHING, TRANSITIONS, clients_part
from proxy.server.parameters import shared
from proxy.server.units import (
    BIND,
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
    PositionMap,
    Refusal,
)
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields

_ENDINGS: Final[tuple[bytes, ...]] = (b"", b"1", b"2", b"Tn", b"CIs", b"3", b"CI", b"", b"", b"")
_ENDS: Final[bytes] = b"".join(bytes(code in endings for code in range(256)) for endings in _ENDINGS)
"""Whether a message of a type ends a unit of a kind, at kind * 256 + type."""

_FOLLOWED: Final = frozenset(name.encode() for name in FOLLOWED)

_BEFORE_EXECUTION: Final = frozenset({"22021", "22P05", "42601", "54001"})
"""What reading a string can raise: bytes or characters not in the encoding, syntax, nesting too deep."""

_PASSED: Final = b"TCIHcV"
"""Replies that are part of a result: RowDescription, CommandComplete, EmptyQueryResponse, CopyOutResponse, CopyDone,
FunctionCallResponse."""

_POSITION: Final = re.compile("[0-9]{1,9}")

_JOINED_BYTES: Final = 64 * 1024
"""Messages up to this size are joined with each chunk that comes; longer ones once."""

_MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""Replies other than rows are held whole; PostgreSQL's own are far smaller than this."""


_NO_UNITS: Final[tuple[int, ...]] = ()


def _by_order(entry: tuple[int, Note | ParseRecord]) -> int:
    return entry[0]


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
        "_is_mended",
        "_missing",
        "_override",
        "_parts",
        "_pass",
        "_pass_forward",
        "_pos",
        "_types_told",
        "_unheard",
        "_units",
        "_units_ahead",
        "cancel_error",
        "expected",
        "failed",
        "has_said_farewell",
        "lacks_statement",
        "notes",
        "out",
        "owner",
        "parses",
        "positions",
        "quiet",
        "replaying",
        "reported",
        "skipping",
        "status",
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
        self.replaying = (
            False  # a batch failed for a reason that can be mended: it is sent again behind its ReadyForQuery
        )
        self.failed = False
        self.has_said_farewell = False
        self.cancel_error: ProxyError | None = None  # what a cancel of the proxy's own is to be called
        self.lacks_statement = False
        self._override = b""
        self._types_told = b""
        self._is_mended = False
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
        data, pos, out, units = self._data, self._pos, self.out, self.units
        end = len(data)
        if self._pass:
            pos = self._stream(data, pos, end)
        start = pos
        while end - pos >= 5:
            code = data[pos]
            length = data[pos + 3] << 8 | data[pos + 4]
            if data[pos + 2] or data[pos + 1]:
                length |= data[pos + 1] << 24 | data[pos + 2] << 16
            if length < 4:
                raise ProtocolViolation("invalid message length from server")
            after = pos + 1 + length
            head = units[0] if units else 0
            if code == codes.DATA_ROW or code == codes.COPY_DATA:
                if not head:
                    raise ProtocolViolation(f"a message of type 0x{code:02X} came unasked")
                if not head & DROP:
                    self._pass, self._pass_forward = max(0, after - end), True
                    pos = min(after, end)
                    continue
                if start < pos:
                    out.append(data[start:pos])
                start = pos = self._drop_row(head, data, pos, after)
                if pos < after:
                    break
                continue
            if after > end:
                if length > _MAX_HELD_BYTES:
                    raise ProtocolViolation("a message from the server is too large to hold")
                if length > _JOINED_BYTES:
                    return self._hold(start, pos, after)
                break
            is_ending = head != 0 and _ENDS[(head & KIND) << 8 | code] != 0
            if self._end_unit(head) if is_ending else code in _PASSED and head and not head & (DROP | NOTED):
                pos = after
                continue
            if start < pos:
                out.append(data[start:pos])
            frame = data[pos:after]
            start = pos = after
            if is_ending:
                self._finish_unit(head, frame)
            elif code != codes.READY_FOR_QUERY:
                self._special(code, head, frame)
            elif self._ready(head, frame):
                self._pos = pos
                return self.status
        if start < pos:
            out.append(data[start:pos])
        self._pos = pos
        if pos == end:
            self._data = b""
            self._pos = 0
        return 0

    def _hold(self, start: int, pos: int, after: int) -> int:
        """A long message has begun at `pos`: gather the rest of it before anything is looked at again."""
        if start < pos:
            self.out.append(self._data[start:pos])
        self._parts.append(self._data[pos:])
        self._missing = after - len(self._data)
        self._data = b""
        self._pos = 0
        return 0

    def _end_unit(self, head: int) -> bool:
        """The first unit is over; True if its last reply can be passed on with what surrounds it."""
        units = self.units
        units.popleft()
        if head & KIND == PARSE and self.parses:
            self.parses.popleft()
        return not head & (DROP | NOTED) and not (units and units[0] & KIND == LOCAL)

    def _drop_row(self, head: int, data: bytes, pos: int, after: int) -> int:
        """A row that nobody shall see, or that was asked for by the proxy; returns how far it could be taken."""
        end = len(data)
        if after <= end:
            if head & NOTED:
                self._capture_row(data[pos + 5 : after])
            return after
        if head & NOTED:
            return pos
        self._pass, self._pass_forward = after - end, False
        return end

    def _stream(self, data: bytes, pos: int, end: int) -> int:
        """Pass on the rest of a row that is larger than a chunk."""
        count = min(self._pass, end - pos)
        if self._pass_forward and count:
            self.out.append(data[pos : pos + count])
        self._pass -= count
        return pos + count

    def _finish_unit(self, head: int, reply: bytes) -> None:
        """A reply that ends a unit with a note or a DROP, or that has local replies behind it."""
        if reply[0] == codes.COMMAND_COMPLETE and len(reply) < 6:
            raise ProtocolViolation("invalid CommandComplete from server")
        drop = bool(head & DROP)
        if head & NOTED:
            note = self.notes.popleft()
            if isinstance(note, Capture):
                self.owner.value_captured(note)
            elif isinstance(note, Description):
                note.row = reply
                self.owner.described(note)
            elif isinstance(note, Effect):
                if reply[0] == codes.COMMAND_COMPLETE:
                    self.owner.statement_completed(note, reply[5:-1])
                if note.tag is not None:
                    reply = backend.command_complete(note.tag)
        if not drop:
            self.out.append(reply)
        self.flush_local()

    def absorb_reported(self, parameters: dict[bytes, bytes], given: Container[bytes] = ()) -> dict[bytes, bytes]:
        """Outside a transaction: what was reported is the server's own value now. Returns its `parameters` with that.

        Except what a server's session is `given`, or gets to follow its client: that says nothing about the server.
        """
        changed = {
            name: value
            for name, value in self.reported.items()
            if name not in _FOLLOWED and name not in given and parameters.get(name) != value
        }
        self.reported.clear()
        return shared({**parameters, **changed}) if changed else parameters

    def flush_local(self) -> None:
        """Send the local replies whose turn has come."""
        units = self.units
        while units and units[0] & KIND == LOCAL:
            units.popleft()
            note = self.notes.popleft()
            if isinstance(note, LocalReply):
                self.out.append(note.data)

    def _capture_row(self, body: bytes) -> None:
        note = self.notes[0]
        if isinstance(note, Capture):
            note.value = backend.read_first_column(body)

    def _ready(self, head: int, frame: bytes) -> bool:
        """ReadyForQuery: True if it is the client's."""
        if len(frame) != 6 or frame[5] not in b"ITE":
            raise ProtocolViolation("invalid ReadyForQuery from server")
        status = frame[5]
        if self.replaying:
            self.replaying = False
            self._is_mended = True
            self.owner.mend()
            return False
        # What an error made the server skip is gone already: see _skip_to_sync.
        while head and head & KIND < SYNC:
            if head & KIND != STATEMENT:
                raise ProtocolViolation("ReadyForQuery came while other replies are owed")
            self.units.popleft()
            if head & NOTED:
                self.notes.popleft()
            head = self.units[0] if self.units else 0
        if not head:
            raise ProtocolViolation("ReadyForQuery came unasked")
        self.units.popleft()
        self.status = status
        self.skipping = False
        self.quiet = False
        if head & DROP:
            self.owner.internal_ready(status)
            self.flush_local()
            return False
        self.positions = 0
        self._override = b""
        self._types_told = b""
        self._is_mended = False
        self.cancel_error = None
        return True

    def _special(self, code: int, head: int, frame: bytes) -> None:
        """Replies that are not simply part of a result."""
        if code == codes.ERROR_RESPONSE:
            self._error(head, frame)
        elif code == codes.PARAMETER_STATUS:
            name, value = backend.read_parameter_status(frame[5:])
            self.reported[name] = value
        elif code == codes.NOTICE_RESPONSE:
            if not head & DROP and not self._is_about_our_words(head, frame):
                self.out.append(self._put_position_right(frame))
        elif code == codes.COPY_IN_RESPONSE:
            if head & KIND not in (EXECUTE, STATEMENT, QUERY) or head & DROP:
                raise ProtocolViolation("CopyInResponse came unasked")
            self.out.append(frame)
            # What else is on its way fails the COPY, so no data will be taken and no Sync ignored.
            if head & KIND != EXECUTE or all(unit & KIND in (LOCAL, SYNC) for unit in islice(self.units, 1, None)):
                self._forget_ignored_sync()
                self.owner.copy_in_started()
        elif code == codes.NOTIFICATION_RESPONSE:
            self.out.append(frame)
        elif code == codes.PARAMETER_DESCRIPTION and head & KIND == DESCRIBE:
            self._types(head, frame)
        elif code not in _PASSED or not head:
            raise ProtocolViolation(f"a message of type 0x{code:02X} came unasked")
        elif not head & DROP:
            self.out.append(frame)

    def _types(self, head: int, frame: bytes) -> None:
        """ParameterDescription, which comes before an error that a Describe meets."""
        if head & NOTED and isinstance(note := self.notes[0], Description):
            note.types = frame[5:]
        if not head & DROP and not (self._is_mended and frame == self._types_told):
            self.out.append(frame)
            self._types_told = frame

    def _is_about_our_words(self, head: int, frame: bytes) -> bool:
        note = self.notes[0] if head & NOTED else None
        return isinstance(note, Effect) and note.is_rewritten and b"\0C25P01\0" in frame

    def _forget_ignored_sync(self) -> None:
        """The server ignores a Sync sent right behind the Execute of a COPY FROM STDIN (manual, "COPY Operations")."""
        if len(self.units) > 1 and self.units[-1] & KIND == SYNC and self.units[0] & KIND == EXECUTE:
            self.units.pop()

    def _error(self, head: int, frame: bytes) -> None:
        """ErrorResponse: what the server skips because of it is owed no more."""
        if (head & KIND == BIND or head & KIND == DESCRIBE) and not head & INJECTED and self.owner.can_mend(frame):
            self.replaying = True
            return
        self.failed = True
        if b"\0VFATAL\0" in frame or b"\0VPANIC\0" in frame:
            self.has_said_farewell = True
        note = self.notes[0] if head & NOTED else None
        if b"\0C26000\0" in frame and not isinstance(note, Refusal):
            self.lacks_statement = True
        if head & KIND == PARSE and self.parses:
            self.parses[0].has_failed = True
        # An error that nobody asked for, such as the farewell of a server that shuts down, makes it skip nothing.
        self.skipping = self._skip_to_sync() and head != 0
        if self.quiet and not self.has_said_farewell:
            return
        if head & INJECTED and not self.has_said_farewell:
            frame = self._injection_error(head, frame)
            if self.units and self.units[0] & DROP:
                # A Query of our own in front: PostgreSQL answers the client's bytes with 25P02; say why instead.
                self._override = frame
                return
        elif isinstance(note, Refusal):
            frame = backend.error_response(note.error)
        elif self._override:
            frame, self._override = self._override, b""
        elif self.cancel_error is not None and b"\0C57014\0" in frame:
            frame = backend.error_response(self.cancel_error)
        else:
            frame = self._put_position_right(frame)
        self.owner.error_reported()
        self.out.append(frame)

    def _injection_error(self, head: int, frame: bytes) -> bytes:
        """What the client is told when PostgreSQL refuses something that begins with the context."""
        fields = backend.read_error_fields(frame[5:])
        if head & KIND == STATEMENT and ("P" in fields or fields.get("C") in _BEFORE_EXECUTION):
            # PostgreSQL reads the whole string before it runs any of it: the fault is in the client's part.
            return self._put_position_right(frame)
        error = self.owner.injection_failed(fields)
        return frame if error is None else backend.error_response(error, severity="ERROR")

    def _skip_to_sync(self) -> bool:
        """Nothing up to the next Sync is owed any more; True if that was not sent yet."""
        units = self.units
        undone: list[tuple[int, Note | ParseRecord]] = [(record.order, record) for record in self.parses]
        self.parses.clear()
        while units and units[0] & KIND < SYNC:
            if units.popleft() & NOTED:
                note = self.notes.popleft()
                undone.append((note.order if isinstance(note, LocalReply) else 0, note))
        # The last thing done is the first to be undone: a name may have been closed and defined anew.
        for _, record in sorted(undone, key=_by_order, reverse=True):
            self._undo(record)
        return not units

    def _undo(self, note: Note | ParseRecord) -> None:
        """What `note` stands for was skipped: PostgreSQL would not have done it."""
        if isinstance(note, ParseRecord):
            self.owner.parse_undone(note)
        elif isinstance(note, Eviction) or (isinstance(note, LocalReply) and note.closes is not None):
            self.owner.close_undone(note)
        elif isinstance(note, LocalReply) and note.defines is not None:
            self.owner.parse_undone(ParseRecord(b"", note.defines))

    def _put_position_right(self, frame: bytes) -> bytes:
        positions = self.positions
        if positions == 0:
            return frame
        fields = backend.read_error_fields(frame[5:])
        position = fields.get("P")
        if position is None or not _POSITION.fullmatch(position):
            return frame
        # Rebuilt byte-wise: the other fields are in the client's encoding, which is not ours to decode.
        old = b"\0P" + position.encode() + b"\0"
        found = int(position)
        mapped = max(1, found - positions) if isinstance(positions, int) else positions.original(found)
        new = b"\0P" + str(mapped).encode() + b"\0"
        body = frame[5:].replace(old, new, 1)
        return frame[:1] + (len(body) + 4).to_bytes(4, "big") + body
