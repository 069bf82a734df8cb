"""Messages towards a server, byte for byte, and the first message of a client, which may be anything."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolViolation
from proxy.wire import codes, frontend
from proxy.wire.buffer import int32
from proxy.wire.frontend import CancelRequest, EncryptionRequest, Startup, read_first_message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (frontend.query(b"SELECT 1"), b"Q\0\0\0\x0dSELECT 1\0"),
        (frontend.parse(b"s", b"SELECT $1", (23,)), b"P\0\0\0\x16s\0SELECT $1\0\0\x01\0\0\0\x17"),
        (frontend.parse(b"", b""), b"P\0\0\0\x08\0\0\0\0"),
        (
            frontend.bind(b"p", b"s", (b"ab", None)),
            b"B\0\0\0\x18p\0s\0\0\0\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\0",
        ),
        (frontend.describe(b"S", b"s"), b"D\0\0\0\x07Ss\0"),
        (frontend.execute(b"p", 5), b"E\0\0\0\x0ap\0\0\0\0\x05"),
        (frontend.close(b"P", b"p"), b"C\0\0\0\x07Pp\0"),
        (frontend.copy_fail(b"no"), b"f\0\0\0\x07no\0"),
        (frontend.password(b"pw"), b"p\0\0\0\x07pw\0"),
        (frontend.sasl_initial_response("X", b"abc"), b"p\0\0\0\x0dX\0\0\0\0\x03abc"),
        (frontend.sasl_response(b"abc"), b"p\0\0\0\x07abc"),
        (frontend.SYNC, b"S\0\0\0\x04"),
        (frontend.FLUSH, b"H\0\0\0\x04"),
        (frontend.TERMINATE, b"X\0\0\0\x04"),
        (frontend.COPY_DONE, b"c\0\0\0\x04"),
        (frontend.SSL_REQUEST, b"\0\0\0\x08\x04\xd2\x16\x2f"),
        (frontend.startup({"user": "app"}), b"\0\0\0\x12\0\x03\0\0user\0app\0\0"),
        (frontend.cancel_request(7, b"1234"), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x071234"),
    ],
)
def test_messages_to_a_server_are_these_bytes(message: bytes, expected: bytes) -> None:
    assert message == expected


def test_a_startup_message_is_read_with_protocol_options_apart() -> None:
    message = frontend.startup({"user": "é", "_pq_.x": "1", "options": ""}, codes.PROTOCOL_3_2)
    assert read_first_message(message[4:]) == Startup(codes.PROTOCOL_3_2, {"user": "é", "options": ""}, {"_pq_.x": "1"})


@pytest.mark.parametrize("length", [4, 32, 256])
def test_a_cancel_request_may_have_a_long_key(length: int) -> None:
    assert read_first_message(frontend.cancel_request(9, b"k" * length)[4:]) == CancelRequest(9, b"k" * length)


@pytest.mark.parametrize("length", [0, 3, 257])
def test_a_cancel_request_with_an_impossible_key_is_refused(length: int) -> None:
    with pytest.raises(ProtocolViolation, match="cancel request"):
        read_first_message(frontend.cancel_request(9, b"k" * length)[4:])


@pytest.mark.parametrize("code", [codes.SSL_REQUEST, codes.GSSENC_REQUEST])
def test_requests_for_encryption_are_told_apart(code: int) -> None:
    assert read_first_message(int32(code)) == EncryptionRequest(code)
    with pytest.raises(ProtocolViolation):
        read_first_message(int32(code) + b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\x03",
        int32(codes.PROTOCOL_3_0),
        int32(codes.PROTOCOL_3_0) + b"user\0app\0",
        int32(codes.PROTOCOL_3_0) + b"user\0",
        int32(codes.PROTOCOL_3_0) + b"user\0app\0\0left over",
        int32(codes.PROTOCOL_3_0) + b"user\0\xff\0\0",
        int32(0x0002_0000) + b"user\0app\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_a_first_message_that_is_none_is_a_protocol_violation(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        read_first_message(body)


def test_another_protocol_version_is_named_in_the_error() -> None:
    with pytest.raises(ProtocolViolation, match=r"2\.0: server supports 3\.0 to 3\.2") as refused:
        read_first_message(int32(0x0002_0000))
    assert refused.value.sqlstate == "0A000"


@given(st.binary() | st.binary().map(lambda rest: int32(codes.PROTOCOL_3_0) + rest))
def test_garbage_is_a_protocol_violation_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(ProtocolViolation):
        read_first_message(body)


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(names, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_any_parameters_come_back_as_they_were_sent(parameters: dict[str, str]) -> None:
    message = read_first_message(frontend.startup(parameters)[4:])
    assert isinstance(message, Startup)
    assert message.parameters | message.protocol_options == parameters
