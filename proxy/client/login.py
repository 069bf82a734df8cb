"""A client's way in: from its first byte to a proven identity and a tenant.

Pure: bytes in, events out. The shell writes what is to be sent, does the TLS handshake, keeps the login's deadline,
and says AuthenticationOk itself once a tenant and a pool are there. Unknown users go through the whole exchange with a
made-up verifier, so that nothing tells them from a wrong password.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from proxy.auth.identity import Identity, UserDirectory, UserRecord
from proxy.auth.scram import ScramServer, mock_verifier
from proxy.client.startup import ClientStartup, negotiation, read_startup
from proxy.client.tenancy import login_in, resolve_tenant, split_user, without_tenant_settings
from proxy.errors import AuthenticationFailed, LoginRefused, ProtocolViolation, ProxyError
from proxy.wire import backend, codes
from proxy.wire.buffer import Reader, uint32_at
from proxy.wire.frontend import EncryptionRequest, Startup, read_first_message

MAX_STARTUP_BYTES: Final = 10_000
"""PostgreSQL's MAX_STARTUP_PACKET_LENGTH; the length field itself is not counted."""
MAX_SASL_BYTES: Final = 65_535
_MAX_NAME: Final = 127
"""A login and a tenant with a dot between them are no longer than this."""
_GOODBYE: Final[int] = codes.TERMINATE << 24
"""What a Terminate, sent where a first message's length is expected, looks like."""

TlsMode = Literal["disable", "prefer", "require"]


