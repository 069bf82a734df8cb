"""Who came in, who was turned away, and who tried to leave its tenant.

Audit events are ordinary log lines with `logger=audit` and an `audit` field that never changes its spelling, and pass
whatever the log level is. They hold names and codes only: never a statement's text, a setting's value or a secret.
"""

from __future__ import annotations

import logging

from proxy.errors import ProxyError
from proxy.observe.logs import tell


class AuditLog:
    """Writes audit events; `fields` are those of the connection (connection_id, client, user, tenant).

    `writes_logins`: whether those that succeed are to be told of, too.
    """

    def __init__(self, *, writes_logins: bool = True) -> None:
        self.writes_logins = writes_logins

    def login_ok(self, *, method: str, **fields: object) -> None:
        """A client logged in; `method` is how it proved who it is (`scram-sha-256`, `jwt`, `cert` …)."""
        named = {**fields, "method": method, "logger": "audit", "audit": "login_ok"}
        tell(logging.INFO, "client logged in", named, always=True)

    def login_refused(self, error: ProxyError, **fields: object) -> None:
        """A client was not let in."""
        self._refusal("login refused", "login_refused", error, fields)

    def context_change_refused(self, error: ProxyError, *, setting: str, **fields: object) -> None:
        """A client tried to change a setting that makes its tenant's context; `setting` is its name."""
        self._refusal("context change refused", "context_change_refused", error, {**fields, "setting": setting})

    def tenant_status_refused(self, error: ProxyError, *, status: str, **fields: object) -> None:
        """A client's tenant is suspended, in maintenance or offboarded."""
        self._refusal("tenant not available", "tenant_status_refused", error, {**fields, "status": status})

    def _refusal(self, event: str, audit: str, error: ProxyError, fields: dict[str, object]) -> None:
        cause: dict[str, object] = {"sqlstate": error.sqlstate, "kind": error.kind.value, "reason": error.message}
        named = {**fields, **cause, "logger": "audit", "audit": audit}
        tell(logging.WARNING, event, named, always=True)
