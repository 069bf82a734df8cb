"""TLS, as a link: the event loop's own transport, which does the handshake and the records."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from proxy.net.links import Link, Receiver
from proxy.net.sockets import SocketLink


class TlsLink(Link):
    """A link over a transport of asyncio's, whose protocol it is (not by its base class, which is not compiled)."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._wants_bytes = False
        self._is_lost = False

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()  # until somebody hears

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._receiver is not None:
            self._receiver.data_received(data)

    def eof_received(self) -> bool | None:
        """The other side closed its half: the transport closes when all is sent."""
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._is_lost = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side does not take as much as is written."""
        if self._receiver is not None:
            self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._receiver is not None:
            self._receiver.resume_writing()

    # Link.

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, to ask it for certificates and the like."""
        assert self._transport is not None
        return self._transport

    def set_receiver(self, receiver: Receiver) -> None:
        is_first = self._receiver is None
        self._receiver = receiver
        if self._is_lost:
            asyncio.get_running_loop().call_soon(self.connection_lost, None)
        elif is_first:
            self.set_reading(True)

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    @property
    def unsent_bytes(self) -> int:
        return self.transport.get_write_buffer_size()

    def set_reading(self, wanted: bool) -> None:
        if wanted == self._wants_bytes or self.transport.is_closing():
            return
        self._wants_bytes = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()


async def accept_tls(plain: SocketLink, context: ssl.SSLContext) -> TlsLink:
    """The server's side of a handshake on a link that is of no use after it. Raises OSError (ssl.SSLError is one).

    Nothing may have been read that the handshake needs. Whoever cancels this closes the connection.
    """
    link = TlsLink()
    sock = plain.detach()
    try:
        await plain.poller.loop.connect_accepted_socket(lambda: cast(asyncio.Protocol, link), sock, ssl=context)
    except BaseException:
        sock.close()
        raise
    return link


async def connect_tls(plain: SocketLink, context: ssl.SSLContext, server_name: str) -> TlsLink:
    """The client's side. Raises OSError."""
    link = TlsLink()
    sock = plain.detach()
    try:
        await plain.poller.loop.create_connection(
            lambda: cast(asyncio.Protocol, link), sock=sock, ssl=context, server_hostname=server_name
        )
    except BaseException:
        sock.close()
        raise
    return link
