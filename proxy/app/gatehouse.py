"""The running proxy: builds its parts from settings, listens, reloads, stops."""

from __future__ import annotations

import asyncio
import secrets
import signal
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from proxy import __version__
from proxy.admin.http import AdminServer
from proxy.app import assembly
from proxy.app.health import ClusterHealth
from proxy.app.listeners import Listeners
from proxy.app.loop import run
from proxy.app.open_files import raise_file_limit
from proxy.app.reload import Reloader
from proxy.app.terms import Policies, TermsBook
from proxy.app.users import ConfiguredUsers
from proxy.app.view import ProxyView, ReloadRecord
from proxy.app.worker_link import Place
from proxy.auth.scram import SaltedPasswords
from proxy.client.cancel_keys import CancelKeys
from proxy.client.connection import ClientConnection
from proxy.client.services import RECONFIGURED, ClientServices
from proxy.client.session_terms import SessionShared
from proxy.context.context import ContextBuilder, InjectionNames
from proxy.errors import ServerUnreachable
from proxy.guard.verdicts import VerdictCache
from proxy.net.links import Link
from proxy.observe.audit import AuditLog
from proxy.observe.counters import ProxyStats
from proxy.observe.throttle import every
from proxy.pool.limits import PoolKey, PoolLimits
from proxy.pool.manager import Pool, PoolManager
from proxy.server.connection import ServerConnection
from proxy.server.ports import ServerPort
from proxy.server.prepared import StatementCatalog
from proxy.settings.live import Changes
from proxy.settings.model import Settings
from proxy.tenants.model import PoolMode
from proxy.tenants.yaml_source import SettingsSource

__all__ = ["Gatehouse", "run"]

_AT_ONCE_S: Final = 1.0
"""How long an immediate stop waits for PostgreSQL to end what clients left running."""
_POLL_S: Final = 0.02
_FAREWELL_LOOKS: Final = 25
_OTHER_FILES: Final = 100
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_CLIENTS_PER_TURN: Final = 200
_TENANTS_PER_TURN: Final = 2000


