"""PostgreSQL's md5 authentication, the default before version 14: weak, so whoever uses it warns of it."""

from __future__ import annotations

import hashlib


def md5_password(user: str, password: str, salt: bytes) -> bytes:
    """The answer to AuthenticationMD5Password: `md5` and md5(md5(password + user) + salt), in hex (manual, 54.2.1)."""
    inner = _md5_hex(password.encode("utf-8", "surrogateescape") + user.encode("utf-8", "surrogateescape"))
    return b"md5" + _md5_hex(inner + salt)


def _md5_hex(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
