"""What is wrong with a configuration, where, and how it is shown: `file:line:col: message`, the line, and a caret.

A line is shown with its secrets masked, because the output of a failed reload ends up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.errors import ConfigError

_MASK: Final = "***"
_WIDTH: Final = 120
_HINT: Final = "Correct the file; a running proxy keeps its old configuration."

# Used where the file can not be parsed: from what looks like a secret's value to the end of the line, and the lines
# below that are indented more, but for those that say where the secret is kept.
_SENSITIVE: Final = r"(?i)(\w*(?:pass|pwd|secret|scram|token|verifier|credential|api_?key|\bpw\b)\w*[\"']?\s*:\s*)"
_SECRET_TEXT: Final = re.compile(_SENSITIVE + r"(?![\s{]|$).*")
_SECRET_BELOW: Final = re.compile(_SENSITIVE + r"(?:[|>][-+0-9]*\s*)?$")
_SOURCE: Final = re.compile(r"\s*(?:env|file)\s*:")


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a file, lines and columns counted from 0; the end is not part of it."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class SourceText:
    """A file's name and lines, and where its secrets are (None: not known, since it could not be parsed)."""

    name: str
    lines: Sequence[str]
    secrets: Sequence[Span] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Without a line it is about the file, or about something outside of it."""

    message: str
    hint: str | None = None
    source: SourceText | None = None
    line: int | None = None
    column: int = 0

    def __str__(self) -> str:
        return "\n".join(self._text())

    def _text(self) -> Iterable[str]:
        if self.source is None or self.line is None:
            yield f"{self.source.name}: {self.message}" if self.source else self.message
        else:
            yield f"{self.source.name}:{self.line + 1}:{self.column + 1}: {self.message}"
            yield from _excerpt(self.source, self.line, self.column)
        if self.hint:
            yield f"    hint: {self.hint}"


class InvalidConfiguration(ConfigError):
    """A configuration with problems; the text lists them all."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_place))
        super().__init__("\n".join(map(str, self.problems)), hint=_HINT, problems=len(self.problems))


def _place(problem: Problem) -> tuple[str, int, int]:
    line = -1 if problem.line is None else problem.line
    return problem.source.name if problem.source else "", line, problem.column


def _excerpt(source: SourceText, line: int, column: int) -> Iterable[str]:
    if line >= len(source.lines):
        return
    text, column = masked(source, line, column)
    if len(text) > _WIDTH:
        start = max(0, min(column - _WIDTH // 2, len(text) - _WIDTH))
        text, column = f"{text[start : start + _WIDTH]}", column - start
    yield f"    {text}"
    # A tab in front of the caret stays a tab, so that both lines are indented alike.
    yield "    " + "".join("\t" if char == "\t" else " " for char in text[:column]) + "^"


def masked(source: SourceText, line: int, column: int) -> tuple[str, int]:
    """The line with its secrets replaced, and where `column` has moved."""
    text = source.lines[line]
    if source.secrets is None:
        safe = _SECRET_TEXT.sub(rf"\1{_MASK}", text)
        if _is_below_secret(source.lines, line) and not _SOURCE.match(text):
            safe = text[: _indentation(text)] + _MASK
        return safe, min(column, len(safe))
    # From the right, so that columns to the left stay good.
    for span in sorted(source.secrets, key=lambda span: (span.line, span.column), reverse=True):
        if not span.line <= line <= span.end_line:
            continue
        start = span.column if line == span.line else 0
        end = span.end_column if line == span.end_line else len(text)
        if end > start:
            text = text[:start] + _MASK + text[end:]
            column = column if column <= start else max(start, column - (end - start) + len(_MASK))
    return text, column


def _is_below_secret(lines: Sequence[str], line: int) -> bool:
    """Is the line, by its indentation, part of a value whose key reads like a secret's?"""
    indentation = _indentation(lines[line])
    for above in reversed(lines[:line]):
        if not above.strip() or _indentation(above) >= indentation:
            continue
        if _SECRET_BELOW.search(above):
            return True
        indentation = _indentation(above)
    return False


def _indentation(text: str) -> int:
    return len(text) - len(text.lstrip())
