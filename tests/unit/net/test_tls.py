"""TLS over a real connection: nobody is let in who should not be, and nothing that was said is lost, cut as it may be."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import random
import shutil
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme

from proxy.net.mailbox import Mailbox
from proxy.net.tls import TlsLink, accept_tls, connect_tls
from tests.unit.net.wires import (
    Ear,
    complaints,
    fill,
    is_quiet,
    link_over,
    linked,
    links,
    on_every_loop,
    receive_all,
    reset,
    tcp_pair,
    turns,
)

_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
_NAME = "db.example.com"

both_versions = pytest.mark.parametrize("version", _VERSIONS, ids=["1.2", "1.3"])


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def _server_context(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, asks: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    _authority().issue_cert(_NAME).configure_cert(context)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        _authority().configure_trust(context)
    return context


@functools.cache
def _client_context(*, is_trusting: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if is_trusting:
        _authority().configure_trust(context)
    return context


async def _shaken(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[TlsLink, TlsLink]:
    """The client's side and the server's."""
    ours, theirs = links()
    client, server = await asyncio.gather(
        connect_tls(ours, _client_context(), _NAME), accept_tls(theirs, _server_context(version))
    )
    return client, server


class _Peer:
    """The other side of a handshake, whose bytes the test sends as it likes."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None = _NAME) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)

    async def shake(self) -> bytes:
        """Shake hands, but for what this side says last, if it is this side that ends it."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send(self._outgoing.read())
                await self.take()
            else:
                return self._outgoing.read()

    def say(self, data: bytes) -> bytes:
        """Its bytes on the wire."""
        self.tls.write(data)
        return self._outgoing.read()

    def bid_farewell(self) -> bytes:
        """Its bytes on the wire, too."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._outgoing.read()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def take(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def hear(self, count: int) -> bytes:
        """So many bytes, or fewer at the end."""
        heard = b""
        while len(heard) < count:
            try:
                data = self.tls.read(count - len(heard))
            except ssl.SSLWantReadError:
                await self.take()
                continue
            if not data:
                break
            heard += data
        return heard


async def _served(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[TlsLink, _Peer]:
    """A server's link, and its client."""
    plain, sock = linked()
    peer = _Peer(sock, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context(version)))
    await peer.send(await peer.shake())
    return await accepting, peer


def _cut(data: bytes, dice: random.Random) -> list[bytes]:
    """In pieces of any size, small ones mostly."""
    pieces, at = [], 0
    while at < len(data):
        size = dice.choice((1, 2, 5, 100, 5_000, 40_000))
        pieces.append(data[at : at + size])
        at += size
    return pieces


# Shaking hands.


@both_versions
@on_every_loop
async def test_both_sides_speak_once_hands_are_shaken(version: ssl.TLSVersion) -> None:
    client, server = await _shaken(version)
    assert client.tls.version() == server.tls.version() == version.name.replace("_", ".")
    at_client, at_server = Ear(client), Ear(server)
    client.write(b"a query")
    await at_server.hears(b"a query")
    server.write(b"an answer")
    await at_client.hears(b"an answer")
    client.close()
    assert await at_server.loss() is None
    assert await at_client.loss() is None


@both_versions
@on_every_loop
async def test_an_unknown_authority_is_refused_by_the_client_and_the_server_hears_why(version: ssl.TLSVersion) -> None:
    ours, theirs = links()
    outcome = await asyncio.gather(
        connect_tls(ours, _client_context(is_trusting=False), _NAME),
        accept_tls(theirs, _server_context(version)),
        return_exceptions=True,
    )
    assert isinstance(outcome[0], ssl.SSLCertVerificationError)
    assert isinstance(outcome[1], ssl.SSLError)
    assert "unknown ca" in str(outcome[1]).lower().replace("_", " ")


@on_every_loop
async def test_another_name_is_refused_by_the_client() -> None:
    ours, theirs = links()
    outcome = await asyncio.gather(
        connect_tls(ours, _client_context(), "other.example.com"),
        accept_tls(theirs, _server_context()),
        return_exceptions=True,
    )
    assert isinstance(outcome[0], ssl.SSLCertVerificationError)
    assert isinstance(outcome[1], OSError)


