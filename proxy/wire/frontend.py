"""Messages a client sends: built when Gatehouse speaks to a server itself, read where the client's words matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.errors import FeatureRefused, ProtocolViolation
from proxy.wire import codes
from proxy.wire.buffer import Reader, frame, int16, int32

SYNC: Final[bytes] = frame(codes.SYNC, b"")
FLUSH: Final = frame(codes.FLUSH, b"")
TERMINATE: Final = frame(codes.TERMINATE, b"")
COPY_DONE: Final = frame(codes.COPY_DONE, b"")
SSL_REQUEST: Final = int32(8) + int32(codes.SSL_REQUEST)


def query(sql: bytes) -> bytes:
    """Query."""
    return frame(codes.QUERY, sql + b"\0")


def parse(name: bytes, sql: bytes, parameter_types: Sequence[int] = ()) -> bytes:
    """Parse, with the types of parameters by OID (0 leaves one to the server)."""
    types = b"".join(int32(oid) for oid in parameter_types)
    return frame(codes.PARSE, name + b"\0" + sql + b"\0" + int16(len(parameter_types)) + types)


def bind(portal: bytes, statement: bytes, values: Sequence[bytes | None]) -> bytes:
    """Bind with text parameters and text results; None is NULL."""
    cells = [int32(-1) if value is None else int32(len(value)) + value for value in values]
    body = portal + b"\0" + statement + b"\0" + int16(0) + int16(len(cells)) + b"".join(cells) + int16(0)
    return frame(codes.BIND, body)


def describe(kind: bytes, name: bytes) -> bytes:
    """Describe a statement (kind b"S") or a portal (b"P")."""
    return frame(codes.DESCRIBE, kind + name + b"\0")


def execute(portal: bytes, max_rows: int = 0) -> bytes:
    """Execute; 0 rows means all."""
    return frame(codes.EXECUTE, portal + b"\0" + int32(max_rows))


def close(kind: bytes, name: bytes) -> bytes:
    """Close a statement (kind b"S") or a portal (b"P")."""
    return frame(codes.CLOSE, kind + name + b"\0")


def copy_fail(reason: bytes) -> bytes:
    """CopyFail."""
    return frame(codes.COPY_FAIL, reason + b"\0")


def password(secret: bytes) -> bytes:
    """PasswordMessage."""
    return frame(codes.PASSWORD, secret + b"\0")


def sasl_initial_response(mechanism: str, data: bytes) -> bytes:
    """SASLInitialResponse."""
    return frame(codes.PASSWORD, mechanism.encode() + b"\0" + int32(len(data)) + data)


def sasl_response(data: bytes) -> bytes:
    """SASLResponse."""
    return frame(codes.PASSWORD, data)


def startup(parameters: Mapping[str, str], protocol: int = codes.PROTOCOL_3_0) -> bytes:
    """StartupMessage."""
    pairs = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items())
    body = int32(protocol) + pairs + b"\0"
    return int32(len(body) + 4) + body


def cancel_request(pid: int, key: bytes) -> bytes:
    """CancelRequest; the key has 4 bytes in protocol 3.0, up to 256 in 3.2."""
    body = int32(codes.CANCEL_REQUEST) + int32(pid) + key
    return int32(len(body) + 4) + body


# One for each client: a frozen dataclass sets its fields by interpreted code, ten times as slow as a constructor that is
# compiled.
@dataclass(init=False, slots=True)
class Startup:
    """StartupMessage: the protocol asked for and the parameters in order; `_pq_.` options apart.

    The last of several values counts, as in PostgreSQL; `replaced` are those before it, by name.
    """

    protocol: int
    parameters: dict[str, str]
    protocol_options: dict[str, str]
    replaced: tuple[tuple[str, str], ...]

    def __init__(
        self,
        protocol: int,
        parameters: dict[str, str],
        protocol_options: dict[str, str],
        replaced: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.protocol = protocol
        self.parameters = parameters
        self.protocol_options = protocol_options
        self.replaced = replaced


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """CancelRequest: whose query to cancel, and the proof."""

    pid: int
    key: bytes


@dataclass(frozen=True, slots=True)
class EncryptionRequest:
    """SSLRequest or GSSENCRequest (`code` says which)."""

    code: int


FirstMessage = Startup | CancelRequest | EncryptionRequest


def read_first_message(body: bytes) -> FirstMessage:
    """What follows the length in the first message of a connection.

    Raises `ProtocolViolation` for anything that PostgreSQL would not take.
    """
    reader = Reader(body)
    code = reader.int32()
    if code == codes.CANCEL_REQUEST:
        pid, key = reader.int32(), reader.rest()
        if not 4 <= len(key) <= 256:
            raise ProtocolViolation("invalid length of cancel request packet")
        return CancelRequest(pid, key)
    if code in (codes.SSL_REQUEST, codes.GSSENC_REQUEST):
        reader.expect_end()
        return EncryptionRequest(code)
    if code >> 16 != 3:
        raise ProtocolViolation(
            f"unsupported frontend protocol {code >> 16 & 0xFFFF}.{code & 0xFFFF}: server supports 3.0 to 3.2"
        ).with_sqlstate(FeatureRefused.sqlstate)
    return _read_startup(code, reader.rest())


def _read_startup(protocol: int, body: bytes) -> Startup:
    """Names and values, each behind its name, an empty name last."""
    parameters: dict[str, str] = {}
    options: dict[str, str] = {}
    replaced: tuple[tuple[str, str], ...] = ()
    texts = body.split(b"\0")
    unterminated = texts.pop()
    count = len(texts)
    at = 0
    while at < count:
        name = _startup_text(texts[at])
        if not name:
            if at + 1 < count or unterminated:
                raise ProtocolViolation("invalid startup packet layout: expected terminator as last byte")
            return Startup(protocol, parameters, options, replaced)
        if at + 1 == count:
            break
        known = options if name.startswith("_pq_.") else parameters
        if name in known:
            replaced += ((name, known[name]),)
        known[name] = _startup_text(texts[at + 1])
        at += 2
    raise ProtocolViolation("invalid string in message")


def _startup_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation("startup packet is not valid UTF-8") from None
