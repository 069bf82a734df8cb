"""The server's side of one SCRAM exchange: check that a client knows the password behind a verifier.

Follows PostgreSQL's auth-scram.c in what it accepts and in the words it refuses with. Nothing here depends on whether
the verifier is real or a mock, except that no proof fits a mock.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from proxy.auth.scram.verifier import (
    KEY_BYTES,
    SCRAM_SHA_256,
    SCRAM_SHA_256_PLUS,
    ScramVerifier,
    fresh_nonce,
    is_nonce,
    xor,
)
from proxy.errors import AuthenticationFailed, FeatureRefused, LoginRefused, ProtocolViolation

_BINDING_TYPE: Final = b"tls-server-end-point"


class _State:
    AWAITS_FIRST: Final = 0
    AWAITS_FINAL: Final = 1
    DONE: Final = 2


class ScramServer:
    """One exchange with one client; `first`, then `final`, each once.

    `channel_binding` is the `tls_server_end_point` of our own certificate when TLS is up, else None; `nonce` is our
    part of the nonce, for tests.
    """

    def __init__(
        self, verifier: ScramVerifier, *, channel_binding: bytes | None = None, nonce: str | None = None
    ) -> None:
        self._verifier = verifier
        self._channel_binding = channel_binding
        self._server_nonce = nonce.encode() if nonce else fresh_nonce()
        self._state: int = _State.AWAITS_FIRST
        self._gs2_header = b""
        self._nonce = b""
        self._auth_message = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What to offer, the preferred first: -PLUS only where there is something to bind to."""
        return (SCRAM_SHA_256,) if self._channel_binding is None else (SCRAM_SHA_256_PLUS, SCRAM_SHA_256)

    def first(self, mechanism: str, client_first: bytes) -> bytes:
        """Answer client-first-message with server-first-message.

        Raises `ProtocolViolation` for a malformed message, `LoginRefused` when the client believes that we offered no
        channel binding though we did: somebody took it out of our offer.
        """
        assert self._state == _State.AWAITS_FIRST
        if mechanism not in self.mechanisms:
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        parts = _split(client_first, 3)
        flag, authorization, bare = parts[0], parts[1], parts[2]
        self._check_binding_flag(flag, mechanism)
        if authorization:
            raise _unsupported("client uses authorization identity, but it is not supported")
        self._gs2_header = flag + b",,"
        self._nonce = _client_nonce(bare) + self._server_nonce
        salt = b2a_base64(self._verifier.salt, newline=False)
        server_first = b"r=%b,s=%b,i=%d" % (self._nonce, salt, self._verifier.iterations)
        self._auth_message = bare + b"," + server_first
        self._state = _State.AWAITS_FINAL
        return server_first

    def final(self, client_final: bytes) -> bytes:
        """Check the proof in client-final-message; the server-final-message proves to the client who we are.

        Raises `AuthenticationFailed` for a wrong proof, `LoginRefused` for a channel binding that is not ours,
        `ProtocolViolation` for a malformed message.
        """
        assert self._state == _State.AWAITS_FINAL
        self._state = _State.DONE
        without_proof, separator, proof = client_final.rpartition(b",p=")
        if not separator:
            raise _malformed("client-final-message has no proof")
        parts = _split(without_proof, 2, at_least=True)
        self._check_binding(_attribute(parts[0], b"c="))
        if not compare_digest(_attribute(parts[1], b"r="), self._nonce):
            raise ProtocolViolation("invalid SCRAM response", details="Nonce does not match.")
        auth_message = self._auth_message + b"," + without_proof
        stored_key, server_key = self._verifier.signing_keys
        client_key = xor(_decoded(proof), stored_key.sign(auth_message))
        if not compare_digest(sha256(client_key).digest(), self._verifier.stored_key):
            raise AuthenticationFailed("password authentication failed")
        return b"v=" + b2a_base64(server_key.sign(auth_message), newline=False)

    def _check_binding_flag(self, flag: bytes, mechanism: str) -> None:
        """RFC 5802, section 6: what the client says it knows must fit what it chose and what we offered."""
        if flag.startswith(b"p="):
            if mechanism != SCRAM_SHA_256_PLUS:
                raise _malformed("client chose no channel binding, but its message includes channel binding data")
            if flag != b"p=" + _BINDING_TYPE:
                raise ProtocolViolation("unsupported SCRAM channel-binding type")
        elif flag not in (b"n", b"y"):
            raise _malformed("unexpected channel-binding flag")
        elif mechanism == SCRAM_SHA_256_PLUS:
            raise _malformed("client chose channel binding, but its message includes no channel binding data")
        elif flag == b"y" and self._channel_binding is not None:
            raise LoginRefused(
                "SCRAM channel binding negotiation error",
                details="The client supports SCRAM channel binding but thinks the server does not. However, this server"
                " does support channel binding.",
                hint="Something between the client and the proxy removed the offer: check what terminates TLS.",
            )

    def _check_binding(self, encoded: bytes) -> None:
        is_bound = self._gs2_header.startswith(b"p")
        expected = self._gs2_header + (self._channel_binding or b"" if is_bound else b"")
        if compare_digest(encoded, b2a_base64(expected, newline=False)):
            return
        if is_bound:
            raise LoginRefused(
                "SCRAM channel binding check failed",
                hint="The client sees another TLS certificate than the proxy's: check what terminates TLS in between.",
            )
        raise ProtocolViolation("unexpected SCRAM channel-binding attribute in client-final-message")


def _client_nonce(bare: bytes) -> bytes:
    """The client's nonce in client-first-message-bare; the user name in it is ignored, as PostgreSQL does."""
    if bare.startswith(b"m="):
        raise _unsupported("client requires an unsupported SCRAM extension")
    parts = _split(bare, 2, at_least=True)
    _attribute(parts[0], b"n=")
    value = _attribute(parts[1], b"r=")
    if not is_nonce(value):
        raise ProtocolViolation("non-printable characters in SCRAM nonce")
    return value


def _split(message: bytes, count: int, *, at_least: bool = False) -> list[bytes]:
    """The comma-separated parts: `count` of them, the last with all that is left, or `at_least` so many."""
    parts = message.split(b",") if at_least else message.split(b",", count - 1)
    if len(parts) < count:
        raise _malformed("the message ends too early")
    return parts


def _attribute(part: bytes, prefix: bytes) -> bytes:
    """What follows the attribute's letter and "=" (`prefix`)."""
    if not part.startswith(prefix):
        raise _malformed(f'expected attribute "{prefix[:1].decode()}"')
    return part[2:]


def _decoded(proof: bytes) -> bytes:
    try:
        decoded = a2b_base64(proof, strict_mode=True)
    except ValueError:
        decoded = b""
    if len(decoded) != KEY_BYTES:
        raise _malformed("malformed proof in client-final-message")
    return decoded


def _unsupported(message: str) -> ProtocolViolation:
    return ProtocolViolation(message).with_sqlstate(FeatureRefused.sqlstate)


def _malformed(details: str) -> ProtocolViolation:
    return ProtocolViolation("malformed SCRAM message", details=f"{details[0].upper()}{details[1:]}.")
