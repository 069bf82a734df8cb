from proxy.admin.rates import Key, Rates, RateWindow, Traffic
from proxy.observe.counters import TrafficStats

ACME: Key = ("acme", "shared")


def counted(queries: int) -> dict[Key, Traffic]:
    return {ACME: Traffic(queries=queries)}


def test_the_first_look_has_no_rate() -> None:
    assert RateWindow().since(0.0, counted(5)) is None


def test_the_second_look_has_what_happened_since_the_first() -> None:
    window = RateWindow()
    window.since(0.0, counted(5))
    assert window.since(2.0, counted(25)) == (2.0, counted(20))


def test_many_who_look_often_all_see_a_window_of_several_seconds() -> None:
    window = RateWindow()
    window.since(0.0, counted(0))
    spans = [moved[0] for tenth in range(1, 400) if (moved := window.since(tenth / 10, counted(tenth)))]
    assert all(4.9 < span < 10.1 for span in spans[100:])


def test_a_tenant_that_is_new_counts_from_zero() -> None:
    window = RateWindow()
    window.since(0.0, {})
    assert window.since(1.0, counted(3)) == (1.0, counted(3))


def test_two_looks_at_the_same_moment_do_not_divide_by_zero() -> None:
    window = RateWindow()
    window.since(1.0, counted(1))
    assert window.since(1.0, counted(2)) is None


def test_times_are_means_and_absent_when_nothing_ended() -> None:
    rates = Rates.of(Traffic(queries=10, query_count=4, query_seconds=2.0), 5.0)
    assert (rates.queries, rates.query_seconds, rates.wait_seconds) == (2.0, 0.5, None)


def test_traffic_takes_every_counter_of_a_tenant() -> None:
    stats = TrafficStats()
    stats.queries, stats.transactions, stats.received_bytes, stats.sent_bytes = 1, 2, 3, 4
    stats.context_injections, stats.errors, stats.pins = 5, 6, 7
    stats.query_seconds.observe(0.5)
    stats.wait_seconds.observe(0.25)
    assert Traffic.of(stats) == Traffic(1, 2, 3, 4, 1, 0.5, 1, 0.25, 5, 6, 7)


def test_the_total_of_nobody_is_nothing() -> None:
    assert Traffic.total([]) == Traffic()
    assert Traffic.total([Traffic(queries=1), Traffic(queries=2)]) == Traffic(queries=3)
