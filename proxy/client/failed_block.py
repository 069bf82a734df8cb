"""Batches in a transaction block that failed before PostgreSQL heard of it: it can only be ended, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.client.deferral import end_block
from proxy.client.names import ends_of_names, portal_name
from proxy.client.rewrite import Kind, block_has_failed
from proxy.wire import backend, codes

if TYPE_CHECKING:
    from proxy.client.extended import ExtendedProtocol
    from proxy.client.statements import Statement


def answer_in_failed_block(extended: ExtendedProtocol, code: int, message: bytes) -> None:
    """A transaction that PostgreSQL never heard of has failed: it can only be ended."""
    session = extended.session
    if code == codes.PARSE:
        name_end, text_end = ends_of_names(message)
        statement = extended.own.meet(message[name_end + 1 :], message[name_end + 1 : text_end])
        _must_end_block(statement)
        if name_end > 5:
            extended.own.names[message[5:name_end]] = statement
        else:
            extended.own.unnamed = statement
        session.reply(backend.PARSE_COMPLETE)
    elif code == codes.BIND:
        portal_end, name_end = ends_of_names(message)
        statement = extended.own.find(message[portal_end + 1 : name_end])
        _must_end_block(statement)
        extended.portals[portal_name(message[5:portal_end])] = (statement, None)
        session.reply(backend.BIND_COMPLETE)
    elif code == codes.DESCRIBE:
        is_statement = message[5:6] == b"S"
        if is_statement:
            _must_end_block(extended.own.find(message[6:-1]))
        session.reply(backend.NO_PARAMETERS + backend.NO_DATA if is_statement else backend.NO_DATA)
    elif code == codes.EXECUTE:
        if portal_name(message[5 : message.find(b"\0", 5)]) not in extended.portals:
            raise block_has_failed()
        extended.portals.clear()
        end_block(session)
        session.reply(backend.command_complete(b"ROLLBACK"))
    else:
        session.reply(backend.CLOSE_COMPLETE)


def _must_end_block(statement: Statement) -> None:
    single = statement.verdict.single
    if single is None or (single.kind != Kind.COMMIT and single.kind != Kind.ROLLBACK):
        raise block_has_failed()
