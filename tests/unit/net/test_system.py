"""The system calls, in Python and in C: both do what system.py says, and say the same of everything that can go wrong."""

from __future__ import annotations

import errno
import os
import resource
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.machinery import EXTENSION_SUFFIXES
from math import inf
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import proxy.net
from proxy.net import system
from tests.support.in_c import module_in_c, needs
from tests.unit.net.wires import MakePair, on_both_families, reset, tcp_pair, unix_pair

_IN_PYTHON: Final = SimpleNamespace(
    receive=system.receive_in_python,
    send=system.send_in_python,
    accept=system.accept_in_python,
    look=system.look_in_python,
    found=system.found_in_python,
)
_IN_C: Final[Any] = module_in_c("proxy.net._system")

if_in_c = needs(_IN_C)
in_both = pytest.mark.parametrize(
    "calls", [pytest.param(_IN_PYTHON, id="python"), pytest.param(_IN_C, id="c", marks=if_in_c)]
)


def _look(calls: Any, epoll: select.epoll | int, until: float) -> list[tuple[int, int]]:
    """What a look has found: descriptors, each with what it is ready for."""
    found = [calls.found(at) for at in range(calls.look(epoll, until))]
    return [(event & 0xFFFFFFFF, event >> 32) for event in found]


@pytest.fixture(params=[tcp_pair, unix_pair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = request.param()
    with one, other:
        yield one, other


@contextmanager
def _listening(family: int, folder: os.PathLike[str] | None = None) -> Iterator[socket.socket]:
    with socket.socket(family) as listener:
        match family:
            case socket.AF_INET:
                listener.bind(("127.0.0.1", 0))
            case socket.AF_INET6:
                listener.bind(("::1", 0))
            case _:
                listener.bind(os.path.join(folder or "", "socket"))
        listener.listen(10)
        listener.setblocking(False)
        yield listener


def _outcome(call: Callable[..., object], *arguments: object) -> object:
    """What it returns, or how it fails."""
    try:
        return call(*arguments)
    except OSError as error:
        return type(error), error.errno
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_without_the_c_that_compiled_modules_count_on_nothing_begins(
    is_compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "proxy.net._system", None)
    monkeypatch.delattr(proxy.net, "_system", raising=False)
    copy = tmp_path / "system.py"
    copy.write_text(Path(system.__file__).read_text())
    (tmp_path / f"poller{EXTENSION_SUFFIXES[0] if is_compiled else '.py'}").touch()
    if is_compiled:
        with pytest.raises(ImportError, match="_system"):
            runpy.run_path(str(copy))
    else:
        assert not runpy.run_path(str(copy))["LOOKS_BY_NUMBER"]


# Reading and writing.


@in_both
def test_what_is_sent_is_received_and_then_the_end(calls: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    assert calls.receive(other.fileno()) is None
    assert calls.send(one.fileno(), b"hello") == 5
    assert calls.send(one.fileno(), memoryview(b"hello, world")[5:]) == 7
    assert calls.receive(other.fileno()) == b"hello, world"
    assert calls.receive(other.fileno()) is None
    one.close()
    assert calls.receive(other.fileno()) == b""
    assert calls.receive(other.fileno()) == b""


@in_both
def test_no_more_than_a_chunk_is_received_and_what_there_is_room_for_sent(
    calls: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    data = os.urandom(20_000_000)
    sent = calls.send(one.fileno(), data)
    assert 0 < sent < len(data)
    heard = b""
    while (chunk := calls.receive(other.fileno())) is not None:
        assert len(chunk) <= system.CHUNK_BYTES
        heard += chunk
    assert heard == data[: len(heard)]
    assert len(heard) > system.CHUNK_BYTES


@in_both
def test_who_sends_to_nobody_hears_so_and_lives(calls: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    other.close()
    for _ in range(3):
        outcome = _outcome(calls.send, one.fileno(), b"x")
    assert outcome == (BrokenPipeError, errno.EPIPE)


@in_both
def test_a_reset_is_received_as_what_it_is(calls: Any) -> None:
    one, other = tcp_pair()
    reset(other)
    with one, pytest.raises(ConnectionResetError):
        calls.receive(one.fileno())


_Step = tuple[str, int]
_steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["send", "answer"]), st.sampled_from([0, 1, 100, 65535, 65536, 65537, 300_000])),
        st.tuples(st.sampled_from(["receive", "hear", "shut", "leave", "reset", "look"]), st.just(0)),
    ),
    max_size=25,
)


def _trace(calls: Any, make_pair: MakePair, steps: list[_Step]) -> list[object]:
    """What the calls say of a connection on which all this is done by either side."""
    said: list[object] = []
    with ExitStack() as stack:
        one, other = make_pair()
        stack.enter_context(one)
        stack.enter_context(other)
        epoll = stack.enter_context(select.epoll())
        epoll.register(one.fileno(), select.EPOLLIN | select.EPOLLOUT)
        ours, theirs = one.fileno(), other.fileno()
        for step, size in steps:
            match step:
                case "send":
                    said.append(_outcome(calls.send, ours, bytes(size)))
                case "answer":
                    said.append(_outcome(calls.send, theirs, bytes(size)) if other.fileno() >= 0 else None)
                case "receive":
                    said.append(_outcome(calls.receive, ours))
                case "hear":
                    said.append(_outcome(calls.receive, theirs) if other.fileno() >= 0 else None)
                case "shut" if other.fileno() >= 0:
                    said.append(_outcome(other.shutdown, socket.SHUT_WR))
                case "leave":
                    other.close()
                case "reset" if other.fileno() >= 0 and make_pair is tcp_pair:
                    reset(other)
                case "look":
                    said.append([events for _, events in _look(calls, epoll, 0.0)])
    return said


@if_in_c
@on_both_families
@given(steps=_steps)
def test_both_say_the_same_of_a_connection(make_pair: MakePair, steps: list[_Step]) -> None:
    assert _trace(_IN_C, make_pair, steps) == _trace(_IN_PYTHON, make_pair, steps)


def _free_number() -> int:
    """Of a descriptor that is not open, nor will be."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1000


@if_in_c
@pytest.mark.parametrize(
    "number", [_free_number(), -1, -7, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 2**70, 1.5, "1", None, b"1"]
)
def test_both_say_the_same_of_what_is_no_descriptor(number: object) -> None:
    for name, arguments in {"receive": (number,), "send": (number, b"x")}.items():
        in_c, in_python = (_outcome(getattr(calls, name), *arguments) for calls in (_IN_C, _IN_PYTHON))
        assert in_c == in_python
        assert in_python in ((OSError, errno.EBADF), OverflowError, TypeError)


@if_in_c
@pytest.mark.parametrize("data", ["text", None, 5, memoryview(b"abcdef")[::2], bytearray(b"abc"), memoryview(b"abc")])
def test_both_say_the_same_of_what_can_not_be_sent(data: object, pair: tuple[socket.socket, socket.socket]) -> None:
    in_c, in_python = (_outcome(calls.send, pair[0].fileno(), data) for calls in (_IN_C, _IN_PYTHON))
    assert in_c == in_python


@if_in_c
def test_both_say_the_same_of_a_socket_that_is_not_connected() -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        for name, *arguments in (("receive",), ("send", b"x")):
            in_c, in_python = (
                _outcome(getattr(calls, name), sock.fileno(), *arguments) for calls in (_IN_C, _IN_PYTHON)
            )
            assert in_c == in_python
            assert in_python in ((OSError, errno.ENOTCONN), (BrokenPipeError, errno.EPIPE))


@if_in_c
def test_a_call_with_too_few_arguments_is_refused() -> None:
    for call in (_IN_C.send, _IN_C.look):
        with pytest.raises(TypeError):
            call()
        with pytest.raises(TypeError):
            call(1, 2, 3)


# Accepting.


@in_both
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_who_connects_is_accepted_by_name(calls: Any, family: int, tmp_path: os.PathLike[str]) -> None:
    with _listening(family, tmp_path) as listener:
        assert calls.accept(listener) is None
        with socket.socket(family) as client:
            client.connect(listener.getsockname())
            fd, peer = calls.accept(listener)
            with socket.socket(fileno=fd) as taken:
                address = client.getsockname()
                assert peer == (f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "unix")
                assert not os.get_blocking(fd)
                assert not os.get_inheritable(fd)
                client.send(b"hello")
                assert taken.recv(10) == b"hello"
        assert calls.accept(listener) is None


@in_both
def test_a_named_client_of_a_unix_socket_is_unix_too(calls: Any, tmp_path: os.PathLike[str]) -> None:
    with _listening(socket.AF_UNIX, tmp_path) as listener, socket.socket(socket.AF_UNIX) as client:
        client.bind(os.path.join(tmp_path, "client"))
        client.connect(listener.getsockname())
        fd, peer = calls.accept(listener)
        os.close(fd)
        assert peer == "unix"


@in_both
def test_a_client_that_has_left_already_is_accepted_or_passed_over(calls: Any) -> None:
    with _listening(socket.AF_INET) as listener:
        client = socket.create_connection(listener.getsockname())
        reset(client)
        with socket.create_connection(listener.getsockname()) as other:
            names = []
            while (taken := calls.accept(listener)) is not None:
                os.close(taken[0])
                names.append(taken[1])
            assert names[-1] == f"127.0.0.1:{other.getsockname()[1]}"


@in_both
def test_running_out_of_descriptors_is_an_error_and_the_client_waits(calls: Any) -> None:
    with _listening(socket.AF_INET) as listener, socket.create_connection(listener.getsockname()):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            outcome = _outcome(calls.accept, listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert outcome == (OSError, errno.EMFILE)
        os.close(calls.accept(listener)[0])


@in_both
def test_what_does_not_listen_accepts_nobody(calls: Any) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        assert _outcome(calls.accept, sock) == (OSError, errno.EINVAL)
    assert _outcome(calls.accept, sock) == (OSError, errno.EBADF)


# Looking.


@in_both
def test_a_look_finds_what_is_ready_and_for_what(calls: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    with select.epoll() as epoll:
        epoll.register(one.fileno(), select.EPOLLIN)
        assert _look(calls, epoll, 0.0) == []
        assert _look(calls, epoll, monotonic() - 5) == []
        assert _look(calls, epoll, monotonic() + 0.002) == []
        other.send(b"x")
        for until in (0.0, monotonic() - 5, monotonic() + 1000, inf):
            assert _look(calls, epoll, until) == [(one.fileno(), select.EPOLLIN)]
        epoll.modify(one.fileno(), select.EPOLLIN | select.EPOLLOUT)
        assert _look(calls, epoll, inf) == [(one.fileno(), select.EPOLLIN | select.EPOLLOUT)]
        other.close()
        ((fd, events),) = _look(calls, epoll, inf)
        assert fd == one.fileno()
        assert events & select.EPOLLIN


@in_both
def test_a_look_never_ends_before_its_time(calls: Any) -> None:
    with select.epoll() as epoll:
        for wait_s in (0.0001, 0.0011, 0.0029):
            until = monotonic() + wait_s
            assert _look(calls, epoll, until) == []
            assert monotonic() >= until


@in_both
def test_a_look_finds_a_part_and_the_next_one_the_rest(calls: Any) -> None:
    with ExitStack() as stack:
        epoll = stack.enter_context(select.epoll())
        numbers = set()
        for _ in range(100):
            one, other = unix_pair()
            stack.enter_context(one)
            stack.enter_context(other)
            epoll.register(one.fileno(), select.EPOLLOUT)
            numbers.add(one.fileno())
        first, second = (dict(_look(calls, epoll, 0.0)) for _ in range(2))
        assert len(first) == len(second) == system.EVENTS_PER_LOOK
        assert first.keys() | second.keys() == numbers


@in_both
def test_what_was_found_is_kept_until_the_next_look_of_that_thread(
    calls: Any, pair: tuple[socket.socket, socket.socket]
) -> None:
    one, other = pair
    with select.epoll() as epoll, select.epoll() as nothing:
        epoll.register(one.fileno(), select.EPOLLIN)
        other.send(b"x")
        assert calls.look(epoll, inf) == 1
        elsewhere: list[int] = []
        thread = threading.Thread(target=lambda: elsewhere.append(calls.look(nothing, 0.0)))
        thread.start()
        thread.join()
        assert elsewhere == [0]
        assert calls.found(0) == select.EPOLLIN << 32 | one.fileno()
        for at in (-1, 1):
            with pytest.raises(IndexError):
                calls.found(at)
        assert calls.look(nothing, 0.0) == 0
        with pytest.raises(IndexError):
            calls.found(0)


@in_both
def test_a_signal_is_handled_while_it_waits(calls: Any) -> None:
    one, other = unix_pair()
    before = signal.signal(signal.SIGUSR1, lambda *_: other.send(b"x"))
    thread = threading.Timer(0.005, os.kill, (os.getpid(), signal.SIGUSR1))
    with one, other, select.epoll() as epoll:
        epoll.register(one.fileno(), select.EPOLLIN)
        thread.start()
        try:
            while not (found := _look(calls, epoll, inf)):
                pass  # it says that there is a signal to handle, or goes on by itself
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, before)
        assert found == [(one.fileno(), select.EPOLLIN)]


@if_in_c
def test_in_c_a_look_takes_a_number_too(pair: tuple[socket.socket, socket.socket]) -> None:
    one, other = pair
    with select.epoll() as epoll:
        epoll.register(one.fileno(), select.EPOLLIN)
        assert _look(_IN_C, epoll.fileno(), monotonic() + 0.001) == []
        other.send(b"x")
        for until in (0.0, inf):
            assert _look(_IN_C, epoll.fileno(), until) == [(one.fileno(), select.EPOLLIN)]
    for number, error in ((_free_number(), OSError), (-1, OSError), (2**70, OverflowError), ("1", TypeError)):
        with pytest.raises(error):
            _IN_C.look(number, 0.0)


@in_both
def test_a_look_at_what_is_closed_fails(calls: Any) -> None:
    epoll = select.epoll()
    epoll.close()
    with pytest.raises(ValueError, match="closed"):
        calls.look(epoll, 0.0)