@dataclass(init=False, slots=True)  # see `wire.frontend.Startup`
class Send:
    """Write these bytes to the client."""

    data: bytes = field(repr=False)

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True, slots=True)
class StartTls:
    """Write the one byte `S`, do the handshake, then call `ClientLogin.tls_started`."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """A CancelRequest: pass it on if the key is right, and close without an answer."""

    pid: int
    key: bytes = field(repr=False)


@dataclass(init=False, slots=True)  # see `wire.frontend.Startup`
class Authenticated:
    """The client is who it says and may speak for the tenant; AuthenticationOk is still to be sent.

    `user` is the login's name, without a tenant in it. The tenant's own settings are no longer in `startup`.
    `leftover` came behind the last message and belongs to the session.
    """

    user: str
    identity: Identity
    startup: ClientStartup
    tenant_id: str
    leftover: bytes = field(repr=False)

    def __init__(self, user: str, identity: Identity, startup: ClientStartup, tenant_id: str, leftover: bytes) -> None:
        self.user = user
        self.identity = identity
        self.startup = startup
        self.tenant_id = tenant_id
        self.leftover = leftover


@dataclass(frozen=True, slots=True)
class Rejected:
    """Send this error and close; `user` is whom the client said it is, proven or not, "" if it did not come that far."""

    error: ProxyError
    user: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """The client ended without a word, as psql does to ask for a password: close, nothing to report."""


LoginEvent = Send | StartTls | Cancel | Authenticated | Rejected | Closed


class _State:
    FIRST_MESSAGE: Final = 0
    TLS_HANDSHAKE: Final = 1
    SASL_MECHANISM: Final = 2
    SASL_CLIENT_FIRST: Final = 3  # the client chose a mechanism and sent nothing with it
    SASL_CLIENT_FINAL: Final = 4
    DONE: Final = 5


class _Attempt:
    """Who the client says it is, and the exchange that has it prove that; `record` is None for a user nobody knows."""

    __slots__ = ("record", "scram", "startup", "user", "user_tenant")

    def __init__(
        self, startup: ClientStartup, user: str, user_tenant: str | None, record: UserRecord | None, scram: ScramServer
    ) -> None:
        self.startup: Final = startup
        self.user: Final = user
        self.user_tenant: Final = user_tenant
        self.record: Final = record
        self.scram: Final = scram


class _Left(Exception):
    """The client says goodbye before anything else, as some do whose connection was given up at once."""


class ClientLogin:
    """The login of one client connection; of no use after Cancel, Authenticated, Rejected or Closed.

    `mock_secret` must be the same for as long as logins are compared: one per installation, or per process at least.
    """

    def __init__(
        self,
        *,
        directory: UserDirectory,
        mock_secret: bytes,
        tls_mode: TlsMode,
        is_unix: bool = False,
        tenant_settings: Collection[str] = (),
        nonce: str | None = None,
    ) -> None:
        self._directory = directory
        self._mock_secret = mock_secret
        self._offers_tls = tls_mode != "disable" and not is_unix
        self._requires_tls = tls_mode == "require" and not is_unix
        self._tenant_settings = tenant_settings
        self._nonce = nonce
        self._state: int = _State.FIRST_MESSAGE
        self._buffer = b""
        self._asked_for: set[int] = set()
        self._is_tls = False
        self._channel_binding: bytes | None = None
        self._attempt: _Attempt  # from the startup message on
        self._user = ""
        self._mechanism = ""

    def receive(self, data: bytes) -> list[LoginEvent]:
        """What follows from these bytes; never raises for what a client sends."""
        if self._state == _State.DONE:
            return []
        self._buffer = self._buffer + data if self._buffer else data
        events: list[LoginEvent] = []
        try:
            while (step := self._step()) is not None:
                events += step
        except _Left:
            events += self._done(Closed())
        except ProxyError as error:
            # Nor its traceback: the frames know this error, too, and the garbage collector would have to find out.
            error.__traceback__ = error.__context__ = None
            events += self._done(Rejected(error, self._user))
        return events

    def tls_started(self, channel_binding: bytes | None) -> None:
        """The handshake is done; `channel_binding` is the `tls_server_end_point` of our certificate."""
        assert self._state == _State.TLS_HANDSHAKE
        self._is_tls = True
        self._channel_binding = channel_binding
        self._state = _State.FIRST_MESSAGE

    def eof(self) -> list[LoginEvent]:
        """The client closed its side."""
        return [] if self._state == _State.DONE else self._done(Closed())

    def _step(self) -> list[LoginEvent] | None:
        """Take one message; None when there is none to take."""
        if not self._buffer:
            return None
        state = self._state
        if state == _State.FIRST_MESSAGE:
            body = self._take_first()
            return None if body is None else self._on_first(body)
        if state == _State.TLS_HANDSHAKE:
            raise _unencrypted("SSL")
        if state == _State.DONE:
            return None
        return self._on_password_message()

    def _done(self, event: LoginEvent) -> list[LoginEvent]:
        self._state = _State.DONE
        self._buffer = b""
        return [event]

    # --- the first message

    def _take_first(self) -> bytes | None:
        if len(self._buffer) < 4:
            return None
        size = uint32_at(self._buffer, 0)
        if size == _GOODBYE:
            raise _Left
        if not 8 <= size <= MAX_STARTUP_BYTES + 4:
            raise ProtocolViolation("invalid length of startup packet")
        return self._take(4, size)

    def _take(self, start: int, end: int) -> bytes | None:
        """Bytes `start` to `end` of the buffer, which then begins behind them; None while they are not all there."""
        buffer = self._buffer
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return buffer[start:end]

    def _on_first(self, body: bytes) -> list[LoginEvent]:
        message = read_first_message(body)
        if isinstance(message, Startup):
            return self._on_startup(message)
        if isinstance(message, EncryptionRequest):
            return self._on_encryption_request(message.code)
        return self._done(Cancel(message.pid, message.key))

    def _on_encryption_request(self, code: int) -> list[LoginEvent]:
        if code in self._asked_for or self._is_tls:
            raise ProtocolViolation("encryption was asked for more than once")
        self._asked_for.add(code)
        if self._buffer:
            # Whatever came along was never encrypted, and may be a third party's (CVE-2021-23214).
            raise _unencrypted("SSL" if code == codes.SSL_REQUEST else "GSSAPI encryption")
        if code == codes.SSL_REQUEST and self._offers_tls:
            self._state = _State.TLS_HANDSHAKE
            return [StartTls()]
        return [Send(b"N")]

    def _on_startup(self, message: Startup) -> list[LoginEvent]:
        if self._requires_tls and not self._is_tls:
            raise LoginRefused(
                "this proxy accepts TLS connections only", hint="Connect with sslmode=require, or a stronger one."
            )
        self._attempt = self._begin(read_startup(message))
        self._user = self._attempt.user
        self._state = _State.SASL_MECHANISM
        offer = backend.authentication_sasl(self._attempt.scram.mechanisms)
        return [Send((negotiation(message) or b"") + offer)]

    def _begin(self, startup: ClientStartup) -> _Attempt:
        user, user_tenant, record = split_user(startup.user, self._directory)
        if record is not None:
            verifier = record.verifier
        else:
            verifier = mock_verifier(login_in(user), self._mock_secret, self._directory.usual_iterations)
        scram = ScramServer(verifier, channel_binding=self._channel_binding, nonce=self._nonce)
        return _Attempt(startup, user, user_tenant, record, scram)

    # --- the SASL exchange

    def _on_password_message(self) -> list[LoginEvent] | None:
        buffer = self._buffer
        if len(buffer) < codes.HEADER_BYTES:
            return None
        code, size = buffer[0], uint32_at(buffer, 1)
        if code == codes.TERMINATE:
            return self._done(Closed())
        if code != codes.PASSWORD:
            raise ProtocolViolation(f"expected SASL response, got message type {code}")
        if not 4 <= size <= MAX_SASL_BYTES:
            raise ProtocolViolation("invalid message length")
        body = self._take(codes.HEADER_BYTES, size + 1)
        return None if body is None else self._on_sasl(body)

    def _on_sasl(self, body: bytes) -> list[LoginEvent]:
        if self._state == _State.SASL_MECHANISM:
            return self._on_mechanism(Reader(body))
        if self._state == _State.SASL_CLIENT_FIRST:
            return self._on_client_first(body)
        return self._on_client_final(body)

    def _on_mechanism(self, reader: Reader) -> list[LoginEvent]:
        self._mechanism = reader.text()
        if self._mechanism not in self._attempt.scram.mechanisms:
            raise ProtocolViolation("client selected an invalid SASL authentication mechanism")
        size = reader.int32()
        if size == -1:
            reader.expect_end()
            self._state = _State.SASL_CLIENT_FIRST
            return [Send(backend.authentication(codes.AUTH_SASL_CONTINUE))]
        client_first = reader.take(size)
        reader.expect_end()
        return self._on_client_first(client_first)

    def _on_client_first(self, client_first: bytes) -> list[LoginEvent]:
        server_first = self._attempt.scram.first(self._mechanism, client_first)
        self._state = _State.SASL_CLIENT_FINAL
        return [Send(backend.authentication(codes.AUTH_SASL_CONTINUE, server_first))]

    def _on_client_final(self, client_final: bytes) -> list[LoginEvent]:
        try:
            server_final = self._attempt.scram.final(client_final)
        except AuthenticationFailed:
            raise self._wrong_password() from None
        record = self._attempt.record
        if record is None:
            raise self._wrong_password()
        final = Send(backend.authentication(codes.AUTH_SASL_FINAL, server_final))
        return [final, *self._done(self._admitted(record.identity))]

    def _wrong_password(self) -> AuthenticationFailed:
        """One text for both; only the log learns which it was."""
        reason = "no such user" if self._attempt.record is None else "wrong password"
        user = self._attempt.startup.user
        if len(user) > _MAX_NAME:  # nobody's, but whoever has no password could fill the log with it
            user = f"{user[:_MAX_NAME]}..."
        return AuthenticationFailed(f'password authentication failed for user "{user}"', reason=reason)

    def _admitted(self, identity: Identity) -> Authenticated | Rejected:
        attempt = self._attempt
        try:
            tenant_id = resolve_tenant(attempt.startup, identity, attempt.user_tenant, self._tenant_settings)
        except ProxyError as error:
            return Rejected(error, attempt.user)
        startup = without_tenant_settings(attempt.startup, self._tenant_settings)
        return Authenticated(attempt.user, identity, startup, tenant_id, self._buffer)


def _unencrypted(what: str) -> ProtocolViolation:
    return ProtocolViolation(
        f"received unencrypted data after {what} request",
        details="This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    )
