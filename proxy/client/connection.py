"""One client connection: the asyncio shell around login, admission and session.

It owns the transport, the timers and the place in the pool's queue; what the bytes mean is the cores' business.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from typing import Final, cast

from proxy.client.admission import Admitted, admit, greeting
from proxy.client.login import Authenticated, Cancel, ClientLogin, Closed, LoginEvent, Rejected, Send, StartTls
from proxy.client.ports import ServerPort
from proxy.client.services import ClientServices, too_many_in_all
from proxy.client.session import Session
from proxy.client.states import State
from proxy.errors import (
    ErrorKind,
    IdleTimeout,
    LoginTimeout,
    ProtocolViolation,
    ProxyError,
    QueryCanceled,
    ServerLost,
    ShuttingDown,
    TenantUnavailable,
)
from proxy.observe.logs import log_proxy_error
from proxy.pool.pool import Pool
from proxy.pool.ports import PooledServer
from proxy.server.connection import ServerConnection
from proxy.server.jobs import Recovery
from proxy.server.sockets import set_keepalive
from proxy.settings.model import Keepalive
from proxy.tenants.model import ensure_available
from proxy.wire import backend

_numbers = itertools.count(1)
_KEEPALIVE: Final = Keepalive()
_NOT_THE_CLIENTS_FAULT: Final = (ErrorKind.SERVER, ErrorKind.CONTEXT, ErrorKind.CONFIG, ErrorKind.SHUTDOWN)
_LAST_WORDS_S: Final = 5.0
"""How long a connection that is closed may take for bytes that the client has not read yet."""


class ClientConnection(asyncio.Protocol):
    """One client, from its first byte to its last."""

    def __init__(self, services: ClientServices, *, is_unix: bool) -> None:
        self._services = services
        self._is_unix = is_unix
        self._login: ClientLogin | None = None
        self._held_back: list[bytes] | None = None  # bytes that came while TLS starts or admission is under way
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pool: Pool | None = None
        self._server_pool: Pool | None = None
        self._server: ServerConnection | None = None
        self._is_reading = True
        self._server_takes = True
        self._client_takes = True
        self._wants_cancel = False
        self._generation = -1
        self._active_at = 0.0
        self._waits_since = 0.0
        self._cancel_pid = 0
        self._is_over = False
        self._is_in_handshake = False
        self._ending: str | None = None
        self.admitted: Admitted | None = None
        self.session: Session | None = None
        self.connection_id = f"c{next(_numbers)}"
        self._whose = {"connection_id": self.connection_id}
        self._log = services.log.bind(**self._whose)

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        services = self._services
        self._transport = cast(asyncio.Transport, transport)
        services.stats.connections_total += 1
        peer = transport.get_extra_info("peername")
        self._call_it(client="unix" if self._is_unix else f"{peer[0]}:{peer[1]}" if peer else "?")
        services.census.connections.add(self)
        if not self._is_unix:
            # A client that vanished without a word may hold a server, and locks.
            set_keepalive(transport, _KEEPALIVE)
        self._login = ClientLogin(
            directory=services.directory,
            mock_secret=services.mock_secret,
            tls_mode=services.tls_mode if services.tls is not None else "disable",
            is_unix=self._is_unix,
            tenant_settings=services.tenant_settings,
        )
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(services.limits.login_timeout_s, self._login_timed_out)
        if services.is_stopping:
            self._reject(_shutting_down())

    def _call_it(self, **fields: str) -> None:
        """What the log is to say of this client from now on."""
        self._whose |= fields
        self._log = self._log.bind(**fields)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        session = self.session
        if session is not None:
            session.client_data(data)
            if session.input_is_full:
                self._update_reading()
            return
        if self._held_back is not None:
            self._held_back.append(data)
            if sum(map(len, self._held_back)) > self._services.session_limits.client_buffer_bytes:
                self._reject(ProtocolViolation("too much data before the login is complete"))
        elif self._login is not None:
            self._services.stats.received_bytes += len(data)
            self._handle(self._login.receive(data))

    def eof_received(self) -> bool | None:
        """The client closed its side; what it sent is not worth answering."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._end("client closed the connection" if exc is None else f"connection lost: {exc}")

    def pause_writing(self) -> None:
        """The client reads more slowly than PostgreSQL sends."""
        self._client_takes = False
        if self._server is not None:
            self._server.set_reading(False)
        self._update_reading()  # nor shall it ask for what the proxy itself answers

    def resume_writing(self) -> None:
        """It has caught up."""
        self._client_takes = True
        if self._server is not None:
            self._server.set_reading(True)
        self._update_reading()

    # Login.

    def _handle(self, events: list[LoginEvent]) -> None:
        for event in events:
            match event:
                case Send():
                    self.to_client(event.data)
                case StartTls():
                    self._held_back = []
                    self._task = asyncio.get_running_loop().create_task(self._start_tls())
                case Cancel():
                    self._services.stats.cancels_total += 1
                    target = self._services.cancel_keys.find(event.pid, event.key)
                    if target is not None:
                        target.cancel()
                    self._close()
                case Authenticated():
                    self._held_back = [event.leftover] if event.leftover else []
                    self._task = asyncio.get_running_loop().create_task(self._admit(event))
                case Rejected():
                    self._reject(event.error)
                case Closed():
                    self._close()

    async def _start_tls(self) -> None:
        services = self._services
        assert self._transport is not None
        assert self._login is not None
        assert services.tls is not None
        loop = asyncio.get_running_loop()
        self._is_in_handshake = True
        self._transport.write(b"S")
        try:
            started = await loop.start_tls(self._transport, self, services.tls, server_side=True)
        except (OSError, ssl.SSLError, ConnectionError) as error:
            self._log.info("TLS handshake failed", reason=str(error))
            self._close()
            return
        if started is None or self._is_over:
            return
        self._is_in_handshake = False
        self._transport = started
        self._login.tls_started(services.channel_binding)
        early, self._held_back = self._held_back or [], None
        for data in early:
            self.data_received(data)

    async def _admit(self, event: Authenticated) -> None:
        services = self._services
        self._call_it(user=event.user, tenant=event.tenant_id)
        try:
            if len(services.census.connections) > services.limits.max_clients:
                raise too_many_in_all(services.limits.max_clients)
            self._generation = services.registry.generation
            admitted = await admit(services, event)
        except ProxyError as error:
            self._reject(error)
            return
        if self._is_over:
            services.census.leave(event.user, event.tenant_id)
            return
        self._begin_session(event, admitted)

    def _begin_session(self, event: Authenticated, admitted: Admitted) -> None:
        services = self._services
        self.admitted = admitted
        self._pool = services.pools.pool(admitted.pool_key)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancel_pid, key = services.cancel_keys.issue(self, event.startup.protocol_minor)
        session = Session(
            self,
            services.shared,
            admitted.tenant,
            admitted.policy,
            admitted.settings,
            services.session_limits,
            admitted.stats,
            admitted.baseline,
        )
        self.session = session
        self.to_client(greeting(session.shown, self._cancel_pid, key))
        services.stats.logins_total += 1
        services.audit.login_ok(
            method="scram-sha-256", database=event.startup.database or event.startup.user, **self._whose
        )
        self._watch_idleness()
        early, self._held_back = self._held_back or [], None
        for data in early:
            self.data_received(data)

    def _login_timed_out(self) -> None:
        limit = self._services.limits.login_timeout_s
        self._reject(
            LoginTimeout(
                f"login was not complete within {limit:g} s",
                hint="The network is slow, the client does not speak PostgreSQL's protocol, or the database is down.",
            )
        )

    def _reject(self, error: ProxyError) -> None:
        if self._is_over:
            return
        services = self._services
        services.stats.count_refused_login(error)
        if error.kind in _NOT_THE_CLIENTS_FAULT:
            log_proxy_error(self._log, error)
        elif isinstance(error, TenantUnavailable):
            status = str(error.log_context.get("status", ""))
            services.audit.tenant_status_refused(error, status=status, **self._whose)
        else:
            services.audit.login_refused(error, **self._whose, **_known(error))
        if not self._is_in_handshake:  # or it would stand in the middle of the handshake's bytes
            self.to_client(backend.error_response(error, severity="FATAL"))
        self._close()

    # SessionSink.

    def to_client(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def acquire(self) -> ServerPort | None:
        """A server of the tenant's pool, now or by `granted`."""
        try:
            return self._acquire()
        except ProxyError as error:
            if error.severity != "FATAL":  # hang_up reports those
                self.report(error)
            raise

    def _acquire(self) -> ServerPort | None:
        session, pool = self.session, self._pool
        assert session is not None
        assert pool is not None
        if self._services.is_stopping:
            raise _shutting_down()
        if self._generation != self._services.registry.generation:
            pool = self._look_up_again(session)
            if pool is None:
                return None
        self._server_pool = pool
        server = pool.acquire(self)
        if server is None:
            self._waits_since = asyncio.get_running_loop().time()
            return None
        return self._hold(server)

    def _hold(self, server: PooledServer) -> ServerConnection:
        assert isinstance(server, ServerConnection)
        self._server = server
        server.lend(self)
        self._server_takes = server.takes_bytes
        if not self._client_takes:
            server.set_reading(False)
        return server

    def release(self, server: ServerPort) -> None:
        """The session is done with the server: the pool gets it, once no cancel is on its way to it."""
        assert isinstance(server, ServerConnection)
        self._server = None
        self._server_takes = True
        self._wants_cancel = False
        server.take_back()
        pool = self._server_pool
        assert pool is not None
        if not server.when_cancels_are_done(lambda: pool.release(server)):
            pool.release(server)
        if self._services.is_stopping:
            self.shut_down()

    def hang_up(self, error: ProxyError | None) -> None:
        """Send the error, if any, and end the connection."""
        if self._is_over:
            return
        if error is not None:
            self._services.stats.count_error(error)
            log_proxy_error(self._log, error)
            self.to_client(backend.error_response(error, severity="FATAL"))
        self._ending = self._ending or ("client closed the connection" if error is None else error.message)
        self._close()

    def report(self, error: ProxyError) -> None:
        """Count and log an error; one that comes again and again is logged once a second per tenant."""
        services = self._services
        services.stats.count_error(error)
        held_back = services.complaints.due(f"{self._whose.get('tenant')} {type(error).__name__}")
        if held_back is not None:
            log_proxy_error(self._log, error, **({"held_back": held_back} if held_back else {}))

    def cancel_now(self) -> None:
        """A cancel that was held back may go."""
        if self._wants_cancel and self._server is not None:
            self._wants_cancel = False
            self._server.cancel()

    def claim_pin(self) -> bool:
        """Whether the tenant may keep one more server."""
        assert self.session is not None
        tenant = self.session.tenant
        pins = self._services.census.pins
        if pins[tenant.id] >= tenant.tier.max_pinned:
            return False
        pins[tenant.id] += 1
        if self._server_pool is not None:
            self._server_pool.counters.pinned += 1
        return True

    def unpin(self) -> None:
        """The server is not kept any more."""
        assert self.session is not None
        self._services.census.pins[self.session.tenant.id] -= 1
        if self._server_pool is not None:
            self._server_pool.counters.pinned -= 1

    # Waiter.

    @property
    def tenant_id(self) -> str:
        """The tenant."""
        assert self.session is not None
        return self.session.tenant.id

    @property
    def max_servers(self) -> int:
        """The tenant's limit in one pool."""
        assert self.session is not None
        return self.session.tenant.tier.max_server_connections or 0

    def granted(self, server: PooledServer) -> None:
        """The pool has a server."""
        session = self.session
        assert session is not None
        session.stats.wait_seconds.observe(asyncio.get_running_loop().time() - self._waits_since)
        session.granted(self._hold(server))
        self._update_reading()

    def refused(self, error: ProxyError) -> None:
        """The pool has none."""
        assert self.session is not None
        if error.severity != "FATAL":  # hang_up reports those
            self.report(error)
        self.session.refused(error)
        self._update_reading()

    def still_waiting(self, waited_s: float) -> None:
        """Tell the client why nothing happens."""
        self.to_client(
            backend.notice_response(
                "01000", f"waiting for a server connection for {waited_s:.0f} s: all are in use", severity="NOTICE"
            )
        )

    # ServerUser.

    def server_data(self) -> None:
        """Replies came."""
        session = self.session
        assert session is not None
        session.server_data()
        if not self._is_reading:
            self._update_reading()

    def server_lost(self, error: ServerLost) -> None:
        """The server died; only its own client is told, and nothing is tried again: it may have run."""
        server, self._server = self._server, None
        session = self.session
        if session is None or self._is_over:
            return
        error.log_context.setdefault("tenant", session.tenant.id)
        # PostgreSQL's own farewell (57P01 and the like) has been passed on already.
        self._ending = f"server lost: {error.message}"
        self.hang_up(None if server is not None and server.ledger.has_said_farewell else error)

    def server_can_write(self, ready: bool) -> None:
        """Flow control towards PostgreSQL."""
        self._server_takes = ready
        self._update_reading()

    # Control.

    def cancel(self) -> None:
        """A CancelRequest with this client's key came."""
        session = self.session
        if session is None or self._is_over:
            return
        if session.state == State.WAITING and self._server_pool is not None:
            self._server_pool.forget(self)
            session.refused(QueryCanceled("canceling statement due to user request"))
        elif self._server is not None and session.state in (State.BUSY, State.BATCH, State.COPY_IN):
            if session.cancel_is_held:
                self._wants_cancel = True
            else:
                self._server.cancel()

    def shut_down(self, *, at_once: bool = False) -> None:
        """Gatehouse stops: end the connection now if nothing is lost by it, or in any case."""
        if self.session is None:
            self._reject(_shutting_down())
        elif at_once or self.session.is_between_transactions:
            self.hang_up(_shutting_down())

    def _look_up_again(self, session: Session) -> Pool | None:
        """The registry changed: the tenant may live elsewhere now, or may not be served any more."""
        services = self._services
        tenant = services.registry.cached(session.tenant.id)
        if tenant is None:
            self._waits_since = asyncio.get_running_loop().time()
            self._server_pool = None
            self._task = asyncio.get_running_loop().create_task(self._look_up_and_acquire(session))
            return None
        ensure_available(tenant)
        self._generation = services.registry.generation
        # The pool can be another one though the tenant is the same: its cluster has a new login.
        self._pool = services.pools.pool(services.pool_key(tenant))
        if tenant != session.tenant:
            session.change_tenant(tenant, services.policy(tenant))
        return self._pool

    async def _look_up_and_acquire(self, session: Session) -> None:
        try:
            await self._services.registry.lookup(session.tenant.id)
            if self._is_over or session.state != State.WAITING:
                return
            server = self._acquire()
        except ProxyError as error:
            self.refused(error)
            return
        if server is not None:
            session.granted(server)
        self._update_reading()

    def _update_reading(self) -> None:
        session = self.session
        if session is None or self._transport is None or self._transport.is_closing():
            return
        wanted = self._server_takes and self._client_takes and not session.input_is_full
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _watch_idleness(self) -> None:
        """Send away a client that does nothing outside a transaction for too long."""
        limit = self._services.limits.idle_timeout_s
        session = self.session
        if not limit or session is None or self._is_over:
            return
        loop = asyncio.get_running_loop()
        left = session.last_activity + limit - loop.time() if session.is_between_transactions else limit
        if left <= 0:
            self.hang_up(IdleTimeout(f"terminating connection after {limit:g} s of inactivity"))
            return
        self._timer = loop.call_later(left, self._watch_idleness)

    # The end.

    def _close(self) -> None:
        """Send what is queued, then close."""
        transport = self._transport
        if transport is not None:
            transport.close()
            if transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, transport.abort)
        self._end(self._ending or "closed")

    def _end(self, reason: str) -> None:
        """Give back everything; called once."""
        if self._is_over:
            return
        self._is_over = True
        services = self._services
        services.census.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        session = self.session
        if session is None:
            return
        services.cancel_keys.revoke(self._cancel_pid)
        if self.admitted is not None:
            services.census.leave(self.admitted.user, self.admitted.tenant.id)
        if session.state == State.WAITING and self._server_pool is not None:
            self._server_pool.forget(self)
        if session.pinned:
            self.unpin()
        self._abandon_server(session)
        self._log.info("client disconnected", reason=self._ending or reason)

    def _abandon_server(self, session: Session) -> None:
        """The client left while it held a server: a rollback saves the server, if it can be saved."""
        in_copy, owes_sync, mid_frame = session.is_in_copy, session.owes_sync, session.is_mid_frame
        if session.pinned and self._server is not None:
            self._server.taint = 2
        session.detach()
        server, self._server = self._server, None
        pool = self._server_pool
        if server is None or pool is None:
            return
        if mid_frame:
            server.close("client left in mid-message")
            pool.discard(server, "client left in mid-message")
            return

        pool.counters.recovering += 1

        def done(recovered: bool) -> None:
            pool.counters.recovering -= 1
            if not recovered:
                pool.discard(server, "not recovered")
            elif not server.when_cancels_are_done(lambda: pool.release(server)):
                pool.release(server)

        recovery = Recovery(in_copy=in_copy, owes_sync=owes_sync, done=done)
        server.recover(recovery, self._services.limits.recovery_timeout_s)


def _known(error: ProxyError) -> dict[str, object]:
    """What the log may know of a refused login besides what the client is told."""
    known = {"hint": error.hint, "details": error.details} | {"cause": error.log_context.get("reason")}
    return {name: value for name, value in known.items() if value is not None}


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("terminating connection: Gatehouse is shutting down")
