"""Who waits for bytes gets all of them, and what he leaves unread goes to the next."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy.net.mailbox import Mailbox
from tests.unit.net.wires import Ear, fill, is_quiet, linked, links, on_every_loop, receive_all, reset, tcp_pair, turns


@on_every_loop
async def test_bytes_are_read_as_they_come() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    for piece in (b"one", b"two", b"three"):
        waiting = asyncio.create_task(mailbox.read())
        await turns()
        other.send(piece)
        assert await waiting == piece


@on_every_loop
async def test_what_is_not_read_waits_with_the_kernel() -> None:
    ours, theirs = links()
    mailbox = Mailbox(ours)
    writer = Ear(theirs)
    written = fill(theirs)
    theirs.close()
    await turns()
    assert is_quiet()
    assert not writer.losses
    heard = b""
    while data := await mailbox.read():
        heard += data
    assert heard == written
    assert await writer.loss() is None


@on_every_loop
async def test_the_end_is_read_behind_what_came_before_it_and_ever_after() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    other.send(b"bye")
    other.close()
    assert [await mailbox.read() for _ in range(3)] == [b"bye", b"", b""]


@on_every_loop
async def test_what_ended_the_connection_is_raised_behind_what_came_before_it() -> None:
    link, other = linked(tcp_pair)
    mailbox = Mailbox(link)
    other.send(b"bye")
    await turns()
    assert await mailbox.read() == b"bye"
    reset(other)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await mailbox.read()


@on_every_loop
async def test_a_read_that_is_cancelled_takes_nothing_away() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    waiting = asyncio.create_task(mailbox.read())
    await turns()
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    other.send(b"one")
    await turns()
    assert await mailbox.read() == b"one"


@on_every_loop
async def test_the_next_receiver_hears_what_was_not_read_and_what_comes() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    other.send(b"one")
    await turns()
    other.send(b"two")
    ear = Ear()
    mailbox.hand_over(ear)
    await ear.hears(b"onetwo")
    other.send(b"three")
    await ear.hears(b"onetwothree")
    other.close()
    assert await ear.loss() is None


@on_every_loop
async def test_the_next_receiver_hears_nothing_again_that_was_read() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    other.send(b"login")
    assert await mailbox.read() == b"login"
    ear = Ear()
    mailbox.hand_over(ear)
    other.send(b"query")
    await ear.hears(b"query")


@on_every_loop
async def test_the_next_receiver_is_told_a_loss_that_came_before_it_once() -> None:
    link, other = linked(tcp_pair)
    mailbox = Mailbox(link)
    other.send(b"bye")
    await turns()
    reset(other)
    link.set_reading(True)
    await turns()
    ear = Ear()
    mailbox.hand_over(ear)
    assert isinstance(await ear.loss(), ConnectionResetError)
    assert ear.heard == b"bye"


@on_every_loop
async def test_the_next_receiver_may_want_no_more_than_what_was_not_read() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    other.send(b"one")
    await turns()
    other.send(b"two")
    ear = Ear()
    ear.on_data = lambda _: link.set_reading(False)
    mailbox.hand_over(ear)
    await turns()
    assert ear.heard == b"one"
    link.set_reading(True)
    await ear.hears(b"onetwo")


@on_every_loop
async def test_the_next_receiver_may_close_the_link_at_once() -> None:
    link, other = linked()
    mailbox = Mailbox(link)
    other.send(b"one")
    await turns()
    ear = Ear()
    ear.on_data = lambda _: link.close()
    mailbox.hand_over(ear)
    assert await ear.loss() is None
    assert await receive_all(other) == b""
