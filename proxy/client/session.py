"""One client's session after login: what its bytes mean, what goes to a server, when a server is needed or given back.

The heart of the proxy, as a core: bytes in, decisions out through a `SessionSink`. One segment (client frames up to a
Query, FunctionCall or Sync) is under way at a time; the rest waits in the client's buffer. `simple.py` and
`extended.py` hold the two protocols' recipes and `replies.py` what answers mean; this file holds the state they share
and every transition of it.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from proxy.client.deferral import fail_block
from proxy.client.extended import ExtendedProtocol
from proxy.client.intake import Intake
from proxy.client.keeping import Keeping
from proxy.client.mending import MAX_MENDED_BYTES
from proxy.client.objections import objection_to_move
from proxy.client.ports import SessionSink
from proxy.client.replies import Replies
from proxy.client.rewrite import Progress
from proxy.client.session_terms import SessionLimits, SessionShared
from proxy.client.shortcut import Shortcut
from proxy.client.simple import SimpleProtocol
from proxy.client.states import State
from proxy.context.client_settings import ClientSettings
from proxy.context.context import Context, Pairs
from proxy.errors import ContextFailed, ErrorKind, ProxyError
from proxy.guard.rules import GuardPolicy
from proxy.observe.counters import TrafficStats
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode, Tenant
from proxy.wire import backend, codes

_SESSION: Final = PoolMode.SESSION  # an Enum's member is dear to look up


class Session:
    """The state of one logged-in client.

    `shown` are the ParameterStatus values that the client was told; `baseline` those that its last server, or before that
    its pool's, reported by themselves. `began`: when the segment under way, or the last one, was sent; `lent_at`: when the
    transaction began; `is_watched`: the shell has a timer for this client, see `SessionSink.watch`.

    `is_session`: session pooling, the server is this client's until it leaves. `keeps`: so is a pinned one; `pinned` says
    for what. `wanted`: what the server's session has to be given. `changed_schema`: the transaction under way changes
    definitions; `parses_apart`: it changes PLAN_SETTINGS; `recodes`: client_encoding. `deferred`: a BEGIN that the client was
    told of, and no server yet. `out`: what has gathered for the client. `last_write`: what was sent to the server last, if it
    is short.
    `end_with`: what is on its way must not reach the client; the connection ends so. `is_in_row`: the client has a part of a
    row, and would take whatever comes for the rest of it. `waits_for_cancel`: one that the client has not asked for is on its
    way to its server, and must not meet another segment there.
    """

    __slots__ = (
        "_is_timed",
        "_pumping",
        "_to_server",
        "baseline",
        "began",
        "cancel_is_held",
        "changed_schema",
        "context",
        "deferred",
        "end_with",
        "extended",
        "intake",
        "is_in_row",
        "is_session",
        "is_watched",
        "keeping",
        "keeps",
        "last_activity",
        "last_write",
        "lent_at",
        "limits",
        "must_end",
        "out",
        "parses_apart",
        "pinned",
        "policy",
        "progress",
        "recodes",
        "replies",
        "server",
        "settings",
        "shared",
        "shortcut",
        "shown",
        "simple",
        "sink",
        "state",
        "stats",
        "status",
        "tenant",
        "tenant_id",
        "waits_for_cancel",
        "wanted",
    )

    # What refers to each other would wait for the garbage collector: see `dissolve`.
    __deletable__ = ("extended", "intake", "keeping", "replies", "shortcut", "simple", "sink")

    def __init__(
        self,
        sink: SessionSink,
        shared: SessionShared,
        tenant: Tenant,
        policy: GuardPolicy,
        settings: ClientSettings,
        limits: SessionLimits,
        stats: TrafficStats,
        baseline: dict[bytes, bytes],
    ) -> None:
        self.sink = sink
        self.shared = shared
        self.tenant = tenant
        self.tenant_id: str = tenant.id
        self.policy = policy
        self.settings = settings
        self.limits = limits
        self.stats = stats
        self.baseline = baseline
        self.is_session = limits.mode is _SESSION
        self.context: Context
        self.wanted: Pairs
        self.refresh_context()
        own = self.context.reported
        self.shown: dict[bytes, bytes] = baseline.copy()
        for name, value in own.items():
            if name in baseline:
                self.shown[name] = value
        self.state: i64 = State.IDLE
        self.status: i64 = codes.IDLE
        self.progress = Progress(codes.IDLE, in_place=False)
        self.server: ServerPort | None = None
        self.pinned = ""
        self.keeps = self.is_session
        self.changed_schema = False
        self.parses_apart = False
        self.recodes = False
        self.must_end = False
        self.cancel_is_held = False
        self.keeping = Keeping(self)
        self.replies = Replies(self)
        self.simple = SimpleProtocol(self)
        self.extended = ExtendedProtocol(self)
        self.intake = Intake(self)
        self.shortcut = Shortcut(self)
        self.out: list[bytes] = []
        self._to_server: list[bytes] = []
        self._pumping = False
        self.last_write = b""
        self.deferred = b""
        self.is_in_row = False
        self.end_with: ProxyError | None = None
        self.waits_for_cancel = False
        self._is_timed = limits.are_timed
        self.is_watched = False
        self.began = 0.0
        self.lent_at = 0.0
        self.last_activity = shared.now()

    # What the shell tells the session.

    def client_data(self, data: bytes) -> None:
        """Bytes from the client."""
        self.stats.received_bytes += len(data)
        is_free = self.state == State.IDLE or self.state == State.HELD
        if is_free and self.intake.is_empty and not self._pumping and self.shortcut.take(data):
            return
        self.intake.reader.feed(data)
        self.pump()

    def granted(self, server: ServerPort) -> None:
        """A server, asked for with `acquire`, is here."""
        self._attach(server)
        if not self.shortcut.take_held_back():
            self.pump()

    def refused(self, error: ProxyError) -> None:
        """No server can be had: the segment that asked for one fails; the connection goes on, but for a FATAL error."""
        self.state = State.IDLE
        if error.severity == "FATAL":
            self.hang_up(error)
            return
        self.intake.fail_segment(error)
        self.pump()

    def change_tenant(self, tenant: Tenant, policy: GuardPolicy) -> None:
        """The tenant's entry in the registry changed; only between transactions.

        Raises LoginRefused where what the client SET is not allowed where the tenant lives now.
        """
        error = objection_to_move(self.settings, policy)
        if error is not None:
            raise error
        self.tenant = tenant
        self.policy = policy
        self.extended.own.forget_refused()
        self.refresh_context()

    def server_data(self) -> None:
        """The server's ledger was fed: pass on what is the client's, and see whether a segment ended."""
        server = self.server
        assert server is not None
        ledger = server.ledger
        if not ledger.expected or len(answer := ledger.take_expected()) == 0:
            self._pass_on(server)
            return
        if ledger.status == codes.IDLE:
            self.progress.in_place = self.is_session
            if self.status != codes.IDLE:
                self.extended.portals.clear()
                ledger.notes.clear()
            if server.parameters is not self.baseline:
                answer = self.replies.with_view(answer, server)
        elif len(self.deferred):
            self.deferred = b""
            ledger.notes.clear()
        if len(self.out):  # the answer to a BEGIN that came in the same chunk
            self.out.append(answer)
            answer = b"".join(self.out)
            self.out.clear()
        self.stats.sent_bytes += len(answer)
        self.sink.to_client(answer)
        self._segment_done(ledger.status, server)

    def _pass_on(self, server: ServerPort) -> None:
        """Answers message by message, as far as they have come."""
        ledger = server.ledger
        out = ledger.out
        done = end = 0
        while status := ledger.advance():
            done = status
            self.replies.report_parameters(status, server, out)
            if self.deferred and status == codes.IDLE:
                # PostgreSQL could not even read the string that began with BEGIN; to the client its block has failed.
                self.keeping.unpin()  # nor did it run what the server was to be kept for
                out.append(backend.READY[codes.FAILED])
            else:
                out.append(backend.READY[status])
            end = len(out)
        if done == codes.IDLE and not self.keeps:
            del out[end:]  # what a server says behind the end of a transaction is not this client's concern
        if self.end_with is not None:
            out.clear()
            self.hang_up(self.end_with)
            return
        self.is_in_row = ledger.is_in_row
        if out:
            if self.out:
                out[:0] = self.out
                self.out.clear()
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self.stats.sent_bytes += len(data)
            self.sink.to_client(data)
        if self.must_end:
            self.hang_up(
                ContextFailed(
                    "the server's session is not what this client's has to be, so the connection ends",
                    hint="Connect again. If it happens again, Gatehouse's log has PostgreSQL's reason.",
                )
            )
        elif done:
            if self.intake.is_streaming or ledger.sync_in_doubt:
                self._end_copy(server, done)
            self._segment_done(done, server)
        elif self.state not in (State.WAITING, State.BUSY) and (self.intake.reader.held or self.state == State.HELD):
            self.pump()

    def _end_copy(self, server: ServerPort, status: int) -> None:
        """See that no other client gets a server that a COPY, having failed, leaves in the middle of something.

        In the middle of a CopyData the server would take what it gets next for the rest, and read a message from the middle of
        what is behind. Where two Syncs were sent it may say ReadyForQuery once more, which would be the next one's answer.
        """
        is_in_doubt, server.ledger.sync_in_doubt = server.ledger.sync_in_doubt and server.ledger.failed, False
        if status != codes.IDLE or self.keeps:
            return
        if self.intake.is_streaming:
            self.intake.skip_rest()
            server.close("copy ended in mid-message")
        elif is_in_doubt:
            server.close("sync in doubt")

    def detach(self) -> ServerPort | None:
        """The client is gone or the server is: give up the server, if there is one, in whatever state it is."""
        server, self.server = self.server, None
        self.state = State.CLOSED
        return server

    def dissolve(self) -> None:
        """The connection is gone, and nobody calls any more: let go of what refers back to the session."""
        del self.extended, self.intake, self.keeping, self.replies, self.shortcut, self.simple, self.sink

    @property
    def input_is_full(self) -> bool:
        """Whether the client should not be read from for now."""
        if self.intake.reader.held <= self.limits.client_buffer_bytes:
            return False
        # In a batch, data may come for a COPY that PostgreSQL has not begun, because it waits for a lock, say.
        return self.state in (State.WAITING, State.BUSY) or (self.state == State.BATCH and self.extended.awaits_copy)

    @property
    def is_in_copy(self) -> bool:
        """Whether the server waits for CopyData."""
        return self.state == State.COPY_IN

    @property
    def is_apart(self) -> bool:
        """Whether texts may mean something else now than to all others with the same context: settings or definitions that
        the transaction changed, temporary tables."""
        return self.parses_apart or self.changed_schema or self.keeps

    @property
    def owes_sync(self) -> bool:
        """Whether the server waits for a Sync to end what was sent."""
        return self.state == State.BATCH or (self.state == State.COPY_IN and self.extended.in_batch)

    @property
    def is_mid_frame(self) -> bool:
        """Whether the server has got only a part of a message."""
        return self.intake.is_streaming

    @property
    def is_between_transactions(self) -> bool:
        """Whether ending the connection now would lose nothing."""
        return (self.status == codes.IDLE or self.server is None) and self.state in (State.IDLE, State.HELD)

    # Decisions that the two protocols share.

    def pump(self) -> None:
        """Work through the client's input as far as the state allows, then send what came of it."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self.state != State.CLOSED and not self.waits_for_cancel and self.intake.step():
                pass
            self.flush()
            if (
                self.state == State.HELD
                and self.status == codes.IDLE
                and not self.keeps
                and self.server is not None
                and not self.waits_for_cancel  # else there may be more, of which nobody would remind us
            ):
                self.last_activity = self.shared.now()
                self._give_back(self.server)  # it turned out not to be needed
        except ProxyError as error:
            self.hang_up(error)
        finally:
            self._pumping = False

    def flush(self) -> None:
        """Send what has gathered, in one write each way."""
        if self._to_server and self.server is not None:
            parts = self._to_server
            data = parts[0] if len(parts) == 1 else b"".join(parts)
            parts.clear()
            self.last_write = data if len(data) <= MAX_MENDED_BYTES else b""
            self.server.write(data)
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            self.stats.sent_bytes += len(data)
            self.sink.to_client(data)

    def send(self, data: bytes) -> None:
        """Queue bytes for the server."""
        self._to_server.append(data)

    def reply(self, data: bytes) -> None:
        """Queue bytes for the client."""
        self.out.append(data)

    def hang_up(self, error: ProxyError | None) -> None:
        """End the connection; `error` is the last thing the client hears."""
        self.flush()
        if self.state != State.CLOSED:
            self.sink.hang_up(error)

    def ensure_server(self) -> bool:
        """Have a server attached; False if the session must wait for one, or if there is none to be had."""
        if self.server is not None:
            if self.keeping.must_establish and self.state == State.HELD and self.status == codes.IDLE:
                self.keeping.establish(self.server)
                return False
            return True
        try:
            server = self.sink.acquire()
        except ProxyError as error:
            self.refused(error)
            return False
        if server is None:
            self.state = State.WAITING
            return False
        self._attach(server)
        return self.state == State.HELD

    def start(self, server: ServerPort) -> None:
        """Note that a segment begins."""
        self.began = now = self.shared.now()
        if self.lent_at == 0.0:
            self.lent_at = now
        if self._is_timed and not self.is_watched:
            self.is_watched = True
            self.sink.watch()
        server.ledger.failed = False
        self.progress.status = self.status

    def report_refusal(self, error: ProxyError) -> None:
        """Have it counted and logged, unless it is what PostgreSQL would have said, too."""
        if error.kind is not ErrorKind.PROTOCOL:
            self.sink.report(error)

    def refresh_context(self) -> None:
        """Build the context anew from the client's settings."""
        builder = self.shared.builder
        effective = self.settings.effective
        self.context = context = builder.build(self.tenant, effective)
        self.settings.base = builder.build(self.tenant, {}).settings if effective else context.settings
        self.wanted = context.lasting if self.is_session else context.followed

    # Transitions.

    def _attach(self, server: ServerPort) -> None:
        self.server = server
        server.ledger.owner = self.replies
        self.state = State.HELD
        self.progress.in_place = False
        self.lent_at = 0.0
        if self.is_session:
            self.keeping.establish(server)

    def _give_back(self, server: ServerPort) -> None:
        """Let go of the server, at `last_activity`."""
        self.server = None
        self.state = State.IDLE
        self.sink.release(server)

    def _segment_done(self, status: int, server: ServerPort) -> None:
        self.status = status
        self.stats.queries += 1
        now = self.shared.now()
        self.last_activity = now
        self.stats.query_seconds.observe(now - self.began)
        self.cancel_is_held = False
        self.last_write = b""
        self.extended.in_batch = False
        self.state = State.HELD
        if status == codes.IDLE:
            self.stats.transactions += 1
            self.stats.transaction_seconds += now - self.lent_at
            self.lent_at = 0.0
            if self.parses_apart or self.changed_schema:
                self.parses_apart = self.recodes = False
                self.extended.own.likes = None
            if self.changed_schema:
                self.changed_schema = False
                self.shared.catalog.schema_version += 1
            if not self.keeps:
                self._give_back(server)
                if len(self.deferred):
                    fail_block(self)
            elif self.keeping.may_be_free and not self.intake.is_streaming:
                self.keeping.look_what_is_left(server)
        if self.intake.reader.held:
            self.pump()
