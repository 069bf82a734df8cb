"""TLS on both sides: what is offered, what is demanded, and what a wrong certificate leads to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from structlog.testing import capture_logs

from proxy.cli.demo.binaries import PostgresBinaries
from proxy.wire import frontend
from tests.conftest import NewCluster
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.serve import Connection, ServedProxy, connect, eventually, served_proxy, value


class Certificates:
    """An authority, a certificate of it for 127.0.0.1 and localhost, and a stranger's authority; all in files."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        self.server = authority.issue_cert("127.0.0.1", "localhost")
        self.elsewhere = authority.issue_cert("db.example.com")
        self.ca_file, self.strangers_file = folder / "ca.pem", folder / "stranger.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        stranger.cert_pem.write_to_path(self.strangers_file)
        self.cert_file, self.key_file = folder / "server.pem", folder / "server.key"
        self.server.cert_chain_pems[0].write_to_path(self.cert_file)
        self.server.private_key_pem.write_to_path(self.key_file)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


def client_tls(certificates: Certificates, mode: str) -> dict[str, Any]:
    return {"tls": {"mode": mode, "cert_file": str(certificates.cert_file), "key_file": str(certificates.key_file)}}


def assert_can_cancel(cluster: TestCluster, client: Connection) -> None:
    def cancel() -> None:
        eventually(lambda: cluster.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))
        client.cancel_safe(timeout=PATIENCE_S)

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        client.execute("SELECT pg_sleep(10)")
    canceller.join()


# Clients.


@pytest.fixture(scope="module")
def prefer(pg18: TestCluster, certificates: Certificates) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18, client_tls(certificates, "prefer")) as running:
        yield running


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_clients_get_the_tls_they_ask_for(prefer: ProxyUnderTest, certificates: Certificates, mode: str) -> None:
    root = {"sslrootcert": str(certificates.ca_file)} if mode.startswith("verify") else {}
    with connect(prefer, sslmode=mode, **root) as client:
        assert client.pgconn.ssl_in_use is (mode not in ("disable", "allow"))
        assert value(client, "SELECT count(*) FROM orders") == 3


def test_channel_binding_works(prefer: ProxyUnderTest) -> None:
    with connect(prefer, sslmode="require", channel_binding="require") as client:
        assert value(client, "SELECT 1") == 1
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        connect(prefer, sslmode="disable", channel_binding="require")


def test_a_large_result_and_a_large_parameter_pass_through_tls(prefer: ProxyUnderTest) -> None:
    with connect(prefer, "globex", sslmode="require") as client:
        row = client.execute("SELECT length(%s), repeat('x', 5000000)", ("y" * 3_000_000,)).fetchone()
        assert row is not None
        assert (row[0], len(row[1])) == (3_000_000, 5_000_000)


def test_cancel_works_over_tls(prefer: ProxyUnderTest) -> None:
    with connect(prefer, sslmode="require") as client:
        assert_can_cancel(prefer.cluster, client)


def test_require_turns_plain_clients_away_with_a_hint(pg18: TestCluster, certificates: Certificates) -> None:
    with running_proxy(pg18, client_tls(certificates, "require")) as proxy:
        with connect(proxy, sslmode="require") as client:
            assert value(client, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError, match="accepts TLS connections only") as refused:
            connect(proxy, sslmode="disable")
        assert "sslmode=require" in str(refused.value)


