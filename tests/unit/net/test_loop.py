"""The loop is asyncio's in all that it does itself, and on time, whether our sockets are busy or all of them sleep."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvloop

from proxy.app.loop import loop_factory, run
from proxy.errors import ConfigError
from proxy.net.loop import Loop
from proxy.net.sockets import SocketLink
from tests.unit.net.wires import (
    Ear,
    close_all,
    leaves_nothing_open,
    linked,
    links,
    on_every_loop,
    on_loops,
    to_close,
    turns,
    unix_pair,
)

both_ways = pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])


def _chatter() -> tuple[Ear, Ear]:
    """Two links that answer each other without end, and leave the loop itself nothing to do."""
    one, other = links()
    ears = Ear(one), Ear(other)
    for ear, link in zip(ears, (one, other), strict=True):

        def answer(data: bytes, ear: Ear = ear, link: SocketLink = link) -> None:
            ear.heard.clear()
            link.write(data)

        ear.on_data = answer
    one.write(b"and another thing")
    return ears


def _other_sockets(is_busy: bool) -> None:
    if is_busy:
        for _ in range(5):
            _chatter()
    else:
        link, _ = linked()
        Ear(link)


def _signal_soon(name: str) -> subprocess.Popen[bytes]:
    """By a process of its own: a thread would have to win the interpreter's lock first."""
    return subprocess.Popen(["sh", "-c", f"sleep 0.01; kill -{name} {os.getpid()}"])


# On time.


@both_ways
@on_every_loop
async def test_timers_come_one_after_the_other(is_busy: bool) -> None:
    _other_sockets(is_busy)
    order: list[int] = []
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    started_at = loop.time()
    for number in (3, 1, 2):
        loop.call_at(started_at + number * 0.005, order.append, number)
    loop.call_at(started_at + 0.02, done.set)
    await done.wait()
    assert order == [1, 2, 3]
    assert loop.time() - started_at >= 0.019


@pytest.mark.parametrize("sleeps_for_another", [True, False])
@on_every_loop
async def test_a_timer_that_a_receiver_sets_is_the_next_if_it_is_the_first(sleeps_for_another: bool) -> None:
    link, other = linked()
    ear = Ear(link)
    loop = asyncio.get_running_loop()
    rang = asyncio.Event()
    ear.on_data = lambda _: loop.call_later(0.005, rang.set)
    late = loop.call_later(3600, rang.set) if sleeps_for_another else None
    thread = threading.Timer(0.005, other.send, (b"x",))
    thread.start()
    await rang.wait()
    thread.join()
    if late is not None:
        assert late.when() > loop.time() + 3000
        late.cancel()


@on_every_loop
async def test_a_timer_that_a_receiver_cancels_does_not_ring() -> None:
    link, other = linked()
    ear = Ear(link)
    loop = asyncio.get_running_loop()
    rang: list[str] = []
    first = loop.call_later(0.01, rang.append, "first")
    ear.on_data = lambda _: first.cancel()
    other.send(b"x")
    await asyncio.sleep(0.02)
    assert not rang


@on_every_loop
async def test_what_a_receiver_calls_soon_is_called_soon() -> None:
    link, other = linked()
    ear = Ear(link)
    called = asyncio.Event()
    ear.on_data = lambda _: asyncio.get_running_loop().call_soon(called.set)
    thread = threading.Timer(0.005, other.send, (b"x",))
    thread.start()
    await called.wait()
    thread.join()


@on_every_loop
async def test_a_task_that_a_receiver_starts_runs() -> None:
    link, other = linked()
    ear = Ear(link)
    tasks: list[asyncio.Task[int]] = []

    async def work() -> int:
        await asyncio.sleep(0.001)
        return 7

    ear.on_data = lambda _: tasks.append(asyncio.get_running_loop().create_task(work()))
    other.send(b"x")
    await ear.until(lambda: tasks)
    assert await tasks[0] == 7


@on_every_loop
async def test_what_other_threads_say_is_heard() -> None:
    _other_sockets(is_busy=False)
    loop = asyncio.get_running_loop()
    said: list[int] = []
    done = asyncio.Event()

    def speak() -> None:
        for number in range(50):
            loop.call_soon_threadsafe(said.append, number)
        loop.call_soon_threadsafe(done.set)

    thread = threading.Thread(target=speak)
    thread.start()
    await done.wait()
    thread.join()
    assert said == list(range(50))


@on_loops("gatehouse")
async def test_other_threads_have_their_turns_while_sockets_are_busy() -> None:
    """On other loops, and on ours as it was once, they may wait for the interpreter's lock for seconds each time."""
    _other_sockets(is_busy=True)
    for _ in range(30):
        assert await asyncio.to_thread(os.getpid) == os.getpid()


@both_ways
@on_every_loop
async def test_a_signal_is_handled(is_busy: bool) -> None:
    _other_sockets(is_busy)
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    try:
        with _signal_soon("USR1"):
            await heard.wait()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


@both_ways
def test_an_interrupt_ends_what_runs(is_busy: bool) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it

    async def wait() -> None:
        _other_sockets(is_busy)
        try:
            with _signal_soon("INT"):
                await asyncio.Event().wait()
        finally:
            await close_all()

    def play() -> None:
        with pytest.raises(KeyboardInterrupt), asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(wait())

    try:
        leaves_nothing_open(play)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_loop_that_a_receiver_stops_stops() -> None:
    loop = Loop()
    asyncio.set_event_loop(loop)
    try:

        async def prepare() -> socket.socket:
            link, other = linked()
            Ear(link).on_data = lambda _: loop.stop()
            return other

        other = loop.run_until_complete(prepare())
        other.send(b"x")
        loop.run_forever()
        loop.run_until_complete(close_all())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


# What is asyncio's.


