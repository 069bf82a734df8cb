"""When a dead cluster is tried again."""

from __future__ import annotations

from proxy.errors import ServerUnreachable
from proxy.pool.backoff import Backoff


def error() -> ServerUnreachable:
    return ServerUnreachable("could not connect")


def test_the_pause_doubles_up_to_its_limit() -> None:
    backoff, now, pauses = Backoff(lambda: 0.0), 0.0, []
    for _ in range(7):
        backoff.failed(error(), now)
        pauses.append(backoff.retry_at - now)
        now = backoff.retry_at
    assert pauses == [1, 2, 4, 8, 15, 15, 15]


def test_each_pause_is_shortened_at_random_so_that_proxies_do_not_try_in_step() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.failed(error(), 0.0)
    assert backoff.retry_at == 0.75


def test_attempts_that_fail_together_count_as_one() -> None:
    backoff, last = Backoff(lambda: 0.0), error()
    for _ in range(4):
        backoff.failed(last, 0.0)
    assert backoff.retry_at == 1.0
    assert backoff.blocking_error(0.5) is last


def test_during_the_pause_nothing_is_tried_and_afterwards_something_is() -> None:
    backoff = Backoff(lambda: 0.0)
    assert backoff.may_try(0.0)
    backoff.failed(error(), 0.0)
    assert not backoff.may_try(0.9)
    assert backoff.may_try(1.0)
    assert backoff.blocking_error(1.0) is None
    assert backoff.is_failing


def test_a_success_forgets_all_failures() -> None:
    backoff = Backoff(lambda: 0.0)
    for now in (0.0, 1.0, 3.0):
        backoff.failed(error(), now)
    backoff.succeeded()
    assert backoff.may_try(3.0)
    assert not backoff.is_failing
    backoff.failed(error(), 100.0)
    assert backoff.retry_at == 101.0
