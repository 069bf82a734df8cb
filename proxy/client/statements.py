"""A client's prepared statements: what its names stand for, and what servers are given for a text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.client.objections import objection
from proxy.client.rewrite import Kind, substitute
from proxy.context import quoting
from proxy.errors import DuplicateStatement, InvalidStatement, LimitExceeded, ProxyError
from proxy.guard.rules import judge
from proxy.guard.verdicts import Verdict
from proxy.server.prepared import Prepared
from proxy.wire.buffer import Reader

if TYPE_CHECKING:
    from proxy.client.session import Session

Statement = Prepared[Verdict]

_MOMENT: Final = re.compile(rb"['$]\s*(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)
"""What may be a literal that stands for the moment at which it is parsed (manual, "Special Values" of dates)."""
_LARGE_BYTES = 32 * 1024
"""Statements up to this size are bounded well enough by how many a client may have."""


class ClientStatements:
    """`names`: the client's named statements; `unnamed`: its unnamed one. `likes`: what stands for a shared one where it may
    not be used, by its name on servers, with the plan key for which it does."""

    __slots__ = ("_order", "_session", "likes", "names", "unnamed")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._order = 0
        self.names: dict[bytes, Statement] = {}
        self.unnamed: Statement | None = None
        self.likes: dict[bytes, tuple[bytes, Statement]] | None = None

    def objection(self, name: bytes, statement: Statement) -> ProxyError | None:
        """Why the statement can not be given this name."""
        limit = self._session.limits.max_prepared_statements
        if name in self.names:
            return DuplicateStatement(f'prepared statement "{quoting.to_text(name)}" already exists')
        if len(self.names) >= limit:
            return LimitExceeded(
                f"a client may hold {limit} prepared statements at a time",
                hint="Close statements that are no longer used, or raise limits.max_prepared_statements_per_client.",
            )
        if statement.size_bytes > _LARGE_BYTES:
            return self._objection_to_size(statement)
        return None

    def _objection_to_size(self, statement: Statement) -> ProxyError | None:
        limit = self._session.limits.max_query_bytes
        held = sum(known.size_bytes for known in self.names.values())
        # A statement is held twice, as text and as it is sent, so the largest Parse there can be still fits.
        if held + statement.size_bytes <= 2 * limit + _LARGE_BYTES:
            return None
        return LimitExceeded(
            f"a client's prepared statements may take {2 * limit} bytes together",
            hint="Close statements that are no longer used, send data as parameters, or raise limits.max_query_size.",
        )

    def meet(self, body: bytes, text: bytes) -> Statement:
        """The statement of a Parse; `body` is its text, a NUL and the parameter types.

        Raises what the guard says of the text.
        """
        session = self._session
        statement = session.shared.catalog.find(session.context.plan_key, body)
        if statement is None or session.is_apart:
            statement = self._learn(body, text)
        verdict = statement.verdict
        if verdict.needs_rules or verdict.has_transaction_control:
            error = judge(verdict, session.policy) or objection(session, verdict, in_batch=session.extended.in_batch)
            if error is not None:
                raise error
        return statement

    def _learn(self, body: bytes, text: bytes) -> Statement:
        """A text that is new: judge it, and work out what servers are given for it."""
        session = self._session
        verdict = session.shared.verdicts.verdict(text)
        single = verdict.single
        sent = None if single is None else substitute(single, text, session.settings, self.includes)
        depends_on_client = single is not None and single.kind == Kind.DEALLOCATE
        catalog = session.shared.catalog
        if sent is not None and sent.texts != (text,):
            # What is sent depends on the client's own settings, so nobody else can share it.
            statement = catalog.private(sent.texts[-1] + body[len(text) :], verdict)
        elif depends_on_client or session.is_apart or _MOMENT.search(text):
            statement = catalog.private(body, verdict)
        else:
            statement = catalog.add(session.context.plan_key, body, body, verdict)
        statement.note = sent
        if not statement.text.isascii():
            statement.encoding = self._encoding()
        return statement

    def _encoding(self) -> bytes:
        """In what a text that comes now is written; no encoding at all if that is not certain."""
        session = self._session
        if session.extended.in_batch and session.recodes:
            return b"?"  # it may have been changed before, or taken back, in the same batch
        return session.shown.get(b"client_encoding", b"?")

    def find(self, name: bytes) -> Statement:
        """The statement of this name, b"" for the unnamed one. Raises InvalidStatement."""
        statement = self.names.get(name) if name else self.unnamed
        if statement is None:
            if not name:
                raise InvalidStatement("unnamed prepared statement does not exist")
            raise InvalidStatement(f'prepared statement "{quoting.to_text(name)}" does not exist')
        return statement

    def close(self, name: bytes) -> Statement | None:
        """Forget a statement; returns what it was."""
        if name:
            return self.names.pop(name, None)
        closed, self.unnamed = self.unnamed, None
        return closed

    def restore(self, name: bytes, statement: object) -> None:
        """A Close did not come to be."""
        assert isinstance(statement, Prepared)
        if name:
            self.names.setdefault(name, statement)
        else:
            self.unnamed = self.unnamed or statement

    def set_unnamed(self, statement: object | None) -> None:
        """The unnamed statement is this one again."""
        assert statement is None or isinstance(statement, Prepared)
        self.unnamed = statement

    def next_order(self) -> int:
        """A number for what may have to be undone, later ones first."""
        self._order += 1
        return self._order

    def includes(self, name: str) -> bool:
        """Whether SQL that names `name` ('' for all) means the client's own statements and nothing else."""
        if not name:
            return not self._session.keeps  # on a server that is kept there may be statements made by SQL PREPARE
        return quoting.to_bytes(name) in self.names

    def deallocate(self, name: str) -> None:
        """DEALLOCATE of one statement, or of all for ''."""
        if name:
            self.names.pop(quoting.to_bytes(name), None)
        else:
            self.names.clear()

    def forget_all(self) -> None:
        """DISCARD ALL: as DEALLOCATE ALL it leaves the unnamed one."""
        self.names.clear()

    def forget_refused(self) -> None:
        """The policy changed: forget what would be refused now."""
        policy = self._session.policy
        self.names = {name: known for name, known in self.names.items() if judge(known.verdict, policy) is None}
        if self.unnamed is not None and judge(self.unnamed.verdict, policy) is not None:
            self.unnamed = None


