"""Replies owed: what the client sees of a server's bytes, what its session is told, and what the server may not say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ContextFailed, ContextProtected, ProtocolViolation, ProxyError
from proxy.server.ledger import Ledger
from proxy.server.parameters import absorb
from proxy.server.units import (
    BIND,
    CLOSE,
    DESCRIBE,
    DROP,
    EXECUTE,
    INJECTED,
    LOCAL,
    NOTED,
    PARSE,
    QUERY,
    STATEMENT,
    SYNC,
    Capture,
    Description,
    Effect,
    Eviction,
    LocalReply,
    Note,
    ParseRecord,
    PositionMap,
    Refusal,
)
from proxy.wire import backend, codes
from proxy.wire.backend import ErrorFields
from proxy.wire.buffer import frame, int16
from tests.support.messages import (
    BOUND,
    CLOSED,
    COPY_IN,
    EMPTY,
    NO_DATA,
    PARSED,
    SUSPENDED,
    complete,
    copy_data,
    failed,
    notice,
    ready,
    row,
    status,
)

COLUMNS = backend.row_description(["a"])
NOTIFICATION = frame(codes.NOTIFICATION_RESPONSE, b"\0\0\0\x01jobs\0\0")
INJECTION = STATEMENT | DROP | INJECTED


class Owner:
    """Writes down what it is told; a context that fails is Gatehouse's fault unless `passes_on`."""

    def __init__(self, *, passes_on: bool = False) -> None:
        self.told: list[str] = []
        self._passes_on = passes_on

    def statement_completed(self, effect: Effect, tag: bytes) -> None:
        self.told.append(f"completed {effect.statement} {tag.decode()}")

    def value_captured(self, capture: Capture) -> None:
        self.told.append(f"captured {capture.name}={capture.value!r}")

    def can_mend(self, frame: bytes) -> bool:
        return False

    def mend(self) -> None:
        self.told.append("mended")

    def described(self, note: Description) -> None:
        self.told.append(f"described {note.columns!r}")

    def parse_undone(self, record: ParseRecord) -> None:
        self.told.append(f"undone {record.server_name.decode()}/{(record.client_name or b'-').decode()}")

    def close_undone(self, note: LocalReply | Eviction) -> None:
        name = note.server_name if isinstance(note, Eviction) else note.data
        self.told.append(f"not closed {name.decode()}")

    def copy_in_started(self) -> None:
        self.told.append("copy in")

    def injection_failed(self, fields: ErrorFields) -> ProxyError | None:
        self.told.append(f"injection failed {fields['C']}")
        return None if self._passes_on else ContextFailed("no context")

    def error_reported(self) -> None:
        self.told.append("error")

    def internal_ready(self, status: int) -> None:
        self.told.append(f"internal {chr(status)}")


def ledger_of(units: Sequence[int], notes: Sequence[Note] = (), owner: Owner | None = None) -> tuple[Ledger, Owner]:
    owner = owner or Owner()
    ledger = Ledger(owner)
    ledger.units.extend(units)
    ledger.notes.extend(notes)
    return ledger, owner


def seen(ledger: Ledger, *chunks: bytes) -> bytes:
    """What the client sees of these bytes, ReadyForQuery put back where it stood."""
    out = []
    for chunk in chunks:
        ledger.feed(chunk)
        while found := ledger.advance():
            ledger.out.append(backend.READY[found])
        out += ledger.out
        ledger.out.clear()
    return b"".join(out)


CONTEXT_ERROR = backend.error_response(ContextFailed("no context"))


# What is forwarded.


@pytest.mark.parametrize(
    ("units", "replies"),
    [
        ([QUERY], COLUMNS + row(b"1") + row(b"2") + complete("SELECT 2")),
        ([QUERY], EMPTY),
        ([QUERY], complete("SELECT 0") + notice("01000") + NOTIFICATION + complete("SELECT 0")),
        ([STATEMENT, STATEMENT, QUERY], complete("BEGIN") + EMPTY),
        ([STATEMENT, QUERY], frame(codes.COPY_OUT_RESPONSE, b"\0\0\0") + copy_data(b"1\n") + complete("COPY 1")),
        ([PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC], PARSED + BOUND + COLUMNS + complete("SELECT 0") + CLOSED),
        ([DESCRIBE, DESCRIBE, SYNC], frame(codes.PARAMETER_DESCRIPTION, int16(0)) + NO_DATA + COLUMNS),
        ([EXECUTE, EXECUTE, EXECUTE, SYNC], row(b"1") + SUSPENDED + EMPTY + complete("SELECT 0")),
        ([QUERY], frame(codes.FUNCTION_CALL_RESPONSE, b"\xff\xff\xff\xff")),
    ],
)
def test_a_clients_replies_pass_untouched_up_to_its_ready_for_query(units: list[int], replies: bytes) -> None:
    ledger, owner = ledger_of(units)
    ledger.feed(replies + ready("T"))
    assert ledger.advance() == codes.IN_TRANSACTION
    assert b"".join(ledger.out) == replies
    assert ledger.is_settled
    assert owner.told == []


