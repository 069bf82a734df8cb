"""A session from its first byte to its last: servers it waits for, COPY, streams, limits, bytes that are no protocol."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.client.session_terms import SessionLimits
from proxy.errors import PoolTimeout, QueryCanceled, ShuttingDown, TenantUnavailable
from proxy.wire import codes
from proxy.wire.buffer import frame
from proxy.wire.trace import backend_lines, frontend_lines
from tests.support.messages import (
    BOUND,
    COPY_DONE,
    COPY_IN,
    FLUSH,
    NO_DATA,
    NO_PARAMETERS,
    PARSED,
    SYNC,
    TERMINATE,
    bind,
    close,
    complete,
    copy_data,
    copy_fail,
    describe,
    execute,
    failed,
    parse,
    query,
    ready,
    row,
    status,
)
from tests.support.playbook import (
    CONTEXT_RAN,
    PARSE_CONTEXT,
    PREFIX,
    RUN_CONTEXT,
    Limits,
    Play,
    Plays,
    acquire,
    cancel_now,
    client,
    closes,
    granted,
    hang_up,
    on_server,
    refused,
    release,
    server,
    tells,
    to_client,
    to_server,
)
from tests.support.scenes import SELECT, SELECTED, in_block, in_place, prepared

COPY = "COPY t FROM STDIN"


# Servers.


def test_nothing_of_the_client_is_lost_while_it_waits_for_a_server(play: Plays) -> None:
    book = play(waits=True) >> client(query("SELECT 1")) << acquire()
    (
        book
        >> client(*SELECT)
        >> granted()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
        << acquire()
        >> granted()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *SELECT)
    )


def test_a_query_for_which_there_is_no_server_fails_and_the_next_one_may_fare_better(play: Plays) -> None:
    (
        play(waits=True)
        >> client(query("SELECT 1"), query("SELECT 2"))
        << acquire()
        >> refused(PoolTimeout("no server became free within 15 s"))
        << acquire()
        << tells("53300", ready("I"))
        >> granted()
        << to_server(query(PREFIX + "SELECT 2"))
    )


def test_a_batch_for_which_there_is_no_server_fails_as_a_whole(play: Plays) -> None:
    (
        play(waits=True)
        >> client(*SELECT[:2])
        << acquire()
        >> refused(PoolTimeout("no server became free within 15 s"))
        << tells("53300")
        >> client(*SELECT[2:])
        << to_client(ready("I"))
    )


def test_a_server_that_is_refused_at_once_fails_each_segment_for_itself(play: Plays) -> None:
    book = play()
    book.refusal = TenantUnavailable('tenant "acme" is suspended', hint="Ask.")
    for segment in (query("SELECT 1"), b"".join(SELECT), close("P", "p") + SYNC):
        book >> client(segment) << acquire() << tells("57P03", ready("I"), hint=True)
    book.refusal = None
    book >> client(query("SELECT 1")) << acquire() << to_server(query(PREFIX + "SELECT 1"))


def test_a_fatal_refusal_ends_the_connection(play: Plays) -> None:
    (
        play(waits=True)
        >> client(query("SELECT 1"))
        << acquire()
        >> refused(ShuttingDown("terminating connection"))
        << hang_up("57P01")
        >> client(query("SELECT 2"))
    )


def test_a_cancel_while_waiting_fails_the_query_and_nothing_runs(play: Plays) -> None:
    (
        play(waits=True)
        >> client(query("SELECT 1"))
        << acquire()
        >> refused(QueryCanceled("canceling statement due to user request"))
        << tells("57014", ready("I"))
    )


def test_the_input_is_full_when_a_client_sends_more_than_its_buffer_while_it_waits(play: Plays) -> None:
    limits = Limits(session=SessionLimits(4_000_000, 1_000_000, 100, 10))
    book = play(waits=True, limits=limits)
    filled = []
    for happens in (
        client(query("SELECT 1")),
        client(query("x" * 100)),
        granted(),
        server(complete("SET"), complete("SELECT 1"), ready("I")),
        granted(),
    ):
        book >> happens
        book.take()
        filled.append(book.session.input_is_full)
    assert filled == [False, True, True, True, False]


def test_one_query_at_a_time_is_under_way(play: Plays) -> None:
    (
        play()
        >> client(query("BEGIN"), query("SELECT 1"), query("COMMIT"))
        << acquire()
        << to_server(query("BEGIN"))
        >> server(complete("BEGIN"), ready("T"))
        << to_client(complete("BEGIN"), ready("T"))
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("T"))
        << to_client(complete("SELECT 1"), ready("T"))
        << to_server(query("COMMIT"))
        >> server(complete("COMMIT"), ready("I"))
        << to_client(complete("COMMIT"), ready("I"))
        << release()
    )


def test_a_session_knows_whether_ending_it_would_lose_something(play: Plays) -> None:
    book = play()
    assert book.session.is_between_transactions
    book = in_block(play)
    assert not book.session.is_between_transactions


def test_the_settings_that_must_hold_before_a_transaction_are_put_on_the_server_first(play: Plays) -> None:
    book = play(startup={"default_transaction_isolation": ("serializable",)})
    (
        book
        >> client(query("BEGIN"))
        << acquire()
        << to_server(query("SET SESSION \"default_transaction_isolation\" TO 'serializable'"), query("BEGIN"))
        >> server(complete("SET"), ready("I"))
        << cancel_now()
        >> server(complete("BEGIN"), ready("T"))
        << to_client(complete("BEGIN"), ready("T"))
        >> client(query("ROLLBACK"))
        << to_server(query("ROLLBACK"))
        >> server(complete("ROLLBACK"), ready("I"))
        << to_client(complete("ROLLBACK"), ready("I"))
        << release()
    )
    (
        play(shared=book.shared, servers=book.servers)
        >> client(query("BEGIN"))
        << acquire()
        << to_server(query('SET SESSION "default_transaction_isolation" TO DEFAULT'), query("BEGIN"))
    )


def test_a_setting_that_could_not_be_followed_ends_the_connection(play: Plays) -> None:
    """What came behind it may have run with another isolation level than the client's."""
    (
        play(startup={"default_transaction_isolation": ("serializable",)})
        >> client(query("BEGIN"))
        << acquire()
        << to_server(query("SET SESSION \"default_transaction_isolation\" TO 'serializable'"), query("BEGIN"))
        >> server(failed("57014"), ready("I"))
        << cancel_now()
        << hang_up("57P03")
    )


