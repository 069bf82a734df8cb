"""The client's side of SCRAM: an independent server as the oracle, servers that cheat, and the cache."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramException, ScramMechanism

from proxy.auth.scram import SaltedPasswords, ScramClient, ScramServer, ScramVerifier
from proxy.auth.scram.client import MAX_ITERATIONS
from proxy.errors import ServerLoginFailed

BINDING = bytes(range(32))
SALT = b"0123456789abcdef"
CLIENT_NONCE = "client-nonce"
GOOD_NONCE = b"client-nonce" + b"s" * 24
SERVER_FIRST = b"r=" + GOOD_NONCE + b",s=" + base64.b64encode(SALT) + b",i=4096"


def exchange(client: ScramClient, password: str, *, plus: bool = False) -> None:
    """One whole exchange with a scramp server that knows `password`."""
    mechanism = ScramMechanism("SCRAM-SHA-256-PLUS" if plus else "SCRAM-SHA-256")
    info = mechanism.make_auth_info(password, salt=SALT)
    server = mechanism.make_server(lambda _user: info, ("tls-server-end-point", BINDING) if plus else None)
    server.set_client_first(client.first().decode())
    server.set_client_final(client.final(server.get_server_first().encode()).decode())
    client.verify(server.get_server_final().encode())


@pytest.mark.parametrize("password", ["pencil", "pässwörd", "\u2168"])
def test_the_password_is_proven(password: str) -> None:
    exchange(ScramClient(password, user="app"), password)


def test_the_proof_is_bound_to_tls_where_both_can() -> None:
    client = ScramClient("pencil", BINDING, offered=["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], user="app")
    assert client.mechanism == "SCRAM-SHA-256-PLUS"
    exchange(client, "pencil", plus=True)


def test_a_server_is_told_that_we_could_have_bound() -> None:
    assert ScramClient("pencil", BINDING, "abc").first() == b"y,,n=,r=abc"
    assert ScramClient("pencil", None, "abc", offered=["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]).first() == b"n,,n=,r=abc"


def test_the_user_name_is_left_to_the_startup_message_and_escaped_where_it_is_given() -> None:
    assert ScramClient("pencil", None, "abc").first() == b"n,,n=,r=abc"
    assert ScramClient("pencil", None, "abc", user="a,b=c").first() == b"n,,n=a=2Cb=3Dc,r=abc"


def test_our_two_sides_understand_each_other() -> None:
    server = ScramServer(ScramVerifier.from_password("pencil"), channel_binding=BINDING)
    client = ScramClient("pencil", BINDING, offered=server.mechanisms)
    client.verify(server.final(client.final(server.first(client.mechanism, client.first()))))


def test_a_wrong_password_does_not_pass() -> None:
    with pytest.raises(ScramException):
        exchange(ScramClient("pen", user="app"), "pencil")


@pytest.mark.parametrize("offered", [[], ["SCRAM-SHA-1"], ["SCRAM-SHA-256-PLUS"], ["OAUTHBEARER"]])
def test_a_server_without_a_mechanism_we_speak_is_refused(offered: list[str]) -> None:
    with pytest.raises(ServerLoginFailed, match="no SASL mechanism"):
        ScramClient("pencil", offered=offered)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="empty"),
        pytest.param(SERVER_FIRST.replace(b"client-nonce", b"another-nonce"), id="not our nonce"),
        pytest.param(SERVER_FIRST.replace(b"s" * 24, b""), id="nothing added to our nonce"),
        pytest.param(SERVER_FIRST.replace(b"s" * 24, b"s" * 15), id="too little added to our nonce"),
        pytest.param(SERVER_FIRST.replace(b"s" * 24, b"s" * 23 + b"\x7f"), id="not printable"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"0"), id="no iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"-1"), id="negative iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"%d" % (MAX_ITERATIONS + 1)), id="too many iterations"),
        pytest.param(SERVER_FIRST.replace(b"4096", b"9" * 5000), id="a huge number"),
        pytest.param(SERVER_FIRST.replace(b"4096", b""), id="iterations empty"),
        pytest.param(SERVER_FIRST[: SERVER_FIRST.index(b",s=")] + b",i=4096", id="no salt"),
        pytest.param(SERVER_FIRST.replace(b"s=MDEy", b"s=M-Ey"), id="salt is not base64"),
        pytest.param(b"m=must," + SERVER_FIRST, id="mandatory extension"),
        pytest.param(SERVER_FIRST + b",i=1", id="an attribute twice"),
    ],
)
def test_a_weak_or_malformed_challenge_is_refused(message: bytes) -> None:
    client = ScramClient("pencil", None, CLIENT_NONCE)
    client.first()
    with pytest.raises(ServerLoginFailed):
        client.challenge(message)


@pytest.mark.parametrize(
    "message", [b"", b"v=", b"v=AAAA", b"v=" + base64.b64encode(bytes(32)), b"e=invalid-proof", b"\xff"]
)
def test_a_server_that_does_not_prove_itself_is_refused(message: bytes) -> None:
    client = ScramClient("pencil", None, CLIENT_NONCE)
    client.first()
    client.final(SERVER_FIRST)
    with pytest.raises(ServerLoginFailed):
        client.verify(message)


@given(st.binary(), st.binary())
def test_garbage_is_refused_and_nothing_else(first: bytes, final: bytes) -> None:
    client = ScramClient("pencil", None, CLIENT_NONCE)
    client.first()
    with pytest.raises(ServerLoginFailed):
        client.challenge(first)
    client.final(SERVER_FIRST.replace(b"4096", b"1"))
    with pytest.raises(ServerLoginFailed):
        client.verify(final)


def test_a_password_is_stretched_once() -> None:
    salted = SaltedPasswords()
    exchange(ScramClient("pencil", salted=salted, user="app"), "pencil")
    second = ScramClient("pencil", None, CLIENT_NONCE, salted=salted)
    second.first()
    assert second.challenge(SERVER_FIRST) is None
    fresh = ScramClient("pencil", None, CLIENT_NONCE)
    fresh.first()
    work = fresh.challenge(SERVER_FIRST)
    assert work is not None
    assert second.respond() == fresh.respond(work())


@pytest.mark.parametrize(
    ("password", "salt", "iterations"), [("other", SALT, 1), ("pencil", b"another salt", 1), ("pencil", SALT, 2)]
)
def test_a_result_is_kept_for_its_own_password_salt_and_iterations_only(
    password: str, salt: bytes, iterations: int
) -> None:
    salted = SaltedPasswords()
    salted.put("pencil", SALT, 1, b"result")
    assert salted.get("pencil", SALT, 1) == b"result"
    assert salted.get(password, salt, iterations) is None


def test_the_cache_is_bounded_and_forgets_what_is_used_least() -> None:
    salted = SaltedPasswords(max_entries=2)
    salted.put("a", SALT, 1, b"a")
    salted.put("b", SALT, 1, b"b")
    salted.get("a", SALT, 1)
    salted.put("c", SALT, 1, b"c")
    assert [salted.get(password, SALT, 1) for password in "abc"] == [b"a", None, b"c"]
    assert len(salted) == 2


def test_an_evicted_result_is_computed_again() -> None:
    salted = SaltedPasswords(max_entries=1)
    salted.put("pencil", SALT, 4096, bytes(32))
    client = ScramClient("pencil", None, CLIENT_NONCE, salted=salted)
    client.first()
    assert client.challenge(SERVER_FIRST) is None
    salted.put("other", SALT, 1, b"x")
    assert client.respond().startswith(b"c=biws,r=" + GOOD_NONCE)


def test_the_cache_shows_no_secrets() -> None:
    salted = SaltedPasswords()
    salted.put("pencil", SALT, 1, b"result")
    assert repr(salted) == "SaltedPasswords(1 entries)"
