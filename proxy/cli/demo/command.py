"""The command `gatehouse demo`: everything on one machine, for as long as it runs.

It starts a PostgreSQL, fills it with four tenants, runs Gatehouse in this process and, at the end, however it comes,
takes all of it away again. What stays is a cache: an initialised, empty cluster that makes the next start quicker.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console

from proxy.app.loop import loop_factory
from proxy.cli.demo.binaries import Account, LaunchError, PostgresBinaries
from proxy.cli.demo.config import HOST, DemoConfig
from proxy.cli.demo.places import cache_candidates, new_run_folder, workplace
from proxy.cli.demo.postgres import LocalPostgres, cluster_template, free_port
from proxy.cli.demo.report import new_console, print_failure, print_findings, print_tenants
from proxy.cli.demo.seed import seed
from proxy.errors import ProxyError

if TYPE_CHECKING:
    from proxy.app import Gatehouse

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended before it was done, as shells have it."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What one run needs to know."""

    check: bool
    config: DemoConfig
    pg_port: int
    console: Console


def run_demo(*, check: bool = False, port: int = 6432, http_port: int = 9632, pg_port: int = 0) -> int:
    """Run the demo until Ctrl-C or SIGTERM, or with `check` prove isolation and end; returns the exit code.

    Port 0 is a free one. Must be called in the main thread, for the signals. Exit codes: 0 as it should be, 1 a check
    failed or something is in the way (said on the console with a hint), 130 interrupted before it was up.
    """
    console = new_console()
    try:
        with _signals_interrupt():
            ports = {"--port": port, "--http-port": http_port, "--pg-port": pg_port}
            _require_free(ports)
            config = DemoConfig(port or free_port(), http_port or free_port())
            return _run(Demo(check, config, pg_port, console))
    except KeyboardInterrupt:
        console.print("\ninterrupted; nothing is left behind")
        return INTERRUPTED
    except LaunchError as error:
        print_failure(console, error)
    except ProxyError as error:
        print_failure(console, LaunchError(error.message, error.hint))
    except OSError as error:
        hint = "Free about 200 MB." if error.errno == errno.ENOSPC else None
        print_failure(console, LaunchError(str(error), hint))
    return 1


def _run(demo: Demo) -> int:
    account = Account.suitable()
    found = PostgresBinaries.embedded()
    with workplace(cache_candidates(".demo"), account) as place:
        demo.console.print(f"starting PostgreSQL {found.version} and four tenants …")
        binaries = found.readable_by(account, place)
        template = cluster_template(binaries, place, account)
        home = new_run_folder(place)
        with LocalPostgres(binaries, home, port=demo.pg_port, template=template, account=account) as postgres:
            seed(postgres, demo.config.server_password)
            path = demo.config.write(home, postgres)
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(_serve(demo, path, postgres))


async def _serve(demo: Demo, config_path: Path, postgres: LocalPostgres) -> int:
    """Run Gatehouse until the work is done or a signal comes."""
    # Imported here: whoever uses the launcher alone does not need the whole proxy.
    from proxy.app import Gatehouse
    from proxy.observe import logs
    from proxy.settings.loading import load_settings

    settings = load_settings(config_path)
    # A check shows the log only when it failed: logins that are refused are part of it.
    log = io.StringIO() if demo.check else sys.stderr
    logs.configure(settings.log.format, settings.log.level, log)
    gatehouse = Gatehouse(settings, config_path)
    work = asyncio.create_task(_check(demo, gatehouse, postgres) if demo.check else _stay(demo, gatehouse, postgres))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, work.cancel)
    try:
        code = await work
        if code and isinstance(log, io.StringIO):
            print(log.getvalue(), file=sys.stderr)
        return code
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        await gatehouse.stop(immediate=True)


async def _stay(demo: Demo, gatehouse: Gatehouse, postgres: LocalPostgres) -> int:
    await gatehouse.start()
    psql = "psql" if shutil.which("psql") else str(postgres.binaries.program("psql"))
    print_tenants(demo.console, demo.config, psql, postgres.binaries.version)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    demo.console.print("\nstopping …")
    return 0


async def _check(demo: Demo, gatehouse: Gatehouse, postgres: LocalPostgres) -> int:
    # Imported here, because it needs asyncpg, which comes with the extra `demo`.
    from proxy.cli.demo.checks import check_all

    await gatehouse.start()
    findings = await check_all(demo.config, str(postgres.binaries.program("psql")))
    return 0 if print_findings(demo.console, findings) else 1


def _require_free(ports: dict[str, int]) -> None:
    for option, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                reason = "is taken" if error.errno == errno.EADDRINUSE else f"can not be used: {error.strerror}"
                hint = f"Choose another: gatehouse demo {option} {free_port()} (or make demo ARGS='{option} …')."
                raise LaunchError(f"port {port} of {HOST} {reason}", hint) from None


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP end what is under way as Ctrl-C does, so that every `with` can clean up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
