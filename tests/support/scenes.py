"""Where many stories about a session begin: a transaction that is open, in place or failed; a prepared statement."""

from __future__ import annotations

from typing import Final

from tests.support.messages import (
    BOUND,
    PARSED,
    SYNC,
    bind,
    complete,
    execute,
    failed,
    parse,
    query,
    ready,
    row,
)
from tests.support.playbook import (
    CONTEXT_RAN,
    PARSE_CONTEXT,
    PREFIX,
    RUN_CONTEXT,
    Limits,
    Play,
    Plays,
    acquire,
    client,
    on_server,
    release,
    server,
    to_client,
    to_server,
)

SELECT: Final = (parse("", "SELECT 1"), bind(), execute(), SYNC)
"""A batch, and what a server answers up to its ReadyForQuery."""
SELECTED: Final = (PARSED, BOUND, row(b"1"), complete("SELECT 1"))


def in_block(play: Plays) -> Play:
    """A transaction is open, the context is not in place."""
    return (
        play()
        >> client(query("BEGIN"))
        << acquire()
        << to_server(query("BEGIN"))
        >> server(complete("BEGIN"), ready("T"))
        << to_client(complete("BEGIN"), ready("T"))
    )


def in_place(play: Plays) -> Play:
    """A transaction is open, the context is in place."""
    return (
        in_block(play)
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("T"))
        << to_client(complete("SELECT 1"), ready("T"))
    )


def in_failed(play: Plays) -> Play:
    """The open transaction has failed."""
    return (
        in_place(play)
        >> client(query("SELECT 1/0"))
        << to_server(query("SELECT 1/0"))
        >> server(failed("22012"), ready("E"))
        << to_client(failed("22012"), ready("E"))
    )


def prepared(play: Plays, limits: Limits | None = None) -> Play:
    """The client has prepared `s` in a transaction of its own; the server knows it and the context's statement."""
    return (
        play(limits=limits)
        >> client(parse("s", "SELECT $1"), SYNC)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse(on_server(1), "SELECT $1"), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release()
    )
