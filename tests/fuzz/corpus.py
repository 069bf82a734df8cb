"""Valid conversations, as lists of messages: where fuzzing begins."""

from __future__ import annotations

from typing import Final

from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame, int16, int32
from tests.support import messages as m

FRONTEND_TYPES: Final = b"QPBDECSHFXdcfp"
BACKEND_TYPES: Final = b"123CDEGHIKNRSTVWZAnstvcd"

_RUN: Final = (m.bind(), m.describe("P"), m.execute())


def _batch(*texts: str) -> list[bytes]:
    return [message for text in texts for message in (m.parse("", text), *_RUN)] + [m.SYNC]


def _prepared(**texts: str) -> list[bytes]:
    return [message for name, text in texts.items() for message in (m.parse(name, text), m.describe("S", name), m.SYNC)]


def _run(*names: str) -> list[bytes]:
    """As libpq runs prepared statements, one by one."""
    return [message for name in names for message in (m.bind(name), m.describe("P"), m.execute(), m.SYNC)]


_BLOCK: Final = _prepared(
    b="BEGIN", s="SELECT 1", f="SELECT 1/0", t="SET TimeZone = 'Asia/Tokyo'", c="COMMIT", r="ROLLBACK"
)


SCRIPTS: Final[tuple[list[bytes], ...]] = (
    [m.query("SELECT 1")],
    [m.query("SELECT 1; SELECT 'two'; SELECT 3")],
    [m.query(""), m.query(" ; "), m.query("SELECT 'notice'")],
    [m.query("BEGIN"), m.query("SELECT 1"), m.query("COMMIT"), m.query("SELECT 2")],
    [m.query("BEGIN"), m.query("SELECT 1/0"), m.query("SELECT 2"), m.query("ROLLBACK"), m.query("SELECT 3")],
    [m.query("BEGIN; SELECT 1; COMMIT; SELECT 2")],
    [
        m.query("BEGIN"),
        m.query("COMMIT AND NOW"),
        m.query("SELECT 1"),
        m.query("COMMIT /* now */"),
        m.query("SELECT 2"),
    ],
    [m.query("BEGIN"), m.query("COMMIT AND CHAIN"), m.query("SELECT 1"), m.query("ROLLBACK")],
    [m.query("BEGIN"), m.query("SAVEPOINT a"), m.query("SELECT 1/0"), m.query("ROLLBACK TO a"), m.query("COMMIT")],
    [m.query("SET TimeZone = 'Asia/Tokyo'"), m.query("SHOW TimeZone"), m.query("RESET TimeZone"), m.query("SELECT 1")],
    [m.query("SET work_mem = 'lots'"), m.query("SET work_mem = '3MB'"), m.query("RESET ALL"), m.query("SELECT 1")],
    [m.query("BEGIN"), m.query("SET DateStyle = 'German'"), m.query("ROLLBACK"), m.query("SELECT 1")],
    [m.query("SET LOCAL work_mem = '3MB'"), m.query("DISCARD ALL"), m.query("DEALLOCATE ALL")],
    [m.query("COPY orders FROM STDIN"), m.copy_data(b"1\tone\n"), m.copy_data(b"2\ttwo\n"), m.COPY_DONE],
    [m.query("COPY orders FROM STDIN"), m.copy_data(b"1\tone\n"), m.copy_fail(b"no more"), m.query("SELECT 1")],
    [m.query("COPY orders TO STDOUT"), m.query("SELECT 1")],
    [m.query("COPY orders FROM STDIN; SELECT 1"), m.copy_data(b"x"), m.COPY_DONE],
    _batch("SELECT 1"),
    _batch("SELECT 1", "SELECT 2"),
    _batch("BEGIN", "SELECT 1", "COMMIT"),
    _batch("BEGIN", "SELECT 1/0", "SELECT 2") + _batch("ROLLBACK"),
    [*_batch("SELECT 1/0", "SELECT 2"), m.query("SELECT 3")],
    _batch("SET TimeZone = 'Asia/Tokyo'") + _batch("SHOW TimeZone", "SELECT 1"),
    _batch(""),
    [*_batch("SELECT 1")[:-1], m.FLUSH, m.SYNC],
    [*_batch("SELECT 1")[:-1], m.query("SELECT 2")],  # a Query behind messages without Sync
    [m.parse("s", "SELECT $1"), m.describe("S", "s"), m.SYNC, m.bind("s", b"x"), m.execute(), m.SYNC],
    [m.parse("s", "SELECT 1"), m.SYNC, m.bind("s"), m.execute(max_rows=1), m.execute(), m.close("S", "s"), m.SYNC],
    [m.parse("s", "SELECT 1"), m.parse("s", "SELECT 2"), m.SYNC, m.parse("t", "SELECT 3"), m.close("S", "t"), m.SYNC],
    [m.parse("", "SELECT 1"), m.bind(portal="p"), m.execute("p", 1), m.close("P", "p"), m.SYNC],
    [
        m.query("BEGIN"),
        m.parse("", "SELECT 1"),
        m.bind(portal="p"),
        m.SYNC,
        m.execute("p", 1),
        m.SYNC,
        m.query("COMMIT"),
    ],
    [m.parse("", "COPY orders FROM STDIN"), m.bind(), m.execute(), m.copy_data(b"1\n"), m.COPY_DONE, m.SYNC],
    [m.parse("", "COPY orders FROM STDIN"), m.bind(), m.execute(), m.SYNC, m.copy_data(b"1\n"), m.COPY_DONE],
    [m.parse("", "SELECT 1"), m.bind(), m.execute(), m.copy_data(b"stray"), m.COPY_DONE, m.SYNC],
    [m.parse("s", "SELECT $1, $2"), m.bind("s", None, b"y" * 2000), m.execute(), m.SYNC],
    [m.parse("s", "SELECT $1"), m.bind("s", b"z" * 70_000), m.execute(), m.SYNC, m.query("SELECT 1")],
    [m.function_call(1598), m.query("BEGIN"), m.function_call(1598), m.query("ROLLBACK")],
    [m.close("S", "nothing"), m.close("P", "nothing"), m.describe("S", "nothing"), m.SYNC, m.SYNC],
    [m.query("SELECT set_config('app.tenant_id', 'umbrella', false)"), m.query("SET app.tenant_id = 'x'")],
    [m.query("SELECT set_config('work_mem', '4MB', false)"), m.query("SHOW work_mem")],
    [m.parse("", "SELECT set_config($1, $2, true)"), m.bind("", b"app.tenant_id", b"x"), m.execute(), m.SYNC],
    [m.query("SELECT 1"), m.TERMINATE],
    [*_BLOCK, *_run("b", "s", "s", "c", "s")],
    [*_BLOCK, *_run("b", "f", "s", "c", "s", "b", "s", "f", "r", "s")],
    [*_BLOCK, *_run("b", "t", "s", "c", "b", "s", "t", "r"), m.query("SHOW TimeZone")],
    [*_BLOCK, *_run("b", "b", "c", "c", "b", "r", "s")],
    [*_BLOCK, *(_run("b", "s", "c", "b", "s", "r") * 2), *_run("b", "t", "c"), *_run("b", "s", "c", "b", "s", "c")],
    [*_BLOCK, *_run("b", "s", "c", "b", "s"), m.query("SET LOCAL application_name = 'gatehouse'"), *_run("c", "s")],
    [*_BLOCK, *_run("b", "s", "c"), m.query("SET application_name = 'x'"), *_run("b", "s", "c", "b", "s", "c")],
    [*_BLOCK, *_run("b", "s", "c", "b", "s"), m.query("SET LOCAL DateStyle = 'German'"), *_run("c", "b", "s", "c")],
    [
        *_BLOCK,
        m.query("BEGIN"),
        *_run("s", "c"),
        *_run("b"),
        m.query("SELECT 1"),
        m.query("COMMIT"),
        m.query("SELECT 2"),
    ],
    [*_BLOCK, *_run("b"), *_batch("SELECT 1"), *_batch("SELECT 1"), m.query("end"), *_run("b"), m.query("SAVEPOINT a")],
)
"""What clients send after their login."""