def test_each_ready_for_query_of_a_client_is_a_stop() -> None:
    ledger, _ = ledger_of([QUERY, QUERY])
    ledger.feed(complete("BEGIN") + ready("T") + complete("COMMIT") + ready("I"))
    assert ledger.advance() == codes.IN_TRANSACTION
    assert b"".join(ledger.out) == complete("BEGIN")
    assert not ledger.is_settled
    assert ledger.advance() == codes.IDLE
    assert b"".join(ledger.out) == complete("BEGIN") + complete("COMMIT")
    assert ledger.advance() == 0
    assert ledger.status == codes.IDLE


# What is dropped.


def test_what_the_context_answers_is_dropped_in_a_query() -> None:
    ledger, _ = ledger_of([INJECTION, INJECTION, QUERY])
    replies = complete("SET") + notice("01000") + complete("SET") + row(b"1") + complete("SELECT 1") + ready("I")
    assert seen(ledger, replies) == row(b"1") + complete("SELECT 1") + ready("I")


def test_what_the_context_answers_is_dropped_in_a_batch() -> None:
    drop = DROP | INJECTED
    ledger, _ = ledger_of([PARSE | drop, BIND | drop, EXECUTE | drop, PARSE, BIND, EXECUTE, SYNC])
    context = PARSED + BOUND + row(b"acme") + complete("SELECT 1")
    client = PARSED + BOUND + row(b"1") + complete("SELECT 1") + ready("I")
    assert seen(ledger, context + client) == client


def test_a_query_of_the_proxys_own_is_dropped_with_its_ready_for_query() -> None:
    ledger, owner = ledger_of([INJECTION, QUERY | DROP | INJECTED, PARSE, SYNC])
    assert seen(ledger, complete("SET") + ready("T") + PARSED + ready("T")) == PARSED + ready("T")
    assert owner.told == ["internal T"]


def test_a_notification_is_the_clients_whatever_it_comes_behind() -> None:
    ledger, _ = ledger_of([INJECTION, QUERY])
    assert seen(ledger, NOTIFICATION + complete("SET") + EMPTY + ready("I")) == NOTIFICATION + EMPTY + ready("I")


# Notes.


def test_the_success_of_a_noted_statement_is_told() -> None:
    ledger, owner = ledger_of([STATEMENT | NOTED, EXECUTE | NOTED, SYNC], [Effect("first"), Effect("second")])
    assert seen(ledger, complete("SET") + complete("COMMIT") + ready("I")) == complete("SET") + complete(
        "COMMIT"
    ) + ready("I")
    assert owner.told == ["completed first SET", "completed second COMMIT"]


def test_the_client_sees_the_tag_of_what_it_wrote() -> None:
    ledger, owner = ledger_of([STATEMENT | NOTED, QUERY], [Effect("reset", b"RESET")])
    assert seen(ledger, complete("SET") + ready("I")) == complete("RESET") + ready("I")
    assert owner.told == ["completed reset SET"]


def test_a_noted_statement_that_is_suspended_has_run() -> None:
    # Nothing but a set_config() can be.
    ledger, owner = ledger_of([EXECUTE | NOTED, SYNC], [Effect("x")])
    assert seen(ledger, SUSPENDED + ready("T")) == SUSPENDED + ready("T")
    assert owner.told == ["completed x "]


def test_a_warning_about_the_proxys_own_set_local_is_not_the_clients() -> None:
    ledger, _ = ledger_of([STATEMENT | NOTED, QUERY], [Effect("x", is_rewritten=True)])
    replies = notice("25P01") + notice("01000") + complete("SET") + ready("I")
    assert seen(ledger, replies) == notice("01000") + complete("SET") + ready("I")
    ledger, _ = ledger_of([STATEMENT | NOTED, QUERY], [Effect("x")])
    assert seen(ledger, replies) == replies


