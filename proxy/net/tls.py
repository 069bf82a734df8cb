"""TLS over a link.

The records are OpenSSL's, in memory; the bytes are the link's beneath. A chunk is decrypted and handed on as one, and no
buffer is kept for a connection that is idle.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from proxy.net.links import Link, Receiver
from proxy.net.sockets import SocketLink

_RECORD_BYTES: Final = 16384
"""What a record holds at most (RFC 8446, 5.1)."""


class TlsLink(Link, Receiver):
    """A link that encrypts, over a plain one that is its own from now on; `handshake` comes first.

    `server_name`: of the server that is spoken to; None for the server's side itself.
    """

    def __init__(self, plain: SocketLink, context: ssl.SSLContext, server_name: str | None = None) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_name is None, server_hostname=server_name
        )
        self._receiver: Receiver | None = None
        self._done: asyncio.Future[None] | None = None
        self._is_open = False
        self._wants_bytes = True
        self._failure: Exception | None = None
        self._has_ended = False  # the other side said that it sends no more
        self._is_closing = False
        self._is_lost = False  # the link beneath

    @property
    def tls(self) -> ssl.SSLObject:
        """What knows the other side's certificate, and the cipher."""
        return self._tls

    async def handshake(self) -> None:
        """Shake hands. Raises OSError (ssl.SSLError is one), and has closed the connection then."""
        self._done = self._plain.poller.loop.create_future()
        self._plain.set_receiver(self)
        self._plain.set_reading(True)
        self._shake_hands()
        try:
            await self._done
        finally:
            self._done = None  # or a failure would know the link that knows it: garbage that is collected late

    # Link.

    def set_receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver
        if self._is_lost:
            self._plain.poller.loop.call_soon(self._part)
        else:
            self._read_on()

    def write(self, data: bytes) -> None:
        if self._is_closing or not self._is_open:
            return
        rest: bytes | memoryview = data if len(data) <= _RECORD_BYTES else memoryview(data)
        try:
            while rest:
                # In a step of its own: mypyc would evaluate it twice inside the slice of a union.
                taken = self._tls.write(rest)
                rest = rest[taken:]
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._plain.write(self._outgoing.read())

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._is_open:
            with suppress(ssl.SSLError):  # our farewell is written; the other side's is not waited for
                self._tls.unwrap()
            self._flush()
        self._plain.close()

    def abort(self) -> None:
        self._is_closing = True
        self._plain.abort()

    @property
    def unsent_bytes(self) -> int:
        return self._plain.unsent_bytes

    def set_reading(self, wanted: bool) -> None:
        self._wants_bytes = wanted
        self._plain.set_reading(wanted)
        if wanted:
            self._read_on()

    # Receiver, of the link beneath.

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if self._is_open:
            self._read()
        else:
            self._shake_hands()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._failure = exc or self._failure
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionResetError("the connection was closed during the TLS handshake"))
        if self._receiver is not None:  # else whoever shook hands has not had a turn since
            self._part()

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.pause_writing()

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.resume_writing()

    def _part(self) -> None:
        """Tell what came last, and that it was the last."""
        self._read()
        self._is_closing = True
        receiver, self._receiver = self._receiver, None
        failure, self._failure = self._failure, None
        if receiver is not None:
            receiver.connection_lost(failure)

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.write(self._outgoing.read())

    def _shake_hands(self) -> None:
        assert self._done is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            self._flush()  # the alert that says why
            self._is_closing = True
            self._plain.close()
            if not self._done.done():
                self._done.set_exception(error)
            return
        self._flush()
        self._is_open = True
        if not self._done.done():
            self._done.set_result(None)

    def _fail(self, error: ssl.SSLError) -> None:
        self._failure = error
        self.abort()

    def _read_on(self) -> None:
        """In a turn of its own: what came while nobody wanted it."""
        if self._incoming.pending or self._tls.pending():
            self._plain.poller.loop.call_soon(self._read)

    def _read(self) -> None:
        """Decrypt all that is there, and hand it on."""
        receiver = self._receiver
        if receiver is None or not self._wants_bytes or self._is_closing or not self._is_open:
            return
        data = b""
        try:
            while self._incoming.pending or self._tls.pending():
                record = self._tls.read(_RECORD_BYTES)
                if not record:
                    self._has_ended = True
                    break
                data = data + record if data else record
        except ssl.SSLWantReadError:
            pass  # a part of a record
        except ssl.SSLError as error:
            self._flush()  # the alert that says why
            if data:
                self._hand_on(receiver, data)
            self._fail(error)
            return
        self._flush()  # a new key
        if data:
            self._hand_on(receiver, data)
        if self._has_ended:
            self.close()

    def _hand_on(self, receiver: Receiver, data: bytes) -> None:
        try:
            receiver.data_received(data)
        except Exception as error:  # in a turn of our own nobody else would see it
            self._is_closing = True
            self._failure = error
            self._plain.complain(error)


async def accept_tls(plain: SocketLink, context: ssl.SSLContext) -> TlsLink:
    """The server's side of a handshake. Raises OSError; whoever cancels it closes the connection."""
    return await _shaken(TlsLink(plain, context))


async def connect_tls(plain: SocketLink, context: ssl.SSLContext, server_name: str) -> TlsLink:
    """The client's side, which checks the certificate as the context says. Raises OSError."""
    return await _shaken(TlsLink(plain, context, server_name))


async def _shaken(link: TlsLink) -> TlsLink:
    try:
        await link.handshake()
    except BaseException:
        link.abort()
        raise
    return link
