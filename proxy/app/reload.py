"""Read the configuration again: on SIGHUP, and when one of its files changes. A bad file changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.app.view import ReloadRecord
from proxy.errors import ConfigError
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings

_NOT_RELOADED: Final = "configuration not reloaded; the old one stays in force"
_STEP_MS: Final = 100


def files_of(settings: Settings) -> list[Path]:
    """The files besides the configuration's own that are read once per load: tenants, clients' secrets, TLS."""
    tls, users = settings.tls, settings.users.values()
    files = [settings.tenants_file, tls.cert_file, tls.key_file, tls.ca_file]
    files += [user.password.file for user in users if user.password is not None]
    for cluster in settings.clusters.values():
        files += [cluster.tls.ca_file, cluster.tls.cert_file, cluster.tls.key_file]
    return [Path(file) for file in files if file is not None]


class Reloader:
    """Watches the configuration's files, and loads when asked."""

    def __init__(
        self, path: Path, apply: Callable[[Settings], None], record: ReloadRecord, log: FilteringBoundLogger
    ) -> None:
        self._path = path
        self._apply = apply
        self._record = record
        self._log = log
        self._wanted = asyncio.Event()
        self._files: set[Path] = set()
        self._moved = asyncio.Event()  # other directories are to be watched
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, settings: Settings) -> None:
        """Begin to watch the files that `settings` came from."""
        self._remember(settings)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()), loop.create_task(self._watch())]

    def request(self) -> None:
        """Load soon."""
        self._wanted.set()

    async def stop(self) -> None:
        """Stop watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _remember(self, settings: Settings) -> None:
        files = [self._path, *files_of(settings)]
        folders = {file.parent for file in self._files}
        self._files = {file.resolve() for file in files} | {file.absolute() for file in files}
        if folders != {file.parent for file in self._files}:
            self._moved.set()

    async def _watch(self) -> None:
        """The directories are watched, not the files: editors and Kubernetes replace files by renaming."""
        from watchfiles import awatch

        while True:
            self._moved.clear()
            watched = {file.parent for file in self._files if file.parent.is_dir()}
            try:
                async for changes in awatch(
                    *watched,
                    watch_filter=None,
                    stop_event=self._moved,
                    recursive=False,
                    step=_STEP_MS,
                    rust_timeout=1000,
                    ignore_permission_denied=True,
                ):
                    if any(Path(name) in self._files or Path(name).name == "..data" for _, name in changes):
                        self.request()
            except OSError as error:
                self._log.warning("configuration files can not be watched; SIGHUP reloads them", reason=str(error))
                await self._moved.wait()

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._load()

    async def _load(self) -> None:
        try:
            settings = await asyncio.to_thread(load_settings, self._path)
            # Taken over even when it is the same: the secrets and certificates that it names may not be.
            self._apply(settings)
            self._remember(settings)
            self._record.succeeded()
        except ConfigError as error:
            self._record.went_wrong()
            self._log.error(_NOT_RELOADED, problems=str(error))
        except Exception:
            self._record.went_wrong()
            self._log.exception(_NOT_RELOADED)
