"""Open a server connection: address by address, TLS as configured, login; and deliver cancel requests."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from proxy.auth.scram import SaltedPasswords, tls_server_end_point
from proxy.errors import ConfigError, ProxyError, ServerLoginFailed, ServerUnreachable
from proxy.net.connecting import connect_tcp, connect_unix
from proxy.net.links import Link
from proxy.net.mailbox import Mailbox
from proxy.net.poller import running_poller
from proxy.net.sockets import SocketLink
from proxy.net.tls import TlsLink, connect_tls
from proxy.net.tls_files import load_authorities, load_certificate
from proxy.server.connection import ServerConnection
from proxy.server.login import Compute, Failed, LoggedIn, Send, ServerLogin, ServerLoginEvent, Warn
from proxy.server.sockets import keep_alive
from proxy.settings.hosts import HostPort
from proxy.settings.model import Cluster
from proxy.wire import frontend


class ServerLog(Protocol):
    """Where warnings of logins go."""

    def warning(self, event: str, **fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What every server connection of a process is given."""

    baseline: dict[str, str]
    max_prepared_statements: int
    reset_timeout_s: float
    cancel_timeout_s: float


class Connector:
    """Opens connections to one cluster.

    `password` is read anew for each login, so that a rotated secret counts at once.
    """

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        options: ServerOptions,
        password: Callable[[], str | None],
        salted: SaltedPasswords,
        log: ServerLog,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._options = options
        self._password = password
        self._salted = salted
        self._log = log
        self._tls = tls_context(cluster)

    async def open(self, database: str, user: str, on_lost: Callable[[ServerConnection], None]) -> ServerConnection:
        """The first of the cluster's hosts that lets us in.

        Raises ServerUnreachable or ServerLoginFailed, the last host's. A refused login is not tried on the next host
        unless the server is starting up or a standby, for it would only be refused again.
        """
        failure: ProxyError | None = None
        for host in self._cluster.hosts:
            try:
                async with asyncio.timeout(self._cluster.connect_timeout_s):
                    return await self._open_host(host, database, user, on_lost)
            except ServerUnreachable as error:
                failure = error
            except ServerLoginFailed as error:
                raise self._named(error) from None
            except OSError as error:  # ssl.SSLError is one
                failure = self._unreachable(host, error)
        assert failure is not None
        raise self._named(failure) from None

    async def check(self) -> None:
        """See whether a host answers at all, without logging in. Raises ServerUnreachable."""
        failure: ServerUnreachable | None = None
        for host in self._cluster.hosts:
            try:
                async with asyncio.timeout(self._cluster.connect_timeout_s):
                    link, _ = await self._connect(host)
                link.close()
                return
            except ServerUnreachable as error:
                failure = error
            except OSError as error:  # ssl.SSLError is one
                failure = self._unreachable(host, error)
        assert failure is not None
        raise failure

    def _named(self, error: ProxyError) -> ProxyError:
        error.log_context.setdefault("cluster", self._name)
        return error

    def _unreachable(self, host: HostPort, error: BaseException) -> ServerUnreachable:
        if isinstance(error, TimeoutError):
            reason = f"no answer within {self._cluster.connect_timeout_s:g} s"
        else:
            reason = str(error) or type(error).__name__
        return ServerUnreachable(
            f'could not connect to the database server of cluster "{self._name}"',
            hint="The server is down or not reachable from Gatehouse; its log has the address and the reason.",
            server=str(host),
            reason=reason,
        )

    async def _open_host(
        self, host: HostPort, database: str, user: str, on_lost: Callable[[ServerConnection], None]
    ) -> ServerConnection:
        link, mailbox = await self._connect(host)
        try:
            logged_in = await self._log_in(link, mailbox, host, database, user)
        except BaseException:
            link.abort()
            raise
        connection = ServerConnection(
            address=str(host),
            pid=logged_in.pid,
            key=logged_in.key,
            parameters=logged_in.parameters,
            opened_at=asyncio.get_running_loop().time(),
            max_prepared_statements=self._options.max_prepared_statements,
            reset_timeout_s=self._options.reset_timeout_s,
            cancel=lambda pid, key: self._cancel(host, pid, key),
            on_lost=on_lost,
        )
        connection.attach(link)
        if logged_in.leftover:
            connection.data_received(logged_in.leftover)
        mailbox.hand_over(connection)
        if connection.is_closed:
            # PostgreSQL shuts down. Nobody has the connection yet whom its end could be told.
            raise ServerUnreachable("server closed the connection as soon as the proxy had logged in", server=str(host))
        return connection

    async def _connect(self, host: HostPort) -> tuple[Link, Mailbox]:
        """A connection, encrypted if that is wanted and to be had, and where its bytes are read."""
        if host.is_unix:
            unix = SocketLink(running_poller(), (await connect_unix(host.socket_path)).detach())
            return unix, Mailbox(unix)
        sock = await connect_tcp(host.host, host.port)
        keep_alive(sock, self._cluster.keepalive)
        plain = SocketLink(running_poller(), sock.detach())
        mailbox = Mailbox(plain)
        try:
            if self._tls is None:
                return plain, mailbox
            plain.write(frontend.SSL_REQUEST)
            answer = await mailbox.read()
            if len(answer) > 1:
                # It was never encrypted, and may be a third party's (CVE-2021-23222).
                raise OSError("unencrypted data behind the answer to the SSL request")
            if answer == b"S":
                encrypted = await connect_tls(plain, self._tls, host.host)
                return encrypted, Mailbox(encrypted)
            if not answer:
                raise OSError("the server closed the connection when it was asked for TLS")
            if self._cluster.tls.mode != "prefer":
                raise ServerUnreachable(
                    f'the database server of cluster "{self._name}" does not support TLS',
                    hint="Enable ssl on the server, or set the cluster's tls mode to prefer or disable.",
                    server=str(host),
                )
        except BaseException:
            plain.abort()
            raise
        return plain, mailbox

    async def _log_in(
        self,
        link: Link,
        mailbox: Mailbox,
        host: HostPort,
        database: str,
        user: str,
    ) -> LoggedIn:
        login = ServerLogin(
            user=user,
            database=database,
            password=self._secret(),
            parameters=self._options.baseline,
            is_tls=isinstance(link, TlsLink),
            channel_binding=_channel_binding(link) if isinstance(link, TlsLink) else None,
            salted=self._salted,
        )
        link.write(login.start())
        events: list[ServerLoginEvent] = []
        while True:
            while not events:
                data = await mailbox.read()
                events = login.receive(data) if data else login.eof()
            match event := events.pop(0):
                case Send():
                    link.write(event.data)
                case Compute():
                    events += login.computed(await asyncio.to_thread(event.work))
                case Warn():
                    self._log.warning("server login", cluster=self._name, server=str(host), warning=event.text)
                case LoggedIn():
                    return event
                case Failed():
                    event.error.log_context["server"] = str(host)
                    raise event.error

    def _secret(self) -> str | None:
        """The password. Where it is kept, and why it can not be read there, is for the log, not for clients."""
        try:
            return self._password()
        except ConfigError as error:
            raise ServerLoginFailed(
                "the proxy's own password can not be read",
                hint="Gatehouse's log says where it should be, and why it can not be read.",
                reason=error.message,
            ) from None

    async def _cancel(self, host: HostPort, pid: int, key: bytes) -> bool:
        """Deliver a CancelRequest and wait until the server has taken it, which it shows by closing.

        False if it may be on its way still.
        """
        is_sent = False
        try:
            async with asyncio.timeout(self._options.cancel_timeout_s):
                link, mailbox = await self._connect(host)
                try:
                    is_sent = True
                    link.write(frontend.cancel_request(pid, key))
                    while await mailbox.read():
                        pass
                finally:
                    link.abort()
        except (OSError, TimeoutError, ProxyError) as error:
            self._log.warning(
                "cancel request not delivered", cluster=self._name, server=str(host), reason=str(error) or "no answer"
            )
            return not is_sent
        return True


