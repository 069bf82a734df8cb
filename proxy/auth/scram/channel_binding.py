"""The tls-server-end-point channel binding (RFC 5929, section 4): a hash of the server's certificate.

Which hash is decided by the certificate's own signature algorithm, so the outermost levels of its DER are read here;
nothing else of the certificate is looked at or believed.
"""

from __future__ import annotations

import hashlib
from typing import Final

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_CONTEXT_0: Final = 0xA0
_RSASSA_PSS: Final = "1.2.840.113549.1.1.10"

# RFC 5929: MD5 and SHA-1 are replaced by SHA-256.
_HASHES: Final = {
    "1.2.840.113549.1.1.4": "sha256",  # md5WithRSAEncryption
    "1.2.840.113549.1.1.5": "sha256",  # sha1WithRSAEncryption
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.10040.4.3": "sha256",  # dsa-with-sha1
    "2.16.840.1.101.3.4.3.1": "sha224",  # dsa-with-…
    "2.16.840.1.101.3.4.3.2": "sha256",
    "2.16.840.1.101.3.4.3.3": "sha384",
    "2.16.840.1.101.3.4.3.4": "sha512",
    "1.2.840.10045.4.1": "sha256",  # ecdsa-with-SHA1
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "1.3.14.3.2.26": "sha256",  # the bare hashes, as parameters of RSASSA-PSS: SHA-1 …
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


def tls_server_end_point(cert_der: bytes) -> bytes | None:
    """The channel binding of a certificate in DER.

    None when no hash is defined for its signature (Ed25519, as in PostgreSQL) or the DER makes no sense: then there is
    no channel binding, and SCRAM-SHA-256-PLUS is not to be offered or chosen.
    """
    try:
        name = _HASHES.get(_hash_oid(cert_der))
    except ValueError:
        return None
    return hashlib.new(name, cert_der).digest() if name else None


def _hash_oid(cert_der: bytes) -> str:
    """The OID that names the hash: the signature algorithm's, or for RSASSA-PSS the one among its parameters."""
    certificate, _ = _element(cert_der, _SEQUENCE)
    _, after_tbs = _element(certificate, _SEQUENCE)
    algorithm, _ = _element(after_tbs, _SEQUENCE)
    oid_body, parameters = _element(algorithm, _OBJECT_IDENTIFIER)
    oid = _dotted(oid_body)
    return _pss_hash_oid(parameters) if oid == _RSASSA_PSS else oid


def _pss_hash_oid(parameters: bytes) -> str:
    """RFC 4055, section 3.1: hashAlgorithm is the field [0], and SHA-1 when absent."""
    fields, _ = _element(parameters, _SEQUENCE)
    if not fields or fields[0] != _CONTEXT_0:
        return "1.3.14.3.2.26"
    explicit, _ = _element(fields, _CONTEXT_0)
    algorithm, _ = _element(explicit, _SEQUENCE)
    oid_body, _ = _element(algorithm, _OBJECT_IDENTIFIER)
    return _dotted(oid_body)


def _element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the DER element that `data` starts with, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("unexpected DER")
    size, start = data[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        raise ValueError("truncated DER")
    return data[start : start + size], data[start + size :]


def _dotted(oid: bytes) -> str:
    """An object identifier as text."""
    if not oid:
        raise ValueError("empty object identifier")
    arcs = [min(oid[0] // 40, 2), oid[0] - 40 * min(oid[0] // 40, 2)]
    value = 0
    for byte in oid[1:]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    return ".".join(map(str, arcs))