# COPY.


def copying(play: Plays) -> Play:
    """A COPY FROM STDIN by Query waits for data."""
    return (
        play()
        >> client(query(COPY))
        << acquire()
        << to_server(query(PREFIX + COPY))
        >> server(complete("SET"), COPY_IN)
        << to_client(COPY_IN)
    )


def test_copy_in_by_query_streams_and_ends(play: Plays) -> None:
    (
        copying(play)
        >> client(copy_data(b"1\n"), copy_data(b"2\n"))
        << to_server(copy_data(b"1\n"), copy_data(b"2\n"))
        >> client(copy_data(b"3\n"), COPY_DONE)
        << to_server(copy_data(b"3\n"), COPY_DONE)
        >> server(complete("COPY 3"), ready("I"))
        << to_client(complete("COPY 3"), ready("I"))
        << release()
    )


def test_copy_data_is_passed_on_before_its_frame_is_whole(play: Plays) -> None:
    data = copy_data(b"x" * 1000)
    (
        copying(play)
        >> client(data[:100])
        << to_server(data[:100])
        >> client(data[100:600])
        << to_server(data[100:600])
        >> client(data[600:] + COPY_DONE)
        << to_server(data[600:] + COPY_DONE)
    )


def test_data_that_the_client_sends_before_it_is_asked_waits(play: Plays) -> None:
    (
        play()
        >> client(query(COPY))
        << acquire()
        << to_server(query(PREFIX + COPY))
        >> client(copy_data(b"1\n"), COPY_DONE, query("SELECT 1"))
        >> server(complete("SET"), COPY_IN)
        << to_client(COPY_IN)
        << to_server(copy_data(b"1\n"), COPY_DONE)
        >> server(complete("COPY 1"), ready("I"))
        << to_client(complete("COPY 1"), ready("I"))
        << release()
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_sync_and_flush_during_a_copy_are_ignored_as_postgresql_does(play: Plays) -> None:
    (
        copying(play)
        >> client(SYNC, FLUSH, copy_data(b"1\n"))
        << to_server(copy_data(b"1\n"))
        >> client(copy_fail(b"no more"))
        << to_server(copy_fail(b"no more"))
        >> server(failed("57014"), ready("I"))
        << to_client(failed("57014"), ready("I"))
        << release()
    )


def test_data_that_comes_after_a_copy_failed_is_dropped(play: Plays) -> None:
    (
        copying(play)
        >> client(copy_data(b"x\n"))
        << to_server(copy_data(b"x\n"))
        >> server(failed("22P02"), ready("I"))
        << to_client(failed("22P02"), ready("I"))
        << release()
        >> client(copy_data(b"y\n"), COPY_DONE, query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_a_server_that_waits_for_the_rest_of_a_message_goes_to_nobody(play: Plays) -> None:
    data = copy_data(b"x" * 1000)
    (
        copying(play)
        >> client(copy_data(b"y\n"), data[:100])
        << to_server(copy_data(b"y\n"), data[:100])
        >> server(failed("22P02"), ready("I"))
        << to_client(failed("22P02"), ready("I"))
        << closes("copy ended in mid-message")
        << release()
        >> client(data[100:] + COPY_DONE, query("SELECT 1"))
        << acquire()
        << to_server(query(PREFIX + "SELECT 1"))
    )


def test_the_rest_of_a_message_goes_to_the_server_that_a_failed_block_keeps(play: Plays) -> None:
    data = copy_data(b"x" * 1000)
    (
        in_place(play)
        >> client(query(COPY))
        << to_server(query(COPY))
        >> server(COPY_IN)
        << to_client(COPY_IN)
        >> client(data[:100])
        << to_server(data[:100])
        >> server(failed("57014"), ready("E"))
        << to_client(failed("57014"), ready("E"))
        >> client(data[100:] + COPY_DONE, query("ROLLBACK"))
        << to_server(data[100:], query("ROLLBACK"))
    )


def test_a_sync_behind_the_data_that_fail_a_copy_is_answered(play: Plays) -> None:
    """Until then PostgreSQL ignores it, so it is not sent."""
    data = copy_data(b"x\n")
    (
        in_place(play)
        >> client(parse("", COPY), bind(), execute(), SYNC)
        << to_server(parse("", COPY), bind(), execute(), SYNC)
        >> server(PARSED, BOUND, COPY_IN)
        << to_client(PARSED, BOUND, COPY_IN)
        >> client(data, SYNC)
        << to_server(data)
        >> server(failed("22P02"))
        << to_server(SYNC)
        << to_client(failed("22P02"))
        >> server(ready("E"))
        << to_client(ready("E"))
    )


def test_stray_copy_messages_are_ignored_outside_a_copy(play: Plays) -> None:
    play() >> client(copy_data(b"x"), COPY_DONE, copy_fail(b"x"), SYNC) << to_client(ready("I"))


def test_copy_in_by_a_batch_whose_sync_comes_with_the_execute(play: Plays) -> None:
    batch = (parse("", COPY), bind(), execute(), SYNC)
    (
        play()
        >> client(*batch)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *batch)
        >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, COPY_IN)
        << to_client(PARSED, BOUND, COPY_IN)
        >> client(copy_data(b"1\n"), COPY_DONE, SYNC)
        << to_server(copy_data(b"1\n"), COPY_DONE, SYNC)
        >> server(complete("COPY 1"), ready("I"))
        << to_client(complete("COPY 1"), ready("I"))
        << release()
    )


def copying_by_batch(play: Plays) -> Play:
    """A COPY FROM STDIN by a batch, whose Sync was sent along, waits for data."""
    batch = (parse("", COPY), bind(), execute(), SYNC)
    return (
        play()
        >> client(*batch)
        << acquire()
        << to_server(PARSE_CONTEXT, RUN_CONTEXT, *batch)
        >> server(PARSED, CONTEXT_RAN, PARSED, BOUND, COPY_IN)
        << to_client(PARSED, BOUND, COPY_IN)
    )


def test_a_copy_that_fails_before_it_reads_anything_ends_with_the_sync_that_came_with_it(play: Plays) -> None:
    (
        copying_by_batch(play)
        >> server(failed("55000"), ready("I"))
        << to_client(failed("55000"), ready("I"))
        << release()
        >> client(copy_data(b"1\n"), COPY_DONE, SYNC)
        << to_client(ready("I"))
    )


def test_a_client_that_sent_two_syncs_is_told_as_often_that_the_server_is_ready(play: Plays) -> None:
    (
        copying_by_batch(play)
        >> client(copy_data(b"1\n"), COPY_DONE, SYNC)
        << to_server(copy_data(b"1\n"), COPY_DONE, SYNC)
        >> server(failed("55000"), ready("I"), ready("I"))
        << to_client(failed("55000"), ready("I"), ready("I"))
        << release()
    )


def test_a_server_that_may_say_once_more_that_it_is_ready_goes_to_nobody(play: Plays) -> None:
    (
        copying_by_batch(play)
        >> client(copy_data(b"1\n"), COPY_DONE, SYNC)
        << to_server(copy_data(b"1\n"), COPY_DONE, SYNC)
        >> server(failed("55000"), ready("I"))
        << to_client(failed("55000"), ready("I"))
        << closes("sync in doubt")
        << release()
    )


def test_copy_in_by_a_batch_whose_sync_comes_behind_the_data(play: Plays) -> None:
    batch = (parse("", COPY), bind(), execute(), FLUSH)
    (
        in_place(play)
        >> client(*batch)
        << to_server(*batch)
        >> server(PARSED, BOUND, COPY_IN)
        << to_client(PARSED, BOUND, COPY_IN)
        >> client(copy_data(b"1\n"), COPY_DONE)
        << to_server(copy_data(b"1\n"), COPY_DONE)
        >> client(SYNC)
        << to_server(SYNC)
        >> server(complete("COPY 1"), ready("T"))
        << to_client(complete("COPY 1"), ready("T"))
    )


def test_a_copy_by_a_batch_that_fails_skips_to_the_sync(play: Plays) -> None:
    batch = (parse("", COPY), bind(), execute(), SYNC)
    (
        in_place(play)
        >> client(*batch)
        << to_server(*batch)
        >> server(PARSED, BOUND, COPY_IN)
        << to_client(PARSED, BOUND, COPY_IN)
        >> client(copy_data(b"x\n"))
        << to_server(copy_data(b"x\n"))
        >> server(failed("22P02"))
        << to_client(failed("22P02"))
        >> client(copy_data(b"y\n"), COPY_DONE)
        >> client(SYNC)
        << to_server(SYNC)
        >> server(ready("E"))
        << to_client(ready("E"))
    )


def test_two_copies_in_one_query_ask_for_data_twice(play: Plays) -> None:
    (
        play()
        >> client(query(f"{COPY}; {COPY}"))
        << acquire()
        << to_server(query(f"{PREFIX}{COPY}; {COPY}"))
        >> server(complete("SET"), COPY_IN)
        << to_client(COPY_IN)
        >> client(COPY_DONE)
        << to_server(COPY_DONE)
        >> server(complete("COPY 0"), COPY_IN)
        << to_client(complete("COPY 0"), COPY_IN)
        >> client(copy_data(b"1\n"), COPY_DONE)
        << to_server(copy_data(b"1\n"), COPY_DONE)
        >> server(complete("COPY 1"), ready("I"))
        << to_client(complete("COPY 1"), ready("I"))
        << release()
    )


def test_a_query_in_the_middle_of_a_copy_ends_the_connection(play: Plays) -> None:
    copying(play) >> client(query("SELECT 1")) << hang_up("08P01")


# Large messages.


def test_a_large_bind_streams_with_its_statements_name_replaced(play: Plays) -> None:
    value = b"v" * 300_000
    whole = bind("s", value)
    sent = bind(on_server(1), value)
    head = len(bind(on_server(1))) - 8
    book = prepared(play) >> client(whole[:1000]) >> client(whole[1000:100_000]) << acquire()
    (first,) = book.take()
    assert first.data == RUN_CONTEXT + sent[: len(first.data) - len(RUN_CONTEXT)]
    assert len(first.data) > len(RUN_CONTEXT) + head
    book >> client(whole[100_000:], execute(), SYNC)
    (rest,) = book.take()
    assert first.data + rest.data == RUN_CONTEXT + sent + execute() + SYNC


def test_a_large_bind_of_a_statement_that_is_not_there_is_skipped_without_being_held(play: Plays) -> None:
    whole = bind("nope", b"v" * 300_000)
    book = play() >> client(whole[:100_000]) << tells("26000")
    assert not book.session.input_is_full
    book >> client(whole[100_000:], execute(), SYNC) << to_client(ready("I"))


def test_a_large_bind_waits_for_its_server(play: Plays) -> None:
    value = b"v" * 100_000
    book = prepared(play)
    book.waits = True
    (
        book
        >> client(bind("s", value), execute(), SYNC)
        << acquire()
        >> granted()
        << to_server(RUN_CONTEXT, bind(on_server(1), value), execute(), SYNC)
    )


def test_a_session_that_sent_half_a_message_says_so(play: Plays) -> None:
    book = copying(play) >> client(copy_data(b"x" * 100)[:50])
    book.take()
    assert book.session.is_mid_frame
    assert book.session.is_in_copy


@pytest.mark.parametrize(
    ("message", "limits"),
    [
        (b"Q" + (5_000_000).to_bytes(4, "big"), "54000"),
        (b"P" + (2_000_000).to_bytes(4, "big"), "54000"),
        (b"B" + (5_000_000).to_bytes(4, "big"), "54000"),
        (b"d" + (5_000_000).to_bytes(4, "big"), "54000"),
    ],
)
def test_a_message_beyond_the_limit_ends_the_connection_before_it_is_received(
    play: Plays, message: bytes, limits: str
) -> None:
    play() >> client(message) << hang_up(limits)


# The end, and what is no protocol.


def test_terminate_ends_the_connection_without_a_word(play: Plays) -> None:
    play() >> client(TERMINATE, query("SELECT 1")) << hang_up()


def test_what_was_answered_before_terminate_is_still_sent(play: Plays) -> None:
    play() >> client(SYNC, TERMINATE) << to_client(ready("I")) << hang_up()


def test_terminate_in_a_failed_batch_ends_the_connection(play: Plays) -> None:
    play() >> client(parse("", "SET ROLE x"), TERMINATE) << acquire() << tells("42501") << hang_up()


@pytest.mark.parametrize(
    "data",
    [
        b"Q\0\0\0\x03",
        b"Q\0\0\0\x08SELE",
        b"Q\0\0\0\x0cSEL\0ECT\0",
        b"p\0\0\0\x08pass",
        b"\0\0\0\0\x08\x04\xd2\x16\x2f",
        b"GET / HTTP/1.1\r\n\r\n" * 4,
        frame(codes.PARSE, b"no end"),
        frame(codes.PARSE, b"name\0no end"),
        frame(codes.BIND, b"no end"),
        frame(codes.BIND, b"portal\0no end"),
    ],
)
def test_bytes_that_are_no_protocol_end_the_connection(play: Plays, data: bytes) -> None:
    book = play()
    book >> client(data)
    done = [did for did in book.take() if did.what != "acquire"]
    assert [(did.what, did.detail) for did in done] in ([("hang_up", "08P01")], [("hang_up", "54000")])


def test_a_bind_whose_parameters_make_no_sense_ends_the_connection_where_they_must_be_read(play: Plays) -> None:
    book = in_place(play) >> client(parse("", "SELECT set_config($1, $2, true)"), frame(codes.BIND, b"\0\0\0\x05"))
    assert book.take()[-1].detail == "08P01"


# Any split.


CONVERSATIONS: Final = {
    "queries": [
        (query("SELECT 1"), (complete("SET"), row(b"1"), complete("SELECT 1"), ready("I"))),
        (query("SET a.b = 'c'"), (complete("SET"), complete("SET"), ready("I"))),
        (query("BEGIN; SELECT 1"), (complete("BEGIN"), *[complete("SET")] * 2, complete("SELECT 1"), ready("T"))),
        (query("SELECT 1/0"), (failed("22012", position=9), ready("E"))),
        (query("ROLLBACK"), (complete("ROLLBACK"), ready("I"))),
        (query("SET ROLE x") + query("") + SYNC, ()),
    ],
    "batches": [
        (b"".join(SELECT), (PARSED, CONTEXT_RAN, *SELECTED, ready("I"))),
        (
            parse("s", "SELECT $1") + bind("s", b"1") + execute() + close("S", "s") + SYNC,
            (CONTEXT_RAN, PARSED, BOUND, complete("SELECT 1"), ready("I")),
        ),
        (
            parse("t", "SELECT $1") + describe("S", "t") + SYNC,
            (CONTEXT_RAN, NO_PARAMETERS, NO_DATA, ready("I")),
        ),
        (bind("t", b"v" * 70_000) + execute() + SYNC, (CONTEXT_RAN, BOUND, failed("22012"), ready("I"))),
        (
            parse("", "SET a.b = c") + bind() + execute() + SYNC,
            (CONTEXT_RAN, PARSED, BOUND, complete("SET"), ready("I")),
        ),
        (bind("nope") + execute() + SYNC, ()),
    ],
    "block": [
        (query("BEGIN"), (complete("BEGIN"), ready("T"))),
        (b"".join(SELECT), (complete("SET"), ready("T"), *SELECTED, ready("T"))),
        (query(COPY), (COPY_IN,)),
        (copy_data(b"1\n") + copy_data(b"2\n") + COPY_DONE, (complete("COPY 2"), ready("T"))),
        (parse("", COPY) + bind() + execute() + SYNC, (PARSED, BOUND, COPY_IN)),
        (copy_data(b"3\n") + COPY_DONE + SYNC, (complete("COPY 1"), ready("T"))),
        (query("COMMIT"), (complete("COMMIT"), status("TimeZone", "UTC"), ready("I"))),
        (copy_data(b"stray") + SYNC + TERMINATE, ()),
    ],
}


@dataclass
class Heard:
    """Everything that came out of a session, however it was cut into writes, and how far it is with what it is owed."""

    to_server: bytes = b""
    to_client: bytes = b""
    calls: list[str] = field(default_factory=list)

    def listen(self, book: Play) -> None:
        for did in book.take():
            if did.what == "to_server":
                self.to_server += did.data
            elif did.what == "to_client":
                self.to_client += did.data
            else:
                self.calls.append(str(did))


@pytest.mark.parametrize("name", CONVERSATIONS)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_split_of_the_clients_and_the_servers_bytes_gives_the_same_bytes(name: str, data: st.DataObject) -> None:
    conversation = CONVERSATIONS[name]
    whole, due = Heard(), []
    book = Play()
    for said, answer in conversation:
        book >> client(said)
        whole.listen(book)
        if answer:
            due.append((len(whole.to_server), b"".join(answer)))
            book >> server(*answer)
            whole.listen(book)
    split = Heard()
    book = Play()
    chunks = deque(_cut(data, b"".join(said for said, _ in conversation)))
    answers = deque((at, deque(_cut(data, answer))) for at, answer in due)
    while chunks or answers:
        can_answer = bool(answers) and len(split.to_server) >= answers[0][0]
        assert chunks or can_answer, "the session waits for an answer that nobody owes"
        if can_answer and (not chunks or data.draw(st.booleans())):
            book >> server(answers[0][1].popleft())
            if not answers[0][1]:
                answers.popleft()
        else:
            book >> client(chunks.popleft())
        split.listen(book)
    assert frontend_lines(split.to_server) == frontend_lines(whole.to_server)
    assert split.to_server == whole.to_server
    assert backend_lines(split.to_client) == backend_lines(whole.to_client)
    assert split.to_client == whole.to_client


def _cut(data: st.DataObject, whole: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=15)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@given(
    st.lists(st.binary(max_size=30) | st.sampled_from([*SELECT, query("SELECT 1"), query("BEGIN"), FLUSH]), max_size=6)
)
@settings(deadline=None)
def test_garbage_never_does_more_than_end_its_own_connection(chunks: list[bytes]) -> None:
    book = Play()
    for chunk in chunks:
        book >> client(chunk)
        book.take()
