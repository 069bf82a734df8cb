"""Where clients connect: the TCP port and the Unix socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from proxy.errors import ConfigError
from proxy.settings.model import Listen

Factory = Callable[[bool], asyncio.Protocol]
"""Makes the protocol of one connection; the argument says whether it came by the Unix socket."""


class Listeners:
    """The open sockets."""

    def __init__(self) -> None:
        self._servers: list[asyncio.Server] = []
        self._socket_path: Path | None = None

    @property
    def port(self) -> int:
        """The TCP port; 0 while there is none."""
        for server in self._servers:
            for sock in server.sockets:
                address = sock.getsockname()
                if isinstance(address, tuple):
                    return int(address[1])
        return 0

    async def open(self, listen: Listen, factory: Factory) -> None:
        """Listen. Raises ConfigError for an address that can not be had; `close` is to be called then, too."""
        loop = asyncio.get_running_loop()
        try:
            self._servers.append(
                await loop.create_server(lambda: factory(False), listen.host, listen.port, backlog=listen.backlog)
            )
        except OSError as error:
            raise ConfigError(
                f"can not listen on {listen.host}:{listen.port}: {_reason(error)}",
                hint="Stop what listens there, or set listen.port to a free port and listen.host to an address of "
                "this machine.",
            ) from None
        if listen.unix_socket_dir is not None:
            await self._open_unix(listen, Path(listen.unix_socket_dir), factory)

    async def _open_unix(self, listen: Listen, directory: Path, factory: Factory) -> None:
        loop = asyncio.get_running_loop()
        path = directory / f".s.PGSQL.{self.port}"
        try:
            # A socket that a killed process left is replaced: the TCP port is ours, so nobody listens there.
            server = await loop.create_unix_server(lambda: factory(True), str(path), backlog=listen.backlog)
            self._servers.append(server)
            self._socket_path = path
            path.chmod(int(listen.unix_socket_mode, 8))
        except OSError as error:
            raise ConfigError(
                f"can not listen on {path}: {_reason(error)}",
                hint="listen.unix_socket_dir must be a directory that Gatehouse may write to.",
            ) from None

    def close(self) -> None:
        """Take no new connections; those there are stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
            self._socket_path = None


def _reason(error: OSError) -> str:
    # asyncio wraps the reason in a sentence of its own; name resolution errors have negative numbers.
    number = error.errno or 0
    return (os.strerror(number) if number > 0 else str(error.strerror or error)).lower()
