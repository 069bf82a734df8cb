"""The demo as its user meets it: a process that proves isolation, stops at a signal and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from proxy.cli.demo.attempts import attempts
from proxy.cli.demo.binaries import Account
from proxy.cli.demo.places import cache_candidates, workplace
from proxy.cli.demo.postgres import free_port
from proxy.cli.demo.seed import TENANTS
from tests.support import PATIENCE_S

RUN = (
    "import sys; from proxy.cli.demo import run_demo; sys.exit(run_demo(check={check}, port={port}, http_port={http}))"
)
TIMEOUT_S = 60.0


@contextmanager
def demo(*, check: bool = False, port: int = 0, http_port: int = 0) -> Iterator[subprocess.Popen[str]]:
    code = RUN.format(check=check, port=port, http=http_port)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "GATEHOUSE_DEMO_PASSWORD": "it's mine"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended before {text!r}:\n{seen}")


def runs_left_behind() -> list[Path]:
    with workplace(cache_candidates(".demo"), Account.suitable()) as place:
        return list(place.glob("run-*"))


def test_check_shows_each_tenant_its_own_rows_and_no_others() -> None:
    before = runs_left_behind()
    with demo(check=True) as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "FAILED" not in output
    for tenant in TENANTS:
        assert re.search(rf"ok +{tenant.name} +SELECT item FROM orders +{len(tenant.items)} rows", output), output
    assert runs_left_behind() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_printed_lines_work_until_a_signal_stops_everything(number: signal.Signals) -> None:
    before = runs_left_behind()
    with demo() as process:
        screen = read_until(process, "Ctrl-C")
        for tenant in TENANTS:
            line = next(line for line in screen.splitlines() if line.startswith(f"{tenant.name} "))
            assignment, _, _, host, _, port, _, user, database = shlex.split(line[line.index("PGPASSWORD") :])
            password = assignment.removeprefix("PGPASSWORD=")
            where = f"host={host} port={port} user={user} dbname={database} sslmode=disable"
            with psycopg.connect(where, password=password) as connection:
                rows = connection.execute("SELECT item FROM orders").fetchall()
                assert {item for (item,) in rows} == tenant.items
        metrics = next(word for word in screen.split() if word.endswith("/metrics"))
        assert b"gatehouse_" in urllib.request.urlopen(metrics, timeout=PATIENCE_S).read()
        process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(where, password=password, connect_timeout=int(PATIENCE_S))
    assert runs_left_behind() == before


@pytest.mark.parametrize("option", ["--port", "--http-port"])
def test_a_taken_port_is_named_together_with_the_way_out(option: str) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        ports = {"port": taken} if option == "--port" else {"port": free_port(), "http_port": taken}
        with demo(**ports) as process:
            output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert f"port {taken} of 127.0.0.1 is taken" in output
    assert f"gatehouse demo {option} " in output


def test_every_tenant_reaches_for_the_rows_of_every_other() -> None:
    for tenant in TENANTS:
        others = [other for other in TENANTS if other is not tenant]
        tried = " ".join(attempt.sql for attempt in attempts(tenant, others))
        for other in others:
            assert other.name in tried or other.orders_table in tried
