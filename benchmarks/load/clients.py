"""Clients on an event loop: log in, ask one thing at a time, go."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final, cast

from benchmarks.load.wire import READY, TERMINATE, Conversation, Login, Refused, startup

HOST: Final = "127.0.0.1"


class Client(asyncio.Protocol):
    """One connection. Its futures end with the next ReadyForQuery, or with what went wrong."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._conversation = Conversation(login, secrets.token_hex(9))
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, port: int, login: Login) -> Client:
        """Logged in. Raises Refused and OSError."""
        _, client = await asyncio.get_running_loop().create_connection(lambda: cls(login), HOST, port)
        try:
            await client._waiting
        except BaseException:
            client.abort()
            raise
        return client

    async def ask(self, message: bytes) -> None:
        """Send a message and wait for the ReadyForQuery."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        await self._waiting

    def leave(self) -> None:
        """Say goodbye and close."""
        if self._transport is not None:
            self._transport.write(TERMINATE)
            self._transport.close()

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(startup(self._login))

    def data_received(self, data: bytes) -> None:
        try:
            answer, last = self._conversation.receive(data)
        except Refused as error:
            self._end(error)
            return
        if answer and self._transport is not None:
            self._transport.write(answer)
        if last == READY and not self._waiting.done():
            self._waiting.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionResetError(f"the connection was closed: {exc or 'without a word'}"))

    def _end(self, error: Exception) -> None:
        if not self._waiting.done():
            self._waiting.set_exception(error)
            self._waiting.exception()  # looked at, lest asyncio complain where nobody waits any more