DONORS: Final = tuple(dict.fromkeys(message for script in SCRIPTS for message in script))
"""Messages that may come where nobody expects them."""

BACKEND_DONORS: Final = (
    m.PARSED,
    m.BOUND,
    m.CLOSED,
    m.NO_DATA,
    m.EMPTY,
    m.SUSPENDED,
    m.NO_PARAMETERS,
    m.COPY_IN,
    m.COPY_DONE,
    m.complete("SELECT 1"),
    m.complete("ROLLBACK"),
    m.complete(""),
    m.ready("I"),
    m.ready("T"),
    m.ready("E"),
    frame(codes.READY_FOR_QUERY, b""),
    frame(codes.READY_FOR_QUERY, b"X"),
    frame(codes.READY_FOR_QUERY, b"\0"),
    frame(codes.READY_FOR_QUERY, b"II"),
    m.row(b"somebody else's"),
    m.row(None),
    frame(codes.DATA_ROW, b""),
    m.copy_data(b"somebody else's"),
    m.status("TimeZone", "Mars/Olympus"),
    m.status("client_encoding", "SJIS"),
    m.status("standard_conforming_strings", "off"),
    m.status("", ""),
    frame(codes.PARAMETER_STATUS, b"no end"),
    frame(codes.PARAMETER_STATUS, b""),
    m.failed("22012"),
    m.failed("42601", position=7),
    m.failed("26000"),
    m.failed("57P01"),
    m.failed("25P02"),
    backend.error_from_fields({"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating"}),
    backend.error_from_fields({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "failed", "P": "²"}),
    backend.error_from_fields({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "failed", "P": "9" * 5000}),
    backend.error_from_fields({}),
    frame(codes.ERROR_RESPONSE, b""),
    frame(codes.ERROR_RESPONSE, b"SERROR"),
    frame(codes.NOTICE_RESPONSE, b"\0"),
    m.notice("01000"),
    frame(codes.NOTIFICATION_RESPONSE, int32(1) + b"channel\0payload\0"),
    frame(codes.COPY_BOTH_RESPONSE, b"\0" + int16(0)),
    frame(codes.COPY_OUT_RESPONSE, b"\0" + int16(0)),
    frame(codes.FUNCTION_CALL_RESPONSE, int32(-1)),
    backend.authentication(codes.AUTH_OK),
    backend.authentication(codes.AUTH_CLEARTEXT),
    backend.authentication_sasl(["SCRAM-SHA-256"]),
    backend.backend_key_data(1, b"key!"),
    backend.negotiate_protocol_version(codes.PROTOCOL_3_0, ["_pq_.x"]),
    backend.row_description(["a"]),
    frame(0x00, b""),
    frame(0xFF, b"what is this"),
)
"""What a server may say when nobody expects it."""

FIRST_MESSAGES: Final = (
    frontend.startup({"user": "app.acme", "database": "saas"}),
    frontend.startup({"user": "app.acme"}, codes.PROTOCOL_3_2),
    frontend.startup({"user": "app", "tenant": "acme", "application_name": "fuzz", "_pq_.command_tag_format": "1"}),
    frontend.startup({"user": "app.acme", "options": "-c app.tenant_id=acme -cwork_mem=1MB --DateStyle=ISO\\ x"}),
    frontend.startup({"user": "app.acme", "replication": "database"}),
    frontend.startup({"user": "nobody", "database": "saas"}),
    frontend.SSL_REQUEST,
    int32(8) + int32(codes.GSSENC_REQUEST),
    frontend.cancel_request(1, b"key!"),
    frontend.cancel_request(7, b"k" * 32),
)
"""How a connection may begin."""
