"""What a statement calls and touches, seen from its tokens one after the other.

Answers two questions of any statement, however long: what may be left in the session when it has run, and what it
does with set_config. It keeps a few words of the past, never the tokens, and rather suspects too much: whatever it does not
know for a harmless construct or function taints.
"""

from __future__ import annotations

from typing import Final

from proxy.guard import lexer
from proxy.guard.functions import (
    HARMLESS_FUNCTIONS,
    REACH_SESSIONS,
    SEQUENCE_READS,
    SESSION_LOCKS,
    SHOW_STATEMENTS,
    TRANSACTION_LOCKS,
    UNLOCKS,
    UNREMARKABLE_FUNCTIONS,
)
from proxy.guard.keywords import BEFORE_A_NAME, BEFORE_A_VALUE, CONSTRUCTS, NEVER_FUNCTIONS
from proxy.guard.model import SetConfigCall, Taint
from proxy.guard.set_config import UNSEEN, read_call
from proxy.guard.tokens import Token, Tokens

ADVISORY_LOCK: Final = "advisory lock"
NOTIFICATION: Final = "notification"

# A call of set_config with more tokens than this has arguments that can not be seen.
_MAX_ARGUMENT_TOKENS: Final = 40

# What a statement with more calls than this does to settings can not be seen.
_MAX_CALLS: Final = 1000

_VALUE_ENDS: Final = (
    lexer.NUMBER,
    lexer.STRING,
    lexer.BITS,
    lexer.PARAMETER,
    lexer.QUOTED_NAME,
    lexer.UNICODE_NAME,
)

_TEMP_WORDS: Final = (b"temp", b"temporary")


