import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy.errors import ContextProtected, TenantUnknown
from proxy.observe.counters import ProxyStats
from proxy.observe.families import FAMILIES, WORKERS
from proxy.observe.gauges import ClientCount, ConfigSnapshot, PoolSnapshot, RegistrySnapshot
from proxy.observe.metrics import GatehouseCollector, render
from proxy.observe.tenant_families import OTHER_TENANTS
from tests.unit.observe.sources import Gauges

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(stats: ProxyStats, gauges: Gauges, *, max_tenant_labels: int = 1000) -> Samples:
    collector = GatehouseCollector(stats, gauges, version="1.2.3", max_tenant_labels=max_tenant_labels)
    body, _ = render(collector.snapshot())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def busy() -> tuple[ProxyStats, Gauges]:
    stats = ProxyStats()
    acme = stats.tenant("acme", "shared")
    acme.queries = 7
    acme.query_seconds.observe(0.02)
    acme.wait_seconds.observe(0.3)
    stats.count_refused_login(TenantUnknown("no"))
    stats.count_error(ContextProtected("no"))
    pool = PoolSnapshot(
        "main", "saas", "gatehouse", cl_waiting=3, sv_active=2, max_size=20, closed={"idle": 4, "age": 1}
    )
    clients = [ClientCount("acme", "active", 2), ClientCount("acme", "idle", 5), ClientCount("", "login", 1)]
    return stats, Gauges(clients, [pool], RegistrySnapshot(hits=9), ConfigSnapshot(1_700_000_000.0, reloads_ok=2))


def test_every_family_of_the_table_is_exposed() -> None:
    stats, gauges = busy()
    names = {name for name, _ in scraped(stats, gauges)}
    for family in FAMILIES:
        assert family in WORKERS or family.name in names or f"{family.name}_bucket" in names, family.name


def test_pool_and_tenant_values_carry_their_labels() -> None:
    samples = scraped(*busy())
    pool = {"cluster": "main", "database": "saas", "user": "gatehouse", "mode": "transaction"}
    assert value(samples, "gatehouse_pools_client_waiting_connections", **pool) == 3
    assert value(samples, "gatehouse_pools_server_closed_total", reason="idle", **pool) == 4
    assert value(samples, "gatehouse_tenant_queries_total", tenant="acme", placement="shared") == 7
    assert value(samples, "gatehouse_logins_refused_total", reason="tenant_unknown") == 1
    assert value(samples, "gatehouse_errors_total", kind="guard") == 1
    assert value(samples, "gatehouse_build_info", version="1.2.3") == 1


def test_buckets_are_cumulative_and_end_with_the_count() -> None:
    samples = scraped(*busy())
    labels = {"tenant": "acme", "placement": "shared"}
    name = "gatehouse_tenant_query_seconds"
    assert value(samples, f"{name}_bucket", le="0.01", **labels) == 0
    assert value(samples, f"{name}_bucket", le="0.025", **labels) == 1
    assert value(samples, f"{name}_bucket", le="+Inf", **labels) == 1
    assert value(samples, f"{name}_count", **labels) == 1
    assert value(samples, f"{name}_sum", **labels) == 0.02


def test_clients_are_counted_in_all_and_per_tenant() -> None:
    samples = scraped(*busy())
    assert value(samples, "gatehouse_clients", state="login") == 1
    assert value(samples, "gatehouse_clients", state="waiting") == 0
    assert value(samples, "gatehouse_tenant_clients", tenant="acme", state="idle") == 5
    assert not any(name == "gatehouse_tenant_clients" and ("tenant", "") in labels for name, labels in samples)


def test_tenants_beyond_the_limit_are_summed_up_so_that_totals_stay_true() -> None:
    stats = ProxyStats()
    for number in range(10):
        stats.tenant(f"t{number}", "shared").queries = 1
    stats.tenant("t10", "schema").queries = 5
    gauges = Gauges([ClientCount(f"t{number}", "active", 2) for number in range(11)])
    samples = scraped(stats, gauges, max_tenant_labels=3)
    queries = {labels: count for (name, labels), count in samples.items() if name == "gatehouse_tenant_queries_total"}
    assert len(queries) == 3 + 2
    assert sum(queries.values()) == 15
    assert value(samples, "gatehouse_tenant_queries_total", tenant=OTHER_TENANTS, placement="shared") == 7
    assert value(samples, "gatehouse_tenant_queries_total", tenant=OTHER_TENANTS, placement="schema") == 5
    assert value(samples, "gatehouse_tenant_clients", tenant=OTHER_TENANTS, state="active") == 16


def test_a_tenant_with_a_label_keeps_it_when_it_moves() -> None:
    stats = ProxyStats()
    stats.tenant("acme", "shared").queries = 4
    stats.tenant("late", "shared").queries = 1
    stats.tenant("acme", "schema").queries = 2
    samples = scraped(stats, Gauges(), max_tenant_labels=1)
    assert value(samples, "gatehouse_tenant_queries_total", tenant="acme", placement="shared") == 4
    assert value(samples, "gatehouse_tenant_queries_total", tenant="acme", placement="schema") == 2


def test_label_values_are_escaped() -> None:
    pool = PoolSnapshot("main", 'a"b\\c\nd', "gatehouse")
    samples = scraped(ProxyStats(), Gauges(pool_snapshots=[pool]))
    labels = {"cluster": "main", "database": 'a"b\\c\nd', "user": "gatehouse", "mode": "transaction"}
    assert value(samples, "gatehouse_databases_pool_size", **labels) == 0


def test_pools_of_both_modes_are_two_series_of_one_login() -> None:
    pools = [PoolSnapshot("main", "saas", "gatehouse", mode, sv_active=1) for mode in ("transaction", "session")]
    found = [labels for name, labels in scraped(ProxyStats(), Gauges(pool_snapshots=pools)) if "server_active" in name]
    assert sorted(dict(labels)["mode"] for labels in found) == ["session", "transaction"]


def test_every_limit_on_time_is_counted_from_the_start() -> None:
    stats = ProxyStats()
    stats.timeouts["query"] += 1
    samples = scraped(stats, Gauges())
    assert value(samples, "gatehouse_client_timeouts_total", timeout="query") == 1
    assert value(samples, "gatehouse_client_timeouts_total", timeout="pin") == 0


def test_the_accept_header_chooses_openmetrics() -> None:
    collector = GatehouseCollector(*busy())
    body, content_type = collector.render(collector.snapshot(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert {"gatehouse_tenant_queries", "gatehouse_clients"} <= families


def test_the_plain_text_format_is_the_default() -> None:
    collector = GatehouseCollector(*busy())
    body, content_type = collector.render(collector.snapshot())
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE gatehouse_tenant_query_seconds histogram\n" in body


def test_the_collector_serves_a_registry_of_ones_own() -> None:
    names = {metric.name for metric in GatehouseCollector(*busy()).collect()}
    assert "gatehouse_clients" in names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian package prometheus)")
def test_promtool_finds_nothing_to_complain_about() -> None:
    collector = GatehouseCollector(*busy())
    body, _ = collector.render(collector.snapshot())
    told = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=30, check=False)
    assert (told.returncode, told.stdout + told.stderr) == (0, b"")
