"""`docs/metrics.md`, written from the table of families.

`python -m proxy.observe.document > docs/metrics.md` renews it; a test fails while the two differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from proxy.observe.counters import QUERY_SECONDS, WAIT_SECONDS
from proxy.observe.families import POOLS, PROCESS, TENANT_CLIENTS, TENANTS, WORKERS
from proxy.observe.family import Family
from proxy.observe.tenant_families import OTHER_TENANTS

_INTRODUCTION: Final = f"""\
# Metrics

`GET /metrics` on the HTTP endpoint answers in Prometheus' text format 0.0.4, or in OpenMetrics when the Accept header
asks for it. This page is written by `python -m proxy.observe.document`.

Where a family means what PgBouncer's column means, its name is that of the PgBouncer exporter with `gatehouse_` for
`pgbouncer_`, so that a dashboard needs one replacement; pools have the labels `cluster`, `database`,
`user` and `mode` (`transaction`, which is statement mode as well, or `session`). What PgBouncer counts in its `stats` is
counted by tenant here, so those families have names of their own.

At most 1,000 tenants have series of their own: the first to appear since the start. All others
are summed up in `tenant="{OTHER_TENANTS}"`, per placement, so that totals stay true. A tenant that moves to another
placement begins a new series; the old one keeps its last value until the next start.

Alert rules and a scrape configuration are in `deploy/prometheus/`.
"""

_SECTIONS: Final[tuple[tuple[str, str, tuple[Family[Any], ...]], ...]] = (
    ("Process", "", PROCESS),
    ("Pools", "One pool per database and login of a cluster, and one more for its clients in session mode.", POOLS),
    ("Tenants", "Labels `tenant` and `placement` (`shared`, `schema` or `database`).", (*TENANTS, TENANT_CLIENTS)),
    (
        "Workers",
        "Only with `workers` above 1. All other families are then sums over the workers; counters keep what a worker "
        "had counted that ended, as far as it was scraped.",
        WORKERS,
    ),
)

_END: Final = f"""\
## Buckets

Query times (`gatehouse_tenant_query_seconds`): {", ".join(f"{bound:g}" for bound in QUERY_SECONDS)} seconds.
Waiting (`gatehouse_tenant_wait_seconds`): {", ".join(f"{bound:g}" for bound in WAIT_SECONDS)} seconds.

## The process itself

`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`,
`process_start_time_seconds` and `process_virtual_memory_bytes` are there on Linux, as in every exporter.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *(_section(*section) for section in _SECTIONS), _END])


def _section(title: str, text: str, families: Iterable[Family[Any]]) -> str:
    head = [f"## {title}", ""] + ([text, ""] if text else [])
    table = ["| name | type | labels | meaning | PgBouncer |", "|---|---|---|---|---|"]
    return "\n".join([*head, *table, *(_row(family) for family in families), ""])


def _row(family: Family[Any]) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    column = f"`{family.pgbouncer}`" if family.pgbouncer else ""
    return f"| `{family.name}` | {family.type.value} | {labels} | {family.help} | {column} |"


if __name__ == "__main__":
    print(markdown(), end="")
