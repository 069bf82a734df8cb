"""What a tenant of the demo tries in order to get at the others' rows, and how each try must end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.cli.demo.seed import SampleTenant

NO_ROWS: Final = "no rows"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A statement, and how it must end: a text in the first column, "no rows", or an SQLSTATE."""

    sql: str
    expected: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of something a tenant did."""

    tenant: str
    action: str
    outcome: str
    passed: bool


def attempts(tenant: SampleTenant, others: Sequence[SampleTenant]) -> Iterator[Attempt]:
    """What this tenant tries to get at the rows of others."""
    # Two tenants on the same shared tables are reached for in the same words.
    yield from dict.fromkeys(attempt for other in others for attempt in _reach_for(tenant, other))
    stranger = others[0].name
    yield Attempt(f"SET app.tenant_id = '{stranger}'", "42501")
    yield Attempt(f"SELECT set_config('app.tenant_id', '{stranger}', false)", "42501")
    yield Attempt("SELECT current_setting('app.tenant_id')", tenant.name)


def _reach_for(tenant: SampleTenant, other: SampleTenant) -> Iterator[Attempt]:
    if tenant.database != other.database:
        yield Attempt(f"TABLE {other.database}.{other.orders_table}", "0A000")
    elif tenant.model == other.model == "shared":
        yield Attempt(f"SELECT item FROM orders WHERE tenant_id = '{other.name}'", NO_ROWS)  # noqa: S608
        gift = f"INSERT INTO orders (tenant_id, item, amount) VALUES ('{other.name}', 'gift', 1)"  # noqa: S608
        yield Attempt(gift, "42501")
    else:
        yield Attempt(f"TABLE {other.orders_table}", "42501")
        if other.role:
            yield Attempt(f"SET ROLE {other.role}", "42501")
