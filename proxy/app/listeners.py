"""Where clients connect: TCP ports and Unix sockets.

Several processes share a TCP port by SO_REUSEPORT: the kernel deals out connections. A Unix socket has no such option;
there the supervisor listens and each worker accepts.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

from proxy.errors import ConfigError
from proxy.server.sockets import keep_alive
from proxy.settings.model import Keepalive, Listen

_KEEPALIVE: Final = Keepalive()

Factory = Callable[[bool], object]
"""Makes the protocol of one connection; the argument says whether it came by the Unix socket."""


class Listeners:
    """The open sockets."""

    def __init__(self, inherited: Mapping[str, int] | None = None) -> None:
        """`inherited`: of a worker, the Unix sockets that the supervisor listens on, path to file descriptor."""
        self._inherited = inherited
        self._servers: list[asyncio.Server] = []
        self._socket_paths: list[Path] = []

    @property
    def port(self) -> int:
        """The TCP port of the first place; 0 while there is none."""
        for server in self._servers:
            for sock in server.sockets:
                address = sock.getsockname()
                if isinstance(address, tuple):
                    return int(address[1])
        return 0

    async def open(self, listen: Listen, factory: Factory, section: str = "listen") -> None:
        """Listen in one more place, that of this section of the configuration.

        Raises ConfigError for an address that can not be had; `close` is to be called then, too.
        """
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: cast(asyncio.Protocol, factory(False)),
                listen.host,
                listen.port,
                backlog=listen.backlog,
                reuse_port=self._inherited is not None or None,
            )
        except OSError as error:
            raise can_not_listen(listen, section, error) from None
        self._servers.append(server)
        for sock in server.sockets:
            # A client that vanished without a word may hold a server, and locks. Connections inherit this.
            keep_alive(sock, _KEEPALIVE)
        if listen.unix_socket_dir is not None:
            await self._open_unix(listen, factory, section)

    async def _open_unix(self, listen: Listen, factory: Factory, section: str) -> None:
        loop = asyncio.get_running_loop()
        path = socket_path(listen)
        if self._inherited is not None:
            sock = socket.socket(fileno=self._inherited[str(path)])
            self._servers.append(
                await loop.create_unix_server(
                    lambda: cast(asyncio.Protocol, factory(True)), sock=sock, backlog=listen.backlog
                )
            )
            return
        try:
            # A socket that a killed process left is replaced: the TCP port is ours, so nobody listens there.
            server = await loop.create_unix_server(
                lambda: cast(asyncio.Protocol, factory(True)), str(path), backlog=listen.backlog
            )
            self._servers.append(server)
            self._socket_paths.append(path)
            path.chmod(int(listen.unix_socket_mode, 8))
        except OSError as error:
            raise can_not_listen_on_socket(path, section, error) from None

    def close(self) -> None:
        """Take no new connections; those there are stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path in self._socket_paths:
            path.unlink(missing_ok=True)
        self._socket_paths.clear()


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
    return ConfigError(
        f"can not listen on {path}: {_reason(error)}",
        hint=f"{section}.unix_socket_dir must be a directory that Gatehouse may write to.",
    )


def _reason(error: OSError) -> str:
    # asyncio wraps the reason in a sentence of its own; name resolution errors have negative numbers.
    number = error.errno or 0
    return (os.strerror(number) if number > 0 else str(error.strerror or error)).lower()
