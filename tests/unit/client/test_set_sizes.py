"""What a client SETs is bounded: by statement, by string, by batch, by transaction and by session."""

from __future__ import annotations

import pytest

from proxy.client.session_terms import SessionLimits
from tests.support.messages import (
    PARSED,
    SYNC,
    bind,
    complete,
    describe,
    execute,
    parse,
    query,
    ready,
)
from tests.support.playbook import CONTEXT_RAN, Limits, Play, Plays, tells

LIMIT = 4096
LIMITS = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 50, max_settings_bytes=LIMIT))
LONG = "x" * 2500
SHORT = "x" * 200
BOTH_PARSED = PARSED + CONTEXT_RAN + PARSED + PARSED + ready("I")


def ask(book: Play, data: bytes, answer: bytes) -> bytes:
    """What goes to the server; its answer goes back."""
    book.session.client_data(data)
    sent = b"".join(did.data for did in book.take() if did.what == "to_server")
    if sent and answer:
        book.feed(answer)
        book.take()
    return sent


def set_to(name: str, value: str) -> bytes:
    return query(f"SET app.{name} = '{value}'")


def put(book: Play, data: bytes, tag: str = "SET") -> bool:
    """Whether a SET reaches PostgreSQL, which takes it."""
    context = complete("SET") * book.session.context.statements
    return bool(ask(book, data, context + complete(tag) + ready("I")))


def test_more_than_the_limit_is_refused_and_said_before_it_reaches_postgresql(play: Plays) -> None:
    book = play(limits=LIMITS)
    assert put(book, set_to("a", LONG))
    book.session.client_data(set_to("b", LONG))
    book << tells("54000", ready("I"), hint=True)
    # What was set stands, and what is set to something else counts once.
    assert put(book, set_to("a", LONG[::-1]))
    assert not put(book, set_to("b", LONG))
    assert put(book, query("RESET app.a"))
    assert put(book, set_to("b", LONG))


@pytest.mark.parametrize(
    "text",
    [
        f"SET app.a = '{LONG}'; SET app.b = '{LONG}'",
        f"SELECT set_config('app.a', '{LONG + LONG}', false)",
        f"BEGIN; SET app.a = '{LONG + LONG}'; COMMIT",
    ],
)
def test_a_string_of_statements_counts_as_a_whole(play: Plays, text: str) -> None:
    book = play(limits=LIMITS)
    book.session.client_data(query(text))
    book << tells("54000", ready("I"), hint=True)


def test_many_small_ones_count_with_what_each_costs(play: Plays) -> None:
    book = play(limits=LIMITS)
    taken = 0
    while put(book, set_to(f"a{taken:02}", "")):
        taken += 1
        assert taken < LIMIT
    assert taken == LIMIT // (100 + len("app.a12"))


def test_what_is_set_for_the_transaction_alone_does_not_count(play: Plays) -> None:
    book = play(limits=LIMITS)
    ask(book, query("BEGIN"), complete("BEGIN") + ready("T"))
    for name in "abc":
        assert ask(book, query(f"SET LOCAL app.{name} = '{LONG}'"), complete("SET") * 2 + ready("T"))


def test_savepoints_do_not_hide_what_is_remembered_under_them(play: Plays) -> None:
    book = play(limits=LIMITS)
    ask(book, query("BEGIN"), complete("BEGIN") + ready("T"))
    assert ask(book, set_to("a", LONG), complete("SET") * 2 + ready("T"))
    ask(book, query("SAVEPOINT s"), complete("SAVEPOINT") + ready("T"))
    sent = ask(book, set_to("a", LONG), complete("SET") + ready("T"))
    assert LONG.encode() not in sent
    assert b"gatehouse_refused" in sent  # so that PostgreSQL fails the transaction, too


def test_what_a_batch_sets_counts_before_it_is_answered(play: Plays) -> None:
    book = play(limits=LIMITS)
    ask(book, parse("a", f"SET app.a = '{LONG}'") + parse("b", f"SET app.b = '{LONG}'") + SYNC, BOTH_PARSED)
    one = b"".join((bind("a"), execute()))
    sent = ask(book, one + bind("b") + execute() + SYNC, b"")
    assert b"gatehouse_refused" in sent
    book = play(limits=LIMITS)
    ask(book, parse("a", f"SET app.a = '{LONG}'") + parse("b", f"SET app.b = '{SHORT}'") + SYNC, BOTH_PARSED)
    sent = ask(book, one + bind("b") + execute() + SYNC, b"")
    assert b"gatehouse_refused" not in sent


def test_the_parameters_of_set_config_count(play: Plays) -> None:
    book = play(limits=LIMITS)
    call = parse("", "SELECT set_config($1, $2, false)")
    assert ask(book, call + bind("", b"app.a", SHORT.encode()) + describe("P") + execute() + SYNC, b"")
    book = play(limits=LIMITS)
    sent = ask(book, call + bind("", b"app.a", (LONG + LONG).encode()) + execute() + SYNC, b"")
    assert LONG.encode() not in sent
