"""The answer to one whole segment, read in one go while it is just what was expected.

Most answers are: the context's replies, a result, ReadyForQuery, all in one chunk. Such a chunk needs no unit for each
reply, only a walk over its frames along the transitions below. Anything else, an error, a notice, a changed parameter, a
part of a row, is left to the ledger, which holds the units all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mypy_extensions import i64

from proxy.wire import codes

# Where the walk is. What is dropped comes at or above _DROPPED.
NOTHING: Final = 0
QUERY_ANSWER: Final = 1  # of a Query
_QUERY_ROWS: Final = 2
BATCH_ANSWER: Final = 3  # of Bind, Execute, Sync
DESCRIBED_ANSWER: Final = 4  # of Bind, Describe, Execute, Sync
_DESCRIPTION: Final = 5
_ROWS: Final = 6
_READY: Final = 7
_END: Final = 15
BEHIND_PARSE: Final = 8
"""Added to BATCH_ANSWER or DESCRIBED_ANSWER: ParseComplete comes first."""
_DROPPED: Final = 16
BEHIND_CONTEXT: Final = 16
"""Added to these: the answers to a Bind and Execute of the context come before all."""
_CONTEXT_ROW: Final = 32
_CONTEXT_END: Final = 48
_SETS: Final = 64
BEHIND_BEGIN: Final = 128
"""Added to BEHIND_CONTEXT and these: the answers to a Parse, Bind and Execute of BEGIN come before that."""
MOST_SETS: Final = 63
"""How many SET LOCALs an expected answer can begin with."""


READY_BYTES: Final = 6
"""The length of a ReadyForQuery."""
_READY_HEAD: Final = b"Z\0\0\0\5"


def behind_sets(count: int) -> int:
    """The answer of a Query with `count` SET LOCALs in front."""
    return _SETS + count if count else QUERY_ANSWER


def _transitions() -> bytes:
    table = bytearray(256 * 256)

    def lead(state: int, types: bytes, to: int) -> None:
        for code in types:
            table[state * 256 + code] = to

    lead(QUERY_ANSWER, b"T", _QUERY_ROWS)
    lead(QUERY_ANSWER, b"C", QUERY_ANSWER)
    lead(QUERY_ANSWER, b"Z", _END)
    lead(_QUERY_ROWS, b"D", _QUERY_ROWS)
    lead(_QUERY_ROWS, b"C", QUERY_ANSWER)
    lead(BATCH_ANSWER, b"2", _ROWS)
    lead(DESCRIBED_ANSWER, b"2", _DESCRIPTION)
    lead(_DESCRIPTION, b"Tn", _ROWS)
    lead(_ROWS, b"D", _ROWS)
    lead(_ROWS, b"C", _READY)
    lead(_READY, b"Z", _END)
    answers = (BATCH_ANSWER, DESCRIBED_ANSWER)
    for answer in answers:
        lead(BEHIND_PARSE + answer, b"1", answer)
    for answer in (*answers, *(BEHIND_PARSE + answer for answer in answers)):
        lead(BEHIND_CONTEXT + answer, b"2", _CONTEXT_ROW + answer)
        lead(_CONTEXT_ROW + answer, b"D", _CONTEXT_END + answer)
        lead(_CONTEXT_END + answer, b"C", answer)
        lead(BEHIND_BEGIN + BEHIND_CONTEXT + answer, b"1", BEHIND_BEGIN + _CONTEXT_ROW + answer)
        lead(BEHIND_BEGIN + _CONTEXT_ROW + answer, b"2", BEHIND_BEGIN + _CONTEXT_END + answer)
        lead(BEHIND_BEGIN + _CONTEXT_END + answer, b"C", BEHIND_CONTEXT + answer)
    for count in range(1, MOST_SETS + 1):
        lead(_SETS + count, b"C", _SETS + count - 1 if count > 1 else QUERY_ANSWER)
    return bytes(table)


TRANSITIONS: Final[bytes] = _transitions()


def clients_part_in_python(transitions: bytes, data: bytes, expected: int, status: int, unheard: bytes) -> bytes:
    """The client's part of the answer; empty if `data` is not exactly the whole of what is expected.

    `transitions` are TRANSITIONS, `expected` is a state from above, `status` the transaction status that ReadyForQuery shall
    have, `unheard` messages that are left out if they stand before that.
    """
    state: i64 = expected
    end: i64 = len(data)
    pos: i64 = 0
    begin: i64 = 0 if expected < _DROPPED else -1
    cut: i64 = end - READY_BYTES - len(unheard)
    while end - pos >= 5:
        code: i64 = data[pos]
        high: i64 = data[pos + 1]
        middle: i64 = data[pos + 2]
        low: i64 = data[pos + 3]
        length: i64 = data[pos + 4]
        if pos == cut and code == codes.PARAMETER_STATUS and begin >= 0:
            is_end = (
                transitions[state * 256 + codes.READY_FOR_QUERY] == _END and data[cut : end - READY_BYTES] == unheard
            )
            ready = data[end - READY_BYTES :]
            return data[begin:cut] + ready if is_end and ready == _READY_HEAD + bytes((status,)) else b""
        state = transitions[state * 256 + code]
        if state == NOTHING or high:
            return b""
        length += low * 256 + middle * 65536
        if length <= 4 and (length < 4 or code == codes.COMMAND_COMPLETE):
            return b""  # not what PostgreSQL says: the ledger will complain
        pos += length + 1
        if state == _END:
            # A status byte and nothing behind it.
            is_whole = length == 5 and pos == end and data[end - 1] == status
            return data[begin:] if is_whole and begin >= 0 else b""
        if begin < 0 and state < _DROPPED:
            begin = pos
    return b""


clients_part: Callable[[bytes, bytes, i64, i64, bytes], bytes] = clients_part_in_python
"""In C where Gatehouse was compiled."""
try:
    from proxy.server import _expected
except ImportError:
    pass
else:
    clients_part = _expected.clients_part
