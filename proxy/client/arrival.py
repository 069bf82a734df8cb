"""A client's arrival: the asyncio shell around login, TLS and admission, until there is a session.

It owns the transport and the login's deadline; what the bytes mean is `login.py`'s business, who may come in
`admission.py`'s.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from abc import abstractmethod
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.client.admission import Admitted, admit, admit_at_once
from proxy.client.login import Authenticated, Cancel, ClientLogin, Closed, LoginEvent, Rejected, Send, StartTls
from proxy.client.ports import SessionSink
from proxy.client.services import ClientServices, too_many_logins
from proxy.errors import ErrorKind, LoginTimeout, ProtocolViolation, ProxyError, ShuttingDown, TenantUnavailable
from proxy.net.links import Link, Receiver
from proxy.net.sockets import SocketLink
from proxy.net.tls import accept_tls
from proxy.observe.logs import log_proxy_error
from proxy.tenants.model import PoolMode
from proxy.wire import backend

_numbers = itertools.count(1)
_NOT_THE_CLIENTS_FAULT: Final = (ErrorKind.SERVER, ErrorKind.CONTEXT, ErrorKind.CONFIG, ErrorKind.SHUTDOWN)
_NO_TLS: Final = (None, None)
_LAST_WORDS_S: Final = 5.0
"""How long a connection that is closed may take for bytes that the client has not read yet."""


class Arrival(SessionSink, Receiver):
    """One client before it has a session; `ClientConnection` goes on from there. `mode`: what its listener decides."""

    def __init__(self, services: ClientServices, *, is_unix: bool, mode: PoolMode | None = None) -> None:
        self.services = services
        self._is_unix = is_unix
        self.listener_mode = mode
        self._login: ClientLogin | None = None
        # Those that it is offered, until it is in: others may be in force when it asks, or when the handshake is done.
        self._tls: tuple[ssl.SSLContext | None, bytes | None] = services.tls, services.channel_binding
        self._held_back: list[bytes] | None = None  # bytes that came while TLS starts or admission is under way
        self._link: Link | None = None  # None while TLS starts, too
        self.task: asyncio.Task[None] | None = None
        self.is_over = False
        self._is_in_handshake = False
        self._ending: str | None = None
        self._unsent = b""
        self._whose = {"connection_id": f"c{next(_numbers)}"}
        self._pieces = 0  # of input that wait for their turn
        self._piece_bytes = 0

    @abstractmethod
    def _begin_session(self, event: Authenticated, admitted: Admitted) -> None:
        """The client is in: greet it."""

    @abstractmethod
    def _end(self, reason: str) -> None:
        """The connection is being closed: give back everything; to be called any number of times."""

    def connection_made(self, link: Link, peer: str) -> None:
        """A client connected; `peer` is for the log."""
        services = self.services
        self._link = link
        services.stats.connections_total += 1
        self._call_it(client=peer)
        self._login = ClientLogin(
            directory=services.directory,
            mock_secret=services.mock_secret,
            tls_mode=services.tls_mode if services.tls is not None else "disable",
            is_unix=self._is_unix,
            tenant_settings=services.tenant_settings,
        )
        services.login_deadlines.begin(self, services.limits.login_timeout_s, self._login_timed_out)
        if services.is_stopping:
            self._reject(shutting_down())
        elif services.census.logging_in > services.limits.max_logins:
            self._reject(too_many_logins(services.limits.max_logins))
        link.set_receiver(self)

    def _call_it(self, **fields: str) -> None:
        """What the log is to say of this client from now on."""
        self._whose |= fields

    @property
    def _log(self) -> FilteringBoundLogger:
        """Bound when something is to be said, which for most clients is once."""
        return self.services.log.bind(**self._whose)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, each piece in its turn."""
        if self.is_over:
            return
        self._pieces += 1
        self._piece_bytes += len(data)
        if self._piece_bytes > self.services.limits.client_buffer_bytes:
            self._reject(ProtocolViolation("too much data before the login is complete"))
            return
        self.services.turns.take(self._take_piece, data)

    def _take_piece(self, data: bytes) -> None:
        self._pieces -= 1
        self._piece_bytes -= len(data)
        if self.is_over:
            return
        try:
            self._log_in(data)
        except Exception:
            self._log.exception("unexpected error in a login")
            self.abort()

    def _log_in(self, data: bytes) -> None:
        """What a client sends before it has a session."""
        if self._held_back is not None:
            self._held_back.append(data)
            if sum(map(len, self._held_back)) > self.services.limits.client_buffer_bytes:
                self._reject(ProtocolViolation("too much data before the login is complete"))
        elif self._login is not None:
            self.services.stats.received_bytes += len(data)
            self._handle(self._login.receive(data))

    def to_client(self, data: bytes) -> None:
        """Send bytes to the client."""
        if self._link is not None:
            self._link.write(data)

    def abort(self) -> None:
        """Close the connection without waiting for anything."""
        if self._link is not None:
            self._link.abort()

    def _handle(self, events: list[LoginEvent]) -> None:
        for event in events:
            match event:
                case Send():
                    self._unsent += event.data
                case StartTls():
                    self._held_back = []
                    self.task = asyncio.get_running_loop().create_task(self._start_tls())
                case Cancel():
                    self._cancel(event)
                case Authenticated():
                    self._held_back = [event.leftover] if event.leftover else []
                    self._admit(event)
                case Rejected():
                    if event.user:
                        self._call_it(user=event.user)
                    self._reject(event.error)
                case Closed():
                    self._close()
        self._send()

    def _send(self) -> None:
        """Write what the login has said."""
        if self._unsent:
            self.to_client(self._take_unsent())

    def _take_unsent(self) -> bytes:
        """What the login has said, for whoever writes more along with it: each write wakes the client."""
        unsent, self._unsent = self._unsent, b""
        return unsent

    def _cancel(self, event: Cancel) -> None:
        """Deliver a cancel request; the connection closes when PostgreSQL has taken it."""
        services = self.services
        services.stats.cancels_total += 1
        target = services.cancel_keys.find(event.pid, event.key)
        if target is not None:
            target.cancel(self._close)
        elif services.pass_cancel is not None:
            services.pass_cancel(event.pid, event.key, self._close)
        else:
            self._close()

    async def _start_tls(self) -> None:
        plain = self._link
        assert isinstance(plain, SocketLink)
        assert self._login is not None
        context, channel_binding = self._tls
        assert context is not None
        self._is_in_handshake = True
        self._link = None
        plain.write(b"S")
        try:
            encrypted = await accept_tls(plain, context)
        except OSError as error:  # ssl.SSLError is one
            self._log.info("TLS handshake failed", reason=str(error))
            self._close()
            return
        self._is_in_handshake = False
        self._link = encrypted
        self._login.tls_started(channel_binding)
        encrypted.set_receiver(self)
        self._go_on()

    def _go_on(self) -> None:
        """Read what was held back."""
        early, self._held_back = self._held_back or [], None
        for data in early:
            self._log_in(data)

    def _admit(self, event: Authenticated) -> None:
        self._call_it(user=event.user, tenant=event.tenant_id)
        try:
            admitted = admit_at_once(self.services, event, self.listener_mode)
        except ProxyError as error:
            self._reject(error)
            return
        if admitted is None:
            self._send()
            self.task = asyncio.get_running_loop().create_task(self._admit_later(event))
        else:
            self._let_in(event, admitted)

    async def _admit_later(self, event: Authenticated) -> None:
        services = self.services
        try:
            admitted = await admit(services, event, self.listener_mode)
        except ProxyError as error:
            self._reject(error)
            return
        if self.is_over:
            services.census.leave(event.user, event.tenant_id)
            return
        self._let_in(event, admitted)

    def _let_in(self, event: Authenticated, admitted: Admitted) -> None:
        services = self.services
        services.login_deadlines.end(self)
        self._login = None
        self._tls = _NO_TLS
        self._begin_session(event, admitted)
        services.stats.logins_total += 1
        if services.audit.writes_logins:
            services.audit.login_ok(
                method="scram-sha-256", database=event.startup.database or event.startup.user, **self._whose
            )
        self._go_on()

    def _login_timed_out(self) -> None:
        limit = self.services.limits.login_timeout_s
        self._reject(
            LoginTimeout(
                f"login was not complete within {limit:g} s",
                hint="The network is slow, the client does not speak PostgreSQL's protocol, or the database is down.",
            )
        )

    def _reject(self, error: ProxyError) -> None:
        if self.is_over:
            return
        services = self.services
        services.stats.count_refused_login(error)
        if error.kind in _NOT_THE_CLIENTS_FAULT:
            log_proxy_error(self._log, error)
        elif isinstance(error, TenantUnavailable):
            status = str(error.log_context.get("status", ""))
            services.audit.tenant_status_refused(error, status=status, **self._whose)
        else:
            services.audit.login_refused(error, **self._whose, **_known(error))
        if not self._is_in_handshake:  # or it would stand in the middle of the handshake's bytes
            self.to_client(self._take_unsent() + backend.error_response(error, severity="FATAL"))
        self._close()

    def _close(self) -> None:
        """Send what is queued, then close."""
        link = self._link
        if link is not None:
            link.close()
            if link.unsent_bytes:
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, link.abort)
        self._end(self._ending or "closed")


def _known(error: ProxyError) -> dict[str, object]:
    """What the log may know of a refused login besides what the client is told."""
    known = {"hint": error.hint, "details": error.details} | {"cause": error.log_context.get("reason")}
    return {name: value for name, value in known.items() if value is not None}


def shutting_down() -> ShuttingDown:
    return ShuttingDown("terminating connection: Gatehouse is shutting down")