def tls_context(cluster: Cluster) -> ssl.SSLContext | None:
    """The TLS settings towards a cluster, as libpq's sslmode has them; None for no TLS.

    Raises UnusableFile, which is an OSError.
    """
    tls = cluster.tls
    if tls.mode == "disable":
        return None
    if tls.ca_file is None and tls.cert_file is None and tls.mode in ("verify-ca", "verify-full"):
        return _by_system_authorities(tls.mode, _system_authorities())
    return _context(tls.mode, tls.ca_file, tls.cert_file, tls.key_file)


def _context(mode: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    if mode in ("prefer", "require") and ca_file is None:
        # Without the system's authorities, which are not asked here: they take 50 ms, at each reload.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context = ssl.create_default_context()
        context.check_hostname = mode == "verify-full"
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = mode == "verify-full"
        load_authorities(context, ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # as libpq
    if cert_file is not None:
        load_certificate(context, cert_file, key_file or cert_file)
    return context


@lru_cache(maxsize=2)  # the two modes
def _by_system_authorities(mode: str, _authorities: tuple[object, ...]) -> ssl.SSLContext:
    """One for all clusters, and for as long as the authorities stay: to read them takes 50 ms, while everybody waits."""
    return _context(mode, None, None, None)


def _system_authorities() -> tuple[object, ...]:
    """What changes when the authorities that OpenSSL finds by itself do."""
    paths = ssl.get_default_verify_paths()
    return tuple((path, os.stat(path).st_mtime_ns) for path in (paths.cafile, paths.capath) if path)


def _channel_binding(link: TlsLink) -> bytes | None:
    certificate = link.tls.getpeercert(binary_form=True)
    return tls_server_end_point(certificate) if certificate else None
