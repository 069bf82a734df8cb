"""The parent of several workers: starts them, replaces the dead, passes on reloads and stops, speaks for all.

No client byte goes through it. What it needs to know comes over the workers' lines; the HTTP endpoint is its own.
A reload is checked here first: the workers get settings, not a file that may change in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from proxy import __version__
from proxy.admin.http import AdminServer
from proxy.app import assembly
from proxy.app.reload import Reloader
from proxy.app.shares import worker_settings
from proxy.app.sockets import SharedSockets, private_folder
from proxy.app.supervisor_view import SupervisorView
from proxy.app.users import ConfiguredUsers
from proxy.app.view import ReloadRecord
from proxy.app.worker_link import Begin, Place, Reload, Stop
from proxy.app.worker_process import WorkerProcess
from proxy.auth.scram import SaltedPasswords
from proxy.settings.live import NO_CHANGES, NO_TENANT_CHANGES, Changes, TenantChanges
from proxy.settings.model import Settings

_FIRST_PAUSE_S: Final = 0.1
_MOST_PAUSE_S: Final = 15.0
_STEADY_S: Final = 10.0
"""A worker that lived this long was well: the next pause is the first again."""
_RETRY_S: Final = 1.0
"""After this a worker that refused a configuration is told again."""
_KILL_S: Final = 10.0
"""How much longer than it may a worker has to end, before it is killed."""


class Supervisor:
    """The workers of one configuration; `command` starts one. Raises ConfigError from `start`, as Gatehouse does."""

    def __init__(self, settings: Settings, config_path: Path, command: list[str], read_at_ns: int) -> None:
        self._settings = settings
        self._command = command
        self._log: FilteringBoundLogger = structlog.get_logger()
        self._users = ConfiguredUsers.read(settings)
        self._mock_secret = secrets.token_bytes(32)
        self._folder = private_folder()
        self._sockets = SharedSockets(settings)
        self._reloads = ReloadRecord()
        self._reloader = Reloader(
            config_path, lambda: (self._settings, self._users), self._apply, self._reloads, self._log, read_at_ns
        )
        self._workers = [WorkerProcess(index, command, self._log, self._refused) for index in range(settings.workers)]
        self._told_again: set[int] = set()  # workers that will be, soon
        self._view = SupervisorView(self._workers, self._folder, self._reloads)
        self._admin: AdminServer | None = None
        self._keepers: list[asyncio.Task[None]] = []
        self._stop_requested = asyncio.Event()
        self._stops_at_once = False
        self._patience: asyncio.Timeout | None = None  # with the workers, when they have been told to stop
        self._exit_code = 0

    async def run(self) -> int:
        """Run until SIGTERM (running transactions may end) or SIGINT (at once); SIGHUP reloads. The exit code."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._request_stop, False)
        loop.add_signal_handler(signal.SIGINT, self._request_stop, True)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.request)
        try:
            await self._start()
            await self._stop_requested.wait()
            await self._stop()
        finally:
            for worker in self._workers:
                worker.kill()
            for keeper in self._keepers:
                keeper.cancel()
            await asyncio.gather(*self._keepers, return_exceptions=True)
            self._sockets.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._exit_code

    async def _start(self) -> None:
        self._sockets.open()
        http = self._settings.http
        if http is not None:
            view = self._view
            self._admin = AdminServer(http.host, http.port, view, refresh=view.refresh, collector=view.collector)
            await self._admin.start()
        # The first one alone: what keeps it from starting would keep all, and is said once.
        for group in (self._workers[:1], self._workers[1:]):
            self._keepers += [asyncio.get_running_loop().create_task(self._keep(worker)) for worker in group]
            await self._until_ready(group)
            if self._stop_requested.is_set():
                return
        self._reloader.start()
        listen = self._settings.listen
        self._log.info(
            "gatehouse is ready for connections",
            version=__version__,
            host=listen.host,
            port=listen.port,
            http=self._admin.port if self._admin is not None else "off",
            workers=len(self._workers),
        )

    async def _until_ready(self, workers: list[WorkerProcess]) -> None:
        ready = asyncio.gather(*(worker.ready.wait() for worker in workers))
        stop = asyncio.ensure_future(self._stop_requested.wait())
        await asyncio.wait((ready, stop), return_when=asyncio.FIRST_COMPLETED)
        for waiting in (ready, stop):
            waiting.cancel()
        await asyncio.gather(ready, stop, return_exceptions=True)

    # Workers.

    async def _keep(self, worker: WorkerProcess) -> None:
        """Have this worker run, until all are to stop."""
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        while not self._stop_requested.is_set():
            began = loop.time()
            try:
                code = await worker.run(partial(self._begin, worker.index), self._sockets.descriptors)
            except OSError as error:  # no descriptor, no memory, or the program is being replaced just now
                code = 1
                self._log.error("a worker can not be started", worker=worker.index, reason=str(error))
            self._view.merger.lost(worker.index)
            if self._stop_requested.is_set():
                break
            if not worker.was_ever_ready:
                self._exit_code = code if code > 0 else 1
                self._request_stop(True)
                break
            if loop.time() - began >= _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            worker.restarts += 1
            self._log.error("a worker ended; it is started again", worker=worker.index, code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(_MOST_PAUSE_S, pause_s * 2)

    def _begin(self, index: int) -> Begin:
        count = len(self._workers)
        place = Place(index, count, self._mock_secret, self._users.verifiers(), self._sockets.by_path, self._folder)
        return Begin(worker_settings(self._settings, index, count), place)

    # Orders.

    def _apply(self, new: Settings, changes: Changes, users: ConfiguredUsers) -> None:
        """Check a new configuration and pass it on. Raises ConfigError and changes nothing."""
        assembly.connectors(new, SaltedPasswords(), self._log)
        assembly.client_tls(new.tls)
        if changes.needs_restart:
            self._log.warning("some changes take effect after a restart only", changed=list(changes.needs_restart))
        tenants = TenantChanges.between(self._settings.tenants, new.tenants)
        self._settings, self._users = new, users
        for worker in self._workers:
            worker.order(self._reload(worker, tenants, changes))
        self._log.info("configuration passed on to the workers", changed=changes.shown())

    def _reload(self, worker: WorkerProcess, tenants: TenantChanges, changes: Changes) -> Reload:
        rest = self._settings.model_copy(update={"tenants": {}})
        settings = worker_settings(rest, worker.index, len(self._workers))
        return Reload(settings, tenants, changes, self._users.verifiers())

    def _refused(self, worker: WorkerProcess) -> None:
        """A worker could not take over what is good: a file was gone, or could not be opened, when its turn came.

        Tenants may have been suspended or moved: it is told again until it lives by the same settings as the others.
        """
        if not worker.refuses:
            self._reloads.failed += 1
        if worker.index not in self._told_again:
            self._told_again.add(worker.index)
            asyncio.get_running_loop().call_later(_RETRY_S, self._tell_again, worker)

    def _tell_again(self, worker: WorkerProcess) -> None:
        self._told_again.discard(worker.index)
        if worker.refuses:
            worker.order(self._reload(worker, NO_TENANT_CHANGES, NO_CHANGES))

    def _request_stop(self, at_once: bool) -> None:
        is_repeated = self._stop_requested.is_set()
        self._stops_at_once = at_once or is_repeated
        self._stop_requested.set()
        if is_repeated:  # a second signal: do not wait any more
            self._pass_on_stop()
            if self._patience is not None:
                killed_at = asyncio.get_running_loop().time() + _KILL_S
                self._patience.reschedule(min(killed_at, self._patience.when() or killed_at))

    def _pass_on_stop(self) -> None:
        for worker in self._workers:
            worker.order(Stop(self._stops_at_once))

    async def _stop(self) -> None:
        self._view.is_stopping = True
        self._log.info("gatehouse is stopping", immediate=self._stops_at_once)
        await self._reloader.stop()
        self._pass_on_stop()
        self._sockets.close()  # nobody accepts any more, and whoever is started instead may listen there
        timeouts = self._settings.timeouts
        drain_s = timeouts.shutdown_timeout_s
        deadline = None if not drain_s else drain_s + timeouts.server_recovery_timeout_s + _KILL_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_S if self._stops_at_once else deadline) as self._patience:
                await self._workers_gone()
        self._patience = None
        if self._admin is not None:
            await self._admin.stop()
        self._log.info("gatehouse has stopped")

    async def _workers_gone(self) -> None:
        await asyncio.gather(*(worker.gone.wait() for worker in self._workers))
