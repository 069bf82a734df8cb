"""Gatehouse in a thread of its own, in front of a real cluster, for tests that connect to it as users do."""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from proxy.app import Gatehouse
from proxy.app.gatehouse import run
from proxy.cli.demo.config import _placement
from proxy.cli.demo.postgres import free_port
from proxy.cli.demo.seed import TENANTS
from proxy.settings.loading import load_settings
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster

T = TypeVar("T")

PASSWORD = "an app's pass:word"


def merge(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `extra` put over it, mapping by mapping; a value of None takes a key away."""
    merged = dict(base)
    for key, value in extra.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


class ProxyUnderTest:
    """A running Gatehouse: where to connect, and hooks to look inside and to reload."""

    def __init__(self, cluster: TestCluster, folder: Path, extra: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.host = "127.0.0.1"
        self.folder = folder
        self.config_path = folder / "gatehouse.yaml"
        self.password = PASSWORD
        (folder / "app.secret").write_text(PASSWORD)
        (folder / "main.secret").write_text(cluster.login_password)
        self._document = merge(self._base(cluster), extra)
        self.write()
        self.gatehouse: Gatehouse
        self._loop: asyncio.AbstractEventLoop
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="gatehouse")

    def _base(self, cluster: TestCluster) -> dict[str, Any]:
        return {
            "listen": {"host": self.host, "port": free_port()},
            "http": {"host": self.host, "port": free_port()},
            "log": {"level": "error"},
            "clusters": {
                "main": {
                    "hosts": [f"{cluster.host}:{cluster.port}"],
                    "user": cluster.login,
                    "password": {"file": "main.secret"},
                    "tls": {"mode": "disable"},
                    "max_connections": 40,
                }
            },
            "users": {
                "app": {"password": {"file": "app.secret"}, "tenants": "*"},
                # For tests of a wait that ends; the others wait as long as a busy machine needs to open a server.
                "quick": {"password": {"file": "app.secret"}, "tenants": "*", "wait_timeout": "300ms"},
                "initech": {"password": {"file": "app.secret"}, "tenants": ["initech"]},
            },
            "tenants": {tenant.name: {"placement": _placement(tenant)} for tenant in TENANTS},
        }

    def write(self, extra: Mapping[str, Any] | None = None) -> None:
        """Write the configuration, with changes that stay."""
        self._document = merge(self._document, extra or {})
        self.config_path.write_text(yaml.safe_dump(self._document, sort_keys=False))

    def start(self) -> None:
        """Start, and wait until it listens."""
        self._thread.start()
        self._started.result(timeout=PATIENCE_S)

    def _run(self) -> None:
        async def main() -> None:
            try:
                self._loop = asyncio.get_running_loop()
                self.gatehouse = Gatehouse(load_settings(self.config_path), self.config_path)
                await self.gatehouse.start()
            except BaseException as error:
                self._started.set_exception(error)
                raise
            stopped = asyncio.Event()
            self._finish = stopped.set
            self._started.set_result(None)
            await stopped.wait()

        run(main())

    def stop(self, *, immediate: bool = True) -> None:
        """Stop as the signals do."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self.gatehouse.stop(immediate=immediate), self._loop).result(
            timeout=2 * PATIENCE_S
        )
        self._loop.call_soon_threadsafe(self._finish)
        self._thread.join(timeout=PATIENCE_S)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the proxy's loop."""

        async def wrapped() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(timeout=PATIENCE_S)

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.gatehouse.port

    def dsn(self, tenant: str, user: str = "app", database: str = "any", **parameters: str) -> dict[str, Any]:
        """Keyword arguments for psycopg and asyncpg alike: the tenant is in the user's name."""
        return {
            "host": self.host,
            "port": self.port,
            "user": f"{user}.{tenant}" if tenant else user,
            "password": self.password,
            **parameters,
        }

    def metrics(self) -> str:
        """The text of /metrics."""
        with urllib.request.urlopen(
            f"http://{self.host}:{self.gatehouse.http_port}/metrics", timeout=PATIENCE_S
        ) as answer:
            return str(answer.read().decode())

    def status(self) -> dict[str, Any]:
        """/status.json."""
        with urllib.request.urlopen(
            f"http://{self.host}:{self.gatehouse.http_port}/status.json", timeout=PATIENCE_S
        ) as answer:
            return dict(json.loads(answer.read()))


@contextmanager
def running_proxy(cluster: TestCluster, extra: Mapping[str, Any] | None = None) -> Iterator[ProxyUnderTest]:
    """A Gatehouse in front of `cluster`, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-proxy-") as folder:
        proxy = ProxyUnderTest(cluster, Path(folder), extra or {})
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.stop()
