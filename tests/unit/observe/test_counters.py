from proxy.errors import AuthenticationFailed, ContextProtected, PoolTimeout, TenantUnknown
from proxy.observe.counters import Histogram, ProxyStats, TrafficStats, reason_of


def test_an_observation_on_a_bound_counts_below_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(seconds)
    snapshot = histogram.snapshot()
    assert snapshot.counts == (2, 2, 1)
    assert snapshot.count == 5
    assert round(snapshot.sum, 6) == 8.65


def test_a_snapshot_does_not_change_when_counting_goes_on() -> None:
    histogram = Histogram((1.0,))
    snapshot = histogram.snapshot()
    histogram.observe(0.5)
    assert snapshot.count == 0


def test_traffic_adds_up_field_by_field() -> None:
    one, two = TrafficStats(), TrafficStats()
    for name in ("queries", "transactions", "received_bytes", "sent_bytes", "context_injections", "errors", "pins"):
        setattr(one, name, 1)
        setattr(two, name, 10)
    two.transaction_seconds = 2.5
    two.query_seconds.observe(0.01)
    two.wait_seconds.observe(0.02)
    one.add(two)
    assert (one.queries, one.transactions, one.received_bytes, one.sent_bytes) == (11, 11, 11, 11)
    assert (one.context_injections, one.errors, one.pins, one.transaction_seconds) == (11, 11, 11, 2.5)
    assert one.query_seconds.snapshot().count == 1
    assert one.wait_seconds.snapshot().sum == 0.02


def test_a_tenant_keeps_its_counters_between_sessions() -> None:
    stats = ProxyStats()
    assert stats.tenant("acme", "shared") is stats.tenant("acme", "shared")


def test_a_tenant_that_moves_starts_anew_and_its_old_series_stays() -> None:
    stats = ProxyStats()
    before = stats.tenant("acme", "shared")
    before.queries = 5
    after = stats.tenant("acme", "schema")
    assert after is not before
    assert stats.tenants["acme"] is after
    assert stats.series["acme", "shared"].queries == 5
    assert stats.tenant("acme", "shared") is before


def test_errors_are_counted_by_kind_and_a_guards_by_reason_too() -> None:
    stats = ProxyStats()
    stats.count_error(PoolTimeout("no server became free"))
    stats.count_error(ContextProtected("permission denied"))
    assert stats.errors["capacity"] == 1
    assert stats.errors["guard"] == 1
    assert stats.guard_refusals == {"context_protected": 1}


def test_a_refused_login_is_counted_by_reason_and_as_an_error() -> None:
    stats = ProxyStats()
    stats.count_refused_login(AuthenticationFailed("no"))
    stats.count_refused_login(AuthenticationFailed("no"))
    stats.count_refused_login(TenantUnknown("no"))
    assert stats.login_refused == {"authentication_failed": 2, "tenant_unknown": 1}
    assert (stats.errors["auth"], stats.errors["tenant"]) == (2, 1)


def test_a_reason_never_holds_what_the_client_sent() -> None:
    assert reason_of(TenantUnknown('tenant "x" does not exist')) == "tenant_unknown"
