"""What the proxy itself runs on a server connection: a Query for a reset or a look at settings, and the recovery of a
connection whose client left.

A job holds the connection like a session does, until it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.errors import ProxyError, ServerLost
from proxy.server.faults import skip_to_sync
from proxy.server.parameters import absorb
from proxy.server.ports import ServerUser
from proxy.server.units import (
    DROP,
    EXECUTE,
    QUERY,
    SYNC,
    Capture,
    Description,
    Effect,
    Eviction,
    LocalReply,
    ParseRecord,
)
from proxy.wire import backend, codes, frontend
from proxy.wire.backend import ErrorFields

if TYPE_CHECKING:
    from proxy.server.connection import ServerConnection

DISCARD: Final = 2
"""The level of reset that leaves nothing, plans included."""

_RESET_KEEPING_PLANS: Final[bytes] = frontend.query(
    b"CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; DISCARD TEMP; DISCARD SEQUENCES; "
    # Protocol-level statements are the proxy's own. One made by SQL could stand under the name of one of them, and hidden
    # SQL could have deallocated some: they must be as many as were made. A text, because a prepared check could be replaced
    # in the same way; the function, because the view of it costs half as much again.
    b"SELECT CASE WHEN pg_catalog.bool_or(from_sql) THEN -1 ELSE pg_catalog.count(*) END, pg_catalog.pg_advisory_unlock_all() "
    b"FROM pg_catalog.pg_prepared_statement()"
)
_DISCARD_ALL: Final[bytes] = frontend.query(b"DISCARD ALL")
_MAX_ANSWERS: Final = 1000
_IN_DOUBT: Final = "sync in doubt"
"""Nobody knows how often the server will say ReadyForQuery, and one too many would be the next client's."""
_NO_SUCH_PORTAL: Final = b"gatehouse: the client is gone"


class Outcome:
    """What became of a job: rows (first columns, in order), the first error, and whether the session is usable."""

    __slots__ = ("error", "is_clean", "values")

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.error: ErrorFields | None = None
        self.is_clean = False


class Job(ServerUser):
    """A holder with no client: the base of all jobs."""

    def __init__(self) -> None:
        self._server: ServerConnection | None = None

    def start(self, server: ServerConnection) -> None:
        """Take hold of the connection and send."""
        self._server = server
        server.lend(self)
        server.ledger.owner = self
        server.ledger.failed = False
        server.set_reading(True)
        self.send(server)

    def send(self, server: ServerConnection) -> None:
        """Send what the job is about."""

    def server_data(self) -> None:
        """Replies came."""

    def server_lost(self, error: ServerLost) -> None:
        """The connection is gone."""

    def server_can_write(self, ready: bool) -> None:
        """Jobs send little."""

    def let_go(self) -> None:
        """The job is over."""
        if self._server is not None:
            self._server.due_at = 0.0
            self._server.take_back()
            self._server = None

    # LedgerOwner: nothing that a client would care about.

    def statement_completed(self, effect: Effect, tag: bytes) -> None:
        """Not a client's any more."""

    def value_captured(self, capture: Capture) -> None:
        """Not a client's any more."""

    def can_mend(self, frame: bytes) -> bool:
        """Not worth it."""
        return False

    def mend(self) -> None:
        """Nothing was promised."""

    def described(self, note: Description) -> None:
        """Not a client's any more."""

    def parse_undone(self, record: ParseRecord) -> None:
        """The statement is not on the server after all."""
        if self._server is not None:
            if record.server_name:
                self._server.prepared.discard(record.server_name)
            else:
                self._server.prepared.unnamed = None

    def close_undone(self, note: LocalReply | Eviction) -> None:
        """The statement is on the server still."""
        if self._server is not None and isinstance(note, Eviction):
            self._server.prepared.restore(note.server_name)

    def copy_in_started(self) -> None:
        """Nobody will send data."""
        if self._server is not None:
            self._server.write(frontend.copy_fail(b"the client is gone"))

    def injection_failed(self, fields: ErrorFields) -> ProxyError | None:
        """Nobody is told; but where it was its own Query, the server's session did not follow the client's."""
        server = self._server
        if server is None:
            return None
        ledger = server.ledger
        if ledger.status == codes.IDLE and ledger.units and ledger.units[0] & DROP:
            server.followed = ()
            server.taint = DISCARD
        return None

    def error_reported(self) -> None:
        """Nobody is told."""

    def internal_ready(self, status: int) -> None:
        """Nothing waits for it."""


