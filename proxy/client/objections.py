"""Why a statement may not run at this moment, or not for this client, though its like may at others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy.errors import FeatureRefused, LimitExceeded, LoginRefused, ProxyError
from proxy.guard.model import SettingChange
from proxy.guard.rules import GuardPolicy, judge_setting, judge_transaction
from proxy.guard.statements import Statement
from proxy.guard.verdicts import Verdict
from proxy.wire import codes

if TYPE_CHECKING:
    from proxy.client.session import Session
    from proxy.context.client_settings import ClientSettings


def objection(session: Session, verdict: Verdict, *, in_batch: bool) -> ProxyError | None:
    """The error that a statement deserves for the moment at which it comes."""
    if verdict.has_transaction_control:
        error = judge_transaction(verdict, session.policy)
        if error is not None:
            return error
    if verdict.reads_sequence and session.status == codes.IDLE and not in_batch and not session.keeps:
        return FeatureRefused(
            "currval() and lastval() mean nothing outside the transaction that called nextval()",
            hint="Each transaction may run on another server connection. Use RETURNING, or both in one transaction, "
            "or a session endpoint.",
        )
    return None


def objection_to_size(session: Session, sizes: dict[str, int]) -> ProxyError | None:
    """The error that it deserves to change settings to so many bytes each."""
    limit = session.limits.max_settings_bytes
    if not sizes or session.settings.bytes_with(sizes) <= limit:
        return None
    return LimitExceeded(
        f"a client's settings may take {limit} bytes together",
        hint="Each of its transactions carries them. Set less, or raise limits.max_session_settings_size.",
    )


def objection_to_encoding(session: Session, statements: Iterable[Statement]) -> ProxyError | None:
    """The error that it deserves to change client_encoding under values that were given in another one."""
    given = dict(session.settings.current())
    wanted: list[str] = []
    for statement in statements:
        for change in statement.changes:
            if change.name == "client_encoding" and change.value is not None:
                wanted += change.value
            elif change.value is not None:
                given[change.name] = change.value
        wanted += [str(call.value) for call in statement.set_config if str(call.name).lower() == "client_encoding"]
    now = _plain(session.shown.get(b"client_encoding", b"").decode())
    if all(_plain(name) == now for name in wanted):
        return None
    for name, parts in given.items():
        if not all(part.isascii() for part in parts):
            return FeatureRefused(
                f'client_encoding can not be changed while "{name}" is set to a value with characters beyond ASCII',
                hint=f"RESET {name} first, and set it again afterwards.",
            )
    return None


def _plain(encoding: str) -> str:
    return "".join(character for character in encoding.lower() if character.isalnum())


def objection_to_move(settings: ClientSettings, policy: GuardPolicy) -> ProxyError | None:
    """The error that a client deserves whose tenant lives elsewhere now, where this policy holds."""
    for name, parts in settings.effective.items():
        error = judge_setting(SettingChange(name, parts, is_local=False), policy)
        if error is not None:
            return LoginRefused(
                f'the tenant moved, and "{name}" as this client set it is not allowed there',
                hint="Connect again.",
            )
    return None
