"""Gatehouse's own way into PostgreSQL: from StartupMessage to the first ReadyForQuery.

Pure: bytes in, events out. The shell connects, does TLS, keeps the deadline, and runs the one slow step (PBKDF2) off
the loop. A server is not trusted before it has proven, by SCRAM, that it knows the password; whatever it says goes to
the log, and clients are told no more than that the login failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from proxy.auth.md5 import md5_password
from proxy.auth.scram import SaltedPasswords, ScramClient
from proxy.errors import ProtocolViolation, ProxyError, ServerLoginFailed, ServerUnreachable
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import Reader

MAX_MESSAGE_BYTES: Final = 65_536
MAX_LOGIN_BYTES: Final = 1_048_576
"""The most a server may send before ReadyForQuery; PostgreSQL sends about 500 bytes."""

ServerError = ServerLoginFailed | ServerUnreachable

_CANNOT_CONNECT_NOW: Final = "57P03"
_TOO_MANY_CONNECTIONS: Final = "53300"


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes to the server."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Compute:
    """Run `work` in a thread (about 1 ms) and give its result to `ServerLogin.computed`."""

    work: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Warn:
    """Something an operator should know; login goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Ready: pid and key cancel its queries (0 and empty: it gave none); `leftover` came behind ReadyForQuery."""

    pid: int
    key: bytes = field(repr=False)
    parameters: dict[bytes, bytes]
    status: int
    leftover: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """Close. `server_sqlstate` is PostgreSQL's own (57P03 is starting up, 53300 is full), None if it gave none."""

    error: ServerError
    server_sqlstate: str | None = None


ServerLoginEvent = Send | Compute | Warn | LoggedIn | Failed


class _State(Enum):
    AUTHENTICATION = auto()
    PASSWORD_SENT = auto()
    SASL_FIRST_SENT = auto()
    COMPUTING = auto()
    SASL_FINAL_SENT = auto()
    SASL_VERIFIED = auto()
    STARTING = auto()  # authenticated; parameters and key come, then ReadyForQuery
    DONE = auto()