class QueryJob(Job):
    """One Query; its rows' first columns and its error go to the callback."""

    def __init__(self, query: bytes, done: Callable[[Outcome], None]) -> None:
        super().__init__()
        self._query = query
        self._done = done
        self._outcome = Outcome()
        self._received: list[bytes] = []

    def send(self, server: ServerConnection) -> None:
        """Send the Query."""
        server.ledger.units.append(QUERY)
        server.write(self._query)

    def server_data(self) -> None:
        """Gather until ReadyForQuery."""
        server = self._server
        if server is None:
            return
        ledger = server.ledger
        status = ledger.advance()
        self._received += ledger.out
        ledger.out.clear()
        if not status:
            return
        while ledger.advance():
            pass
        server.parameters = absorb(ledger.reported, server.parameters)
        data = b"".join(self._received)
        self._read(data)
        outcome = self._outcome
        outcome.is_clean = status == codes.IDLE and outcome.error is None
        self.let_go()
        self._finish(server, outcome, data)

    def _finish(self, server: ServerConnection, outcome: Outcome, data: bytes) -> None:
        """All of the answer is here: `data`, without its end."""
        self._done(outcome)

    def _read(self, data: bytes) -> None:
        pos = 0
        while pos < len(data):
            end = pos + 1 + int.from_bytes(data[pos + 1 : pos + 5], "big")
            body = data[pos + 5 : end]
            if data[pos] == codes.DATA_ROW:
                self._outcome.values.append(backend.read_first_column(body))
            elif data[pos] == codes.ERROR_RESPONSE and self._outcome.error is None:
                self._outcome.error = backend.read_error_fields(body)
            pos = end

    def server_lost(self, error: ServerLost) -> None:
        """It failed."""
        self.let_go()
        self._outcome.error = {"C": error.sqlstate, "M": error.message}
        self._done(self._outcome)


def query_job(sql: bytes, done: Callable[[Outcome], None]) -> Job:
    """A job that runs `sql` and calls `done` exactly once."""
    return QueryJob(frontend.query(sql), done)


class ResetJob(QueryJob):
    """Cleans a session, with its plans or without; `done(False)` means that it must be closed.

    `clean_answers` is what the server answered before when nothing was wrong, by the number of its statements: an answer
    of the same bytes needs no reading.
    """

    def __init__(self, clean_answers: dict[int, bytes], done: Callable[[bool], None], *, keeps_plans: bool) -> None:
        super().__init__(_RESET_KEEPING_PLANS if keeps_plans else _DISCARD_ALL, _nothing)
        self._clean_answers = clean_answers
        self._reset_done = done
        self._keeps_plans = keeps_plans

    def server_data(self) -> None:
        """Compare the answer, and read it only if it is another one than expected."""
        server = self._server
        if server is not None and self._keeps_plans and not self._received:
            answer = self._clean_answers.get(len(server.prepared))
            if answer is not None and server.ledger.take_exactly(answer):
                self.let_go()
                self._was_reset(server)
                return
        super().server_data()

    def _finish(self, server: ServerConnection, outcome: Outcome, data: bytes) -> None:
        if not outcome.is_clean:
            self._reset_done(False)
        elif not self._keeps_plans:
            server.prepared.clear()
            self._was_reset(server)
        elif outcome.values == [b"%d" % len(server.prepared)]:
            if len(self._clean_answers) < _MAX_ANSWERS:
                self._clean_answers[len(server.prepared)] = data + backend.READY[codes.IDLE]
            self._was_reset(server)
        else:
            server.reset(DISCARD, self._reset_done)

    def _was_reset(self, server: ServerConnection) -> None:
        server.followed = ()
        self._reset_done(True)

    def server_lost(self, error: ServerLost) -> None:
        """It could not be cleaned."""
        self.let_go()
        self._reset_done(False)


def _nothing(_: Outcome) -> None:
    """A reset has its own end."""


class Recovery(Job):
    """Ends what a client left open (COPY, batch, query, transaction), then says whether that worked."""

    def __init__(self, *, in_copy: bool, owes_sync: bool, done: Callable[[bool], None]) -> None:
        super().__init__()
        self._in_copy = in_copy
        self._owes_sync = owes_sync
        self._done = done
        self.wants_cancel = False

    def send(self, server: ServerConnection) -> None:
        """Say what the client did not say any more."""
        ledger = server.ledger
        if ledger.sync_in_doubt:
            server.close(_IN_DOUBT)
            return
        if ledger.replaying:
            # The batch would have been sent again behind its ReadyForQuery; now it has just failed.
            ledger.replaying = False
            skip_to_sync(ledger)
        if self._in_copy:
            server.write(frontend.copy_fail(b"the client is gone"))
        if self._owes_sync:
            if not self._in_copy and not ledger.skipping:
                # The Sync alone would commit what the client did not.
                ledger.units.append(EXECUTE)
                server.write(frontend.execute(_NO_SUCH_PORTAL))
            ledger.units.append(SYNC)
            server.write(frontend.SYNC)
        self.wants_cancel = bool(ledger.units) and not self._in_copy
        if not ledger.units:
            self._roll_back(server)

    def _roll_back(self, server: ServerConnection) -> None:
        if server.ledger.status == codes.IDLE:
            self.let_go()
            self._done(True)
            return
        server.prepared.unnamed = None
        server.ledger.units.append(QUERY)
        server.write(frontend.query(b"ROLLBACK"))

    def copy_in_started(self) -> None:
        """Nobody will send data."""
        server = self._server
        if server is not None and server.ledger.sync_in_doubt:
            server.close(_IN_DOUBT)
        super().copy_in_started()

    def server_data(self) -> None:
        """Let everything owed come, unseen."""
        server = self._server
        if server is None:
            return
        ledger = server.ledger
        while ledger.advance():
            pass
        ledger.out.clear()
        if ledger.status == codes.IDLE:
            server.parameters = absorb(ledger.reported, server.parameters)
        if ledger.is_settled and self._server is not None:
            self._roll_back(server)

    def server_lost(self, error: ServerLost) -> None:
        """It could not be saved."""
        self.let_go()
        self._done(False)
