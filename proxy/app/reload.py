"""Read the configuration again: on SIGHUP, and when one of its files changes. A bad file changes nothing.

Reading takes long where there are many tenants, or many passwords. It is a thread's work, and the thread gives way to the
event loop, for both need the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.app.users import ConfiguredUsers
from proxy.app.view import ReloadRecord
from proxy.errors import ConfigError
from proxy.settings.live import Changes, diff, until_restart
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings

_NOT_RELOADED: Final = "configuration not reloaded; the old one stays in force"
_STEP_MS: Final = 100
_LOOK_MS: Final = 1000
_TICK_NS: Final = 20_000_000
"""A file's time of change may lie this much before the clock's: the kernel takes it from its last tick."""
_TURN_S: Final = 0.0005
_PAUSE_S: Final = 0.00005


def files_of(settings: Settings) -> list[Path]:
    """The files besides the configuration's own that are read once per load: tenants, clients' secrets, TLS."""
    tls, users = settings.tls, settings.users.values()
    files = [settings.tenants_file, tls.cert_file, tls.key_file, tls.ca_file]
    files += [user.password.file for user in users if user.password is not None]
    for cluster in settings.clusters.values():
        files += [cluster.tls.ca_file, cluster.tls.cert_file, cluster.tls.key_file]
    return [Path(file) for file in files if file is not None]


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _changed_since(files: Iterable[Path], time_ns: int) -> bool:
    """By the time of change of their inodes, for a file that was renamed to its place may have been written before."""
    for file in files:
        with contextlib.suppress(OSError):
            if file.stat().st_ctime_ns >= time_ns:
                return True
    return False


class _Turns:
    """Called often, lets the other threads have the interpreter when it has been this one's for `_TURN_S`.

    Without it each of the event loop's turns would wait for sys.getswitchinterval(), 5 ms.
    """

    def __init__(self) -> None:
        self._since = perf_counter()

    def __call__(self) -> None:
        if perf_counter() - self._since > _TURN_S:
            sleep(_PAUSE_S)
            self._since = perf_counter()


class Reloader:
    """Watches the configuration's files, and loads when asked.

    `in_force` gives the settings that others are compared with, and their users. `apply` takes over others, in which what
    needs a restart is as it was, how the file differs, and the users. `read_at_ns` is when the first settings began to be
    read: what changed between then and `start` is loaded. None: nothing can have.
    """

    def __init__(
        self,
        path: Path,
        in_force: Callable[[], tuple[Settings, ConfiguredUsers]],
        apply: Callable[[Settings, Changes, ConfiguredUsers], None],
        record: ReloadRecord,
        log: FilteringBoundLogger,
        read_at_ns: int | None = None,
    ) -> None:
        self._path = path
        self._read_at_ns = read_at_ns
        self._in_force = in_force
        self._apply = apply
        self._record = record
        self._log = log
        self._wanted = asyncio.Event()
        self._files: set[Path] = set()
        self._loaded: dict[Path, tuple[int, int, int] | None] = {}
        self._moved = asyncio.Event()  # other directories are to be watched
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch the files that the settings came from."""
        self._remember(self._in_force()[0])
        if self._read_at_ns is not None and _changed_since(self._files, self._read_at_ns - _TICK_NS):
            self.request()
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
        self._loaded = self._states() | {file: state for file, state in self._loaded.items() if file in self._files}
        if folders != {file.parent for file in self._files}:
            self._moved.set()

    async def _watch(self) -> None:
        """The directories are watched, not the files: editors and Kubernetes replace files by renaming.

        A look at the files once a second finds what happened before the watch began, or where nothing can be watched.
        """
        from watchfiles import awatch

        while True:
            self._moved.clear()
            watched = {file.parent for file in self._files if file.parent.is_dir()}
            try:
                async for _ in awatch(
                    *watched,
                    watch_filter=None,
                    stop_event=self._moved,
                    recursive=False,
                    step=_STEP_MS,
                    rust_timeout=_LOOK_MS,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    if self._states() != self._loaded:
                        self.request()
            # RuntimeError is the library's own, where inotify's instances have run out.
            except (OSError, RuntimeError) as error:
                self._log.info("configuration files can not be watched, but are looked at", reason=str(error))
                while not await self._have_moved(within_s=_LOOK_MS / 1000):
                    if self._states() != self._loaded:
                        self.request()

    async def _have_moved(self, within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._moved.wait(), within_s)
        return self._moved.is_set()

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._load()

    def _states(self) -> dict[Path, tuple[int, int, int] | None]:
        """What changes when a file does; None for one that is not there."""
        return {file: _state(file) for file in self._files}

    def _read(self, old: Settings, users: ConfiguredUsers) -> tuple[Settings, Changes, ConfiguredUsers]:
        pause = _Turns()
        new = load_settings(self._path, old.tenants, pause)
        changes = diff(old, new, pause)
        new = until_restart(old, new, changes, pause)
        return new, changes, ConfiguredUsers.read(new, users, pause)

    async def _load(self) -> None:
        self._loaded = self._states()
        try:
            settings, changes, users = await asyncio.to_thread(self._read, *self._in_force())
            # Taken over even when it is the same: the secrets and certificates that it names may not be.
            self._apply(settings, changes, users)
            self._remember(settings)
            self._record.succeeded()
        except ConfigError as error:
            self._record.went_wrong()
            self._log.error(_NOT_RELOADED, problems=str(error))
        except Exception:
            self._record.went_wrong()
            self._log.exception(_NOT_RELOADED)
