"""What the demo prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from proxy.cli.demo.attempts import Finding
from proxy.cli.demo.binaries import LaunchError
from proxy.cli.demo.config import HOST, DemoConfig
from proxy.cli.demo.seed import TENANTS

WIDTH = 160


def new_console() -> Console:
    """A console wide enough for a line to paste: what the terminal wraps can be copied, what rich wraps can not."""
    return Console(highlight=False, width=max(WIDTH, Console().width))


def print_tenants(console: Console, config: DemoConfig, psql: str, version: str) -> None:
    """The tenants, where each lives, a line to paste for each, and what else there is to look at."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("tenant", "placement", "paste this in another terminal"):
        table.add_column(heading, no_wrap=True)
    for tenant in TENANTS:
        table.add_row(tenant.name, tenant.home, config.psql_line(tenant, psql))
    console.print(f"\nGatehouse listens on [bold]{HOST}:{config.port}[/], in front of PostgreSQL {version}.\n")
    console.print(table)
    console.print(
        "\nEach sees its own rows only: SELECT * FROM orders. Then try to get at the others'.", soft_wrap=True
    )
    console.print(f"metrics  http://{HOST}:{config.http_port}/metrics", soft_wrap=True)
    console.print(f"health   http://{HOST}:{config.http_port}/readyz", soft_wrap=True)
    console.print("\nCtrl-C stops everything and leaves nothing behind.", soft_wrap=True)


def print_findings(console: Console, findings: Sequence[Finding]) -> bool:
    """What each tenant did and got; returns whether all of it was as it must be."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("", "tenant", "does", "gets"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.passed else "[red]FAILED[/]"
        table.add_row(mark, finding.tenant, escape(finding.action), escape(finding.outcome))
    console.print(table)
    failed = sum(not finding.passed for finding in findings)
    verdict = f"[red]{failed} of {len(findings)} checks failed[/]" if failed else f"all {len(findings)} checks passed"
    console.print(f"\n{verdict}")
    return not failed


def print_failure(console: Console, error: LaunchError) -> None:
    """Why the demo does not run, and what to do."""
    console.print(f"[red]error:[/] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        console.print(f"[bold]hint:[/]  {escape(error.hint)}", soft_wrap=True)