@both_versions
@on_every_loop
async def test_a_client_without_the_certificate_that_is_asked_for_is_told_so(version: ssl.TLSVersion) -> None:
    ours, theirs = links()
    outcome = await asyncio.gather(
        connect_tls(ours, _client_context(), _NAME),
        accept_tls(theirs, _server_context(version, asks=True)),
        return_exceptions=True,
    )
    assert isinstance(outcome[1], ssl.SSLError)
    if isinstance(outcome[0], TlsLink):  # the client has done its part before the server looks
        ear = Ear(outcome[0])
        reason = await ear.loss()
    else:
        reason = outcome[0] if isinstance(outcome[0], Exception) else None
    assert isinstance(reason, ssl.SSLError)
    assert not isinstance(reason, ssl.SSLEOFError)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 40, b"\0" * 100_000])
@on_every_loop
async def test_garbage_is_refused_and_the_connection_closed(garbage: bytes) -> None:
    plain, other = linked()
    other.send(garbage)
    with pytest.raises(ssl.SSLError):
        await accept_tls(plain, _server_context())
    await turns()
    with pytest.raises(BrokenPipeError):
        other.send(b"more")


@on_every_loop
async def test_a_handshake_fails_when_the_other_side_leaves() -> None:
    for count in (0, 1, 5, 100):
        plain, other = linked()
        peer = _Peer(other, _client_context())
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        hello = peer._outgoing.read()
        assert len(hello) > count
        other.send(hello[:count])
        other.close()
        with pytest.raises(ConnectionError):
            await accept_tls(plain, _server_context())


@on_every_loop
async def test_a_handshake_fails_when_the_other_side_leaves_in_its_midst() -> None:
    ours, theirs = links()
    accepting = asyncio.create_task(accept_tls(theirs, _server_context()))
    ear = Ear(ours)
    peer = _Peer(socket.socket(), _client_context())
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    ours.write(peer._outgoing.read())
    await ear.until(lambda: ear.heard)
    ours.abort()
    with pytest.raises(ConnectionError):
        await accepting
    peer.sock.close()


@on_every_loop
async def test_a_handshake_fails_when_the_other_side_resets() -> None:
    plain, other = linked(tcp_pair)
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    await turns()
    reset(other)
    with pytest.raises(ConnectionResetError):
        await accepting


@on_every_loop
async def test_a_handshake_over_a_link_that_is_lost_fails_and_does_not_wait() -> None:
    plain, other = linked()
    ear = Ear(plain)
    other.close()
    await ear.loss()
    with pytest.raises(ConnectionError):
        await accept_tls(plain, _server_context())
    with pytest.raises(ConnectionError):
        await connect_tls(plain, _client_context(), _NAME)


@both_versions
@on_every_loop
async def test_a_client_that_says_one_byte_at_a_time_is_let_in(version: ssl.TLSVersion) -> None:
    plain, other = linked()
    accepting = asyncio.create_task(accept_tls(plain, _server_context(version)))
    peer = _Peer(other, _client_context())

    async def trickle(data: bytes) -> None:
        for at in range(len(data)):
            other.send(data[at : at + 1])
            await turns(1)

    while True:
        try:
            peer.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await trickle(peer._outgoing.read())
            await peer.take()
    await trickle(peer._outgoing.read())
    server = await accepting
    ear = Ear(server)
    await trickle(peer.say(b"a query"))
    await ear.hears(b"a query")


@on_every_loop
async def test_a_handshake_that_is_cancelled_closes_the_connection() -> None:
    for connect in (True, False):
        plain, other = linked()
        handshake = connect_tls(plain, _client_context(), _NAME) if connect else accept_tls(plain, _server_context())
        task = asyncio.create_task(handshake)
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await receive_all(other)


@on_every_loop
async def test_a_handshake_that_is_cancelled_when_it_is_done_closes_the_connection() -> None:
    ours, theirs = links()
    accepting = asyncio.create_task(accept_tls(theirs, _server_context()))
    connecting = asyncio.create_task(connect_tls(ours, _client_context(), _NAME))
    ear = Ear(await connecting)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    await ear.loss()


