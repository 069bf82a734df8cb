"""Everybody who comes is taken in, now or a moment later, and whoever can not be taken in costs nobody else anything."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.net.listening import Listener
from proxy.net.poller import running_poller
from proxy.net.sockets import SocketLink
from tests.unit.net.wires import Ear, complaints, is_quiet, on_every_loop, on_loops_in_python, reset, to_close, turns


class _Door:
    """A listener, and who came in by it."""

    def __init__(self, sock: socket.socket) -> None:
        self.address = sock.getsockname()
        self.family = sock.family
        sock.setblocking(False)
        to_close(sock)
        self.ears: list[Ear] = []
        self.peers: list[str] = []
        self.errors: list[OSError] = []
        self.when_taken: Callable[[SocketLink], object] = _nothing
        self.when_failed: Callable[[], object] = _nothing
        self._news = asyncio.Event()
        self.listener = Listener(running_poller(), sock, self._take, self._fail)

    def knock(self) -> socket.socket:
        """A client that connects."""
        client = socket.socket(self.family)
        to_close(client)
        client.connect(self.address)
        client.setblocking(False)
        return client

    async def has_taken(self, count: int) -> None:
        while len(self.peers) < count:
            self._news.clear()
            await self._news.wait()

    def _take(self, link: SocketLink, peer: str) -> None:
        self.peers.append(peer)
        self._news.set()
        self.when_taken(link)
        to_close(link)
        self.ears.append(Ear(link))

    def _fail(self, error: OSError) -> None:
        self.errors.append(error)
        self.when_failed()


def _nothing(*_: object) -> None:
    """Let them in."""


def _tcp() -> _Door:
    return _Door(socket.create_server(("127.0.0.1", 0), backlog=200))


def _unix(folder: Path) -> _Door:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(folder / "socket"))
    sock.listen(200)
    return _Door(sock)


@contextmanager
def _no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _let_time_pass(monkeypatch: pytest.MonkeyPatch, passed_s: float) -> None:
    """For the loop's timers."""
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time.monotonic() + passed_s)


@on_every_loop
async def test_all_of_a_backlog_are_taken_in_and_their_bytes_heard() -> None:
    door = _tcp()
    clients = [door.knock() for _ in range(50)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    await door.has_taken(50)
    assert sorted(door.peers) == sorted(f"127.0.0.1:{client.getsockname()[1]}" for client in clients)
    while not all(ear.heard for ear in door.ears):
        await turns(1)
    assert sorted(int(ear.heard) for ear in door.ears) == list(range(50))
    late = door.knock()
    await door.has_taken(51)
    assert door.peers[-1] == f"127.0.0.1:{late.getsockname()[1]}"
    door.listener.close()


@on_every_loop
async def test_clients_of_a_unix_socket_are_taken_in(tmp_path: Path) -> None:
    door = _unix(tmp_path)
    clients = [door.knock() for _ in range(10)]
    await door.has_taken(10)
    assert door.peers == ["unix"] * 10
    clients[0].send(b"hello")
    await door.ears[0].hears(b"hello")
    door.listener.close()


@on_every_loop
async def test_who_has_left_before_he_was_taken_in_is_a_link_that_ends() -> None:
    door = _tcp()
    door.knock().close()
    reset(door.knock())
    staying = door.knock()
    await door.has_taken(3)
    await door.ears[0].loss()
    await door.ears[1].loss()
    staying.send(b"hello")
    await door.ears[2].hears(b"hello")
    assert not door.errors
    door.listener.close()


@on_every_loop
async def test_who_is_connected_already_is_served_while_others_come() -> None:
    door = _tcp()
    first = door.knock()
    await door.has_taken(1)
    for _ in range(100):
        door.knock()
    first.send(b"hello")
    await door.ears[0].hears(b"hello")
    assert len(door.peers) < 101
    await door.has_taken(101)
    door.listener.close()


@on_every_loop
async def test_when_descriptors_run_out_it_is_said_once_and_the_loop_sleeps() -> None:
    door = _tcp()
    door.knock()
    with _no_descriptors():
        await turns(10)
    assert [error.errno for error in door.errors] == [errno.EMFILE]
    assert not door.peers
    await turns()
    assert is_quiet()
    door.listener.close()


@on_loops_in_python
async def test_when_there_are_descriptors_again_clients_are_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    door = _tcp()
    door.knock()
    door.knock()
    with _no_descriptors():
        await turns()
        _let_time_pass(monkeypatch, 2)
        await turns()
    assert [error.errno for error in door.errors] == [errno.EMFILE] * 2
    _let_time_pass(monkeypatch, 4)
    await door.has_taken(2)
    door.listener.close()


@on_loops_in_python
async def test_a_listener_that_is_closed_while_it_pauses_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    door = _tcp()
    client = door.knock()
    with _no_descriptors():
        await turns()
    assert door.errors
    door.listener.close()
    _let_time_pass(monkeypatch, 2)
    await turns()
    assert not door.peers
    with pytest.raises(ConnectionRefusedError):
        door.knock()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@on_every_loop
async def test_a_listener_may_be_closed_by_whoever_is_told_that_it_can_not_accept() -> None:
    door = _tcp()
    door.when_failed = door.listener.close
    door.knock()
    with _no_descriptors():
        await turns()
    assert len(door.errors) == 1
    with pytest.raises(ConnectionRefusedError):
        door.knock()


@on_every_loop
async def test_a_complaint_that_fails_does_not_make_the_loop_turn_without_end() -> None:
    door = _tcp()
    fault = RuntimeError("a fault")

    def fail() -> None:
        raise fault

    door.when_failed = fail
    door.knock()
    with _no_descriptors():
        await turns(10)
    await turns()
    assert len(door.errors) == 1
    assert complaints() == [fault]
    assert is_quiet()
    door.listener.close()


@pytest.mark.parametrize("fault", [RuntimeError("a fault"), OSError(errno.EMFILE, "of another kind")])
@on_every_loop
async def test_a_client_that_can_not_be_served_is_disconnected_and_the_others_are_served(fault: Exception) -> None:
    door = _tcp()

    def fail_once(_: SocketLink) -> None:
        door.when_taken = _nothing
        raise fault

    door.when_taken = fail_once
    first, second = door.knock(), door.knock()
    await door.has_taken(2)
    assert await asyncio.get_running_loop().sock_recv(first, 1) == b""
    second.send(b"hello")
    await door.ears[0].hears(b"hello")
    assert complaints() == [fault]
    assert not door.errors
    door.listener.close()


@on_every_loop
async def test_a_listener_that_is_closed_by_the_first_it_takes_in_takes_no_other() -> None:
    door = _tcp()
    door.when_taken = lambda _: door.listener.close()
    first, second = door.knock(), door.knock()
    await turns(5)
    assert len(door.peers) == 1
    first.send(b"hello")
    await door.ears[0].hears(b"hello")
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    assert not door.errors


@on_every_loop
async def test_a_listener_that_is_closed_refuses_and_keeps_those_it_has() -> None:
    door = _tcp()
    client = door.knock()
    await door.has_taken(1)
    assert door.listener.sock.getsockname() == door.address
    door.listener.close()
    door.listener.close()
    with pytest.raises(ConnectionRefusedError):
        door.knock()
    client.send(b"hello")
    await door.ears[0].hears(b"hello")
