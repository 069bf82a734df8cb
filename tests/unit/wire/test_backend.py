"""Messages towards a client, byte for byte, and what is read of a server's."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import PoolTimeout, ProtocolViolation, ServerLost
from proxy.wire import backend, codes


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (backend.PARSE_COMPLETE, b"1\0\0\0\x04"),
        (backend.BIND_COMPLETE, b"2\0\0\0\x04"),
        (backend.CLOSE_COMPLETE, b"3\0\0\0\x04"),
        (backend.EMPTY_QUERY, b"I\0\0\0\x04"),
        (backend.NO_DATA, b"n\0\0\0\x04"),
        (backend.AUTHENTICATION_OK, b"R\0\0\0\x08\0\0\0\0"),
        (backend.READY[codes.FAILED], b"Z\0\0\0\x05E"),
        (backend.command_complete(b"SET"), b"C\0\0\0\x08SET\0"),
        (backend.parameter_status(b"a", b"b"), b"S\0\0\0\x08a\0b\0"),
        (backend.backend_key_data(7, b"1234"), b"K\0\0\0\x0c\0\0\0\x071234"),
        (backend.authentication_sasl(["A", "B"]), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0"),
        (
            backend.negotiate_protocol_version(codes.PROTOCOL_3_2, ["_pq_.x"]),
            b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0",
        ),
        (
            backend.row_description(["a"]),
            b"T\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
        ),
        (backend.data_row([b"ab", None]), b"D\0\0\0\x10\0\x02\0\0\0\x02ab\xff\xff\xff\xff"),
        (
            backend.notice_response("01000", "careful"),
            b"N\0\0\0\x27SWARNING\0VWARNING\0C01000\0Mcareful\0\0",
        ),
    ],
)
def test_messages_to_a_client_are_these_bytes(message: bytes, expected: bytes) -> None:
    assert message == expected


def test_an_error_shows_its_safe_fields_and_nothing_of_its_log_context() -> None:
    error = PoolTimeout("no server", hint="Wait.", details="All busy.", password="hunter2")
    message = backend.error_response(error)
    assert backend.read_error_fields(message[5:]) == {
        "S": "ERROR",
        "V": "ERROR",
        "C": "53300",
        "M": "no server",
        "D": "All busy.",
        "H": "Wait.",
    }
    assert b"hunter2" not in message


def test_the_severity_of_an_error_can_be_raised_and_lowered() -> None:
    assert b"SFATAL\0VFATAL\0" in backend.error_response(PoolTimeout("x"), severity="FATAL")
    assert b"SERROR\0VERROR\0" in backend.error_response(ServerLost("x"), severity="ERROR")


def test_a_field_can_not_be_ended_by_what_stands_in_it() -> None:
    message = backend.error_from_fields({"M": "a\0CXX000\0b"})
    assert backend.read_error_fields(message[5:]) == {"M": "aCXX000b"}


def test_the_first_column_of_a_row_is_read() -> None:
    assert backend.read_first_column(backend.data_row([b"UTC", b"x"])[5:]) == b"UTC"
    assert backend.read_first_column(backend.data_row([None])[5:]) is None
    assert backend.read_first_column(backend.data_row([b""])[5:]) == b""
    with pytest.raises(ProtocolViolation):
        backend.read_first_column(backend.data_row([])[5:])


def test_a_parameter_status_is_read() -> None:
    assert backend.read_parameter_status(backend.parameter_status(b"TimeZone", b"UTC")[5:]) == (b"TimeZone", b"UTC")


@given(st.binary())
def test_what_a_server_sends_is_read_or_is_a_protocol_violation(body: bytes) -> None:
    for read in (backend.read_error_fields, backend.read_first_column, backend.read_parameter_status):
        with contextlib.suppress(ProtocolViolation):
            read(body)