@pytest.mark.parametrize("garbage", [b"", b"garbage"])
@on_every_loop
async def test_a_handshake_that_failed_leaves_nothing_to_the_garbage_collector(garbage: bytes) -> None:
    plain, other = linked()
    gc.collect()
    gc.disable()
    try:
        other.send(garbage)
        other.close()
        with contextlib.suppress(OSError):
            await accept_tls(plain, _server_context())
        await turns()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, TlsLink)]
    finally:
        gc.enable()


@on_every_loop
async def test_what_was_read_before_the_handshake_is_not_read_again() -> None:
    plain, other = linked()
    mailbox = Mailbox(plain)
    peer = _Peer(other, _server_context(), None)
    other.send(b"S")
    assert await mailbox.read() == b"S"
    connecting = asyncio.create_task(connect_tls(plain, _client_context(), _NAME))
    await peer.send(await peer.shake() + peer.say(b"hello"))
    assert await Mailbox(await connecting).read() == b"hello"


# What comes.


@both_versions
@on_every_loop
async def test_what_comes_with_the_end_of_the_handshake_is_heard(version: ssl.TLSVersion) -> None:
    plain, other = linked()
    peer = _Peer(other, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context(version)))
    last = await peer.shake()
    await peer.send(last + peer.say(b"early") + peer.say(b" bird"))
    ear = Ear(await accepting)
    await ear.hears(b"early bird")


@both_versions
@on_every_loop
async def test_who_speaks_and_leaves_with_the_end_of_the_handshake_is_heard(version: ssl.TLSVersion) -> None:
    """As who sends a cancel request does."""
    plain, other = linked()
    peer = _Peer(other, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context(version)))
    last = await peer.shake()
    await peer.send(last + peer.say(b"cancel that query") + peer.bid_farewell())
    other.close()
    ear = Ear(await accepting)
    await ear.loss()
    assert ear.heard == b"cancel that query"


