"""The client's side of one SCRAM exchange: prove a password to PostgreSQL, and have PostgreSQL prove it back.

The one slow step, PBKDF2 (about 1 ms at 4096 iterations), is handed out as work that a caller may run elsewhere, and
its result can be kept in a `SaltedPasswords`: a pool logs in many times with one password and one salt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Final

from proxy.auth.scram.verifier import (
    KEY_BYTES,
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramKeys,
    fresh_nonce,
    is_nonce,
    salt_password,
    sign,
    xor,
)
from proxy.errors import ServerLoginFailed

MAX_ITERATIONS: Final = 1_000_000
"""The most PBKDF2 iterations a server may ask of us (about 0.3 s of CPU); PostgreSQL's default is 4096."""
MIN_SERVER_NONCE_CHARS: Final = 16
"""The least a server must add to our nonce; PostgreSQL adds 24 characters."""

_Key = tuple[bytes, bytes, int]


class SaltedPasswords:
    """Results of PBKDF2, the least recently used forgotten beyond `max_entries`.

    Kept by a keyed digest of the password, so that a rotated password never finds the old one's result. One event loop
    uses it.
    """

    __slots__ = ("_entries", "_max_entries", "_secret")

    def __init__(self, max_entries: int = 64) -> None:
        self._max_entries = max_entries
        self._secret = secrets.token_bytes(KEY_BYTES)
        self._entries: OrderedDict[_Key, bytes] = OrderedDict()

    def get(self, password: str, salt: bytes, iterations: int) -> bytes | None:
        """The SaltedPassword, if it was computed before."""
        key = self._key(password, salt, iterations)
        if (found := self._entries.get(key)) is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, password: str, salt: bytes, iterations: int, salted: bytes) -> None:
        """Keep a SaltedPassword."""
        self._entries[self._key(password, salt, iterations)] = salted
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"SaltedPasswords({len(self._entries)} entries)"

    def _key(self, password: str, salt: bytes, iterations: int) -> _Key:
        return sign(self._secret, password.encode("utf-8", "surrogateescape")), salt, iterations


class _State(Enum):
    START = auto()
    FIRST_SENT = auto()
    CHALLENGED = auto()
    FINAL_SENT = auto()
    VERIFIED = auto()


class ScramClient:
    """One exchange with one server: `first`, `final` (or `challenge` and `respond`), `verify`.

    `offered` are the mechanisms the server named; `channel_binding` is the `tls_server_end_point` of its certificate,
    None without TLS. `user` stays empty for PostgreSQL, which takes the name from the startup message. Every refusal is
    a `ServerLoginFailed`: the other side is a server that can not be trusted.
    """

    def __init__(
        self,
        password: str,
        channel_binding: bytes | None = None,
        nonce: str | None = None,
        *,
        offered: Sequence[str] = (SCRAM_SHA_256,),
        salted: SaltedPasswords | None = None,
        user: str = "",
    ) -> None:
        self._password = password
        self._salted = salted if salted is not None else SaltedPasswords(1)
        self._state = _State.START
        self.mechanism, self._gs2_header, self._bound = _choose(offered, channel_binding)
        self._nonce = nonce.encode() if nonce else fresh_nonce()
        self._first_bare = b"n=%b,r=%b" % (_saslname(user), self._nonce)
        self._server_first = b""
        self._salt = b""
        self._iterations = 0
        self._server_signature = b""

    def first(self) -> bytes:
        """The client-first-message."""
        assert self._state is _State.START
        self._state = _State.FIRST_SENT
        return self._gs2_header + self._first_bare

    def challenge(self, server_first: bytes) -> Callable[[], bytes] | None:
        """Read server-first-message.

        None: `respond()` can be called at once. Otherwise run the returned work (slow, touches nothing shared, any
        thread will do) and hand its result to `respond`.
        """
        assert self._state is _State.FIRST_SENT
        nonce, self._salt, self._iterations = _read_server_first(server_first, self._nonce)
        self._nonce, self._server_first = nonce, server_first
        self._state = _State.CHALLENGED
        if self._salted.get(self._password, self._salt, self._iterations) is not None:
            return None
        return partial(salt_password, self._password, self._salt, self._iterations)

    def respond(self, salted_password: bytes | None = None) -> bytes:
        """The client-final-message, given the result of the work that `challenge` returned, if it returned any."""
        assert self._state is _State.CHALLENGED
        if salted_password is None:
            salted_password = self._salted.get(self._password, self._salt, self._iterations)
        if salted_password is None:  # evicted in the meantime
            salted_password = salt_password(self._password, self._salt, self._iterations)
        self._salted.put(self._password, self._salt, self._iterations, salted_password)
        self._state = _State.FINAL_SENT
        return self._proven(ScramKeys.from_salted(salted_password))

    def final(self, server_first: bytes) -> bytes:
        """`challenge` and `respond` in one, PBKDF2 included."""
        work = self.challenge(server_first)
        return self.respond(work() if work else None)

    def verify(self, server_final: bytes) -> None:
        """Check that the server knows the password too."""
        assert self._state is _State.FINAL_SENT
        if server_final.startswith(b"e="):
            reason = server_final[2:102].decode("utf-8", "replace")
            raise ServerLoginFailed("server reports an error in the SCRAM exchange", reason=reason)
        signature = _decoded(_attributes(server_final).get(b"v", b""))
        if not hmac.compare_digest(signature, self._server_signature):
            raise ServerLoginFailed(
                "server does not know the password it asks for",
                hint="The host may not be the PostgreSQL server it claims to be.",
            )
        self._state = _State.VERIFIED

    def _proven(self, keys: ScramKeys) -> bytes:
        binding = base64.b64encode(self._gs2_header + self._bound)
        without_proof = b"c=%b,r=%b" % (binding, self._nonce)
        signed = b",".join((self._first_bare, self._server_first, without_proof))
        proof = xor(keys.client_key, sign(hashlib.sha256(keys.client_key).digest(), signed))
        self._server_signature = sign(keys.server_key, signed)
        return without_proof + b",p=" + base64.b64encode(proof)


