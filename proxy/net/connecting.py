"""Connections that the proxy opens."""

from __future__ import annotations

import asyncio
import socket

from aiohappyeyeballs import start_connection

from proxy.net.poller import running_poller
from proxy.net.sockets import SocketLink


async def connect_tcp(host: str, port: int) -> SocketLink:
    """A connection to the first of the host's addresses that takes one. Raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketLink(running_poller(), sock)


async def connect_unix(path: str) -> SocketLink:
    """A connection to a Unix socket. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return SocketLink(running_poller(), sock)
