"""A link over a real socket: every byte in order, an end that is told once, and nothing that keeps the loop from sleeping."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from proxy.net.sockets import SocketLink
from tests.unit.net.wires import (
    Ear,
    MakePair,
    complaints,
    fill,
    is_quiet,
    linked,
    links,
    on_both_families,
    on_every_loop,
    receive_all,
    reset,
    tcp_pair,
    turns,
)

_HIGH_WATER = 65536
_LOW_WATER = 16384


# Bytes.


@on_both_families
@on_every_loop
async def test_what_is_written_arrives_in_order_whatever_its_size(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    dice = random.Random(7)
    sizes = [dice.choice((0, 1, 5, 50, 4096, 65536, 65537, 200_000)) for _ in range(300)]
    written = [dice.randbytes(size) for size in sizes]
    reading = asyncio.create_task(receive_all(other))
    for piece in written:
        await ear.takes_bytes.wait()
        link.write(piece)
    link.close()
    assert await reading == b"".join(written)
    assert await ear.loss() is None


@on_both_families
@on_every_loop
async def test_fifty_megabytes_arrive_while_both_sides_heed_what_the_other_takes(make_pair: MakePair) -> None:
    sender, receiver = links(make_pair)
    sending, receiving = Ear(sender), Ear(receiver)
    piece = random.Random(1).randbytes(500_000)

    def think(_: bytes) -> None:
        receiver.set_reading(False)
        asyncio.get_running_loop().call_soon(receiver.set_reading, True)

    receiving.on_data = think
    for _ in range(100):
        await sending.takes_bytes.wait()
        sender.write(piece)
        assert sender.unsent_bytes <= len(piece) + _HIGH_WATER
    sender.close()
    assert await receiving.loss() is None
    assert receiving.heard == piece * 100
    assert await sending.loss() is None


@on_both_families
@on_every_loop
async def test_many_small_writes_wait_for_a_side_that_does_not_read(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    written = bytearray(fill(link))
    for number in range(5_000):
        piece = b"%d;" % number
        link.write(piece)
        written += piece
    link.close()
    assert await receive_all(other) == written
    assert await ear.loss() is None


@on_every_loop
async def test_empty_writes_leave_nothing_behind_that_would_have_to_be_sent() -> None:
    link, other = linked()
    ear = Ear(link)
    written = fill(link)
    for _ in range(100):
        link.write(b"")
    reading = asyncio.create_task(receive_all(other))
    await ear.takes_bytes.wait()
    while link.unsent_bytes:
        await turns()
    await turns()
    assert is_quiet()
    link.close()
    assert await reading == written
    assert await ear.loss() is None


@on_both_families
@on_every_loop
async def test_what_came_before_there_was_a_receiver_is_heard_by_it(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    other.sendall(b"early")
    other.close()
    await turns()
    ear = Ear(link)
    assert await ear.loss() is None
    assert ear.heard == b"early"


@on_every_loop
async def test_the_next_receiver_hears_what_comes_from_then_on() -> None:
    link, other = linked()
    first, second = Ear(link), Ear()
    first.on_data = lambda _: link.set_receiver(second)
    other.send(b"one")
    await first.hears(b"one")
    other.send(b"two")
    await second.hears(b"two")
    other.close()
    assert await second.loss() is None
    assert first.heard == b"one"
    assert not first.losses


# Flow.


@on_both_families
@on_every_loop
async def test_a_writer_is_told_once_to_wait_and_once_to_go_on(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    written = bytearray(fill(link))
    while not ear.flow:
        assert link.unsent_bytes <= _HIGH_WATER
        link.write(b"x" * 1000)
        written += b"x" * 1000
    assert link.unsent_bytes > _HIGH_WATER
    link.write(b"y" * 1_000_000)
    written += b"y" * 1_000_000
    assert ear.flow == ["pause"]
    unsent_at_resume: list[int] = []
    ear.on_resume = lambda: unsent_at_resume.append(link.unsent_bytes)
    heard = bytearray()
    loop = asyncio.get_running_loop()
    while len(heard) < len(written):
        if link.unsent_bytes > _LOW_WATER:
            assert ear.flow == ["pause"]
        heard += await loop.sock_recv(other, 10_000)
    assert heard == written
    await ear.until(lambda: len(ear.flow) > 1)
    assert ear.flow == ["pause", "resume"]
    assert unsent_at_resume[0] <= _LOW_WATER
    assert link.unsent_bytes == 0
    link.close()
    await ear.loss()


@on_every_loop
async def test_a_writer_that_goes_on_from_within_resume_writing_loses_nothing() -> None:
    link, other = linked()
    ear = Ear(link)
    written = bytearray(fill(link))

    def write_more() -> None:
        if len(written) > 5_000_000:
            link.close()
            return
        piece = random.Random(len(written)).randbytes(300_000)
        written.extend(piece)
        link.write(piece)

    ear.on_resume = write_more
    link.write(b"z" * 100_000)
    written += b"z" * 100_000
    heard = await receive_all(other)
    assert heard == written
    assert await ear.loss() is None
    assert ear.flow[:4] == ["pause", "resume", "pause", "resume"]


@on_every_loop
async def test_writes_before_there_is_a_receiver_are_kept_however_large() -> None:
    link, other = linked()
    link.write(b"a" * 2_000_000)
    link.write(b"b")
    ear = Ear(link)
    link.close()
    assert await receive_all(other) == b"a" * 2_000_000 + b"b"
    assert await ear.loss() is None


@on_both_families
@on_every_loop
async def test_who_does_not_want_bytes_hears_none_until_he_does(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    ear.on_data = lambda _: link.set_reading(False)
    other.send(b"one")
    await ear.hears(b"one")
    other.send(b"two")
    await turns()
    assert ear.heard == b"one"
    assert is_quiet()
    link.set_reading(True)
    await ear.hears(b"onetwo")
    link.close()
    await ear.loss()


@on_both_families
@on_every_loop
async def test_a_peer_that_hangs_up_does_not_wake_who_wants_no_bytes(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    link.set_reading(False)
    other.send(b"last words")
    other.close()
    await turns()
    assert is_quiet()
    assert not ear.losses
    link.set_reading(True)
    assert await ear.loss() is None
    assert ear.heard == b"last words"


@on_every_loop
async def test_a_peer_that_resets_does_not_wake_who_wants_no_bytes() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    link.set_reading(False)
    reset(other)
    await turns()
    assert is_quiet()
    link.set_reading(True)
    assert isinstance(await ear.loss(), ConnectionResetError)


# Ends.


@on_both_families
@on_every_loop
async def test_a_close_sends_what_is_unsent_first(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    written = fill(link) + b"goodbye"
    link.write(b"goodbye")
    link.close()
    link.close()
    link.write(b"too late")
    await turns()
    assert not ear.losses
    assert await receive_all(other) == written
    assert await ear.loss() is None


@on_every_loop
async def test_a_closed_link_hears_nothing_more() -> None:
    link, other = linked()
    ear = Ear(link)
    written = fill(link)
    link.close()
    other.send(b"are you there?")
    await turns()
    assert is_quiet()
    loop = asyncio.get_running_loop()
    heard = bytearray()
    while len(heard) < len(written):
        heard += await loop.sock_recv(other, 262144)
    assert heard == written
    await ear.loss()
    assert not ear.heard


@pytest.mark.parametrize("end", ["close", "abort"])
@on_every_loop
async def test_the_end_is_never_told_from_inside_a_call(end: str) -> None:
    link, _ = linked()
    ear = Ear(link)
    getattr(link, end)()
    assert not ear.losses
    getattr(link, end)()
    link.abort()
    assert await ear.loss() is None
    link.abort()
    link.close()
    link.write(b"nobody")
    link.set_reading(False)
    link.set_reading(True)
    assert await ear.loss() is None
    assert link.unsent_bytes == 0


@on_every_loop
async def test_an_abort_waits_for_nothing() -> None:
    link, _ = linked()
    ear = Ear(link)
    fill(link)
    link.close()
    link.abort()
    assert link.unsent_bytes == 0
    assert await ear.loss() is None


@on_both_families
@on_every_loop
async def test_who_closes_his_half_is_still_sent_what_he_is_owed(make_pair: MakePair) -> None:
    link, other = linked(make_pair)
    ear = Ear(link)
    owed = fill(link)
    other.sendall(b"that was all")
    other.shutdown(socket.SHUT_WR)
    await ear.hears(b"that was all")
    assert await receive_all(other) == owed
    assert await ear.loss() is None


@on_every_loop
async def test_a_reset_is_told_as_what_it_is() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    reset(other)
    assert isinstance(await ear.loss(), ConnectionResetError)


@on_every_loop
async def test_a_reset_while_bytes_wait_to_be_sent_ends_a_link_that_is_being_closed() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    fill(link)
    link.close()
    reset(other)
    assert isinstance(await ear.loss(), OSError)


@on_every_loop
async def test_what_a_peer_said_before_it_reset_is_heard_though_a_write_failed_first() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    other.sendall(b"FATAL: the server shuts down")
    link.write(b"a query that is never read")
    reset(other)
    link.write(b"another")
    link.write(b"and another")
    assert not ear.losses
    await ear.until(lambda: ear.heard)
    assert ear.heard == b"FATAL: the server shuts down"
    assert isinstance(await ear.loss(), ConnectionError)


@on_every_loop
async def test_more_than_one_read_of_last_words_is_heard_though_a_write_failed_first() -> None:
    link, other = linked(tcp_pair)
    words = random.Random(3).randbytes(200_000)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
    sent = other.send(words)
    ear = Ear()
    link.write(b"?")
    await turns()
    reset(other)
    link.write(b"a query")
    link.write(b"another")
    link.set_receiver(ear)
    loss = await ear.loss()
    assert isinstance(loss, ConnectionError)
    assert ear.heard == words[: len(ear.heard)]
    assert len(ear.heard) >= min(sent, 65536)


@on_every_loop
async def test_last_words_are_heard_though_what_was_unsent_can_not_be_sent() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    fill(link)
    other.sendall(b"FATAL: too much")
    reset(other)
    assert isinstance(await ear.loss(), ConnectionError)
    assert ear.heard == b"FATAL: too much"
    assert link.unsent_bytes == 0


@on_every_loop
async def test_who_wants_no_bytes_is_told_at_once_that_a_write_failed() -> None:
    link, other = linked(tcp_pair)
    ear = Ear(link)
    link.set_reading(False)
    reset(other)
    link.write(b"a query")
    link.write(b"another")
    assert not ear.losses
    assert isinstance(await ear.loss(), ConnectionError)


@on_every_loop
async def test_a_write_to_a_peer_that_is_gone_fails_by_the_loss_and_not_by_raising() -> None:
    link, other = linked()
    ear = Ear(link)
    other.close()
    link.write(b"a query")
    link.write(b"another")
    link.close()
    assert await ear.loss() is None
    assert not ear.heard


@on_every_loop
async def test_a_receiver_that_comes_after_the_end_is_told_of_it() -> None:
    link, _ = linked()
    link.close()
    await turns()
    ear = Ear(link)
    assert not ear.losses
    assert await ear.loss() is None


@on_every_loop
async def test_the_descriptor_is_closed_with_the_link_and_not_before_its_end_was_told() -> None:
    link, other = linked()
    ear = Ear(link)
    ours: list[bool] = []

    def look() -> None:
        again = socket.socket()
        ours.append(repr(link) == f"<socket {again.fileno()}>")
        again.close()

    ear.on_loss = look
    link.abort()
    await ear.loss()
    assert ours == [False]
    assert other.recv(1) == b""


# One batch of events.


@on_both_families
@on_every_loop
async def test_a_link_that_is_closed_by_another_ones_receiver_hears_nothing_more(make_pair: MakePair) -> None:
    pairs = [linked(make_pair) for _ in range(10)]
    ears = [Ear(link) for link, _ in pairs]

    def close_the_others(data: bytes) -> None:
        for number, (link, _) in enumerate(pairs):
            if number != data[0]:
                link.abort()

    for ear in ears:
        ear.on_data = close_the_others
    for number, (_, other) in enumerate(pairs):
        other.send(bytes([number]))
    await ears[0].until(lambda: sum(map(bool, (ear.heard for ear in ears))))
    await turns()
    assert sum(bool(ear.heard) for ear in ears) == 1
    assert sum(bool(ear.losses) for ear in ears) == 9


@on_every_loop
async def test_a_new_socket_with_the_number_of_one_that_was_closed_hears_only_its_own() -> None:
    pairs = [linked() for _ in range(8)]
    ears = [Ear(link) for link, _ in pairs]
    fresh: list[tuple[SocketLink, socket.socket, Ear]] = []

    def replace_the_others(data: bytes) -> None:
        for number, (link, _) in enumerate(pairs):
            if number != data[0] and not ears[number].losses:
                link.abort()

    def replace() -> None:
        link, other = linked()
        fresh.append((link, other, Ear(link)))

    for ear in ears:
        ear.on_data = replace_the_others
        ear.on_loss = lambda: asyncio.get_running_loop().call_soon(replace)
    for number, (_, other) in enumerate(pairs):
        other.send(bytes([number]))
        other.send(b"more")
    await ears[0].until(lambda: any(ear.heard for ear in ears))
    await turns(6)
    assert len(fresh) == 7
    for number, (_, other, _) in enumerate(fresh):
        other.send(b"hello %d" % number)
    for number, (_, _, ear) in enumerate(fresh):
        await ear.hears(b"hello %d" % number)


# Receivers that fail.


@on_every_loop
async def test_a_receiver_that_raises_loses_its_connection_and_no_other() -> None:
    link, other = linked()
    bystander, third = linked()
    ear, calm = Ear(link), Ear(bystander)
    fault = RuntimeError("a fault")

    def fail(_: bytes) -> None:
        raise fault

    ear.on_data = fail
    other.send(b"x")
    third.send(b"y")
    assert await ear.loss() is fault
    await calm.hears(b"y")
    assert complaints() == [fault]
    assert other.recv(1) == b""


@on_every_loop
async def test_a_receiver_that_can_not_go_on_loses_its_connection_and_the_loop_sleeps() -> None:
    link, other = linked()
    ear = Ear(link)
    fault = RuntimeError("a fault")

    def fail() -> None:
        raise fault

    ear.on_resume = fail
    fill(link)
    link.write(b"x" * 100_000)
    reading = asyncio.create_task(receive_all(other))
    assert await ear.loss() is fault
    assert complaints() == [fault]
    await reading
    await turns()
    assert is_quiet()


@on_every_loop
async def test_a_receiver_that_can_not_wait_costs_its_own_connection_and_not_the_writers() -> None:
    link, _ = linked()
    ear = Ear(link)
    fault = RuntimeError("a fault")

    def fail() -> None:
        raise fault

    ear.on_pause = fail
    fill(link)
    link.write(b"x" * 100_000)
    assert await ear.loss() is fault
    assert complaints() == [fault]


@on_every_loop
async def test_a_receiver_that_fails_at_the_end_leaves_no_descriptor_behind() -> None:
    link, other = linked()
    ear = Ear(link)
    fault = RuntimeError("a fault")

    def fail() -> None:
        raise fault

    ear.on_loss = fail
    link.abort()
    await ear.loss()
    assert complaints() == [fault]
    assert other.recv(1) == b""


@on_every_loop
async def test_a_receiver_that_closes_its_link_when_it_hears_something_is_told_the_end() -> None:
    link, other = linked()
    ear = Ear(link)
    ear.on_data = lambda _: link.close()
    other.send(b"one")
    other.send(b"two")
    assert await ear.loss() is None


@on_every_loop
async def test_descriptors_beyond_those_that_were_foreseen_are_watched_too() -> None:
    pairs = [linked() for _ in range(150)]
    ears = [Ear(link) for link, _ in pairs]
    for _, other in pairs:
        other.send(b"x")
    for ear in ears:
        await ear.hears(b"x")
