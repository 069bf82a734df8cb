import asyncio
import gzip
import logging
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxy.admin.http import AdminServer
from proxy.admin.view import Check
from proxy.errors import ConfigError
from tests.unit.admin.views import View


@pytest.fixture
async def view() -> View:
    return View()


@pytest.fixture
async def http(view: View) -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer("127.0.0.1", 0, view)
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", auto_decompress=False) as session:
        yield session
    await server.stop()


async def test_metrics_are_prometheus_text(http: aiohttp.ClientSession, view: View) -> None:
    view.stats.tenant("acme", "shared").queries = 3
    async with http.get("/metrics", headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b'gatehouse_tenant_queries_total{placement="shared",tenant="acme"} 3.0\n' in await answer.read()


async def test_metrics_come_zipped_and_as_openmetrics_when_asked(http: aiohttp.ClientSession) -> None:
    headers = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
    async with http.get("/metrics", headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert gzip.decompress(await answer.read()).endswith(b"# EOF\n")


@pytest.mark.parametrize("version", ['"1.0.0"', "x", "1.x.0", ""])
async def test_metrics_are_text_for_whoever_asks_for_a_version_that_is_none(
    http: aiohttp.ClientSession, version: str
) -> None:
    headers = {"Accept": f"application/openmetrics-text; version={version}", "Accept-Encoding": "identity"}
    async with http.get("/metrics", headers=headers) as answer:
        assert answer.status == 200
        assert b"gatehouse_build_info" in await answer.read()


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000, b"\x16\x03\x01\0"]
)
async def test_what_is_no_http_is_answered_without_a_traceback_in_the_log(
    view: View, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    server = AdminServer("127.0.0.1", 0, view)
    await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(sent + b"\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
    writer.close()
    await server.stop()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_health_is_ok_even_when_not_ready(http: aiohttp.ClientSession, view: View) -> None:
    view.checks = [Check("cluster main", False, "connection refused")]
    async with http.get("/healthz") as answer:
        assert (answer.status, await answer.text()) == (200, "ok\n")


async def test_readiness_gives_its_reasons(http: aiohttp.ClientSession, view: View) -> None:
    async with http.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["ready"]) == (200, True)
    view.checks = [Check("configuration", True), Check("cluster main", False, "connection refused")]
    async with http.get("/readyz") as answer:
        assert answer.status == 503
        assert await answer.json() == {
            "ready": False,
            "checks": [
                {"name": "configuration", "ok": True, "required": True, "detail": ""},
                {"name": "cluster main", "ok": False, "required": True, "detail": "connection refused"},
            ],
        }


async def test_the_status_is_a_page_and_json(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        assert answer.content_type == "text/html"
        assert (await answer.text()).startswith("<!doctype html>")
    async with http.get("/status.json") as answer:
        assert (await answer.json())["version"] == "1.2.3"


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/status.json"])
async def test_everything_is_read_only(http: aiohttp.ClientSession, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        async with http.request(method, path) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    async with http.head(path) as answer:
        assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("path", ["/", "/metrics", "/nothing-here"])
async def test_answers_are_not_to_be_cached_framed_or_guessed_at(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "gatehouse"


async def test_the_policy_allows_the_pages_own_style_and_script_only(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert "unsafe" not in str(policy)


async def test_a_port_that_is_taken_is_said_so() -> None:
    first = AdminServer("127.0.0.1", 0, View())
    await first.start()
    second = AdminServer("127.0.0.1", first.port, View())
    with pytest.raises(ConfigError) as refused:
        await second.start()
    assert (
        refused.value.message == f"the HTTP endpoint can not listen on 127.0.0.1:{first.port}: address already in use"
    )
    assert refused.value.hint is not None
    assert "http.port" in refused.value.hint
    await second.stop()
    await first.stop()


async def test_it_can_be_stopped_twice_and_started_again() -> None:
    server = AdminServer("127.0.0.1", 0, View())
    for _ in range(2):
        await server.start()
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert answer.status == 200
        await server.stop()
        await server.stop()


def test_importing_it_loads_neither_aiohttp_nor_prometheus() -> None:
    program = "import sys, proxy.admin.http; sys.exit('aiohttp' in sys.modules or 'prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
