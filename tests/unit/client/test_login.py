"""A client's login, message by message: who gets in, what the others are told, and what hostile bytes do (nothing)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramClient

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier
from proxy.client.login import (
    Authenticated,
    Cancel,
    ClientLogin,
    Closed,
    LoginEvent,
    Rejected,
    Send,
    StartTls,
    TlsMode,
)
from proxy.errors import (
    AuthenticationFailed,
    InvalidStartupParameter,
    LoginRefused,
    ProtocolViolation,
    ProxyError,
    TenantUnknown,
)
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame, int32

VERIFIER = ScramVerifier.from_password("pencil", 5000, salt=b"0123456789abcdef")
BINDING = bytes(range(32))
NONCE = "server-nonce-of-24-chars"
GSSENC_REQUEST = int32(8) + int32(codes.GSSENC_REQUEST)
OFFER = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
OFFER_PLUS = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"


class Users:
    """Two logins with the password `pencil`: `app` for all tenants, `limited` for two of them."""

    usual_iterations = VERIFIER.iterations

    def find(self, user: str) -> UserRecord | None:
        tenants = {"app": None, "limited": frozenset({"acme", "globex"})}
        return UserRecord(Identity(user, tenants[user]), VERIFIER) if user in tenants else None


def login(tls_mode: TlsMode = "disable", *, is_unix: bool = False, nonce: str | None = NONCE) -> ClientLogin:
    return ClientLogin(
        directory=Users(),
        mock_secret=b"mock secret",
        tls_mode=tls_mode,
        is_unix=is_unix,
        tenant_settings=("app.tenant_id",),
        nonce=nonce,
    )


def startup(user: str = "app", *, protocol: int = codes.PROTOCOL_3_0, **parameters: str) -> bytes:
    return frontend.startup({"user": user, **parameters}, protocol)


class Client:
    """A client's side of SCRAM, by an independent implementation; `answers` what the login sends."""

    def __init__(self, password: str = "pencil", mechanisms: tuple[str, ...] = ("SCRAM-SHA-256",)) -> None:
        binding = ("tls-server-end-point", BINDING) if "SCRAM-SHA-256-PLUS" in mechanisms else None
        self.scram = ScramClient(list(mechanisms), "ignored", password, binding, "client-nonce")

    def initial(self) -> bytes:
        return frontend.sasl_initial_response(self.scram.mechanism_name, self.scram.get_client_first().encode())

    def final(self, events: list[LoginEvent]) -> bytes:
        self.scram.set_server_first(sasl_data(events))
        return frontend.sasl_response(self.scram.get_client_final().encode())


def sasl_data(events: list[LoginEvent]) -> str:
    """The SASL data in the one message these events send."""
    (event,) = events
    assert isinstance(event, Send)
    return event.data[9:].decode()


def run(machine: ClientLogin, first: bytes, client: Client) -> list[LoginEvent]:
    """The events of the last step of a whole login."""
    machine.receive(first)
    return machine.receive(client.final(machine.receive(client.initial())))


def rejection(events: list[LoginEvent]) -> ProxyError:
    assert isinstance(events[-1], Rejected)
    return events[-1].error


# --- getting in


def test_a_login_is_four_messages_and_leaves_authentication_ok_to_the_shell() -> None:
    machine, client = login(), Client()
    assert machine.receive(startup(tenant="acme", database="saas", application_name="psql")) == [Send(OFFER)]
    server_first = machine.receive(client.initial())
    challenge = b"r=client-nonceserver-nonce-of-24-chars,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=5000"
    assert server_first == [Send(frame(codes.AUTHENTICATION, b"\0\0\0\x0b" + challenge))]
    final, authenticated = machine.receive(client.final(server_first) + b"Q leftover")
    assert isinstance(final, Send)
    assert final.data.startswith(b"R\0\0\0\x36\0\0\0\x0cv=")
    client.scram.set_server_final(final.data[9:].decode())
    assert isinstance(authenticated, Authenticated)
    assert (authenticated.user, authenticated.tenant_id, authenticated.leftover) == ("app", "acme", b"Q leftover")
    assert authenticated.identity == Identity("app", None)
    assert authenticated.startup.database == "saas"
    assert authenticated.startup.settings == {"application_name": "psql"}
    assert machine.receive(b"anything") == []
    assert machine.eof() == []


