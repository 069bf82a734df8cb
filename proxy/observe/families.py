"""Every metric family, gathered from the modules of their subjects.

The one table behind `/metrics` and `docs/metrics.md`. Suffixes are those of the PgBouncer exporter where the meaning is
the same, with `gatehouse_` in front, so that its dashboards need one replacement; `pgbouncer` names the column meant.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.observe.family import Family
from proxy.observe.pool_families import POOLS
from proxy.observe.process_families import PROCESS, WORKERS
from proxy.observe.tenant_families import TENANT_CLIENTS, TENANTS

__all__ = ["FAMILIES", "POOLS", "PROCESS", "TENANTS", "TENANT_CLIENTS", "WORKERS"]

FAMILIES: Final[tuple[Family[Any], ...]] = (*PROCESS, *POOLS, *TENANTS, TENANT_CLIENTS, *WORKERS)
"""All of them, in the order in which they are exposed."""
