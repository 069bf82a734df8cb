"""Who is watched is told what he is ready for, while and only while he is watched; and the rest of the loop has its turn."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from proxy.net.poller import READABLE, WRITABLE, BaseWatched, BaseWork, Poller, running_poller
from tests.unit.net.wires import complaints, is_quiet, on_every_loop, to_close, turns, unix_pair


class _Watched(BaseWatched):
    """One end of a connection, and what it was told."""

    def __init__(self) -> None:
        self.sock, self.other = unix_pair()
        to_close(self.sock, self.other)
        self.fd = self.sock.fileno()
        self.told: list[int] = []
        self.when_told: Callable[[], object] = self._nothing

    def ready(self, events: int) -> None:
        self.told.append(events)
        self.when_told()

    def watch(self, events: int = READABLE) -> None:
        running_poller().watch(self.fd, self, events)

    def forget(self) -> None:
        running_poller().forget(self.fd)

    def _nothing(self) -> None:
        """Leave it ready."""


class _Chore(BaseWork):
    """Work that takes a while, so many times over."""

    def __init__(self, times: int = 1, takes_s: float = 0.0) -> None:
        self.left = times
        self._takes_s = takes_s
        self.when_done: Callable[[], object] = lambda: None

    def go_on(self) -> None:
        until = monotonic() + self._takes_s
        while monotonic() < until:
            pass
        self.left -= 1
        if self.left:
            running_poller().soon(self)
        self.when_done()


def _consumer() -> _Watched:
    """Reads what came."""
    watched = _Watched()
    watched.when_told = lambda: watched.sock.recv(1)
    return watched


@on_every_loop
async def test_a_loop_has_one_poller() -> None:
    assert running_poller() is running_poller()
    assert running_poller().loop is asyncio.get_running_loop()


@on_every_loop
async def test_who_can_not_be_watched_is_told_nothing_of_who_gets_the_descriptor(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    if not hasattr(select, "epoll"):
        pytest.skip("the loop itself watches")
    watched, other = _Watched(), _Watched()
    with (tmp_path / "file").open("wb") as file:
        number = file.fileno()
        with pytest.raises(PermissionError):  # a file; for sockets there may be no memory, or max_user_watches
            running_poller().watch(number, watched, READABLE)
        os.dup2(other.fd, number)
        heard: list[bytes] = []
        loop.add_reader(number, lambda: heard.append(other.sock.recv(1)))
        other.other.send(b"x")
        await turns()
        loop.remove_reader(number)
    assert heard == [b"x"]
    assert watched.told == []


@on_every_loop
async def test_each_is_told_what_it_is_ready_for() -> None:
    watched = _Watched()
    watched.when_told = watched.forget
    watched.watch(WRITABLE)
    await turns()
    watched.watch(READABLE)
    await turns()
    assert watched.told == [WRITABLE]
    watched.other.send(b"x")
    await turns()
    assert watched.told == [WRITABLE, READABLE]
    await turns()
    assert is_quiet()


@on_every_loop
async def test_it_is_told_again_until_it_has_done_something_about_it() -> None:
    watched = _Watched()
    watched.watch()
    watched.other.send(b"xx")
    await turns(5)
    assert len(watched.told) >= 3
    watched.when_told = lambda: watched.sock.recv(1)
    await turns(5)
    assert is_quiet()
    watched.forget()


@on_every_loop
async def test_what_is_watched_for_can_change() -> None:
    watched = _Watched()
    poller = running_poller()
    watched.watch()
    await turns()
    assert not watched.told
    poller.change(watched.fd, WRITABLE)
    await turns()
    assert set(watched.told) == {WRITABLE}
    watched.other.send(b"x")
    poller.change(watched.fd, READABLE)
    watched.told.clear()
    await turns()
    assert set(watched.told) == {READABLE}
    poller.change(watched.fd, READABLE | WRITABLE)
    watched.told.clear()
    await turns()
    assert {part for events in watched.told for part in (READABLE, WRITABLE) if events & part} == {READABLE, WRITABLE}
    watched.forget()


@on_every_loop
async def test_a_hang_up_is_told_to_who_waits_for_bytes() -> None:
    watched = _Watched()
    watched.when_told = watched.forget
    watched.watch()
    watched.other.close()
    await turns()
    assert len(watched.told) == 1
    assert watched.told[0] & READABLE


@on_every_loop
async def test_who_was_forgotten_is_told_nothing() -> None:
    watched = _Watched()
    watched.watch()
    watched.other.send(b"x")
    watched.forget()
    await turns()
    assert not watched.told


@on_every_loop
async def test_who_is_forgotten_by_another_one_in_the_same_batch_is_told_nothing() -> None:
    crowd = [_Watched() for _ in range(20)]

    def forget_all() -> None:
        for one in crowd:
            one.forget()

    for one in crowd:
        one.when_told = forget_all
        one.watch()
        one.other.send(b"x")
    await turns()
    assert sum(len(one.told) for one in crowd) == 1


@on_every_loop
async def test_a_number_that_is_used_again_in_the_same_batch_is_its_new_owners() -> None:
    """Whoever finds nothing to read on a socket that was said to be readable shrugs; it must not be the old owner."""
    first, second, heir = _Watched(), _Watched(), _Watched()

    def inherit(other: _Watched) -> None:
        first.when_told = second.when_told = first._nothing
        other.forget()
        other.sock.close()
        heir.sock.close()
        heir.sock, heir.other = unix_pair()
        to_close(heir.sock, heir.other)
        heir.fd = heir.sock.fileno()
        heir.when_told = heir.forget
        heir.watch()
        heir.other.send(b"x")

    first.when_told = lambda: inherit(second)
    second.when_told = lambda: inherit(first)
    for one in (first, second):
        one.watch()
        one.other.send(b"x")
    await turns(5)
    assert heir.told[0] & READABLE
    assert not (first.told and second.told)


@on_every_loop
async def test_one_that_fails_stops_neither_the_others_nor_the_loop() -> None:
    fault = RuntimeError("a fault")
    broken, sound = [_Watched() for _ in range(3)], [_consumer() for _ in range(3)]

    def fail(one: _Watched) -> Callable[[], object]:
        def ready() -> None:
            one.forget()
            raise fault

        return ready

    for one in broken:
        one.when_told = fail(one)
    for pair in zip(broken, sound, strict=True):
        for one in pair:
            one.watch()
            one.other.send(b"x")
    await turns(5)
    assert [len(one.told) for one in sound] == [1, 1, 1]
    assert complaints() == [fault] * 3
    assert is_quiet()
    for one in sound:
        one.forget()


@on_every_loop
async def test_all_of_many_are_told() -> None:
    crowd = [_consumer() for _ in range(300)]
    for one in crowd:
        one.watch()
        one.other.send(b"x")
    await turns()
    while not is_quiet():
        await turns(1)
    assert [len(one.told) for one in crowd] == [1] * 300
    for one in crowd:
        one.forget()


@pytest.mark.parametrize("count", [1, 200])
@on_every_loop
async def test_the_loop_has_its_turn_while_sockets_are_always_ready(count: int) -> None:
    crowd = [_Watched() for _ in range(count)]
    for one in crowd:
        one.watch(READABLE | WRITABLE)
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    loop.call_soon(called.set)
    await called.wait()
    await asyncio.sleep(0.01)
    ours, theirs = unix_pair()
    to_close(ours, theirs)
    theirs.send(b"of the loop's own")
    assert await loop.sock_recv(ours, 100) == b"of the loop's own"
    while not all(one.told for one in crowd):
        await turns(1)
    for one in crowd:
        one.forget()


@on_every_loop
async def test_what_is_put_off_is_done_without_anybody_being_ready() -> None:
    chore = _Chore(times=50)
    running_poller().soon(chore)
    assert chore.left == 50
    while chore.left:
        await turns(1)


@on_every_loop
async def test_what_a_socket_puts_off_is_done_when_the_others_have_been_served() -> None:
    crowd = [_consumer() for _ in range(20)]
    told_before = []
    for one in crowd:
        chore = _Chore()
        chore.when_done = lambda: told_before.append(sum(len(one.told) for one in crowd))

        def put_off(one: _Watched = one, chore: _Chore = chore) -> None:
            one.sock.recv(1)
            running_poller().soon(chore)

        one.when_told = put_off
        one.watch()
        one.other.send(b"x")
    while len(told_before) < 20:
        await turns(1)
    assert told_before == [20] * 20
    for one in crowd:
        one.forget()


@on_every_loop
async def test_those_who_are_ready_do_not_wait_for_all_that_is_put_off() -> None:
    chores = [_Chore(takes_s=0.001) for _ in range(50)]
    watched = _consumer()
    left_when_told: list[int] = []

    def look() -> None:
        watched.sock.recv(1)
        left_when_told.append(sum(chore.left for chore in chores))
        if left_when_told[-1]:
            watched.other.send(b"x")

    watched.when_told = look
    watched.watch()
    watched.other.send(b"x")
    for chore in chores:
        running_poller().soon(chore)
    while any(chore.left for chore in chores):
        await turns(1)
    assert len(left_when_told) >= 5
    watched.forget()


@on_every_loop
async def test_what_is_put_off_again_and_again_leaves_the_loop_its_turn() -> None:
    chore = _Chore(times=1_000_000)
    running_poller().soon(chore)
    await asyncio.sleep(0.005)
    called = asyncio.Event()
    asyncio.get_running_loop().call_soon(called.set)
    await called.wait()
    assert 0 < chore.left < 1_000_000
    chore.left = 1
    await turns()


@on_every_loop
async def test_work_that_fails_stops_neither_the_rest_nor_the_loop() -> None:
    fault = RuntimeError("a fault")
    broken, sound = _Chore(), _Chore()

    def fail() -> None:
        raise fault

    broken.when_done = fail
    running_poller().soon(broken)
    running_poller().soon(sound)
    await turns()
    assert sound.left == 0
    assert complaints() == [fault]


@on_every_loop
async def test_a_poller_that_is_closed_may_be_closed_again() -> None:
    poller = Poller(asyncio.get_running_loop())
    watched = _Watched()
    poller.watch(watched.fd, watched, READABLE)
    poller.forget(watched.fd)
    poller.close()
    poller.close()
    watched.other.send(b"x")
    await turns()
    assert not watched.told


def test_there_is_no_poller_without_a_loop() -> None:
    with pytest.raises(RuntimeError):
        running_poller()


@on_every_loop
async def test_what_can_not_be_watched_is_refused() -> None:
    watched, poller = _Watched(), running_poller()
    watched.sock.close()
    with pytest.raises(OSError, match="descriptor"):
        poller.watch(watched.fd, watched, READABLE)
