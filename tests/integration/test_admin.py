"""What operators see: metrics that move with the traffic, health that tells the truth, logs without secrets."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import NewCluster
from tests.support.postgres import LOGIN_PASSWORD, TestCluster
from tests.support.proxy import PASSWORD, ProxyUnderTest, running_proxy
from tests.support.serve import connect, eventually, fetch, served_proxy, value


@pytest.fixture
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18, {"pool": {"size": 1}}) as running:
        yield running


Samples = dict[str, float]


def samples(proxy: ProxyUnderTest) -> Samples:
    """Every sample by its name and its labels' values, in the order of the labels' names."""
    found: Samples = {}
    for family in text_string_to_metric_families(proxy.metrics()):
        for sample in family.samples:
            labels = ",".join(sample.labels[name] for name in sorted(sample.labels))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def moved(before: Samples, after: Samples) -> dict[str, float]:
    """How far the counters and gauges went."""
    changes = {key: after[key] - before.get(key, 0) for key in after}
    return {key: change for key, change in changes.items() if change}


SAAS = "main,saas,transaction,gatehouse"


def test_metrics_move_with_the_traffic(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as client:
        value(client, "SELECT 1")
        before = samples(proxy)
        value(client, "SELECT 1")
        with client.transaction():
            client.execute("SELECT 2")
            client.execute("SELECT 3")
        with pytest.raises(psycopg.errors.DivisionByZero):
            client.execute("SELECT 1/0")
        now = moved(before, samples(proxy))
    assert now["gatehouse_tenant_queries_total{shared,acme}"] == 5  # BEGIN goes with the first statement
    assert now["gatehouse_tenant_transactions_total{shared,acme}"] == 3
    assert now["gatehouse_context_injections_total{shared,acme}"] == 3
    assert now["gatehouse_tenant_server_errors_total{shared,acme}"] == 1
    assert now["gatehouse_tenant_query_seconds_count{shared,acme}"] == 5
    assert now["gatehouse_tenant_query_seconds_sum{shared,acme}"] > 0
    assert now["gatehouse_tenant_received_bytes_total{shared,acme}"] > 50
    assert now["gatehouse_tenant_sent_bytes_total{shared,acme}"] > 100
    assert now["gatehouse_tenant_server_in_transaction_seconds_total{shared,acme}"] > 0
    assert not any(name.startswith(("gatehouse_errors", "gatehouse_pools_waits")) for name in now)


def test_clients_and_servers_are_shown_by_state(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as idle, connect(proxy) as active, connect(proxy, "globex") as waiting:
        active.execute("BEGIN")
        active.execute("SELECT 1")
        with (
            connect(proxy, "globex", user="quick.globex") as quick,
            pytest.raises(psycopg.errors.TooManyConnections),
        ):
            quick.execute("SELECT 1")
        waiting.pgconn.send_query(b"SELECT 1")
        waiting.pgconn.flush()
        eventually(lambda: samples(proxy)["gatehouse_clients{waiting}"] == 1)
        now = samples(proxy)
        assert now["gatehouse_clients{active}"] == 1
        assert now["gatehouse_clients{idle}"] == 1
        assert now["gatehouse_tenant_clients{active,acme}"] == 1
        assert now["gatehouse_tenant_clients{waiting,globex}"] == 1
        assert now[f"gatehouse_pools_client_active_connections{{{SAAS}}}"] == 1
        assert now[f"gatehouse_pools_client_waiting_connections{{{SAAS}}}"] == 1
        assert now[f"gatehouse_pools_server_active_connections{{{SAAS}}}"] == 1
        assert now[f"gatehouse_pools_wait_timeouts_total{{{SAAS}}}"] == 1
        assert now[f"gatehouse_pools_waits_total{{{SAAS}}}"] == 2
        assert now["gatehouse_errors_total{capacity}"] == 1
        assert now[f"gatehouse_databases_pool_size{{{SAAS}}}"] == 1
        waiting.close()
        active.execute("COMMIT")
        idle.execute("SELECT 1")


def test_logins_and_refusals_are_counted_by_reason(proxy: ProxyUnderTest) -> None:
    before = samples(proxy)
    with connect(proxy):
        pass
    for attempt in ({"password": "wrong"}, {"tenant": "nosuch"}, {"user": "initech.acme"}, {"user": "app"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                **{**proxy.dsn(attempt.get("tenant", "acme")), **{k: v for k, v in attempt.items() if k != "tenant"}}
            )
    now = moved(before, samples(proxy))
    assert now["gatehouse_logins_total{}"] == 1
    assert now["gatehouse_client_connections_total{}"] == 5
    assert now["gatehouse_logins_refused_total{authentication_failed}"] == 1
    assert now["gatehouse_logins_refused_total{tenant_unknown}"] == 2
    assert now["gatehouse_logins_refused_total{login_refused}"] == 1
    assert now["gatehouse_errors_total{auth}"] == 2
    assert now["gatehouse_errors_total{tenant}"] == 2


def test_resets_and_replaced_servers_are_counted(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as one, connect(proxy, "umbrella") as two:
        before = samples(proxy)
        for client in (one, two):
            client.execute("SELECT 1")
        pid = value(two, "SELECT pg_backend_pid()")
        proxy.cluster.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        two.execute("SELECT 1")
        now = moved(before, samples(proxy))
    assert now[f"gatehouse_pools_server_resets_total{{{SAAS}}}"] == 1
    assert now[f"gatehouse_pools_server_opened_total{{{SAAS}}}"] == 1
    assert now["gatehouse_pools_server_closed_total{main,saas,transaction,server error,gatehouse}"] == 1


def test_refusals_of_the_guard_are_counted(proxy: ProxyUnderTest) -> None:
    with connect(proxy) as client, connect(proxy, prepare_threshold=0) as prepared:
        before = samples(proxy)
        for session in (client, prepared):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute("SET app.tenant_id = 'umbrella'")
        now = moved(before, samples(proxy))
    assert now["gatehouse_errors_total{guard}"] == 2
    assert now["gatehouse_guard_refusals_total{context_protected}"] == 2


def test_health_follows_postgresql(new_cluster: NewCluster) -> None:
    cluster = new_cluster()
    with running_proxy(cluster) as proxy:
        url = f"http://127.0.0.1:{proxy.gatehouse.http_port}"
        eventually(lambda: fetch(f"{url}/readyz")[0] == 200)
        with connect(proxy) as client:
            value(client, "SELECT 1")
            assert fetch(f"{url}/healthz") == (200, "ok\n")
            cluster.stop()
            eventually(lambda: fetch(f"{url}/readyz")[0] == 503)
            checks = {check["name"]: check for check in json.loads(fetch(f"{url}/readyz")[1])["checks"]}
            assert checks["clusters"]["detail"] == "no cluster answers"
            assert not checks["cluster main"]["ok"]
            assert fetch(f"{url}/healthz")[0] == 200
            cluster.start()
            eventually(lambda: fetch(f"{url}/readyz")[0] == 200)


def test_the_log_has_one_line_when_a_client_comes_and_one_when_it_goes(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy:
        for tenant in ("acme", "globex", "initech"):
            with connect(proxy, tenant, prepare_threshold=0) as client:
                address = f"127.0.0.1:{client.info.port}"
                assert address
                for number in range(10):
                    client.execute("SELECT %s, 'confidential'", (number,))
        eventually(lambda: len(proxy.events("client disconnected")) == 3)
        lines = [line for line in proxy.events() if "connection_id" in line]
        assert [(line["event"], line["tenant"]) for line in lines] == [
            (event, tenant)
            for tenant in ("acme", "globex", "initech")
            for event in ("client logged in", "client disconnected")
        ]
        for line in lines:
            assert line["user"] == "app"
            assert line["client"].startswith("127.0.0.1:")
        assert lines[0]["connection_id"] == lines[1]["connection_id"] != lines[2]["connection_id"]
        assert "confidential" not in proxy.log()


def test_clients_that_come_and_go_can_be_left_out_of_the_log(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy:
        proxy.write({"log": {"connections": False}})
        proxy.signal(signal.SIGHUP)
        (reloaded,) = eventually(lambda: proxy.events("configuration reloaded"))
        assert reloaded["changed"] == ["log.connections"]
        connect(proxy, "acme").close()
        with pytest.raises(psycopg.OperationalError):
            connect(proxy, "nobody")
        (refused,) = eventually(lambda: [line for line in proxy.events() if line.get("audit") == "login_refused"])
        assert "nobody" in refused["reason"]
        assert not proxy.events("client logged in")
        assert not proxy.events("client disconnected")


def test_the_log_says_who_was_refused_and_why_and_never_a_secret(pg18: TestCluster) -> None:
    with served_proxy(pg18) as proxy:
        for dsn in (
            proxy.dsn("acme") | {"password": "guess-one"},
            proxy.dsn("acme", "nobody") | {"password": "guess-two"},
            proxy.dsn("nosuch"),
            proxy.dsn("acme", "initech"),
            proxy.dsn("", "app"),
        ):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(**dsn)
        refused = eventually(lambda: lines if len(lines := proxy.events("login refused")) == 5 else [])
        assert [line["sqlstate"] for line in refused] == ["28P01", "28P01", "28000", "28000", "28000"]
        assert [line["user"] for line in refused] == ["app", "nobody.acme", "app", "initech", "app"]
        assert [line.get("cause") for line in refused[:2]] == ["wrong password", "no such user"]
        assert all(line["audit"] == "login_refused" and line["client"].startswith("127.0.0.1:") for line in refused)
        with connect(proxy) as client:
            value(client, "SELECT 1")
        log = proxy.log()
    for secret in (PASSWORD, LOGIN_PASSWORD, "guess-one", "guess-two", "SCRAM-SHA-256$"):
        assert secret not in log
        assert json.dumps(secret)[1:-1] not in log