def test_a_value_that_was_asked_for_unseen_is_captured() -> None:
    units = [STATEMENT | NOTED, STATEMENT | DROP | NOTED, QUERY]
    ledger, owner = ledger_of(units, [Effect("set"), Capture("timezone")])
    replies = complete("SET") + COLUMNS + row(b"Europe/Vienna") + complete("SHOW") + ready("I")
    assert seen(ledger, replies) == complete("SET") + ready("I")
    assert owner.told == ["completed set SET", "captured timezone=b'Europe/Vienna'"]


def test_local_replies_come_when_all_before_them_has_come() -> None:
    units = [PARSE, LOCAL | NOTED, LOCAL | NOTED, EXECUTE, LOCAL | NOTED, SYNC]
    ledger, _ = ledger_of(units, [LocalReply(b"<one>"), LocalReply(b"<two>"), LocalReply(b"<three>")])
    assert seen(ledger, PARSED) == PARSED + b"<one><two>"
    assert seen(ledger, row(b"1") + complete("SELECT 1")) == row(b"1") + complete("SELECT 1") + b"<three>"
    assert seen(ledger, ready("I")) == ready("I")
    assert ledger.is_settled


def test_local_replies_come_behind_what_is_dropped_too() -> None:
    units = [STATEMENT | DROP, QUERY | DROP, LOCAL | NOTED, EXECUTE | DROP, LOCAL | NOTED, SYNC]
    ledger, _ = ledger_of(units, [LocalReply(b"<one>"), LocalReply(b"<two>")])
    assert seen(ledger, complete("SET") + ready("T")) == b"<one>"
    assert seen(ledger, complete("SELECT 1") + ready("T")) == b"<two>" + ready("T")


# Errors.

BATCH = (PARSE, BIND, DESCRIBE, EXECUTE, LOCAL | NOTED, CLOSE)
REPLIES = (PARSED, BOUND, NO_DATA, complete("SELECT 0"), CLOSED)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("is_synced", [True, False])
def test_an_error_at_any_point_of_a_batch_ends_what_is_owed_up_to_the_sync(place: int, is_synced: bool) -> None:
    ledger, owner = ledger_of([*BATCH, *[SYNC] * is_synced], [LocalReply(b"<local>", b"mine")])
    ledger.parses.append(ParseRecord(b"srv", b"cli"))
    before = b"".join(REPLIES[:place]) + (b"<local>" if place > 3 else b"")
    assert seen(ledger, b"".join(REPLIES[:place]) + failed("22012")) == before + failed("22012")
    undone = (["undone srv/cli"] if place == 0 else []) + (["undone /mine"] if place <= 3 else [])
    assert sorted(owner.told) == sorted([*undone, "error"])
    assert not ledger.notes
    assert not ledger.parses
    assert ledger.skipping is not is_synced
    if not is_synced:
        ledger.units.append(SYNC)
    assert seen(ledger, ready("E")) == ready("E")
    assert ledger.is_settled
    assert not ledger.skipping


@pytest.mark.parametrize("place", range(4))
def test_an_error_at_any_point_of_a_query_ends_the_query(place: int) -> None:
    notes: list[Note] = [Effect("a"), Capture("b"), Effect("c")]
    ledger, owner = ledger_of([STATEMENT, STATEMENT | NOTED, STATEMENT | DROP | NOTED, STATEMENT | NOTED, QUERY], notes)
    replies = [complete("BEGIN"), complete("SET"), row(b"x") + complete("SHOW"), complete("COMMIT")]
    visible = [complete("BEGIN"), complete("SET"), b"", complete("COMMIT")]
    assert seen(ledger, b"".join(replies[:place]) + failed("22012") + ready("I")) == (
        b"".join(visible[:place]) + failed("22012") + ready("I")
    )
    assert owner.told == [*["completed a SET"][: place > 1], *["captured b=b'x'"][: place > 2], "error"]
    assert not ledger.notes
    assert ledger.is_settled


def test_notes_behind_an_error_belong_to_no_later_statement() -> None:
    units = [EXECUTE, LOCAL | NOTED, EXECUTE | NOTED, SYNC]
    ledger, owner = ledger_of(units, [LocalReply(b"<local>"), Effect("skipped")])
    assert seen(ledger, failed("22012") + ready("I")) == failed("22012") + ready("I")
    ledger.units.extend([STATEMENT | NOTED, QUERY])
    ledger.notes.append(Effect("later"))
    assert seen(ledger, complete("SET") + ready("I")) == complete("SET") + ready("I")
    assert owner.told == ["error", "completed later SET"]


