"""What a client may not do, as far as a statement's text tells.

Three things are kept from it: changing the settings that make its context, changing how PostgreSQL reads text (the guard reads it in
one way only), and asking a pooled connection for what only a session of one's own can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.errors import ContextProtected, FeatureRefused, ProxyError
from proxy.guard.encodings import is_safe_encoding
from proxy.guard.functions import KNOWN_BY_OID, REACH_SESSIONS, SESSION_LOCKS
from proxy.guard.literals import ascii_lower
from proxy.guard.model import SetConfigCall, SettingChange, Statement, StatementKind
from proxy.guard.search_path import split_search_path
from proxy.guard.set_config import parse_bool
from proxy.guard.statements import TOO_MANY_STATEMENTS
from proxy.guard.verdicts import Verdict
from proxy.settings.names import READING_SETTINGS

_ROLE_COMMANDS: Final = frozenset(("ALTER ROLE", "ALTER USER", "ALTER GROUP"))
_DATABASE_SETTINGS: Final = frozenset(("ALTER DATABASE SET", "ALTER DATABASE RESET"))

RESERVED_PREFIX: Final = "gatehouse_"
_SHARED_NAMES: Final = {
    "notification": "LISTEN and NOTIFY are",
    "advisory lock": "advisory locks are",
}
_BY_NAME: Final = frozenset((StatementKind.SQL_PREPARE, StatementKind.SQL_EXECUTE, StatementKind.DEALLOCATE))

_OPENS_TRANSACTION: Final = frozenset(
    (
        StatementKind.BEGIN,
        StatementKind.SAVEPOINT,
        StatementKind.PREPARE_TRANSACTION,
        StatementKind.COMMIT_CHAIN,
        StatementKind.ROLLBACK_CHAIN,
    )
)

_ALWAYS_ON_PATH: Final = frozenset(("", "pg_catalog", "pg_temp"))


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """What holds for one client in one pool.

    protected: names of settings, in lower case, that only Gatehouse sets.
    allowed_search_path: the schemas that search_path may name, besides pg_catalog and pg_temp; None where it is not protected.
    transaction_block_free: whether statements that refuse a transaction block may run, which is without context.
    session_state_refused: whether what outlives a transaction (LISTEN, temporary tables, …) is refused.
    channels_refused: whether NOTIFY, LISTEN and advisory locks are refused, because other tenants of the database would
        share the channels and the keys.
    sessions_refused: whether what shows or ends other sessions of the login is refused, because they are other tenants'.
    transactions_refused: whether transaction blocks are refused (statement pooling).
    """

    protected: frozenset[str]
    allowed_search_path: frozenset[str] | None = None
    transaction_block_free: bool = False
    session_state_refused: bool = False
    channels_refused: bool = False
    sessions_refused: bool = False
    transactions_refused: bool = False


def judge(verdict: Verdict, policy: GuardPolicy) -> ProxyError | None:
    """The error that a text deserves, or None when it may run; at most parameters are left for `judge_bind`."""
    if not verdict.needs_rules:
        return None
    is_alone = verdict.single is not None
    for statement in verdict.statements:
        error = _judge_statement(statement, policy, is_alone)
        if error is not None:
            return error
    return None


def judge_transaction(verdict: Verdict, policy: GuardPolicy) -> ProxyError | None:
    """The error that transaction control deserves in statement pooling, or None. Ending what never began is harmless."""
    if not policy.transactions_refused:
        return None
    if all(statement.kind not in _OPENS_TRANSACTION for statement in verdict.statements):
        return None
    return FeatureRefused(
        "transaction blocks are not allowed in statement pooling mode",
        hint="Send each statement by itself, or several in one query string, or connect where pool_mode is transaction.",
    )


def judge_bind(statement: Statement, parameters: Callable[[int], str | None], policy: GuardPolicy) -> ProxyError | None:
    """The error that the parameters of its set_config calls deserve, or None.

    `parameters` gives the text of a parameter by number, from 1; None for NULL and for what is no text.
    """
    for call in statement.set_config:
        if isinstance(call.name, int):
            name = parameters(call.name)
            # A parameter may be declared of a type that is cut or trimmed on the way to text.
            call = SetConfigCall(name, call.value, call.is_local, is_cast=True)
        if isinstance(call.value, int):
            call = SetConfigCall(call.name, parameters(call.value), call.is_local, call.is_cast)
        error = _judge_call(call, policy)
        if error is not None:
            return error
    return None


def judge_setting(change: SettingChange, policy: GuardPolicy) -> ProxyError | None:
    """The error that changing one setting deserves, or None. For startup parameters too, with a value of one part."""
    name = change.name
    if name in policy.protected:
        return _protected(name)
    if name == "search_path" and policy.allowed_search_path is not None:
        if change.value is None and not change.is_local and change.is_understood:
            return None  # RESET goes back to the tenant's own path
        return _judge_search_path(change.value if change.is_understood else None, policy.allowed_search_path)
    if name in READING_SETTINGS and change.value is not None:
        return _judge_reading(name, ", ".join(change.value))
    return None


def _judge_statement(statement: Statement, policy: GuardPolicy, is_alone: bool) -> ProxyError | None:
    for change in statement.changes:
        error = judge_setting(change, policy)
        if error is not None:
            return error
    for call in statement.set_config:
        if statement.kind == StatementKind.SQL_PREPARE:
            call = _without_parameters(call)
        error = _judge_call(call, policy)
        if error is not None:
            return error
    return _judge_command(statement, policy, is_alone)


def _without_parameters(call: SetConfigCall) -> SetConfigCall:
    """The call as SQL PREPARE leaves it: what EXECUTE will give its parameters is never seen."""
    return SetConfigCall(
        None if isinstance(call.name, int) else call.name,
        None if isinstance(call.value, int) else call.value,
        call.is_local,
        call.is_cast,
    )


def _judge_command(statement: Statement, policy: GuardPolicy, is_alone: bool) -> ProxyError | None:
    command = statement.command
    if statement.kind in _BY_NAME and statement.name.startswith(RESERVED_PREFIX):
        return ContextProtected(
            f'prepared statements whose names begin with "{RESERVED_PREFIX}" are Gatehouse\'s own',
            hint="Use another name.",
        )
    if command in _ROLE_COMMANDS or command in _DATABASE_SETTINGS:
        return ContextProtected(
            f"{command} is not allowed through Gatehouse",
            hint="Roles and databases are shared by many clients here; change them on a direct connection to PostgreSQL.",
        )
    if command == TOO_MANY_STATEMENTS:
        return FeatureRefused("too many statements in one query string", hint="Send them in several parts.")
    # In a string of several PostgreSQL refuses it by itself.
    if statement.kind == StatementKind.NO_BLOCK and is_alone and not policy.transaction_block_free:
        return FeatureRefused(
            f"{command} can not run with a tenant's context",
            hint="It refuses a transaction block. Use a direct connection, or give the tenant a database of its own.",
        )
    if statement.shared_name and policy.channels_refused:
        return _shared(_SHARED_NAMES[statement.shared_name])
    if statement.reaches_sessions and policy.sessions_refused:
        return _neighbours()
    if statement.pin and policy.session_state_refused:
        return FeatureRefused(
            f"a pooled connection can not keep this: {statement.pin}",
            hint="It outlives the transaction. Use a session endpoint or a direct connection to PostgreSQL.",
        )
    return None


def judge_function(oid: int, policy: GuardPolicy, *, is_session: bool) -> ProxyError | None:
    """The error that a FunctionCall message of this function deserves, or None.

    `is_session`: the client has its server for itself until it leaves.
    """
    name = KNOWN_BY_OID.get(oid, b"")
    if name == b"set_config":
        return ContextProtected(
            "set_config can not be called by a function call message", hint="Call it with SELECT, or use SET."
        )
    if name in REACH_SESSIONS:
        return _neighbours() if policy.sessions_refused else None
    if name and policy.channels_refused:
        return _shared(_SHARED_NAMES["notification" if name == b"pg_notify" else "advisory lock"])
    if name in SESSION_LOCKS and not is_session:
        return FeatureRefused(
            "a session's advisory lock can not be taken by a function call message", hint="Call it with SELECT."
        )
    return None


def _shared(subject: str) -> ProxyError:
    return FeatureRefused(
        f"{subject} not allowed on a database that tenants share",
        hint="Other tenants of the database use the same names, so they would meet. "
        "Set cross_tenant_channels: allow for the tenant's tier if that is harmless.",
    )


def _neighbours() -> ProxyError:
    return ContextProtected(
        "what shows or ends other sessions is not allowed on a database that tenants share",
        hint="Other tenants' sessions have the same login, and their statements hold their data. Ask on a direct connection "
        "to PostgreSQL, or set cross_tenant_sessions: allow for the tenant's tier if that is harmless.",
    )


def _judge_call(call: SetConfigCall, policy: GuardPolicy) -> ProxyError | None:
    if isinstance(call.name, int):
        return None
    if call.name is None:
        return _unseen("the name of a setting in set_config")
    name = ascii_lower(call.name)
    guarded = policy.protected | READING_SETTINGS
    if policy.allowed_search_path is not None:
        guarded |= {"search_path"}
    if name not in guarded:
        # A cast can cut a name to a shorter one.
        shortened = next((other for other in guarded if name.startswith(other)), None) if call.is_cast else None
        return _unseen(f'whether set_config changes "{shortened}"') if shortened else None
    if name in policy.protected:
        return _protected(name)
    if isinstance(call.value, int):
        return None
    if call.value is None:
        return _unseen(f'the new value of "{name}" in set_config')
    if name == "search_path":
        return _judge_search_path(split_search_path(call.value), policy.allowed_search_path or frozenset())
    return _judge_reading(name, call.value)


def _judge_search_path(schemas: tuple[str, ...] | None, allowed: frozenset[str]) -> ProxyError | None:
    """Names compare exactly: PostgreSQL folded what was to be folded when it read them."""
    if schemas is not None and all(schema in allowed or schema in _ALWAYS_ON_PATH for schema in schemas):
        return None
    names = ", ".join(sorted(allowed)) or "none"
    return ContextProtected(
        '"search_path" is set by Gatehouse for the tenant of this connection and can only be narrowed',
        hint=f"Set it to some of these, or not at all: {names}.",
    )


def _judge_reading(name: str, value: str) -> ProxyError | None:
    if name == "standard_conforming_strings":
        if parse_bool(value) is True:
            return None
        return FeatureRefused(
            '"standard_conforming_strings" can not be turned off through Gatehouse',
            hint="Write strings that need backslash escapes as E'…'.",
        )
    if is_safe_encoding(value):
        return None
    return FeatureRefused(
        f'client_encoding "{value}" is not supported by Gatehouse',
        hint="Its characters can hold bytes that look like quotes or backslashes. Use UTF8.",
    )


def _protected(name: str) -> ProxyError:
    return ContextProtected(
        f'"{name}" is set by Gatehouse for the tenant of this connection and can not be changed',
        hint="Connect as the tenant that you mean.",
    )


def _unseen(what: str) -> ProxyError:
    return ContextProtected(
        f"Gatehouse can not see {what}",
        hint="Write names and values in set_config as plain constants or parameters.",
    )
