"""Execute: what a portal does to the session besides giving rows.

A statement that sets something runs as its substitute, with the effect noted for when PostgreSQL has done it; what it
set for the session is asked for, and RESET ALL is spelled out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.client.rewrite import Kind, Substitute, captures_of, changes_encoding, changes_parsing, set_locally
from proxy.context import quoting
from proxy.errors import InTransaction
from proxy.server.units import BIND, CLOSE, DROP, EXECUTE, NOTED, PARSE, Capture, Effect, ParseRecord
from proxy.wire import codes, frontend

if TYPE_CHECKING:
    from proxy.client.extended import ExtendedProtocol
    from proxy.guard.statements import Statement as SqlStatement

_RESETS: Final = (Kind.RESET_ALL, Kind.DISCARD_ALL)
_MAY_COMMIT: Final = frozenset({"CALL", "DO"})
_NO_LIMIT: Final = bytes(4)
_PORTAL: Final = b"gatehouse_value"
_BEHIND_PORTAL_BYTES: Final = 5
"""Of an Execute: the end of the portal's name, and a number of rows."""


def execute(extended: ExtendedProtocol, message: bytes) -> None:
    """Handle an Execute, and what its statement means to the session."""
    session = extended.session
    end = 5 if message[5] == 0 else message.find(b"\0", 5)
    known = extended.portal(message[5:end], is_whole=len(message) == end + _BEHIND_PORTAL_BYTES)
    extended.begin_to_run(None if known is None else known[0])
    if known is None:
        extended.send(message, EXECUTE)  # a cursor of DECLARE, or an error that PostgreSQL words itself
        return
    statement, bound = known
    verdict = statement.verdict
    if verdict.is_ordinary and statement.note is None:
        extended.awaits_copy = False
        extended.send(message, EXECUTE)
        return
    single = verdict.single
    if single is not None and single.kind == Kind.DISCARD_ALL and session.progress.status != codes.IDLE:
        raise InTransaction("DISCARD ALL cannot run inside a transaction block")
    note = statement.note
    if isinstance(note, Substitute) and note.effect is not None:
        _execute_substitute(extended, message, note, note.effect, bound, single)
    else:
        extended.send(message, EXECUTE)
    if single is not None:
        _follow(extended, single, bound)


def _execute_substitute(
    extended: ExtendedProtocol,
    message: bytes,
    substitute: Substitute,
    effect: Effect,
    bound: tuple[str | None, ...] | None,
    single: SqlStatement | None,
) -> None:
    """Run what stands for the client's statement, and note what it will have done."""
    extended.send(message, EXECUTE | NOTED)
    notes = extended.server().ledger.notes
    notes.append(Effect(effect.statement, effect.tag, bound, is_rewritten=effect.is_rewritten))
    if effect.is_rewritten and single is not None and single.kind == Kind.SET_CHARACTERISTICS:
        _run_all_unseen(extended, substitute.texts[:-1])
    captures = substitute.captures if single is None else captures_of(single, bound)
    # A portal that was asked for some rows may be executed again: the unnamed one must stay what it is.
    portal = b"" if message[-4:] == _NO_LIMIT else _PORTAL
    for name in captures:
        _capture(extended, name, portal)


def _follow(extended: ExtendedProtocol, single: SqlStatement, bound: tuple[str | None, ...] | None) -> None:
    """What the rest of the batch has to reckon with, behind this statement."""
    progress = extended.session.progress
    extended.awaits_copy = single.copy_from_stdin
    extended.touched.update(change.name for change in single.changes)
    session = extended.session
    if len(single.changes) or len(single.set_config) or single.kind in _RESETS:
        session.parses_apart = session.parses_apart or changes_parsing(single)
        session.recodes = session.recodes or changes_encoding(single, bound)
        for name in set_locally(single, bound):
            session.settings.note_local(name)
            session.replies.undoes_context = session.replies.undoes_context or extended.puts_context
    progress.after(single.kind)
    if single.command in _MAY_COMMIT and progress.status == codes.IDLE:
        # Until PostgreSQL 17 it may end its transaction inside. In a block it can not, and the context placed anew
        # would override what the client SET LOCAL there.
        progress.in_place = False
    if single.kind in _RESETS:
        _reset_all(extended)


def _reset_all(extended: ExtendedProtocol) -> None:
    """Behind the Execute that stands for RESET ALL: reset what the client changed, for the rest of the batch."""
    settings = extended.session.settings
    names = sorted(settings.names_in_transaction() | extended.touched)
    _run_all_unseen(extended, tuple(quoting.set_local(name, settings.default(name)) for name in names))


def _run_all_unseen(extended: ExtendedProtocol, texts: tuple[bytes, ...]) -> None:
    """Run statements of the proxy's own, whose answers nobody sees."""
    for text in texts:
        _run_unseen(extended, text)
        extended.send(frontend.execute(b""), EXECUTE | DROP)


def _run_unseen(extended: ExtendedProtocol, sql: bytes, portal: bytes = b"") -> None:
    """Parse and Bind a statement of the proxy's own."""
    server = extended.server()
    server.prepared.unnamed = None
    server.ledger.parses.append(ParseRecord(b"", None))
    extended.send(frontend.parse(b"", sql), PARSE | DROP)
    extended.send(frontend.bind(portal, b"", ()), BIND | DROP)


def _capture(extended: ExtendedProtocol, name: str, portal: bytes) -> None:
    """Ask for the value that was just SET: PostgreSQL does not report what the transaction takes back."""
    _run_unseen(extended, b"SHOW " + quoting.setting_name(name), portal)
    extended.send(frontend.execute(portal), EXECUTE | DROP | NOTED)
    extended.server().ledger.notes.append(Capture(name))
    if len(portal):
        extended.send(frontend.close(b"P", portal), CLOSE | DROP)