def _saslname(user: str) -> bytes:
    return user.replace("=", "=3D").replace(",", "=2C").encode()


def _choose(offered: Sequence[str], channel_binding: bytes | None) -> tuple[str, bytes, bytes]:
    """Mechanism, gs2-header and the data to bind to.

    `y` tells the server that we could bind and saw no offer, so that it notices when the offer was taken out on the
    way.
    """
    if channel_binding is not None and SCRAM_SHA_256_PLUS in offered:
        return SCRAM_SHA_256_PLUS, b"p=tls-server-end-point,,", channel_binding
    if SCRAM_SHA_256 not in offered:
        raise ServerLoginFailed(
            "server offers no SASL mechanism that the proxy speaks",
            hint="Set password_encryption to scram-sha-256 on the server.",
            offered=", ".join(offered),
        )
    return SCRAM_SHA_256, b"n,," if channel_binding is None else b"y,,", b""


def _read_server_first(message: bytes, client_nonce: bytes) -> tuple[bytes, bytes, int]:
    """Combined nonce, salt and iterations; refuses what would make the exchange weak or us slow."""
    if message.startswith(b"m="):
        raise ServerLoginFailed("server requires a SCRAM extension that the proxy does not know")
    attributes = _attributes(message)
    nonce = attributes.get(b"r", b"")
    if not nonce.startswith(client_nonce) or not is_nonce(nonce):
        raise ServerLoginFailed("server sent an invalid SCRAM nonce")
    if len(nonce) - len(client_nonce) < MIN_SERVER_NONCE_CHARS:
        raise ServerLoginFailed("server sent a SCRAM nonce that is too short")
    salt = _decoded(attributes.get(b"s", b""))
    return nonce, salt, _iterations(attributes.get(b"i", b""))


def _iterations(text: bytes) -> int:
    # The length is looked at first: int() of a very long number is slow, and past 4300 digits an error of its own.
    if not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= MAX_ITERATIONS:
        raise ServerLoginFailed(f"server asks for an iteration count outside of 1 to {MAX_ITERATIONS}")
    return int(text)


def _attributes(message: bytes) -> dict[bytes, bytes]:
    """Attributes by name; a name that comes twice is refused."""
    pairs = [part.partition(b"=") for part in message.split(b",")]
    attributes = {name: value for name, _, value in pairs}
    if len(attributes) != len(pairs):
        raise ServerLoginFailed("server sent a malformed SCRAM message")
    return attributes


def _decoded(value: bytes) -> bytes:
    """Base64 that must not be empty."""
    try:
        decoded = base64.b64decode(value, validate=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise ServerLoginFailed("server sent a malformed SCRAM message")
    return decoded
