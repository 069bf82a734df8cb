"""What the proxy says on a connection whose client left."""

from __future__ import annotations

from proxy.server.connection import ServerConnection
from proxy.server.jobs import Recovery
from proxy.server.units import BIND, DESCRIBE, DROP, EXECUTE, INJECTED, PARSE, QUERY, SYNC
from proxy.wire import backend, codes
from tests.support.messages import BOUND, COPY_IN, PARSED, failed
from tests.support.servers import LinkToNowhere, pretended_server

READY = backend.READY[codes.IDLE]


def recovered(server: ServerConnection, *, in_copy: bool = False, owes_sync: bool = False) -> list[bool]:
    """Begin to recover the server; what becomes of it is added to the list."""
    outcomes: list[bool] = []
    server.run(Recovery(in_copy=in_copy, owes_sync=owes_sync, done=outcomes.append), 60.0)
    return outcomes


def copying() -> tuple[ServerConnection, LinkToNowhere]:
    """A batch was sent, with a COPY FROM STDIN and its Sync."""
    link = LinkToNowhere()
    server = pretended_server(link, {})
    server.ledger.units.extend((PARSE, BIND, EXECUTE, SYNC))
    return server, link


async def test_a_server_that_begins_a_copy_whose_sync_it_may_ignore_is_given_up() -> None:
    server, _ = copying()
    outcomes = recovered(server)
    server.data_received(PARSED + BOUND + COPY_IN + failed("57014"))
    assert outcomes == [False]
    assert server.close_reason == "sync in doubt"


async def test_so_is_one_that_has_begun_it() -> None:
    server, _ = copying()
    server.data_received(PARSED + BOUND + COPY_IN)
    outcomes = recovered(server, in_copy=True, owes_sync=True)
    assert outcomes == [False]
    assert server.close_reason == "sync in doubt"


async def test_a_copy_that_fails_before_it_begins_ends_with_its_sync() -> None:
    server, _ = copying()
    outcomes = recovered(server)
    server.data_received(PARSED + BOUND + failed("57014"))
    assert outcomes == []
    server.data_received(READY)
    assert outcomes == [True]
    assert server.unusable_because() is None


async def test_a_batch_that_was_to_be_sent_again_is_answered_by_the_end_of_its_first_time() -> None:
    """The client left between the error and the ReadyForQuery behind it."""
    link = LinkToNowhere()
    server = pretended_server(link, {})
    server.ledger.units.extend((BIND, DESCRIBE, EXECUTE, SYNC))
    server.ledger.replaying = True
    outcomes = recovered(server)
    server.data_received(READY)
    assert outcomes == [True]
    assert link.written == b""
    assert server.unusable_because() is None


async def test_a_server_that_did_not_follow_the_client_that_left_is_not_taken_for_one_that_did() -> None:
    """The recovery's own cancel can be what stopped it."""
    server = pretended_server(LinkToNowhere(), {})
    server.followed = (("default_transaction_isolation", ("serializable",)),)
    server.ledger.units.extend((QUERY | DROP | INJECTED, QUERY))
    outcomes = recovered(server)
    server.data_received(failed("57014") + READY + failed("57014") + READY)
    assert outcomes == [True]
    assert (len(server.followed), server.taint) == (0, 2)
