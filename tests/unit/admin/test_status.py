import json

from proxy.admin.rates import RateWindow
from proxy.admin.status import TOP_TENANTS, Status, status_of
from proxy.admin.view import Check
from proxy.observe.gauges import ClientCount, ConfigSnapshot, PoolSnapshot
from proxy.observe.metrics import GatehouseCollector
from tests.unit.admin.views import View


def look(view: View, window: RateWindow | None = None, *, at: float = 0.0) -> Status:
    scrape = GatehouseCollector(view.stats, view.gauges, version=view.version).snapshot()
    return status_of(
        scrape,
        view.readiness(),
        window or RateWindow(),
        started_at=view.started_at,
        now=view.started_at + 60 + at,
        monotonic=at,
    )


def texts(status: Status) -> list[tuple[str, bool]]:
    return [(problem.text, problem.is_severe) for problem in status.problems]


def test_a_healthy_proxy_is_ready_and_has_no_problems() -> None:
    status = look(View())
    assert status.ready
    assert status.problems == ()
    assert status.uptime_seconds == 60


def test_a_failed_check_that_is_required_means_not_ready() -> None:
    status = look(View(checks=[Check("cluster main", False, "connection refused")]))
    assert not status.ready
    assert texts(status) == [("cluster main: connection refused", True)]


def test_a_failed_check_that_is_not_required_is_shown_only() -> None:
    status = look(View(checks=[Check("cluster eu", False, "connection refused", required=False)]))
    assert status.ready
    assert texts(status) == [("cluster eu: connection refused", False)]


def test_clients_that_wait_long_come_first() -> None:
    view = View(checks=[Check("cluster eu", False, required=False)])
    view.gauges.pool_snapshots = [
        PoolSnapshot("main", "saas", "gatehouse", cl_waiting=2, sv_active=20, max_size=20, maxwait_seconds=4.2)
    ]
    assert texts(look(view)) == [
        ("2 clients wait for a server of saas on main, the longest for 4.2 s; 20 of 20 servers are lent.", True),
        ("cluster eu: failed", False),
    ]


def test_a_pool_of_sessions_is_told_from_the_other_of_its_login() -> None:
    view = View()
    view.gauges.pool_snapshots = [PoolSnapshot("main", "saas", "u", "session", cl_waiting=1)]
    ((text, _),) = texts(look(view))
    assert "a server of saas on main in session mode" in text


def test_only_limits_that_were_reached_are_shown() -> None:
    view = View()
    view.stats.timeouts["query"] += 2
    assert look(view).timeouts == {"query": 2}


def test_a_client_that_waits_for_a_moment_is_no_emergency() -> None:
    view = View()
    view.gauges.pool_snapshots = [PoolSnapshot("main", "saas", "u", cl_waiting=1, maxwait_seconds=0.1)]
    ((text, is_severe),) = texts(look(view))
    assert text.startswith("1 client waits")
    assert not is_severe


def test_a_refused_reload_is_a_problem() -> None:
    view = View()
    view.gauges.config_snapshot = ConfigSnapshot(0.0, last_reload_ok=False)
    assert "reload was refused" in look(view).problems[0].text


def test_the_busiest_tenants_of_the_last_seconds_come_first() -> None:
    view, window = View(), RateWindow()
    view.stats.tenant("old", "shared").queries = 1_000_000
    view.stats.tenant("new", "schema").queries = 10
    assert [row.tenant for row in look(view, window).tenants] == ["old", "new"]
    view.stats.tenant("new", "schema").queries = 30
    status = look(view, window, at=2.0)
    assert [row.tenant for row in status.tenants] == ["new", "old"]
    assert status.tenants[0].rates is not None
    assert status.tenants[0].rates.queries == 10.0


def test_only_the_top_tenants_are_listed_and_all_are_counted() -> None:
    view = View()
    for number in range(100):
        view.stats.tenant(f"t{number}", "shared").queries = 1
    status = look(view)
    assert (len(status.tenants), status.tenants_total, status.total.queries) == (TOP_TENANTS, 100, 100)


def test_servers_are_summed_over_all_pools_even_those_not_listed() -> None:
    view = View()
    view.gauges.pool_snapshots = [
        PoolSnapshot("main", f"d{number}", "u", sv_active=1, sv_idle=2, sv_used=1, sv_login=1, sv_recovering=1)
        for number in range(200)
    ]
    status = look(view)
    assert status.servers == {"active": 200, "idle": 400, "busy": 600}
    assert len(status.pools) < status.pools_total == 200


def test_a_tenants_clients_are_shown_by_state() -> None:
    view = View()
    view.stats.tenant("acme", "shared")
    view.gauges.client_counts = [
        ClientCount("acme", "idle", 3),
        ClientCount("acme", "idle", 1),
        ClientCount("x", "idle", 9),
    ]
    assert look(view).tenants[0].clients == {"idle": 4}


def test_the_document_is_json() -> None:
    view, window = View(), RateWindow()
    view.stats.tenant("acme", "shared").queries = 3
    view.gauges.pool_snapshots = [PoolSnapshot("main", "saas", "u", closed={"idle": 1})]
    look(view, window)
    document = json.loads(json.dumps(look(view, window, at=1.0).as_json()))
    assert document["tenants"][0]["total"]["queries"] == 3
    assert document["pools"][0]["closed"] == {"idle": 1}
    assert document["checks"] == [{"name": "configuration", "ok": True, "detail": "", "required": True}]
    assert document["uptime_seconds"] == 61
