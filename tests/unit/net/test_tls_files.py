"""What is said of certificates and keys that can not be used."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from proxy.net.tls_files import UnusableFile, load_authorities, load_certificate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and its key, another of each, the key with a passphrase, and a file of neither."""
    folder = tmp_path_factory.mktemp("tls")
    for name, kind in (("own", trustme.KeyType.ECDSA), ("other", trustme.KeyType.ECDSA), ("rsa", trustme.KeyType.RSA)):
        made = trustme.CA().issue_cert("localhost", key_type=kind)
        (folder / f"{name}.crt").write_bytes(made.cert_chain_pems[0].bytes())
        (folder / f"{name}.key").write_bytes(made.private_key_pem.bytes())
    key = serialization.load_pem_private_key((folder / "own.key").read_bytes(), None)
    (folder / "secret.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x"))
    )
    (folder / "none").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    (folder / "text").write_text("hello\n")
    return folder


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_the_certificate_itself_is_returned_not_one_of_its_chain(folder: Path, tmp_path: Path) -> None:
    own, other = (folder / "own.crt").read_text(), (folder / "other.crt").read_text()
    chain = tmp_path / "chain.crt"
    chain.write_text(f"née\n{own}{other}")
    assert load_certificate(context(), chain, folder / "own.key") == ssl.PEM_cert_to_DER_cert(own)


@pytest.mark.parametrize(
    ("certificate", "key", "text"),
    [
        ("gone", "own.key", "{gone} can not be read: No such file or directory"),
        ("own.crt", "gone", "{gone} can not be read: No such file or directory"),
        ("own.crt", ".", "{.} can not be read: Is a directory"),
        ("text", "own.key", "{text} holds no certificate in PEM form"),
        ("none", "own.key", "{none} holds no certificate that can be read"),
        ("own.crt", "text", "{text} holds no private key in PEM form"),
        ("own.crt", "other.key", "the key in {other.key} is not that of the certificate in {own.crt}"),
        ("own.crt", "rsa.key", "the key in {rsa.key} is not that of the certificate in {own.crt}"),
        ("own.crt", "secret.key", "{secret.key} is encrypted, and Gatehouse has no passphrase for it"),
    ],
)
def test_a_file_that_can_not_be_used_is_named(folder: Path, certificate: str, key: str, text: str) -> None:
    for name in (certificate, key):
        text = text.replace(f"{{{name}}}", str(folder / name))
    with pytest.raises(UnusableFile) as refused:
        load_certificate(context(), folder / certificate, folder / key)
    assert str(refused.value).startswith(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [("gone", "can not be read: No such file or directory"), ("own.key", "holds no certificate in PEM")],
)
def test_authorities_that_can_not_be_used_are_named(folder: Path, name: str, text: str) -> None:
    with pytest.raises(UnusableFile) as refused:
        load_authorities(context(), folder / name)
    assert str(refused.value).startswith(f"{folder / name} {text}")
