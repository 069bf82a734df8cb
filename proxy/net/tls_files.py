"""Certificates, keys and authorities from files, for a TLS context.

OpenSSL says of most files that can not be used no more than `[SSL] PEM lib`, and asks for a passphrase on the terminal,
while everybody waits: here each refusal names its file and says what is wrong with it, and nobody is asked.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, NoReturn

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_ANOTHER_KEY: Final = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
"""What OpenSSL calls a key of another certificate; the second, one of another kind."""


class UnusableFile(OSError):
    """A file that can not be used for TLS; its text says which, and why."""


def load_certificate(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> bytes:
    """Show this certificate, and its chain, in handshakes; returns it in DER. Raises UnusableFile."""
    der = _first_certificate(cert_file)
    _content(key_file)

    def ask() -> NoReturn:
        raise UnusableFile(
            f"{key_file} is encrypted, and Gatehouse has no passphrase for it: store the key without one"
        )

    try:
        context.load_cert_chain(cert_file, key_file, ask)
    except ssl.SSLError as error:
        raise UnusableFile(_why(error, cert_file, key_file)) from None
    return der


def load_authorities(context: ssl.SSLContext, ca_file: Path) -> None:
    """Trust these authorities. Raises UnusableFile."""
    _content(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise UnusableFile(f"{ca_file} holds no certificate in PEM form") from None


def _first_certificate(file: Path) -> bytes:
    """The certificate itself, which comes before those of its chain."""
    _, _, rest = _content(file).partition(_BEGIN)
    body, end, _ = rest.partition(_END)
    try:
        der = ssl.PEM_cert_to_DER_cert((_BEGIN + body + end).decode("ascii"))
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
    except ValueError:  # ssl.SSLError is an OSError
        raise UnusableFile(f"{file} holds no certificate in PEM form") from None
    except ssl.SSLError:
        raise UnusableFile(f"{file} holds no certificate that can be read") from None
    return der


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UnusableFile(f"{file} can not be read: {error.strerror}") from None


def _why(error: ssl.SSLError, cert_file: Path, key_file: Path) -> str:
    if not error.reason:  # it could not be read, and the certificate could
        return f"{key_file} holds no private key in PEM form"
    if error.reason in _ANOTHER_KEY:
        return f"the key in {key_file} is not that of the certificate in {cert_file}"
    return f"{cert_file} and {key_file}: {error.reason.lower().replace('_', ' ')}"
