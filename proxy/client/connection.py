"""One client connection: the asyncio shell around its session.

It owns the flow of bytes, the timers and the place in the pool's queue; what the bytes mean is the cores' business. What
not every transaction meets is elsewhere: cancels in `cancels.py`, a changed configuration or registry in `changes.py`,
what is left to do at the end in `leaving.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy.client.admission import Admitted, greeting
from proxy.client.arrival import Arrival, shutting_down
from proxy.client.cancels import cancel_as_asked, cancel_overdue, drop_held, release_later, send_held
from proxy.client.changes import ask_whether_to_stay, is_granted_in_vain, live_by_new_settings, look_up_again
from proxy.client.deadlines import Deadline, Limit, farewell
from proxy.client.leaving import leave
from proxy.client.login import Authenticated
from proxy.client.services import ClientServices
from proxy.client.session import Session
from proxy.client.timekeeper import Timekeeper
from proxy.errors import InternalError, ProtocolViolation, ProxyError, ServerLost
from proxy.net.links import Link
from proxy.observe.logs import log_proxy_error, tell
from proxy.pool.pool import Pool
from proxy.server.connection import ServerConnection
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode
from proxy.wire import backend, codes

_TERMINATE_BYTES: Final = 5


class ClientConnection(Arrival):
    """One client, from its first byte to its last."""

    __deletable__ = ("timekeeper",)

    def __init__(self, services: ClientServices, *, is_unix: bool, mode: PoolMode | None = None) -> None:
        super().__init__(services, is_unix=is_unix, mode=mode)
        self._changes = services.registry.changes
        self.pool: Pool | None = None
        self.server_pool: Pool | None = None
        self.server: ServerConnection | None = None
        self._is_reading = True
        self._server_takes = True
        self._client_takes = True
        self.cancel_is_on_its_way = False  # one of our own, of which the client knows nothing
        self.held_cancels: list[Callable[[], None]] = []
        self.generation = -1
        self.max_servers = 0  # of the tenant, in one pool; 0: no limit of its own
        self.cancel_pid = 0
        self.timekeeper: Timekeeper  # from the login on
        self._must_leave = False  # Gatehouse stops
        self.must_ask = False  # whether the tenant may keep the server that it holds: the registry has changed
        self.admitted: Admitted | None = None
        self.session: Session | None = None

    # Receiver.

    def connection_made(self, link: Link, peer: str) -> None:
        """A client connected."""
        self.services.census.connections.add(self)
        self.services.census.present.add(self)
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
            self.update_reading()

    def _fail(self) -> None:
        """A fault of Gatehouse's own costs one connection, and its client is told."""
        self._log.exception("unexpected error in a client's session")
        self.hang_up(InternalError("internal error", hint="Gatehouse's log has the reason; please report it."))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self.services.census.present.discard(self)
        self._end("client closed the connection" if exc is None else f"connection lost: {exc}")
        session, self.session = self.session, None
        if session is not None:
            # All of them refer to each other. The garbage collector would find that out, and everybody would wait.
            session.dissolve()
            del self.timekeeper

    def pause_writing(self) -> None:
        """The client reads more slowly than PostgreSQL sends."""
        self._client_takes = False
        if self.server is not None:
            self.server.set_reading(False)
        self.update_reading()  # nor shall it ask for what the proxy itself answers

    def resume_writing(self) -> None:
        """It has caught up."""
        self._client_takes = True
        if self.server is not None:
            self.server.set_reading(True)
        self.update_reading()

    def _begin_session(self, event: Authenticated, admitted: Admitted) -> None:
        services = self.services
        self.admitted = admitted
        self.pool = admitted.pool
        self.generation = admitted.generation
        self.max_servers = admitted.tenant.tier.max_server_connections or 0
        self.cancel_pid, key = services.cancel_keys.issue(self, event.startup.protocol_minor)
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
        self.to_client(self._take_unsent() + greeting(session, self.cancel_pid, key))
        self.timekeeper = Timekeeper(self, session, admitted.terms, services.limits.cancel_timeout_s)
        if admitted.generation != self._changes.number:  # while it waited for a first server, nobody could tell it
            live_by_new_settings(self)

    # SessionSink.

    def acquire(self) -> ServerPort | None:
        """A server of the tenant's pool, now or by `granted`."""
        try:
            return self.find_server()
        except ProxyError as error:
            if error.severity != "FATAL":  # hang_up reports those
                self.report(error)
            raise

    def find_server(self) -> ServerPort | None:
        """`acquire`, but for the report: whoever calls tells of what this raises."""
        session, pool = self.session, self.pool
        assert session is not None
        assert pool is not None
        if self._must_leave:
            raise shutting_down()
        if self.generation != self._changes.number:
            pool = look_up_again(self, session)
            if pool is None:
                return None
        self.server_pool = pool
        server = pool.lend(session.tenant_id, self.max_servers)
        if server is None:
            server = pool.acquire(self, is_timed=self.timekeeper.terms.wait_timeout_s is None)
        if server is None:
            self.timekeeper.wait_begins()
            return None
        return self._hold(server)

    def _hold(self, server: ServerPort) -> ServerConnection:
        assert isinstance(server, ServerConnection)
        self.server = server
        server.lend(self)
        self._server_takes = server.takes_bytes
        if not self._client_takes:
            server.set_reading(False)
        return server

    def release(self, server: ServerPort) -> None:
        """The session is done with the server: the pool gets it, once no cancel is on its way to it."""
        assert isinstance(server, ServerConnection)
        self.server = None
        self.must_ask = False  # `acquire` does
        self._server_takes = True
        if len(self.held_cancels):
            drop_held(self)
        server.take_back()
        pool = self.server_pool
        assert pool is not None
        if server.is_being_cancelled:
            release_later(pool, server, self.session)
        else:
            pool.release(server, 0.0 if self.session is None else self.session.last_activity)
        if self._must_leave:
            self.shut_down()

    def hang_up(self, error: ProxyError | None) -> None:
        """Send the error, if any, and end the connection; as from PostgreSQL, in the middle of a row without a word."""
        if self.is_over:
            return
        if error is not None:
            self.services.stats.count_error(error)
            log_proxy_error(self._log, error)
            if self.session is None or not self.session.is_in_row:
                self.to_client(backend.error_response(error, severity="FATAL"))
        self._ending = self._ending or ("client closed the connection" if error is None else error.message)
        self._close()

    def report(self, error: ProxyError) -> None:
        """Count and log an error; one that comes again and again is logged once a second per tenant."""
        services = self.services
        services.stats.count_error(error)
        held_back = services.complaints.due(f"{self._whose.get('tenant')} {type(error).__name__}")
        if held_back is not None:
            log_proxy_error(self._log, error, **({"held_back": held_back} if held_back else {}))

    def cancel_now(self) -> None:
        """A cancel that was held back may go."""
        if self.held_cancels:
            send_held(self)

    def watch(self) -> None:
        """Look after the client's time limits: what begins now has no deadline before this."""
        self.timekeeper.watch()

    def claim_pin(self) -> bool:
        """Whether the tenant may keep one more server."""
        assert self.session is not None
        tenant = self.session.tenant
        pins = self.services.census.pins
        if pins[tenant.id] >= tenant.tier.max_pinned:
            return False
        pins[tenant.id] += 1
        if self.server_pool is not None:
            self.server_pool.counters.pinned += 1
        return True

    def unpin(self) -> None:
        """The server is not kept any more."""
        assert self.session is not None
        self.services.census.pins[self.session.tenant.id] -= 1
        if self.server_pool is not None:
            self.server_pool.counters.pinned -= 1

    # Waiter.

    @property
    def tenant_id(self) -> str:
        """The tenant."""
        assert self.session is not None
        return self.session.tenant_id

    def granted(self, server: ServerPort) -> None:
        """The pool has a server."""
        session = self.session
        assert session is not None
        assert isinstance(server, ServerConnection)
        if self.generation != self._changes.number and is_granted_in_vain(self, session, server):
            return
        session.stats.wait_seconds.observe(monotonic() - self.timekeeper.waits_since)
        try:
            session.granted(self._hold(server))
        except Exception:
            self._fail()
            return
        self.update_reading()

    def refused(self, error: ProxyError) -> None:
        """The pool has none."""
        assert self.session is not None
        if error.severity != "FATAL":  # hang_up reports those
            self.report(error)
        self.session.refused(error)
        self.update_reading()

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
            self.update_reading()
        if self.must_ask:
            ask_whether_to_stay(self)

    def server_lost(self, error: ServerLost) -> None:
        """The server died; only its own client is told, and nothing is tried again: it may have run."""
        server, self.server = self.server, None
        session = self.session
        if session is None or self.is_over:
            return
        error.log_context.setdefault("tenant", session.tenant.id)
        # PostgreSQL's own farewell (57P01 and the like) has been passed on already.
        self._ending = f"server lost: {error.message}"
        self.hang_up(None if server is not None and server.ledger.has_said_farewell else error)

    def server_can_write(self, ready: bool) -> None:
        """Flow control towards PostgreSQL."""
        self._server_takes = ready
        self.update_reading()

    # Control.

    def cancel(self, done: Callable[[], None]) -> None:
        """A CancelRequest with this client's key came; `done` is called when PostgreSQL has taken it, or need not.

        As with PostgreSQL, whoever cancelled and saw that connection close may send the next query in safety.
        """
        cancel_as_asked(self, done)

    def shut_down(self, *, at_once: bool = False) -> None:
        """Gatehouse stops: end the connection now if nothing is lost by it, or in any case."""
        self._must_leave = True
        if self.session is None:
            self._reject(shutting_down())
        elif at_once or self.session.is_between_transactions:
            self.hang_up(shutting_down())

    def configuration_changed(self) -> None:
        """Other settings are in force, and the registry may say something else of the tenant."""
        live_by_new_settings(self)

    def update_reading(self) -> None:
        """Read from the client if server, client and session can take what comes, else not."""
        session = self.session
        if session is None or self._link is None:
            return
        takes = self._server_takes and self._client_takes
        wanted = takes and not self.cancel_is_on_its_way and not session.input_is_full
        if wanted == self._is_reading:
            return
        self._is_reading = wanted
        self._link.set_reading(wanted)

    # TimedClient.

    def time_is_up(self, deadline: Deadline) -> None:
        """A limit is reached."""
        session, server = self.session, self.server
        if session is None or self.is_over:
            return
        self.services.stats.timeouts[deadline.limit.value] += 1
        if deadline.limit is Limit.QUERY and server is not None:
            cancel_overdue(self, session, server)
        else:
            self.hang_up(farewell(deadline, session.pinned))

    def waited_in_vain(self, wait_s: float) -> None:
        """The client's own limit on waiting is reached."""
        pool = self.server_pool
        error = None if pool is None or self.is_over else pool.give_up(self, wait_s)
        if error is not None:
            self.refused(error)

    # The end.

    def _end(self, reason: str) -> None:
        """Give back everything; called once."""
        if self.is_over:
            return
        self.is_over = True
        services = self.services
        services.census.connections.discard(self)
        if self._is_in_handshake:
            services.census.present.discard(self)  # nobody hears the link yet
        services.login_deadlines.end(self)
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        session = self.session
        if session is None:
            return
        leave(self, session)
        if services.audit.writes_logins:
            tell(logging.INFO, "client disconnected", {**self._whose, "reason": self._ending or reason})