def test_the_tenant_setting_is_the_contexts_and_no_longer_the_clients() -> None:
    event = run(login(), startup(options="-c app.tenant_id=acme -c work_mem=1MB"), Client())[-1]
    assert isinstance(event, Authenticated)
    assert (event.tenant_id, event.startup.settings) == ("acme", {"work_mem": "1MB"})


def test_the_user_name_may_carry_the_tenant() -> None:
    event = run(login(), startup("app.acme"), Client())[-1]
    assert isinstance(event, Authenticated)
    assert (event.user, event.startup.user, event.tenant_id) == ("app", "app.acme", "acme")


def test_a_client_may_choose_a_mechanism_first_and_speak_later() -> None:
    machine, client = login(), Client()
    machine.receive(startup(tenant="acme"))
    assert machine.receive(frame(codes.PASSWORD, b"SCRAM-SHA-256\0" + int32(-1))) == [Send(b"R\0\0\0\x08\0\0\0\x0b")]
    server_first = machine.receive(frontend.sasl_response(client.scram.get_client_first().encode()))
    assert isinstance(machine.receive(client.final(server_first))[-1], Authenticated)


def test_a_newer_protocol_is_negotiated_before_the_offer() -> None:
    expected = b"v\0\0\0\x0c\0\3\0\2\0\0\0\0" + OFFER
    assert login().receive(startup(protocol=0x0003_270F)) == [Send(expected)]


def test_protocol_3_2_needs_no_negotiation() -> None:
    assert login().receive(startup(protocol=codes.PROTOCOL_3_2)) == [Send(OFFER)]


def test_a_cancel_request_is_handed_on() -> None:
    assert login().receive(frontend.cancel_request(42, b"1234")) == [Cancel(42, b"1234")]
    assert login("require").receive(frontend.cancel_request(-1, b"k" * 32)) == [Cancel(-1, b"k" * 32)]


# --- not getting in


def test_a_wrong_password_and_an_unknown_user_can_not_be_told_apart() -> None:
    def play(user: str) -> tuple[bytes, bytes, bytes]:
        machine, client = login(nonce=NONCE), Client("wrong")
        (offer,) = machine.receive(startup(user, tenant="acme"))
        server_first = machine.receive(client.initial())
        (rejected,) = machine.receive(client.final(server_first))
        assert isinstance(offer, Send)
        assert isinstance(server_first[0], Send)
        assert isinstance(rejected, Rejected)
        salt = server_first[0].data.split(b",")[1]
        return offer.data, server_first[0].data.replace(salt, b"s=*"), backend.error_response(rejected.error)

    for known, unknown in [("app", "ape"), ("app.acme", "ape.acme")]:
        (offer, first, error), (mock_offer, mock_first, mock_error) = play(known), play(unknown)
        assert (mock_offer, mock_first) == (offer, first)
        assert mock_error == error.replace(known.encode(), unknown.encode())
        assert f'password authentication failed for user "{unknown}"'.encode() in mock_error


def test_names_share_a_salt_alike_whether_their_login_is_known_or_not() -> None:
    def salts(login_name: str) -> list[bytes]:
        found = []
        for suffix in ("", ".", "..", ".acme", ".globex", ".acme.", "..acme", ".a.b", ".a.c"):
            machine, client = login(nonce=NONCE), Client("wrong")
            machine.receive(startup(login_name + suffix))
            (challenge,) = machine.receive(client.initial())
            assert isinstance(challenge, Send)
            found.append(challenge.data.split(b",")[1])
        return found

    known, unknown = salts("app"), salts("ape")
    assert [known.index(salt) for salt in known] == [unknown.index(salt) for salt in unknown]


def test_a_name_that_is_too_long_for_a_login_is_not_repeated_at_length() -> None:
    machine, client = login(nonce=NONCE), Client("wrong")
    machine.receive(startup("x" * 9_000))
    (rejected,) = machine.receive(client.final(machine.receive(client.initial())))
    assert isinstance(rejected, Rejected)
    assert rejected.error.message == f'password authentication failed for user "{"x" * 127}..."'


def test_the_log_learns_why_and_the_client_does_not() -> None:
    for user, reason in [("app", "wrong password"), ("nobody", "no such user")]:
        error = rejection(run(login(), startup(user), Client("wrong")))
        assert isinstance(error, AuthenticationFailed)
        assert error.sqlstate == "28P01"
        assert error.log_context == {"reason": reason}
        assert reason.encode() not in backend.error_response(error)


