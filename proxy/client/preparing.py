"""What a server has to be given before a statement can be bound there: the statement, and the context.

A server that has a client's statement under the proxy's name for it is not told again. Where definitions have changed
since, the client must not get columns other than those that it was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.mending import CheckFirst, is_written_otherwise
from proxy.client.states import State
from proxy.context.context import follow
from proxy.errors import StatementOutdated
from proxy.server.prepared import close_statement
from proxy.server.units import (
    BIND,
    CLOSE,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    NOTED,
    PARSE,
    QUERY,
    STATEMENT,
    SYNC,
    Description,
    Eviction,
    ParseRecord,
)
from proxy.wire import codes, frontend

if TYPE_CHECKING:
    from proxy.client.extended import ExtendedProtocol
    from proxy.client.session import Session
    from proxy.client.statements import Statement
    from proxy.server.ports import ServerPort

_INJECTED_STATEMENT: Final = STATEMENT | DROP | INJECTED
_INJECTED_QUERY: Final = QUERY | DROP | INJECTED


def begin_segment(session: Session, *, is_alone: bool = False) -> ServerPort:
    """Something is about to be sent with nothing under way; the server's session follows the client's first.

    What must be alone in its transaction can have no context in front: the session has all of it, until the next begins.
    """
    server = session.server
    assert server is not None
    session.start(server)
    wanted = session.context.lasting if is_alone else session.wanted
    if server.followed != wanted and (session.status == codes.IDLE or session.deferred):
        session.send(follow(server.followed, wanted))
        server.ledger.units.append(_INJECTED_QUERY)
        server.followed = wanted
        session.cancel_is_held = True
        server.prepared.unnamed = None
    return server


def inject_query(session: Session, server: ServerPort) -> None:
    """Put the context in place by a Query of its own: it takes no snapshot, and its failure fails the block."""
    session.send(session.context.query)
    server.ledger.units.extend([_INJECTED_STATEMENT] * session.context.statements)
    server.ledger.units.append(_INJECTED_QUERY)
    server.prepared.unnamed = None
    session.cancel_is_held = True
    session.progress.in_place = True
    session.stats.context_injections += 1


def parse_unnamed(
    extended: ExtendedProtocol, server: ServerPort, statement: Statement, client_name: bytes | None, message: bytes
) -> None:
    record = ParseRecord(b"", client_name, extended.own.next_order(), extended.own.unnamed)
    server.ledger.parses.append(record)
    server.prepared.unnamed = statement
    extended.send(message, PARSE)


def send_parse(
    extended: ExtendedProtocol, server: ServerPort, statement: Statement, unit: int, client_name: bytes | None
) -> None:
    make_room(extended, server, statement.server_name)
    server.ledger.parses.append(ParseRecord(statement.server_name, client_name, extended.own.next_order()))
    extended.send(statement.parse, unit)


def make_room(extended: ExtendedProtocol, server: ServerPort, name: bytes) -> None:
    """`name` is about to be prepared: close the least recently used statement, if there are too many."""
    surplus = server.prepared.add(name)
    if surplus is not None:
        extended.send(close_statement(surplus), CLOSE | DROP | NOTED)
        server.ledger.notes.append(Eviction(surplus, extended.own.next_order()))


def present(extended: ExtendedProtocol, statement: Statement) -> Statement:
    """What stands for a shared statement where it may not be used: a like of it, of the client's own.

    It is shared by those for whom it means the same. Under other settings PostgreSQL would parse it to something else,
    also when a server has it already and a change of definitions makes it read the text again.
    """
    session = extended.session
    own = extended.own
    key = session.context.plan_key
    if own.likes is None:
        own.likes = {}
    known = own.likes.get(statement.server_name)
    if known is not None and known[0] == key:
        return known[1]
    like = session.shared.catalog.private(statement.body, statement.verdict)
    like.note = statement.note
    like.encoding = statement.encoding
    like.columns, like.types = statement.columns, statement.types
    own.likes[statement.server_name] = key, like
    return like


def ensure_parsed(
    extended: ExtendedProtocol, server: ServerPort, statement: Statement, *, named: bool, may_look: bool = False
) -> None:
    """Have the statement on this server. What the client was told of it is looked at again where it is parsed anew.

    Raises StatementOutdated where the text would be read as other characters. Raises CheckFirst if there can be a look before
    anything of the client's runs (`may_look`); else, should it be something else now, nobody sees rows of it.
    """
    if named:
        if server.prepared.touch(statement.server_name):
            return
    elif server.prepared.unnamed is statement:
        return
    if extended.parsed is not statement and is_written_otherwise(extended.session, statement):
        raise StatementOutdated(
            "the prepared statement was written in another client_encoding",
            hint="Prepare it again, or use characters of ASCII in it.",
        )
    must_look = extended.checks is not statement and (bool(statement.columns) or statement.takes_parameters)
    if must_look and may_look and extended.session.status != codes.FAILED:
        raise CheckFirst(statement, is_named=named)
    if named:
        send_parse(extended, server, statement, PARSE | DROP, None)
    else:
        server.prepared.unnamed = statement
        server.ledger.parses.append(ParseRecord(b"", None))
        extended.send(statement.parse_unnamed, PARSE | DROP)
    if must_look:
        extended.send_noted(
            frontend.describe(b"S", statement.server_name if named else b""),
            DESCRIBE | DROP,
            Description(statement, is_fatal=True),
        )


def check(extended: ExtendedProtocol, statement: Statement, *, named: bool) -> None:
    """Parse the statement, and see what it is now, in a batch of its own before the client's."""
    session = extended.session
    server = extended.begin(statement)
    extended.checks = statement
    ensure_parsed(extended, server, statement, named=named)
    extended.send_noted(
        frontend.describe(b"S", statement.server_name if named else b""), DESCRIBE | DROP, Description(statement)
    )
    server.ledger.units.append(SYNC | DROP)
    session.send(frontend.SYNC)
    session.state = State.BUSY


def inject(extended: ExtendedProtocol, server: ServerPort) -> None:
    """Put the context in place by a Bind and Execute without Sync."""
    session = extended.session
    context = session.context
    if not server.prepared.touch(context.statement_name):
        make_room(extended, server, context.statement_name)
        server.ledger.parses.append(ParseRecord(context.statement_name, None))
        extended.send(context.parse, PARSE | DROP | INJECTED)
    extended.send(context.bind_execute, BIND | DROP | INJECTED)
    server.ledger.units.append(EXECUTE | DROP | INJECTED)
    session.progress.in_place = True
    session.stats.context_injections += 1
