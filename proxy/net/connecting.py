"""Connections that the proxy opens."""

from __future__ import annotations

import asyncio
import socket

from aiohappyeyeballs import start_connection


async def connect_tcp(host: str, port: int) -> socket.socket:
    """A connection to the first of the host's addresses that takes one; it does not block. Raises OSError."""
    addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def connect_unix(path: str) -> socket.socket:
    """A connection to a Unix socket; it does not block. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
    except BaseException:
        sock.close()
        raise
    return sock
