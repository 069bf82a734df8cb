"""Replies that end nothing and are not simply part of a result: notices, parameters, the start of a COPY, and the like."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from proxy.errors import ProtocolViolation
from proxy.server.faults import put_position_right, take_error
from proxy.server.units import (
    DESCRIBE,
    DROP,
    EXECUTE,
    KIND,
    LOCAL,
    NOTED,
    QUERY,
    STATEMENT,
    SYNC,
    Description,
    Effect,
)
from proxy.wire import backend, codes

if TYPE_CHECKING:
    from proxy.server.ledger import Ledger

RESULT_PARTS: Final = b"TCIHcV"
"""RowDescription, CommandComplete, EmptyQueryResponse, CopyOutResponse, CopyDone, FunctionCallResponse."""


def unasked(code: int) -> ProtocolViolation:
    """A reply came that nothing is owed for."""
    return ProtocolViolation(f"a message of type 0x{code:02X} came unasked")


def look_at(ledger: Ledger, code: int, head: int, frame: bytes) -> None:
    """Take a message of the type `code` that does not end the unit `head` and can not be passed on unseen."""
    if code == codes.ERROR_RESPONSE:
        take_error(ledger, head, frame)
    elif code == codes.PARAMETER_STATUS:
        name, value = backend.read_parameter_status(frame[5:])
        ledger.reported[name] = value
    elif code == codes.NOTICE_RESPONSE:
        if not head & DROP and not _is_about_our_words(ledger, head, frame):
            ledger.out.append(put_position_right(ledger.positions, frame))
    elif code == codes.COPY_IN_RESPONSE:
        _start_copy_in(ledger, head, frame)
    elif code == codes.NOTIFICATION_RESPONSE:
        ledger.out.append(frame)
    elif code == codes.PARAMETER_DESCRIPTION and head & KIND == DESCRIBE:
        _take_types(ledger, head, frame)
    elif code not in RESULT_PARTS or not head:
        raise unasked(code)
    elif not head & DROP:
        ledger.out.append(frame)


def _start_copy_in(ledger: Ledger, head: int, frame: bytes) -> None:
    """CopyInResponse."""
    if head & KIND not in (EXECUTE, STATEMENT, QUERY) or head & DROP:
        raise ProtocolViolation("CopyInResponse came unasked")
    ledger.out.append(frame)
    # What else is on its way fails the COPY, so no data will be taken and no Sync ignored.
    if head & KIND != EXECUTE or all(unit & KIND in (LOCAL, SYNC) for unit in islice(ledger.units, 1, None)):
        _forget_ignored_sync(ledger)
        ledger.owner.copy_in_started()


def _forget_ignored_sync(ledger: Ledger) -> None:
    """The server ignores a Sync sent right behind the Execute of a COPY FROM STDIN (manual, "COPY Operations").

    Unless the COPY fails before it reads anything, by a trigger for the statement, say: the Sync ends the batch then.
    """
    units = ledger.units
    if len(units) > 1 and units[-1] & KIND == SYNC and units[0] & KIND == EXECUTE:
        units.pop()
        ledger.sync_in_doubt = True


def _take_types(ledger: Ledger, head: int, frame: bytes) -> None:
    """ParameterDescription, which comes before an error that a Describe meets."""
    if head & NOTED and isinstance(note := ledger.notes[0], Description):
        note.types = frame[5:]
    if not head & DROP and not (ledger.is_mended and frame == ledger.types_told):
        ledger.out.append(frame)
        ledger.types_told = frame


def _is_about_our_words(ledger: Ledger, head: int, frame: bytes) -> bool:
    note = ledger.notes[0] if head & NOTED else None
    return isinstance(note, Effect) and note.is_rewritten and b"\0C25P01\0" in frame
