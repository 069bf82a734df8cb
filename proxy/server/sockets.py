"""Socket options of connections."""

from __future__ import annotations

import socket

from proxy.settings.model import Keepalive


def keep_alive(sock: socket.socket, keepalive: Keepalive) -> None:
    """Have the kernel find out when the other side vanished without a word; what a listening socket accepts inherits it.

    Times are seconds; Linux and macOS names differ.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    options = (
        (idle, keepalive.idle_s),
        (getattr(socket, "TCP_KEEPINTVL", None), keepalive.interval_s),
        (getattr(socket, "TCP_KEEPCNT", None), keepalive.count),
    )
    for option, value in options:
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, max(1, round(value)))
