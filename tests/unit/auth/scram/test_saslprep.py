"""Passwords are prepared as PostgreSQL prepares them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.scram.saslprep import password_bytes


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        pytest.param("user", "user", id="RFC 4013: no transformation"),
        pytest.param("USER", "USER", id="RFC 4013: case preserved"),
        pytest.param("I\u00adX", "IX", id="RFC 4013: soft hyphen mapped to nothing"),
        pytest.param("\u00aa", "a", id="RFC 4013: NFKC"),
        pytest.param("\u2168", "IX", id="RFC 4013: Roman numeral"),
        pytest.param("a\u00a0b", "a b", id="non-ASCII space becomes a space"),
        pytest.param("\u0627\u0628", "\u0627\u0628", id="right to left"),
    ],
)
def test_a_password_is_normalised(password: str, prepared: str) -> None:
    assert password_bytes(password) == prepared.encode()


@pytest.mark.parametrize(
    "password",
    [
        pytest.param("\x07", id="ASCII control characters are not looked at"),
        pytest.param("\u00e4\x07", id="prohibited control character"),
        pytest.param("\u06271", id="bidi: does not end right to left"),
        pytest.param("\u0627a\u0628", id="bidi: left-to-right letter inside"),
        pytest.param("\u00ad", id="nothing left"),
        pytest.param("\u0221", id="unassigned in Unicode 3.2"),
    ],
)
def test_a_password_that_cannot_be_prepared_is_used_as_it_is(password: str) -> None:
    assert password_bytes(password) == password.encode()


def test_bytes_that_are_not_utf_8_survive() -> None:
    raw = b"caf\xe9"
    assert password_bytes(raw.decode("utf-8", "surrogateescape")) == raw


@given(st.text())
def test_any_text_can_be_a_password(password: str) -> None:
    password_bytes(password)
