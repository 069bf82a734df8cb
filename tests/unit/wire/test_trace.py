"""A line per message, with everything in it but other people's data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ContextProtected
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame, int16, int32
from proxy.wire.trace import backend_lines, frontend_lines

SECRET = b"hunter2"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (frontend.query(b"SELECT 1"), 'Q "SELECT 1"'),
        (frontend.query(b"SELECT 1;\n\tSELECT '\xc3\xa9\xff'"), r'''Q "SELECT 1;\n\tSELECT 'é\xff'"'''),
        (frontend.parse(b"s1", b"SELECT $1", (23, 0)), 'P stmt="s1" "SELECT $1" types=23, 0'),
        (
            frontend.bind(b"p1", b"s1", (b"abc", None, b"x")),
            'B portal="p1" stmt="s1" parameters: 3 bytes, NULL, 1 byte',
        ),
        (frontend.bind(b"", b"", ()), 'B portal="" stmt=""'),
        (frontend.describe(b"S", b"s1"), 'D stmt="s1"'),
        (frontend.close(b"P", b"p1"), 'C portal="p1"'),
        (frontend.execute(b"p1", 10), 'E portal="p1" max_rows=10'),
        (frontend.execute(b""), 'E portal=""'),
        (frontend.SYNC, "S"),
        (frontend.FLUSH, "H"),
        (frontend.TERMINATE, "X"),
        (frontend.COPY_DONE, "c"),
        (frontend.copy_fail(b"changed my mind"), 'f "changed my mind"'),
        (frame(codes.COPY_DATA, b"1\tone\n"), "d 6 bytes"),
        (
            frame(codes.FUNCTION_CALL, int32(1598) + int16(0) + int16(1) + int32(2) + b"ab" + int16(0)),
            "F function=1598 arguments: 2 bytes",
        ),
        (frame(0x7E, b"??"), "~ unknown, 7 bytes"),
        (frame(0x01, b""), "0x01 unknown, 5 bytes"),
    ],
)
def test_what_a_client_says_is_one_readable_line(message: bytes, line: str) -> None:
    assert frontend_lines(message) == [line]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (backend.READY[codes.IDLE], "Z I"),
        (backend.command_complete(b"INSERT 0 1"), 'C "INSERT 0 1"'),
        (backend.data_row([b"a", None, b"c"]), "D 3 columns, 14 bytes"),
        (backend.row_description(["id", "name"]), 'T 2 columns: "id", "name"'),
        (backend.error_response(ContextProtected("not yours", hint="x")), 'E ERROR SQLSTATE 42501 "not yours"'),
        (
            backend.error_from_fields({"S": "FEHLER", "V": "ERROR", "C": "42601", "M": "m", "P": "7"}),
            'E ERROR SQLSTATE 42601 "m" at 7',
        ),
        (backend.notice_response("01000", "careful"), 'N WARNING SQLSTATE 01000 "careful"'),
        (backend.parameter_status(b"TimeZone", b"UTC"), 'S "TimeZone" = "UTC"'),
        (backend.backend_key_data(7, b"1234"), "K pid=7 key: 4 bytes"),
        (backend.AUTHENTICATION_OK, "R Ok"),
        (backend.authentication(codes.AUTH_SASL_CONTINUE, b"r=1,s=2"), "R SASLContinue 7 bytes"),
        (backend.negotiate_protocol_version(codes.PROTOCOL_3_2, ["_pq_.x"]), 'v 3.2 unknown: "_pq_.x"'),
        (frame(codes.NOTIFICATION_RESPONSE, int32(7) + b"jobs\0abc\0"), 'A pid=7 channel="jobs" payload: 3 bytes'),
        (frame(codes.PARAMETER_DESCRIPTION, int16(2) + int32(23) + int32(25)), "t types=23, 25"),
        (frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)), "V NULL"),
        (backend.PARSE_COMPLETE, "1"),
        (frame(codes.PORTAL_SUSPENDED, b""), "s"),
    ],
)
def test_what_a_server_says_is_one_readable_line(message: bytes, line: str) -> None:
    assert backend_lines(message) == [line]


def test_messages_in_a_row_are_a_line_each_and_a_part_of_one_is_called_incomplete() -> None:
    data = frontend.parse(b"", b"SELECT 1") + frontend.SYNC + frontend.query(b"SELECT 2")
    assert frontend_lines(data[:-3]) == ['P stmt="" "SELECT 1"', "S", "Q incomplete: 11 of 14 bytes"]
    assert frontend_lines(b"Q\0\0") == ["Q incomplete: 3 bytes"]


def test_bytes_that_are_no_message_are_said_to_be_none() -> None:
    assert frontend_lines(frame(codes.QUERY, b"no end")) == ["Q malformed, 11 bytes"]
    assert frontend_lines(frame(codes.DESCRIBE, b"Xname\0")) == ["D malformed, 11 bytes"]
    assert frontend_lines(frame(codes.SYNC, b"x")) == ["S malformed, 6 bytes"]
    assert backend_lines(b"Z\0\0\0\x03I") == ["Z impossible length 3, 6 bytes"]


@pytest.mark.parametrize(
    "message",
    [
        frontend.bind(b"", b"", (SECRET,)),
        frame(codes.COPY_DATA, SECRET),
        frontend.password(SECRET),
        frontend.sasl_response(SECRET),
        frontend.query(b"ALTER ROLE app PASSWORD 'hunter2'"),
        frontend.query(b"alter role app encrypted password\n e'hunter2' valid until 'infinity'"),
        frontend.query(b"ALTER ROLE app PASSWORD 'it''s hunter2"),
        frontend.query(b"ALTER ROLE app PASSWORD $x$hunter2$x$"),
        frontend.parse(b"", b"CREATE USER app PASSWORD'hunter2'"),
        frame(codes.FUNCTION_CALL, int32(1) + int16(0) + int16(1) + int32(7) + SECRET + int16(0)),
    ],
)
def test_no_value_or_password_of_a_client_shows(message: bytes) -> None:
    assert SECRET.decode() not in frontend_lines(message)[0]


@pytest.mark.parametrize(
    "message",
    [
        backend.data_row([SECRET]),
        frame(codes.COPY_DATA, SECRET),
        backend.backend_key_data(1, SECRET),
        backend.authentication(codes.AUTH_SASL_FINAL, SECRET),
        frame(codes.FUNCTION_CALL_RESPONSE, int32(7) + SECRET),
        frame(codes.NOTIFICATION_RESPONSE, int32(1) + b"channel\0" + SECRET + b"\0"),
    ],
)
def test_no_value_or_key_of_a_server_shows(message: bytes) -> None:
    assert SECRET.decode() not in backend_lines(message)[0]


def test_a_long_statement_is_cut() -> None:
    (line,) = frontend_lines(frontend.query(b"SELECT " + b"1+" * 10_000))
    assert len(line) < 400
    assert line.endswith('…"')


@given(st.binary())
def test_any_bytes_can_be_traced_without_an_error(data: bytes) -> None:
    for line in frontend_lines(data) + backend_lines(data):
        assert "\n" not in line
