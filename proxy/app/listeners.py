"""Where clients connect: TCP ports and Unix sockets.

Several processes share a TCP port by SO_REUSEPORT: the kernel deals out connections. A Unix socket has no such option;
there the supervisor listens and each worker accepts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from proxy.errors import ConfigError
from proxy.net.listening import Listener
from proxy.net.poller import running_poller
from proxy.net.sockets import SocketLink
from proxy.server.sockets import keep_alive
from proxy.settings.model import Keepalive, Listen

_KEEPALIVE: Final = Keepalive()

Accept = Callable[[bool, SocketLink, str], None]
"""Takes one connection: whether it came by the Unix socket, the link, and who it is for the log."""


class Listeners:
    """The open sockets. `inherited`: of a worker, the Unix sockets that the supervisor listens on, path to descriptor."""

    def __init__(self, log: FilteringBoundLogger, inherited: Mapping[str, int] | None = None) -> None:
        self._log = log
        self._inherited = inherited
        self._listeners: list[Listener] = []
        self._unix_sockets: list[UnixSocket] = []

    @property
    def port(self) -> int:
        """The TCP port of the first place; 0 while there is none."""
        for listener in self._listeners:
            address = listener.sock.getsockname()
            if isinstance(address, tuple):
                return int(address[1])
        return 0

    async def open(self, listen: Listen, accept: Accept, section: str = "listen") -> None:
        """Listen in one more place, that of this section of the configuration.

        Raises ConfigError for an address that can not be had; `close` is to be called then, too.
        """
        try:
            await self._open_tcp(listen, accept)
        except OSError as error:
            raise can_not_listen(listen, section, error) from None
        if listen.unix_socket_dir is not None:
            path = socket_path(listen)
            try:
                self._open_unix(listen, path, accept)
            except OSError as error:
                raise can_not_listen_on_socket(path, section, error) from None

    async def _open_tcp(self, listen: Listen, accept: Accept) -> None:
        """All addresses of the host."""
        found = await asyncio.get_running_loop().getaddrinfo(
            listen.host or None, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            sock = socket.create_server(
                address, family=family, backlog=listen.backlog, reuse_port=self._inherited is not None
            )
            # Connections inherit both. A client that vanished without a word may hold a server, and locks.
            keep_alive(sock, _KEEPALIVE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._listen(sock, partial(accept, False))

    def _open_unix(self, listen: Listen, path: Path, accept: Accept) -> None:
        if self._inherited is not None:
            sock = socket.socket(fileno=self._inherited[str(path)])
        else:
            made = UnixSocket(path, listen)
            self._unix_sockets.append(made)
            sock = made.sock
        self._listen(sock, partial(accept, True))

    def _listen(self, sock: socket.socket, take: Callable[[SocketLink, str], None]) -> None:
        sock.setblocking(False)
        self._listeners.append(Listener(running_poller(), sock, take, self._can_not_accept))

    def _can_not_accept(self, error: OSError) -> None:
        self._log.error(
            "clients can not be accepted",
            reason=_reason(error),
            hint="If descriptors have run out, raise the limit on open files (ulimit -n, LimitNOFILE=).",
        )

    def close(self) -> None:
        """Take no new connections; those there are stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for made in self._unix_sockets:
            made.remove()
        self._unix_sockets.clear()


class UnixSocket:
    """A Unix socket that listens at `path`, in place of what a killed process left there.

    Raises OSError: EADDRINUSE where anybody answers.
    """

    def __init__(self, path: Path, listen: Listen) -> None:
        if _is_answered(path):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._path = path
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            # Renamed into place: nobody finds it with other rights than it shall have.
            made = path.with_name(f"{path.name}.new")
            made.unlink(missing_ok=True)
            self.sock.bind(str(made))
            made.chmod(int(listen.unix_socket_mode, 8))
            self.sock.listen(listen.backlog)
            self._made = _identity(made)
            made.rename(path)
        except BaseException:
            self.sock.close()
            raise

    def remove(self) -> None:
        """Take it away, unless somebody else's is there by now; what was connected stays so."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._made:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except BlockingIOError:  # too many wait there already
            return True
        except OSError:
            return False
        return True


def socket_path(listen: Listen) -> Path:
    """Where the Unix socket of a place is that has one."""
    return Path(listen.unix_socket_dir or "") / f".s.PGSQL.{listen.port}"


def can_not_listen(listen: Listen, section: str, error: OSError) -> ConfigError:
    """What to say when a TCP port can not be had."""
    return ConfigError(
        f"can not listen on {listen.host}:{listen.port}: {_reason(error)}",
        hint=f"Stop what listens there, or set {section}.port to a free port and {section}.host to an address of "
        "this machine.",
    )


def can_not_listen_on_socket(path: Path, section: str, error: OSError) -> ConfigError:
    """What to say when a Unix socket can not be made."""
    if error.errno == errno.EADDRINUSE:
        hint = f"Stop what listens there, or set {section}.port or {section}.unix_socket_dir to another one."
    else:
        hint = f"{section}.unix_socket_dir must be a directory that Gatehouse may write to."
    return ConfigError(f"can not listen on {path}: {_reason(error)}", hint=hint)


def _reason(error: OSError) -> str:
    # asyncio wraps the reason in a sentence of its own; name resolution errors have negative numbers.
    number = error.errno or 0
    return (os.strerror(number) if number > 0 else str(error.strerror or error)).lower()