def test_a_renewed_certificate_is_used_without_a_restart(
    pg18: TestCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old, new = Certificates(tmp_path_factory.mktemp("old")), Certificates(tmp_path_factory.mktemp("new"))
    with running_proxy(pg18, client_tls(old, "require")) as proxy:
        verify = {"sslmode": "verify-full"}
        with connect(proxy, **verify, sslrootcert=str(old.ca_file)) as client:
            old.key_file.write_bytes(new.key_file.read_bytes())
            old.cert_file.write_bytes(new.cert_file.read_bytes())
            with eventually(
                lambda: connect(proxy, **verify, sslrootcert=str(new.ca_file), channel_binding="require")
            ) as other:
                assert value(other, "SELECT 1") == value(client, "SELECT 1") == 1


@pytest.mark.parametrize("is_offered", [False, True], ids=["before it was asked for", "before the handshake"])
async def test_a_login_goes_by_the_tls_that_there_was_when_it_began(
    pg18: TestCluster, certificates: Certificates, is_offered: bool
) -> None:
    with running_proxy(pg18, client_tls(certificates, "require")) as proxy:
        census = proxy.gatehouse.services.census
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        await asyncio.to_thread(eventually, lambda: proxy.call(lambda: census.logging_in) == 1)
        if is_offered:
            writer.write(frontend.SSL_REQUEST)
            assert await reader.readexactly(1) == b"S"
        proxy.write({"tls": None})
        await asyncio.to_thread(eventually, lambda: proxy.gatehouse.services.tls is None)
        if not is_offered:
            writer.write(frontend.SSL_REQUEST)
            assert await asyncio.wait_for(reader.readexactly(1), PATIENCE_S) == b"S"
        await writer.start_tls(ssl.create_default_context(cafile=certificates.ca_file), server_hostname="localhost")
        writer.write(frontend.startup({"user": "app.acme"}))
        offer = await asyncio.wait_for(reader.readuntil(b"SCRAM-SHA-256\0\0"), PATIENCE_S)
        assert b"SCRAM-SHA-256-PLUS" in offer
        writer.close()


async def test_handshakes_that_fail_or_stop_cost_nothing(pg18: TestCluster, certificates: Certificates) -> None:
    extra = {**client_tls(certificates, "prefer"), "timeouts": {"client_login_timeout": "1s"}}
    with served_proxy(pg18, extra) as proxy:
        for garbage in (b"", b"\x16\x03\x01\x02\0", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(frontend.SSL_REQUEST)
            assert await reader.readexactly(1) == b"S"
            writer.write(garbage)
            try:
                answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            except ConnectionResetError:
                answer = b""
            assert b"FATAL" not in answer
            writer.close()
        untrusting = ssl.create_default_context()
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(frontend.SSL_REQUEST)
        assert await reader.readexactly(1) == b"S"
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(untrusting, server_hostname="localhost")
        writer.close()
        assert await asyncio.to_thread(can_connect, proxy)


def can_connect(proxy: ServedProxy) -> bool:
    with connect(proxy, sslmode="require") as client:
        return bool(value(client, "SELECT 1"))


# Servers.


@pytest.fixture(scope="module")
def tls_cluster(clusters: Any, system_postgres: PostgresBinaries, certificates: Certificates) -> Iterator[TestCluster]:
    """PostgreSQL with TLS; its login by SCRAM over TLS only, md5_login by md5, clear_login in clear text."""
    hba = [
        "hostnossl all gatehouse 127.0.0.1/32 reject",
        "hostssl all md5_login 127.0.0.1/32 md5",
        "host all clear_login 127.0.0.1/32 password",
        "host all trusted_login 127.0.0.1/32 trust",
    ]
    settings = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
    cluster = clusters.make(system_postgres, settings=settings, hba=hba)
    cluster.postgres.write_file("server.pem", certificates.server.cert_chain_pems[0].bytes())
    cluster.postgres.write_file("server.key", certificates.server.private_key_pem.bytes())
    cluster.start()
    cluster.sql("SET password_encryption = 'md5'; CREATE ROLE md5_login LOGIN PASSWORD 'md5 secret' IN ROLE gatehouse")
    for role in ("clear_login", "trusted_login"):
        cluster.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'clear secret' IN ROLE gatehouse")
    yield cluster
    cluster.stop()


def server_tls(tls_cluster: TestCluster, host: str = "127.0.0.1", **tls: str) -> dict[str, Any]:
    return {"clusters": {"main": {"hosts": [f"{host}:{tls_cluster.port}"], "tls": tls}}}


IN_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
def test_servers_are_reached_by_tls(tls_cluster: TestCluster, certificates: Certificates, mode: str) -> None:
    ca = {"ca_file": str(certificates.ca_file)} if mode.startswith("verify") else {}
    with running_proxy(tls_cluster, server_tls(tls_cluster, mode=mode, **ca)) as proxy, connect(proxy) as client:
        assert value(client, IN_TLS) is True
        assert_can_cancel(tls_cluster, client)


def test_the_login_is_bound_to_the_channel(tls_cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_proxy(tls_cluster, server_tls(tls_cluster, mode="require")) as proxy, connect(proxy) as client:
        assert value(client, "SELECT 1") == 1
        # PostgreSQL looks at the binding by SCRAM-SHA-256-PLUS alone: a wrong one is how to see which was used.
        monkeypatch.setattr("proxy.server.connect._channel_binding", lambda _writer: bytes(32))
        with pytest.raises(psycopg.OperationalError, match="server refused the proxy's login"):
            connect(proxy, "initech")


def refusal_and_log(cluster: TestCluster, extra: Mapping[str, Any]) -> tuple[str, str]:
    """What a client is told when no server can be had, and the log's line about it."""
    with capture_logs() as log, running_proxy(cluster, extra) as proxy:
        with pytest.raises(psycopg.OperationalError) as refused:
            connect(proxy)
        [line] = [line for line in log if line["log_level"] == "error"]
        return str(refused.value), " ".join(
            str(line.get(name)) for name in ("event", "reason", "server_message", "hint")
        )


def test_a_server_of_another_authority_is_not_trusted(tls_cluster: TestCluster, certificates: Certificates) -> None:
    extra = server_tls(tls_cluster, mode="verify-ca", ca_file=str(certificates.strangers_file))
    told, logged = refusal_and_log(tls_cluster, extra)
    assert 'could not connect to the database server of cluster "main"' in told
    assert "certificate" not in told.lower()
    assert "CERTIFICATE_VERIFY_FAILED" in logged


def test_a_server_of_another_name_is_not_trusted(
    new_cluster: NewCluster, system_postgres: PostgresBinaries, certificates: Certificates, clusters: Any
) -> None:
    settings = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}
    cluster = clusters.make(system_postgres, settings=settings)
    cluster.postgres.write_file("server.pem", certificates.elsewhere.cert_chain_pems[0].bytes())
    cluster.postgres.write_file("server.key", certificates.elsewhere.private_key_pem.bytes())
    cluster.start()
    try:
        ca = {"ca_file": str(certificates.ca_file)}
        with running_proxy(cluster, server_tls(cluster, mode="verify-ca", **ca)) as proxy, connect(proxy) as client:
            assert value(client, IN_TLS) is True
        _, logged = refusal_and_log(cluster, server_tls(cluster, mode="verify-full", **ca))
        assert "CERTIFICATE_VERIFY_FAILED" in logged
        assert "127.0.0.1" in logged
    finally:
        cluster.stop()


def test_a_server_without_tls_is_refused_if_tls_is_required(pg18: TestCluster) -> None:
    extra = server_tls(pg18, mode="require")
    told, logged = refusal_and_log(pg18, extra)
    assert "does not support TLS" in told + logged
    with running_proxy(pg18, server_tls(pg18, mode="prefer")) as proxy, connect(proxy) as client:
        assert value(client, "SELECT 1") == 1


def test_a_server_that_demands_tls_says_so_in_the_log(tls_cluster: TestCluster) -> None:
    told, logged = refusal_and_log(tls_cluster, server_tls(tls_cluster, mode="disable"))
    assert "server refused the proxy's login" in told
    assert "no encryption" in logged or "pg_hba.conf" in logged


def as_login(tls_cluster: TestCluster, user: str, secret: Path, **tls: str) -> dict[str, Any]:
    extra = server_tls(tls_cluster, **tls)
    extra["clusters"]["main"] |= {"user": user, "password": {"file": str(secret)}}
    return extra


def test_md5_works_with_a_warning(tls_cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secrets") / "md5"
    secret.write_text("md5 secret")
    extra = as_login(tls_cluster, "md5_login", secret, mode="require")
    with capture_logs() as log, running_proxy(tls_cluster, extra) as proxy, connect(proxy) as client:
        assert value(client, "SELECT current_user::text") == "md5_login"
        [warning] = [line for line in log if line["event"] == "server login"]
        assert warning["log_level"] == "warning"
        assert 'md5 authentication for "md5_login"' in warning["warning"]
        assert "md5 secret" not in str(log)


def test_a_clear_text_password_goes_over_tls_only(
    tls_cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("secrets") / "clear"
    secret.write_text("clear secret")
    extra = as_login(tls_cluster, "clear_login", secret, mode="require")
    with running_proxy(tls_cluster, extra) as proxy, connect(proxy) as client:
        assert value(client, "SELECT current_user::text") == "clear_login"
    told, logged = refusal_and_log(tls_cluster, as_login(tls_cluster, "clear_login", secret, mode="disable"))
    assert "in clear text over a connection without TLS" in told + logged
    assert "clear secret" not in told + logged


def test_trust_needs_no_password(tls_cluster: TestCluster) -> None:
    extra = server_tls(tls_cluster, mode="disable")
    extra["clusters"]["main"] |= {"user": "trusted_login", "password": None}
    with running_proxy(tls_cluster, extra) as proxy, connect(proxy) as client:
        assert value(client, "SELECT current_user::text") == "trusted_login"
