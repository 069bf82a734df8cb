"""`gatehouse serve` as a process of its own, and other help for tests of how Gatehouse is operated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psycopg

from proxy.observe.gauges import PoolSnapshot
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]


def eventually(check: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
    """What `check` returns as soon as that is true; AssertionError with its last result or exception."""
    deadline = time.monotonic() + timeout_s
    while True:
        last: object
        try:
            if last := check():
                return last
        except (psycopg.Error, OSError, AssertionError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"did not come true within {timeout_s:g} s; the last answer was {last!r}")
        time.sleep(0.01)


def connect(proxy: ProxyUnderTest, tenant: str = "acme", **options: Any) -> Connection:
    """A psycopg connection in autocommit."""
    return psycopg.connect(**{**proxy.dsn(tenant), "autocommit": True, "connect_timeout": int(PATIENCE_S), **options})


def value(connection: Connection, sql: str) -> Any:
    """The first column of the first row."""
    row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


class Farewell(NamedTuple):
    """What a client is told as its connection ends."""

    severity: str
    sqlstate: str
    message: str
    hint: str


def told_at_the_end(client: Connection) -> Farewell:
    """The last that a client hears that asks for nothing, as its connection is ended; to libpq that is a notice."""
    told: list[Farewell] = []

    def note(diag: psycopg.errors.Diagnostic) -> None:
        told.append(
            Farewell(diag.severity or "", diag.sqlstate or "", diag.message_primary or "", diag.message_hint or "")
        )

    client.add_notice_handler(note)
    try:
        list(client.notifies(timeout=PATIENCE_S))
    except psycopg.OperationalError:
        client.pgconn.is_busy()  # has libpq read what came in front of the end
    assert client.closed
    return told[-1]


def pool_of(proxy: ProxyUnderTest, database: str = "saas") -> PoolSnapshot:
    """The pool of a database, as it is now."""
    pools = proxy.call(proxy.gatehouse._pools.snapshots)
    return next(pool for pool in pools if pool.database == database)


def is_at_rest(proxy: ProxyUnderTest, database: str = "saas") -> bool:
    """Whether no server of the pool is in use, recovering or being reset."""
    pool = pool_of(proxy, database)
    return not (pool.sv_active or pool.sv_used or pool.sv_recovering or pool.sv_login or pool.cl_waiting)


def fetch(url: str) -> tuple[int, str]:
    """Status and body of a GET; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class ServedProxy(ProxyUnderTest):
    """`gatehouse serve` in a child process; its log is JSON, from `info` on."""

    def __init__(self, cluster: TestCluster, folder: Path, extra: Mapping[str, Any]) -> None:
        super().__init__(cluster, folder, {"log": {"level": "info", "format": "json"}, **extra})
        self.log_path = folder / "gatehouse.log"
        self.process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        """Where clients connect."""
        return int(self._document["listen"]["port"])

    @property
    def http_url(self) -> str:
        """Of the HTTP endpoint."""
        return f"http://127.0.0.1:{self._document['http']['port']}"

    def launch(self) -> None:
        """Start the process; `start` waits for it, too."""
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-m", "proxy", "serve", "--config", str(self.config_path)]
            environment = {**os.environ, "PYTHONWARNINGS": "default", "TMPDIR": str(self.log_path.parent)}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.launch()
        eventually(lambda: self.process.poll() is not None or self.events("gatehouse is ready for connections"))
        assert self.process.poll() is None, self.log()

    def stop(self, *, immediate: bool = True) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if immediate else signal.SIGTERM)
            try:
                self.process.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code."""
        return self.process.wait(timeout_s)

    def log(self) -> str:
        """All that the process wrote."""
        return self.log_path.read_text()

    def events(self, event: str = "") -> list[dict[str, Any]]:
        """The log's lines, or those of one event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if not event or line["event"] == event]

    def resident_bytes(self) -> int:
        """The process' resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def peak_bytes(self) -> int:
        """The most resident memory that the process ever had."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM")


@contextmanager
def served_proxy(cluster: TestCluster, extra: Mapping[str, Any] | None = None) -> Iterator[ServedProxy]:
    """`gatehouse serve` in front of `cluster`, ended at the end; its log must hold no traceback."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-served-") as folder:
        proxy = ServedProxy(cluster, Path(folder), extra or {})
        proxy.start()
        try:
            yield proxy
        finally:
            proxy.stop()
        assert "Traceback" not in proxy.log(), proxy.log()
