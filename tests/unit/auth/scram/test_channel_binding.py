"""tls-server-end-point, against an independent implementation and certificates of every common kind."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA224, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.scram import tls_server_end_point

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def certificate(key: Key, algorithm: HashAlgorithm | None, rsa_padding: padding.PSS | None = None) -> bytes:
    """A self-signed certificate in DER."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db.example")])
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=1))
    return builder.sign(key, algorithm, rsa_padding=rsa_padding).public_bytes(Encoding.DER)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [RSA_KEY, EC_KEY], ids=["rsa", "ecdsa"])
@pytest.mark.parametrize("algorithm", [SHA224(), SHA256(), SHA384(), SHA512()], ids=lambda a: str(a.name))
def test_the_hash_is_the_signatures_own(key: Key, algorithm: HashAlgorithm) -> None:
    der = certificate(key, algorithm)
    assert tls_server_end_point(der) == hashlib.new(algorithm.name, der).digest()


def test_rsassa_pss_names_its_hash_among_the_parameters() -> None:
    der = certificate(RSA_KEY, SHA384(), padding.PSS(padding.MGF1(SHA384()), 48))
    assert tls_server_end_point(der) == hashlib.sha384(der).digest()


@pytest.mark.parametrize("last_byte", [4, 5], ids=["md5", "sha1"])
def test_weak_hashes_are_replaced_by_sha_256(last_byte: int) -> None:
    rsa_signature = bytes.fromhex("300d06092a864886f70d0101") + bytes((last_byte,)) + bytes.fromhex("0500")
    der = bytes.fromhex("3016") + bytes.fromhex("3000") + rsa_signature + bytes.fromhex("03030000ff")
    assert tls_server_end_point(der) == hashlib.sha256(der).digest()


def test_an_ed25519_certificate_has_no_channel_binding() -> None:
    assert tls_server_end_point(certificate(ed25519.Ed25519PrivateKey.generate(), None)) is None


@given(st.binary())
def test_what_is_no_certificate_has_no_channel_binding(garbage: bytes) -> None:
    assert tls_server_end_point(garbage) is None


@given(st.integers(0, 800), st.integers(1, 255))
def test_a_damaged_certificate_never_raises(position: int, flip: int) -> None:
    der = bytearray(GOOD)
    der[position % len(der)] ^= flip
    tls_server_end_point(bytes(der))
    tls_server_end_point(GOOD[: position % len(GOOD)])


GOOD = certificate(EC_KEY, SHA256())
