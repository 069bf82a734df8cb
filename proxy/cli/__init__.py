"""The `gatehouse` command."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from proxy import __version__
from proxy.errors import ConfigError

app = typer.Typer(
    name="gatehouse",
    help="A PostgreSQL proxy for multi-tenant applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file (YAML).")]


def _version(wanted: bool) -> None:
    if wanted:
        from proxy.server import ledger

        kind = "" if (ledger.__file__ or "").endswith(".py") else " (compiled)"
        typer.echo(f"gatehouse {__version__}{kind}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A PostgreSQL proxy for multi-tenant applications."""


@app.command()
def serve(config: ConfigOption) -> None:
    """Run the proxy. SIGHUP reloads, SIGTERM lets running transactions end, SIGINT stops at once.

    Exit codes: 0 stopped by a signal, 2 the configuration can not be used, or a port is taken.
    """
    from proxy.app.loop import run, settle
    from proxy.app.worker_link import LINE_VARIABLE
    from proxy.observe import logs
    from proxy.settings.loading import load_settings

    async def main() -> None:
        from proxy.app.gatehouse import Gatehouse

        gatehouse = Gatehouse(settings, config.absolute(), read_at_ns=read_at_ns)
        gatehouse.heed_signals()
        await gatehouse.start()
        settle()
        await gatehouse.serve_forever()

    async def supervise() -> int:
        from proxy.app.supervisor import Supervisor

        command = [sys.executable, *sys.orig_argv[1:]]
        return await Supervisor(settings, config.absolute(), command, read_at_ns).run()

    try:
        if line := os.environ.pop(LINE_VARIABLE, None):
            from proxy.app.worker import work

            return run(work(int(line)))
        read_at_ns = time.time_ns()
        settings = load_settings(config)
        logs.configure(settings.log.format, settings.log.level)
        if settings.workers > 1:
            raise typer.Exit(run(supervise()))
        run(main())
    except ConfigError as error:
        _fail(error)


@app.command()
def check(
    config: ConfigOption,
    connect: Annotated[
        bool,
        typer.Option("--connect", help="Also log in to every cluster, and look for the tenants' schemas and roles."),
    ] = False,
) -> None:
    """Check the configuration. Exit codes: 0 it is good, 1 a cluster or a schema can not be used, 2 it is wrong."""
    from proxy.app.probe import login_report
    from proxy.cli.check import ClusterReport, run_check
    from proxy.settings.model import Settings

    async def probe(settings: Settings) -> list[ClusterReport]:
        return [ClusterReport(*row) for row in await login_report(settings)]

    raise typer.Exit(run_check(config, connect=connect, probe=probe))


@app.command()
def demo(
    check: Annotated[bool, typer.Option("--check", help="Prove isolation tenant by tenant, then leave.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where clients connect.")] = 6432,
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Metrics and status page.")] = 9632,
    pg_port: Annotated[int, typer.Option(min=0, max=65535, help="The demo's PostgreSQL; 0 is a free one.")] = 0,
) -> None:
    """Try it: a PostgreSQL with four sample tenants and Gatehouse in front. Exit code with --check: 0 isolated, 1 not."""
    from proxy.cli.demo import run_demo

    raise typer.Exit(run_demo(check=check, port=port, http_port=http_port, pg_port=pg_port))


def _fail(error: ConfigError) -> None:
    from proxy.cli.check import safe

    print(safe(str(error)), file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    raise typer.Exit(2)


def main() -> None:
    """Run the command."""
    try:
        app()
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(130) from None
