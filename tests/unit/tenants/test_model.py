"""Tenants that may not be used say so, and what to do."""

from __future__ import annotations

import pytest

from proxy.errors import TenantUnavailable
from proxy.tenants.model import SharedPlacement, Tenant, TenantStatus, Tier, ensure_available

PLACE = SharedPlacement("main", "saas")


def test_an_active_tenant_may_be_used() -> None:
    ensure_available(Tenant("acme", PLACE, Tier("default")))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (TenantStatus.SUSPENDED, 'tenant "acme" is suspended'),
        (TenantStatus.MAINTENANCE, 'tenant "acme" is in maintenance'),
        (TenantStatus.OFFBOARDED, 'tenant "acme" has been closed'),
    ],
)
def test_any_other_tenant_is_refused_with_57p03_and_a_hint(status: TenantStatus, text: str) -> None:
    with pytest.raises(TenantUnavailable, match=text) as caught:
        ensure_available(Tenant("acme", PLACE, Tier("default"), status))
    assert caught.value.sqlstate == "57P03"
    assert caught.value.hint