class CallScan:
    """Feed it every token of one statement with `see`, then call `finish`; what it found is in `taint`, `pin`, `set_config`."""

    __slots__ = (
        "_arguments",
        "_arguments_depth",
        "_before",
        "_before_kind",
        "_before_word",
        "_first_word",
        "_has_mention",
        "_into_target",
        "_kind",
        "_may_close_before_value",
        "_name",
        "_name_kind",
        "_schema",
        "_second_word",
        "count",
        "depth",
        "frees",
        "last_word",
        "makes_temporary",
        "pin",
        "reaches_sessions",
        "reads_sequence",
        "set_config",
        "shared_name",
        "taint",
    )

    def __init__(self) -> None:
        self.count = 0
        self.depth = 0
        self.taint = Taint.NONE
        self.pin = ""
        self.shared_name = ""
        self.reaches_sessions = False
        self.reads_sequence = False
        self.frees = False
        self.makes_temporary = False
        self.set_config: list[SetConfigCall] = []
        self._first_word = b""
        self._second_word = b""
        # The token before this one.
        self._kind = lexer.END
        self.last_word = b""
        # The dotted name that ended with the token before, and what stood in front of it.
        self._name = b""
        self._name_kind = lexer.END
        self._schema = b""
        self._before = b""
        self._before_kind = lexer.END
        self._before_word = b""
        # SELECT … INTO may name a new table: set just behind INTO.
        self._into_target = False
        # Behind DISTINCT ON (…) and OPERATOR(…) comes a value, where OVER and FILTER could be functions.
        self._may_close_before_value = False
        self._has_mention = False
        self._arguments: list[Token] | None = None
        self._arguments_depth = 0

    def see(self, token: lexer.Lexer) -> None:
        """Take in the current token of `token`."""
        kind = token.kind
        if self._arguments is not None:
            self._collect(token)
        if self._has_mention and kind != lexer.OPEN:
            self._suspect_mention()
        self._has_mention = False
        word = b""
        if kind == lexer.NAME or kind == lexer.QUOTED_NAME or kind == lexer.UNICODE_NAME:
            self._see_name(kind, token.word)
            word = token.word if kind == lexer.NAME else b""
        elif kind == lexer.OPEN:
            self.depth += 1
            if self._kind in (lexer.NAME, lexer.QUOTED_NAME, lexer.UNICODE_NAME):
                self._see_call()
        elif kind == lexer.CLOSE:
            self.depth -= 1
        elif kind == lexer.ROW:
            if self._kind == lexer.NAME and self._schema:  # a function somewhere.values(1)
                self._taint(Taint.RESET)
        elif kind == lexer.DOT:
            self._see_dot()
        elif kind == lexer.STRING and self._first_word == b"create":
            self._see_string(token)
        self._kind = kind
        self.last_word = word
        self.count += 1

    def finish(self) -> None:
        """The statement has no more tokens."""
        if self._has_mention:
            self._suspect_mention()
        if self._arguments is not None:
            self._record(UNSEEN)

    def _see_name(self, kind: int, word: bytes) -> None:
        if self.count == 0:
            self._first_word = word if kind == lexer.NAME else b""
        elif self.count == 1:
            self._second_word = word if kind == lexer.NAME else b""
        if self._kind == lexer.DOT and self._name:
            self._schema = self._name
        else:
            self._before_word = self._before
            self._before = self.last_word
            self._before_kind = self._kind
            self._schema = b""
        self._name = word
        self._name_kind = kind
        if kind == lexer.NAME:
            self._see_word(word)
        else:
            self._into_target = False
            if kind == lexer.UNICODE_NAME:
                self._taint(Taint.DISCARD)
        if word == b"set_config":
            self._has_mention = True
        elif word == b"pg_settings" and b"update" in (self._before, self._before_word):
            self._record(UNSEEN)
        elif word in REACH_SESSIONS:
            self.reaches_sessions = True
            if word in SHOW_STATEMENTS:
                self._taint(Taint.DISCARD)

    def _see_word(self, word: bytes) -> None:
        if word == b"distinct" or word == b"operator":
            self._may_close_before_value = True
        if word == b"into":
            self._into_target = self.last_word not in (b"insert", b"merge")
        elif self._into_target:
            if word in _TEMP_WORDS:
                self.makes_temporary = True
            self._into_target = word in (b"local", b"global")

    def _see_dot(self) -> None:
        """CREATE … pg_temp.name and SELECT … INTO pg_temp.name make temporary objects."""
        if self._name == b"pg_temp" or self._name.startswith(b"pg_temp_"):
            is_new = self._before == b"into" and self._before_word not in (b"insert", b"merge")
            self.makes_temporary = self.makes_temporary or is_new or self._first_word == b"create"

    def _see_string(self, token: lexer.Lexer) -> None:
        """CREATE AGGREGATE and CREATE OPERATOR take the name of a function as a string, too."""
        if token.end - token.start < 200:
            value = Tokens(token.text, [Token(token)], True).string(0)
            if value is None or value == "set_config":
                self._record(UNSEEN)

    def _see_call(self) -> None:
        """A name in front of a parenthesis: a function, unless the grammar or the catalog says that it is none or harmless."""
        name = self._name
        if name == b"set_config":
            self._begin_arguments()
            return
        if name in HARMLESS_FUNCTIONS and self._schema in (b"", b"pg_catalog"):
            if name not in UNREMARKABLE_FUNCTIONS:
                self._see_remarkable(name)
            return
        if name in SESSION_LOCKS:
            self.pin = self.shared_name = ADVISORY_LOCK
            self._taint(Taint.RESET)
        elif name in SEQUENCE_READS:
            self.reads_sequence = True
            self._taint(Taint.RESET)
        elif not self._is_construct():
            self._taint(Taint.RESET)

    def _see_remarkable(self, name: bytes) -> None:
        """Harmless to the session, but not to everyone."""
        if name in UNLOCKS:
            self.frees = True
        else:
            self.shared_name = ADVISORY_LOCK if name in TRANSACTION_LOCKS else NOTIFICATION

    def _is_construct(self) -> bool:
        """Whether the name in front of the parenthesis can not be a function where it stands."""
        if self._before in BEFORE_A_NAME or self._before_kind == lexer.CAST:
            return True
        if self._before == b"on" and self._first_word == b"create" and self._second_word in (b"index", b"unique"):
            return True
        if self._before == b"using" and self._first_word == b"create" and self._second_word in (b"index", b"unique"):
            return True
        if self._schema or self._name_kind != lexer.NAME:
            return False
        name = self._name
        if name in NEVER_FUNCTIONS or self.count == 1:
            return True
        expected = CONSTRUCTS.get(name)
        if expected is None:
            return False
        if self._before in expected and self._before:
            return True
        if b"" in expected:
            return self._follows_value()
        return b")" in expected and self._before_kind == lexer.CLOSE and not self._may_close_before_value

    def _follows_value(self) -> bool:
        """Whether a value, or the name of a table, ends in front of the name."""
        if self._before_kind == lexer.NAME:
            return self._before not in BEFORE_A_VALUE
        if self._before_kind == lexer.CLOSE:
            return not self._may_close_before_value
        return self._before_kind in _VALUE_ENDS

    def _begin_arguments(self) -> None:
        if self._arguments is not None:  # set_config among the arguments of set_config
            self._record(UNSEEN)
        self._arguments = []
        self._arguments_depth = self.depth

    def _collect(self, token: lexer.Lexer) -> None:
        assert self._arguments is not None
        self._arguments.append(Token(token))
        if token.kind == lexer.CLOSE and self.depth == self._arguments_depth:
            self._record(read_call(Tokens(token.text, self._arguments, True), 0))
            self._arguments = None
        elif len(self._arguments) > _MAX_ARGUMENT_TOKENS:
            self._record(UNSEEN)
            self._arguments = None

    def _suspect_mention(self) -> None:
        """set_config without a parenthesis: in CREATE AGGREGATE it will be called without one, elsewhere it is a column or alias."""
        if self._first_word == b"create":
            self._record(UNSEEN)

    def _record(self, call: SetConfigCall) -> None:
        if len(self.set_config) < _MAX_CALLS:
            self.set_config.append(call)
        else:
            self.set_config[-1] = UNSEEN
        if call.is_local is not True:
            self._taint(Taint.RESET)

    def _taint(self, taint: int) -> None:
        if taint > self.taint:
            self.taint = taint
