"""The extended protocol: the context in front of batches, statements on whichever server there is, refusals."""

from __future__ import annotations

import pytest

from tests.support.messages import (
    BOUND,
    FLUSH,
    PARSED,
    SYNC,
    bind,
    complete,
    describe,
    execute,
    failed,
    parse,
    query,
    ready,
    row,
)
from tests.support.playbook import (
    CONTEXT_RAN,
    INITECH,
    INITECHS_SESSION,
    PARSE_CONTEXT,
    PREFIX,
    RUN_CONTEXT,
    Plays,
    acquire,
    cancel_now,
    claim_pin,
    client,
    granted,
    on_server,
    release,
    report,
    server,
    tells,
    to_client,
    to_server,
)
from tests.support.scenes import SELECT, SELECTED, in_block, in_failed, in_place, prepared

# The recipe table.


def test_a_batch_outside_a_transaction_has_the_context_in_front_in_the_same_write(play: Plays) -> None:
    (
        play(waits=True)
        >> client(*SELECT)
        << acquire()
        >> granted()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
    )


def test_a_server_that_knows_the_contexts_statement_is_not_told_again(play: Plays) -> None:
    (
        prepared(play)
        >> client(bind("s", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
        >> server(CONTEXT_RAN, *SELECTED[1:], ready("I"))
        << to_client(*SELECTED[1:], ready("I"))
        << release()
    )


def test_a_batch_that_arrives_in_parts_has_one_context(play: Plays) -> None:
    (
        play()
        >> client(parse("", "SELECT 1"))
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "SELECT 1"))
        >> client(bind(), execute())
        << to_server(bind(), execute())
        >> client(SYNC)
        << to_server(SYNC)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(*SELECTED, ready("I"))
        << release()
    )


def test_the_start_of_a_transaction_goes_bare(play: Plays) -> None:
    (
        play()
        >> client(parse("", "BEGIN"), bind(), execute(), SYNC)
        << acquire()
        << to_server(parse("", "BEGIN"), bind(), execute(), SYNC)
        >> server(PARSED, BOUND, complete("BEGIN"), ready("T"))
        << to_client(PARSED, BOUND, complete("BEGIN"), ready("T"))
    )


def test_a_statement_behind_begin_in_the_same_batch_has_the_context_between_them(play: Plays) -> None:
    (
        play()
        >> client(parse("", "BEGIN"), bind(), execute(), *SELECT)
        << acquire()
        << to_server(parse("", "BEGIN"), bind(), execute(), PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, BOUND, complete("BEGIN"), PARSED, CONTEXT_RAN, *SELECTED, ready("T"))
        << to_client(PARSED, BOUND, complete("BEGIN"), *SELECTED, ready("T"))
        >> client(*SELECT)
        << to_server(*SELECT)
    )


def test_a_statement_behind_commit_in_the_same_batch_has_the_context_again(play: Plays) -> None:
    commit = (parse("", "COMMIT"), bind(), execute())
    (
        in_place(play)
        >> client(*commit, *SELECT)
        << to_server(*commit, PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, BOUND, complete("COMMIT"), PARSED, CONTEXT_RAN, *SELECTED, ready("I"))
        << to_client(PARSED, BOUND, complete("COMMIT"), *SELECTED, ready("I"))
        << release()
    )


def test_the_first_batch_of_a_block_has_a_query_of_set_locals_in_front(play: Plays) -> None:
    (
        in_block(play)
        >> client(*SELECT)
        << to_server(query(PREFIX), *SELECT)
        >> server(complete("SET"), ready("T"))
        << cancel_now()
        >> server(*SELECTED, ready("T"))
        << to_client(*SELECTED, ready("T"))
        >> client(*SELECT)
        << to_server(*SELECT)
    )


def test_a_cancel_is_held_while_the_context_of_a_block_is_under_way(play: Plays) -> None:
    book = in_block(play)
    book >> client(*SELECT) << to_server(query(PREFIX), *SELECT)
    assert book.session.cancel_is_held
    book >> server(complete("SET"), ready("T")) << cancel_now()
    assert not book.session.cancel_is_held


@pytest.mark.parametrize("sql", ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "COMMIT AND CHAIN", "COMMIT"])
def test_what_must_come_before_the_first_snapshot_goes_bare_in_a_block(play: Plays, sql: str) -> None:
    (
        in_block(play)
        >> client(parse("", sql), bind(), execute(), SYNC)
        << to_server(parse("", sql), bind(), execute(), SYNC)
    )


