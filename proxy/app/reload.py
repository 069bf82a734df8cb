"""Read the configuration again: on SIGHUP, and when one of its files changes. A bad file changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from proxy.app.view import ReloadRecord
from proxy.errors import ConfigError
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings


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
        self._current: Settings | None = None
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
        self._current = settings
        files = [self._path]
        if settings.tenants_file is not None:
            files.append(Path(settings.tenants_file))
        self._files = {file.resolve() for file in files} | {file.absolute() for file in files}

    async def _watch(self) -> None:
        """The directories are watched, not the files: editors and Kubernetes replace files by renaming."""
        from watchfiles import awatch

        watched = {file.parent for file in self._files}
        async for changes in awatch(
            *watched, recursive=False, step=200, rust_timeout=1000, ignore_permission_denied=True
        ):
            if any(Path(name) in self._files or Path(name).name == "..data" for _, name in changes):
                self.request()

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._load()

    async def _load(self) -> None:
        try:
            settings = await asyncio.to_thread(load_settings, self._path)
            if settings == self._current:
                self._log.info("configuration is unchanged")
                self._record.succeeded()
                return
            self._apply(settings)
            self._remember(settings)
            self._record.succeeded()
        except ConfigError as error:
            self._record.went_wrong()
            self._log.error("configuration not reloaded; the old one stays in force", problems=str(error))
