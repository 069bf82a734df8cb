"""Query and FunctionCall: every row of the recipe table, refusals, and what the proxy answers itself."""

from __future__ import annotations

import pytest

from proxy.wire import backend, codes
from proxy.wire.buffer import frame, int32
from tests.support.messages import (
    EMPTY,
    PARSED,
    SYNC,
    bind,
    complete,
    failed,
    function_call,
    parse,
    query,
    ready,
    row,
)
from tests.support.playbook import (
    GLOBEX,
    INITECH,
    INITECHS_PREFIX,
    INITECHS_SESSION,
    INITECHS_SESSION_OVER,
    PREFIX,
    Plays,
    acquire,
    cancel_now,
    claim_pin,
    client,
    granted,
    release,
    report,
    server,
    tells,
    to_client,
    to_server,
)
from tests.support.scenes import in_block, in_failed, in_place

# The recipe table.


def test_a_query_outside_a_transaction_carries_the_context_in_front(play: Plays) -> None:
    (
        play(waits=True)
        >> client(query("SELECT 1"))
        << acquire()
        >> granted()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), row(b"1"), complete("SELECT 1"), ready("I"))
        << to_client(row(b"1"), complete("SELECT 1"), ready("I"))
        << release()
    )


def test_every_part_of_a_schema_tenants_context_stands_in_front_with_the_role_last(play: Plays) -> None:
    prefix = (
        'SET LOCAL "app"."tenant_id" TO \'globex\'; '
        "SET LOCAL \"search_path\" TO 'tenant_globex', 'shared'; "
        "SET LOCAL \"role\" TO 'globex_role'; "
    )
    (
        play(GLOBEX)
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(prefix + "SELECT 1"))
        >> server(*[complete("SET")] * 3, complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_the_position_of_an_error_is_where_the_client_wrote_it(play: Plays) -> None:
    (
        play()
        >> client(query("SELECT nope"))
        << acquire()
        << to_server(query(PREFIX + "SELECT nope"))
        >> server(complete("SET"), failed("42703", "column", len(PREFIX) + 8), ready("I"))
        << to_client(failed("42703", "column", 8), ready("I"))
        << release()
    )


def test_the_position_of_a_notice_is_put_right_too(play: Plays) -> None:
    warning = backend.error_from_fields({"S": "WARNING", "C": "01000", "P": str(len(PREFIX) + 3)}).replace(
        b"E", b"N", 1
    )
    put_right = backend.error_from_fields({"S": "WARNING", "C": "01000", "P": "3"}).replace(b"E", b"N", 1)
    (
        play()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), warning, complete("SELECT 1"), ready("I"))
        << to_client(put_right, complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_syntax_error_is_the_clients_own_though_postgresql_meets_it_before_the_context(play: Plays) -> None:
    (
        play()
        >> client(query("SELEC 1"))
        << acquire()
        << to_server(query(PREFIX + "SELEC 1"))
        >> server(failed("42601", "syntax error", len(PREFIX) + 1), ready("I"))
        << to_client(failed("42601", "syntax error", 1), ready("I"))
        << release()
    )


def test_a_context_that_postgresql_refuses_is_reported_as_gatehouses_fault(play: Plays) -> None:
    (
        play()
        >> client(query("INSERT INTO t VALUES (1)"))
        << acquire()
        << to_server(query(PREFIX + "INSERT INTO t VALUES (1)"))
        >> server(failed("42704", 'role "x" does not exist'), ready("I"))
        << report("57P03")
        << tells("57P03", ready("I"), hint=True)
        << release()
    )


@pytest.mark.parametrize("sql", ["BEGIN", "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY", "begin;"])
def test_the_start_of_a_transaction_goes_bare_because_it_reads_nothing(play: Plays, sql: str) -> None:
    (
        play()
        >> client(query(sql))
        << acquire()
        << to_server(query(sql))
        >> server(complete("BEGIN"), ready("T"))
        << to_client(complete("BEGIN"), ready("T"))
    )


@pytest.mark.parametrize(
    ("sql", "tag", "status_after"),
    [
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET", "T"),
        ("SET transaction_isolation = 'serializable'", "SET", "T"),
        ("COMMIT AND CHAIN", "COMMIT", "T"),
        ("ROLLBACK AND CHAIN", "ROLLBACK", "T"),
        ("ROLLBACK TO SAVEPOINT a", "ROLLBACK", "T"),
    ],
)
def test_what_must_come_before_the_first_snapshot_goes_bare_in_a_block(
    play: Plays, sql: str, tag: str, status_after: str
) -> None:
    (
        in_block(play)
        >> client(query(sql))
        << to_server(query(sql))
        >> server(complete(tag), ready(status_after))
        << to_client(complete(tag), ready(status_after))
    )


@pytest.mark.parametrize(("sql", "tag"), [("COMMIT", "COMMIT"), ("END", "COMMIT"), ("ROLLBACK", "ROLLBACK")])
def test_an_empty_transaction_ends_without_a_context_and_gives_the_server_back(play: Plays, sql: str, tag: str) -> None:
    (
        in_block(play)
        >> client(query(sql))
        << to_server(query(sql))
        >> server(complete(tag), ready("I"))
        << to_client(complete(tag), ready("I"))
        << release()
    )


@pytest.mark.parametrize(
    ("sql", "tag"), [("SELECT 1", "SELECT 1"), ("SAVEPOINT a", "SAVEPOINT"), ("SHOW work_mem", "SHOW")]
)
def test_the_first_statement_of_a_block_brings_the_context(play: Plays, sql: str, tag: str) -> None:
    (
        in_block(play)
        >> client(query(sql))
        << to_server(query(PREFIX + sql))
        >> server(complete("SET"), complete(tag), ready("T"))
        << to_client(complete(tag), ready("T"))
    )


def test_isolation_levels_are_set_before_the_context_and_reads_come_behind_it(play: Plays) -> None:
    (
        in_block(play)
        >> client(query("SET TRANSACTION READ ONLY"))
        << to_server(query("SET TRANSACTION READ ONLY"))
        >> server(complete("SET"), ready("T"))
        << to_client(complete("SET"), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_a_statement_in_a_block_with_its_context_in_place_is_untouched(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("UPDATE t SET a = 1"))
        << to_server(query("UPDATE t SET a = 1"))
        >> server(complete("UPDATE 1"), ready("T"))
        << to_client(complete("UPDATE 1"), ready("T"))
        >> client(query("COMMIT"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), ready("I"))
        << to_client(complete("COMMIT"), ready("I"))
        << release()
    )


def test_a_failed_transaction_is_left_alone(play: Plays) -> None:
    (
        in_failed(play)
        >> client(query("SELECT 1"))
        << to_server(query("SELECT 1"))
        >> server(failed("25P02"), ready("E"))
        << to_client(failed("25P02"), ready("E"))
        >> client(query("ROLLBACK"))
        << to_server(query("ROLLBACK"))
        >> server(complete("ROLLBACK"), ready("I"))
        << to_client(complete("ROLLBACK"), ready("I"))
        << release()
    )


def test_a_block_that_failed_before_its_context_gets_none_either(play: Plays) -> None:
    (
        in_block(play)
        >> client(query("SET TRANSACTION SNAPSHOT 'no'"))
        << to_server(query("SET TRANSACTION SNAPSHOT 'no'"))
        >> server(failed("22023"), ready("E"))
        << to_client(failed("22023"), ready("E"))
        >> client(query("SELECT 1"))
        << to_server(query("SELECT 1"))
    )


def test_after_rollback_to_a_savepoint_the_context_is_still_in_place(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("SAVEPOINT a"))
        << to_server(query("SAVEPOINT a"))
        >> server(complete("SAVEPOINT"), ready("T"))
        << to_client(complete("SAVEPOINT"), ready("T"))
        >> client(query("SELECT 1/0"))
        << to_server(query("SELECT 1/0"))
        >> server(failed("22012"), ready("E"))
        << to_client(failed("22012"), ready("E"))
        >> client(query("ROLLBACK TO a"))
        << to_server(query("ROLLBACK TO a"))
        >> server(complete("ROLLBACK"), ready("T"))
        << to_client(complete("ROLLBACK"), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query("SELECT 1"))
    )


@pytest.mark.parametrize(("sql", "tag"), [("COMMIT AND CHAIN", "COMMIT"), ("ROLLBACK AND CHAIN", "ROLLBACK")])
def test_a_chained_transaction_gets_the_context_anew(play: Plays, sql: str, tag: str) -> None:
    (
        in_place(play)
        >> client(query(sql))
        << to_server(query(sql))
        >> server(complete(tag), ready("T"))
        << to_client(complete(tag), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_a_failed_transaction_that_is_chained_gets_the_context_anew(play: Plays) -> None:
    (
        in_failed(play)
        >> client(query("ROLLBACK AND CHAIN"))
        << to_server(query("ROLLBACK AND CHAIN"))
        >> server(complete("ROLLBACK"), ready("T"))
        << to_client(complete("ROLLBACK"), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_several_plain_statements_share_one_context(play: Plays) -> None:
    (
        play()
        >> client(query("SELECT 1; SELECT 2"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1; SELECT 2"))
        >> server(complete("SET"), complete("SELECT 1"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_string_with_transaction_control_gets_the_context_again_after_each_end(play: Plays) -> None:
    (
        play()
        >> client(query("BEGIN; SELECT 1; COMMIT; SELECT 2"))
        << acquire()
        << to_server(query(f"BEGIN; {PREFIX}SELECT 1; COMMIT; {PREFIX}SELECT 2"))
        >> server(complete("BEGIN"), complete("SET"), complete("SELECT 1"), complete("COMMIT"))
        << to_client(complete("BEGIN"), complete("SELECT 1"), complete("COMMIT"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_string_that_chains_transactions_gets_the_context_in_each(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("SELECT 1; COMMIT AND CHAIN; SELECT 2"))
        << to_server(query(f"SELECT 1; COMMIT AND CHAIN; {PREFIX}SELECT 2"))
        >> server(complete("SELECT 1"), complete("COMMIT"), complete("SET"), complete("SELECT 1"), ready("T"))
        << to_client(complete("SELECT 1"), complete("COMMIT"), complete("SELECT 1"), ready("T"))
        >> client(query("SELECT 3"))
        << to_server(query("SELECT 3"))
    )


def test_an_error_behind_the_second_context_of_a_string_has_the_clients_position(play: Plays) -> None:
    sent = f"SELECT 1; COMMIT; {PREFIX}SELECT nope"
    (
        in_place(play)
        >> client(query("SELECT 1; COMMIT; SELECT nope"))
        << to_server(query(sent))
        >> server(complete("SELECT 1"), complete("COMMIT"), complete("SET"))
        << to_client(complete("SELECT 1"), complete("COMMIT"))
        >> server(failed("42703", position=sent.index("nope") + 1), ready("I"))
        << to_client(failed("42703", position="SELECT 1; COMMIT; SELECT nope".index("nope") + 1), ready("I"))
        << release()
    )


def test_a_string_that_begins_a_transaction_leaves_it_open_with_its_context(play: Plays) -> None:
    (
        play()
        >> client(query("BEGIN; SELECT 1"))
        << acquire()
        << to_server(query(f"BEGIN; {PREFIX}SELECT 1"))
        >> server(complete("BEGIN"), complete("SET"), complete("SELECT 1"), ready("T"))
        << to_client(complete("BEGIN"), complete("SELECT 1"), ready("T"))
        >> client(query("SELECT 2"))
        << to_server(query("SELECT 2"))
    )


@pytest.mark.parametrize("sql", ["VACUUM t", "CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE DATABASE x"])
def test_a_statement_that_refuses_a_block_runs_bare_in_a_database_of_its_own(play: Plays, sql: str) -> None:
    (
        play(INITECH)
        >> client(query(sql))
        << acquire()
        << to_server(query(INITECHS_SESSION), query(sql))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        >> server(complete("VACUUM"), ready("I"))
        << to_client(complete("VACUUM"), ready("I"))
        << release()
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(INITECHS_SESSION_OVER), query(INITECHS_PREFIX + "SELECT 1"))
    )


@pytest.mark.parametrize(
    "sql", ["SET client_encoding TO LATIN1", "SELECT set_config('client_encoding', 'LATIN1', false)"]
)
def test_the_encoding_stays_while_values_stand_that_were_given_in_it(play: Plays, sql: str) -> None:
    play(startup={"a.b": ("é",)}) >> client(query(sql)) << tells("0A000", ready("I"), hint=True)


def test_a_statement_that_refuses_a_block_is_refused_where_the_context_is_needed(play: Plays) -> None:
    play() >> client(query("VACUUM t")) << tells("0A000", ready("I"), hint=True)


@pytest.mark.parametrize("sql", ["SET LOCAL work_mem = '1MB'", "LOCK t", "DECLARE c CURSOR FOR SELECT 1"])
def test_what_needs_a_block_goes_bare_outside_of_one_so_that_postgresql_says_so(play: Plays, sql: str) -> None:
    (
        play()
        >> client(query(sql))
        << acquire()
        << to_server(query(sql))
        >> server(failed("25P01"), ready("I"))
        << to_client(failed("25P01"), ready("I"))
        << release()
    )


def test_an_empty_query_in_a_block_goes_bare(play: Plays) -> None:
    (
        in_block(play)
        >> client(query(" ; "))
        << to_server(query(" ; "))
        >> server(EMPTY, ready("T"))
        << to_client(EMPTY, ready("T"))
    )


# FunctionCall.


def test_a_function_call_outside_a_transaction_is_refused_where_the_context_is_needed(play: Plays) -> None:
    play() >> client(function_call(1598)) << tells("0A000", ready("I"), hint=True)


def test_a_function_call_runs_bare_in_a_database_of_its_own_and_taints(play: Plays) -> None:
    book = (
        play(INITECH)
        >> client(function_call(1598))
        << acquire()
        << to_server(query(INITECHS_SESSION), function_call(1598))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        >> server(frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)), ready("I"))
        << to_client(frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)), ready("I"))
        << release()
    )
    assert book.servers["s1"].taint == 1


def test_a_function_call_in_a_block_has_the_context_pipelined_in_front(play: Plays) -> None:
    (
        in_block(play)
        >> client(function_call(1598))
        << to_server(query(PREFIX), function_call(1598))
        >> server(complete("SET"), ready("T"))
        << cancel_now()
        >> server(frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)), ready("T"))
        << to_client(frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)), ready("T"))
        >> client(function_call(1598))
        << to_server(function_call(1598))
    )


def test_a_function_call_behind_a_context_that_failed_is_told_why(play: Plays) -> None:
    (
        in_block(play)
        >> client(function_call(1598))
        << to_server(query(PREFIX), function_call(1598))
        >> server(failed("42704"), ready("E"))
        << report("57P03")
        << cancel_now()
        >> server(failed("25P02"), ready("E"))
        << tells("57P03", ready("E"), hint=True)
    )


# Refusals.


@pytest.mark.parametrize(
    "sql",
    [
        "SET app.tenant_id = 'globex'",
        "SET LOCAL app.tenant_id = 'globex'",
        "RESET app.tenant_id",
        "SET ROLE other",
        "SET SESSION AUTHORIZATION other",
        "SELECT set_config('app.tenant_id', 'globex', true)",
        "SELECT 1; SET app.tenant_id = 'globex'",
        "BEGIN; SET LOCAL role = 'other'; SELECT 1; COMMIT",
        "ALTER ROLE CURRENT_USER PASSWORD 'x'",
    ],
)
def test_the_context_is_not_the_clients_to_change(play: Plays, sql: str) -> None:
    play() >> client(query(sql)) << tells("42501", ready("I"), hint=True)


def test_a_schema_tenant_may_narrow_its_search_path_but_not_leave_it(play: Plays) -> None:
    book = play(GLOBEX)
    book >> client(query("SET search_path = tenant_acme")) << tells("42501", ready("I"), hint=True)
    book >> client(query("SET search_path = tenant_globex")) << acquire()
    (sent,) = book.take()
    assert sent.data.endswith(b"SET LOCAL search_path = tenant_globex\0")


def test_a_refused_query_in_a_transaction_fails_the_transaction_as_postgresql_would(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("SET ROLE other"))
        << to_server(query("gatehouse_refused /* SQLSTATE 42501 */"))
        >> server(failed("42601", position=1), ready("E"))
        << tells("42501", ready("E"), hint=True)
        >> client(query("ROLLBACK"))
        << to_server(query("ROLLBACK"))
    )


def test_a_refused_query_does_not_bring_the_context_and_the_next_chain_does(play: Plays) -> None:
    (
        in_block(play)
        >> client(query("SET ROLE other"))
        << to_server(query("gatehouse_refused /* SQLSTATE 42501 */"))
        >> server(failed("42601", position=1), ready("E"))
        << tells("42501", ready("E"))
        >> client(query("ROLLBACK AND CHAIN"))
        << to_server(query("ROLLBACK AND CHAIN"))
        >> server(complete("ROLLBACK"), ready("T"))
        << to_client(complete("ROLLBACK"), ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
    )


# What the proxy answers itself.


@pytest.mark.parametrize("sql", ["", "  ", ";", "-- nothing\n", "/* nothing */ ;"])
def test_an_empty_query_needs_no_server(play: Plays, sql: str) -> None:
    play() >> client(query(sql)) << to_client(EMPTY, ready("I"))


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("RESET ALL", "RESET"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("discard all;", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("DEALLOCATE PREPARE ALL", "DEALLOCATE ALL"),
    ],
)
def test_what_concerns_only_the_clients_own_state_needs_no_server(play: Plays, sql: str, tag: str) -> None:
    play() >> client(query(sql)) << to_client(complete(tag), ready("I"))


def test_discard_all_in_a_block_is_postgresqls_to_refuse(play: Plays) -> None:
    (
        in_place(play)
        >> client(query("DISCARD ALL"))
        << to_server(query("DISCARD ALL"))
        >> server(failed("25001"), ready("E"))
        << to_client(failed("25001"), ready("E"))
    )


def test_asyncpgs_reset_query_passes_with_its_reset_turned_into_nothing(play: Plays) -> None:
    sql = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"
    (
        play()
        >> client(query(sql))
        << acquire()
        << to_server(query(PREFIX + sql.replace("RESET ALL", 'SET LOCAL "gatehouse"."nothing" TO \'\'')))
        >> server(complete("SET"), complete("SELECT 1"), complete("CLOSE CURSOR ALL"), complete("UNLISTEN"))
        << to_client(complete("SELECT 1"), complete("CLOSE CURSOR ALL"), complete("UNLISTEN"))
        >> server(complete("SET"), ready("I"))
        << to_client(complete("RESET"), ready("I"))
        << release()
    )


# What a statement leaves behind.


@pytest.mark.parametrize(("sql", "taint"), [("SELECT 1", 0), ("SELECT f()", 1), ("DO 'x'", 2), ("SET a.b = 'c'", 0)])
def test_a_statement_that_may_leave_something_behind_taints_its_server(play: Plays, sql: str, taint: int) -> None:
    book = play()
    book >> client(query(sql))
    book.take()
    assert book.servers["s1"].taint >= taint
    assert bool(book.servers["s1"].taint) == bool(taint)


def test_session_state_beyond_the_tenants_limit_is_refused_and_the_server_goes_back(play: Plays) -> None:
    book = play()
    book.may_pin = False
    (
        book
        >> client(query("LISTEN jobs"))
        << acquire()
        << claim_pin()
        << report("53300")
        << tells("53300", ready("I"), hint=True)
        << release()
    )


def test_a_query_forgets_the_unnamed_statement_as_postgresql_does(play: Plays) -> None:
    (
        in_place(play)
        >> client(parse("", "SELECT 2"), SYNC)
        << to_server(parse("", "SELECT 2"), SYNC)
        >> server(PARSED, ready("T"))
        << to_client(PARSED, ready("T"))
        >> client(query("SELECT 1"))
        << to_server(query("SELECT 1"))
        >> server(complete("SELECT 1"), ready("T"))
        << to_client(complete("SELECT 1"), ready("T"))
        >> client(bind(""), SYNC)
        << to_server(bind("gatehouse_refused"), SYNC)
        >> server(failed("26000"), ready("E"))
        << tells("26000", ready("E"))
    )
