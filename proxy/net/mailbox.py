"""A link's bytes for a coroutine that waits for them, as a login does."""

from __future__ import annotations

import asyncio

from proxy.net.links import Link, Receiver


class Mailbox(Receiver):
    """Keeps one chunk until it is asked for; what comes behind it waits with the kernel."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._chunk = b""
        self._is_lost = False
        self._error: Exception | None = None
        self._news = asyncio.Event()
        link.set_receiver(self)

    async def read(self) -> bytes:
        """The next bytes; empty at the end. Raises what ended the connection."""
        while not self._chunk and not self._is_lost:
            self._link.set_reading(True)
            self._news.clear()
            await self._news.wait()
        chunk, self._chunk = self._chunk, b""
        if not chunk and self._error is not None:
            raise self._error
        return chunk

    def hand_over(self, receiver: Receiver) -> None:
        """From now on `receiver` hears what comes, and what has not been read."""
        if not self._is_lost:
            self._link.set_receiver(receiver)
            self._link.set_reading(True)  # before it hears anything, for it may not want more
        if self._chunk:
            receiver.data_received(self._chunk)
        if self._is_lost:
            receiver.connection_lost(self._error)

    def data_received(self, data: bytes) -> None:
        self._chunk += data
        self._link.set_reading(False)
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._error = exc
        self._news.set()

    def pause_writing(self) -> None:
        """What a login says fits into any buffer."""

    def resume_writing(self) -> None:
        """As above."""
