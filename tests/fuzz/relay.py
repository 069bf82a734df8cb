"""A man in the middle between Gatehouse and PostgreSQL, who spoils what the server says."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from tests.fuzz import corpus
from tests.fuzz.mutations import split_frames, spoil
from tests.support.faults import FaultProxy

_READY: Final = b"Z\0\0\0\5I"
_CHUNK_BYTES: Final = 64 * 1024


class SpoilingRelay(FaultProxy):
    """Spoils each piece of a server's answers with the probability `rate`; logins only if `spoils_logins`.

    All three may be changed at any time.
    """

    def __init__(self, host: str, port: int, seed: int) -> None:
        super().__init__(host, port)
        self.rate = 0.0
        self.spoils_logins = False
        self.spoiled = 0
        self._random = Random(seed)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_down: bool) -> None:
        is_logged_in = False
        while data := await reader.read(_CHUNK_BYTES):
            is_in_play = is_down and (is_logged_in or self.spoils_logins)
            is_logged_in = is_logged_in or _READY in data
            if is_in_play and self._random.random() < self.rate:
                data = self._spoiled(data)
            writer.write(data)
            await writer.drain()

    def _spoiled(self, data: bytes) -> bytes:
        self.spoiled += 1
        return b"".join(spoil(self._random, split_frames(data), corpus.BACKEND_DONORS, corpus.BACKEND_TYPES))
