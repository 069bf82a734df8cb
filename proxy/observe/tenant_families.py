"""The metric families of tenants: what the clients of each did, whichever pool served them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.observe.counters import TrafficStats
from proxy.observe.family import Family, FamilyType

_C, _G, _H = FamilyType.COUNTER, FamilyType.GAUGE, FamilyType.HISTOGRAM
_TENANT = ("tenant", "placement")

OTHER_TENANTS: Final = "__other__"
"""The tenant label that sums up tenants beyond `max_tenant_labels`."""

TENANTS: Final[tuple[Family[TrafficStats], ...]] = (
    Family(
        "gatehouse_tenant_queries_total",
        _C,
        _TENANT,
        "Queries of the tenant's clients.",
        lambda traffic: traffic.queries,
    ),
    Family(
        "gatehouse_tenant_transactions_total",
        _C,
        _TENANT,
        "Transactions of the tenant's clients.",
        lambda traffic: traffic.transactions,
    ),
    Family(
        "gatehouse_tenant_received_bytes_total",
        _C,
        _TENANT,
        "Bytes received from the tenant's clients.",
        lambda traffic: traffic.received_bytes,
    ),
    Family(
        "gatehouse_tenant_sent_bytes_total",
        _C,
        _TENANT,
        "Bytes sent to the tenant's clients.",
        lambda traffic: traffic.sent_bytes,
    ),
    Family(
        "gatehouse_tenant_server_in_transaction_seconds_total",
        _C,
        _TENANT,
        "Time servers were lent to the tenant, idle in transaction included.",
        lambda traffic: traffic.transaction_seconds,
    ),
    Family(
        "gatehouse_tenant_query_seconds",
        _H,
        _TENANT,
        "Time from a query's bytes to the server until it was ready again.",
        lambda traffic: traffic.query_seconds.snapshot(),
    ),
    Family(
        "gatehouse_tenant_wait_seconds",
        _H,
        _TENANT,
        "Time clients waited for a server; those served at once are not counted.",
        lambda traffic: traffic.wait_seconds.snapshot(),
    ),
    Family(
        "gatehouse_context_injections_total",
        _C,
        _TENANT,
        "Times the tenant's settings were put in front of client bytes.",
        lambda traffic: traffic.context_injections,
    ),
    Family(
        "gatehouse_tenant_server_errors_total",
        _C,
        _TENANT,
        "Errors that PostgreSQL reported to the tenant's clients.",
        lambda traffic: traffic.errors,
    ),
    Family(
        "gatehouse_tenant_pins_total",
        _C,
        _TENANT,
        "Times a server was tied to a client of the tenant beyond its transaction.",
        lambda traffic: traffic.pins,
    ),
)
"""Read from every tenant, once per placement it had."""

TENANT_CLIENTS: Final[Family[Mapping[str, float]]] = Family(
    "gatehouse_tenant_clients",
    _G,
    ("tenant", "state"),
    "Clients of the tenant: active (hold a server), waiting for one, or idle.",
    lambda by_state: by_state,
)
"""Read from each tenant's clients by state."""
