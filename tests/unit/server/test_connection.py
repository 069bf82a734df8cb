"""How long a job of the proxy's own may take on a server connection, by the clock."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from proxy.server.connection import ServerConnection
from proxy.server.jobs import Outcome, query_job
from proxy.wire import backend, codes, frontend
from tests.support.servers import LinkToNowhere, pretended_server

SOON_S = 0.02
LATER_S = 0.2
LONG_S = 60.0
ANSWER = backend.command_complete(b"SELECT 0") + backend.READY[codes.IDLE]


@pytest.fixture
def link() -> LinkToNowhere:
    return LinkToNowhere()


@pytest.fixture
def server(link: LinkToNowhere) -> ServerConnection:
    return pretended_server(link, {}, reset_timeout_s=SOON_S)


async def _run(server: ServerConnection, timeout_s: float, answer: bytes = b"") -> Outcome:
    done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    server.run(query_job(b"SELECT", done.set_result), timeout_s)
    if answer:
        server.data_received(answer)
    return await asyncio.wait_for(done, LONG_S / 2)


async def test_a_job_without_an_answer_ends_with_its_connection(server: ServerConnection, link: LinkToNowhere) -> None:
    outcome = await _run(server, SOON_S)
    assert not outcome.is_clean
    assert server.is_closed
    assert server.close_reason == "timeout"
    assert link.written.endswith(frontend.TERMINATE)


async def test_a_reset_without_an_answer_fails(server: ServerConnection) -> None:
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    server.reset(1, done.set_result)
    assert await asyncio.wait_for(done, LONG_S / 2) is False
    assert server.close_reason == "timeout"


async def test_a_job_that_is_done_leaves_no_deadline_to_the_next(server: ServerConnection) -> None:
    assert (await _run(server, SOON_S, ANSWER)).is_clean
    began = monotonic()
    assert not (await _run(server, LATER_S)).is_clean
    assert monotonic() - began >= LATER_S - 0.002
    assert server.close_reason == "timeout"


async def test_a_connection_without_a_job_is_not_closed(server: ServerConnection) -> None:
    loop = asyncio.get_running_loop()
    assert (await _run(server, SOON_S, ANSWER)).is_clean
    passed = loop.create_future()
    loop.call_later(2 * SOON_S, passed.set_result, None)  # behind the deadline of the job that is done
    await passed
    assert not server.is_closed


async def test_a_shorter_deadline_behind_a_longer_one_is_kept(server: ServerConnection) -> None:
    assert (await _run(server, LONG_S, ANSWER)).is_clean
    assert not (await _run(server, SOON_S)).is_clean
    assert server.close_reason == "timeout"


async def test_a_connection_that_is_gone_leaves_no_timer(server: ServerConnection) -> None:
    loop = asyncio.get_running_loop()
    assert (await _run(server, LONG_S, ANSWER)).is_clean
    server.connection_lost(None)
    assert all(handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]
