"""What a login may do."""

from __future__ import annotations

import pytest

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier


@pytest.mark.parametrize(
    ("tenants", "may_use", "single"),
    [
        (None, True, None),
        (frozenset(), False, None),
        (frozenset({"acme"}), True, "acme"),
        (frozenset({"globex"}), False, "globex"),
        (frozenset({"acme", "globex"}), True, None),
    ],
)
def test_a_login_speaks_for_its_tenants_only(tenants: frozenset[str] | None, may_use: bool, single: str | None) -> None:
    identity = Identity("app", tenants)
    assert identity.may_use("acme") is may_use
    assert identity.single_tenant == single


def test_a_record_does_not_show_its_verifier() -> None:
    verifier = ScramVerifier.from_password("secret", iterations=1)
    shown = repr(UserRecord(Identity("app", None), verifier))
    for secret in (verifier.salt, verifier.stored_key, verifier.server_key):
        assert repr(secret) not in shown
