"""Streams that once cost more than their own connection, one by one: what fuzzing found, kept small."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from proxy.errors import ProtocolViolation
from proxy.guard.verdicts import examine
from proxy.wire import backend, codes, frontend
from proxy.wire.buffer import frame
from tests.fuzz.cores import LOST, converse
from tests.fuzz.mutations import split_frames
from tests.support import messages as m
from tests.support.playbook import ACME, GLOBEX, Play

COPY = (m.parse("", "COPY orders FROM STDIN"), m.bind(), m.execute())


def told(*messages: bytes) -> str:
    """The types of what a client is told, in one piece; the session must have come to an end of what it can do."""
    outcome = converse([b"".join(messages)])
    assert outcome.end != LOST
    return "".join(chr(reply[0]) for reply in split_frames(outcome.to_client)) + (outcome.end and f" {outcome.end}")


def test_a_query_behind_messages_that_failed_is_skipped_up_to_sync() -> None:
    assert told(m.parse("", "SELEC 1"), m.query("SELECT 2"), m.SYNC, m.query("SELECT 3")) == "EZTDCZ"


def test_copy_data_may_come_before_they_are_asked_for() -> None:
    assert told(*COPY, m.copy_data(b"1\n"), m.COPY_DONE, m.SYNC) == "12GCZ"


@pytest.mark.parametrize(
    "between", [m.bind(), m.execute(), m.parse("s", "SELECT 1"), m.describe("P"), m.close("P", "p")]
)
def test_a_message_between_copy_and_its_sync_fails_the_copy_alone(between: bytes) -> None:
    assert told(*COPY, between, m.SYNC, m.query("SELECT 1")) == "12GEZTDCZ"


@pytest.mark.parametrize("body", [b"x", b"\0" * 2000])
def test_a_flush_with_a_body_is_a_protocol_violation(body: bytes) -> None:
    end = told(m.parse("", "SELECT 1"), frame(codes.FLUSH, body), m.parse("", "SELECT 2"), m.SYNC)
    assert end.endswith("08P01") or "E" in end


@pytest.mark.parametrize("body", [b"", b"S", b"P", b"\0", b"S\0", b"no end", b"Sno end"])
@pytest.mark.parametrize("code", b"EDCPB", ids=chr)
def test_a_message_that_ends_too_early_is_answered_with_an_error(code: int, body: bytes) -> None:
    """Compiled code slices bytes differently where the end lies before the beginning."""
    outcome = converse([b"".join((m.parse("", "SELECT 1"), m.bind(), frame(code, body), m.SYNC))])
    assert outcome.end in ("", "hung up 08P01")
    assert outcome.end or outcome.to_client.endswith(m.ready("I"))


LONG = b"\0" * 20_000


@pytest.mark.parametrize(
    "message",
    [
        frame(codes.EXECUTE, LONG),
        frame(codes.DESCRIBE, b"P" + LONG),
        frame(codes.DESCRIBE, b"S" + LONG),
        frame(codes.CLOSE, b"P" + LONG),
        frame(codes.SYNC, LONG),
    ],
)
def test_what_postgres_hangs_up_on_for_its_length_does_not_reach_it(message: bytes) -> None:
    assert told(m.parse("", "SELECT 1"), m.bind(), message, m.SYNC).endswith("hung up 08P01")


def test_a_long_copy_fail_does_not_reach_postgres() -> None:
    assert told(m.query("COPY orders FROM STDIN"), frontend.copy_fail(b"x" * 20_000)) == "G hung up 08P01"


def test_a_portal_has_one_name_where_postgres_cuts_it() -> None:
    """Execute by another name with the same 63 characters: the COMMIT in it must not leave the rest without context."""
    portal = "p" * 63
    commit = m.parse("", "COMMIT") + m.bind(portal=portal + "x") + m.execute(portal + "y")
    batch = [m.parse("", sql) + m.bind() + m.execute() for sql in ("BEGIN", "SELECT 1", "SELECT 2")]
    assert told(*batch[:2], commit, batch[2], m.SYNC) == "12C12DC12C12DCZ"


def in_transaction() -> Play:
    """A session in a block, its context in place."""
    play = Play()
    play.session.client_data(m.query("BEGIN"))
    play.feed(m.complete("BEGIN") + m.ready("T"))
    play.session.client_data(m.query("SELECT 1"))
    play.feed(m.complete("SET") + m.complete("SELECT 1") + m.ready("T"))
    play.take()
    return play


def test_portals_that_were_closed_take_no_memory() -> None:
    play = in_transaction()
    play.session.client_data(m.parse("", "SELECT 1") + m.SYNC)
    play.feed(m.PARSED + m.ready("T"))
    for number in range(300):
        name = f"{number}" + "x" * 5000
        play.session.client_data(m.bind(portal=name) + m.close("P", name) + m.SYNC)
        play.feed(m.BOUND + m.CLOSED + m.ready("T"))
    assert len(play.session.extended.portals) < 10
    play.take()


def busy() -> Play:
    """A session whose Query is under way."""
    play = Play()
    play.session.client_data(m.query("SELECT 1"))
    play.take()
    return play


@pytest.mark.parametrize("body", [b"", b"X", b"\0", b"II"])
def test_a_ready_for_query_that_can_not_be_is_a_protocol_violation(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        busy().feed(m.complete("SET") + m.complete("SELECT 1") + frame(codes.READY_FOR_QUERY, body))


@pytest.mark.parametrize("position", ["²", "9" * 5000, "-1", ""])
def test_an_error_position_that_is_no_number_is_passed_on(position: str) -> None:
    play = busy()
    error = backend.error_from_fields({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "failed", "P": position})
    play.feed(error + m.ready("I"))
    assert b"".join(did.data for did in play.take() if did.what == "to_client") == error + m.ready("I")


@pytest.mark.parametrize(
    "unasked", [m.row(b"x"), m.complete("SELECT 1"), m.ready("T"), frame(0, b""), backend.AUTHENTICATION_OK]
)
def test_a_reply_that_nobody_is_owed_is_a_protocol_violation(unasked: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        in_transaction().feed(unasked)


def test_an_unasked_copy_in_response_is_a_protocol_violation() -> None:
    with pytest.raises(ProtocolViolation):
        in_transaction().feed(m.COPY_IN)


def test_a_parameter_whose_name_is_no_utf8_is_reported_in_a_transaction() -> None:
    play = in_transaction()
    play.session.client_data(m.query("SELECT 1"))
    play.take()
    report = backend.parameter_status(b"extension.gr\xf6\xdfe", b"\xfc")
    play.feed(report + m.complete("SELECT 1") + m.ready("T"))
    assert report in b"".join(did.data for did in play.take() if did.what == "to_client")


# What is quadratic stops everybody. The limit is generous; what was quadratic took minutes.

LIMIT_S = 5.0


def pieces(data: bytes) -> Iterable[bytes]:
    """As a socket gives them."""
    return (data[at : at + 65_536] for at in range(0, len(data), 65_536))


def test_a_long_notice_in_many_pieces_takes_no_longer_than_its_length() -> None:
    play = busy()
    notice = backend.notice_response("01000", "x" * 40_000_000)
    began = time.process_time()
    for piece in pieces(m.complete("SET") + notice + m.complete("SELECT 1") + m.ready("I")):
        play.feed(piece)
    assert time.process_time() - began < LIMIT_S
    assert sum(len(did.data) for did in play.take()) > 40_000_000


@pytest.mark.parametrize("tenant", [ACME, GLOBEX], ids=["shared", "schema"])
@pytest.mark.parametrize("setting", ["search_path", "temp_tablespaces"])
@pytest.mark.parametrize("tail", ['!"', "a b", '"', ","])
def test_a_long_list_of_blanks_in_a_setting_is_read_once(tenant: object, setting: str, tail: str) -> None:
    play = Play(tenant)  # type: ignore[arg-type]
    began = time.process_time()
    play.session.client_data(m.query(f"SELECT set_config('{setting}', '{' ' * 100_000}{tail}', false)"))
    assert time.process_time() - began < LIMIT_S
    play.take()


REPEATED = b" ( ' \" $ $a$ /* */ -- ; U&\" E'\\ a. :: 'a'\n \x80 1e @- $1 'a', set_config( BEGIN; SET a.b=1; EXPLAIN COPY( WITH".split(
    b" "
)


@pytest.mark.parametrize("start", [b"", b"SELECT ", b"SET x TO ", b"SELECT set_config(", b"WITH a AS ("])
def test_a_long_text_is_judged_in_time_that_grows_with_its_length(start: bytes) -> None:
    for piece in (*REPEATED, b" "):
        began = time.process_time()
        examine(start + piece * (50_000 // max(1, len(piece))))
        assert time.process_time() - began < LIMIT_S, piece
