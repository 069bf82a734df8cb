"""A PostgreSQL client that can log in and ask, and nothing that would take time: the proxies are measured, not this.

The salted password is computed once per salt, not per login, and the server's proof is not checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from proxy.auth.md5 import md5_password

READY: Final = ord("Z")
ERROR: Final = ord("E")
TERMINATE: Final = b"X\0\0\0\4"

_AUTHENTICATION: Final = ord("R")
_OK, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 5, 10, 11, 12


class Refused(Exception):
    """The other side said no, in its own words."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in."""

    user: str
    password: str = field(repr=False)
    database: str


def message(kind: bytes, body: bytes) -> bytes:
    """A message of the protocol."""
    return kind + struct.pack("!i", len(body) + 4) + body


def query(sql: str) -> bytes:
    """Query."""
    return message(b"Q", sql.encode() + b"\0")


def startup(login: Login) -> bytes:
    """StartupMessage, protocol 3.0."""
    pairs = ("user", login.user, "database", login.database)
    body = struct.pack("!i", 196608) + b"".join(text.encode() + b"\0" for text in pairs) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


class Conversation:
    """What the server says, message by message, and the login's answers to it."""

    def __init__(self, login: Login, nonce: str) -> None:
        self._login = login
        self._nonce = nonce
        self._data = b""
        self.is_in = False

    def receive(self, data: bytes) -> tuple[bytes, int]:
        """What to answer, and the type of the last message that was complete (0: none). Raises Refused."""
        data = self._data + data if self._data else data
        position, end, last, answer = 0, len(data), 0, b""
        while end - position >= 5:
            after = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
            if after > end:
                break
            last = data[position]
            if last == ERROR:
                raise Refused(_error_text(data[position + 5 : after]))
            if last == _AUTHENTICATION:
                answer += self._authenticate(data[position + 5 : after])
            position = after
        self._data = data[position:]
        self.is_in = self.is_in or last == READY
        return answer, last

    def _authenticate(self, body: bytes) -> bytes:
        kind = int.from_bytes(body[:4], "big")
        if kind == _SASL:
            first = f"n,,{self._first}".encode()
            return message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        if kind == _SASL_CONTINUE:
            return message(b"p", self._proof(body[4:].decode()))
        if kind in (_OK, _SASL_FINAL):
            return b""
        if kind == _MD5:
            return message(b"p", md5_password(self._login.user, self._login.password, body[4:]) + b"\0")
        raise Refused(f"asks for authentication {kind}, which this client does not know")

    @property
    def _first(self) -> str:
        return f"n=,r={self._nonce}"

    def _proof(self, challenge: str) -> bytes:
        """RFC 5802, section 3."""
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        client_key, stored_key = _keys(self._login.password, fields["s"], int(fields["i"]))
        without_proof = f"c=biws,r={fields['r']}"
        signature = hmac.digest(stored_key, f"{self._first},{challenge},{without_proof}".encode(), "sha256")
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


@cache
def _keys(password: str, salt: str, iterations: int) -> tuple[bytes, bytes]:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return client_key, hashlib.sha256(client_key).digest()


def _error_text(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return f"{fields.get(b'C', '')}: {fields.get(b'M', '')}"