def test_an_unknown_user_has_one_salt_whichever_tenant_it_names_as_a_known_one_has() -> None:
    def salt(user: str) -> str:
        machine = login()
        machine.receive(startup(user))
        return sasl_data(machine.receive(Client().initial())).split(",")[1]

    assert salt("app") == salt("app.acme") == salt("app.globex")
    assert salt("nobody") == salt("nobody.acme") == salt("nobody.globex")
    assert salt("nobody") != salt("somebody")


def test_a_password_is_asked_for_before_anything_is_said_about_tenants() -> None:
    assert login().receive(startup("limited", tenant="initech")) == [Send(OFFER)]
    refused = run(login(), startup("limited", tenant="initech"), Client("wrong"))
    assert isinstance(rejection(refused), AuthenticationFailed)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (startup("limited", tenant="initech"), LoginRefused),
        (startup("app.acme", tenant="globex"), LoginRefused),
        (startup("limited"), TenantUnknown),
    ],
)
def test_a_login_without_a_tenant_of_its_own_is_rejected(first: bytes, error: type[ProxyError]) -> None:
    assert isinstance(rejection(run(login(), first, Client())), error)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (frontend.startup({"database": "x"}), LoginRefused),
        (startup(options="-e"), InvalidStartupParameter),
        (startup(replication="true"), ProxyError),
        (startup(protocol=0x0002_0000), ProtocolViolation),
        (startup(protocol=0x0004_0000), ProtocolViolation),
    ],
)
def test_a_startup_that_makes_no_sense_is_rejected_at_once(first: bytes, error: type[ProxyError]) -> None:
    assert isinstance(rejection(login().receive(first)), error)


def test_a_client_that_leaves_is_no_error() -> None:
    assert login().eof() == [Closed()]
    machine = login()
    machine.receive(startup())
    assert machine.eof() == [Closed()]
    machine = login()
    machine.receive(startup())
    assert machine.receive(frontend.TERMINATE) == [Closed()]
    assert machine.receive(b"more") == []


