"""Run a PostgreSQL of our own: initialise, copy, start, stop, leave nothing behind.

For demonstrations and tests: it listens on 127.0.0.1 with SCRAM, and is fast instead of durable. `initdb` runs once
into a template that a cache keeps; a new cluster is a copy of it with a password of its own. PostgreSQL is our child
process. A small shell beside it waits on a pipe for the end of our life, so that even a killed parent leaves neither a
server nor files.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from proxy.cli.demo.binaries import Account, LaunchError, PostgresBinaries, clean_environment

__all__ = ["Account", "LaunchError", "LocalPostgres", "PostgresBinaries", "cluster_template", "free_port"]

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
POLL_INTERVAL_S: Final = 0.02
HOST: Final = "127.0.0.1"
SUPERUSER: Final = "postgres"

FAST_AND_CARELESS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
}
"""Settings of a server whose data nobody will miss."""

# Waits for the end of our life (the pipe closes), then ends the server and removes its folder. The pid is checked
# against postmaster.pid, because the number may belong to someone else by then.
WATCHDOG: Final = r"""
read -r _
[ "$(head -n 1 "$2/postmaster.pid" 2>/dev/null)" = "$1" ] && kill -QUIT "$1" 2>/dev/null
n=0; while kill -0 "$1" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
rm -rf -- "$3"
"""


_given_ports: Final[deque[int]] = deque(maxlen=100)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago, and none that was told lately: the kernel may name the
    same one twice in a row."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in _given_ports:
            _given_ports.append(port)
            return port


def cluster_template(binaries: PostgresBinaries, cache: Path, account: Account) -> Path:
    """An initialised, never started data folder of this version in `cache`, made if it is not there.

    Authentication is SCRAM only, the superuser is `postgres`, and its password is known to nobody: every copy gets its
    own. Raises `LaunchError` if `initdb` fails.
    """
    template = cache / f"template-{binaries.version}-{account.uid or os.geteuid()}"
    if (template / "PG_VERSION").is_file():
        return template
    partial = cache / f"{template.name}.{os.getpid()}"
    try:
        _initdb(binaries, partial, account)
        partial.rename(template)
    except OSError:
        # Another start was faster; its template is as good. (A rename onto a filled folder fails.)
        if not (template / "PG_VERSION").is_file():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return template


def _initdb(binaries: PostgresBinaries, data_dir: Path, account: Account) -> None:
    password_file = data_dir.with_name(f"{data_dir.name}.password")
    data_dir.mkdir(mode=0o700)
    try:
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
        account.give(data_dir)
        account.give(password_file)
        options = [f"--username={SUPERUSER}", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        done = account.run(
            [binaries.program("initdb"), *options, "--auth=scram-sha-256", f"--pwfile={password_file}", "-D", data_dir]
        )
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode != 0:
        raise _failure("PostgreSQL could not be initialised", done.stderr or done.stdout, data_dir)


class LocalPostgres:
    """One PostgreSQL cluster of our own on 127.0.0.1; a context manager that starts, stops and removes it.

    `home` is a folder that this cluster has to itself, and that `remove()` deletes. Synchronous; may be used from any
    thread. Every method raises `LaunchError` with what PostgreSQL said when it does not do as asked.
    """

    def __init__(
        self,
        binaries: PostgresBinaries,
        home: Path,
        *,
        port: int = 0,
        template: Path,
        account: Account | None = None,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = (),
    ) -> None:
        """`port` 0 takes a free one; `settings` are added to the server's; `hba` lines go in front of pg_hba.conf's."""
        self.binaries = binaries
        self.home = home
        self.host = HOST
        self.port = port or free_port()
        self.superuser = SUPERUSER
        self.password = secrets.token_urlsafe(18)
        self.data_dir = home / "data"
        self.log_file = home / "postgresql.log"
        self._template = template
        self._account = account or Account.suitable()
        self._settings = {**FAST_AND_CARELESS, **(settings or {})}
        self._hba = tuple(hba)
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._server.pid if self._server and self._server.poll() is None else None

    def create(self) -> None:
        """Copy the template to `home` and give the superuser its password; nothing runs yet."""
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        # cp keeps owners and modes, and is four times as fast as copying file by file from here.
        copied = Account().run(["cp", "-Rp", self._template, self.data_dir])
        if copied.returncode != 0:
            raise _failure("the new cluster could not be copied", copied.stderr, self.home)
        if self._hba:
            old = (self.data_dir / "pg_hba.conf").read_text()
            self.write_file("pg_hba.conf", ("\n".join(self._hba) + "\n" + old).encode())
        self._set_password()

    def start(self) -> None:
        """Start the server and wait until it takes connections, at most `START_TIMEOUT_S`."""
        command = [str(self.binaries.program("postgres")), "-D", str(self.data_dir)]
        for name, value in self._server_settings().items():
            command += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=clean_environment(),
                # Its own session: Ctrl-C in the terminal is for us; we stop the server when the proxy has let go of it.
                start_new_session=True,
                user=self._account.uid,
                group=self._account.uid,
                extra_groups=None if self._account.uid is None else [],
            )
        self._watchdog = self._start_watchdog(self._server.pid)
        try:
            self._wait_until_ready(self._server)
        except BaseException:
            self.stop(immediate=True)
            raise

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: fast (clients are disconnected), or at once; killed if it does not obey. Safe to repeat."""
        if server := self._server:
            server.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            try:
                server.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            self._server = None
        if watchdog := self._watchdog:
            watchdog.kill()
            watchdog.wait()
            if watchdog.stdin:
                watchdog.stdin.close()
            self._watchdog = None

    def restart(self, *, immediate: bool = False) -> None:
        """Stop and start on the same port."""
        self.stop(immediate=immediate)
        self.start()

    def remove(self) -> None:
        """Delete everything that belongs to the cluster."""
        shutil.rmtree(self.home, ignore_errors=True)

    def write_file(self, name: str, content: bytes) -> Path:
        """Put a file that only the server's account reads into the data folder (a key, a configuration file)."""
        path = self.data_dir / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        self._account.give(path)
        return path

    def __enter__(self) -> Self:
        try:
            self.create()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self.remove()

    def _set_password(self) -> None:
        # Single-user mode: the template's password is nobody's, and no door is open while the new one is set.
        sql = f"ALTER ROLE {SUPERUSER} PASSWORD '{self.password}'\n"
        postgres = self.binaries.program("postgres")
        done = self._account.run([postgres, "--single", "-F", "-j", "-D", self.data_dir, "postgres"], stdin=sql + "\n")
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise _failure("the new cluster could not be prepared", done.stderr, self.home)

    def _server_settings(self) -> dict[str, str]:
        # No Unix socket: its path may be at most 107 bytes long, and folders here can be deep.
        fixed = {"listen_addresses": HOST, "port": str(self.port), "unix_socket_directories": ""}
        return {**self._settings, **fixed}

    def _start_watchdog(self, pid: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            ["/bin/sh", "-c", WATCHDOG, "sh", str(pid), str(self.data_dir), str(self.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._says_ready(server.pid):
            if server.poll() is not None:
                raise self._start_failure()
            if time.monotonic() > deadline:
                raise _failure(f"PostgreSQL was not ready after {START_TIMEOUT_S:.0f} s", self._log_tail(), self.home)
            time.sleep(POLL_INTERVAL_S)

    def _says_ready(self, pid: int) -> bool:
        # What pg_ctl looks at: line 1 is the pid, line 8 the state. A connection alone would not tell our server from a
        # stranger's that holds the port.
        with contextlib.suppress(OSError):
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    def _start_failure(self) -> LaunchError:
        log = self._log_tail()
        if "could not bind" in log:
            return LaunchError(
                f"PostgreSQL could not listen on {HOST}:{self.port}: the port is taken",
                "Choose another port, or let a free one be chosen.",
            )
        return _failure("PostgreSQL did not start", log, self.home)

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-12:])
        return ""


def _failure(what: str, output: str, folder: Path) -> LaunchError:
    if "No space left on device" in output:
        return LaunchError(f"{what}: no space left on the device that holds {folder}", "Free about 100 MB there.")
    return LaunchError(f"{what}: {output.strip() or 'no reason given'}")