class Gatehouse:
    """One proxy process.

    `config_path` is what a reload reads; without it there is none. `read_at_ns` is for the Reloader. A worker, one of
    several processes, has a `place` among them: its settings are its share, and it leaves the HTTP endpoint to the
    supervisor. Raises ConfigError from `start` for an address that can not be had and for secrets and files that can not
    be read.
    """

    def __init__(
        self,
        settings: Settings,
        config_path: Path | None = None,
        place: Place | None = None,
        read_at_ns: int | None = None,
    ) -> None:
        self.settings = settings
        self._place = place
        self._log: FilteringBoundLogger = structlog.get_logger()
        self._salted = SaltedPasswords()
        self._users = (
            ConfiguredUsers.read(settings) if place is None else ConfiguredUsers.verified_by(settings, place.verifiers)
        )
        self._names = InjectionNames()
        self._stats = ProxyStats()
        self._source = SettingsSource(settings)
        self._registry = assembly.tenant_registry(settings, self._source)
        self._reloads = ReloadRecord()
        self._reloader = (
            Reloader(
                config_path, lambda: (self.settings, self._users), self.apply, self._reloads, self._log, read_at_ns
            )
            if config_path
            else None
        )
        self._listeners = Listeners(self._log, place.unix_sockets if place is not None else None)
        self._admin: AdminServer | None = None
        self._stop_requested = asyncio.Event()
        self._is_told = False
        self._stops_at_once = False
        self._telling: asyncio.Task[None] | None = None
        self._connectors = assembly.connectors(settings, self._salted, self._log)
        self._open: dict[PoolKey, set[ServerConnection]] = {}
        self._served: set[assembly.Place] | None = None  # where tenants live that are served; not asked before a reload

    # Life.

    async def start(self) -> None:
        """Listen for clients and for scrapes."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        self._pools = PoolManager(
            self._open_server,
            monotonic,
            loop.call_later,
            self._pool_limits,
        )
        self._services = self._make_services(settings)
        self._health = ClusterHealth(lambda: self._connectors, self._pools)
        self.view = ProxyView(
            self._stats,
            self._pools,
            self._registry,
            self._source,
            self._reloads,
            self._health,
            self._services,
        )
        try:
            await self._open_listeners(settings)
            if settings.http is not None and self._place is None:
                self._admin = AdminServer(settings.http.host, settings.http.port, self.view)
                await self._admin.start()
        except BaseException:
            self._listeners.close()
            raise
        self._health.start()
        if self._reloader is not None:
            self._reloader.start()
        self._warn_of_few_files(settings)
        self._log.info(
            "gatehouse is ready for connections" if self._place is None else "worker is ready for connections",
            version=__version__,
            host=settings.listen.host,
            port=self.port,
            http=self._admin.port if self._admin is not None else "off",
            tenants=len(self._source),
        )

    async def _open_listeners(self, settings: Settings) -> None:
        places = {
            f"endpoints.{name}": endpoint.beside(settings.listen) for name, endpoint in settings.endpoints.items()
        }
        for section, place in {"listen": settings.listen, **places}.items():
            mode = None if place.mode is None else PoolMode(place.mode)
            await self._listeners.open(place, partial(self._accept, mode), section)
            self._log.info(
                "listening for clients",
                endpoint=section,
                host=place.host,
                port=place.port,
                unix_socket_dir=place.unix_socket_dir,
                mode=place.mode or "that of the user, tier or pool",
            )

    def _accept(self, mode: PoolMode | None, is_unix: bool, link: Link, peer: str) -> None:
        self.client_connection(mode, is_unix=is_unix).connection_made(link, peer)

    def client_connection(self, mode: PoolMode | None, *, is_unix: bool) -> ClientConnection:
        """The connection of one more client, by a listener of this mode."""
        return ClientConnection(self._services, is_unix=is_unix, mode=mode)

    def _warn_of_few_files(self, settings: Settings) -> None:
        servers = sum(cluster.max_connections for cluster in settings.clusters.values())
        wanted = settings.limits.max_clients + settings.limits.max_logins + servers + _OTHER_FILES
        limit = raise_file_limit(wanted)
        if limit < wanted:
            self._log.warning(
                "the limit on open files is lower than what the configuration allows to connect",
                open_files=limit,
                wanted=wanted,
                hint="Raise it (ulimit -n, LimitNOFILE=), or lower limits.max_clients.",
            )

    @property
    def services(self) -> ClientServices:
        """What all clients share."""
        return self._services

    @property
    def port(self) -> int:
        """The TCP port that clients connect to."""
        return self._listeners.port or self.settings.listen.port

    @property
    def http_port(self) -> int | None:
        """The port of the HTTP endpoint, None when it is off."""
        return self._admin.port if self._admin is not None else None

    def heed_signals(self) -> None:
        """SIGTERM (running transactions may end) and SIGINT (at once) end `serve_forever`, SIGHUP reloads.

        To be called before `start`: whoever reads that Gatehouse is ready may send a signal in the same moment.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self.request_stop(at_once=False))
        loop.add_signal_handler(signal.SIGINT, lambda: self.request_stop(at_once=True))
        loop.add_signal_handler(signal.SIGHUP, self.request_reload)

    async def serve_forever(self) -> None:
        """Run until `request_stop`."""
        loop = asyncio.get_running_loop()
        try:
            await self._stop_requested.wait()
            stopping = loop.create_task(self.stop(immediate=self._stops_at_once))
            self._stop_requested.clear()
            again = loop.create_task(self._stop_requested.wait())
            await asyncio.wait((stopping, again), return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():  # a second signal: do not wait any more
                stopping.cancel()
                await asyncio.gather(stopping, return_exceptions=True)
                await self.stop(immediate=True)
            again.cancel()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def request_stop(self, *, at_once: bool) -> None:
        """Make `serve_forever` stop.

        A worker may hear of a stop twice, by the supervisor and by whoever signals all processes: that is no haste.
        """
        is_known = self._place is not None and self._is_told and not at_once
        self._is_told = True
        self._stops_at_once = at_once or (is_known and self._stops_at_once)
        if not is_known:
            self._stop_requested.set()

    def request_reload(self) -> None:
        """Read the configuration again, as SIGHUP does."""
        if self._reloader is not None:
            self._reloader.request()

    async def stop(self, *, immediate: bool = False) -> None:
        """Stop: no new clients, running transactions end within `shutdown_timeout` (not at all if `immediate`)."""
        services = self._services
        services.is_stopping = True
        clients = len(services.census.connections)
        self._log.info("gatehouse is stopping", clients=clients, immediate=immediate)
        if self._reloader is not None:
            await self._reloader.stop()
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        await self._health.stop()
        self._listeners.close()
        if not immediate:
            await self._wait_for_clients(self.settings.timeouts.shutdown_timeout_s)
        for connection in list(services.census.connections):
            connection.shut_down(at_once=True)
        grace_s = services.limits.recovery_timeout_s
        try:
            # What clients left running is cancelled and rolled back, or PostgreSQL would go on with it.
            async with asyncio.timeout(min(grace_s, _AT_ONCE_S) if immediate else grace_s):
                await self._pools.close(immediate=False)
        except TimeoutError:
            await self._pools.close(immediate=True)
        await self._registry.close()
        if self._admin is not None:
            await self._admin.stop()
        await self._hang_up()
        self._log.info("gatehouse has stopped")

    async def _hang_up(self) -> None:
        """Let connections close in good order, TLS with its farewell, but not for long."""
        present = self._services.census.present
        for _ in range(_FAREWELL_LOOKS):
            if not (present or any(self._open.values())):
                break
            await asyncio.sleep(_POLL_S)
        for client in list(present):
            client.abort()
        for server in [server for servers in self._open.values() for server in servers]:
            server.abort()
        await asyncio.sleep(0)  # what was closed just now goes on the loop's next turn

    async def _wait_for_clients(self, limit_s: float) -> None:
        """Send away whoever is between transactions, until nobody is left or the time is up."""
        loop = asyncio.get_running_loop()
        connections = self._services.census.connections
        until = loop.time() + limit_s if limit_s else float("inf")
        while loop.time() < until:
            for connection in list(connections):
                connection.shut_down()
            if not connections:
                return
            await asyncio.sleep(_POLL_S)

    # Building.

    def _make_services(self, settings: Settings) -> ClientServices:
        place = self._place
        tls, channel_binding = assembly.client_tls(settings.tls)
        builder = ContextBuilder(settings.context.tenant_settings, settings.context.shared_schemas, self._names)
        return ClientServices(
            directory=self._users,
            mock_secret=secrets.token_bytes(32) if place is None else place.mock_secret,
            tls_mode=settings.tls.mode,
            tls=tls,
            channel_binding=channel_binding,
            tenant_settings=settings.context.tenant_settings,
            registry=self._registry,
            pools=self._pools,
            pool_key=lambda tenant, mode: assembly.pool_key(self.settings, tenant, mode),
            policy=Policies(settings, builder).policy,
            terms=TermsBook(settings).terms,
            shared=SessionShared(
                builder, VerdictCache(), StatementCatalog(self._names.client), monotonic, settings.pool.defer_begin
            ),
            limits=assembly.client_limits(settings),
            stats=self._stats,
            audit=AuditLog(writes_logins=settings.log.connections),
            log=self._log.bind(),  # once: structlog would do it again for each line
            complaints=every(1.0, monotonic),
            cancel_keys=CancelKeys() if place is None else CancelKeys(place.index, place.count),
        )

    async def _open_server(self, key: PoolKey) -> ServerPort:
        while True:
            connector = self._connectors.get(key.cluster)
            if connector is None:
                raise ServerUnreachable(f'cluster "{key.cluster}" is not configured any more')
            cluster = self.settings.clusters[key.cluster]
            server = await connector.open(key.database, key.user, partial(_discard, self._pools.pool(key)))
            if self.settings.clusters.get(key.cluster) == cluster:
                servers = self._open.setdefault(key, set())
                servers.add(server)
                server.when_gone = partial(servers.discard, server)
                return server
            server.close(RECONFIGURED)

    def _retire_servers(self, old: Settings, new: Settings) -> None:
        """What was opened by a cluster's old settings may lead to another PostgreSQL than the new ones."""
        for key, servers in list(self._open.items()):
            if old.clusters.get(key.cluster) == new.clusters.get(key.cluster):
                continue
            for server in list(servers):
                server.retire(RECONFIGURED)
                if not server.is_lent:
                    self._pools.pool(key).discard(server, RECONFIGURED)

    # Reload.

    def apply(self, new: Settings, changes: Changes, users: ConfiguredUsers) -> None:
        """Take over a new configuration without dropping anybody. Raises ConfigError and changes nothing.

        In `new` what needs a restart is as it was, see settings/live.py; `changes` are those from the settings in force to the
        file. `users` are those of `new`.
        """
        connectors = assembly.connectors(new, self._salted, self._log)
        tls, channel_binding = assembly.client_tls(new.tls)
        if changes.needs_restart:
            self._log.warning("some changes take effect after a restart only", changed=list(changes.needs_restart))
        services = self._services
        old = self.settings
        self.settings = new
        self._users, self._connectors = users, connectors
        services.directory = users
        services.tls_mode, services.tls, services.channel_binding = new.tls.mode, tls, channel_binding
        services.audit.writes_logins = new.log.connections
        services.terms = TermsBook(new).terms
        services.limits = assembly.client_limits(new)
        services.shared.defers_begin = new.pool.defer_begin
        services.probed.clear()
        self._warn_of_few_files(new)
        self._retire_servers(old, new)
        self._pools.configure(self._pool_limits)
        self._source.replace(new)
        self._registry.invalidate()
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.get_running_loop().create_task(self._tell_all())
        self._log.info("configuration reloaded", changed=changes.shown(), tenants=len(self._source))

    def _pool_limits(self, key: PoolKey) -> PoolLimits:
        return assembly.pool_limits(self.settings, key, self._served)

    async def _tell_all(self) -> None:
        await self._tell_clients()
        await self._tell_pools()

    async def _tell_clients(self) -> None:
        """Have all clients live by the new settings, some at a time: there may be thousands."""
        for position, connection in enumerate(list(self._services.census.connections)):
            connection.configuration_changed()
            if position % _CLIENTS_PER_TURN == _CLIENTS_PER_TURN - 1:
                await asyncio.sleep(0)

    async def _tell_pools(self) -> None:
        """Have no pool keep servers where nobody is served any more; some tenants at a time."""
        served = set()
        for position, tenant in enumerate(self.settings.tenants.values()):
            if tenant.status == "active":
                served.add((tenant.placement.cluster, tenant.placement.database))
            if position % _TENANTS_PER_TURN == _TENANTS_PER_TURN - 1:
                await asyncio.sleep(0)
        self._served = served
        self._pools.configure(self._pool_limits)


def _discard(pool: Pool, server: ServerConnection) -> None:
    pool.discard(server, server.close_reason)
