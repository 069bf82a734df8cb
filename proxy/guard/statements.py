"""Split a client's text into its statements and say what each of them is.

The text is cut where PostgreSQL's grammar cuts it: at semicolons outside parentheses (CREATE RULE has some inside) and outside the
BEGIN ATOMIC … END body of a function. A text that has an error in its tokens is one ORDINARY statement that taints: PostgreSQL parses
a whole Query before it runs any of it, and refuses it all.
"""

from __future__ import annotations

from typing import Final

from proxy.guard import lexer
from proxy.guard.calls import CallScan
from proxy.guard.draft import Draft, Edit
from proxy.guard.grammar import classify, finish
from proxy.guard.model import SetConfigCall, SettingChange, Statement, StatementKind, Taint
from proxy.guard.set_config import pg_dump_call
from proxy.guard.tokens import MAX_TOKENS, Token, Tokens

__all__ = ["TOO_MANY_STATEMENTS", "SetConfigCall", "SettingChange", "Statement", "StatementKind", "Taint", "split"]

# The command of the last statement of a text that holds more statements than the guard will look at.
TOO_MANY_STATEMENTS: Final = "too many statements"

_MAX_STATEMENTS: Final = 20_000

# A query is long, and nothing in it but its first tokens decides what kind it is.
_QUERY_WORDS: Final = frozenset((b"select", b"insert", b"update", b"delete", b"with", b"values", b"merge"))
_MAX_QUERY_TOKENS: Final = 40


def split(text: bytes) -> tuple[Statement, ...]:
    """The statements of a text, in order; empty ones are not listed. Bytes from a NUL on are not part of it."""
    tokens = lexer.Lexer(text)
    statements: list[Statement] = []
    collector = _Collector(tokens.text)
    while (kind := tokens.advance()) != lexer.END:
        if kind == lexer.ERROR:
            if collector.has_tokens:
                statements.append(collector.statement())
            return (_broken(tokens.text, statements),)
        if kind == lexer.SEMICOLON and collector.can_end:
            if collector.has_tokens:
                statements.append(collector.statement())
                collector = _Collector(tokens.text)
                if len(statements) == _MAX_STATEMENTS:
                    statements.append(_rest(tokens))
                    return tuple(statements)
        else:
            collector.add(tokens)
    if collector.has_tokens:
        statements.append(collector.statement())
    return tuple(statements)


def _broken(text: bytes, parts: list[Statement]) -> Statement:
    """A text that PostgreSQL will refuse. What its parts would do to settings is kept for the rules, in case it does not."""
    return Statement(
        StatementKind.ORDINARY,
        parts[0].start if parts else 0,
        len(text),
        changes=tuple(change for part in parts for change in part.changes),
        taint=Taint.DISCARD,
        set_config=tuple(call for part in parts for call in part.set_config),
    )


def _rest(tokens: lexer.Lexer) -> Statement:
    return Statement(
        StatementKind.ORDINARY, tokens.end, len(tokens.text), taint=Taint.DISCARD, command=TOO_MANY_STATEMENTS
    )


class _Collector:
    """Gathers one statement's tokens: the first ones to classify it, and a scan of all of them."""

    __slots__ = ("_end", "_in_body", "_limit", "_scan", "_text", "_tokens", "_was_boundary")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._tokens: list[Token] = []
        self._scan = CallScan()
        self._limit = MAX_TOKENS
        self._end = 0
        # Within BEGIN ATOMIC … END, which can only end where a statement could begin.
        self._in_body = False
        self._was_boundary = False

    @property
    def has_tokens(self) -> bool:
        return self._scan.count > 0

    @property
    def can_end(self) -> bool:
        """Whether a semicolon ends the statement here."""
        return self._scan.depth <= 0 and not self._in_body

    def add(self, token: lexer.Lexer) -> None:
        if len(self._tokens) < self._limit:
            self._tokens.append(Token(token))
            if len(self._tokens) == 1 and token.kind == lexer.NAME and token.word in _QUERY_WORDS:
                self._limit = _MAX_QUERY_TOKENS
        if token.kind == lexer.NAME:
            self._follow_body(token.word)
        elif token.kind == lexer.SEMICOLON:
            self._was_boundary = self._scan.depth <= 0
        else:
            self._was_boundary = False
        self._scan.see(token)
        self._end = token.end

    def _follow_body(self, word: bytes) -> None:
        if self._in_body:
            if word == b"end" and self._was_boundary:
                self._in_body = False
            self._was_boundary = False
        elif word == b"atomic" and self._scan.depth <= 0 and self._scan.last_word == b"begin" and self._makes_routine():
            self._in_body = True
            self._was_boundary = True

    def _makes_routine(self) -> bool:
        tokens = Tokens(self._text, self._tokens, True)
        index = 3 if tokens.words(1, b"or", b"replace") else 1
        return tokens.word(0) == b"create" and tokens.word(index) in (b"function", b"procedure")

    def statement(self) -> Statement:
        """The statement that its tokens make."""
        self._scan.finish()
        tokens = Tokens(self._text, self._tokens, self._scan.count == len(self._tokens))
        draft = classify(tokens)
        finish(draft, self._scan, tokens)
        calls = tuple(self._scan.set_config)
        known = pg_dump_call(tokens) if len(calls) == 1 else None
        if known is not None:
            call, sent = known
            calls = (call,)
            draft = Draft(StatementKind.SET_CONFIG, "SELECT", edit=Edit(self._tokens[0].start, self._end, sent))
        return self._build(draft, calls)

    def _build(self, draft: Draft, calls: tuple[SetConfigCall, ...]) -> Statement:
        start = self._tokens[0].start
        local_form: bytes | None = None
        at = shift = 0
        edit = draft.edit
        if edit is not None:
            local_form = self._text[start : edit.start] + edit.replacement + self._text[edit.end : self._end]
            at = edit.start - start
            shift = len(edit.replacement) - (edit.end - edit.start)
        return Statement(
            draft.kind,
            start,
            self._end,
            changes=draft.changes,
            local_form=local_form,
            local_shift=shift,
            local_at=at,
            name=draft.name,
            taint=draft.taint,
            pin=draft.pin,
            set_config=calls,
            copy_from_stdin=draft.copy_from_stdin,
            command=draft.command,
            shared_name=draft.shared_name,
            reaches_sessions=self._scan.reaches_sessions,
            reads_sequence=self._scan.reads_sequence,
            frees=draft.frees,
            changes_schema=draft.changes_schema,
        )
