"""The server's side of SCRAM: RFC 7677's example, an independent client as the oracle, and hostile clients."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient as OracleClient
from scramp import ScramException

from proxy.auth.scram import ScramServer, ScramVerifier, mock_verifier
from proxy.errors import AuthenticationFailed, LoginRefused, ProtocolViolation

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = ScramVerifier.from_password("pencil", salt=SALT)
BINDING = bytes(range(32))
NONCE = "server-nonce-of-24-chars"
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"]


def exchange(server: ScramServer, client: OracleClient) -> None:
    """One whole exchange, both sides checking each other."""
    mechanism = client.mechanism_name
    client.set_server_first(server.first(mechanism, client.get_client_first().encode()).decode())
    client.set_server_final(server.final(client.get_client_final().encode()).decode())


def test_the_example_of_rfc_7677() -> None:
    server = ScramServer(PENCIL, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert server.first("SCRAM-SHA-256", b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    answer = server.final(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert answer == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize("password", ["pencil", "pässwörd", "\u2168", "with space, and = comma"])
def test_a_client_that_knows_the_password_gets_in(password: str) -> None:
    verifier = ScramVerifier.from_password(password)
    exchange(ScramServer(verifier), OracleClient(["SCRAM-SHA-256"], "user", password))


def test_a_client_that_binds_to_the_tls_connection_gets_in() -> None:
    server = ScramServer(PENCIL, channel_binding=BINDING)
    assert server.mechanisms == ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")
    exchange(server, OracleClient(MECHANISMS, "user", "pencil", ("tls-server-end-point", BINDING)))


def test_a_client_without_channel_binding_gets_in_where_it_is_offered() -> None:
    exchange(ScramServer(PENCIL, channel_binding=BINDING), OracleClient(["SCRAM-SHA-256"], "user", "pencil"))


def test_a_client_that_could_bind_gets_in_where_it_is_not_offered() -> None:
    server = ScramServer(PENCIL)
    assert server.mechanisms == ("SCRAM-SHA-256",)
    exchange(server, OracleClient(["SCRAM-SHA-256"], "user", "pencil", ("tls-server-end-point", BINDING)))


def test_an_offer_that_was_taken_out_on_the_way_is_noticed() -> None:
    server = ScramServer(PENCIL, channel_binding=BINDING)
    with pytest.raises(LoginRefused, match="channel binding negotiation"):
        exchange(server, OracleClient(["SCRAM-SHA-256"], "user", "pencil", ("tls-server-end-point", BINDING)))


def test_a_client_that_sees_another_certificate_is_refused() -> None:
    server = ScramServer(PENCIL, channel_binding=BINDING)
    with pytest.raises(LoginRefused, match="channel binding check failed"):
        exchange(server, OracleClient(MECHANISMS, "user", "pencil", ("tls-server-end-point", b"x" * 32)))


@pytest.mark.parametrize("verifier", [PENCIL, mock_verifier("user", b"secret")], ids=["wrong", "unknown"])
def test_a_wrong_password_fails(verifier: ScramVerifier) -> None:
    with pytest.raises(AuthenticationFailed):
        exchange(ScramServer(verifier), OracleClient(["SCRAM-SHA-256"], "user", "pen"))


def test_a_client_notices_a_server_that_does_not_know_the_password() -> None:
    verifier = ScramVerifier(PENCIL.iterations, PENCIL.salt, PENCIL.stored_key, b"\0" * 32)
    with pytest.raises(ScramException):
        exchange(ScramServer(verifier), OracleClient(["SCRAM-SHA-256"], "user", "pencil"))


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        ("SCRAM-SHA-1", b"n,,n=,r=abc"),
        ("SCRAM-SHA-256", b""),
        ("SCRAM-SHA-256", b"n"),
        ("SCRAM-SHA-256", b"n,,"),
        ("SCRAM-SHA-256", b"n,,n="),
        ("SCRAM-SHA-256", b"n,,n=,r="),
        ("SCRAM-SHA-256", b"n,,r=abc,n="),
        ("SCRAM-SHA-256", b"n,,n=,r=a bc"),
        ("SCRAM-SHA-256", b"n,,n=,r=a\0bc"),
        ("SCRAM-SHA-256", b"n,a=other,n=,r=abc"),
        ("SCRAM-SHA-256", b"n,,m=must,n=,r=abc"),
        ("SCRAM-SHA-256", b"x,,n=,r=abc"),
        ("SCRAM-SHA-256", b"p=tls-server-end-point,,n=,r=abc"),
        ("SCRAM-SHA-256-PLUS", b"n,,n=,r=abc"),
        ("SCRAM-SHA-256-PLUS", b"y,,n=,r=abc"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique,,n=,r=abc"),
    ],
)
def test_a_malformed_first_message_is_a_protocol_violation(mechanism: str, message: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ScramServer(PENCIL, channel_binding=BINDING).first(mechanism, message)


@pytest.mark.parametrize("message", [b"n,a=other,n=,r=abc", b"n,,m=must,n=,r=abc"])
def test_what_scram_has_and_postgresql_has_not_is_not_supported(message: bytes) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        ScramServer(PENCIL).first("SCRAM-SHA-256", message)
    assert refused.value.sqlstate == "0A000"


PROOF = base64.b64encode(bytes(32))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws,r=abc" + NONCE.encode(),
        b"r=abc" + NONCE.encode() + b",c=biws,p=" + PROOF,
        b"c=biws,p=" + PROOF,
        b"c=biws,r=abc,p=" + PROOF,
        b"c=biws,r=abc" + NONCE.encode() + b"x,p=" + PROOF,
        b"c=eSws,r=abc" + NONCE.encode() + b",p=" + PROOF,
        b"c=biws,r=abc" + NONCE.encode() + b",p=AAAA",
        b"c=biws,r=abc" + NONCE.encode() + b",p=" + PROOF + b"\n",
        b"c=biws,r=abc" + NONCE.encode() + b",p=\xff",
    ],
)
def test_a_malformed_final_message_is_a_protocol_violation(message: bytes) -> None:
    server = ScramServer(PENCIL, nonce=NONCE)
    server.first("SCRAM-SHA-256", b"n,,n=,r=abc")
    with pytest.raises(ProtocolViolation):
        server.final(message)


@given(st.binary(), st.binary())
def test_garbage_is_refused_and_nothing_else(first: bytes, final: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        ScramServer(PENCIL).first("SCRAM-SHA-256", first)
    server = ScramServer(PENCIL)
    server.first("SCRAM-SHA-256", b"n,,n=,r=abc")
    with pytest.raises(ProtocolViolation):
        server.final(final)


def test_two_exchanges_have_different_nonces() -> None:
    messages = {ScramServer(PENCIL).first("SCRAM-SHA-256", b"n,,n=,r=abc") for _ in range(2)}
    assert len(messages) == 2