# --- TLS


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_tls_is_started_and_binds_the_password(mode: TlsMode) -> None:
    machine = login(mode)
    assert machine.receive(frontend.SSL_REQUEST) == [StartTls()]
    machine.tls_started(BINDING)
    client = Client(mechanisms=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"))
    assert machine.receive(startup(tenant="acme")) == [Send(OFFER_PLUS)]
    assert isinstance(machine.receive(client.final(machine.receive(client.initial())))[-1], Authenticated)


def test_tls_without_a_channel_binding_offers_none() -> None:
    machine = login("prefer")
    machine.receive(frontend.SSL_REQUEST)
    machine.tls_started(None)
    assert machine.receive(startup()) == [Send(OFFER)]


@pytest.mark.parametrize(("mode", "is_unix"), [("disable", False), ("prefer", True), ("require", True)])
def test_without_tls_a_client_is_told_no_and_may_go_on(mode: TlsMode, is_unix: bool) -> None:
    machine = login(mode, is_unix=is_unix)
    assert machine.receive(GSSENC_REQUEST) == [Send(b"N")]
    assert machine.receive(frontend.SSL_REQUEST) == [Send(b"N")]
    assert machine.receive(startup()) == [Send(OFFER)]


def test_clear_text_is_refused_where_tls_is_required() -> None:
    error = rejection(login("require").receive(startup()))
    assert isinstance(error, LoginRefused)
    assert (error.sqlstate, error.severity) == ("28000", "FATAL")
    assert error.hint is not None
    assert "sslmode=require" in error.hint


@pytest.mark.parametrize("mode", ["disable", "prefer"])
@pytest.mark.parametrize("request_", [frontend.SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
def test_clear_text_behind_a_request_for_encryption_is_refused(mode: TlsMode, request_: bytes) -> None:
    events = login(mode).receive(request_ + startup())
    assert [type(event) for event in events] == [Rejected]
    assert "received unencrypted data after" in rejection(events).message


def test_clear_text_during_the_handshake_is_refused() -> None:
    machine = login("prefer")
    machine.receive(frontend.SSL_REQUEST)
    assert rejection(machine.receive(b"\0")).message == "received unencrypted data after SSL request"


@pytest.mark.parametrize("request_", [frontend.SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
def test_encryption_is_asked_for_once(request_: bytes) -> None:
    machine = login()
    machine.receive(request_)
    assert isinstance(rejection(machine.receive(request_)), ProtocolViolation)
    machine = login("prefer")
    machine.receive(frontend.SSL_REQUEST)
    machine.tls_started(None)
    assert isinstance(rejection(machine.receive(request_)), ProtocolViolation)


# --- bytes that are not the protocol


@pytest.mark.parametrize(
    "first",
    [
        int32(4),
        int32(7),
        int32(10_005),
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        int32(9) + int32(codes.SSL_REQUEST) + b"\0",
        int32(10) + int32(codes.CANCEL_REQUEST) + b"\0\0",
        int32(13) + int32(codes.PROTOCOL_3_0) + b"user\0",
        int32(17) + int32(codes.PROTOCOL_3_0) + b"user\0a\0\0x",
        int32(16) + int32(codes.PROTOCOL_3_0) + b"user\0\xff\0\0",
    ],
)
def test_a_malformed_first_message_is_rejected(first: bytes) -> None:
    error = rejection(login().receive(first))
    assert isinstance(error, ProtocolViolation)
    assert error.sqlstate == "08P01"


def test_another_protocol_is_rejected_as_not_supported() -> None:
    error = rejection(login().receive(int32(8) + int32(0)))
    assert isinstance(error, ProtocolViolation)
    assert error.sqlstate == "0A000"


def test_the_first_message_may_be_as_long_as_postgresql_allows() -> None:
    size = 10_000 - 4 - len(b"user\0app\0application_name\0\0\0")
    first = startup(application_name="x" * size)
    assert len(first) == 10_004
    assert login().receive(first) == [Send(OFFER)]


@pytest.mark.parametrize(
    "message",
    [
        frontend.query(b"select 1"),
        b"p\0\0\0\3",
        b"p\0\1\0\0",
        b"p\x7f\xff\xff\xff",
        frame(codes.PASSWORD, b""),
        frame(codes.PASSWORD, b"pencil\0"),
        frame(codes.PASSWORD, b"SCRAM-SHA-1\0\0\0\0\0"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256-PLUS\0\0\0\0\0"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256\0\0\0"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256\0" + int32(5) + b"n,,"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256\0" + int32(-2) + b"n,,"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256\0" + int32(3) + b"n,,n=,r=abc"),
        frame(codes.PASSWORD, b"SCRAM-SHA-256\0" + int32(0)),
    ],
)
def test_a_malformed_password_message_is_rejected(message: bytes) -> None:
    machine = login()
    machine.receive(startup())
    assert isinstance(rejection(machine.receive(message)), ProtocolViolation)
    assert machine.receive(message) == []


@given(st.lists(st.binary(), max_size=5), st.booleans(), st.booleans())
def test_garbage_never_raises(chunks: list[bytes], after_startup: bool, after_sasl: bool) -> None:
    machine = login()
    if after_startup:
        machine.receive(startup())
    if after_startup and after_sasl:
        machine.receive(Client().initial())
    for chunk in chunks:
        for event in machine.receive(chunk):
            assert isinstance(event, Rejected | Closed | Send | Cancel)
            assert not isinstance(event, Rejected) or isinstance(event.error, ProtocolViolation | LoginRefused)


@given(st.binary(max_size=200))
def test_a_framed_startup_of_garbage_never_raises(body: bytes) -> None:
    login().receive(int32(8 + len(body)) + int32(codes.PROTOCOL_3_0) + body)


def _session() -> list[bytes]:
    """Every message of one login, in order."""
    machine, client = login(), Client()
    messages = [startup(tenant="acme", application_name="psql")]
    machine.receive(messages[0])
    messages.append(client.initial())
    messages.append(client.final(machine.receive(messages[1])))
    return messages


SESSION = b"".join(_session())
EXPECTED = login().receive(SESSION)


def _chunks(cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cuts), len(SESSION)]
    return (SESSION[start:end] for start, end in pairwise(edges))


@given(st.lists(st.integers(0, len(SESSION)), max_size=20))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int]) -> None:
    machine = login()
    assert [event for chunk in _chunks(cuts) for event in machine.receive(chunk)] == EXPECTED


def test_bytes_may_come_one_by_one() -> None:
    machine = login()
    events = [event for byte in SESSION for event in machine.receive(bytes((byte,)))]
    assert events == EXPECTED
    assert isinstance(events[-1], Authenticated)


def test_events_do_not_show_secrets() -> None:
    shown = repr([Send(b"secret"), Cancel(1, b"secret"), *EXPECTED])
    assert "secret" not in shown
    assert "v=" not in shown


def test_a_goodbye_before_anything_else_gets_no_answer_as_from_postgresql() -> None:
    assert login().receive(frontend.TERMINATE) == [Closed()]
