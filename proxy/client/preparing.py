"""What a server has to be given before a statement can be bound there: the statement, and the context.

A server that has a client's statement under the proxy's name for it is not told again. Where definitions have changed
since, the client must not get columns other than those that it was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.mending import CheckFirst, outdated
from proxy.client.states import State
from proxy.context.context import follow
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


def parsable(extended: ExtendedProtocol, server: ServerPort, name: bytes, statement: Statement) -> Statement:
    """The statement, or its like for the settings that hold now, if this server would have to parse it.

    A statement that is shared must not be parsed by other settings than those that it is shared under. `name` is the
    client's, which stands for the like from now on. Raises StatementOutdated if that gives other columns.
    """
    session = extended.session
    key = statement.plan_key
    if key is None or (key == session.context.plan_key and not session.parses_apart):
        return statement
    if statement.server_name in server.prepared if name else server.prepared.unnamed is statement:
        return statement
    catalog = session.shared.catalog
    like = None if session.parses_apart else catalog.find(session.context.plan_key, statement.body)
    if like is None and session.parses_apart:
        like = catalog.private(statement.body, statement.verdict)
    elif like is None:
        like = catalog.add(session.context.plan_key, statement.body, statement.body, statement.verdict)
    like.note = statement.note
    if _differ(like.columns, statement.columns) or _differ(like.types, statement.types):
        raise outdated()
    like.columns = like.columns if statement.columns is None else statement.columns
    like.types = like.types if statement.types is None else statement.types
    extended.own.replace(name, like)
    return like


def _differ(one: bytes | None, other: bytes | None) -> bool:
    return one is not None and other is not None and one != other


def ensure_parsed(extended: ExtendedProtocol, server: ServerPort, statement: Statement, *, named: bool) -> None:
    """Have the statement on this server. What was told of its columns is looked at again where it is parsed anew: should
    it be something else now, nobody sees rows of it."""
    if named:
        if server.prepared.touch(statement.server_name):
            return
        send_parse(extended, server, statement, PARSE | DROP, None)
    elif server.prepared.unnamed is not statement:
        server.prepared.unnamed = statement
        server.ledger.parses.append(ParseRecord(b"", None))
        extended.send(statement.parse_unnamed, PARSE | DROP)
    else:
        return
    if statement.columns and extended.checks is not statement:
        extended.send_noted(
            frontend.describe(b"S", statement.server_name if named else b""),
            DESCRIBE | DROP,
            Description(statement, is_fatal=True),
        )


def mind_version(extended: ExtendedProtocol, statement: Statement, *, named: bool) -> None:
    """Definitions have changed since the client prepared the statement.

    Where it was parsed before, PostgreSQL sees to it. Elsewhere it is parsed anew, and must not give columns other
    than those that the client was told.
    """
    if statement.is_outdated:
        raise outdated()
    if statement.columns is None and statement.types is None:
        return
    session = extended.session
    prepared = extended.server().prepared
    is_there = statement.server_name in prepared if named else prepared.unnamed is statement
    if is_there or session.status == codes.FAILED or extended.checks is statement:
        extended.checks = None
    elif not extended.in_batch:
        raise CheckFirst(statement, is_named=named)


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
