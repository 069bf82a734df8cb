"""Keep secrets out of logs, whatever a caller hands over.

Two nets: fields whose name says that they hold a secret are masked whole, and strings are searched for the forms in
which secrets travel (DSNs, SCRAM verifiers, JSON web tokens). A last defence: callers must not log secrets at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

MASK: Final = "***"
_MAX_TEXT: Final = 20_000

_SECRET_PARTS: Final = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "verifier",
    "authorization",
    "credential",
)
_SECRET_WORDS: Final = frozenset({"key", "keys", "pwd", "jwt", "cookie"})
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")

# Strings may come from clients: every pattern is linear in the length of its text. Each comes with what a text must hold
# for it to match at all: most texts hold none of these, and to look for them takes a tenth of the time.
_SECRETS_IN_TEXT: Final = (
    ("://", re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]*:)[^\s/@]+@", re.IGNORECASE), rf"\1{MASK}@"),
    (
        "=",
        re.compile(r"\b(\w*(?:password|passwd|secret)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    ("'", re.compile(r"(\bpassword\s+)'(?:[^']|'')*'", re.IGNORECASE), rf"\1'{MASK}'"),
    ("SCRAM-SHA-256$", re.compile(r"SCRAM-SHA-256\$[^\s'\"]+"), f"SCRAM-SHA-256${MASK}"),
    ("md5", re.compile(r"\bmd5[0-9a-f]{32}\b"), f"md5{MASK}"),
    ("eyJ", re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
)
_NEEDED: Final = tuple(needed for needed, _, _ in _SECRETS_IN_TEXT)
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


@lru_cache(maxsize=1000)
def is_secret(name: str) -> bool:
    """Whether a field of this name is to be masked: `api_key`, `SCRAM-Verifier`, `dbPassword`, but not `keyboard`."""
    lowered = name.lower()
    if any(part in lowered for part in _SECRET_PARTS):
        return True
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(name))


def redact_text(text: str) -> str:
    """`text` with what looks like a secret in it masked, and no longer than 20,000 characters."""
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}… ({len(text)} characters)"
    for needed, pattern, replacement in _SECRETS_IN_TEXT:
        if needed in text:
            text = pattern.sub(replacement, text)
    return text


def redact(value: object) -> object:
    """`value` with secrets masked, at any depth; what is no string or container passes as it is."""
    match value:
        case str():
            return redact_text(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case Mapping():
            return redact_fields(value)
        case list() | tuple() | set() | frozenset():
            return [redact(item) for item in value]
        case BaseException():
            return redact_text(f"{type(value).__name__}: {value}")
        case _:
            return value


def redact_fields(fields: Mapping[str, object]) -> dict[str, object]:
    """A copy of `fields` with secrets masked."""
    if _are_harmless(fields):
        return dict(fields)
    return {
        name: MASK if value is not None and is_secret(str(name)) else redact(value) for name, value in fields.items()
    }


def _are_harmless(fields: Mapping[str, object]) -> bool:
    """Whether nothing in there can need a mask: all texts are searched as one, which most log lines pass."""
    texts = [value for value in fields.values() if type(value) is str]
    if len(texts) < len(fields) and not all(type(value) in _PLAIN for value in fields.values()):
        return False
    text = "\n".join(texts)
    if len(text) > _MAX_TEXT:
        return False
    for needed in _NEEDED:  # `any` would take longer to begin
        if needed in text:
            return False
    return not _have_secrets(tuple(fields))


@lru_cache(maxsize=1000)
def _have_secrets(names: tuple[object, ...]) -> bool:
    return any(map(is_secret, map(str, names)))
