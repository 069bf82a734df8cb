"""One set of figures for several workers."""

from __future__ import annotations

import pickle
from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.view import Check
from proxy.app.merging import Merger
from proxy.app.worker_link import Report, dump
from proxy.observe.counters import ProxyStats
from proxy.observe.gauges import ClientCount, ConfigSnapshot, PoolSnapshot, RegistrySnapshot, WorkersSnapshot
from proxy.observe.metrics import GatehouseCollector, Scrape, render

CONFIG = ConfigSnapshot(loaded_at=1000.0, reloads_ok=1)
WORKERS = WorkersSnapshot({"ready": 2}, {"0": 0, "1": 3}, {"0": 5}, {"0": 2})


class Gauges:
    def __init__(self, *, clients: int = 0, pool: PoolSnapshot | None = None, reload_ok: bool = True) -> None:
        self._clients = clients
        self._pool = pool
        self._reload_ok = reload_ok

    def clients(self) -> list[ClientCount]:
        return [ClientCount("acme", "idle", self._clients)]

    def pools(self) -> list[PoolSnapshot]:
        return [self._pool] if self._pool is not None else []

    def registry(self) -> RegistrySnapshot:
        return RegistrySnapshot(hits=2, tenants=4)

    def config(self) -> ConfigSnapshot:
        return ConfigSnapshot(loaded_at=1.0, last_reload_ok=self._reload_ok, reloads_ok=7)


def report(queries: int, *, tenant: str = "acme", checks: list[Check] | None = None, **gauges: object) -> Report:
    stats = ProxyStats()
    stats.logins_total = queries
    stats.login_refused["invalid_password"] = 1
    traffic = stats.tenant(tenant, "shared")
    traffic.queries = queries
    for _ in range(queries):
        traffic.query_seconds.observe(0.002)
    collector = GatehouseCollector(stats, Gauges(**gauges))  # type: ignore[arg-type]
    return Report(collector.snapshot(), checks or [], {"process_cpu_seconds_total": 1.0, "process_open_fds": 10.0})


def pool(**values: int) -> PoolSnapshot:
    return PoolSnapshot("main", "saas", "gatehouse", closed={"idle": 1}, **values)  # type: ignore[arg-type]


def shown(scrape: Scrape) -> dict[str, float]:
    """Samples by name and labels, as they stand in the text."""
    text = render(scrape)[0].decode()
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counters_histograms_and_gauges_are_summed_by_series() -> None:
    merger = Merger()
    merger.reported(0, report(3, clients=2, pool=pool(sv_active=1, max_size=10, waits_total=4)))
    merger.reported(1, report(4, clients=5, pool=pool(sv_active=2, max_size=10, waits_total=1)))
    values = shown(merger.scrape("1.2", CONFIG, WORKERS))
    of_tenant = "placement=shared tenant=acme"
    of_pool = "cluster=main database=saas mode=transaction user=gatehouse"
    assert values["gatehouse_logins_total"] == 7
    assert values["gatehouse_logins_refused_total reason=invalid_password"] == 2
    assert values[f"gatehouse_tenant_query_seconds_count {of_tenant}"] == 7
    assert values[f"gatehouse_tenant_query_seconds_bucket le=0.0025 {of_tenant}"] == 7
    assert values["gatehouse_tenant_clients state=idle tenant=acme"] == 7
    assert values[f"gatehouse_pools_server_active_connections {of_pool}"] == 3
    assert values["gatehouse_registry_tenants"] == 4
    assert values["gatehouse_workers state=ready"] == 2
    assert values["gatehouse_worker_restarts_total worker=1"] == 3


def test_a_worker_that_ended_leaves_its_counters_and_takes_its_gauges() -> None:
    merger = Merger()
    merger.reported(0, report(3, clients=2, pool=pool(sv_active=1, opened_total=4, max_size=10)))
    merger.reported(1, report(4, clients=1, pool=pool(sv_active=2, opened_total=4, max_size=10)))
    merger.lost(0)
    merger.lost(0)
    merger.reported(0, report(1, tenant="globex"))
    merged = merger.scrape("1.2", CONFIG, WORKERS)
    [only] = merged.pools
    assert (only.sv_active, only.max_size, only.opened_total, only.closed) == (2, 10, 8, {"idle": 2})
    assert merged.process.logins_total == 8
    assert sum(entry.count for entry in merged.process.clients) == 1
    assert [(key[0], stats.queries) for key, stats in merged.tenants] == [("acme", 7), ("globex", 1)]
    merger.lost(0)
    merger.lost(1)
    assert merger.scrape("1.2", CONFIG, WORKERS).process.logins_total == 8
    assert merger.process_values({"process_cpu_seconds_total": 0.5}) == {"process_cpu_seconds_total": 3.5}


def test_tenants_keep_the_order_in_which_they_were_first_seen() -> None:
    merger = Merger()
    merger.reported(1, report(1, tenant="globex"))
    merger.reported(0, report(1, tenant="acme"))
    assert [key[0] for key, _ in merger.scrape("", CONFIG, WORKERS).tenants] == ["globex", "acme"]


def test_reloads_are_counted_once_and_one_refusal_shows() -> None:
    merger = Merger()
    merger.reported(0, report(1))
    assert merger.scrape("", CONFIG, WORKERS).process.config == CONFIG
    merger.reported(1, report(1, reload_ok=False))
    assert merger.scrape("", CONFIG, WORKERS).process.config == replace(CONFIG, last_reload_ok=False)


def test_a_check_that_one_worker_passes_is_passed() -> None:
    merger = Merger()
    merger.reported(0, report(1, checks=[Check("cluster main", False, "down"), Check("running", False, "stopping")]))
    assert merger.checks() == [Check("cluster main", False, "down")]
    merger.reported(1, report(1, checks=[Check("cluster main", True)]))
    assert merger.checks() == [Check("cluster main", True)]


def test_a_report_survives_the_way_to_the_supervisor() -> None:
    sent = report(3, clients=2, pool=pool(sv_active=1))
    arrived = pickle.loads(dump(sent))
    assert shown(arrived.scrape) == shown(sent.scrape)
    assert arrived.process == sent.process
