"""Prepared statements that outlive a change of definitions (DDL).

Through the proxy a client may meet a statement that was prepared for somebody else, before a table changed. PostgreSQL
then says "cached plan must not change result type" to a client that has done nothing wrong. While nothing has run, and
if the client is not misled by what it was told before, the batch is sent again behind a new Parse.

What is sent again is the bytes of the last write, so nothing is kept for it on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.errors import StatementOutdated
from proxy.server.prepared import close_statement
from proxy.server.units import (
    BIND,
    CLOSE,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    KIND,
    LOCAL,
    NOTED,
    PARSE,
    QUERY,
    SYNC,
    Eviction,
    ParseRecord,
)
from proxy.wire import codes

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.client.statements import Statement

MAX_MENDED_BYTES: Final = 16 * 1024
"""Batches up to this size are sent again."""

_KINDS: Final = {
    codes.PARSE: PARSE,
    codes.BIND: BIND,
    codes.DESCRIBE: DESCRIBE,
    codes.EXECUTE: EXECUTE,
    codes.CLOSE: CLOSE,
    codes.SYNC: SYNC,
    codes.QUERY: QUERY,
}


_CONTEXT_BIND: Final = BIND | DROP | INJECTED


class CheckFirst(Exception):
    """A statement has to be looked at before the frame at hand can be handled."""

    def __init__(self, statement: Statement, *, is_named: bool) -> None:
        super().__init__()
        self.statement = statement
        self.is_named = is_named


class BeginFirst(Exception):
    """The BEGIN that was deferred has to run before the frame at hand can be handled."""


def outdated() -> StatementOutdated:
    """What PostgreSQL says of a statement whose columns are not what they were."""
    return StatementOutdated(
        "cached plan must not change result type",
        details="Definitions changed since the statement was prepared.",
        hint="Prepare the statement again.",
    )


def can_mend(session: Session, error: bytes) -> bool:
    """Whether the batch that failed at the server's first unit can be sent again; sees to it that nobody else meets this."""
    if not _is_about_a_plan(error):
        return False
    batch = _Batch.of(session)
    catalog = session.shared.catalog
    if batch is None or batch.statement.version == catalog.schema_version:
        # A change that was not seen: whoever prepares the statement from now on gets it parsed anew.
        catalog.schema_version += 1
    return batch is not None and not _is_strange(session, batch.statement) and batch.is_harmless(session)


def is_written_otherwise(session: Session, statement: Statement) -> bool:
    """Whether PostgreSQL would read the statement's text as other characters than when the client sent it."""
    return len(statement.encoding) > 0 and statement.encoding != session.shown.get(b"client_encoding")


def _is_strange(session: Session, statement: Statement) -> bool:
    """Whether its text would be read by other settings than those that it was sent or is shared by."""
    if statement.plan_key is not None and (statement.plan_key != session.context.plan_key or session.is_apart):
        return True
    return is_written_otherwise(session, statement)


def _is_about_a_plan(error: bytes) -> bool:
    """PostgreSQL's "cached plan must not change result type", in any language: by the function that raises it."""
    return b"\0C0A000\0" in error and b"\0RRevalidateCachedQuery\0" in error


def mend(session: Session) -> None:
    """Send the batch again behind a new Parse; what was answered already is not answered again."""
    server = session.server
    batch = _Batch.of(session)
    assert server is not None
    assert batch is not None
    ledger = server.ledger
    statement = batch.statement
    # Behind the context: names in the statement are looked up by its search_path.
    at = sum(1 for unit in batch.done if unit & INJECTED)
    done = [*batch.done[:at], CLOSE | DROP | NOTED, PARSE | DROP, *batch.done[at:]]
    records = [ParseRecord(b"", None) for unit in batch.done if unit & KIND == PARSE]
    ledger.units.extendleft(reversed(done))
    ledger.notes.appendleft(Eviction(statement.server_name))
    ledger.parses.extendleft(reversed([ParseRecord(statement.server_name, None), *records]))
    anew = [close_statement(statement.server_name), statement.parse]
    server.write(b"".join([*batch.frames[:at], *anew, *batch.frames[at:]]))


class _Batch:
    """The last write as a batch that failed.

    `frames` are what is to be sent again, `done` the units of those that were answered already, `failed` the frame that
    PostgreSQL stopped at, `next_kind` what stands behind it, `statement` what it is about.
    """

    __slots__ = ("done", "failed", "frames", "next_kind", "statement")

    def __init__(self, frames: list[bytes], at: int, done: list[int], statement: Statement) -> None:
        self.done = done
        self.failed = frames[at]
        self.next_kind = _KINDS.get(frames[at + 1][0], 0)
        self.statement = statement
        self.frames = frames

    @staticmethod
    def of(session: Session) -> _Batch | None:
        """None if it is not a whole batch outside a transaction, or more than the context ran before the failure."""
        server = session.server
        frames = _split(session.last_write)
        if server is None or session.status != codes.IDLE or not frames or frames[-1][0] != codes.SYNC:
            return None
        owed = [unit & KIND for unit in server.ledger.units if unit & KIND != LOCAL]
        at = len(frames) - len(owed)
        if at < 0 or [_KINDS.get(frame[0], 0) for frame in frames[at:]] != owed:
            return None
        # What is prepared under a name, and what the session was given, stays.
        before = [frame for frame in frames[:at] if not _lasts(frame)]
        done = _units_of(before, session.context.statement_name)
        statement = _named_by(session, frames[at])
        if done is None or statement is None:
            return None
        return _Batch([*before, *frames[at:]], len(before), done, statement)

    def is_harmless(self, session: Session) -> bool:
        """Whether the client will understand what it gets: it was told nothing before, or is told now."""
        if self.failed[0] == codes.DESCRIBE or session.extended.parsed is self.statement:
            return True
        return self.next_kind == DESCRIBE and _has_text_parameters(self.failed)


def _split(data: bytes) -> list[bytes]:
    """The frames of a write, without Flush, which is owed no answer."""
    frames = []
    position = 0
    while position < len(data):
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        if data[position] != codes.FLUSH:
            frames.append(data[position:end])
        position = end
    return frames


def _lasts(frame: bytes) -> bool:
    return frame[0] == codes.QUERY or (frame[0] == codes.PARSE and frame[5] != 0)


def _units_of(frames: list[bytes], context: bytes) -> list[int] | None:
    """The units of frames that were answered, for their second time; None if one of them ran something of the client's."""
    units: list[int] = []
    for frame in frames:
        kind = _KINDS.get(frame[0], 0)
        is_contexts = len(units) < 2 and (frame[6 : 7 + len(context)] == context + b"\0" or units == [_CONTEXT_BIND])
        if kind in (BIND, EXECUTE) and not is_contexts:
            return None
        units.append(kind | DROP | INJECTED if is_contexts else kind | DROP)
    return units


def _named_by(session: Session, frame: bytes) -> Statement | None:
    """The client's statement that a Bind or a Describe is about."""
    start = frame.index(b"\0", 5) + 1 if frame[0] == codes.BIND else 6
    name = frame[start : frame.index(b"\0", start)]
    for statement in session.extended.own.names.values():
        if statement.server_name == name:
            return statement
    return None


def _has_text_parameters(bind: bytes) -> bool:
    end = bind.index(b"\0", bind.index(b"\0", 5) + 1) + 1
    count = int.from_bytes(bind[end : end + 2], "big")
    return not any(bind[end + 2 : end + 2 + 2 * count])
