"""What an ErrorResponse means: what is owed no more, what did not come to be, and in whose words the client is told.

PostgreSQL skips everything between an error and the next Sync, so what was on its way there is undone in the books.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.server.units import (
    BIND,
    DESCRIBE,
    DROP,
    INJECTED,
    KIND,
    NOTED,
    PARSE,
    STATEMENT,
    SYNC,
    Eviction,
    LocalReply,
    Note,
    ParseRecord,
    PositionMap,
    Refusal,
)
from proxy.wire import backend

if TYPE_CHECKING:
    from proxy.server.ledger import Ledger

_BEFORE_EXECUTION: Final = frozenset({"22021", "22P05", "42601", "54001"})
"""What reading a string can raise: bytes or characters not in the encoding, syntax, nesting too deep."""

_POSITION: Final = re.compile("[0-9]{1,9}")


def take_error(ledger: Ledger, head: int, frame: bytes) -> None:
    """ErrorResponse: what the server skips because of it is owed no more."""
    if (head & KIND == BIND or head & KIND == DESCRIBE) and not head & INJECTED and ledger.owner.can_mend(frame):
        ledger.replaying = True
        return
    ledger.failed = True
    if b"\0VFATAL\0" in frame or b"\0VPANIC\0" in frame:
        ledger.has_said_farewell = True
    note = ledger.notes[0] if head & NOTED else None
    if b"\0C26000\0" in frame and not isinstance(note, Refusal):
        ledger.lacks_statement = True
    if head & KIND == PARSE and ledger.parses:
        ledger.parses[0].has_failed = True
    # An error that nobody asked for, such as the farewell of a server that shuts down, makes it skip nothing.
    ledger.skipping = skip_to_sync(ledger) and head != 0
    if ledger.quiet and not ledger.has_said_farewell:
        return
    told = _in_words_for_client(ledger, head, note, frame)
    if told is not None:
        ledger.owner.error_reported()
        ledger.out.append(told)


def _in_words_for_client(ledger: Ledger, head: int, note: Note | None, frame: bytes) -> bytes | None:
    """The error as the client is to see it; None if it is told so in place of the next one."""
    if head & INJECTED and not ledger.has_said_farewell:
        frame = _injection_error(ledger, head, frame)
        if ledger.units and ledger.units[0] & DROP:
            # A Query of our own in front: PostgreSQL answers the client's bytes with 25P02; say why instead.
            ledger.override = frame
            return None
        return frame
    if isinstance(note, Refusal):
        return backend.error_response(note.error)
    if ledger.override:
        frame, ledger.override = ledger.override, b""
        return frame
    if ledger.cancel_error is not None and b"\0C57014\0" in frame:
        return backend.error_response(ledger.cancel_error)
    return put_position_right(ledger.positions, frame)


def _injection_error(ledger: Ledger, head: int, frame: bytes) -> bytes:
    """What the client is told when PostgreSQL refuses something that begins with the context."""
    fields = backend.read_error_fields(frame[5:])
    if head & KIND == STATEMENT and ("P" in fields or fields.get("C") in _BEFORE_EXECUTION):
        # PostgreSQL reads the whole string before it runs any of it: the fault is in the client's part.
        return put_position_right(ledger.positions, frame)
    error = ledger.owner.injection_failed(fields)
    return frame if error is None else backend.error_response(error, severity="ERROR")


def skip_to_sync(ledger: Ledger) -> bool:
    """Nothing up to the next Sync is owed any more; True if that was not sent yet."""
    units = ledger.units
    undone: list[tuple[int, Note | ParseRecord]] = [(record.order, record) for record in ledger.parses]
    ledger.parses.clear()
    while units and units[0] & KIND < SYNC:
        if units.popleft() & NOTED:
            note = ledger.notes.popleft()
            undone.append((note.order if isinstance(note, LocalReply | Eviction) else 0, note))
    # The last thing done is the first to be undone: a name may have been closed and defined anew.
    for _, record in sorted(undone, key=_by_order, reverse=True):
        _undo(ledger, record)
    return not units


def _by_order(entry: tuple[int, Note | ParseRecord]) -> int:
    return entry[0]


def _undo(ledger: Ledger, note: Note | ParseRecord) -> None:
    """What `note` stands for was skipped: PostgreSQL would not have done it."""
    if isinstance(note, ParseRecord):
        ledger.owner.parse_undone(note)
    elif isinstance(note, Eviction) or (isinstance(note, LocalReply) and note.closes is not None):
        ledger.owner.close_undone(note)
    elif isinstance(note, LocalReply) and note.defines is not None:
        ledger.owner.parse_undone(ParseRecord(b"", note.defines))


def put_position_right(positions: PositionMap | int, frame: bytes) -> bytes:
    """An error or a notice whose position is one in the client's own text; `positions` as the ledger's."""
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
