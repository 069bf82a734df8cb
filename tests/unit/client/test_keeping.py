"""Servers that a client keeps: pinned until nothing is left of the state, and lasting sessions."""

from __future__ import annotations

from proxy.client.keeping import LEFT_OVER
from proxy.client.session_terms import SessionLimits
from proxy.tenants.model import PoolMode
from tests.support.messages import (
    BOUND,
    COPY_IN,
    PARSED,
    SYNC,
    bind,
    complete,
    copy_data,
    execute,
    failed,
    parse,
    query,
    ready,
    row,
)
from tests.support.playbook import (
    GLOBEX,
    PREFIX,
    Limits,
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
    tells,
    to_client,
    to_server,
    unpin,
)

LASTING = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 50, mode=PoolMode.SESSION))
SINGLE = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 50, mode=PoolMode.STATEMENT))
ESTABLISH = 'SET SESSION "app"."tenant_id" TO \'acme\''


def left(answer: bytes) -> bytes:
    return row(answer) + complete("SELECT 1") + ready("I")


def listening(play: Plays) -> Play:
    return (
        play()
        >> client(query("LISTEN jobs"))
        << acquire()
        << claim_pin()
        << to_server(query(PREFIX + "LISTEN jobs"))
        >> server(complete("SET"), complete("LISTEN"), ready("I"))
        << to_client(complete("LISTEN"), ready("I"))
        << to_server(LEFT_OVER)
        >> server(left(b"1"))
        << cancel_now()
    )


def lasting(play: Plays) -> Play:
    """A client in session pooling that has a server."""
    return (
        play(limits=LASTING)
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query(ESTABLISH))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        << to_server(query("SELECT 1"))
        >> server(row(b"1"), complete("SELECT 1"), ready("I"))
        << to_client(row(b"1"), complete("SELECT 1"), ready("I"))
    )


# Pins.


def test_state_that_outlives_the_transaction_keeps_the_server(play: Plays) -> None:
    book = listening(play)
    assert book.held is not None
    assert book.session.pinned == "LISTEN"
    (
        book
        >> client(query("SELECT 1"))
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
    )


def test_a_pin_ends_when_postgresql_says_that_nothing_is_left(play: Plays) -> None:
    book = (
        listening(play)
        >> client(query("UNLISTEN jobs"))
        << to_server(query(PREFIX + "UNLISTEN jobs"))
        >> server(complete("SET"), complete("UNLISTEN"), ready("I"))
        << to_client(complete("UNLISTEN"), ready("I"))
        << to_server(LEFT_OVER)
        >> server(left(b"0"))
        << unpin()
        << cancel_now()
        << release()
    )
    assert book.servers["s1"].taint == 1  # settings and sequences are looked after by a reset


def test_a_statement_that_failed_pins_nothing(play: Plays) -> None:
    (
        play()
        >> client(query("CREATE TEMP TABLE t (a nonsense)"))
        << acquire()
        << claim_pin()
        << to_server(query(PREFIX + "CREATE TEMP TABLE t (a nonsense)"))
        >> server(complete("SET"), failed("42704"), ready("I"))
        << to_client(failed("42704"), ready("I"))
        << to_server(LEFT_OVER)
        >> server(left(b"0"))
        << unpin()
        << cancel_now()
        << release()
    )


