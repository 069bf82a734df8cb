"""Where stories are played: the session core alone, or whole client and server connections without sockets.

The server is `Pretend`, which answers what it is really sent, so a stage need not know what the proxy makes of a story.
What counts as the proxy's work goes through a `Performer`; the server and the bookkeeping are outside of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import yaml

from proxy.app.gatehouse import Gatehouse
from proxy.auth.scram import SaltedPasswords
from proxy.cli.demo.postgres import free_port
from proxy.client.connection import ClientConnection
from proxy.errors import ProxyError
from proxy.net.links import Link, Receiver
from proxy.server.connection import ServerConnection
from proxy.server.ledger import Ledger
from proxy.server.login import Compute, Send, ServerLogin
from proxy.server.prepared import PreparedOnServer
from proxy.settings.loading import load_settings
from proxy.wire import backend, codes
from tests.fuzz.mutations import split_frames
from tests.fuzz.pretend import Pretend
from tests.gate.stories import Steps, Story
from tests.support.playbook import BASELINE, FakeServer, Play

Action = Callable[[bytes], None]
Performer = Callable[[Action, bytes], None]
"""Calls what takes the bytes: the proxy's part of a story."""

PASSWORD: Final = "secret"
_PREPARED_ON_SERVER: Final = 100


def plainly(action: Action, data: bytes) -> None:
    """Just call it."""
    action(data)


class Stage(Protocol):
    """One client and one server with the proxy between them; what it sends gathers in two lists."""

    pretend: Pretend
    sent_to_server: list[bytes]
    sent_to_client: list[bytes]

    def from_client(self, data: bytes) -> None: ...
    def from_server(self, data: bytes) -> None: ...


class Show:
    """One story on one stage."""

    def __init__(self, stage: Stage, story: Story) -> None:
        self._stage = stage
        self._story = story
        self._play(story.prelude, plainly)

    def transaction(self, perform: Performer) -> None:
        """The story once."""
        self._play(self._story.steps, perform)

    def _play(self, steps: Steps, perform: Performer) -> None:
        stage = self._stage
        for step in steps:
            perform(stage.from_client, step)
            while stage.sent_to_server:
                sent = b"".join(stage.sent_to_server)
                stage.sent_to_server.clear()
                said = self._story.answers(stage.pretend.receive(sent))
                if said:
                    perform(stage.from_server, said)
            heard = b"".join(stage.sent_to_client)
            stage.sent_to_client.clear()
            assert heard or step[0] == codes.COPY_DATA, f"no answer to {step[:60]!r}"
            assert all(message[0] != codes.ERROR_RESPONSE for message in split_frames(heard)), heard[:200]


def _pretend() -> Pretend:
    return Pretend(b"acme", dict(BASELINE))


# The session core.


class _CoreServer(FakeServer):
    """A server connection that only notes what it is sent."""

    def write(self, data: bytes) -> None:
        self.play.sent_to_server.append(data)  # type: ignore[attr-defined]


class CoreStage(Play):
    """The session of a playbook, whose deeds nobody tells."""

    def __init__(self) -> None:
        super().__init__()
        self.pretend = _pretend()
        self.sent_to_server: list[bytes] = []
        self.sent_to_client: list[bytes] = []
        prepared = PreparedOnServer(_PREPARED_ON_SERVER)
        self.server = _CoreServer("s1", self, prepared, Ledger(self.session.replies))

    def from_client(self, data: bytes) -> None:
        self.session.client_data(data)

    def from_server(self, data: bytes) -> None:
        self.server.ledger.feed(data)
        self.session.server_data()

    def to_client(self, data: bytes) -> None:
        self.sent_to_client.append(data)

    def acquire(self) -> FakeServer:
        return self.server

    def release(self, server: object) -> None: ...
    def watch(self) -> None: ...
    def cancel_now(self) -> None: ...
    def hang_up(self, error: ProxyError | None) -> None:
        raise AssertionError(f"the session ended: {error}")


# Whole connections.


class Written(Link):
    """Takes what is written, at once."""

    def __init__(self, taken: list[bytes]) -> None:
        self._taken = taken

    def set_receiver(self, receiver: Receiver) -> None: ...
    def write(self, data: bytes) -> None:
        self._taken.append(data)

    def close(self) -> None: ...
    def abort(self) -> None: ...
    @property
    def unsent_bytes(self) -> int:
        return 0

    def set_reading(self, wanted: bool) -> None: ...


