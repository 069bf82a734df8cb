"""A statement while it is being made out."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.guard.model import SettingChange, StatementKind, Taint
from proxy.guard.tokens import Token


@dataclass(slots=True)
class Edit:
    """Bytes [start, end) of the text are `replacement` in the local form."""

    start: int
    end: int
    replacement: bytes


@dataclass(slots=True)
class Draft:
    """What the grammar of a statement says about it; the fields are those of `Statement`."""

    kind: int = StatementKind.ORDINARY
    command: str = ""
    name: str = ""
    changes: tuple[SettingChange, ...] = ()
    taint: int = Taint.NONE
    pin: str = ""
    edit: Edit | None = None
    copy_from_stdin: bool = False
    shared_name: str = ""
    frees: bool = False
    changes_schema: bool = False


def replace_token(token: Token, replacement: bytes) -> Edit:
    """An edit that puts `replacement` in a token's place."""
    return Edit(token.start, token.end, replacement)


def insert_behind(token: Token, addition: bytes) -> Edit:
    """An edit that puts `addition` behind a token."""
    return Edit(token.end, token.end, addition)
