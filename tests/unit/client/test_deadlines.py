"""Which limit a client reaches first, told by where it is and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.client.deadlines import Deadline, Limit, Situation, farewell, first_deadline, shortest
from proxy.client.session_terms import SessionLimits
from proxy.client.states import State
from proxy.wire import codes

LIMITS = SessionLimits(
    1000,
    1000,
    1000,
    10,
    query_timeout_s=2.0,
    transaction_timeout_s=30.0,
    idle_in_transaction_timeout_s=5.0,
    idle_timeout_s=60.0,
    pin_timeout_s=40.0,
)
NO_LIMITS = SessionLimits(1000, 1000, 1000, 10)
CANCEL_S = 10.0

BUSY = Situation(State.BUSY, codes.IN_TRANSACTION, began=120.0, lent_at=100.0, last_activity=119.0)
IN_BLOCK = Situation(State.HELD, codes.IN_TRANSACTION, began=110.0, lent_at=100.0, last_activity=111.0)
KEPT = Situation(State.HELD, codes.IDLE, began=110.0, lent_at=100.0, last_activity=111.0, pinned="LISTEN")
IDLE = Situation(State.IDLE, codes.IDLE, began=110.0, lent_at=100.0, last_activity=111.0)


def first(now: Situation, limits: SessionLimits = LIMITS) -> tuple[float, Limit] | None:
    deadline = first_deadline(now, limits, CANCEL_S)
    return None if deadline is None else (deadline.at, deadline.limit)


@pytest.mark.parametrize("state", [State.BATCH, State.BUSY, State.COPY_IN])
def test_what_runs_has_the_querys_time(state: int) -> None:
    assert first(replace(BUSY, state=state)) == (122.0, Limit.QUERY)


def test_a_query_near_the_end_of_its_transactions_time_ends_with_that() -> None:
    assert first(replace(BUSY, began=129.0)) == (130.0, Limit.TRANSACTION)


def test_a_statement_of_its_own_is_a_transaction_too() -> None:
    alone = replace(BUSY, status=codes.IDLE, lent_at=120.0)
    assert first(alone, replace(LIMITS, query_timeout_s=0.0)) == (150.0, Limit.TRANSACTION)


def test_a_query_that_was_cancelled_has_the_cancels_time_to_end() -> None:
    assert first(replace(BUSY, cancelled_at=122.5, lent_at=119.0)) == (132.5, Limit.QUERY_UNANSWERED)


def test_what_the_proxy_does_on_its_own_is_not_the_clients_time() -> None:
    assert first(replace(BUSY, began=1.0, lent_at=0.0)) is None


@pytest.mark.parametrize("state", [State.IDLE, State.HELD])
def test_a_begin_that_postgresql_has_not_heard_of_holds_nothing(state: int) -> None:
    assert first(Situation(state, codes.IN_TRANSACTION, began=50.0, lent_at=0.0, last_activity=51.0)) == (
        111.0,
        Limit.IDLE,
    )


@pytest.mark.parametrize("status", [codes.IN_TRANSACTION, codes.FAILED])
def test_silence_inside_a_transaction_counts_from_the_last_answer(status: int) -> None:
    assert first(replace(IN_BLOCK, status=status)) == (116.0, Limit.IDLE_IN_TRANSACTION)


def test_a_chatty_transaction_ends_with_the_transactions_time() -> None:
    assert first(replace(IN_BLOCK, last_activity=129.0)) == (130.0, Limit.TRANSACTION)


def test_a_server_that_is_kept_and_not_used_is_a_pins() -> None:
    assert first(KEPT) == (151.0, Limit.PIN)
    assert first(KEPT, replace(LIMITS, idle_timeout_s=10.0)) == (121.0, Limit.IDLE)


def test_a_server_kept_in_session_mode_has_no_time_but_the_clients() -> None:
    assert first(replace(KEPT, pinned="")) == (171.0, Limit.IDLE)


def test_an_idle_client_has_its_own_time() -> None:
    assert first(IDLE) == (171.0, Limit.IDLE)


@pytest.mark.parametrize("state", [State.WAITING, State.CLOSED])
def test_who_waits_for_a_server_or_is_gone_is_left_alone(state: int) -> None:
    assert first(replace(IDLE, state=state)) is None


@pytest.mark.parametrize("now", [BUSY, IN_BLOCK, KEPT, IDLE])
def test_without_limits_there_is_no_deadline(now: Situation) -> None:
    assert first(now, NO_LIMITS) is None
    assert shortest(NO_LIMITS) == 0.0


def test_nothing_that_begins_now_is_due_before_the_shortest_limit() -> None:
    assert shortest(LIMITS) == 2.0
    assert shortest(replace(LIMITS, query_timeout_s=0.0)) == 5.0
    assert shortest(replace(NO_LIMITS, idle_timeout_s=60.0)) == 60.0


@pytest.mark.parametrize(
    ("limit", "sqlstate", "text"),
    [
        (Limit.QUERY_UNANSWERED, "57014", "due to query timeout"),
        (Limit.TRANSACTION, "25P04", "due to transaction timeout"),
        (Limit.IDLE_IN_TRANSACTION, "25P03", "due to idle-in-transaction timeout"),
        (Limit.PIN, "57P05", "without using it for 1.5 s"),
        (Limit.IDLE, "57P05", "after 1.5 s of inactivity"),
    ],
)
def test_each_limit_has_postgresqls_own_code(limit: Limit, sqlstate: str, text: str) -> None:
    error = farewell(Deadline(0.0, 1.5, limit), "LISTEN")
    assert error.sqlstate == sqlstate
    assert error.message.startswith("terminating connection")
    assert error.message.endswith(text)
    if limit is Limit.PIN:
        assert "LISTEN" in (error.hint or "")
