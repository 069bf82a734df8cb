"""Stored verifiers: PostgreSQL's text form, and made-up ones for users who do not exist."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from proxy.auth.scram import ScramVerifier, mock_verifier
from proxy.auth.scram.verifier import SigningKey, is_nonce

TEXT = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_a_text_comes_back_as_it_was() -> None:
    assert ScramVerifier.parse(TEXT).text() == TEXT


def test_a_password_gives_the_keys_an_independent_implementation_computes() -> None:
    salt = b"0123456789abcdef"
    _, stored_key, server_key, iterations = ScramMechanism().make_auth_info("pencil", 4096, salt)
    assert ScramVerifier.from_password("pencil", salt=salt) == ScramVerifier(iterations, salt, stored_key, server_key)


def test_a_salt_is_fresh_each_time() -> None:
    assert ScramVerifier.from_password("x", 1).salt != ScramVerifier.from_password("x", 1).salt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "md5c90bcafc0a2b54511742383e34d5dc9d",
        TEXT.replace("4096", "0"),
        TEXT.replace("4096", "-1"),
        TEXT.replace("256", "1"),
        TEXT[:-4],
        TEXT + "x",
        TEXT.replace("W22Z", "W2-Z"),
        TEXT.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        TEXT.replace("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", "AAAA"),
    ],
)
def test_a_malformed_text_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="not a SCRAM-SHA-256 verifier") as caught:
        ScramVerifier.parse(text)
    assert not text or text not in str(caught.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a SCRAM"):
        ScramVerifier.parse(text)


def test_neither_repr_nor_str_shows_keys() -> None:
    verifier = ScramVerifier.parse(TEXT)
    assert repr(verifier) == str(verifier) == "ScramVerifier(iterations=4096)"


def test_an_unknown_user_keeps_its_made_up_verifier() -> None:
    assert mock_verifier("nobody", b"secret") == mock_verifier("nobody", b"secret")
    assert mock_verifier("nobody", b"secret").salt != mock_verifier("someone", b"secret").salt
    assert mock_verifier("nobody", b"secret").salt != mock_verifier("nobody", b"other").salt


def test_a_made_up_verifier_has_the_shape_of_a_real_one() -> None:
    real, mock = ScramVerifier.from_password("x"), mock_verifier("nobody", b"secret")
    assert (mock.iterations, len(mock.salt)) == (real.iterations, len(real.salt))
    assert ScramVerifier.parse(mock.text()) == mock


@given(st.binary(max_size=200), st.lists(st.binary(max_size=200), min_size=1))
def test_a_signing_key_signs_each_message_as_hmac_does(key: bytes, messages: list[bytes]) -> None:
    signing = SigningKey(key)
    assert [signing.sign(message) for message in messages] == [hmac.digest(key, m, "sha256") for m in messages]


@pytest.mark.parametrize("around", [b"", b"abc"])
def test_a_nonce_is_printable_ascii_without_space_and_comma(around: bytes) -> None:
    allowed = {byte for byte in range(256) if is_nonce(around + bytes((byte,)) + around)}
    assert allowed == set(range(0x21, 0x7F)) - {0x2C}
    assert not is_nonce(b"")