@both_ways
@on_every_loop
async def test_servers_and_streams_work_beside_links(is_busy: bool) -> None:
    _other_sockets(is_busy)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        has_left.set()

    has_left = asyncio.Event()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    said = os.urandom(1_000_000)
    writer.write(said)
    writer.write_eof()
    assert await reader.read() == said
    writer.close()
    await writer.wait_closed()
    await has_left.wait()
    server.close()
    await server.wait_closed()
    await turns()


async def _uppercase() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-Sc",
        "print(input().upper())",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(b"hello\n")
    assert said == b"HELLO\n"
    assert process.returncode == 0


@on_every_loop
async def test_subprocesses_work_beside_links() -> None:
    _other_sockets(is_busy=False)
    await _uppercase()


@on_loops("gatehouse")
async def test_subprocesses_work_beside_links_that_are_busy() -> None:
    _other_sockets(is_busy=True)
    await _uppercase()


@on_every_loop
async def test_unix_servers_and_datagrams_work_beside_links(tmp_path: Path) -> None:
    heard = asyncio.Event()

    class Datagrams(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            assert data == b"a datagram"
            heard.set()

    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(asyncio.Protocol, tmp_path / "socket")
    listening, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    sending, _ = await loop.create_datagram_endpoint(Datagrams, remote_addr=listening.get_extra_info("sockname"))
    sending.sendto(b"a datagram")
    await heard.wait()
    _, writer = await asyncio.open_unix_connection(tmp_path / "socket")
    writer.close()
    await writer.wait_closed()
    listening.close()
    sending.close()
    server.close()
    await server.wait_closed()
    await turns()


@both_ways
@on_loops("gatehouse", "asyncio")
async def test_readers_and_writers_of_the_loops_own_are_called(is_busy: bool) -> None:
    _other_sockets(is_busy)
    loop = asyncio.get_running_loop()
    one, other = unix_pair()
    to_close(one, other)
    readable, writable = asyncio.Event(), asyncio.Event()

    def read() -> None:
        if one.recv(10) == b"x":
            readable.set()

    loop.add_reader(one, read)
    await turns()
    assert not readable.is_set()
    loop.add_writer(one, writable.set)
    await writable.wait()
    loop.remove_writer(one)
    other.send(b"x")
    await readable.wait()
    readable.clear()
    loop.remove_reader(one)
    other.send(b"x")
    await turns()
    assert not readable.is_set()


@on_every_loop
async def test_a_receiver_may_add_and_remove_readers_of_the_loops_own() -> None:
    loop = asyncio.get_running_loop()
    link, other = linked()
    ear = Ear(link)
    (added, its), (removed, its_too) = unix_pair(), unix_pair()
    to_close(added, its, removed, its_too)
    heard = asyncio.Event()
    unheard: list[bytes] = []
    loop.add_reader(removed, lambda: unheard.append(removed.recv(10)))
    await turns()

    def hear() -> None:
        added.recv(10)
        heard.set()

    def change(_: bytes) -> None:
        loop.remove_reader(removed)
        its_too.send(b"x")
        its.send(b"x")
        loop.add_reader(added, hear)

    ear.on_data = change
    other.send(b"x")
    await heard.wait()
    await turns()
    assert not unheard
    loop.remove_reader(added)


@on_every_loop
async def test_a_timeout_ends_a_wait() -> None:
    link, _ = linked()
    ear = Ear(link)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await ear.loss()


def test_a_loop_runs_again_after_it_stopped() -> None:
    loop = Loop()
    try:
        for number in range(3):
            assert loop.run_until_complete(asyncio.sleep(0.001, number)) == number
    finally:
        loop.close()
        loop.close()


def test_a_loop_in_debug_mode_serves_links_too() -> None:
    async def talk() -> None:
        link, other = linked()
        ear = Ear(link)
        other.send(b"x")
        await ear.hears(b"x")
        await close_all()

    with asyncio.Runner(loop_factory=Loop, debug=True) as runner:
        runner.run(talk())


def test_a_loop_in_another_thread_serves_its_own_links() -> None:
    heard: list[bytes] = []

    async def talk() -> None:
        ears = _chatter()
        count = 0

        def enough() -> bool:
            nonlocal count
            count += 1
            return count > 1

        await ears[0].until(enough)
        link, other = linked()
        ear = Ear(link)
        other.send(b"x")
        await ear.hears(b"x")
        heard.append(bytes(ear.heard))
        await close_all()

    def work() -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(talk())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    assert heard == [b"x", b"x"]


def test_a_loop_that_is_closed_leaves_no_descriptor_behind() -> None:
    def play() -> None:
        loop = Loop()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    leaves_nothing_open(play)


# Which one.


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (None, Loop),
        ("", Loop),
        ("gatehouse", Loop),
        ("uvloop", uvloop.Loop),
        ("asyncio", asyncio.SelectorEventLoop),
    ],
)
def test_gatehouse_loop_says_which(monkeypatch: pytest.MonkeyPatch, wanted: str | None, made: type) -> None:
    if wanted is None:
        monkeypatch.delenv("GATEHOUSE_LOOP", raising=False)
    else:
        monkeypatch.setenv("GATEHOUSE_LOOP", wanted)

    async def which() -> type:
        return type(asyncio.get_running_loop())

    assert run(which()) is made


def test_without_uvloop_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_LOOP", "uvloop")
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is asyncio.new_event_loop


def test_without_epoll_it_is_uvloops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATEHOUSE_LOOP", raising=False)
    monkeypatch.delattr(select, "epoll")
    assert loop_factory() is uvloop.new_event_loop


def test_a_loop_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_LOOP", "twisted")
    with pytest.raises(ConfigError, match='GATEHOUSE_LOOP is "twisted"'):
        loop_factory()