def bound_values(rest: bytes) -> tuple[str | None, ...]:
    """The parameters of a Bind, from behind its two names; text and its binary form are the same bytes."""
    reader = Reader(rest)
    reader.take(2 * reader.int16())
    values: list[str | None] = []
    for _ in range(reader.int16()):
        size = reader.int32()
        values.append(None if size < 0 else quoting.to_text(reader.take(size)))
    return tuple(values)


def bound_locally(rest: bytes, number: int) -> bytes:
    """The same bytes of a Bind with true for the parameter of this number, as text or as a boolean's binary form."""
    reader = Reader(rest)
    formats = reader.int16()
    at = 2 + 2 * formats + 2
    reader.take(2 * formats)
    if not 0 < number <= reader.int16():
        return rest  # PostgreSQL's to refuse
    for _ in range(number - 1):
        at += 4 + len(reader.take(max(reader.int32(), 0)))
    size = reader.int32()
    old = reader.take(max(size, 0))
    new = b"\1" if len(old) == 1 and old <= b"\1" else b"true"
    if size < 0 and formats > 0:
        new = b"\1" if rest[2 + 2 * (number - 1 if formats > 1 else 0) :][:2] == b"\0\1" else new
    return rest[:at] + len(new).to_bytes(4, "big") + new + rest[at + 4 + len(old) :]


def bound_value(bound: tuple[str | None, ...], number: int) -> str | None:
    """The value of a parameter by number, from 1; None for NULL and for what is not there."""
    return bound[number - 1] if 0 < number <= len(bound) else None
