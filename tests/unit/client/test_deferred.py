"""A BEGIN that PostgreSQL hears of with the first statement, and transactions that it never heard of."""

from __future__ import annotations

import pytest

from proxy.errors import PoolTimeout
from tests.support.messages import (
    BOUND,
    EMPTY,
    NO_DATA,
    PARSED,
    SYNC,
    bind,
    complete,
    describe,
    execute,
    failed,
    function_call,
    parse,
    query,
    ready,
    row,
)
from tests.support.playbook import (
    INITECH,
    PREFIX,
    Play,
    Plays,
    acquire,
    cancel_now,
    claim_pin,
    client,
    hang_up,
    release,
    report,
    server,
    shared_by_sessions,
    tells,
    to_client,
    to_server,
    unpin,
)

CONTEXT = parse("gatehouse_test_ctx_1", "SELECT pg_catalog.set_config($1,$2,true)")
ISOLATION = "default_transaction_isolation"
RUN_CONTEXT = bind("gatehouse_test_ctx_1", b"app.tenant_id", b"acme") + execute()


def begun(play: Plays, text: str = "BEGIN", tag: str = "BEGIN") -> Play:
    return (
        play(shared=shared_by_sessions(defers_begin=True))
        >> client(query(text))
        << to_client(complete(tag), ready("T"))
    )


def failed_block(play: Plays) -> Play:
    """No server is to be had for the transaction's first statement."""
    book = begun(play)
    book.refusal = PoolTimeout("no server")
    return book >> client(query("SELECT 1")) << acquire() << tells("53300", ready("E"))


def called(play: Plays) -> Play:
    """A function call does not travel with a BEGIN: that goes ahead by itself."""
    return (
        play(INITECH, shared=shared_by_sessions(defers_begin=True))
        >> client(query("BEGIN"))
        << to_client(complete("BEGIN"), ready("T"))
        >> client(function_call(1))
        << acquire()
        << to_server(query("BEGIN"))
    )


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("BEGIN", "BEGIN"),
        ("begin work;", "BEGIN"),
        ("START TRANSACTION", "START TRANSACTION"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "BEGIN"),
    ],
)
def test_a_begin_holds_no_server_and_goes_in_front_of_the_first_statement(play: Plays, text: str, tag: str) -> None:
    (
        begun(play, text, tag)
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(text.rstrip(";") + "; " + PREFIX + "SELECT 1"))
        >> server(complete(tag), complete("SET"), row(b"1"), complete("SELECT 1"), ready("T"))
        << to_client(row(b"1"), complete("SELECT 1"), ready("T"))
        >> client(query("COMMIT"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), ready("I"))
        << to_client(complete("COMMIT"), ready("I"))
        << release()
    )


@pytest.mark.parametrize(
    "text", ["BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN READ WRITE", "BEGIN; SELECT 1", "BEGIN x"]
)
def test_a_begin_that_could_fail_is_postgresqls_at_once(play: Plays, text: str) -> None:
    book = play(shared=shared_by_sessions(defers_begin=True)) >> client(query(text)) << acquire()
    assert len(book.take()) == 1


@pytest.mark.parametrize(("text", "tag"), [("COMMIT", "COMMIT"), ("ROLLBACK", "ROLLBACK"), ("END", "COMMIT")])
def test_a_transaction_without_statements_costs_postgresql_nothing(play: Plays, text: str, tag: str) -> None:
    (
        begun(play)
        >> client(query(" ; "))
        << to_client(EMPTY, ready("T"))
        >> client(query(text))
        << to_client(complete(tag), ready("I"))
    )


@pytest.mark.parametrize("text", ["COMMIT NOW", "ROLLBACK AND", "END 'x'"])
def test_an_end_that_can_not_be_read_is_postgresqls(play: Plays, text: str) -> None:
    (
        begun(play)
        >> client(query(text))
        << acquire()
        << to_server(query("BEGIN; " + text))
        >> server(failed("42601", position=15), ready("I"))
        << to_client(failed("42601", position=8), ready("E"))
        << release()
        >> client(query("ROLLBACK /* it failed */"))
        << to_client(complete("ROLLBACK"), ready("I"))
    )


def test_in_the_extended_protocol_it_goes_in_the_clients_batch(play: Plays) -> None:
    (
        begun(play)
        >> client(parse("", "SELECT 2"), bind(), execute(), SYNC)
        << acquire()
        << to_server(
            parse("", "BEGIN"), bind(), execute(), CONTEXT, RUN_CONTEXT, parse("", "SELECT 2"), bind(), execute(), SYNC
        )
        >> server(PARSED, BOUND, complete("BEGIN"), PARSED, BOUND, row(b""), complete("SELECT 1"))
        >> server(PARSED, BOUND, row(b"2"), complete("SELECT 1"), ready("T"))
        << to_client(PARSED, BOUND, row(b"2"), complete("SELECT 1"), ready("T"))
    )


