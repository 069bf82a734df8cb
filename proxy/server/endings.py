"""What ends a unit and means something to somebody: a statement that took effect, a value, a description, ReadyForQuery."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from proxy.errors import ProtocolViolation
from proxy.server.units import DROP, KIND, LOCAL, NOTED, STATEMENT, SYNC, Capture, Description, Effect, LocalReply
from proxy.wire import backend, codes

if TYPE_CHECKING:
    from proxy.server.ledger import Ledger


def finish_unit(ledger: Ledger, units: deque[int], head: int, reply: bytes) -> None:
    """`reply` ended the unit `head`, which has a note or a DROP, or local replies behind it; `units` are what is left."""
    if reply[0] == codes.COMMAND_COMPLETE and len(reply) < 6:
        raise ProtocolViolation("invalid CommandComplete from server")
    if head & NOTED:
        reply = _take_note(ledger, reply)
    if not head & DROP:
        ledger.out.append(reply)
    if units and units[0] & KIND == LOCAL:
        _flush_local(ledger, units)


def _take_note(ledger: Ledger, reply: bytes) -> bytes:
    """Tell the owner what `reply` means; returns what the client shall see in its place."""
    note = ledger.notes.popleft()
    if isinstance(note, Capture):
        ledger.owner.value_captured(note)
    elif isinstance(note, Description):
        note.row = reply
        ledger.owner.described(note)
    elif isinstance(note, Effect):
        if reply[0] == codes.COMMAND_COMPLETE:
            ledger.owner.statement_completed(note, reply[5:-1])
        elif reply[0] == codes.PORTAL_SUSPENDED:  # a set_config() that was asked for one row
            ledger.owner.statement_completed(note, b"")
        if note.tag is not None:
            return backend.command_complete(note.tag)
    return reply


def _flush_local(ledger: Ledger, units: deque[int]) -> None:
    """Send the local replies whose turn has come."""
    while units and units[0] & KIND == LOCAL:
        units.popleft()
        note = ledger.notes.popleft()
        if isinstance(note, LocalReply):
            ledger.out.append(note.data)


def ready(ledger: Ledger, units: deque[int], head: int, frame: bytes) -> bool:
    """ReadyForQuery: True if it is the client's."""
    if len(frame) != 6 or frame[5] not in b"ITE":
        raise ProtocolViolation("invalid ReadyForQuery from server")
    if ledger.replaying:
        ledger.replaying = False
        ledger.is_mended = True
        ledger.owner.mend()
        return False
    # What an error made the server skip is gone already: see faults.py.
    while head and head & KIND < SYNC:
        if head & KIND != STATEMENT:
            raise ProtocolViolation("ReadyForQuery came while other replies are owed")
        units.popleft()
        if head & NOTED:
            ledger.notes.popleft()
        head = units[0] if units else 0
    if head:
        units.popleft()
    elif ledger.sync_in_doubt and ledger.failed:
        ledger.sync_in_doubt = False  # it was not ignored, and all others that were sent are answered
    else:
        raise ProtocolViolation("ReadyForQuery came unasked")
    ledger.status = frame[5]
    ledger.skipping = False
    ledger.quiet = False
    if head & DROP:
        ledger.owner.internal_ready(frame[5])
        _flush_local(ledger, units)
        return False
    ledger.positions = 0
    ledger.override = b""
    ledger.types_told = b""
    ledger.is_mended = False
    ledger.cancel_error = None
    return True
