"""What holds for both logins, and for the guard, whatever bytes come and however they are cut.

As in `cores`, each property takes a `random.Random` and raises when it does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import SaltedPasswords, ScramClient, ScramServer, ScramVerifier
from proxy.client.login import Authenticated, ClientLogin, LoginEvent, Rejected, Send, StartTls
from proxy.errors import ServerLoginFailed
from proxy.guard.statements import split
from proxy.guard.verdicts import examine
from proxy.server.login import MAX_LOGIN_BYTES, Compute, Failed, LoggedIn, ServerLogin, ServerLoginEvent
from proxy.server.login import Send as SendToServer
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame
from tests.fuzz import corpus
from tests.fuzz.mutations import chunks, spoil
from tests.support import messages as m

_PASSWORD: Final = "the right one"
_SALT: Final = b"0123456789abcdef"
_ITERATIONS: Final = 1
_VERIFIER: Final = ScramVerifier.from_password(_PASSWORD, _ITERATIONS, salt=_SALT)
_MECHANISM: Final = "SCRAM-SHA-256"


@dataclass(frozen=True, slots=True)
class _Directory:
    """Knows the user `app`."""

    @property
    def usual_iterations(self) -> int:
        return _ITERATIONS

    def find(self, user: str) -> UserRecord | None:
        return UserRecord(Identity("app", None), _VERIFIER) if user == "app" else None


# Clients.


def client_logins(rng: Random) -> None:
    """Nobody gets in without the password, whoever has it gets in however the network cuts, and nothing is raised."""
    knows_password = bool(rng.randrange(2))
    is_spoiled = bool(rng.randrange(5))
    login = ClientLogin(
        directory=_Directory(),
        mock_secret=b"mock",
        tls_mode="prefer" if rng.randrange(4) == 0 else "disable",
        tenant_settings=("app.tenant_id",),
        nonce="server-nonce-of-24-chars",
    )
    scram = ScramClient(_PASSWORD if knows_password else "a wrong one", nonce="client-nonce")
    first = corpus.FIRST_MESSAGES[rng.randrange(len(corpus.FIRST_MESSAGES) if is_spoiled else 2)]
    initial = frontend.sasl_initial_response(_MECHANISM, scram.first())
    events = _say(rng, login, [first], is_spoiled=is_spoiled)
    events += _say(rng, login, [initial], is_spoiled=is_spoiled)
    if challenge := _challenge(events):
        salted = SaltedPasswords()
        final = ScramClient(_PASSWORD if knows_password else "a wrong one", nonce="client-nonce", salted=salted)
        final.first()
        try:
            proof = final.final(challenge)
        except ServerLoginFailed:
            return  # somebody else's nonce
        events += _say(rng, login, [frontend.sasl_response(proof), m.query("SELECT 1")], is_spoiled=is_spoiled)
    admitted = [event for event in events if isinstance(event, Authenticated)]
    assert knows_password or not admitted
    assert is_spoiled or bool(admitted) == knows_password, events
    _assert_over_once(login, events)


def _say(rng: Random, login: ClientLogin, frames: list[bytes], *, is_spoiled: bool) -> list[LoginEvent]:
    if is_spoiled and rng.randrange(2):
        frames = spoil(rng, frames, (*corpus.FIRST_MESSAGES, *corpus.DONORS), corpus.FRONTEND_TYPES)
    events: list[LoginEvent] = []
    for chunk in chunks(rng, b"".join(frames)):
        new = login.receive(chunk)
        events += new
        if new and isinstance(new[-1], StartTls):
            login.tls_started(None)
    return events


def _challenge(events: list[LoginEvent]) -> bytes | None:
    """The server-first-message, if it came."""
    for event in events:
        if (
            isinstance(event, Send)
            and event.data[:1] == b"R"
            and event.data[5:9] == b"\0\0\0\x0b"
            and len(event.data) > 9
        ):
            return event.data[9:]
    return None


def _assert_over_once(login: ClientLogin, events: list[LoginEvent]) -> None:
    endings = [event for event in events if not isinstance(event, Send | StartTls)]
    assert len(endings) <= 1, endings
    for event in endings:
        assert event is events[-1]
        if isinstance(event, Rejected):
            assert len(backend.error_response(event.error)) < 20_000
        assert login.receive(b"more") == []


# Servers.


def server_logins(rng: Random) -> None:
    """Whatever a server says at login: it is let in, or the login fails, once; nothing is raised, and little is kept."""
    seed = rng.getrandbits(32)
    in_one_piece, _ = _log_in(Random(seed), None)
    cut, _ = _log_in(Random(seed), rng)
    assert [type(event) for event in cut] == [type(event) for event in in_one_piece]


def _log_in(rng: Random, order: Random | None) -> tuple[list[ServerLoginEvent], ServerLogin]:
    login = ServerLogin(
        user="gatehouse",
        database="saas",
        password=_PASSWORD if rng.randrange(8) else None,
        parameters={},
        is_tls=bool(rng.randrange(2)),
        nonce="client-nonce",
    )
    events: list[ServerLoginEvent] = []
    scram = ScramServer(_VERIFIER, nonce="server-nonce-of-24-chars")
    method = rng.randrange(6)
    opening = {
        0: backend.AUTHENTICATION_OK,
        1: backend.authentication(codes.AUTH_CLEARTEXT),
        2: backend.authentication(codes.AUTH_MD5, b"salt"),
    }.get(method, backend.authentication_sasl([_MECHANISM]))
    _hear(rng, order, login, [opening], events)
    if method > 2:
        for _ in range(2):
            answer = _sasl_answer(scram, events)
            _hear(rng, order, login, [answer] if answer else [], events)
    ends = [] if method == 0 else [backend.AUTHENTICATION_OK]
    ends += [m.status("server_version", "18"), backend.backend_key_data(7, b"key!"), m.ready("I")]
    _hear(rng, order, login, ends, events)
    endings = [event for event in events if isinstance(event, LoggedIn | Failed)]
    assert len(endings) <= 1, endings
    assert len(login._buffer) <= MAX_LOGIN_BYTES
    return events, login


def _hear(
    rng: Random, order: Random | None, login: ServerLogin, frames: list[bytes], events: list[ServerLoginEvent]
) -> None:
    if rng.randrange(3) == 0:
        frames = spoil(rng, frames, corpus.BACKEND_DONORS, corpus.BACKEND_TYPES)
    data = b"".join(frames)
    for chunk in [data] if order is None else chunks(order, data):
        new = login.receive(chunk)
        while new and isinstance(new[-1], Compute):
            events += new
            new = login.computed(bytes(32))  # its work takes as long as the server likes, up to a limit
        events += new


def _sasl_answer(scram: ScramServer, events: list[ServerLoginEvent]) -> bytes | None:
    """What a server that follows the protocol says to the last message of the login."""
    sent = [event.data for event in events if isinstance(event, SendToServer)]
    if not sent:
        return None
    body = sent[-1][5:]
    try:
        if body.startswith(_MECHANISM.encode()):
            answer = scram.first(_MECHANISM, body[len(_MECHANISM) + 5 :])
            return backend.authentication(codes.AUTH_SASL_CONTINUE, answer)
        return backend.authentication(codes.AUTH_SASL_FINAL, scram.final(body))
    except Exception:
        return None


# Texts.

_FRAGMENTS: Final = (
    *(
        b"'",
        b'"',
        b"$$",
        b"$a$",
        b"E'\\",
        b'U&"',
        b"--",
        b"/*",
        b"*/",
        b";",
        b"(",
        b")",
        b",",
        b".",
        b"::",
        b"=",
        b"\\",
        b"\0",
    ),
    *(
        b"\n",
        b" ",
        b"\x80",
        b"\xc3\xa9",
        b"\xff",
        b"1e",
        b"$1",
        b"SET",
        b"LOCAL",
        b"RESET",
        b"ALL",
        b"role",
        b"BEGIN",
        b"COMMIT",
    ),
    *(
        b"app.tenant_id",
        b"set_config",
        b"SELECT",
        b"WITH",
        b"AS",
        b"DO",
        b"CREATE",
        b"FUNCTION",
        b"COPY",
        b"FROM",
        b"STDIN",
    ),
    *(b"PREPARE", b"EXECUTE", b"DEALLOCATE", b"DISCARD", b"TO", b"DEFAULT", b"AND CHAIN", b"TIME ZONE", b"INTERVAL"),
)


def texts(rng: Random) -> None:
    """Any bytes as a statement: the guard has an opinion, and its statements lie one behind the other in the text."""
    parts = [_FRAGMENTS[rng.randrange(len(_FRAGMENTS))] for _ in range(rng.randrange(1, 25))]
    text = (b" " if rng.randrange(2) else b"").join(parts)
    if rng.randrange(3) == 0:
        text = b"".join(spoil(rng, [frame(0, text)], [text], b"Q"))[5:]
    at = 0
    examine(text)
    for statement in split(text):
        assert at <= statement.start <= statement.end <= len(text)
        at = statement.end
