"""Open a server connection: address by address, TLS as configured, login; and deliver cancel requests."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from proxy.auth.scram import SaltedPasswords, tls_server_end_point
from proxy.errors import ProxyError, ServerLoginFailed, ServerUnreachable
from proxy.server.connection import ServerConnection
from proxy.server.login import Compute, Failed, LoggedIn, Send, ServerLogin, ServerLoginEvent, Warn
from proxy.server.sockets import set_keepalive
from proxy.settings.hosts import HostPort
from proxy.settings.model import Cluster
from proxy.wire import frontend

_READ_BYTES = 64 * 1024


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
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
                failure = self._unreachable(host, error)
        assert failure is not None
        raise self._named(failure) from None

    async def check(self) -> None:
        """See whether a host answers at all, without logging in. Raises ServerUnreachable."""
        failure: ServerUnreachable | None = None
        for host in self._cluster.hosts:
            try:
                async with asyncio.timeout(self._cluster.connect_timeout_s):
                    _, writer, _ = await self._connect(host)
                # Not aborted: PostgreSQL would log a reset connection each time.
                writer.close()
                return
            except ServerUnreachable as error:
                failure = error
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
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
        reader, writer, is_tls = await self._connect(host)
        try:
            logged_in = await self._log_in(reader, writer, host, database, user, is_tls=is_tls)
        except BaseException:
            writer.transport.abort()
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
        transport = writer.transport
        transport.set_protocol(cast(asyncio.Protocol, connection))
        connection.login_stream = writer
        connection.connection_made(transport)
        if logged_in.leftover:
            connection.data_received(logged_in.leftover)
        return connection

    async def _connect(self, host: HostPort) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        """A connection, encrypted if that is wanted and to be had."""
        if host.is_unix:
            reader, writer = await asyncio.open_unix_connection(host.socket_path)
            return reader, writer, False
        reader, writer = await asyncio.open_connection(host.host, host.port)
        try:
            set_keepalive(writer, self._cluster.keepalive)
            if self._tls is None:
                return reader, writer, False
            writer.write(frontend.SSL_REQUEST)
            answer = await reader.readexactly(1)
            if answer == b"S":
                await writer.start_tls(self._tls, server_hostname=host.host)
                return reader, writer, True
            if self._cluster.tls.mode != "prefer":
                raise ServerUnreachable(
                    f'the database server of cluster "{self._name}" does not support TLS',
                    hint="Enable ssl on the server, or set the cluster's tls mode to prefer or disable.",
                    server=str(host),
                )
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer, False

    async def _log_in(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        host: HostPort,
        database: str,
        user: str,
        *,
        is_tls: bool,
    ) -> LoggedIn:
        login = ServerLogin(
            user=user,
            database=database,
            password=self._password(),
            parameters=self._options.baseline,
            is_tls=is_tls,
            channel_binding=_channel_binding(writer) if is_tls else None,
            salted=self._salted,
        )
        writer.write(login.start())
        events: list[ServerLoginEvent] = []
        while True:
            while not events:
                data = await reader.read(_READ_BYTES)
                events = login.receive(data) if data else login.eof()
            match event := events.pop(0):
                case Send():
                    writer.write(event.data)
                case Compute():
                    events += login.computed(await asyncio.to_thread(event.work))
                case Warn():
                    self._log.warning("server login", cluster=self._name, server=str(host), warning=event.text)
                case LoggedIn():
                    return event
                case Failed():
                    event.error.log_context["server"] = str(host)
                    raise event.error

    async def _cancel(self, host: HostPort, pid: int, key: bytes) -> bool:
        """Deliver a CancelRequest and wait until the server has taken it, which it shows by closing.

        False if it may be on its way still.
        """
        is_sent = False
        try:
            async with asyncio.timeout(self._options.cancel_timeout_s):
                reader, writer, _ = await self._connect(host)
                try:
                    is_sent = True
                    writer.write(frontend.cancel_request(pid, key))
                    await reader.read()
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError, ProxyError, asyncio.IncompleteReadError) as error:
            self._log.warning(
                "cancel request not delivered", cluster=self._name, server=str(host), reason=str(error) or "no answer"
            )
            return not is_sent
        return True


def tls_context(cluster: Cluster) -> ssl.SSLContext | None:
    """The TLS settings towards a cluster, as libpq's sslmode has them; None for no TLS. Raises OSError, SSLError."""
    tls = cluster.tls
    if tls.mode == "disable":
        return None
    if tls.mode in ("prefer", "require") and tls.ca_file is None:
        # Without the system's authorities, which are not asked here: they take 50 ms, at each reload.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.check_hostname = tls.mode == "verify-full"
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _channel_binding(writer: asyncio.StreamWriter) -> bytes | None:
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return tls_server_end_point(certificate) if certificate else None