def test_what_comes_while_postgresql_is_asked_waits_its_turn(play: Plays) -> None:
    (
        listening(play)
        >> client(query("UNLISTEN *"))
        << to_server(query(PREFIX + "UNLISTEN *"))
        >> server(complete("SET"), complete("UNLISTEN"), ready("I"))
        << to_client(complete("UNLISTEN"), ready("I"))
        << to_server(LEFT_OVER)
        >> client(query("SELECT 2"))
        >> server(left(b"1"))
        << cancel_now()
        << to_server(query(PREFIX + "SELECT 2"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
    )


def test_the_client_hears_nothing_of_a_question_that_failed_and_the_pin_stays(play: Plays) -> None:
    book = (
        listening(play)
        >> client(query("CLOSE ALL"))
        << to_server(query(PREFIX + "CLOSE ALL"))
        >> server(complete("SET"), complete("CLOSE CURSOR ALL"), ready("I"))
        << to_client(complete("CLOSE CURSOR ALL"), ready("I"))
        << to_server(LEFT_OVER)
        >> server(failed("57014"), ready("I"))
        << cancel_now()
        >> client(query("SELEC"))
        << to_server(query(PREFIX + "SELEC"))
        >> server(failed("42601"), ready("I"))
        << to_client(failed("42601"), ready("I"))
    )
    assert book.session.pinned


def test_discard_all_on_a_pinned_server_is_postgresqls_to_do(play: Plays) -> None:
    book = (
        listening(play)
        >> client(query("DISCARD ALL"))
        << to_server(query("DISCARD ALL"))
        >> server(complete("DISCARD ALL"), ready("I"))
        << unpin()
        << to_client(complete("DISCARD ALL"), ready("I"))
        << release()
    )
    assert book.servers["s1"].taint == 0
    assert len(book.servers["s1"].prepared) == 0


# Session pooling.


def test_the_context_stands_in_the_session_before_the_first_statement_is_sent(play: Plays) -> None:
    book = lasting(play)
    assert book.held is not None
    assert book.held.taint == 2  # whatever happens, the next client gets it discarded
    (
        book
        >> client(parse("", "SELECT 2"), bind(""), execute(), SYNC)
        << to_server(parse("", "SELECT 2"), bind(""), execute(), SYNC)
        >> server(PARSED, BOUND, complete("SELECT 1"), ready("I"))
        << to_client(PARSED, BOUND, complete("SELECT 1"), ready("I"))
    )


def test_nothing_runs_when_the_context_of_the_session_fails(play: Plays) -> None:
    (
        play(GLOBEX, limits=LASTING)
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(
            query(
                "SET SESSION \"app\".\"tenant_id\" TO 'globex'; SET SESSION \"search_path\" TO 'tenant_globex', 'shared'; "
                "SET SESSION \"role\" TO 'globex_role'"
            )
        )
        >> server(failed("22023"), ready("I"))
        << report("57P03")
        << cancel_now()
        << hang_up("57P03")
    )


def test_a_lasting_session_follows_what_the_client_set(play: Plays) -> None:
    (
        lasting(play)
        >> client(query("SET work_mem = '64MB'"))
        << to_server(query("SET LOCAL work_mem = '64MB'"))
        >> server(complete("SET"), ready("I"))
        << to_client(complete("SET"), ready("I"))
        >> client(query("VACUUM"))
        << to_server(query("SET SESSION \"work_mem\" TO '64MB'"), query("VACUUM"))
        >> server(complete("SET"), ready("I"), complete("VACUUM"), ready("I"))
        << cancel_now()
        << to_client(complete("VACUUM"), ready("I"))
    )


def test_the_context_is_given_anew_behind_code_that_nobody_sees_into(play: Plays) -> None:
    (
        lasting(play)
        >> client(query("DO 'begin reset all; end'"))
        << to_server(query("DO 'begin reset all; end'"))
        >> server(complete("DO"), ready("I"))
        << to_client(complete("DO"), ready("I"))
        >> client(query("SELECT 3"))
        << to_server(query(ESTABLISH))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        << to_server(query("SELECT 3"))
        >> server(complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
    )


def test_discard_all_keeps_the_server_and_the_context_comes_back(play: Plays) -> None:
    (
        lasting(play)
        >> client(query("DISCARD ALL"))
        << to_server(query("DISCARD ALL"))
        >> server(complete("DISCARD ALL"), ready("I"))
        << to_client(complete("DISCARD ALL"), ready("I"))
        >> client(query("SELECT 3"))
        << to_server(query(ESTABLISH))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        << to_server(query("SELECT 3"))
        >> server(complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
    )


# Statement pooling.


def test_statement_pooling_refuses_transaction_blocks(play: Plays) -> None:
    for text in ("BEGIN", "SELECT 1; SAVEPOINT a", "COMMIT AND CHAIN"):
        play(limits=SINGLE) >> client(query(text)) << tells("0A000", ready("I"), hint=True)


# What is asked of a sequence.


def test_currval_outside_of_the_transaction_that_called_nextval_is_refused(play: Plays) -> None:
    play() >> client(query("SELECT currval('s')")) << tells("0A000", ready("I"), hint=True)
    (
        play()
        >> client(query("SELECT nextval('s'); SELECT currval('s')"))
        << acquire()
        << to_server(query(PREFIX + "SELECT nextval('s'); SELECT currval('s')"))
        >> server(complete("SET"), complete("SELECT 1"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), complete("SELECT 1"), ready("I"))
        << release()
    )


def test_a_server_is_not_looked_at_in_the_middle_of_a_message(play: Plays) -> None:
    """It would take the question for the rest of that."""
    copy = "UNLISTEN jobs; COPY t FROM STDIN"
    data = copy_data(b"x" * 1000)
    (
        listening(play)
        >> client(query(copy))
        << to_server(query(PREFIX + copy))
        >> server(complete("SET"), complete("UNLISTEN"), COPY_IN)
        << to_client(complete("UNLISTEN"), COPY_IN)
        >> client(data[:100])
        << to_server(data[:100])
        >> server(failed("57014"), ready("I"))
        << to_client(failed("57014"), ready("I"))
        >> client(data[100:], query("SELECT 1"))
        << to_server(data[100:], query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << to_server(LEFT_OVER)
    )
