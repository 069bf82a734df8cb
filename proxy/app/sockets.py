"""What the supervisor does about addresses: sees that ports are free, and listens on Unix sockets for all workers.

With SO_REUSEPORT a second Gatehouse of the same user would silently get half of the first one's connections, so the
ports are tried once without it.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from proxy.app.listeners import UnixSocket, can_not_listen, can_not_listen_on_socket, socket_path
from proxy.errors import ConfigError
from proxy.settings.model import Listen, Settings

_LONGEST: Final = 90
"""The address of a Unix socket has 108 bytes at most."""


def places(settings: Settings) -> Iterator[tuple[str, Listen]]:
    """Where clients connect, by the section of the configuration."""
    yield "listen", settings.listen
    for name, endpoint in settings.endpoints.items():
        yield f"endpoints.{name}", endpoint.beside(settings.listen)


def private_folder() -> Path:
    """A new folder for the workers' sockets, that only this user may enter. Raises ConfigError."""
    for parent in (None, "/dev/shm"):  # noqa: S108 - mkdtemp makes the name; a container's /tmp may be read-only
        try:
            folder = Path(tempfile.mkdtemp(prefix="gatehouse-", dir=parent))
        except OSError:
            continue
        if len(str(folder)) <= _LONGEST:
            return folder
        folder.rmdir()
    raise ConfigError(
        "there is no place for the workers' sockets", hint="Set TMPDIR to a folder with a short name, and writable."
    )


class SharedSockets:
    """The Unix sockets that all workers accept on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sockets: dict[Path, UnixSocket] = {}

    @property
    def by_path(self) -> dict[str, int]:
        """Path to file descriptor."""
        return {str(path): made.sock.fileno() for path, made in self._sockets.items()}

    @property
    def descriptors(self) -> Iterable[int]:
        """All file descriptors."""
        return self.by_path.values()

    def open(self) -> None:
        """Try the ports, make the sockets. Raises ConfigError; `close` is to be called then, too."""
        for section, listen in places(self._settings):
            try:
                _try(listen)
            except OSError as error:
                raise can_not_listen(listen, section, error) from None
            if listen.unix_socket_dir is not None:
                path = socket_path(listen)
                try:
                    made = self._sockets[path] = UnixSocket(path, listen)
                    made.sock.setblocking(False)
                except OSError as error:
                    raise can_not_listen_on_socket(path, section, error) from None

    def close(self) -> None:
        """Close and remove them; workers go on with theirs."""
        for made in self._sockets.values():
            made.sock.close()
            made.remove()
        self._sockets.clear()


def _try(listen: Listen) -> None:
    found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        socket.create_server(address, family=family, backlog=1).close()