@on_every_loop
async def test_who_speaks_and_is_cut_off_with_the_end_of_the_handshake_is_heard() -> None:
    plain, other = linked()
    peer = _Peer(other, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    last = await peer.shake()
    await peer.send(last + peer.say(b"cancel that query"))
    other.close()
    server = await accepting
    await turns(6)
    ear = Ear(server)
    assert not ear.losses
    await ear.loss()
    assert ear.heard == b"cancel that query"


@on_every_loop
async def test_what_comes_with_the_end_of_the_handshake_waits_until_it_is_wanted() -> None:
    plain, other = linked()
    peer = _Peer(other, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    last = await peer.shake()
    await peer.send(last + peer.say(b"early"))
    server = await accepting
    ear = Ear(server)
    server.set_reading(False)
    await turns()
    assert not ear.heard
    server.set_reading(True)
    assert not ear.heard
    await ear.hears(b"early")


@both_versions
@on_every_loop
async def test_records_may_be_cut_anywhere(version: ssl.TLSVersion) -> None:
    server, peer = await _served(version)
    ear = Ear(server)
    dice = random.Random(5)
    said = [dice.randbytes(dice.choice((1, 30, 3_000, 16_384))) for _ in range(60)]
    for piece in _cut(b"".join(map(peer.say, said)), dice):
        await peer.send(piece)
        if dice.random() < 0.5:
            await turns(1)
    await ear.hears(b"".join(said))


@both_versions
@on_every_loop
async def test_ten_megabytes_pass_both_ways_at_once(version: ssl.TLSVersion) -> None:
    client, server = await _shaken(version)
    ears = Ear(client), Ear(server)
    pieces = [random.Random(number).randbytes(1_000_000) for number in range(10)]

    async def say_all(link: TlsLink, ear: Ear) -> None:
        for piece in pieces:
            await ear.takes_bytes.wait()
            link.write(piece)

    await asyncio.gather(say_all(client, ears[0]), say_all(server, ears[1]))
    for ear in ears:
        await ear.hears(b"".join(pieces))


@on_every_loop
async def test_who_wants_no_bytes_for_now_hears_none_and_misses_none() -> None:
    server, peer = await _served()
    ear = Ear(server)
    ear.on_data = lambda _: server.set_reading(False)
    await peer.send(peer.say(b"one") + peer.say(b"two"))
    await ear.hears(b"onetwo")
    await peer.send(peer.say(b"three"))
    await turns()
    assert is_quiet()
    assert ear.heard == b"onetwo"
    server.set_reading(True)
    await ear.hears(b"onetwothree")
    await peer.send(peer.say(b"four")[:10])
    await turns()
    assert is_quiet()


@on_every_loop
async def test_an_empty_write_says_nothing() -> None:
    client, server = await _shaken()
    at_client, at_server = Ear(client), Ear(server)
    client.write(b"")
    client.write(b"x")
    await at_server.hears(b"x")
    server.write(b"")
    server.close()
    assert await at_client.loss() is None


@on_every_loop
async def test_a_writer_is_told_to_wait_and_to_go_on() -> None:
    client, server = await _shaken()
    at_client, at_server = Ear(client), Ear(server)
    server.set_reading(False)
    written = fill(client) + b"x" * 200_000
    client.write(b"x" * 200_000)
    assert at_client.flow == ["pause"]
    assert client.unsent_bytes > 200_000
    server.set_reading(True)
    await at_server.hears(written)
    await at_client.until(lambda: len(at_client.flow) > 1)
    assert at_client.flow == ["pause", "resume"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
@on_every_loop
async def test_a_change_of_keys_is_taken_part_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = await asyncio.create_subprocess_exec(
            "openssl",
            "s_client",
            "-connect",
            f"127.0.0.1:{listener.getsockname()[1]}",
            "-tls1_3",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listener.accept)
    accepted.setblocking(False)
    server = await accept_tls(link_over(accepted), _server_context())
    ear = Ear(server)
    assert client.stdin is not None
    assert client.stdout is not None
    for number in range(3):
        client.stdin.write(b"K\n")  # which is its command to do so
        await client.stdout.readuntil(b"KEYUPDATE\n")
        client.stdin.write(b"question %d\n" % number)
        expected = b"".join(b"question %d\n" % at for at in range(number + 1))
        await ear.hears(expected)
        server.write(b"answer %d\n" % number)
        await client.stdout.readuntil(b"answer %d\n" % number)
    server.close()
    client.stdin.close()
    await client.wait()


# The end.


@both_versions
@on_every_loop
async def test_what_was_said_before_the_farewell_is_heard_first(version: ssl.TLSVersion) -> None:
    server, peer = await _served(version)
    ear = Ear(server)
    await peer.send(peer.say(b"x" * 50_000) + peer.bid_farewell())
    assert await ear.loss() is None
    assert ear.heard == b"x" * 50_000


@on_every_loop
async def test_a_farewell_is_heard_when_bytes_are_wanted_again() -> None:
    server, peer = await _served()
    ear = Ear(server)
    server.set_reading(False)
    await peer.send(peer.say(b"the last word") + peer.bid_farewell())
    peer.sock.close()
    await turns()
    assert is_quiet()
    assert not ear.losses
    server.set_reading(True)
    assert await ear.loss() is None
    assert ear.heard == b"the last word"


@both_versions
@on_every_loop
async def test_a_close_sends_what_is_unsent_and_a_farewell(version: ssl.TLSVersion) -> None:
    server, peer = await _served(version)
    ear = Ear(server)
    written = fill(server)
    server.close()
    server.close()
    server.write(b"too late")
    assert await peer.hear(len(written) + 1) == written
    assert await ear.loss() is None


@on_every_loop
async def test_an_abort_says_nothing_and_waits_for_nothing() -> None:
    server, peer = await _served()
    ear = Ear(server)
    fill(server)
    server.abort()
    assert not ear.losses
    assert server.unsent_bytes == 0
    server.write(b"too late")
    assert await ear.loss() is None
    with pytest.raises(ssl.SSLEOFError):
        await peer.hear(10_000_000)


@on_every_loop
async def test_of_a_record_that_is_cut_off_nothing_is_heard_but_all_before_it() -> None:
    server, peer = await _served()
    ear = Ear(server)
    await peer.send(peer.say(b"whole") + peer.say(b"cut off")[:-1])
    peer.sock.close()
    await ear.loss()
    assert ear.heard == b"whole"


@both_versions
@on_every_loop
async def test_a_record_that_was_tampered_with_ends_the_link_behind_what_came_before_it(
    version: ssl.TLSVersion,
) -> None:
    server, peer = await _served(version)
    ear = Ear(server)
    spoiled = bytearray(peer.say(b"transfer 100 to Mallory"))
    whole = peer.say(b"whole")
    spoiled[-1] ^= 1
    await peer.send(bytes(spoiled) + whole)
    assert isinstance(await ear.loss(), ssl.SSLError)
    assert not ear.heard


@both_versions
@on_every_loop
async def test_what_came_before_a_record_that_was_tampered_with_is_heard(version: ssl.TLSVersion) -> None:
    server, peer = await _served(version)
    ear = Ear(server)
    whole = peer.say(b"whole")
    spoiled = bytearray(peer.say(b"spoiled"))
    spoiled[-1] ^= 1
    await peer.send(whole + bytes(spoiled))
    assert isinstance(await ear.loss(), ssl.SSLError)
    assert ear.heard == b"whole"


@on_every_loop
async def test_a_reset_is_told_as_what_it_is() -> None:
    plain, sock = linked(tcp_pair)
    peer = _Peer(sock, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    await peer.send(await peer.shake())
    ear = Ear(await accepting)
    await peer.hear(0)
    reset(sock)
    assert isinstance(await ear.loss(), ConnectionResetError)


@on_every_loop
async def test_a_link_that_was_lost_before_it_had_a_receiver_tells_the_first_one() -> None:
    server, peer = await _served()
    peer.sock.close()
    await turns(6)
    ear = Ear(server)
    assert not ear.losses
    assert isinstance(await ear.loss(), (OSError, type(None)))
    server.write(b"nobody")
    server.close()
    server.abort()
    server.set_reading(True)
    assert len(ear.losses) == 1


@on_every_loop
async def test_what_a_peer_said_before_it_reset_is_heard_though_a_write_failed_first() -> None:
    plain, sock = linked(tcp_pair)
    peer = _Peer(sock, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    await peer.send(await peer.shake())
    server = await accepting
    ear = Ear(server)
    sock.send(peer.say(b"last words"))
    reset(sock)
    server.write(b"an answer")
    server.write(b"another")
    assert isinstance(await ear.loss(), ConnectionError)
    assert ear.heard == b"last words"


# Receivers that fail.


def _fail(fault: Exception) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise fault

    return fail


@on_every_loop
async def test_a_receiver_that_raises_loses_its_connection() -> None:
    server, peer = await _served()
    ear = Ear(server)
    fault = RuntimeError("a fault")
    ear.on_data = _fail(fault)
    await peer.send(peer.say(b"x"))
    assert await ear.loss() is fault
    assert complaints() == [fault]


@on_every_loop
async def test_a_receiver_that_raises_at_what_came_with_the_handshake_loses_its_connection() -> None:
    plain, other = linked()
    peer = _Peer(other, _client_context())
    accepting = asyncio.create_task(accept_tls(plain, _server_context()))
    last = await peer.shake()
    await peer.send(last + peer.say(b"early"))
    ear = Ear(await accepting)
    fault = RuntimeError("a fault")
    ear.on_data = _fail(fault)
    assert await ear.loss() is fault
    assert complaints() == [fault]


@on_every_loop
async def test_a_receiver_that_closes_at_what_came_with_the_farewell_is_told_the_end_once() -> None:
    server, peer = await _served()
    ear = Ear(server)
    ear.on_data = lambda _: server.close()
    await peer.send(peer.say(b"x") + peer.bid_farewell())
    assert await ear.loss() is None
