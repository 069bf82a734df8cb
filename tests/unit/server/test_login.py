"""Gatehouse's login to PostgreSQL, message by message: every method, every refusal, and servers that cheat."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.md5 import md5_password
from proxy.auth.scram import SaltedPasswords, ScramServer, ScramVerifier
from proxy.errors import ServerLoginFailed, ServerUnreachable
from proxy.server.login import Compute, Failed, LoggedIn, Send, ServerLogin, ServerLoginEvent, Warn
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame, int32

VERIFIER = ScramVerifier.from_password("pencil", salt=b"0123456789abcdef")
BINDING = bytes(range(32))
SALTED = SaltedPasswords()
OK = backend.AUTHENTICATION_OK
READY = backend.READY[codes.IDLE]
WELCOME = (
    OK
    + backend.parameter_status(b"server_version", b"18.4")
    + backend.parameter_status(b"TimeZone", b"UTC")
    + backend.backend_key_data(-7, b"1234")
    + READY
)
LOGGED_IN = LoggedIn(-7, b"1234", {b"server_version": b"18.4", b"TimeZone": b"UTC"}, codes.IDLE)
CLEARTEXT = backend.authentication(codes.AUTH_CLEARTEXT)
MD5 = backend.authentication(codes.AUTH_MD5, b"abcd")
SASL = backend.authentication_sasl(["SCRAM-SHA-256"])


def login(
    password: str | None = "pencil",
    *,
    is_tls: bool = False,
    channel_binding: bytes | None = None,
    salted: SaltedPasswords | None = None,
) -> ServerLogin:
    return ServerLogin(
        user="gatehouse",
        database="saas",
        password=password,
        parameters={"app.tenant_id": "", "user": "ignored"},
        is_tls=is_tls,
        channel_binding=channel_binding,
        salted=salted,
        nonce="client-nonce",
    )


def failure(events: list[ServerLoginEvent]) -> Failed:
    assert isinstance(events[-1], Failed)
    return events[-1]


def error_response(sqlstate: str, message: str) -> bytes:
    return backend.error_from_fields({"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message})


def settled(machine: ServerLogin, events: list[ServerLoginEvent]) -> list[ServerLoginEvent]:
    """The same events with any Compute done and left out."""
    done: list[ServerLoginEvent] = []
    for event in events:
        done += settled(machine, machine.computed(event.work())) if isinstance(event, Compute) else [event]
    return done


def sent(events: list[ServerLoginEvent]) -> bytes:
    (event,) = events
    assert isinstance(event, Send)
    return event.data


# --- getting in


def test_the_startup_message_carries_the_baseline_and_our_own_user() -> None:
    expected = b"app.tenant_id\0\0user\0gatehouse\0database\0saas\0\0"
    assert login().start() == int32(8 + len(expected)) + int32(codes.PROTOCOL_3_0) + expected


def test_a_server_that_trusts_us_asks_for_nothing() -> None:
    assert login().receive(WELCOME) == [LOGGED_IN]
    assert login(None).receive(WELCOME) == [LOGGED_IN]


def test_a_server_without_a_cancel_key_is_taken() -> None:
    assert login().receive(OK + READY) == [LoggedIn(0, b"", {}, codes.IDLE)]


def test_what_came_behind_ready_for_query_is_handed_on() -> None:
    notice = backend.notice_response("01000", "hello")
    (event,) = login().receive(WELCOME + notice)
    assert isinstance(event, LoggedIn)
    assert event.leftover == notice


def test_a_cleartext_password_is_sent_over_tls() -> None:
    machine = login("päss", is_tls=True)
    assert sent(machine.receive(CLEARTEXT)) == b"p\0\0\0\x0ap\xc3\xa4ss\0"
    assert machine.receive(WELCOME) == [LOGGED_IN]


def test_a_cleartext_password_is_not_sent_without_tls() -> None:
    failed = failure(login().receive(CLEARTEXT))
    assert isinstance(failed.error, ServerLoginFailed)
    assert failed.error.hint is not None
    assert "TLS" in failed.error.hint


def test_md5_is_answered_and_warned_of() -> None:
    machine = login()
    warning, answer = machine.receive(MD5)
    assert isinstance(warning, Warn)
    assert "md5" in warning.text
    assert answer == Send(frontend.password(md5_password("gatehouse", "pencil", b"abcd")))
    assert machine.receive(WELCOME) == [LOGGED_IN]


def play_scram(machine: ServerLogin, *, plus: bool = False, password: str = "pencil") -> list[ServerLoginEvent]:
    """A whole SCRAM login with our own server side, whose agreement with others is tested elsewhere."""
    verifier = ScramVerifier.from_password(password, salt=VERIFIER.salt)
    server = ScramServer(verifier, channel_binding=BINDING if plus else None)
    initial = sent(machine.receive(backend.authentication_sasl(server.mechanisms)))
    mechanism, _, rest = initial[5:].partition(b"\0")
    server_first = server.first(mechanism.decode(), rest[4:])
    final = sent(settled(machine, machine.receive(backend.authentication(codes.AUTH_SASL_CONTINUE, server_first))))
    server_final = server.final(final[5:])
    return machine.receive(backend.authentication(codes.AUTH_SASL_FINAL, server_final) + WELCOME)


def test_scram_proves_the_password() -> None:
    assert play_scram(login()) == [LOGGED_IN]


def test_scram_binds_to_tls_where_both_can() -> None:
    machine = login(is_tls=True, channel_binding=BINDING)
    assert play_scram(machine, plus=True) == [LOGGED_IN]


def test_the_slow_step_is_handed_out_once_for_many_logins() -> None:
    salted = SaltedPasswords()
    server_first = b"r=client-nonce" + b"s" * 24 + b",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"
    challenge = backend.authentication(codes.AUTH_SASL_CONTINUE, server_first)
    first, second = login(salted=salted), login(salted=salted)
    first.receive(SASL)
    (compute,) = first.receive(challenge)
    assert isinstance(compute, Compute)
    assert first.receive(b"") == []
    answer = first.computed(compute.work())
    assert first.computed(compute.work()) == []
    second.receive(SASL)
    assert second.receive(challenge) == answer


def test_a_notice_is_passed_to_the_log() -> None:
    notice = backend.notice_response("01000", "your password expires soon")
    assert login().receive(notice + WELCOME) == [Warn("server says: your password expires soon"), LOGGED_IN]


def test_negotiation_of_the_protocol_takes_nothing_from_us() -> None:
    assert login().receive(backend.negotiate_protocol_version(codes.PROTOCOL_3_0, []) + WELCOME) == [LOGGED_IN]


# --- not getting in


@pytest.mark.parametrize("request_", [CLEARTEXT, MD5, SASL], ids=["cleartext", "md5", "scram"])
@pytest.mark.parametrize("password", [None, ""])
def test_without_a_password_a_server_that_asks_is_given_none(request_: bytes, password: str | None) -> None:
    error = failure(login(password, is_tls=True).receive(request_)).error
    assert error.message == "server asks for a password and none is configured"


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [
        ("57P03", ServerUnreachable),
        ("53300", ServerLoginFailed),
        ("28P01", ServerLoginFailed),
        ("3D000", ServerLoginFailed),
    ],
)
@pytest.mark.parametrize("before", [b"", OK, SASL], ids=["at once", "authenticated", "in SASL"])
def test_what_the_server_says_is_for_the_log_only(
    sqlstate: str, error: type[ServerLoginFailed | ServerUnreachable], before: bytes
) -> None:
    said = 'something about role "gatehouse" at 10.0.0.7'
    failed = failure(login().receive(before + error_response(sqlstate, said)))
    assert type(failed.error) is error
    assert failed.server_sqlstate == sqlstate
    assert failed.error.log_context == {"server_sqlstate": sqlstate, "server_message": said}
    assert b"gatehouse" not in backend.error_response(failed.error)


@pytest.mark.parametrize("subtype", [2, 7, 9, 99])
def test_other_methods_are_refused_with_a_hint(subtype: int) -> None:
    failed = failure(login().receive(backend.authentication(subtype)))
    assert failed.error.hint is not None
    assert "scram-sha-256" in failed.error.hint


def test_a_server_that_offers_no_mechanism_we_speak_is_refused() -> None:
    failed = failure(login().receive(backend.authentication_sasl(["OAUTHBEARER"])))
    assert "no SASL mechanism" in failed.error.message


def test_a_server_that_does_not_know_the_password_is_not_trusted() -> None:
    machine = login()
    machine.receive(SASL)
    server_first = b"r=client-nonce" + b"s" * 24 + b",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=1"
    settled(machine, machine.receive(backend.authentication(codes.AUTH_SASL_CONTINUE, server_first)))
    forged = backend.authentication(codes.AUTH_SASL_FINAL, b"v=" + b"A" * 43 + b"=")
    assert "does not know the password" in failure(machine.receive(forged + WELCOME)).error.message


def test_a_server_can_not_skip_its_proof() -> None:
    machine = login()
    machine.receive(SASL)
    assert isinstance(failure(machine.receive(WELCOME)).error, ServerLoginFailed)
    machine = login()
    machine.receive(SASL)
    server_first = b"r=client-nonce" + b"s" * 24 + b",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=1"
    settled(machine, machine.receive(backend.authentication(codes.AUTH_SASL_CONTINUE, server_first)))
    assert isinstance(failure(machine.receive(WELCOME)).error, ServerLoginFailed)


def test_a_server_can_not_ask_for_the_password_again_in_a_weaker_way() -> None:
    machine = login(is_tls=True)
    machine.receive(SASL)
    assert isinstance(failure(machine.receive(CLEARTEXT)).error, ServerLoginFailed)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"R\0\0\0\3",
        b"R\x7f\xff\xff\xff",
        frame(codes.AUTHENTICATION, b"\0"),
        frame(codes.AUTHENTICATION, int32(0) + b"x"),
        frame(codes.AUTHENTICATION, int32(5) + b"abc"),
        frame(codes.AUTHENTICATION, int32(10) + b"SCRAM-SHA-256"),
        frame(codes.ERROR_RESPONSE, b"Mno terminator"),
        frame(codes.ERROR_RESPONSE, b""),
        READY,
        backend.parameter_status(b"a", b"b"),
        OK + OK,
        OK + frame(codes.ROW_DESCRIPTION, b""),
        OK + frame(codes.PARAMETER_STATUS, b"no value\0"),
        OK + frame(codes.BACKEND_KEY_DATA, b"\0"),
        OK + frame(codes.READY_FOR_QUERY, b"T"),
        OK + frame(codes.READY_FOR_QUERY, b""),
        OK + backend.parameter_status(b"a", b"b" * 70_000),
        OK + backend.parameter_status(b"a", b"b" * 60_000) * 20,
    ],
)
def test_what_is_not_the_protocol_fails_the_login(data: bytes) -> None:
    failed = failure(login().receive(data))
    assert failed.error.message == "server does not follow the PostgreSQL protocol"
    assert failed.server_sqlstate is None


def test_a_server_that_closes_is_unreachable() -> None:
    assert isinstance(failure(login().eof()).error, ServerUnreachable)
    machine = login()
    machine.receive(WELCOME)
    assert machine.eof() == []
    assert machine.receive(b"late") == []


@given(st.lists(st.binary(), max_size=5), st.sampled_from([b"", OK, SASL, MD5]))
def test_garbage_never_raises(chunks: list[bytes], before: bytes) -> None:
    machine = login()
    machine.receive(before)
    for chunk in chunks:
        for event in machine.receive(chunk):
            assert isinstance(event, Failed | Warn | Send)


@given(st.sampled_from(b"REKSZNvX"), st.binary(max_size=100), st.sampled_from([b"", OK, SASL]))
def test_framed_garbage_never_raises(code: int, body: bytes, before: bytes) -> None:
    machine = login(is_tls=True)
    machine.receive(before)
    machine.receive(frame(code, body))


def _session() -> bytes:
    """Everything a server says in one SCRAM login."""
    machine, server = login(), ScramServer(VERIFIER, nonce="s" * 24)
    initial = sent(machine.receive(SASL))
    challenge = backend.authentication(
        codes.AUTH_SASL_CONTINUE, server.first("SCRAM-SHA-256", initial[5 + len("SCRAM-SHA-256") + 5 :])
    )
    final = sent(settled(machine, machine.receive(challenge)))
    proof = backend.authentication(codes.AUTH_SASL_FINAL, server.final(final[5:]))
    return SASL + challenge + backend.notice_response("01000", "hello") + proof + WELCOME


SESSION = _session()


def _replay(cuts: list[int]) -> list[ServerLoginEvent]:
    machine = login(salted=SALTED)
    edges = [0, *sorted(cuts), len(SESSION)]
    events: list[ServerLoginEvent] = []
    for start, end in pairwise(edges):
        events += settled(machine, machine.receive(SESSION[start:end]))
    return events


@given(st.lists(st.integers(0, len(SESSION)), max_size=20))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int]) -> None:
    assert _replay(cuts) == _replay([])


def test_bytes_may_come_one_by_one() -> None:
    events = _replay(list(range(len(SESSION))))
    assert events == _replay([])
    assert events[-1] == LOGGED_IN


def test_events_and_errors_do_not_show_secrets() -> None:
    machine = login()
    machine.receive(SASL)
    server_first = b"r=client-nonce" + b"s" * 24 + b",s=MDEyMzQ1Njc4OWFiY2RlZg==,i=1"
    (compute,) = machine.receive(backend.authentication(codes.AUTH_SASL_CONTINUE, server_first))
    shown = repr([compute, Send(b"pencil"), LOGGED_IN, machine])
    assert "pencil" not in shown
    assert "1234" not in shown
