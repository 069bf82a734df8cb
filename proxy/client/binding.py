"""Bind and Describe: which statement a client's name stands for, and whether it may have these values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.client.mending import outdated
from proxy.client.names import ends_of_names
from proxy.client.objections import objection_to_encoding, objection_to_size
from proxy.client.preparing import ensure_parsed, present
from proxy.client.rewrite import lasting_by
from proxy.client.set_sizes import bytes_set
from proxy.client.statements import bound_locally, bound_value, bound_values
from proxy.errors import ProtocolViolation
from proxy.guard.rules import judge_bind
from proxy.server.units import BIND, DESCRIBE, Description
from proxy.wire import codes, frontend
from proxy.wire.buffer import frame

if TYPE_CHECKING:
    from proxy.client.extended import ExtendedProtocol
    from proxy.client.statements import Statement
    from proxy.guard.statements import Statement as SqlStatement


def bind(extended: ExtendedProtocol, message: bytes) -> None:
    """Handle a Bind: to which statement, and with what its values would set."""
    session = extended.session
    if message[5] == 0:
        portal_end = 5
        name_end = message.find(b"\0", 6)
        if name_end < 0:
            raise ProtocolViolation("invalid string in message")
    else:
        portal_end, name_end = ends_of_names(message)
    name = message[portal_end + 1 : name_end]
    statement = _statement(extended, name)
    bound = None
    single = statement.verdict.single
    if single is not None and statement.verdict.needs_rules:
        if single.set_config:
            bound = values = bound_values(message[name_end + 1 :])
            error = judge_bind(single, lambda number: bound_value(values, number), session.policy)
            if error is not None:
                raise error
            number = lasting_by(single, values)
            if number:
                message = message[: name_end + 1] + bound_locally(message[name_end + 1 :], number)
                message = frame(codes.BIND, message[5:])
        _mind_size(extended, single, bound)
    may_look = not extended.in_batch
    server = extended.begin(statement)
    ensure_parsed(extended, server, statement, named=bool(name), may_look=may_look)
    portal = message[5:portal_end]
    if name:
        message = frame(codes.BIND, message[5 : portal_end + 1] + statement.server_name + message[name_end:])
    if statement.verdict.leaves_traces:
        extended.note_traces(server, statement)
    extended.send(message, BIND)
    extended.note_portal(portal, statement, bound)


def describe(extended: ExtendedProtocol, message: bytes) -> None:
    """Handle a Describe, of a statement or a portal."""
    if message[5:6] != b"S":
        name = message[6:-1]
        known = extended.portal(name, is_whole=message[5:6] == b"P" and message.find(b"\0", 6) == len(message) - 1)
        if known is None or known[0].columns is not None:
            extended.send(message, DESCRIBE)
        else:
            extended.send_noted(message, DESCRIBE, Description(known[0]))
        return
    name = message[6:-1]
    statement = _statement(extended, name)
    may_look = not extended.in_batch
    server = extended.begin(statement)
    ensure_parsed(extended, server, statement, named=bool(name), may_look=may_look)
    if name:
        message = frontend.describe(b"S", statement.server_name)
    if statement.types is None:
        extended.send_noted(message, DESCRIBE, Description(statement))
    else:
        extended.send(message, DESCRIBE)


def _statement(extended: ExtendedProtocol, name: bytes) -> Statement:
    """What the client's name stands for now. Raises InvalidStatement, and StatementOutdated."""
    session = extended.session
    statement = extended.own.find(name)
    if statement.plan_key is not None and (statement.plan_key != session.context.plan_key or session.is_apart):
        statement = present(extended, statement)
    if statement.is_outdated:
        raise outdated()
    return statement


def _mind_size(extended: ExtendedProtocol, single: SqlStatement, bound: tuple[str | None, ...] | None) -> None:
    """What is set must not become too much, what is still on its way in this batch included."""
    sizes = bytes_set((single,), bound)
    if not sizes:
        return
    sizes = {**extended.sizes_set, **sizes}
    error = objection_to_size(extended.session, sizes) or objection_to_encoding(extended.session, (single,))
    if error is not None:
        raise error
    extended.sizes_set = sizes