def test_what_sets_the_transaction_comes_before_the_context(play: Plays) -> None:
    (
        begun(play)
        >> client(query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        << acquire()
        << to_server(query("BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        >> server(complete("BEGIN"), complete("SET"), ready("T"))
        << to_client(complete("SET"), ready("T"))
    )


def test_a_string_that_can_not_be_read_fails_the_transaction_as_postgresql_would_have_it(play: Plays) -> None:
    (
        begun(play)
        >> client(query("SELEC 1"))
        << acquire()
        << to_server(query("BEGIN; " + PREFIX + "SELEC 1"))
        >> server(failed("42601"), ready("I"))
        << to_client(failed("42601"), ready("E"))
        << release()
        >> client(query("SELECT 1"))
        << tells("25P02", ready("E"))
        >> client(query("COMMIT"))
        << to_client(complete("ROLLBACK"), ready("I"))
    )


def test_a_string_that_can_not_be_read_keeps_no_server_for_what_is_in_it(play: Plays) -> None:
    """There the transaction would be none: what comes next has to fail, and nothing of it may be committed."""
    temporary = "CREATE TEMP TABLE t (a int,)"
    (
        begun(play)
        >> client(query(temporary))
        << acquire()
        << claim_pin()
        << to_server(query("BEGIN; " + PREFIX + temporary))
        >> server(failed("42601"), ready("I"))
        << unpin()
        << to_client(failed("42601"), ready("E"))
        << release()
        >> client(query("INSERT INTO t VALUES (1)"))
        << tells("25P02", ready("E"))
        >> client(query("COMMIT"))
        << to_client(complete("ROLLBACK"), ready("I"))
    )


@pytest.mark.parametrize(
    "message", [query("SELECT 1"), parse("", "SELECT 1") + bind() + execute() + SYNC], ids=["simple", "extended"]
)
def test_a_setting_that_could_not_be_followed_ends_the_connection(play: Plays, message: bytes) -> None:
    """What came behind it may have run with another isolation level, and the server is not what it was taken for."""
    book = play(shared=shared_by_sessions(defers_begin=True), startup={ISOLATION: ("serializable",)})
    book >> client(query("BEGIN")) << to_client(complete("BEGIN"), ready("T")) >> client(message)
    book.take()
    held = book.servers["s1"]
    assert held.followed
    book >> server(failed("57014"), ready("I")) << cancel_now() << hang_up("57P03")
    assert held.followed == ()
    assert held.taint == 2


def test_a_begin_that_fails_by_itself_ends_the_connection(play: Plays) -> None:
    """It would be tried again and again."""
    (called(play) >> server(failed("53200"), ready("I")) << cancel_now() << hang_up("57P03"))


def test_without_a_server_the_transaction_has_failed_and_can_be_ended(play: Plays) -> None:
    (
        failed_block(play)
        >> client(query("SELECT 1"))
        << tells("25P02", ready("E"))
        >> client(parse("", "SELECT 1"), bind(), execute(), SYNC)
        << tells("25P02", ready("E"))
        >> client(query("ROLLBACK"))
        << to_client(complete("ROLLBACK"), ready("I"))
    )


def test_it_can_be_ended_by_the_extended_protocol(play: Plays) -> None:
    (
        failed_block(play)
        >> client(parse("", "ROLLBACK"), bind(), describe("P"), execute(), SYNC)
        << to_client(PARSED, BOUND, NO_DATA, complete("ROLLBACK"), ready("I"))
    )


def test_what_is_refused_fails_the_transaction(play: Plays) -> None:
    (
        begun(play)
        >> client(query("SET app.tenant_id = 'globex'"))
        << tells("42501", ready("E"), hint=True)
        >> client(query("ROLLBACK"))
        << to_client(complete("ROLLBACK"), ready("I"))
    )


def test_a_function_call_waits_until_it_has_begun(play: Plays) -> None:
    (
        called(play)
        >> server(complete("BEGIN"), ready("T"))
        << cancel_now()
        << to_server(query(PREFIX.replace("acme", "initech")), function_call(1))
    )


def test_a_batch_whose_begin_fails_runs_nothing(play: Plays) -> None:
    (
        begun(play)
        >> client(parse("", "SELECT 2"), bind(), execute(), SYNC)
        << acquire()
        << to_server(
            parse("", "BEGIN"), bind(), execute(), CONTEXT, RUN_CONTEXT, parse("", "SELECT 2"), bind(), execute(), SYNC
        )
        >> server(failed("25006"), ready("I"))
        << report("57P03")
        << tells("57P03", ready("E"), hint=True)
        << release()
    )
