"""One client connection: the asyncio shell around its session.

It owns the flow of bytes, the timers and the place in the pool's queue; what the bytes mean is the cores' business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Final

from proxy.client.admission import Admitted, greeting
from proxy.client.arrival import Arrival, shutting_down
from proxy.client.deadlines import Deadline, Limit, farewell
from proxy.client.login import Authenticated
from proxy.client.services import RECONFIGURED, ClientServices
from proxy.client.session import Session
from proxy.client.states import State
from proxy.client.timekeeper import Timekeeper
from proxy.errors import (
    InternalError,
    ProtocolViolation,
    ProxyError,
    QueryCanceled,
    QueryTimeout,
    ServerLost,
    TenantMoved,
)
from proxy.net.links import Link
from proxy.observe.logs import log_proxy_error, tell
from proxy.pool.limits import PoolKey
from proxy.pool.pool import Pool
from proxy.server.connection import ServerConnection
from proxy.server.jobs import Recovery
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode, Tenant, ensure_available
from proxy.wire import backend, codes

_TERMINATE_BYTES: Final = 5


class ClientConnection(Arrival):
    """One client, from its first byte to its last."""

    __deletable__ = ("_time",)

    def __init__(self, services: ClientServices, *, is_unix: bool, mode: PoolMode | None = None) -> None:
        super().__init__(services, is_unix=is_unix, mode=mode)
        self._changes = services.registry.changes
        self._pool: Pool | None = None
        self._server_pool: Pool | None = None
        self._server: ServerConnection | None = None
        self._is_reading = True
        self._server_takes = True
        self._client_takes = True
        self._cancel_is_on_its_way = False  # one of our own, of which the client knows nothing
        self._held_cancels: list[Callable[[], None]] = []
        self._generation = -1
        self._max_servers = 0  # of the tenant, in one pool; 0: no limit of its own
        self._cancel_pid = 0
        self._time: Timekeeper  # from the login on
        self._must_leave = False  # Gatehouse stops
        self._must_ask = False  # whether the tenant may keep the server that it holds: the registry has changed
        self.admitted: Admitted | None = None
        self.session: Session | None = None

    # Receiver.

    def connection_made(self, link: Link, peer: str) -> None:
        """A client connected."""
        self._services.census.connections.add(self)
        self._services.census.present.add(self)
        super().connection_made(link, peer)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        session = self.session
        # Who says goodbye can wait, too: a thousand who leave together take ten milliseconds.
        if session is None or self._pieces or (len(data) == _TERMINATE_BYTES and data[0] == codes.TERMINATE):
            super().data_received(data)
            return
        self._serve(session, data)

    def _log_in(self, data: bytes) -> None:
        """What the client sent before it had a session, while that was waiting for its turn, or last."""
        if self.session is None:
            super()._log_in(data)
        else:
            self._serve(self.session, data)

    def _serve(self, session: Session, data: bytes) -> None:
        try:
            session.client_data(data)
        except Exception:
            self._fail()
            return
        if session.input_is_full:
            self._update_reading()

    def _fail(self) -> None:
        """A fault of Gatehouse's own costs one connection, and its client is told."""
        self._log.exception("unexpected error in a client's session")
        self.hang_up(InternalError("internal error", hint="Gatehouse's log has the reason; please report it."))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._services.census.present.discard(self)
        self._end("client closed the connection" if exc is None else f"connection lost: {exc}")
        session, self.session = self.session, None
        if session is not None:
            # All of them refer to each other. The garbage collector would find that out, and everybody would wait.
            session.dissolve()
            del self._time

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

    def _begin_session(self, event: Authenticated, admitted: Admitted) -> None:
        services = self._services
        self.admitted = admitted
        self._pool = admitted.pool
        self._generation = admitted.generation
        self._max_servers = admitted.tenant.tier.max_server_connections or 0
        self._cancel_pid, key = services.cancel_keys.issue(self, event.startup.protocol_minor)
        session = Session(
            self,
            services.shared,
            admitted.tenant,
            admitted.policy,
            admitted.settings,
            admitted.terms.session,
            admitted.stats,
            admitted.pool.baseline,
        )
        self.session = session
        self.to_client(self._take_unsent() + greeting(session, self._cancel_pid, key))
        self._time = Timekeeper(self, session, admitted.terms, services.limits.cancel_timeout_s)

    # SessionSink.

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
        if self._must_leave:
            raise shutting_down()
        if self._generation != self._changes.number:
            pool = self._look_up_again(session)
            if pool is None:
                return None
        self._server_pool = pool
        server = pool.lend(session.tenant_id, self._max_servers)
        if server is None:
            server = pool.acquire(self, is_timed=self._time.terms.wait_timeout_s is None)
        if server is None:
            self._time.wait_begins()
            return None
        return self._hold(server)

    def _hold(self, server: ServerPort) -> ServerConnection:
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
        self._must_ask = False  # `acquire` does
        self._server_takes = True
        if len(self._held_cancels):
            self._drop_held_cancels()
        server.take_back()
        pool = self._server_pool
        assert pool is not None
        if server.is_being_cancelled:
            _release_later(pool, server)
        else:
            pool.release(server, 0.0 if self.session is None else self.session.last_activity)
        if self._must_leave:
            self.shut_down()

    def hang_up(self, error: ProxyError | None) -> None:
        """Send the error, if any, and end the connection; as from PostgreSQL, in the middle of a row without a word."""
        if self._is_over:
            return
        if error is not None:
            self._services.stats.count_error(error)
            log_proxy_error(self._log, error)
            if self.session is None or not self.session.is_in_row:
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
        held, self._held_cancels = self._held_cancels, []
        if held and self._server is not None:
            self._server.cancel()
            for done in held:
                self._server.when_cancels_are_done(done)

    def _drop_held_cancels(self) -> None:
        """What was to be cancelled is over."""
        if not self._held_cancels:
            return
        held, self._held_cancels = self._held_cancels, []
        for done in held:
            done()

    def watch(self) -> None:
        """Look after the client's time limits: what begins now has no deadline before this."""
        self._time.watch()

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
        return self.session.tenant_id

    @property
    def max_servers(self) -> int:
        """The tenant's limit in one pool."""
        return self._max_servers

    def granted(self, server: ServerPort) -> None:
        """The pool has a server."""
        session = self.session
        assert session is not None
        session.stats.wait_seconds.observe(monotonic() - self._time.waits_since)
        try:
            session.granted(self._hold(server))
        except Exception:
            self._fail()
            return
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
        try:
            session.server_data()
        except ProtocolViolation:
            raise  # the server's fault
        except Exception:
            self._fail()
            return
        if not self._is_reading:
            self._update_reading()
        if self._must_ask:
            self._ask_whether_to_stay()

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

    def cancel(self, done: Callable[[], None]) -> None:
        """A CancelRequest with this client's key came; `done` is called when PostgreSQL has taken it, or need not.

        As with PostgreSQL, whoever cancelled and saw that connection close may send the next query in safety.
        """
        session = self.session
        if session is None or self._is_over:
            done()
            return
        if session.state == State.WAITING and self._server_pool is not None:
            self._server_pool.forget(self)
            session.refused(QueryCanceled("canceling statement due to user request"))
        elif self._server is not None and session.state in (State.BUSY, State.BATCH, State.COPY_IN):
            if session.cancel_is_held:
                self._held_cancels.append(done)
            else:
                self._server.cancel()
                self._server.when_cancels_are_done(done)
            return
        done()

    def shut_down(self, *, at_once: bool = False) -> None:
        """Gatehouse stops: end the connection now if nothing is lost by it, or in any case."""
        self._must_leave = True
        if self.session is None:
            self._reject(shutting_down())
        elif at_once or self.session.is_between_transactions:
            self.hang_up(shutting_down())

    def _look_up_again(self, session: Session) -> Pool | None:
        """The registry changed: the tenant may live elsewhere now, or may not be served any more."""
        services = self._services
        tenant = services.registry.cached(session.tenant.id)
        if tenant is None:
            self._server_pool = None
            self._time.wait_begins()
            self._task = asyncio.get_running_loop().create_task(self._look_up_and_acquire(session))
            return None
        ensure_available(tenant)
        # The pool can be another one though the tenant is the same: its cluster has a new login.
        self._pool = services.pools.pool(services.pool_key(tenant, session.limits.mode))
        self._take_over(tenant, session)
        return self._pool

    def _take_over(self, tenant: Tenant, session: Session) -> None:
        """The tenant as the registry has it now; only between transactions."""
        self._generation = self._changes.number
        if tenant != session.tenant:
            session.change_tenant(tenant, self._services.policy(tenant, session.limits.mode))
            self._max_servers = tenant.tier.max_server_connections or 0
            self._renew_terms(session)

    def configuration_changed(self) -> None:
        """Other settings are in force, and the registry may say something else of the tenant."""
        session = self.session
        if session is None or self._is_over:
            return
        self._renew_terms(session)
        if self._server is not None:
            self._must_ask = True
            self._ask_whether_to_stay()

    def _renew_terms(self, session: Session) -> None:
        """Limits count at once, for what runs as well; the pool mode is the client's for as long as it stays."""
        assert self.admitted is not None
        terms = self._services.terms(self.admitted.user, session.tenant.tier, self._listener_mode)
        session.limits = replace(terms.session, mode=session.limits.mode)
        self._time.renew(terms, self._services.limits.cancel_timeout_s)

    def _ask_whether_to_stay(self) -> None:
        """A client that keeps its server beyond a transaction asks for none: what holds for others then, holds now."""
        session, server = self.session, self._server
        if session is None or server is None or self._is_over:
            self._must_ask = False
            return
        if not session.is_between_transactions:
            return  # PostgreSQL's next bytes bring us back here
        tenant = self._services.registry.cached(session.tenant.id)
        if tenant is None:
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._look_up_and_ask(session))
            return
        self._must_ask = False
        try:
            self._stay(tenant, session, server)
        except ProxyError as error:
            self.hang_up(error)

    def _stay(self, tenant: Tenant, session: Session, server: ServerConnection) -> None:
        """Go on with the server, as the tenant is now. Raises ProxyError where that can not be."""
        ensure_available(tenant)
        key = self._services.pool_key(tenant, session.limits.mode)
        is_elsewhere = tenant.placement != session.tenant.placement or key != self._pool_key()
        if is_elsewhere or server.unusable_because() == RECONFIGURED:
            raise TenantMoved(
                f'terminating connection: tenant "{tenant.id}" has moved', hint="Connect again.", tenant=tenant.id
            )
        self._take_over(tenant, session)

    def _pool_key(self) -> PoolKey | None:
        return None if self._server_pool is None else self._server_pool.key

    async def _look_up_and_ask(self, session: Session) -> None:
        try:
            await self._services.registry.lookup(session.tenant.id)
        except ProxyError as error:
            # In a transaction it may end that first, and is asked again.
            if self._server is not None and session.is_between_transactions:
                self.hang_up(error)
            return
        self._ask_whether_to_stay()

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
        if session is None or self._link is None:
            return
        takes = self._server_takes and self._client_takes
        wanted = takes and not self._cancel_is_on_its_way and not session.input_is_full
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        self._link.set_reading(wanted)

    # TimedClient.

    def time_is_up(self, deadline: Deadline) -> None:
        """A limit is reached."""
        session, server = self.session, self._server
        if session is None or self._is_over:
            return
        self._services.stats.timeouts[deadline.limit.value] += 1
        if deadline.limit is not Limit.QUERY or server is None:
            self.hang_up(farewell(deadline, session.pinned))
            return
        error = QueryTimeout("canceling statement due to query timeout")
        self.report(error)
        server.ledger.cancel_error = error
        # The query may end by itself meanwhile, and what the client asks then must not be hit.
        self._cancel_is_on_its_way = True
        self._update_reading()
        if session.cancel_is_held:
            self._held_cancels.append(self._cancel_has_arrived)
        else:
            server.cancel()
            server.when_cancels_are_done(self._cancel_has_arrived)

    def _cancel_has_arrived(self) -> None:
        self._cancel_is_on_its_way = False
        self._update_reading()

    def waited_in_vain(self, wait_s: float) -> None:
        """The client's own limit on waiting is reached."""
        pool = self._server_pool
        error = None if pool is None or self._is_over else pool.give_up(self, wait_s)
        if error is not None:
            self.refused(error)

    # The end.

    def _end(self, reason: str) -> None:
        """Give back everything; called once."""
        if self._is_over:
            return
        self._is_over = True
        services = self._services
        services.census.connections.discard(self)
        if self._is_in_handshake:
            services.census.present.discard(self)  # nobody hears the link yet
        services.login_deadlines.end(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        session = self.session
        if session is None:
            return
        self._time.stop()
        services.cancel_keys.revoke(self._cancel_pid)
        if self.admitted is not None:
            services.census.leave(self.admitted.user, self.admitted.tenant.id)
        if session.state == State.WAITING and self._server_pool is not None:
            self._server_pool.forget(self)
        if session.pinned:
            self.unpin()
        self._abandon_server(session)
        self._drop_held_cancels()
        if services.audit.writes_logins:
            tell(logging.INFO, "client disconnected", {**self._whose, "reason": self._ending or reason})

    def _abandon_server(self, session: Session) -> None:
        """The client left while it held a server: a rollback saves the server, if it can be saved."""
        in_copy, owes_sync, mid_frame = session.is_in_copy, session.owes_sync, session.is_mid_frame
        if session.keeps and self._server is not None:
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


def _release_later(pool: Pool, server: ServerConnection) -> None:
    """A function of its own, because a closure in `release` would be made every time."""
    server.when_cancels_are_done(lambda: pool.release(server))
