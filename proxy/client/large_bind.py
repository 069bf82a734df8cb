"""A Bind that is too large to hold: its head is changed, and the rest is passed on as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.deferral import begin_for_real
from proxy.client.mending import outdated
from proxy.client.names import ends_of_names
from proxy.client.preparing import ensure_parsed, present
from proxy.client.rewrite import block_has_failed
from proxy.client.states import State
from proxy.errors import LimitExceeded, ProxyError
from proxy.server.units import BIND
from proxy.wire import codes

if TYPE_CHECKING:
    from proxy.client.extended import ExtendedProtocol
    from proxy.client.statements import Statement
    from proxy.wire.framing import FrameReader

_MAX_HEAD_BYTES: Final = 4096


def send_large_bind(extended: ExtendedProtocol, reader: FrameReader) -> bool:
    """Send the head of the Bind at the front of the input, and have the rest streamed; False if it has to wait."""
    session = extended.session
    head = reader.look(_MAX_HEAD_BYTES)
    portal_end, name_end = ends_of_names(head)
    name = head[portal_end + 1 : name_end]
    size = reader.size
    if session.server is None and session.status == codes.FAILED:
        extended.refuse(block_has_failed())
        return True
    try:
        statement = _bindable(extended, extended.own.find(name))
    except ProxyError as error:
        extended.refuse(error)
        return True  # the frame is skipped with the rest of the batch
    if not session.ensure_server():
        return session.state == State.IDLE
    if session.deferred and not extended.in_batch:
        begin_for_real(session, extended.server())
        return False
    server = extended.begin(statement)
    ensure_parsed(extended, server, statement, named=bool(name))
    new_name = statement.server_name if name else b""
    try:
        if statement.verdict.leaves_traces:
            extended.note_traces(server, statement)
    except ProxyError as error:
        session.report_refusal(error)
        extended.refuse(error)
        return True
    new_size = size - len(name) + len(new_name)
    reader.take_some(name_end)
    extended.send(bytes((codes.BIND,)) + (new_size - 1).to_bytes(4, "big") + head[5 : portal_end + 1] + new_name, BIND)
    extended.note_portal(head[5:portal_end], statement, None)
    session.intake.stream_rest(size - name_end)
    return True


def _bindable(extended: ExtendedProtocol, statement: Statement) -> Statement:
    session = extended.session
    if statement.plan_key is not None and (statement.plan_key != session.context.plan_key or session.is_apart):
        statement = present(extended, statement)
    if statement.is_outdated:
        raise outdated()
    single = statement.verdict.single
    if single is not None and single.set_config:
        raise LimitExceeded("a set_config() call with parameters of this size is not accepted")
    return statement
