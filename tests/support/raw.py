"""A client that sends bytes and reads frames, to PostgreSQL or through Gatehouse, without a driver's opinions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

import scramp

from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import Reader
from tests.support import PATIENCE_S


class Frame(NamedTuple):
    """One message from the server."""

    code: str
    body: bytes

    @property
    def tag(self) -> str:
        """The command tag of a CommandComplete."""
        return self.body.rstrip(b"\0").decode()

    @property
    def fields(self) -> backend.ErrorFields:
        """The fields of an ErrorResponse or NoticeResponse."""
        return backend.read_error_fields(self.body)

    @property
    def cells(self) -> list[bytes | None]:
        """The values of a DataRow."""
        reader = Reader(self.body)
        sizes = range(reader.int16())
        return [None if (size := reader.int32()) < 0 else reader.take(size) for _ in sizes]


class Refused(Exception):
    """The server answered the login with an ErrorResponse."""

    def __init__(self, fields: backend.ErrorFields) -> None:
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields = fields


class RawConnection:
    """A connection that is logged in.

    `status` is that of the last ReadyForQuery, `parameters` what was reported, `salt` what the password was salted with.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.parameters: dict[str, str] = {}
        self.status = ""
        self.pid = 0
        self.key = b""
        self.salt = ""

    @classmethod
    async def connect(
        cls,
        host: str,
        port: int,
        *,
        user: str,
        password: str = "",
        database: str = "postgres",
        parameters: Mapping[str, str] | None = None,
        protocol: int = codes.PROTOCOL_3_0,
    ) -> Self:
        """Log in (SCRAM-SHA-256, cleartext or trust) with extra startup `parameters`; raises `Refused`."""
        self = cls(*await asyncio.wait_for(asyncio.open_connection(host, port), PATIENCE_S))
        try:
            self.send(frontend.startup({"user": user, "database": database, **(parameters or {})}, protocol))
            await self._log_in(user, password)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Say goodbye and hang up."""
        if not self._writer.is_closing():
            self.send(frontend.TERMINATE)
        self._writer.close()
        with contextlib.suppress(OSError):  # the other side may have been faster
            await asyncio.wait_for(self._writer.wait_closed(), PATIENCE_S)

    def abort(self) -> None:
        """Vanish without a word, as a killed client does."""
        self._writer.transport.abort()

    def send(self, *messages: bytes) -> None:
        """Put these bytes on the wire in one write."""
        self._writer.write(b"".join(messages))

    async def read(self) -> Frame:
        """The next frame, whatever it is; EOFError (IncompleteReadError) when the server hung up."""
        async with asyncio.timeout(PATIENCE_S):
            header = await self._reader.readexactly(codes.HEADER_BYTES)
            body = await self._reader.readexactly(int.from_bytes(header[1:], "big") - 4)
        return self._note(Frame(chr(header[0]), body))

    async def rest(self) -> bytes:
        """All that comes until the server hangs up, as bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.read()

    async def until(self, *wanted: str) -> list[Frame]:
        """The frames up to and including the first whose code is among `wanted`."""
        frames = [await self.read()]
        while frames[-1].code not in wanted:
            frames.append(await self.read())
        return frames

    async def until_ready(self) -> list[Frame]:
        """The frames up to and including ReadyForQuery."""
        return await self.until("Z")

    async def ask(self, *messages: bytes) -> list[Frame]:
        """Send, and read up to ReadyForQuery."""
        self.send(*messages)
        return await self.until_ready()

    async def query(self, sql: str) -> list[Frame]:
        """One Query and its answer."""
        return await self.ask(frontend.query(sql.encode()))

    async def value(self, sql: str) -> str | None:
        """The first column of the first row that a Query gives; AssertionError with what came if there is none."""
        frames = await self.query(sql)
        found = rows(frames)
        assert found, frames
        return found[0][0]

    def _note(self, frame: Frame) -> Frame:
        if frame.code == "S":
            name, value = backend.read_parameter_status(frame.body)
            self.parameters[name.decode()] = value.decode()
        elif frame.code == "Z":
            self.status = frame.body.decode()
        elif frame.code == "K":
            self.pid, self.key = int.from_bytes(frame.body[:4], "big"), frame.body[4:]
        return frame

    async def _log_in(self, user: str, password: str) -> None:
        scram: scramp.ScramClient | None = None
        while (frame := await self.read()).code != "Z":
            if frame.code == "E":
                raise Refused(frame.fields)
            if frame.code != "R":
                continue
            kind, data = int.from_bytes(frame.body[:4], "big"), frame.body[4:]
            if kind == codes.AUTH_CLEARTEXT:
                self.send(frontend.password(password.encode()))
            elif kind == codes.AUTH_SASL:
                scram = scramp.ScramClient(["SCRAM-SHA-256"], user, password)
                self.send(frontend.sasl_initial_response("SCRAM-SHA-256", scram.get_client_first().encode()))
            elif kind == codes.AUTH_SASL_CONTINUE:
                assert scram
                scram.set_server_first(data.decode())
                self.salt = data.decode().split(",")[1]
                self.send(frontend.sasl_response(scram.get_client_final().encode()))
            elif kind == codes.AUTH_SASL_FINAL:
                assert scram
                scram.set_server_final(data.decode())


def letters(frames: Iterable[Frame]) -> str:
    """The frames' codes in a row, ParameterStatus left out: "TDCZ"."""
    return "".join(frame.code for frame in frames if frame.code != "S")


def tags(frames: Iterable[Frame]) -> list[str]:
    """The command tags among the frames."""
    return [frame.tag for frame in frames if frame.code == "C"]


def rows(frames: Iterable[Frame]) -> list[list[str | None]]:
    """The rows among the frames, as text."""
    found = [frame.cells for frame in frames if frame.code == "D"]
    return [[None if cell is None else cell.decode() for cell in cells] for cells in found]


def errors(frames: Iterable[Frame]) -> list[str]:
    """The SQLSTATEs of the errors among the frames."""
    return [frame.fields["C"] for frame in frames if frame.code == "E"]


def notices(frames: Iterable[Frame]) -> list[str]:
    """The SQLSTATEs of the notices among the frames."""
    return [frame.fields["C"] for frame in frames if frame.code == "N"]


def reported(frames: Iterable[Frame]) -> list[tuple[str, str]]:
    """Names and values of the ParameterStatus messages among the frames."""
    pairs = [backend.read_parameter_status(frame.body) for frame in frames if frame.code == "S"]
    return [(name.decode(), value.decode()) for name, value in pairs]
