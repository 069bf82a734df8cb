"""One server connection after login: the asyncio shell around its ledger.

Bytes come in, go through the ledger, and whoever holds the connection (a client's session, or a job of the proxy's own)
is told. It knows nothing of pools; `unusable_because` is its word on whether it can be lent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from proxy.errors import ProtocolViolation, ServerLost
from proxy.net.links import Link, Receiver
from proxy.net.timers import TICK_S, no_later
from proxy.server.jobs import DISCARD, Job, Recovery, ResetJob
from proxy.server.ledger import Ledger
from proxy.server.parameters import absorb, shared
from proxy.server.ports import ServerPort, ServerUser
from proxy.server.prepared import PreparedOnServer
from proxy.wire import codes, frontend

_LAST_WORDS_S: Final = 5.0
"""How long a connection that is closed may take for bytes that PostgreSQL has not read yet."""


class ServerConnection(ServerPort, Receiver):
    """A logged-in connection to PostgreSQL.

    `reset_timeout_s`: how long a reset may take. `when_gone` is called when
    the connection is closed, whoever closed it.
    """

    def __init__(
        self,
        *,
        address: str,
        pid: int,
        key: bytes,
        parameters: dict[bytes, bytes],
        opened_at: float,
        max_prepared_statements: int,
        reset_timeout_s: float,
        cancel: Callable[[int, bytes], Awaitable[bool]],
        on_lost: Callable[[ServerConnection], None],
    ) -> None:
        self.address = address
        self.pid = pid
        self._key = key
        self.parameters = shared(parameters)
        self.opened_at = opened_at
        self.taint = 0
        self.tenant_id = None
        self.place = None
        self.followed = ()
        self.prepared = PreparedOnServer(max_prepared_statements)
        self._reset_timeout_s = reset_timeout_s
        self._send_cancel = cancel
        self._on_lost = on_lost
        self._idle = IdleUser(self)
        self.user: ServerUser = self._idle
        self.ledger = Ledger(self._idle)
        self._link: Link | None = None
        self.takes_bytes = True
        self._reads = True
        self.due_at = 0.0  # when the job under way has to be done; 0 for none
        self._alarm: asyncio.TimerHandle | None = None
        self._retired_because = ""
        self._cancels = 0
        self._after_cancels: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.clean_answers: dict[int, bytes] = {}  # to a reset, by the number of statements that it keeps
        self.is_closed = False
        self.close_reason = ""
        self.when_gone: Callable[[], None] = _nothing

    def __repr__(self) -> str:
        return f"<server {self.address} pid {self.pid}>"

    # Receiver.

    def attach(self, link: Link) -> None:
        """Take over a link whose login is done; what comes over it is for whoever makes this its receiver."""
        self._link = link

    def data_received(self, data: bytes) -> None:
        """Bytes from PostgreSQL."""
        try:
            self.ledger.feed(data)
            self.user.server_data()
        except ProtocolViolation as error:
            self.give_up(
                "protocol violation",
                ServerLost(
                    "the server sent what can not be understood",
                    server=self.address,
                    reason=error.message,
                    pid=self.pid,
                ),
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        was_closed, self.is_closed = self.is_closed, True
        if self._alarm is not None:
            self._alarm.cancel()
        self.close_reason = self.close_reason or "lost"
        if not was_closed:
            self._lose(ServerLost("server closed the connection unexpectedly", server=self.address, reason=str(exc)))
        self.when_gone()

    def pause_writing(self) -> None:
        """PostgreSQL reads more slowly than the client sends."""
        self.takes_bytes = False
        self.user.server_can_write(False)

    def resume_writing(self) -> None:
        """It has caught up."""
        self.takes_bytes = True
        self.user.server_can_write(True)

    def give_up(self, reason: str, error: ServerLost) -> None:
        """Close it at once, as one that is lost."""
        if self.is_closed:
            return
        self.is_closed = True
        self.close_reason = reason
        if self._link is not None:
            self._link.abort()
        self._lose(error)

    def _lose(self, error: ServerLost) -> None:
        user, self.user = self.user, self._idle
        self._on_lost(self)
        user.server_lost(error)

    # For whoever holds it.

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._link is not None and not self.is_closed:
            self._link.write(data)

    def lend(self, user: ServerUser) -> None:
        """Make `user` the holder; its session sets the ledger's owner."""
        self.user = user

    def take_back(self) -> None:
        """Nobody holds it."""
        self.user = self._idle
        self.ledger.owner = self._idle
        self.ledger.failed = False
        self.ledger.cancel_error = None  # what was cancelled may have been the proxy's own
        self.set_reading(True)

    def set_reading(self, ready: bool) -> None:
        """Whether PostgreSQL's bytes are wanted for now: the client's side of flow control."""
        if ready == self._reads or self._link is None or self.is_closed:
            return
        self._reads = ready
        self._link.set_reading(ready)

    # For the pool.

    def unusable_because(self) -> str | None:
        """The first reason not to lend it again."""
        if self.is_closed:
            return self.close_reason or "closed"
        if self.ledger.has_said_farewell:
            return "said farewell"
        if self.ledger.status != codes.IDLE:
            return "not idle"
        if not self.ledger.is_settled:
            return "replies owed"
        if self._cancels:
            return "cancel in flight"
        return self._retired_because or None

    @property
    def is_lent(self) -> bool:
        """Whether anybody holds it: a client, or a job."""
        return self.user is not self._idle

    def retire(self, reason: str) -> None:
        """Whoever holds it may go on; it is not lent again."""
        self._retired_because = self._retired_because or reason

    def reset(self, level: int, done: Callable[[bool], None]) -> None:
        """Clean the session; `done(False)` means that it must be closed."""
        # A reset drops the unnamed statement, as every Query does.
        self.prepared.unnamed = None
        self.run(ResetJob(self.clean_answers, done, keeps_plans=level < DISCARD), self._reset_timeout_s)

    def run(self, job: Job, timeout_s: float) -> None:
        """Run a job of the proxy's own on an idle or abandoned connection; its callback is called exactly once."""
        self.due_at = monotonic() + timeout_s
        self._alarm = no_later(self._alarm, self.due_at, self._look_at_job)  # one timer does for many jobs
        job.start(self)

    def _look_at_job(self) -> None:
        self._alarm = None
        if self.due_at == 0.0 or self.is_closed:
            return
        if monotonic() < self.due_at - TICK_S:
            self._alarm = no_later(None, self.due_at, self._look_at_job)
        else:
            self.close("timeout")

    def recover(self, recovery: Recovery, timeout_s: float) -> None:
        """The client left: end what it left open."""
        self.run(recovery, timeout_s)
        if recovery.wants_cancel:
            self.cancel()

    def close(self, reason: str) -> None:
        """Close it, with a Terminate if PostgreSQL still listens; idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self.close_reason = reason
        user, self.user = self.user, self._idle
        link = self._link
        if link is not None:
            link.write(frontend.TERMINATE)
            link.close()
            if link.unsent_bytes:
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, link.abort)
        if isinstance(user, Job):
            user.server_lost(ServerLost(f"closed: {reason}"))

    def abort(self) -> None:
        """Close it without waiting for anything."""
        if self._link is not None:
            self._link.abort()

    # Cancel.

    def cancel(self) -> None:
        """Cancel what runs; until PostgreSQL has taken the request the connection is not lent again."""
        self._cancels += 1
        task = asyncio.get_running_loop().create_task(self._cancel())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self) -> None:
        try:
            if not await self._send_cancel(self.pid, self._key):
                # It may still arrive, and must not meet another client's query.
                self.retire("cancel in doubt")
        finally:
            self._cancels -= 1
            if not self._cancels:
                waiting, self._after_cancels = self._after_cancels, []
                for call in waiting:
                    call()

    @property
    def is_being_cancelled(self) -> bool:
        """Whether a cancel is in flight."""
        return self._cancels > 0

    def when_cancels_are_done(self, call: Callable[[], None]) -> bool:
        """Call later if a cancel is in flight (True), else not at all (False)."""
        if self._cancels:
            self._after_cancels.append(call)
        return bool(self._cancels)


def _nothing() -> None:
    """Nobody wants to know."""


class IdleUser(Job):
    """Holds a connection that nobody uses: takes in what PostgreSQL says by itself."""

    def __init__(self, server: ServerConnection) -> None:
        super().__init__()
        self._held = server

    def server_data(self) -> None:
        """A notice, a changed setting, or the farewell of a server that shuts down."""
        ledger = self._held.ledger
        while ledger.advance():
            pass
        ledger.out.clear()
        self._held.parameters = absorb(ledger.reported, self._held.parameters)
        if ledger.failed:
            # An error that nobody asked for is a farewell: 57P01 and the like.
            self._held.give_up("server error", ServerLost("PostgreSQL ended the connection"))