def test_a_close_that_an_error_made_the_server_skip_is_told() -> None:
    units = [EXECUTE, CLOSE | DROP | NOTED, LOCAL | NOTED, SYNC]
    notes: list[Note] = [Eviction(b"srv"), LocalReply(b"<closed>", closes=(b"s", object()))]
    ledger, owner = ledger_of(units, notes)
    assert seen(ledger, failed("22012") + ready("I")) == failed("22012") + ready("I")
    assert sorted(owner.told) == ["error", "not closed <closed>", "not closed srv"]
    ledger, owner = ledger_of(units, notes)
    assert seen(ledger, complete("SELECT 0") + CLOSED + ready("I")) == complete("SELECT 0") + b"<closed>" + ready("I")
    assert owner.told == []


def test_the_client_reads_gatehouses_reason_for_what_was_sent_only_to_fail() -> None:
    refusal = ContextProtected("not yours", hint="No.")
    for units in ([BIND | NOTED, SYNC], [STATEMENT | NOTED, QUERY]):
        ledger, owner = ledger_of(units, [Refusal(refusal)])
        assert seen(ledger, failed("26000") + ready("E")) == backend.error_response(refusal) + ready("E")
        assert owner.told == ["error"]


def test_a_context_that_fails_in_a_batch_is_reported_in_gatehouses_words() -> None:
    drop = DROP | INJECTED
    ledger, owner = ledger_of([BIND | drop, EXECUTE | drop, PARSE, SYNC])
    ledger.parses.append(ParseRecord(b"srv", b"cli"))
    assert seen(ledger, BOUND + failed("42704") + ready("I")) == CONTEXT_ERROR + ready("I")
    assert owner.told == ["undone srv/cli", "injection failed 42704", "error"]


def test_a_context_that_fails_in_the_same_query_is_reported_in_gatehouses_words() -> None:
    ledger, _ = ledger_of([INJECTION, QUERY])
    assert seen(ledger, failed("42704") + ready("I")) == CONTEXT_ERROR + ready("I")


@pytest.mark.parametrize("sqlstate", ["42601", "22021"])
def test_what_postgresql_can_not_read_is_the_clients_own_error(sqlstate: str) -> None:
    ledger, owner = ledger_of([INJECTION, QUERY])
    ledger.positions = 40
    assert seen(ledger, failed(sqlstate, position=45) + ready("I")) == failed(sqlstate, position=5) + ready("I")
    assert owner.told == ["error"]


def test_a_context_that_fails_in_a_query_of_its_own_explains_the_clients_error_behind_it() -> None:
    ledger, owner = ledger_of([INJECTION, QUERY | DROP | INJECTED, PARSE, BIND, SYNC])
    assert seen(ledger, failed("42704") + ready("E")) == b""
    assert owner.told == ["injection failed 42704", "internal E"]
    assert seen(ledger, failed("25P02") + ready("E")) == CONTEXT_ERROR + ready("E")


def test_a_cancel_that_hits_the_context_is_told_in_postgresqls_words() -> None:
    ledger, _ = ledger_of([INJECTION, QUERY], owner=Owner(passes_on=True))
    assert seen(ledger, failed("57014") + ready("I")) == failed("57014") + ready("I")


def test_a_failed_context_explains_no_error_of_a_later_segment() -> None:
    """Describe of a statement without rows succeeds in a failed transaction: nothing takes the explanation."""
    ledger, _ = ledger_of([INJECTION, QUERY | DROP | INJECTED, DESCRIBE, SYNC])
    seen(ledger, failed("42704") + ready("E") + NO_DATA + ready("E"))
    ledger.units.append(QUERY)
    assert seen(ledger, failed("42703") + ready("E")) == failed("42703") + ready("E")


def test_a_servers_farewell_is_noticed_and_passed_on() -> None:
    farewell = backend.error_from_fields({"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating"})
    for units in ([INJECTION, QUERY], [QUERY], []):
        ledger, _ = ledger_of(units)
        assert seen(ledger, farewell) == farewell
        assert ledger.has_said_farewell


# Positions.


def test_positions_are_moved_back_and_other_fields_are_left_as_they_are() -> None:
    raw = b"SERROR\0VERROR\0C42703\0M caf\xe9 \xff\0P50\0p7\0Fx.c\0L1\0\0"
    ledger, _ = ledger_of([QUERY])
    ledger.positions = 40
    assert seen(ledger, frame(codes.ERROR_RESPONSE, raw)) == frame(
        codes.ERROR_RESPONSE, raw.replace(b"P50\0", b"P10\0")
    )


