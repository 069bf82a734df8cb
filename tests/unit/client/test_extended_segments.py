"""Segments: Flush, several Syncs, portals that are resumed, and a Query behind messages without a Sync."""

from __future__ import annotations

from tests.support.messages import (
    BOUND,
    CLOSED,
    EMPTY,
    FLUSH,
    NO_DATA,
    NO_PARAMETERS,
    PARSED,
    SUSPENDED,
    SYNC,
    bind,
    close,
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
    CONTEXT_RAN,
    PARSE_CONTEXT,
    PREFIX,
    RUN_CONTEXT,
    Plays,
    acquire,
    cancel_now,
    client,
    on_server,
    release,
    report,
    server,
    tells,
    to_client,
    to_server,
)
from tests.support.scenes import SELECT, SELECTED, in_place

# Portals, Flush and several Syncs.


def test_a_portal_with_a_row_limit_is_resumed_in_the_next_batch_of_the_block(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("", "SELECT 1"), bind(portal="p"), execute("p", 1), SYNC)
        << to_server(parse("", "SELECT 1"), bind(portal="p"), execute("p", 1), SYNC)
        >> server(PARSED, BOUND, row(b"1"), SUSPENDED, ready("T"))
        << to_client(PARSED, BOUND, row(b"1"), SUSPENDED, ready("T"))
        >> client(execute("p", 1), close("P", "p"), SYNC)
        << to_server(execute("p", 1), close("P", "p"), SYNC)
        >> server(complete("SELECT 0"), CLOSED, ready("T"))
        << to_client(complete("SELECT 0"), CLOSED, ready("T"))
    )


def test_a_portal_that_does_not_exist_is_postgresqls_to_refuse(play: Plays) -> None:
    (
        in_place(play)
        >> client(describe("P", "nope"), execute("nope"), SYNC)
        << to_server(describe("P", "nope"), execute("nope"), SYNC)
        >> server(failed("34000"), ready("E"))
        << to_client(failed("34000"), ready("E"))
    )


def test_flush_brings_answers_before_the_sync(play: Plays) -> None:
    (
        play()
        >> client(parse("s", "SELECT 1"), describe("S", "s"), FLUSH)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse(on_server(1), "SELECT 1"), describe("S", on_server(1)), FLUSH)
        >> server(PARSED, CONTEXT_RAN, PARSED, NO_PARAMETERS, NO_DATA)
        << to_client(PARSED, NO_PARAMETERS, NO_DATA)
        >> client(bind("s"), execute(), SYNC)
        << to_server(bind(on_server(1)), execute(), SYNC)
        >> server(*SELECTED[1:], ready("I"))
        << to_client(*SELECTED[1:], ready("I"))
        << release()
    )


def test_flush_and_sync_alone_need_no_server(play: Plays) -> None:
    play() >> client(FLUSH, SYNC, SYNC) << to_client(ready("I"), ready("I"))


def test_sync_alone_in_a_transaction_is_answered_with_its_status(play: Plays) -> None:
    in_place(play) >> client(SYNC) << to_client(ready("T"))


def test_of_several_syncs_in_one_chunk_one_segment_at_a_time_is_under_way(play: Plays) -> None:
    (
        play()
        >> client(*SELECT, *SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT)
        >> server(CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
    )


def test_a_segment_behind_one_that_failed_runs_with_a_context_of_its_own(play: Plays) -> None:
    (
        play()
        >> client(*SELECT, *SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, BOUND, failed("42704"), ready("I"))
        << report("57P03")
        << tells("57P03", ready("I"))
        << release()
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT)
    )


# Query behind messages without a Sync.


def test_a_query_behind_an_unsynced_batch_waits_for_a_sync_of_the_proxys_own(play: Plays) -> None:
    (
        play()
        >> client(*SELECT[:3], query("SELECT 2"))
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << cancel_now()
        << to_client(*SELECTED)
        << to_server(query(PREFIX + "SELECT 2"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_query_behind_an_unsynced_batch_of_a_block_finds_the_context_in_place(play: Plays) -> None:
    (
        in_place(play)
        >> client(*SELECT[:3], query("COMMIT"))
        << to_server(*SELECT[:3], SYNC)
        >> server(*SELECTED, ready("T"))
        << cancel_now()
        << to_client(*SELECTED)
        << to_server(query("COMMIT"))
    )


def test_a_function_call_behind_an_unsynced_batch_waits_too(play: Plays) -> None:
    (
        in_place(play)
        >> client(*SELECT[:3], function_call(1598))
        << to_server(*SELECT[:3], SYNC)
        >> server(*SELECTED, ready("T"))
        << cancel_now()
        << to_client(*SELECTED)
        << to_server(function_call(1598))
    )


def test_a_batch_behind_a_refused_query_behind_an_unsynced_batch_starts_afresh(play: Plays) -> None:
    (
        play()
        >> client(*SELECT[:3], query("SET ROLE other"))
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << cancel_now()
        << to_client(*SELECTED)
        << tells("42501", ready("I"))
        << release()
        >> client(*SELECT[:3])
        << acquire()
        << to_server(RUN_CONTEXT, *SELECT[:3])
        >> client(SYNC)
        << to_server(SYNC)
        >> server(CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
    )


def test_an_empty_query_behind_an_unsynced_batch_is_answered_behind_it(play: Plays) -> None:
    (
        play()
        >> client(*SELECT[:3], query(""))
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT[:3], SYNC)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << cancel_now()
        << to_client(*SELECTED)
        << to_client(EMPTY, ready("I"))
        << release()
    )
