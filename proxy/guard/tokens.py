"""The first tokens of a statement, kept so that its grammar can be looked at."""

from __future__ import annotations

from typing import Final

from proxy.guard import lexer, literals
from proxy.guard.keywords import RESERVED

# No statement that the guard takes apart is longer; what comes behind is only scanned for calls.
MAX_TOKENS: Final = 2000

_NAMES: Final = (lexer.NAME, lexer.QUOTED_NAME, lexer.UNICODE_NAME)


class Token:
    """One token, as the lexer had it."""

    __slots__ = ("end", "escape", "kind", "start", "word")

    def __init__(self, source: lexer.Lexer) -> None:
        self.kind = source.kind
        self.start = source.start
        self.end = source.end
        self.word = source.word
        self.escape = source.escape


class Tokens:
    """Tokens by index; anything past the last one is of kind END and no word."""

    __slots__ = ("_tokens", "is_complete", "text")

    def __init__(self, text: bytes, tokens: list[Token], is_complete: bool) -> None:
        self.text = text
        self._tokens = tokens
        self.is_complete = is_complete

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, index: int) -> Token:
        return self._tokens[index]

    def kind(self, index: int) -> int:
        return self._tokens[index].kind if index < len(self._tokens) else lexer.END

    def word(self, index: int) -> bytes:
        """The key word at `index`, or b"" for anything that is not an unquoted name."""
        return self._tokens[index].word if self.kind(index) == lexer.NAME else b""

    def words(self, index: int, *expected: bytes) -> bool:
        """Whether these key words stand at `index`."""
        return all(self.word(index + offset) == word for offset, word in enumerate(expected))

    def ends_at(self, index: int) -> bool:
        """Whether the statement has no more tokens from `index` on."""
        return self.is_complete and index >= len(self._tokens)

    def is_operator(self, index: int, operator: bytes) -> bool:
        if self.kind(index) != lexer.OPERATOR:
            return False
        token = self._tokens[index]
        return self.text[token.start : token.end] == operator

    def is_name(self, index: int) -> bool:
        return self.kind(index) in _NAMES

    def raw_name(self, index: int) -> bytes:
        return self._tokens[index].word if self.is_name(index) else b""

    def name(self, index: int) -> str:
        """The name at `index`, quoted or not; '' for anything else."""
        return literals.text_of(self.raw_name(index))

    def is_plain_word(self, index: int) -> bool:
        """Whether a name, or a key word that may serve as one, stands at `index`."""
        return self.is_name(index) and self.word(index) not in RESERVED

    def string(self, index: int) -> str | None:
        """The value of the string at `index`; None for anything else."""
        if self.kind(index) != lexer.STRING:
            return None
        token = self._tokens[index]
        return literals.string_value(self.text, token.start, token.end, token.escape)

    def number(self, index: int) -> bytes:
        """The digits at `index`; b"" for anything else."""
        if self.kind(index) != lexer.NUMBER:
            return b""
        token = self._tokens[index]
        return self.text[token.start : token.end]

    def parameter(self, index: int) -> int:
        """The number of the parameter at `index`; 0 for anything else."""
        if self.kind(index) != lexer.PARAMETER:
            return 0
        token = self._tokens[index]
        # PostgreSQL refuses larger numbers.
        return int(self.text[token.start + 1 : token.end]) if token.end - token.start < 11 else 0
