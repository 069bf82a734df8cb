"""Sockets that listen, and what they accept."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from proxy.net.poller import READABLE, Poller, Watched
from proxy.net.sockets import SocketLink
from proxy.net.system import accept

_ACCEPTED_PER_LOOK: Final = 4
"""Then those have their turn who are connected already."""
_RETRY_S: Final = 1.0

Accept = Callable[[SocketLink, str], None]
"""Takes one connection, and whose it is: address and port, or `unix`."""


class Listener(Watched):
    """Accepts connections on a socket that listens and does not block, which is its own from now on.

    `on_error` is called when nothing can be accepted, as when descriptors run out; it is tried again a moment later.
    """

    def __init__(self, poller: Poller, sock: socket.socket, take: Accept, on_error: Callable[[OSError], None]) -> None:
        self._poller = poller
        self._sock = sock
        self._take = take
        self._on_error = on_error
        self._is_watched = False
        self._retry: asyncio.TimerHandle | None = None
        self._watch()

    @property
    def sock(self) -> socket.socket:
        """The socket, to ask it for its address."""
        return self._sock

    def ready(self, events: int) -> None:
        """Clients wait."""
        for _ in range(_ACCEPTED_PER_LOOK):
            if not self._is_watched:  # it was closed by whoever took the last one
                return
            try:
                taken = accept(self._sock)
            except OSError as error:
                self._pause()
                self._on_error(error)
                return
            if taken is None:
                return
            fd, peer = taken
            self._welcome(fd, peer)

    def _welcome(self, fd: int, peer: str) -> None:
        link = SocketLink(self._poller, fd)
        try:
            self._take(link, peer)
        except Exception as error:  # which is no reason to accept nobody, nor to keep the socket
            link.complain(error)

    def _pause(self) -> None:
        self._forget()
        self._retry = self._poller.loop.call_later(_RETRY_S, self._watch)

    def _watch(self) -> None:
        self._is_watched = True
        self._poller.watch(self._sock.fileno(), self, READABLE)

    def close(self) -> None:
        """Listen no more; idempotent."""
        if self._retry is not None:
            self._retry.cancel()
        self._forget()
        self._sock.close()

    def _forget(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._poller.forget(self._sock.fileno())
