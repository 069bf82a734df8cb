"""Prepared statements: the client's names, the servers' names, and what each server knows of them."""

from __future__ import annotations

import pytest

from proxy.client.session_terms import SessionLimits
from tests.support.messages import (
    BOUND,
    CLOSED,
    NO_DATA,
    NO_PARAMETERS,
    PARSED,
    SYNC,
    bind,
    close,
    complete,
    describe,
    execute,
    failed,
    parse,
    query,
    ready,
)
from tests.support.playbook import (
    CONTEXT_RAN,
    GLOBEX,
    PARSE_CONTEXT,
    RUN_CONTEXT,
    Limits,
    Plays,
    acquire,
    client,
    granted,
    on_server,
    release,
    server,
    tells,
    to_client,
    to_server,
)
from tests.support.scenes import SELECT, SELECTED, in_place, prepared


def test_a_named_statement_is_parsed_again_on_a_server_that_does_not_know_it(play: Plays) -> None:
    book = play(waits=True)
    (
        book
        >> client(parse("s", "SELECT $1"), SYNC)
        << acquire()
        >> granted("s1")
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse(on_server(1), "SELECT $1"), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release("s1")
        >> client(describe("S", "s"), bind("s", b"1"), execute(), SYNC)
        << acquire()
        >> granted("s2")
        << to_server(
            PARSE_CONTEXT,
            RUN_CONTEXT,
            parse(on_server(1), "SELECT $1"),
            describe("S", on_server(1)),
            bind(on_server(1), b"1"),
            execute(),
            SYNC,
        )
        >> server(PARSED, CONTEXT_RAN, PARSED, NO_PARAMETERS, NO_DATA, *SELECTED[1:], ready("I"))
        << to_client(NO_PARAMETERS, NO_DATA, *SELECTED[1:], ready("I"))
        << release("s2")
    )


def test_a_statement_that_can_not_be_parsed_again_is_an_error_where_it_was_needed(play: Plays) -> None:
    book = prepared(play)
    book.waits = True
    (
        book
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        >> granted("s2")
        << to_server(
            PARSE_CONTEXT, RUN_CONTEXT, parse(on_server(1), "SELECT $1"), bind(on_server(1), b"1"), execute(), SYNC
        )
        >> server(PARSED, CONTEXT_RAN, failed("42P01"), ready("I"))
        << to_client(failed("42P01"), ready("I"))
        << release("s2")
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        >> granted("s2")
        << to_server(RUN_CONTEXT, parse(on_server(1), "SELECT $1"), bind(on_server(1), b"1"), execute(), SYNC)
    )


