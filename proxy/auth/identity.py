"""Who a login is, and what it may do here: the answer of authentication, whichever way it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.auth.scram import ScramVerifier


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated login: the tenants it may speak for (None: all), how many clients it may have (None: any)."""

    user: str
    tenants: frozenset[str] | None
    max_clients: int | None = None

    def may_use(self, tenant_id: str) -> bool:
        """Whether this login may speak for the tenant."""
        return self.tenants is None or tenant_id in self.tenants

    @property
    def single_tenant(self) -> str | None:
        """The one tenant this login is bound to, if it is bound to exactly one."""
        return next(iter(self.tenants)) if self.tenants is not None and len(self.tenants) == 1 else None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A login as it is stored: who it is, and how its password is checked."""

    identity: Identity
    verifier: ScramVerifier


class UserDirectory(Protocol):
    """Where logins are looked up; must answer at once, from memory."""

    def find(self, user: str) -> UserRecord | None:
        """The login of exactly this name."""
        ...

    @property
    def usual_iterations(self) -> int:
        """How often most logins' passwords are hashed: a login that does not exist must say the same."""
        ...
