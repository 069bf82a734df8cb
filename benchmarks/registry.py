"""What many tenants cost a Gatehouse that serves nobody: starting, memory, reloads, and how long its event loop is held up.

`python -m benchmarks.registry [--tenants 100000] [--placement schema] [--gatehouse COMMAND]`

Needs no PostgreSQL. The event loop is asked for /healthz every 2 ms on one connection; how long the slowest answers take
is how long everybody's transactions would have waited.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from benchmarks.system import cpu_seconds, forget_peak, peak_resident_kb, resident_kb
from proxy.cli.demo.binaries import clean_environment
from proxy.cli.demo.postgres import HOST, free_port

_PLACEMENTS: Final = {
    "shared": "{model: shared, cluster: main, database: saas}",
    "schema": "{model: schema, cluster: main, database: saas, schema: tenant_%s, role: role_%s}",
    "database": "{model: database, cluster: main, database: tenant_%s}",
}
_LIMIT_S: Final = 300.0
_TICK_S: Final = 0.002
_QUIET_S: Final = 1.5
_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: gatehouse\r\n\r\n"


@dataclass(slots=True)
class Running:
    """A proxy and what it has logged."""

    process: subprocess.Popen[bytes]
    http_port: int
    start_s: float = 0.0
    events: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """Collect what it logs, until it ends."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.events.append(json.loads(line)["event"] if line.startswith(b"{") else line.decode())

    def wait_for(self, wanted: str) -> None:
        """Wait until it logs this."""
        until = time.monotonic() + _LIMIT_S
        while wanted not in self.events:
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit(f"{wanted}: waited in vain; it said {self.events}")
            time.sleep(0.002)
        self.events.clear()

    @property
    def resident_kb(self) -> int:
        """Resident memory, when what it had left to do is done."""
        time.sleep(_QUIET_S)
        return resident_kb(self.process.pid)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=__doc__)
    parser.add_argument("--tenants", type=int, default=100_000)
    parser.add_argument("--placement", choices=list(_PLACEMENTS), default="shared")
    parser.add_argument("--gatehouse", default=f"{sys.executable} -m proxy", help="the command of a build")
    options = parser.parse_args(arguments)
    command = shlex.split(options.gatehouse)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, 1, options.placement)
        with _running(folder, command) as proxy:
            alone_kb = proxy.resident_kb
        _write(folder, options.tenants, options.placement)
        with _running(folder, command) as proxy:
            _measure(proxy, folder, options.tenants, options.placement, alone_kb)


def _measure(proxy: Running, folder: Path, count: int, placement: str, alone_kb: int) -> None:
    pid = proxy.process.pid

    def print_memory() -> None:
        for name, kb in (("memory", proxy.resident_kb), ("at the most", peak_resident_kb(pid))):
            print(f"  {name:<18} + {(kb - alone_kb) / 1024:.0f} MB, {(kb - alone_kb) / count:.2f} kB a tenant")
        forget_peak(pid)

    print(f"{count} tenants, {placement}; the process alone takes {alone_kb / 1024:.0f} MB")
    print(f"start: {proxy.start_s:.2f} s, {cpu_seconds(pid):.2f} s of CPU")
    print_memory()
    _print_waits(proxy, lambda: time.sleep(_QUIET_S))
    bad = "bad: {placement: {model: shred}}\n"
    for name, changed, tail in (("same", 0, ""), ("one other", 1, ""), ("all other", count, ""), ("bad", count, bad)):
        _write(folder, count, placement, changed, tail, to="next.yaml")
        before, began = cpu_seconds(pid), time.monotonic()
        said = "configuration not reloaded; the old one stays in force" if tail else "configuration reloaded"
        _print_waits(proxy, lambda said=said: _reload(proxy, folder, said), f"reload, {name}")  # type: ignore[misc]
        print(f"  took               {time.monotonic() - began:.2f} s, {cpu_seconds(pid) - before:.2f} s of CPU")
        print_memory()


def _reload(proxy: Running, folder: Path, said: str) -> None:
    (folder / "next.yaml").rename(folder / "tenants.yaml")
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for(said)


def _print_waits(proxy: Running, during: Callable[[], None], what: str = "quiet") -> None:
    waits: list[float] = []
    is_over = threading.Event()
    prober = threading.Thread(target=_probe, args=(proxy.http_port, waits, is_over))
    prober.start()
    during()
    is_over.set()
    prober.join()
    p50, p99 = (statistics.quantiles(waits, n=100)[position] * 1e3 for position in (49, 98))
    print(f"{what}:\n  {len(waits)} answers     p50 {p50:.1f}, p99 {p99:.1f}, worst {max(waits) * 1e3:.1f} ms")


def _probe(port: int, waits: list[float], is_over: threading.Event) -> None:
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not is_over.wait(_TICK_S) or len(waits) < 2:
            began = time.perf_counter()
            connection.sendall(_REQUEST)
            answer = b""
            while not answer.endswith(b"ok\n"):
                answer += connection.recv(4096)
            waits.append(time.perf_counter() - began)


def _write(
    folder: Path, count: int, placement: str, changed: int = 0, tail: str = "", *, to: str = "tenants.yaml"
) -> None:
    """The tenants' file; the first `changed` are suspended."""
    with (folder / to).open("w") as file:
        for number in range(count):
            name, status = f"t{number:06}", ", status: suspended" if number < changed else ""
            file.write(f"{name}: {{placement: {_PLACEMENTS[placement].replace('%s', name)}{status}}}\n")
        file.write(tail)


@contextmanager
def _running(folder: Path, command: Sequence[str]) -> Iterator[Running]:
    http_port = free_port()
    config = {
        "listen": {"host": HOST, "port": free_port()},
        "http": {"host": HOST, "port": http_port},
        "log": {"format": "json"},
        "clusters": {"main": {"hosts": [f"{HOST}:1"], "user": "gatehouse"}},
        "tenants_file": "tenants.yaml",
    }
    path = folder / "gatehouse.yaml"
    path.write_text(yaml.safe_dump(config))
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "serve", "--config", str(path)], stderr=subprocess.PIPE, env=clean_environment()
    )
    proxy = Running(process, http_port)
    listener = threading.Thread(target=proxy.listen)
    listener.start()
    try:
        proxy.wait_for("gatehouse is ready for connections")
        proxy.start_s = time.monotonic() - began
        yield proxy
    finally:
        process.terminate()
        process.wait()
        listener.join()


if __name__ == "__main__":
    main()