@pytest.mark.parametrize(("sent", "client"), [(1, 1), (10, 1), (11, 1), (12, 2)])
def test_a_position_is_never_below_one(sent: int, client: int) -> None:
    ledger, _ = ledger_of([QUERY])
    ledger.positions = 10
    assert seen(ledger, failed("42703", position=sent)) == failed("42703", position=client)


def test_positions_count_for_one_query_only() -> None:
    ledger, _ = ledger_of([QUERY, QUERY])
    ledger.positions = PositionMap(b"SET LOCAL a", ((3, 6),))
    assert seen(ledger, failed("42703", position=11) + ready("I")) == failed("42703", position=5) + ready("I")
    assert seen(ledger, failed("42703", position=11) + ready("I")) == failed("42703", position=11) + ready("I")


# ParameterStatus.


def test_reported_parameters_are_kept_for_the_session_to_judge() -> None:
    ledger, _ = ledger_of([QUERY])
    replies = complete("SET") + status("TimeZone", "UTC") + status("default_transaction_read_only", "on") + ready("I")
    assert seen(ledger, replies) == complete("SET") + ready("I")
    parameters = {b"TimeZone": b"GMT", b"DateStyle": b"ISO"}
    parameters = absorb(ledger.reported, parameters)
    assert parameters == {b"TimeZone": b"UTC", b"DateStyle": b"ISO"}
    assert not ledger.reported


# COPY.


def test_a_sync_that_came_with_the_execute_of_a_copy_is_owed_no_answer() -> None:
    ledger, owner = ledger_of([PARSE, BIND, EXECUTE, SYNC])
    assert seen(ledger, PARSED + BOUND + COPY_IN) == PARSED + BOUND + COPY_IN
    assert owner.told == ["copy in"]
    ledger.units.append(SYNC)
    assert seen(ledger, complete("COPY 1") + ready("I")) == complete("COPY 1") + ready("I")
    assert ledger.is_settled


def test_copies_in_a_query_ask_each_for_their_data() -> None:
    ledger, owner = ledger_of([INJECTION, QUERY])
    seen(ledger, complete("SET") + COPY_IN + complete("COPY 1") + COPY_IN + complete("COPY 2") + ready("I"))
    assert owner.told == ["copy in", "copy in"]


# Large messages.


def test_a_huge_row_is_passed_on_in_the_pieces_it_comes_in() -> None:
    ledger, _ = ledger_of([QUERY])
    huge = row(b"x" * 1_000_000)
    for start in range(0, len(huge), 100_000):
        assert seen(ledger, huge[start : start + 100_000]) == huge[start : start + 100_000]
        assert not ledger.is_settled
    assert seen(ledger, complete("SELECT 1") + ready("I")) == complete("SELECT 1") + ready("I")


def test_a_huge_row_that_nobody_shall_see_is_not_held() -> None:
    ledger, _ = ledger_of([EXECUTE | DROP, SYNC])
    huge = row(b"x" * 1_000_000)
    assert seen(ledger, row(b"1") + huge[:10], huge[10:600_000], huge[600_000:] + complete("SELECT 2")) == b""
    assert seen(ledger, ready("I")) == ready("I")


def test_another_message_that_is_huge_is_a_protocol_violation_before_it_is_received() -> None:
    ledger, _ = ledger_of([QUERY])
    ledger.feed(b"T" + (100 * 1024 * 1024).to_bytes(4, "big"))
    with pytest.raises(ProtocolViolation, match="too large"):
        ledger.advance()


# What a server can not mean.


@pytest.mark.parametrize("code", b"TCIHcVDd12n3sGt")
def test_a_reply_that_is_owed_to_nobody_reaches_nobody(code: int) -> None:
    ledger, _ = ledger_of([])
    ledger.feed(frame(code, bytes(4)))
    with pytest.raises(ProtocolViolation, match="unasked"):
        ledger.advance()
    assert not ledger.out


def test_a_row_that_is_owed_to_nobody_is_not_waited_for() -> None:
    """Its rest could come when somebody is owed rows."""
    ledger, _ = ledger_of([])
    ledger.feed(row(bytes(100))[:10])
    with pytest.raises(ProtocolViolation, match="unasked"):
        ledger.advance()


