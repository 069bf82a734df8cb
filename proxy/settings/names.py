"""Which names are good: tenants, identifiers, settings, environment variables.

These names end up in SQL, in log lines and in metric labels, so the rules are narrower than PostgreSQL's: ASCII only,
nothing that needs escaping. A check returns the name, so that it can stand in an expression, and raises Invalid.
"""

from __future__ import annotations

import re
from typing import Final


class Invalid(ValueError):
    """A value that can not be used: `args[0]` says why in PostgreSQL's style, `hint` what to do instead."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


# PostgreSQL cuts names at 63 bytes, and two tenants whose names differ after that would be one.
_TENANT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
# No `$` in front: the schema "$user" in a search_path stands for another schema.
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_$-]{0,62}")
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_SETTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(?:\.[A-Za-z_][A-Za-z0-9_$]{0,62})?")
_ENVIRONMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT: Final = re.compile(r"[ -~]*")

# Names SET ROLE or a search_path understand as something else than the object of that name.
_NOT_ROLES: Final = frozenset({"none", "public", "default", "current_user", "current_role", "session_user"})

CONTEXT_SETTINGS: Final = frozenset({"role", "session_authorization", "search_path"})
READING_SETTINGS: Final = frozenset({"standard_conforming_strings", "client_encoding"})
"""What decides where a string ends: the guard must read a text as PostgreSQL does."""


def validate_tenant_id(text: str) -> str:
    """A tenant's id: 1 to 63 ASCII letters, digits, `_` and `-`, the first a letter or digit."""
    if _TENANT_ID.fullmatch(text) is None:
        raise Invalid(
            f"{_quoted(text)} is not a valid tenant id",
            "Use 1 to 63 letters, digits, _ and -, and begin with a letter or digit.",
        )
    return text


def validate_identifier(text: str) -> str:
    """The name of a schema, role or database: 1 to 63 ASCII letters, digits, `_`, `$` and `-`, not `$` first."""
    if _IDENTIFIER.fullmatch(text) is None:
        raise Invalid(
            f"{_quoted(text)} is not a usable name for a schema, role or database",
            "Use 1 to 63 letters, digits, _, $ and -, and do not begin with $ or -.",
        )
    return text


def validate_role(text: str) -> str:
    """An identifier that SET ROLE reads as a role of that name."""
    if text.lower() in _NOT_ROLES or text.lower().startswith("pg_"):
        raise Invalid(f"{_quoted(text)} can not be the role of a tenant", "PostgreSQL reserves this name.")
    return validate_identifier(text)


def validate_label(text: str) -> str:
    """The name of a cluster, tier or user: as an identifier, with `.` and without `$`."""
    if _LABEL.fullmatch(text) is None:
        raise Invalid(
            f"{_quoted(text)} is not a usable name",
            "Use 1 to 63 letters, digits, _, . and -, and begin with a letter, digit or _.",
        )
    return text


def validate_login(text: str) -> str:
    """The name of a login role on a server: 1 to 63 bytes of anything but control characters."""
    if not 1 <= len(text.encode()) <= 63 or not text.isprintable():
        raise Invalid(f"{_quoted(text)} is not a usable role name", "PostgreSQL allows 1 to 63 bytes.")
    return text


def validate_setting_name(text: str) -> str:
    """The name of any setting, in lower case (PostgreSQL ignores case here)."""
    if _SETTING.fullmatch(text) is None:
        raise Invalid(f"{_quoted(text)} is not the name of a setting", "Write it as in SHOW, for example work_mem.")
    return text.lower()


def validate_custom_setting(text: str) -> str:
    """The name of a custom setting, `prefix.name`, in lower case (PostgreSQL ignores case here)."""
    if "." not in text or _SETTING.fullmatch(text) is None:
        raise Invalid(
            f"{_quoted(text)} is not the name of a custom setting",
            "Write two parts of letters, digits and _ with a dot between them, for example app.tenant_id.",
        )
    if text.lower() == "gatehouse.token":
        raise Invalid("gatehouse.token is Gatehouse's own setting", "Choose another name, for example app.tenant_id.")
    return text.lower()


def validate_setting_value(text: str) -> str:
    """The value of a setting: printable ASCII, so that it is the same bytes in every client encoding."""
    if _TEXT.fullmatch(text) is None:
        raise Invalid(f"the value {_quoted(text)} has characters other than printable ASCII")
    return text


def validate_path(text: str) -> str:
    """A path: anything but a zero byte, which no system call takes."""
    if "\0" in text:
        raise Invalid(f"{_quoted(text)} is not a path: it holds a zero byte")
    return text


def is_environment_name(text: str) -> bool:
    """Could this be the name of an environment variable?"""
    return _ENVIRONMENT.fullmatch(text) is not None


def _quoted(text: str) -> str:
    shown = ascii(text[:64])[1:-1]
    return f'"{shown}…"' if len(text) > 64 else f'"{shown}"'
