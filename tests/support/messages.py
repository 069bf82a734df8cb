"""Messages of both sides for tests, by PostgreSQL's names, with text where the wire has bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame, int16, int32


def query(sql: str) -> bytes:
    """Query."""
    return frontend.query(sql.encode())


def parse(name: str, sql: str) -> bytes:
    """Parse."""
    return frontend.parse(name.encode(), sql.encode())


def bind(statement: str = "", *values: bytes | None, portal: str = "") -> bytes:
    """Bind."""
    return frontend.bind(portal.encode(), statement.encode(), values)


def describe(kind: str, name: str = "") -> bytes:
    """Describe."""
    return frontend.describe(kind.encode(), name.encode())


def execute(portal: str = "", max_rows: int = 0) -> bytes:
    """Execute."""
    return frontend.execute(portal.encode(), max_rows)


def close(kind: str, name: str) -> bytes:
    """Close."""
    return frontend.close(kind.encode(), name.encode())


def copy_data(data: bytes) -> bytes:
    """CopyData."""
    return frame(codes.COPY_DATA, data)


def function_call(oid: int, arguments: Sequence[bytes] = ()) -> bytes:
    """FunctionCall with all arguments and the result as text."""
    given = b"".join(int32(len(argument)) + argument for argument in arguments)
    return frame(codes.FUNCTION_CALL, int32(oid) + int16(0) + int16(len(arguments)) + given + int16(0))


SYNC: Final = frontend.SYNC
FLUSH: Final = frontend.FLUSH
TERMINATE: Final = frontend.TERMINATE
COPY_DONE: Final = frontend.COPY_DONE
PARSED: Final = backend.PARSE_COMPLETE
BOUND: Final = backend.BIND_COMPLETE
CLOSED: Final = backend.CLOSE_COMPLETE
NO_DATA: Final = backend.NO_DATA
EMPTY: Final = backend.EMPTY_QUERY
SUSPENDED: Final = frame(codes.PORTAL_SUSPENDED, b"")
NO_PARAMETERS: Final = frame(codes.PARAMETER_DESCRIPTION, int16(0))
COPY_IN: Final = frame(codes.COPY_IN_RESPONSE, b"\0" + int16(0))


def complete(tag: str) -> bytes:
    """CommandComplete."""
    return backend.command_complete(tag.encode())


def ready(status: str) -> bytes:
    """ReadyForQuery."""
    return backend.READY[ord(status)]


def row(*values: bytes | None) -> bytes:
    """DataRow."""
    return backend.data_row(values)


def status(name: str, value: str) -> bytes:
    """ParameterStatus."""
    return backend.parameter_status(name.encode(), value.encode())


def failed(sqlstate: str, message: str = "failed", position: int | None = None) -> bytes:
    """ErrorResponse of PostgreSQL's own."""
    fields = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": message}
    if position is not None:
        fields["P"] = str(position)
    return backend.error_from_fields(fields)


def notice(sqlstate: str, message: str = "careful") -> bytes:
    """NoticeResponse."""
    return backend.notice_response(sqlstate, message)


def copy_fail(reason: bytes) -> bytes:
    """CopyFail."""
    return frontend.copy_fail(reason)