def test_clients_share_a_statement_of_the_same_text_and_the_second_parse_stays_here(play: Plays) -> None:
    first = prepared(play)
    (
        play(shared=first.shared, servers=first.servers)
        >> client(parse("other", "SELECT $1"), bind("other", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
        >> server(CONTEXT_RAN, *SELECTED[1:], ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
    )


def test_clients_whose_search_path_differs_share_no_statement(play: Plays) -> None:
    narrowed = play(GLOBEX, startup={"search_path": ("tenant_globex",)})
    narrowed >> client(parse("s", "SELECT 1"), SYNC)
    assert parse(on_server(1), "SELECT 1") in narrowed.take()[-1].data
    other = play(GLOBEX, shared=narrowed.shared)
    other >> client(parse("s", "SELECT 1"), SYNC)
    assert parse(on_server(2), "SELECT 1") in other.take()[-1].data


def test_a_parse_that_is_answered_here_keeps_its_place_behind_what_is_owed(play: Plays) -> None:
    (
        prepared(play)
        >> client(*SELECT[:3], parse("t", "SELECT $1"), close("S", "t"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(CONTEXT_RAN, *SELECTED[:3])
        << to_client(*SELECTED[:3])
        >> server(SELECTED[3], ready("I"))
        << to_client(SELECTED[3], PARSED, CLOSED, ready("I"))
        << release()
    )


def test_a_parse_that_was_answered_here_is_undone_when_what_came_before_it_fails(play: Plays) -> None:
    (
        prepared(play)
        >> client(*SELECT[:3], parse("t", "SELECT $1"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, failed("22012"), ready("I"))
        << to_client(PARSED, BOUND, failed("22012"), ready("I"))
        << release()
        >> client(bind("t", b"1"), SYNC)
        << acquire()
        << tells("26000", ready("I"))
        << release()
    )


def test_a_parse_that_failed_leaves_the_name_free(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("s", "SELEC 1"), SYNC)
        << to_server(parse(on_server(1), "SELEC 1"), SYNC)
        >> server(failed("42601", position=1), ready("E"))
        << to_client(failed("42601", position=1), ready("E"))
        >> client(parse("s", "ROLLBACK"), SYNC)
        << to_server(parse("", "ROLLBACK"), SYNC)
    )


def test_a_name_that_is_taken_is_an_error(play: Plays) -> None:
    """PostgreSQL looks at the name last, so the text is parsed all the same."""
    (
        prepared(play)
        >> client(parse("s", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse(on_server(2), "SELECT 2"), bind("gatehouse_refused"), SYNC)
        >> server(CONTEXT_RAN, PARSED, failed("26000"), ready("I"))
        << tells("42P05", ready("I"))
        << release()
    )


def test_an_error_in_the_text_counts_before_the_name_is_taken(play: Plays) -> None:
    (
        prepared(play)
        >> client(parse("s", "SELEC"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse(on_server(2), "SELEC"), bind("gatehouse_refused"), SYNC)
        >> server(CONTEXT_RAN, failed("42601"), ready("I"))
        << to_client(failed("42601"), ready("I"))
        << release()
    )


def test_a_name_is_free_again_when_it_was_closed(play: Plays) -> None:
    (
        prepared(play)
        >> client(close("S", "s"), SYNC)
        << to_client(CLOSED, ready("I"))
        >> client(parse("s", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse(on_server(2), "SELECT 2"), SYNC)
    )


@pytest.mark.parametrize("message", [bind("nope"), bind(""), describe("S", "nope"), describe("S", "")])
def test_a_statement_that_is_not_there_is_an_error(play: Plays, message: bytes) -> None:
    play() >> client(message, SYNC) << acquire() << tells("26000", ready("I")) << release()


def test_a_client_may_hold_only_so_many_statements(play: Plays) -> None:
    limits = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 1))
    (
        prepared(play, limits)
        >> client(parse("t", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse(on_server(2), "SELECT 2"), bind("gatehouse_refused"), SYNC)
        >> server(CONTEXT_RAN, PARSED, failed("26000"), ready("I"))
        << tells("54000", ready("I"), hint=True)
        << release()
    )


def test_a_clients_statements_take_only_so_many_bytes(play: Plays) -> None:
    limits = Limits(session=SessionLimits(4_000_000, 40_000, 500_000, 10))
    text = "SELECT '" + "x" * 30_000 + "'"
    (
        prepared(play, limits)
        >> client(parse("a", text), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse(on_server(2), text), SYNC)
        >> server(CONTEXT_RAN, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release()
        >> client(parse("b", text), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind("gatehouse_refused"), SYNC)
        >> server(CONTEXT_RAN, failed("26000"), ready("I"))
        << tells("54000", ready("I"), hint=True)
        << release()
    )


def test_an_unnamed_statement_counts_not_against_the_limit(play: Plays) -> None:
    limits = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 1))
    prepared(play, limits) >> client(*SELECT) << acquire() << to_server(RUN_CONTEXT, *SELECT)


def test_the_least_recently_used_statement_makes_room_on_a_full_server(play: Plays) -> None:
    (
        prepared(play, Limits(prepared_on_server=2))
        >> client(parse("t", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, close("S", on_server(1)), parse(on_server(2), "SELECT 2"), SYNC)
        >> server(CONTEXT_RAN, CLOSED, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release()
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        << to_server(
            RUN_CONTEXT,
            close("S", on_server(2)),
            parse(on_server(1), "SELECT $1"),
            bind(on_server(1), b"1"),
            execute(),
            SYNC,
        )
        >> server(CONTEXT_RAN, CLOSED, PARSED, *SELECTED[1:], ready("I"))
        << to_client(*SELECTED[1:], ready("I"))
        << release()
    )


def test_a_close_for_room_that_an_error_made_the_server_skip_is_made_up_for(play: Plays) -> None:
    """Everything is still on the server: parsing it there again would be 42P05."""
    (
        prepared(play, Limits(prepared_on_server=2))
        >> client(*SELECT[:3], parse("t", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3], close("S", on_server(1)), parse(on_server(3), "SELECT 2"), SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, failed("22012"), ready("I"))
        << to_client(PARSED, BOUND, failed("22012"), ready("I"))
        << release()
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
    )


def test_the_unnamed_statement_outlives_its_transaction_and_its_server(play: Plays) -> None:
    book = play(waits=True)
    (
        book
        >> client(parse("", "SELECT 1"), SYNC)
        << acquire()
        >> granted("s1")
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "SELECT 1"), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release("s1")
        >> client(bind(), execute(), SYNC)
        << acquire()
        >> granted("s2")
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED[1:], ready("I"))
        << release("s2")
    )


def test_an_unnamed_statement_that_is_still_on_the_server_is_not_parsed_again(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("", "SELECT 1"), SYNC)
        << to_server(parse("", "SELECT 1"), SYNC)
        >> server(PARSED, ready("T"))
        << to_client(PARSED, ready("T"))
        >> client(bind(), execute(), SYNC)
        << to_server(bind(), execute(), SYNC)
    )


def test_another_clients_unnamed_statement_is_never_run(play: Plays) -> None:
    first = play()
    (
        first
        >> client(parse("", "SELECT 1"), SYNC)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "SELECT 1"), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, ready("I"))
        << to_client(PARSED, ready("I"))
        << release()
    )
    (
        play(shared=first.shared, servers=first.servers)
        >> client(bind(), execute(), SYNC)
        << acquire()
        << tells("26000", ready("I"))
        << release()
    )


@pytest.mark.parametrize("sql", ["DEALLOCATE s", "DEALLOCATE PREPARE s", "DEALLOCATE ALL"])
def test_deallocate_forgets_the_clients_own_statement_in_both_protocols(play: Plays, sql: str) -> None:
    tag = "DEALLOCATE ALL" if sql.endswith("ALL") else "DEALLOCATE"
    nothing = 'SET LOCAL "gatehouse"."nothing" TO \'\''
    by_query = prepared(play) >> client(query(sql)) << to_client(complete(tag), ready("I"))
    by_batch = (
        prepared(play)
        >> client(parse("", sql), bind(), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse("", nothing), bind(), execute(), SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, complete("SET"), ready("I"))
        << to_client(PARSED, BOUND, complete(tag), ready("I"))
        << release()
    )
    for book in (by_query, by_batch):
        book >> client(bind("s", b"1"), SYNC) << acquire() << tells("26000", ready("I")) << release()


def test_deallocate_of_a_name_that_another_client_lacked_finds_ones_own_statement(play: Plays) -> None:
    other = play()
    other >> client(parse("", "DEALLOCATE s"), SYNC)
    other.take()
    book = play(shared=other.shared)
    book >> client(parse("s", "SELECT 1"), SYNC)
    book.take()
    book >> server(PARSED, CONTEXT_RAN, PARSED, ready("I"))
    book.take()
    book >> client(parse("", "DEALLOCATE s"), SYNC) << acquire()
    (sent,) = book.take()
    assert b"DEALLOCATE s" not in sent.data


def test_a_statement_replaced_behind_an_error_is_still_the_old_one(play: Plays) -> None:
    (
        prepared(play)
        >> client(*SELECT[:3], close("S", "s"), parse("s", "SELECT 2"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3], parse(on_server(3), "SELECT 2"), SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, failed("22012"), ready("I"))
        << to_client(PARSED, BOUND, failed("22012"), ready("I"))
        << release()
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
    )


def test_a_statement_closed_behind_an_error_is_still_there(play: Plays) -> None:
    """PostgreSQL skips the Close with the rest of the batch."""
    (
        prepared(play)
        >> client(*SELECT[:3], close("S", "s"), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, failed("22012"), ready("I"))
        << to_client(PARSED, BOUND, failed("22012"), ready("I"))
        << release()
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
    )