def test_a_read_behind_set_transaction_in_the_same_batch_has_the_context_between_them(play: Plays) -> None:
    level = (parse("", "SET TRANSACTION READ ONLY"), bind(), execute())
    (in_block(play) >> client(*level, *SELECT) << to_server(*level, PARSE_CONTEXT, RUN_CONTEXT, *SELECT))


def test_a_batch_in_a_block_with_its_context_in_place_is_untouched(play: Plays) -> None:
    (
        in_place(play)
        >> client(*SELECT)
        << to_server(*SELECT)
        >> server(*SELECTED, ready("T"))
        << to_client(*SELECTED, ready("T"))
    )


def test_a_failed_transaction_is_left_alone(play: Plays) -> None:
    rollback = (parse("", "ROLLBACK"), bind(), execute(), SYNC)
    (
        in_failed(play)
        >> client(*SELECT)
        << to_server(*SELECT)
        >> server(failed("25P02"), ready("E"))
        << to_client(failed("25P02"), ready("E"))
        >> client(*rollback)
        << to_server(*rollback)
        >> server(PARSED, BOUND, complete("ROLLBACK"), ready("I"))
        << to_client(PARSED, BOUND, complete("ROLLBACK"), ready("I"))
        << release()
    )


def test_a_chained_transaction_gets_the_context_anew(play: Plays) -> None:
    chain = (parse("", "COMMIT AND CHAIN"), bind(), execute(), SYNC)
    (
        in_place(play)
        >> client(*chain)
        << to_server(*chain)
        >> server(PARSED, BOUND, complete("COMMIT"), ready("T"))
        << to_client(PARSED, BOUND, complete("COMMIT"), ready("T"))
        >> client(*SELECT)
        << to_server(query(PREFIX), *SELECT)
    )


def test_a_statement_that_refuses_a_block_runs_bare_in_a_database_of_its_own(play: Plays) -> None:
    vacuum = (parse("", "VACUUM"), bind(), execute(), SYNC)
    play(INITECH) >> client(*vacuum) << acquire() << to_server(query(INITECHS_SESSION), *vacuum)


def test_a_statement_that_refuses_a_block_is_refused_where_the_context_is_needed(play: Plays) -> None:
    (
        play()
        >> client(parse("", "VACUUM"), bind(), execute(), SYNC)
        << acquire()
        << tells("0A000", ready("I"), hint=True)
        << release()
    )


def test_a_context_that_postgresql_refuses_is_reported_as_gatehouses_fault(play: Plays) -> None:
    (
        play()
        >> client(*SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, BOUND, failed("42704"), ready("I"))
        << report("57P03")
        << tells("57P03", ready("I"), hint=True)
        << release()
    )


def test_what_comes_behind_a_refused_context_is_dropped_up_to_the_sync(play: Plays) -> None:
    (
        play()
        >> client(*SELECT[:3])
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT[:3])
        >> server(PARSED, BOUND, failed("42704"))
        << report("57P03")
        << tells("57P03", hint=True)
        >> client(*SELECT[:3], query("SELECT 2"), FLUSH)
        >> client(SYNC)
        << to_server(SYNC)
        >> server(ready("I"))
        << to_client(ready("I"))
        << release()
    )


def test_a_refused_context_of_a_block_is_told_in_the_batchs_place(play: Plays) -> None:
    (
        in_block(play)
        >> client(*SELECT)
        << to_server(query(PREFIX), *SELECT)
        >> server(failed("42704"), ready("E"))
        << report("57P03")
        << cancel_now()
        >> server(failed("25P02"), ready("E"))
        << tells("57P03", ready("E"), hint=True)
    )


