"""Loops to play a story on, sockets to break, and an ear that remembers what a link said."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import pytest
import uvloop

from proxy.net.links import BaseReceiver, Link
from proxy.net.loop import Loop
from proxy.net.poller import Poller, running_poller
from proxy.net.sockets import SocketLink

MakeLoop = Callable[[], asyncio.AbstractEventLoop]
Story = Callable[..., Coroutine[Any, Any, None]]


def _loop_without_epoll() -> asyncio.AbstractEventLoop:
    """As on macOS, where the loop watches each socket itself."""
    loop = asyncio.new_event_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(select, "epoll")
        loop.gatehouse_poller = Poller(loop)  # type: ignore[attr-defined]
    return loop


LOOPS: Final[dict[str, MakeLoop]] = {
    "gatehouse": Loop,
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
    "no-epoll": _loop_without_epoll,
}
_PATIENCE_S: Final = 20.0
_PLAYS: Final = 3
"""Gatehouses of other tests' fixtures, in threads of this process, open sockets too; what a story leaves open it leaves each time."""
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


def on_loops(*names: str) -> Callable[[Story], Callable[..., None]]:
    """Play an `async` test on each of these loops: nothing may be left open, and no handler may have complained."""

    def decorate(story: Story) -> Callable[..., None]:
        def test(loop: str, **given: Any) -> None:
            _open_what_stays_open(loop)
            leaves_nothing_open(lambda: _run(loop, _play(story(**given))))

        test.__name__, test.__doc__ = story.__name__, story.__doc__
        its = inspect.signature(story)
        loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
        test.__signature__ = its.replace(parameters=[*its.parameters.values(), loop])  # type: ignore[attr-defined]
        test.pytestmark = list(getattr(story, "pytestmark", []))  # type: ignore[attr-defined]
        parametrized: Callable[..., None] = pytest.mark.parametrize("loop", names)(test)
        return parametrized

    return decorate


def _run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main)


def leaves_nothing_open(action: Callable[[], None]) -> None:
    """Do it, and fail if there are descriptors behind it that were not there before."""
    for _ in range(_PLAYS):
        before = _open_descriptors()
        action()
        left_open = _open_descriptors().items() - before.items()
        if not left_open:
            return
    pytest.fail(f"each time something was left open: {left_open}")


on_every_loop: Final = on_loops(*LOOPS)
on_loops_in_python: Final = on_loops("gatehouse", "asyncio", "no-epoll")

_complaints: Final[list[dict[str, Any]]] = []
_open: Final[list[socket.socket | SocketLink]] = []


@functools.cache
def _open_what_stays_open(loop: str) -> None:
    """The first of uvloop's loops leaves a pipe for signals behind, for all that follow."""
    _run(loop, asyncio.sleep(0))


async def _play(story: Awaitable[None]) -> None:
    _complaints.clear()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _complaints.append(context))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await story
    finally:
        await close_all()
        if not isinstance(asyncio.get_running_loop(), Loop):  # which closes it itself
            running_poller().close()
    assert not _complaints, _complaints


async def close_all() -> None:
    """What a test has opened; this is for those that play on a loop of their own."""
    while _open:
        end = _open.pop()
        if isinstance(end, SocketLink):
            end.abort()
        else:
            end.close()
        if not _open:
            await turns()  # in which a test's own handlers may open more


def complaints() -> list[BaseException]:
    """What the loop's handler was told since it was asked last; a test that does not ask must cause none."""
    found = [context["exception"] for context in _complaints]
    _complaints.clear()
    return found


def _open_descriptors() -> dict[str, str]:
    """What this process has open: number and target."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue  # the folder itself
    return found


def is_quiet() -> bool:
    """Whether the loop would sleep now: nothing that it watches is ready."""
    loop: Any = asyncio.get_running_loop()
    inside = loop._get_backend_id() if hasattr(loop, "_get_backend_id") else loop._selector.fileno()
    epoll = select.epoll.fromfd(os.dup(inside))
    try:
        return not epoll.poll(0)
    finally:
        epoll.close()


async def turns(count: int = 3) -> None:
    """Let the loop do what it has to do now."""
    for _ in range(count):
        await asyncio.sleep(0)


class Ear(BaseReceiver):
    """Remembers what it heard; a test waits for it, or has it do something then."""

    def __init__(self, link: Link | None = None) -> None:
        self.heard = bytearray()
        self.losses: list[Exception | None] = []
        self.flow: list[str] = []
        self.on_data: Callable[[bytes], object] = _nothing
        self.on_loss: Callable[[], object] = _nothing
        self.on_pause: Callable[[], object] = _nothing
        self.on_resume: Callable[[], object] = _nothing
        self.takes_bytes = asyncio.Event()
        self.takes_bytes.set()
        self._news = asyncio.Event()
        if link is not None:
            link.set_receiver(self)

    def data_received(self, data: bytes) -> None:
        assert not self.losses, "bytes behind the end"
        self.heard += data
        self._news.set()
        self.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.losses.append(exc)
        self._news.set()
        self.on_loss()

    def pause_writing(self) -> None:
        self.flow.append("pause")
        self.takes_bytes.clear()
        self._news.set()
        self.on_pause()

    def resume_writing(self) -> None:
        self.flow.append("resume")
        self.takes_bytes.set()
        self._news.set()
        self.on_resume()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until what it heard makes this true."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    async def hears(self, expected: bytes) -> None:
        """Wait for these bytes, and no others."""
        await self.until(lambda: len(self.heard) >= len(expected) or self.losses)
        assert self.heard == expected

    async def loss(self) -> Exception | None:
        """Wait for the end; why it came."""
        await self.until(lambda: self.losses)
        await turns()
        assert len(self.losses) == 1
        return self.losses[0]


def _nothing(*_: object) -> None:
    """What an ear does that only listens."""


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection through this machine's network."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection by a Unix socket."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


PAIRS: Final = {"tcp": tcp_pair, "unix": unix_pair}
MakePair = Callable[[], tuple[socket.socket, socket.socket]]
on_both_families: Final = pytest.mark.parametrize("make_pair", PAIRS.values(), ids=PAIRS.keys())


def linked(make_pair: MakePair = unix_pair) -> tuple[SocketLink, socket.socket]:
    """A link, and the other end as a bare socket; both are closed after the test."""
    one, other = make_pair()
    _open.append(other)
    return link_over(one), other


def links(make_pair: MakePair = unix_pair) -> tuple[SocketLink, SocketLink]:
    """A link at either end; both are closed after the test."""
    one, other = make_pair()
    return link_over(one), link_over(other)


def to_close(*ends: socket.socket | SocketLink) -> None:
    """Close these after the test."""
    _open.extend(ends)


def link_over(sock: socket.socket) -> SocketLink:
    """A link over this socket; it is closed after the test."""
    link = SocketLink(running_poller(), sock.detach())
    _open.append(link)
    return link


def reset(sock: socket.socket) -> None:
    """Close a TCP socket the hard way."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


async def receive_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    loop = asyncio.get_running_loop()
    heard = bytearray()
    while data := await loop.sock_recv(sock, 262144):
        heard += data
    return bytes(heard)


def fill(link: Link) -> bytes:
    """Write until the kernel takes no more; what was written."""
    piece = bytes(range(256)) * 16
    written = bytearray()
    while not link.unsent_bytes:
        link.write(piece)
        written += piece
    return bytes(written)