class WholeStage:
    """A client connection and the server connection that it always gets: its pool has one."""

    def __init__(
        self, client: ClientConnection, server: ServerConnection, pretend: Pretend, sent_to_client: list[bytes]
    ) -> None:
        self.pretend = pretend
        self.sent_to_server: list[bytes] = []
        self.sent_to_client = sent_to_client
        self._client = client
        self._server = server
        server.attach(Written(self.sent_to_server))

    def from_client(self, data: bytes) -> None:
        self._client.data_received(data)

    def from_server(self, data: bytes) -> None:
        self._server.data_received(data)


class Caller:
    """A client that comes, and answers what it is asked until it is logged in by SCRAM."""

    def __init__(self, gatehouse: Gatehouse, salted: SaltedPasswords) -> None:
        self.heard: list[bytes] = []
        self.client: ClientConnection
        self._gatehouse = gatehouse
        self._login = ServerLogin(
            user="app.acme",
            database="any",
            password=PASSWORD,
            parameters={},
            is_tls=False,
            channel_binding=None,
            salted=salted,
        )

    @property
    def is_in(self) -> bool:
        """Whether it is logged in."""
        return self.client.session is not None

    def come(self, perform: Performer) -> None:
        """Connect, and say who it is."""
        perform(self._connect, b"")
        perform(self.client.data_received, self._login.start())

    def answer(self, perform: Performer) -> int:
        """Answer what was heard since; returns how many bytes that was."""
        heard = b"".join(self.heard)
        self.heard.clear()
        for event in self._login.receive(heard):
            if isinstance(event, Compute):
                (event,) = self._login.computed(event.work())
            assert isinstance(event, Send), f"the login went wrong: {event}"
            perform(self.client.data_received, event.data)
        return len(heard)

    def _connect(self, _: bytes) -> None:
        self.client = self._gatehouse.client_connection(None, is_unix=True)
        self.client.connection_made(Written(self.heard), "unix")


class Theatre:
    """A Gatehouse whose clients have no sockets."""

    def __init__(self, gatehouse: Gatehouse) -> None:
        self.gatehouse = gatehouse
        self._pretend = _pretend()
        self._salted = SaltedPasswords()
        self._clients: list[ClientConnection] = []
        self._links: dict[ServerConnection, Link | None] = {}

    def servers(self) -> list[ServerConnection]:
        """All server connections."""
        return [server for servers in self.gatehouse._open.values() for server in servers]

    async def stage(self) -> WholeStage:
        """A client that is logged in, and the server."""
        client, heard = await self.log_in()
        (server,) = self.servers()
        self._links[server] = server._link
        return WholeStage(client, server, self._pretend, heard)

    async def log_in(self) -> tuple[ClientConnection, list[bytes]]:
        """A client that is logged in, and where what it hears will be."""
        caller = Caller(self.gatehouse, self._salted)
        caller.come(plainly)
        self._clients.append(caller.client)
        while not caller.is_in:
            caller.answer(plainly)
            await asyncio.sleep(0)
        caller.heard.clear()
        return caller.client, caller.heard

    def send_away(self) -> None:
        """All clients leave."""
        for client in self._clients:
            client.connection_lost(None)
        self._clients.clear()
        for server, link in self._links.items():
            if link is not None:
                server.attach(link)


@asynccontextmanager
async def theatre(folder: Path) -> AsyncIterator[Theatre]:
    """Opened, and closed at the end."""
    async with await asyncio.start_server(_let_in, "127.0.0.1", 0) as postgres:
        port = postgres.sockets[0].getsockname()[1]
        gatehouse = Gatehouse(load_settings(_config(folder, port)))
        await gatehouse.start()
        opened = Theatre(gatehouse)
        try:
            yield opened
        finally:
            opened.send_away()
            await gatehouse.stop(immediate=True)


async def _let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a PostgreSQL that trusts everybody, as far as the login."""
    try:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        statuses = [backend.parameter_status(name, value) for name, value in BASELINE.items()]
        greeting = (backend.AUTHENTICATION_OK, *statuses, backend.backend_key_data(1, b"key!"))
        writer.write(b"".join((*greeting, backend.READY[codes.IDLE])))
        await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # a look whether anybody is there
    finally:
        writer.close()


def _config(folder: Path, port: int) -> Path:
    (folder / "secret").write_text(PASSWORD)
    cluster = {"hosts": [f"127.0.0.1:{port}"], "user": "gatehouse", "tls": {"mode": "disable"}}
    document = {
        "listen": {"host": "127.0.0.1", "port": free_port()},
        "http": {"port": free_port()},
        "log": {"connections": False},
        "pool": {"size": 1},
        "clusters": {"main": cluster},
        "users": {"app": {"password": {"file": "secret"}, "tenants": "*"}},
        "tenants": {"acme": {"placement": {"model": "shared", "cluster": "main", "database": "saas"}}},
    }
    path = folder / "gatehouse.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