def test_a_cancel_that_hits_the_context_is_told_as_a_cancel(play: Plays) -> None:
    (
        play()
        >> client(*SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(PARSED, BOUND, failed("57014"), ready("I"))
        << tells("57014", ready("I"))
        << release()
    )


def test_a_context_statement_that_came_not_to_be_is_parsed_again(play: Plays) -> None:
    (
        play()
        >> client(*SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
        >> server(failed("57014"), ready("I"))
        << tells("57014", ready("I"))
        << release()
        >> client(*SELECT)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
    )


# Refusals.


@pytest.mark.parametrize("sql", ["SET ROLE other", "SET app.tenant_id = 'x'", "SELECT set_config('role', 'x', true)"])
def test_a_refused_statement_outside_a_transaction_never_reaches_the_server(play: Plays, sql: str) -> None:
    (
        play()
        >> client(parse("", sql), bind(), describe("P"), execute())
        << acquire()
        << tells("42501", hint=True)
        << release()
        >> client(SYNC)
        << to_client(ready("I"))
    )


def test_a_refused_statement_in_a_transaction_fails_it(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("", "SET ROLE other"), bind(), execute(), SYNC)
        << to_server(bind("gatehouse_refused"), SYNC)
        >> server(failed("26000"), ready("E"))
        << tells("42501", ready("E"), hint=True)
    )


def test_what_ran_before_a_refused_statement_of_the_same_batch_is_undone_with_it(play: Plays) -> None:
    (
        play()
        >> client(*SELECT[:3], parse("", "SET ROLE other"), bind(), execute(), SYNC)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT[:3], bind("gatehouse_refused"), SYNC)
        >> server(PARSED, CONTEXT_RAN, *SELECTED, failed("26000"), ready("I"))
        << tells("42501", ready("I"), before=b"".join(SELECTED), hint=True)
        << release()
    )


def test_an_earlier_error_of_postgresqls_wins_over_a_refusal(play: Plays) -> None:
    (
        in_place(play)
        >> client(*SELECT[:3], parse("", "SET ROLE other"), SYNC)
        << to_server(*SELECT[:3], bind("gatehouse_refused"), SYNC)
        >> server(PARSED, BOUND, failed("22012"), ready("E"))
        << to_client(PARSED, BOUND, failed("22012"), ready("E"))
        >> client(query("ROLLBACK"))
        << to_server(query("ROLLBACK"))
        >> server(complete("ROLLBACK"), ready("I"))
        << to_client(complete("ROLLBACK"), ready("I"))
        << release()
    )


def test_the_name_of_a_setting_in_a_parameter_is_seen(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("s", "SELECT set_config($1, $2, true)"), SYNC)
        << to_server(parse(on_server(1), "SELECT set_config($1, $2, true)"), SYNC)
        >> server(PARSED, ready("T"))
        << to_client(PARSED, ready("T"))
        >> client(bind("s", b"a.b", b"c"), execute(), SYNC)
        << to_server(bind(on_server(1), b"a.b", b"c"), execute(), SYNC)
        >> server(BOUND, row(b"c"), complete("SELECT 1"), ready("T"))
        << to_client(BOUND, row(b"c"), complete("SELECT 1"), ready("T"))
        >> client(bind("s", b"Role", b"other"), execute(), SYNC)
        << to_server(bind("gatehouse_refused"), SYNC)
        >> server(failed("26000"), ready("E"))
        << tells("42501", ready("E"), hint=True)
    )


# DISCARD ALL, and what is made of SET by batches: see test_replies.


def test_discard_all_is_the_proxys_to_answer_in_a_batch_too(play: Plays) -> None:
    nothing = 'SET LOCAL "gatehouse"."nothing" TO \'\''
    (
        prepared(play)
        >> client(parse("", "DISCARD ALL"), bind(), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, parse("", nothing), bind(), execute(), SYNC)
        >> server(CONTEXT_RAN, PARSED, BOUND, complete("SET"), ready("I"))
        << to_client(PARSED, BOUND, complete("DISCARD ALL"), ready("I"))
        << release()
        >> client(bind("s", b"1"), SYNC)
        << acquire()
        << tells("26000", ready("I"))
        << release()
    )


def test_discard_all_in_a_block_is_refused_in_a_batch_too(play: Plays) -> None:
    nothing = 'SET LOCAL "gatehouse"."nothing" TO \'\''
    (
        in_place(play)
        >> client(parse("", "DISCARD ALL"), bind(), execute(), SYNC)
        << to_server(parse("", nothing), bind(), bind("gatehouse_refused"), SYNC)
        >> server(PARSED, BOUND, failed("26000"), ready("E"))
        << tells("25001", ready("E"), before=PARSED + BOUND)
    )


def test_session_state_beyond_the_tenants_limit_fails_the_batch(play: Plays) -> None:
    book = play()
    book.may_pin = False
    (
        book
        >> client(parse("", "LISTEN jobs"), bind(), execute(), SYNC)
        << acquire()
        << claim_pin()
        << report("53300")
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, parse("", "LISTEN jobs"), bind("gatehouse_refused"), SYNC)
        >> server(PARSED, CONTEXT_RAN, PARSED, failed("26000"), ready("I"))
        << tells("53300", ready("I"), before=PARSED, hint=True)
        << release()
    )
