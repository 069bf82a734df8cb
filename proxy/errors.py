"""Every error that Gatehouse itself raises, and what each tells the client.

An error is a class that knows its SQLSTATE (PostgreSQL manual, appendix A) and speaks twice: `message`,
`hint` and `details` go to the client and must be safe to show; `log_context` goes to the log only. Secrets belong in
neither.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Literal, Self

Severity = Literal["ERROR", "FATAL"]


class ErrorKind(StrEnum):
    """What kind of trouble an error is; the `kind` label of `gatehouse_errors_total`."""

    AUTH = "auth"
    TENANT = "tenant"
    CAPACITY = "capacity"
    CONFIG = "config"
    CONTEXT = "context"
    GUARD = "guard"
    LIMIT = "limit"
    PROTOCOL = "protocol"
    SERVER = "server"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


class ProxyError(Exception):
    """An error Gatehouse reports in its own name.

    `message` follows PostgreSQL's style (lower case, no full stop); `hint` is a sentence that says what to do instead.
    """

    sqlstate: str = "XX000"
    severity: ClassVar[Severity] = "ERROR"
    kind: ClassVar[ErrorKind] = ErrorKind.SERVER

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: str | None = None,
        **log_context: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        self.log_context = log_context

    def with_sqlstate(self, sqlstate: str) -> Self:
        """The same error under PostgreSQL's own code, where PostgreSQL gave one."""
        self.sqlstate = sqlstate
        return self


# --- login


class AuthenticationFailed(ProxyError):
    """The client did not prove who it is. The text is the same for an unknown user and a wrong password."""

    sqlstate, severity, kind = "28P01", "FATAL", ErrorKind.AUTH


class LoginRefused(ProxyError):
    """Who the client is does not allow what it asks: no TLS, a tenant that is not its own, sources that disagree."""

    sqlstate, severity, kind = "28000", "FATAL", ErrorKind.AUTH


class LoginTimeout(ProxyError):
    """The client did not finish logging in within `client_login_timeout`."""

    sqlstate, severity, kind = "57014", "FATAL", ErrorKind.TIMEOUT


class TooManyClients(ProxyError):
    """A limit on client connections (in all, of the user, of the tenant) is reached."""

    sqlstate, severity, kind = "53300", "FATAL", ErrorKind.CAPACITY


class InvalidStartupParameter(ProxyError):
    """A startup parameter that PostgreSQL or Gatehouse does not accept."""

    sqlstate, severity, kind = "22023", "FATAL", ErrorKind.PROTOCOL


# --- tenants


class TenantUnknown(ProxyError):
    """No tenant of this id, or none was named."""

    sqlstate, severity, kind = "28000", "FATAL", ErrorKind.TENANT


class TenantUnavailable(ProxyError):
    """The tenant exists but is suspended, in maintenance or offboarded."""

    sqlstate, kind = "57P03", ErrorKind.TENANT


class RegistryUnavailable(ProxyError):
    """The tenant registry can not be read and holds no usable copy."""

    sqlstate, severity, kind = "57P03", "FATAL", ErrorKind.TENANT


# --- what a client may not do


class ContextProtected(ProxyError):
    """An attempt to change a setting that makes the tenant's context."""

    sqlstate, kind = "42501", ErrorKind.GUARD


class FeatureRefused(ProxyError):
    """Something PostgreSQL can do but a pooled connection can not."""

    sqlstate, kind = "0A000", ErrorKind.GUARD


class InvalidStatement(ProxyError):
    """A prepared statement is not there (26000), or is there already (42P05)."""

    sqlstate, kind = "26000", ErrorKind.PROTOCOL


class InvalidPortal(ProxyError):
    """A portal is not there."""

    sqlstate, kind = "34000", ErrorKind.PROTOCOL


class StatementOutdated(ProxyError):
    """A prepared statement would give other columns than its client was told: definitions changed."""

    sqlstate, kind = "0A000", ErrorKind.PROTOCOL


class TransactionFailed(ProxyError):
    """The transaction failed, and something other than its end was sent."""

    sqlstate, kind = "25P02", ErrorKind.PROTOCOL


class InTransaction(ProxyError):
    """A statement that refuses a transaction block came inside one."""

    sqlstate, kind = "25001", ErrorKind.PROTOCOL


class DuplicateStatement(ProxyError):
    """A prepared statement of this name exists already."""

    sqlstate, kind = "42P05", ErrorKind.PROTOCOL


# --- the data path


class ProtocolViolation(ProxyError):
    """Bytes that are not the PostgreSQL protocol."""

    sqlstate, severity, kind = "08P01", "FATAL", ErrorKind.PROTOCOL


class LimitExceeded(ProxyError):
    """A configured limit on what one client may hold or send is reached."""

    sqlstate, kind = "54000", ErrorKind.LIMIT


class MessageTooLarge(LimitExceeded):
    """A message is larger than the limit; its bytes can not be skipped safely, so the connection ends."""

    severity = "FATAL"


class PoolTimeout(ProxyError):
    """No server became free in time."""

    sqlstate, kind = "53300", ErrorKind.CAPACITY


class PoolFull(ProxyError):
    """The wait queue of a pool is at its limit."""

    sqlstate, kind = "53300", ErrorKind.CAPACITY


class ContextFailed(ProxyError):
    """PostgreSQL refused the tenant's context; nothing of the client's was run."""

    sqlstate, kind = "57P03", ErrorKind.CONTEXT


class ServerLoginFailed(ProxyError):
    """PostgreSQL refused Gatehouse's own login, or speaks something Gatehouse does not accept."""

    sqlstate, kind = "08004", ErrorKind.SERVER


class ServerUnreachable(ProxyError):
    """No host of a cluster could be connected to."""

    sqlstate, kind = "08001", ErrorKind.SERVER


class ServerLost(ProxyError):
    """The server connection broke while a client was using it."""

    sqlstate, severity, kind = "08006", "FATAL", ErrorKind.SERVER


class QueryCanceled(ProxyError):
    """The client cancelled while it was waiting for a server."""

    sqlstate, kind = "57014", ErrorKind.TIMEOUT


class IdleTimeout(ProxyError):
    """The client was idle for longer than the configured limit."""

    sqlstate, severity, kind = "57P05", "FATAL", ErrorKind.TIMEOUT


class QueryTimeout(ProxyError):
    """A statement took longer than `query_timeout`."""

    sqlstate, kind = "57014", ErrorKind.TIMEOUT


class TransactionTimeout(ProxyError):
    """A transaction took longer than `transaction_timeout`."""

    sqlstate, severity, kind = "25P04", "FATAL", ErrorKind.TIMEOUT


class IdleInTransactionTimeout(ProxyError):
    """A client was silent inside a transaction for longer than `idle_in_transaction_timeout`."""

    sqlstate, severity, kind = "25P03", "FATAL", ErrorKind.TIMEOUT


class TenantMoved(ProxyError):
    """The tenant lives elsewhere now, and the client holds a server of the old place."""

    sqlstate, severity, kind = "57P01", "FATAL", ErrorKind.TENANT


class InternalError(ProxyError):
    """A fault of Gatehouse's own."""

    sqlstate, severity, kind = "XX000", "FATAL", ErrorKind.SERVER


class ShuttingDown(ProxyError):
    """Gatehouse is stopping."""

    sqlstate, severity, kind = "57P01", "FATAL", ErrorKind.SHUTDOWN


class ConfigError(ProxyError):
    """The configuration is not usable; the message lists every problem with file and line."""

    sqlstate, severity, kind = "F0000", "FATAL", ErrorKind.CONFIG
