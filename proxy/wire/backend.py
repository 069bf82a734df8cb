"""Messages a server sends: built when Gatehouse answers a client itself, read where a server's answer matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.errors import ProtocolViolation, ProxyError
from proxy.wire import codes
from proxy.wire.buffer import Reader, frame, int16, int32

PARSE_COMPLETE: Final = frame(codes.PARSE_COMPLETE, b"")
BIND_COMPLETE: Final = frame(codes.BIND_COMPLETE, b"")
CLOSE_COMPLETE: Final = frame(codes.CLOSE_COMPLETE, b"")
EMPTY_QUERY: Final = frame(codes.EMPTY_QUERY, b"")
NO_DATA: Final = frame(codes.NO_DATA, b"")
NO_PARAMETERS: Final = frame(codes.PARAMETER_DESCRIPTION, int16(0))
AUTHENTICATION_OK: Final = frame(codes.AUTHENTICATION, int32(codes.AUTH_OK))
READY: Final = {status: frame(codes.READY_FOR_QUERY, bytes((status,))) for status in b"ITE"}

ErrorFields = dict[str, str]
"""Fields of an ErrorResponse or NoticeResponse by their one-letter code (manual, "Error and Notice Message Fields")."""


def command_complete(tag: bytes) -> bytes:
    """CommandComplete with this tag."""
    return frame(codes.COMMAND_COMPLETE, tag + b"\0")


def parameter_status(name: bytes, value: bytes) -> bytes:
    """ParameterStatus."""
    return frame(codes.PARAMETER_STATUS, name + b"\0" + value + b"\0")


def backend_key_data(pid: int, key: bytes) -> bytes:
    """BackendKeyData; the key has 4 bytes in protocol 3.0, up to 256 in 3.2."""
    return frame(codes.BACKEND_KEY_DATA, int32(pid) + key)


def authentication(subtype: int, data: bytes = b"") -> bytes:
    """An AuthenticationXXX message."""
    return frame(codes.AUTHENTICATION, int32(subtype) + data)


def authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    """AuthenticationSASL, offering these mechanisms in order of preference."""
    return authentication(codes.AUTH_SASL, "\0".join([*mechanisms, "", ""]).encode())


def negotiate_protocol_version(newest_version: int, unknown_options: Iterable[str]) -> bytes:
    """NegotiateProtocolVersion: the newest version spoken, whole (0x00030002), and the `_pq_.` options not known."""
    names = [name.encode() + b"\0" for name in unknown_options]
    return frame(codes.NEGOTIATE_PROTOCOL, int32(newest_version) + int32(len(names)) + b"".join(names))


def row_description(columns: Iterable[str]) -> bytes:
    """RowDescription of text columns."""
    fields = [
        name.encode() + b"\0" + int32(0) + int16(0) + int32(25) + int16(-1) + int32(-1) + int16(0) for name in columns
    ]
    return frame(codes.ROW_DESCRIPTION, int16(len(fields)) + b"".join(fields))


def data_row(values: Iterable[bytes | None]) -> bytes:
    """DataRow; None is NULL."""
    cells = [int32(-1) if value is None else int32(len(value)) + value for value in values]
    return frame(codes.DATA_ROW, int16(len(cells)) + b"".join(cells))


def error_response(error: ProxyError, *, severity: str | None = None) -> bytes:
    """The ErrorResponse that tells a client of `error`; only its safe fields are used."""
    level = severity or error.severity
    fields = {"S": level, "V": level, "C": error.sqlstate, "M": error.message}
    if error.details:
        fields["D"] = error.details
    if error.hint:
        fields["H"] = error.hint
    return error_from_fields(fields)


def notice_response(sqlstate: str, message: str, *, severity: str = "WARNING") -> bytes:
    """A NoticeResponse in Gatehouse's own name."""
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": message}
    return frame(codes.NOTICE_RESPONSE, _fields_body(fields))


def error_from_fields(fields: ErrorFields) -> bytes:
    """An ErrorResponse with exactly these fields."""
    return frame(codes.ERROR_RESPONSE, _fields_body(fields))


def _fields_body(fields: ErrorFields) -> bytes:
    return (
        b"".join(k.encode() + v.replace("\0", "").encode("utf-8", "replace") + b"\0" for k, v in fields.items()) + b"\0"
    )


def read_error_fields(body: bytes) -> ErrorFields:
    """Fields of an ErrorResponse or NoticeResponse body."""
    reader = Reader(body)
    fields: ErrorFields = {}
    while (code := reader.int8()) != 0:
        fields[chr(code)] = reader.text()
    return fields


def read_parameter_status(body: bytes) -> tuple[bytes, bytes]:
    """Name and value of a ParameterStatus body."""
    reader = Reader(body)
    return reader.cstring(), reader.cstring()


def read_first_column(body: bytes) -> bytes | None:
    """The first value of a DataRow body, None for NULL."""
    reader = Reader(body)
    if reader.int16() < 1:
        raise ProtocolViolation("a row without columns where a value was expected")
    size = reader.int32()
    return None if size < 0 else reader.take(size)