class ServerLogin:
    """The login of one server connection, by protocol 3.0; of no use after LoggedIn or Failed.

    `parameters` are the baseline startup parameters; `channel_binding` is the `tls_server_end_point` of the server's
    certificate; `salted` is shared by the logins of a process.
    """

    def __init__(
        self,
        *,
        user: str,
        database: str,
        password: str | None,
        parameters: Mapping[str, str],
        is_tls: bool,
        channel_binding: bytes | None = None,
        salted: SaltedPasswords | None = None,
        nonce: str | None = None,
    ) -> None:
        self._user = user
        self._database = database
        self._password = password
        self._startup_parameters = parameters
        self._is_tls = is_tls
        self._channel_binding = channel_binding
        self._salted = salted
        self._nonce = nonce
        self._state = _State.AUTHENTICATION
        self._buffer = bytearray()
        self._received_bytes = 0
        self._parameters: dict[bytes, bytes] = {}
        self._pid, self._key = 0, b""
        self._scram: ScramClient  # from AuthenticationSASL on

    def start(self) -> bytes:
        """The StartupMessage; user and database win over parameters of these names."""
        return frontend.startup({**self._startup_parameters, "user": self._user, "database": self._database})

    def receive(self, data: bytes) -> list[ServerLoginEvent]:
        """What follows from these bytes, which wait while a Compute is under way; never raises for what comes."""
        if self._state is _State.DONE:
            return []
        self._buffer += data
        return self._run([])

    def computed(self, result: bytes) -> list[ServerLoginEvent]:
        """Go on with what the work of a Compute returned."""
        if self._state is not _State.COMPUTING:
            return []
        return self._run(self._respond(result))

    def eof(self) -> list[ServerLoginEvent]:
        """The server closed its side."""
        if self._state is _State.DONE:
            return []
        return self._failed(ServerUnreachable("server closed the connection while the proxy was logging in"))

    def _run(self, events: list[ServerLoginEvent]) -> list[ServerLoginEvent]:
        try:
            while self._state not in (_State.COMPUTING, _State.DONE) and (message := self._take()) is not None:
                events += self._on_message(*message)
        except ServerLoginFailed as error:
            events += self._failed(error)
        except ProxyError as error:
            events += self._failed(_nonsense(error.message))
        return events

    def _take(self) -> tuple[int, bytes] | None:
        """Type and body of the next message; None while it is not all there."""
        if len(self._buffer) < codes.HEADER_BYTES:
            return None
        size = int.from_bytes(self._buffer[1:5], "big")
        if not 4 <= size <= MAX_MESSAGE_BYTES or self._received_bytes + size > MAX_LOGIN_BYTES:
            raise ProtocolViolation("invalid message length, or too much data")
        if len(self._buffer) <= size:
            return None
        code, body = self._buffer[0], bytes(self._buffer[codes.HEADER_BYTES : size + 1])
        del self._buffer[: size + 1]
        self._received_bytes += size + 1
        return code, body

    def _failed(self, error: ServerError, sqlstate: str | None = None) -> list[ServerLoginEvent]:
        self._state = _State.DONE
        self._buffer.clear()
        return [Failed(error, sqlstate)]

    def _on_message(self, code: int, body: bytes) -> list[ServerLoginEvent]:
        if code == codes.ERROR_RESPONSE:
            return self._on_error(backend.read_error_fields(body))
        if code == codes.NOTICE_RESPONSE:
            return [Warn(f"server says: {backend.read_error_fields(body).get('M', '')}")]
        if self._state is _State.STARTING:
            return self._on_starting(code, body)
        if code == codes.AUTHENTICATION:
            return self._on_authentication(Reader(body))
        if code == codes.NEGOTIATE_PROTOCOL and self._state is _State.AUTHENTICATION:
            # We ask for 3.0 and nothing else, so there is nothing that could be taken back.
            return []
        raise ProtocolViolation(f"unexpected message type {code} during authentication")

    def _on_error(self, fields: backend.ErrorFields) -> list[ServerLoginEvent]:
        """PostgreSQL's words name roles, databases and hosts: they are for the log."""
        sqlstate, said = fields.get("C"), fields.get("M")
        log: dict[str, str | None] = {"server_sqlstate": sqlstate, "server_message": said}
        error: ServerError
        if sqlstate == _CANNOT_CONNECT_NOW:
            error = ServerUnreachable("server accepts no connections now", hint="Try again in a moment.", **log)
        elif sqlstate == _TOO_MANY_CONNECTIONS:
            error = ServerLoginFailed("server has no connections left", hint="Try again in a moment.", **log)
        else:
            error = ServerLoginFailed(
                "server refused the proxy's login",
                hint="It is not your own login that was refused: see Gatehouse's log.",
                **log,
            )
        return self._failed(error, sqlstate)

    # --- authentication

    def _on_authentication(self, reader: Reader) -> list[ServerLoginEvent]:
        subtype = reader.int32()
        match self._state, subtype:
            # In the middle of SASL an AuthenticationOk would spare the server its proof: not accepted there.
            case ((_State.AUTHENTICATION | _State.PASSWORD_SENT | _State.SASL_VERIFIED), codes.AUTH_OK):
                reader.expect_end()
                self._state = _State.STARTING
                return []
            case _State.AUTHENTICATION, codes.AUTH_CLEARTEXT:
                return self._send_cleartext()
            case _State.AUTHENTICATION, codes.AUTH_MD5:
                return self._send_md5(reader.take(4))
            case _State.AUTHENTICATION, codes.AUTH_SASL:
                return self._start_sasl(reader)
            case _State.SASL_FIRST_SENT, codes.AUTH_SASL_CONTINUE:
                return self._continue_sasl(reader.rest())
            case _State.SASL_FINAL_SENT, codes.AUTH_SASL_FINAL:
                self._scram.verify(reader.rest())
                self._state = _State.SASL_VERIFIED
                return []
            case _State.AUTHENTICATION, _:
                raise ServerLoginFailed(
                    f"server asks for an authentication method the proxy does not speak ({subtype})",
                    hint="Use scram-sha-256 for the proxy's login in the server's pg_hba.conf.",
                )
            case _:
                raise ProtocolViolation(f"unexpected authentication request {subtype}")

    def _secret(self) -> str:
        if not self._password:
            raise ServerLoginFailed(
                "server asks for a password and none is configured",
                hint="Give the cluster a password in the proxy's configuration.",
            )
        return self._password

    def _send_cleartext(self) -> list[ServerLoginEvent]:
        secret = self._secret()
        if not self._is_tls:
            raise ServerLoginFailed(
                "server asks for the password in clear text over a connection without TLS",
                hint="Use scram-sha-256 in the server's pg_hba.conf, or TLS for the cluster.",
            )
        return self._send_password(secret.encode("utf-8", "surrogateescape"))

    def _send_md5(self, salt: bytes) -> list[ServerLoginEvent]:
        answer = md5_password(self._user, self._secret(), salt)
        text = f'server uses md5 authentication for "{self._user}": set its password again with scram-sha-256'
        return [Warn(text), *self._send_password(answer)]

    def _send_password(self, secret: bytes) -> list[ServerLoginEvent]:
        self._state = _State.PASSWORD_SENT
        return [Send(frontend.password(secret))]

    def _start_sasl(self, reader: Reader) -> list[ServerLoginEvent]:
        offered: list[str] = []
        while mechanism := reader.text():
            offered.append(mechanism)
        self._scram = ScramClient(
            self._secret(), self._channel_binding, self._nonce, offered=offered, salted=self._salted
        )
        self._state = _State.SASL_FIRST_SENT
        return [Send(frontend.sasl_initial_response(self._scram.mechanism, self._scram.first()))]

    def _continue_sasl(self, server_first: bytes) -> list[ServerLoginEvent]:
        work = self._scram.challenge(server_first)
        if work is None:
            return self._respond(None)
        self._state = _State.COMPUTING
        return [Compute(work)]

    def _respond(self, salted_password: bytes | None) -> list[ServerLoginEvent]:
        self._state = _State.SASL_FINAL_SENT
        return [Send(frontend.sasl_response(self._scram.respond(salted_password)))]

    # --- after authentication

    def _on_starting(self, code: int, body: bytes) -> list[ServerLoginEvent]:
        if code == codes.PARAMETER_STATUS:
            name, value = backend.read_parameter_status(body)
            self._parameters[name] = value
        elif code == codes.BACKEND_KEY_DATA:
            reader = Reader(body)
            self._pid, self._key = reader.int32(), reader.rest()
        elif code == codes.READY_FOR_QUERY:
            return self._on_ready(body)
        else:
            raise ProtocolViolation(f"unexpected message type {code} during startup")
        return []

    def _on_ready(self, body: bytes) -> list[ServerLoginEvent]:
        if body != bytes((codes.IDLE,)):
            raise ProtocolViolation("server is not idle after login")
        self._state = _State.DONE
        return [LoggedIn(self._pid, self._key, self._parameters, codes.IDLE, bytes(self._buffer))]


def _nonsense(reason: str) -> ServerLoginFailed:
    return ServerLoginFailed(
        "server does not follow the PostgreSQL protocol",
        hint="Check that the host and port are those of a PostgreSQL server.",
        reason=reason,
    )
