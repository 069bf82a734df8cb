"""The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`, the status page on `/` and the same as `/status.json`.

Read-only, and outside the data path: numbers are gathered on the event loop and turned into text in a thread of its
own. aiohttp and prometheus-client are imported when the endpoint starts: a proxy without it never loads them.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from proxy.admin.assets import CONTENT_SECURITY_POLICY
from proxy.admin.view import AdminView
from proxy.errors import ConfigError

if TYPE_CHECKING:
    from aiohttp import web

    from proxy.admin.rates import RateWindow
    from proxy.admin.status import Status
    from proxy.observe.metrics import GatehouseCollector

Result = TypeVar("Result")

_STOP_S: Final = 1.0
_GZIP_LEVEL: Final = 1

_HEADERS: Final = {
    "Server": "gatehouse",
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _NotHttp(logging.Filter):
    """Keeps aiohttp's traceback for each request that is no HTTP out of the log: port scanners and TLS clients send such."""

    def filter(self, record: logging.LogRecord) -> bool:
        from aiohttp.http_exceptions import HttpProcessingError

        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_NOT_HTTP: Final = _NotHttp()


class AdminServer:
    """Serves the HTTP endpoint on `host`:`port`; port 0 picks a free one.

    `refresh` is awaited before anything is looked at, `collector` makes what gathers a scrape: for whoever speaks for
    other processes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        view: AdminView,
        *,
        max_tenant_labels: int = 1000,
        refresh: Callable[[], Awaitable[None]] | None = None,
        collector: Callable[[], GatehouseCollector] | None = None,
    ) -> None:
        self._refresh = refresh
        self._make_collector = collector or self._own_collector
        self._host = host
        self._port = port
        self._view = view
        self._max_tenant_labels = max_tenant_labels
        self._runner: web.AppRunner | None = None
        self._thread: ThreadPoolExecutor
        self._window: RateWindow
        self._collector: GatehouseCollector

    @property
    def port(self) -> int:
        """The port that is listened on; the one asked for until `start` is done."""
        if self._runner is not None and self._runner.addresses:
            return int(self._runner.addresses[0][1])
        return self._port

    async def start(self) -> None:
        """Listen; raises ConfigError if the address can not be had."""
        from aiohttp import web
        from aiohttp.log import server_logger

        from proxy.admin.rates import RateWindow

        server_logger.addFilter(_NOT_HTTP)  # once, however often
        self._window = RateWindow()
        self._collector = self._make_collector()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="admin-http")
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_STOP_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise _cannot_listen(self._host, self._port, error) from error
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; requests under way get a second to end. May be called at any time, more than once."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _own_collector(self) -> GatehouseCollector:
        from proxy.observe.metrics import GatehouseCollector

        view = self._view
        return GatehouseCollector(
            view.stats, view.gauges, version=view.version, max_tenant_labels=self._max_tenant_labels
        )

    def _application(self) -> web.Application:
        from aiohttp import web

        application = web.Application()
        routes = {
            "/": self._page,
            "/status.json": self._status_json,
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        for path, handler in routes.items():
            application.router.add_get(path, handler)
        application.on_response_prepare.append(_add_headers)
        return application

    async def _metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        await self._look_again()
        scrape = self._collector.snapshot()
        accept = request.headers.get("Accept", "")
        zipped = "gzip" in request.headers.get("Accept-Encoding", "")

        def render() -> tuple[bytes, str]:
            body, content_type = self._collector.render(scrape, accept)
            return (gzip.compress(body, _GZIP_LEVEL) if zipped else body), content_type

        body, content_type = await self._in_thread(render)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        return web.Response(body=body, headers=headers | ({"Content-Encoding": "gzip"} if zipped else {}))

    async def _healthz(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        from proxy.admin.status import is_ready

        await self._look_again()
        checks = self._view.readiness()
        ready = is_ready(checks)
        told = [
            {"name": check.name, "ok": check.ok, "required": check.required, "detail": check.detail} for check in checks
        ]
        return web.json_response({"ready": ready, "checks": told}, status=200 if ready else 503)

    async def _status_json(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response((await self._status()).as_json())

    async def _page(self, _request: web.Request) -> web.Response:
        from aiohttp import web

        from proxy.admin.page import page

        return web.Response(text=page(await self._status()), content_type="text/html")

    async def _status(self) -> Status:
        from proxy.admin.status import status_of

        await self._look_again()
        view = self._view
        scrape, checks, now, monotonic = self._collector.snapshot(), view.readiness(), time.time(), time.monotonic()
        return await self._in_thread(
            lambda: status_of(scrape, checks, self._window, started_at=view.started_at, now=now, monotonic=monotonic)
        )

    async def _look_again(self) -> None:
        if self._refresh is not None:
            await self._refresh()

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


def _cannot_listen(host: str, port: int, error: OSError) -> ConfigError:
    # asyncio wraps the reason in a sentence of its own; name resolution errors have negative numbers.
    number = error.errno or 0
    reason = (os.strerror(number) if number > 0 else str(error.strerror or error)).lower()
    return ConfigError(
        f"the HTTP endpoint can not listen on {host}:{port}: {reason}",
        hint="Stop what listens there, or set http.port to a free port and http.host to an address of this machine.",
    )