@pytest.mark.parametrize(
    ("units", "replies", "message"),
    [
        ([], ready("I"), "unasked"),
        ([QUERY], ready("I") + ready("I"), "unasked"),
        ([PARSE, SYNC], ready("I"), "other replies are owed"),
        ([QUERY], b"C\0\0\0\x03", "invalid message length"),
        ([QUERY], frame(codes.ERROR_RESPONSE, b"Cno end") * 2, "invalid string"),
    ],
)
def test_replies_that_make_no_sense_are_a_protocol_violation(units: list[int], replies: bytes, message: str) -> None:
    ledger, _ = ledger_of(units)
    ledger.positions = 1
    with pytest.raises(ProtocolViolation, match=message):
        seen(ledger, replies)


def test_statements_that_postgresql_did_not_get_to_are_not_waited_for() -> None:
    """COPY or an error can end a string early without an answer for each statement."""
    ledger, _ = ledger_of([STATEMENT, STATEMENT | NOTED, QUERY], [Effect("x")])
    assert seen(ledger, complete("SELECT 1") + ready("I")) == complete("SELECT 1") + ready("I")
    assert ledger.is_settled
    assert not ledger.notes


# Any split.

STORIES: list[tuple[list[int], list[Note], list[ParseRecord], bytes]] = [
    (
        [INJECTION, STATEMENT | NOTED, STATEMENT | DROP | NOTED, STATEMENT, QUERY],
        [Effect("set", b"RESET"), Capture("timezone")],
        [],
        complete("SET") + notice("01000") + complete("SET") + COLUMNS + row(b"UTC") + complete("SHOW")
        + COLUMNS + row(b"x" * 50) + row(None) + status("TimeZone", "UTC") + complete("SELECT 2") + ready("T"),
    ),
    (
        [PARSE | DROP | INJECTED, BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED, PARSE, LOCAL | NOTED, BIND, EXECUTE, SYNC],
        [LocalReply(b"<local>")],
        [ParseRecord(b"ctx", None), ParseRecord(b"srv", b"cli")],
        PARSED + BOUND + row(b"acme") + complete("SELECT 1") + PARSED + BOUND + row(b"y" * 40)
        + failed("22012", position=12) + ready("I"),
    ),
    (
        [INJECTION, QUERY | DROP | INJECTED, BIND, EXECUTE, SYNC],
        [],
        [],
        failed("42704") + ready("E") + failed("25P02") + ready("E"),
    ),
    (
        [BIND, EXECUTE, SYNC],
        [],
        [],
        BOUND + COPY_IN + NOTIFICATION,
    ),
]  # fmt: skip


@given(st.data(), st.sampled_from(range(len(STORIES))))
def test_any_split_of_the_servers_bytes_gives_the_same_bytes_and_the_same_calls(
    data: st.DataObject, which: int
) -> None:
    units, notes, parses, replies = STORIES[which]

    def play(*chunks: bytes) -> tuple[bytes, list[str], list[int], int]:
        fresh = [Capture(note.name) if isinstance(note, Capture) else note for note in notes]
        ledger, owner = ledger_of(units, fresh)
        ledger.parses.extend(parses)
        ledger.positions = 3
        return seen(ledger, *chunks), owner.told, list(ledger.units), ledger.status

    cuts = sorted(data.draw(st.sets(st.integers(1, len(replies) - 1), max_size=20)))
    assert play(*(replies[a:b] for a, b in zip([0, *cuts], [*cuts, len(replies)], strict=True))) == play(replies)


@given(st.binary(max_size=60), st.lists(st.sampled_from([*BATCH[:4], QUERY, STATEMENT, SYNC | DROP]), max_size=4))
def test_any_bytes_of_a_server_are_understood_or_a_protocol_violation(data: bytes, units: list[int]) -> None:
    ledger, _ = ledger_of(units)
    ledger.feed(data)
    try:
        while ledger.advance():
            pass
    except ProtocolViolation:
        pass


def test_an_answer_of_known_bytes_is_taken_whole_or_not_at_all() -> None:
    answer = complete("DISCARD ALL") + ready("I")
    for data, is_taken in (
        (answer, True),
        (answer[:-1], False),
        (answer + b"N", False),
        (failed("57014") + ready("I"), False),
    ):
        ledger = Ledger(Owner())
        ledger.units.append(QUERY)
        ledger.feed(data)
        assert ledger.take_exactly(answer) is is_taken
        assert bool(ledger.units) is not is_taken
