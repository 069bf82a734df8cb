"""What the proxy says on a connection whose client left."""

from __future__ import annotations

from proxy.server.connection import ServerConnection
from proxy.server.jobs import Recovery
from proxy.server.units import BIND, EXECUTE, PARSE, SYNC
from proxy.wire import backend, codes, frontend
from tests.support.messages import BOUND, COPY_IN, PARSED, failed
from tests.support.servers import LinkToNowhere, pretended_server

READY = backend.READY[codes.IDLE]


def recovered(server: ServerConnection, *, in_copy: bool = False, owes_sync: bool = False) -> list[bool]:
    """Begin to recover the server; what becomes of it is added to the list."""
    outcomes: list[bool] = []
    server.run(Recovery(in_copy=in_copy, owes_sync=owes_sync, done=outcomes.append), 60.0)
    return outcomes


async def test_a_copy_that_was_asked_for_with_its_sync_gets_another_one() -> None:
    link = LinkToNowhere()
    server = pretended_server(link, {})
    server.ledger.units.extend((PARSE, BIND, EXECUTE, SYNC))
    outcomes = recovered(server)
    server.data_received(PARSED + BOUND + COPY_IN)
    assert link.written == frontend.copy_fail(b"the client is gone") + frontend.SYNC
    server.data_received(failed("57014"))
    assert outcomes == []
    server.data_received(READY)
    assert outcomes == [True]
    assert server.unusable_because() is None
