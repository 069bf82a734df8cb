"""The short way: what comes in one chunk is handled as the same bytes are that come in two, which go the long way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import pytest

from proxy.client import shortcut
from proxy.client.session_terms import SessionLimits
from proxy.client.states import State
from proxy.context.client_settings import Parts
from proxy.tenants.model import PoolMode, SchemaPlacement, Tenant, Tier
from proxy.wire import backend
from tests.fuzz.mutations import split_frames
from tests.support.messages import (
    BOUND,
    CLOSED,
    NO_DATA,
    NO_PARAMETERS,
    PARSED,
    SYNC,
    bind,
    close,
    complete,
    describe,
    execute,
    failed,
    notice,
    parse,
    query,
    ready,
    row,
    status,
)
from tests.support.playbook import (
    ACME,
    CONTEXT_RAN,
    GLOBEX,
    PREFIX,
    RUN_CONTEXT,
    Did,
    FakeServer,
    Limits,
    Play,
    Plays,
    acquire,
    client,
    granted,
    on_server,
    policy_of,
    release,
    server,
    shared_by_sessions,
    to_client,
    to_server,
)

COLUMN = backend.row_description(["item"])
RESULT = COLUMN + row(b"tea") + complete("SELECT 1")
PLAIN = "SELECT item FROM orders WHERE id = $1"


Where = Literal["alone", "in a transaction", "behind a BEGIN"]
WHERE: tuple[Where, ...] = get_args(Where)
CONTROLS = {"begin": "BEGIN", "start": "START TRANSACTION READ ONLY", "commit": "COMMIT", "rollback": "ROLLBACK"}


def prepared(play: Play) -> Play:
    """The client has prepared "find", and the server holds it and the context's statement."""
    play.session.client_data(parse("find", PLAIN) + describe("S", "find") + SYNC)
    play.feed(PARSED + CONTEXT_RAN + PARSED + NO_PARAMETERS + COLUMN + ready("I"))
    play.take()
    return play


def in_control(play: Play) -> Play:
    """And what begins and ends a transaction."""
    for name, text in CONTROLS.items():
        play.session.client_data(parse(name, text) + describe("S", name) + SYNC)
        play.feed(PARSED + NO_PARAMETERS + NO_DATA + ready("I"))
    play.take()
    return play


def begun(play: Play, where: Where) -> Play:
    """The client is in a transaction whose context is in place, or of which PostgreSQL has not heard."""
    if where != "alone":
        play.session.client_data(query("BEGIN"))
        play.take()
    if where == "in a transaction":
        play.session.client_data(query("SELECT 1"))
        sets = play.session.context.statements
        play.feed(complete("BEGIN") + complete("SET") * sets + complete("SELECT 1") + ready("T"))
        play.take()
    return play


def deferring(play: Plays, tenant: Tenant = ACME) -> Play:
    """A client whose BEGIN may be deferred."""
    return in_control(prepared(play(tenant, shared=shared_by_sessions(defers_begin=True))))


def in_pairs(play: Plays, tenant: Tenant = ACME, *, where: Where, waits: bool = False) -> tuple[Play, Play]:
    """Two clients of whom the same is true."""
    one, other = deferring(play, tenant), deferring(play, tenant)
    for book in (one, other):
        begun(book, where)
        book.waits = waits
    return one, other


def all_did(play: Play) -> dict[str, bytes]:
    """What it sent each way, however many writes that took, and what else it did."""
    found = {"to_server": b"", "to_client": b"", "else": b""}
    for did in play.take():
        if did.what in found:
            found[did.what] += did.data
        else:
            found["else"] += str(Did(did.what)).encode()
    return found


BATCHES = {
    "Bind, Describe, Execute, Sync": bind("find", b"1") + describe("P") + execute() + SYNC,
    "Bind, Execute, Sync": bind("find", b"1") + execute() + SYNC,
    "a longer value": bind("find", b"1" * 300) + execute() + SYNC,
    "a NULL": bind("find", None) + execute() + SYNC,
    "a row limit": bind("find", b"1") + execute(max_rows=2) + SYNC,
    "a named portal": bind("find", b"1", portal="p") + execute("p") + SYNC,
    "two Executes": bind("find", b"1") + execute() + execute() + SYNC,
    "Parse, Bind, Describe, Execute, Sync": parse("", PLAIN) + bind("", b"1") + describe("P") + execute() + SYNC,
    "Parse, Bind, Execute, Sync": parse("", PLAIN) + bind("", b"1") + execute() + SYNC,
    "a Parse that nobody knows": parse("", "SELECT 1") + bind() + execute() + SYNC,
    "a refused Parse": parse("", "SET app.tenant_id = 'globex'") + bind() + execute() + SYNC,
    "a Parse with a name": parse("more", PLAIN) + bind("more", b"1") + execute() + SYNC,
    "an unnamed Parse, a Bind with a name": parse("", PLAIN) + bind("find", b"1") + execute() + SYNC,
    "an unnamed Bind": bind("", b"1") + execute() + SYNC,
    "an unknown statement": bind("found", b"1") + execute() + SYNC,
    "a longer unknown name": bind("findings", b"1") + execute() + SYNC,
    "no Sync": bind("find", b"1") + execute(),
    "a second batch": (bind("find", b"1") + execute() + SYNC) * 2,
    "a Query": query("SELECT item FROM orders"),
    "a Query with a semicolon": query("UPDATE orders SET item = 'x' ; "),
    "two statements": query("SELECT 1; SELECT 2"),
    "an empty Query": query(""),
    "a Query and more": query("SELECT 1") + query("SELECT 2"),
    "a SET": query("SET work_mem = '1MB'"),
    "a refused Query": query("SET app.tenant_id = 'globex'"),
    "a BEGIN": query("BEGIN"),
    "a COMMIT": query("COMMIT"),
    "an END with a semicolon": query("end;"),
    "a ROLLBACK": query("ROLLBACK"),
    "a COMMIT AND CHAIN": query("COMMIT AND CHAIN"),
    "a ROLLBACK TO": query("ROLLBACK TO s"),
    "COMMIT, and something else": query("COMMIT; SELECT 1"),
    "a prepared COMMIT": bind("commit") + execute() + SYNC,
    "a prepared COMMIT, described": bind("commit") + describe("P") + execute() + SYNC,
    "a prepared ROLLBACK": bind("rollback") + describe("P") + execute() + SYNC,
    "a COMMIT with a parameter": bind("commit", b"1") + execute() + SYNC,
    "a DO": query("DO $$ BEGIN END $$"),
}

ENDS = {
    "rows": RESULT,
    "many rows": COLUMN + row(b"x" * 500) * 200 + complete("SELECT 200"),
    "no rows": complete("UPDATE 3"),
    "an error": failed("22012"),
    "a notice": notice("01000") + RESULT,
    "a parameter": RESULT + status("TimeZone", "Europe/Paris"),
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("tenant", [ACME, GLOBEX], ids=["shared", "schema"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("data", BATCHES.values(), ids=BATCHES)
def test_the_same_bytes_go_to_the_server(
    play: Plays, data: bytes, tenant: Tenant, where: Where, *, waits: bool
) -> None:
    short, long = in_pairs(play, tenant, where=where, waits=waits)
    short.session.client_data(data)
    for part in (data[:7], data[7:]):
        long.session.client_data(part)
    for one in (short, long):
        if one.session.state == State.WAITING:
            one.session.granted(one.lend())
    assert all_did(short) == all_did(long)
    assert short.session.state == long.session.state
    assert short.session.status == long.session.status


def answers(data: bytes, end: bytes, where: Where) -> bytes:
    """What PostgreSQL answers to one of the chunks that the short way takes."""
    is_query = data[:1] == b"Q"
    in_block = where != "alone"
    context = b"" if where == "in a transaction" else (complete("SET") if is_query else CONTEXT_RAN)
    if where == "behind a BEGIN":
        context = complete("BEGIN") + context if is_query else PARSED + BOUND + complete("BEGIN") + context
    is_described = b"D\0\0\0\x06P" in data
    begin = b"" if is_query else (PARSED if data[:1] == b"P" else b"") + BOUND
    if not is_query and end.startswith(COLUMN) and not is_described:
        end = end[len(COLUMN) :]
    if not is_query and is_described and not end.startswith(COLUMN):
        end = (NO_DATA if end[:1] == b"C" else b"") + end
    last = ready("E" if end[:1] == b"E" and in_block else "T" if in_block else "I")
    return context + begin + end + last


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize(
    "chunk",
    [
        "Bind, Describe, Execute, Sync",
        "Bind, Execute, Sync",
        "Parse, Bind, Describe, Execute, Sync",
        "Parse, Bind, Execute, Sync",
        "a Query",
    ],
)
def test_the_client_sees_the_same_answer(play: Plays, chunk: str, end: bytes, where: Where) -> None:
    data = BATCHES[chunk]
    answer = answers(data, end, where)
    cuts: Sequence[int] = sorted({1, 5, len(answer) // 2, len(answer) - 1})
    seen = []
    for cut in (len(answer), *cuts):
        short, long = in_pairs(play, where=where)
        short.session.client_data(data)
        long.session.client_data(data[:9])
        long.session.client_data(data[9:])
        for one in (short, long):
            assert one.take()[-1].what == "to_server"
            one.feed(answer[:cut])
            if cut < len(answer):
                one.feed(answer[cut:])
            seen.append(all_did(one))
            assert one.session.state == (State.IDLE if where == "alone" else State.HELD)
            assert not one.session.deferred
    assert all(one == seen[0] for one in seen)
    assert seen[0]["to_client"].endswith(answer[-6:])
    assert b"acme" not in seen[0]["to_client"], "the context's own row"


def test_one_chunk_is_one_write_each_way(play: Plays) -> None:
    book = prepared(play())
    (
        book
        >> client(bind("find", b"1"), execute(), SYNC)
        << acquire()
        << to_server(RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
        >> server(CONTEXT_RAN, BOUND, row(b"tea"), complete("SELECT 1"), ready("I"))
        << to_client(BOUND, row(b"tea"), complete("SELECT 1"), ready("I"))
        << release()
    )


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("data", BATCHES.values(), ids=BATCHES)
def test_behind_an_error_nothing_is_run_before_the_next_sync(play: Plays, data: bytes, where: Where) -> None:
    short, long = in_pairs(play, where=where)
    for one in (short, long):
        one.session.client_data(bind("found", b"1"))
        one.take()
    short.session.client_data(data)
    for part in (data[:7], data[7:]):
        long.session.client_data(part)
    did = all_did(short)
    assert did == all_did(long)
    if not data.endswith(SYNC):
        assert not did["to_server"]


def test_a_chunk_that_waited_for_a_server_takes_the_short_way_too(play: Plays) -> None:
    (
        play(waits=True)
        >> client(query("SELECT 1"))
        << acquire()
        >> granted()
        << to_server(query(PREFIX + "SELECT 1"))
        >> server(complete("SET"), complete("SELECT 1"), ready("I"))
        << to_client(complete("SELECT 1"), ready("I"))
        << release()
    )


def test_what_was_expected_of_one_segment_is_not_expected_of_the_next(play: Plays) -> None:
    """A client left in the middle of one; the next one's segment has as many replies, of which others are dropped."""
    book = prepared(play())
    book.session.client_data(bind("find", b"1") + execute() + SYNC)
    book.take()
    held = book.held
    assert held is not None
    book.feed(CONTEXT_RAN + BOUND)  # as far as it got
    book.feed(row(b"tea") + complete("SELECT 1") + ready("I"))
    book.take()
    book.session.client_data(query("SELECT 1"))
    book.feed(failed("42601") + ready("I"))
    told = all_did(book)
    assert told["to_client"].endswith(ready("I"))
    assert held.ledger.is_settled


def test_after_a_change_of_definitions_the_long_way_looks_at_the_statement(play: Plays) -> None:
    book = prepared(play())
    book.session.shared.catalog.schema_version += 1
    del book.servers["s1"]  # another server, which has to parse it anew, and to describe it before rows may come
    book.session.client_data(bind("find", b"1") + describe("P") + execute() + SYNC)
    sent = b"".join(did.data for did in book.take() if did.what == "to_server")
    assert describe("S", on_server(1)) in sent
    assert bind(on_server(1), b"1") not in sent


class Moving(Play):
    """A client whose tenant turns out to live elsewhere when it asks for a server."""

    moves = False

    def acquire(self) -> FakeServer | None:
        if self.moves:
            self.session.change_tenant(MOVED, policy_of(MOVED, PoolMode.TRANSACTION))
        return super().acquire()


MOVED = Tenant("acme", SchemaPlacement("main", "saas", "tenant_acme"), Tier("basic"))


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize(
    ("data", "own"),
    [
        (query("SELECT 1"), b"SELECT 1"),
        (bind("find", b"1") + execute() + SYNC, on_server(2).encode()),
        (parse("", PLAIN) + bind("", b"1") + execute() + SYNC, PLAIN.encode()),
    ],
    ids=["Query", "Bind", "Parse"],
)
def test_a_tenant_that_moved_gets_its_new_context(data: bytes, own: bytes, *, waits: bool) -> None:
    book = prepared(Moving(ACME))
    assert isinstance(book, Moving)
    book.waits = waits
    book.moves = True
    book.session.client_data(data)
    if waits:
        book.session.granted(book.lend())
    sent = b"".join(did.data for did in book.take() if did.what == "to_server")
    assert sent.index(b"tenant_acme") < sent.index(own)


ALIKE = "SELECT item FROM orders WHERE id = {} AND item = '{}'"


@pytest.mark.parametrize(
    "text",
    [
        ALIKE.format(12345, "it''s; COMMIT --"),
        ALIKE.format(7, "x") + ";",
        ALIKE.format(7, "x'; SET app.tenant_id = 'globex"),
        ALIKE.format(7, "x") + "; SET app.tenant_id = 'globex'",
        ALIKE.format("set_config('app.tenant_id', 'globex', false)", "x"),
        ALIKE.format(7, "x") + " -- '",
        "SET app.tenant_id = 'globex'",
        "COMMIT",
    ],
)
def test_what_was_known_of_the_last_text_is_not_taken_for_another_one(
    play: Plays, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clients who sent a text and its like before; of the long way's each text is judged by itself."""
    monkeypatch.setattr(shortcut, "_remembers_shapes", True)  # as where it is in C
    short, long = in_pairs(play, where="alone")
    for book in (short, long):
        for number in range(3):
            book.session.client_data(query(ALIKE.format(number, "tea" * number)))
            book.feed(complete("SET") + RESULT + ready("I"))
        book.take()
    short.session.client_data(query(text))
    long.session.client_data(query(text)[:7])
    long.session.client_data(query(text)[7:])
    assert all_did(short) == all_did(long)


# A transaction block.

BEGIN_IN_BATCH = parse("", "BEGIN") + bind() + execute()
BEGAN = PARSED + BOUND + complete("BEGIN")
FIND = bind("find", b"1") + execute() + SYNC
FOUND = BOUND + row(b"tea") + complete("SELECT 1")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (bind("begin") + execute() + SYNC, BOUND + complete("BEGIN") + ready("T")),
        (bind("begin") + describe("P") + execute() + SYNC, BOUND + NO_DATA + complete("BEGIN") + ready("T")),
        (query("BEGIN"), complete("BEGIN") + ready("T")),
    ],
    ids=["Bind, Execute, Sync", "Bind, Describe, Execute, Sync", "a Query"],
)
@pytest.mark.parametrize(
    ("end", "sent", "ended"),
    [
        (query("COMMIT"), query("COMMIT"), complete("COMMIT")),
        (bind("commit") + execute() + SYNC, bind(on_server(4)) + execute() + SYNC, BOUND + complete("COMMIT")),
        (
            bind("rollback") + describe("P") + execute() + SYNC,
            bind(on_server(5)) + describe("P") + execute() + SYNC,
            BOUND + NO_DATA + complete("ROLLBACK"),
        ),
    ],
    ids=["COMMIT", "prepared COMMIT", "prepared ROLLBACK"],
)
def test_a_block_takes_one_round_trip_less_than_it_has_statements(
    play: Plays, data: bytes, answer: bytes, end: bytes, sent: bytes, ended: bytes
) -> None:
    (
        deferring(play)
        >> client(data)
        << to_client(answer)
        >> client(FIND)
        << acquire()
        << to_server(BEGIN_IN_BATCH, RUN_CONTEXT, bind(on_server(1), b"1"), execute(), SYNC)
        >> server(BEGAN, CONTEXT_RAN, FOUND, ready("T"))
        << to_client(FOUND, ready("T"))
        >> client(FIND)
        << to_server(bind(on_server(1), b"1"), execute(), SYNC)
        >> server(FOUND, ready("T"))
        << to_client(FOUND, ready("T"))
        >> client(end)
        << to_server(sent)
        >> server(ended, ready("I"))
        << to_client(ended, ready("I"))
        << release()
    )


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize(
    ("more", "sent", "answer"),
    [
        (
            bind("find", b"1") + execute(max_rows=1) + SYNC,
            BEGIN_IN_BATCH + RUN_CONTEXT + bind(on_server(1), b"1") + execute(max_rows=1) + SYNC,
            BEGAN + CONTEXT_RAN,
        ),
        (query("SELECT 1"), query("BEGIN; " + PREFIX + "SELECT 1"), complete("BEGIN") + complete("SET")),
    ],
    ids=["a batch", "a Query"],
)
def test_a_begin_together_with_what_is_next_goes_the_short_way(
    play: Plays, more: bytes, sent: bytes, answer: bytes, *, waits: bool
) -> None:
    """As JDBC and Npgsql send it."""
    book = deferring(play)
    book.waits = waits
    book.session.client_data(query("BEGIN") + more)
    if waits:
        book.session.granted(book.lend())
    did = all_did(book)
    assert did["to_server"] == sent
    result = (BOUND if more[:1] == b"B" else b"") + row(b"tea") + complete("SELECT 1") + ready("T")
    book.feed(answer + result)
    assert did["to_client"] + all_did(book)["to_client"] == complete("BEGIN") + ready("T") + result


@pytest.mark.parametrize("cut", [1, 5, 20, 40])
@pytest.mark.parametrize(
    ("more", "answer"),
    [
        (query("SET work_mem = '1MB'"), complete("BEGIN") + complete("SET") * 2 + ready("T")),
        (
            parse("", "SELECT 2") + bind() + execute() + SYNC,
            BEGAN + CONTEXT_RAN + PARSED + BOUND + row(b"2") + complete("SELECT 1") + ready("T"),
        ),
        (FIND, BEGAN + CONTEXT_RAN + BOUND + failed("22012") + ready("E")),
        (query("COMMIT"), b""),
        (query("BEGIN"), b""),
        (query("ROLLBACK") + query("BEGIN"), b""),
        (query("SET app.tenant_id = 'globex'"), b""),
        (SYNC, b""),
    ],
    ids=["SET", "Parse", "an error", "COMMIT", "BEGIN", "ROLLBACK, BEGIN", "a refused SET", "Sync"],
)
def test_whatever_stands_behind_a_begin_is_handled_as_when_it_comes_later(
    play: Plays, more: bytes, answer: bytes, cut: int
) -> None:
    together, apart = deferring(play), deferring(play)
    together.session.client_data(query("BEGIN") + more)
    apart.session.client_data(query("BEGIN"))
    apart.session.client_data(more)
    seen = []
    for book in (together, apart):
        heard = {"to_client": b"", "to_server": b"", "else": b""}
        for part in (b"", answer[:cut], answer[cut:]):
            if part:
                book.feed(part)
            heard = {what: heard[what] + data for what, data in all_did(book).items()}
        seen.append(heard)
    assert seen[0] == seen[1]
    assert together.session.state == apart.session.state
    assert together.session.status == apart.session.status


def test_a_prepared_start_transaction_keeps_what_it_says(play: Plays) -> None:
    (
        deferring(play)
        >> client(bind("start"), execute(), SYNC)
        << to_client(BOUND, complete("START TRANSACTION"), ready("T"))
        >> client(query("SELECT 1"))
        << acquire()
        << to_server(query("START TRANSACTION READ ONLY; " + PREFIX + "SELECT 1"))
        >> server(complete("START TRANSACTION"), complete("SET"), row(b"1"), complete("SELECT 1"), ready("T"))
        << to_client(row(b"1"), complete("SELECT 1"), ready("T"))
    )


RESULT_FORMATS = bind("begin")[:-2] + b"\0\1\0\1"
RESULT_FORMATS = RESULT_FORMATS[:1] + (len(RESULT_FORMATS) - 1).to_bytes(4, "big") + RESULT_FORMATS[5:]


@pytest.mark.parametrize(
    ("chunks", "is_deferred"),
    [
        ([RESULT_FORMATS + execute() + SYNC], True),
        ([bind("begin"), execute() + SYNC], False),
        ([bind("begin", b"1") + execute() + SYNC], False),
        ([bind("begin", portal="p") + execute("p") + SYNC], False),
        ([bind("begin") + execute() + SYNC + query("SELECT 1")], False),
    ],
    ids=["a format of results", "in two pieces", "a parameter", "a named portal", "more behind it"],
)
def test_only_a_begin_that_can_not_fail_is_deferred(play: Plays, chunks: list[bytes], *, is_deferred: bool) -> None:
    book = deferring(play)
    for chunk in chunks:
        book.session.client_data(chunk)
    did = all_did(book)
    assert bool(did["to_client"]) == is_deferred
    assert bool(did["to_server"]) != is_deferred


@pytest.mark.parametrize("end", [query("COMMIT"), bind("commit") + execute() + SYNC], ids=["Query", "prepared"])
def test_a_commit_that_fails_is_told_and_the_server_given_back(play: Plays, end: bytes) -> None:
    book = begun(deferring(play), "in a transaction")
    book.session.client_data(end)
    book.take()
    told = (b"" if end[:1] == b"Q" else BOUND) + failed("23503")
    book >> server(told, ready("I")) << to_client(told, ready("I")) << release()


@pytest.mark.parametrize(
    ("end", "value"),
    [
        (query("COMMIT"), "3MB"),
        (bind("commit") + execute() + SYNC, "3MB"),
        (query("ROLLBACK"), "1MB"),
        (bind("rollback") + execute() + SYNC, "1MB"),
    ],
    ids=["COMMIT", "prepared COMMIT", "ROLLBACK", "prepared ROLLBACK"],
)
@pytest.mark.parametrize("savepoint", [False, True], ids=["", "with a savepoint"])
def test_what_was_set_in_the_transaction_is_kept_or_forgotten_at_its_end(
    play: Plays, end: bytes, value: str, *, savepoint: bool
) -> None:
    book = deferring(play)

    def ask(data: bytes, answer: bytes) -> bytes:
        book.session.client_data(data)
        book.feed(answer)
        return all_did(book)["to_server"]

    ask(query("SET work_mem = '1MB'"), complete("SET") * 2 + ready("I"))
    begun(book, "in a transaction")
    if savepoint:
        ask(query("SAVEPOINT s"), complete("SAVEPOINT") + ready("T"))
    ask(query("SET work_mem = '3MB'"), complete("SET") + ready("T"))
    ask(FIND, FOUND + ready("T"))
    tag = "COMMIT" if value == "3MB" else "ROLLBACK"
    ask(end, (b"" if end[:1] == b"Q" else BOUND) + complete(tag) + ready("I"))
    assert book.held is None
    assert value.encode() in ask(query("SELECT 1"), b"")


def test_of_a_portal_nothing_is_left_behind_its_transaction(play: Plays) -> None:
    """A batch behind it finds none, even where the context's own one stands on the server."""
    book = begun(deferring(play), "in a transaction")
    for data, answer in ((FIND, FOUND + ready("T")), (query("COMMIT"), complete("COMMIT") + ready("I"))):
        book.session.client_data(data)
        book.feed(answer)
    book.take()
    book >> client(parse("", "SELECT 2"), execute(), SYNC) << acquire()
    sent = all_did(book)["to_server"]
    assert parse("", "SELECT 2") in sent
    assert not sent.endswith(execute() + SYNC)


@pytest.mark.parametrize("chunks", [[FIND], [FIND[:9], FIND[9:]]], ids=["the short way", "the long way"])
def test_what_stands_in_a_portal_after_a_bind_that_failed_is_not_run(play: Plays, chunks: list[bytes]) -> None:
    """It is the COMMIT from before the savepoint, behind which nothing would have the context."""
    book = begun(deferring(play), "in a transaction")

    def ask(answer: bytes, *chunks: bytes) -> bytes:
        for chunk in chunks:
            book.session.client_data(chunk)
        book.feed(answer)
        return all_did(book)["to_server"]

    ask(BOUND + ready("T"), bind("commit") + SYNC)
    ask(failed("08P01") + ready("E"), *chunks)
    ask(complete("ROLLBACK") + ready("T"), query("ROLLBACK TO s"))
    book.session.client_data(execute() + bind("find", b"1") + execute() + SYNC)
    assert all_did(book)["to_server"] == bind("gatehouse_refused") + SYNC


def test_what_stands_in_a_portal_after_a_close_that_was_skipped_is_not_run(play: Plays) -> None:
    book = begun(deferring(play), "in a transaction")
    for data, answer in (
        (bind("commit", portal="p") + SYNC, BOUND + ready("T")),
        (bind("found") + close("P", "p") + SYNC, failed("26000") + ready("E")),
        (query("ROLLBACK TO s"), complete("ROLLBACK") + ready("T")),
    ):
        book.session.client_data(data)
        book.feed(answer)
        book.take()
    book.session.client_data(bind("find", b"1") + close("P", "p") + bind("find", b"2", b"3") + SYNC)
    book.feed(BOUND + CLOSED + failed("08P01") + ready("E"))
    book.session.client_data(query("ROLLBACK TO s"))
    book.feed(complete("ROLLBACK") + ready("T"))
    book.take()
    book.session.client_data(execute("p") + bind("find", b"1") + execute() + SYNC)
    assert all_did(book)["to_server"] == bind("gatehouse_refused") + SYNC


@pytest.mark.parametrize("mode", [PoolMode.SESSION, PoolMode.STATEMENT])
def test_a_begin_is_not_deferred_where_it_keeps_a_server_or_is_refused(play: Plays, mode: PoolMode) -> None:
    limits = Limits(session=SessionLimits(4_000_000, 1_000_000, 500_000, 50, mode=mode))
    book = play(limits=limits, shared=shared_by_sessions(defers_begin=True))
    book.session.client_data(query("BEGIN"))
    assert b"BEGIN" not in all_did(book)["to_client"]
    assert not book.session.deferred


# What is reported.

NAMED = status("application_name", "shop")
UNNAMED = status("application_name", "gatehouse")
BACK = status("TimeZone", "UTC")


def blocks(book: Play, *ends: bytes) -> bytes:
    """What the client hears of blocks whose first statement, and whose end, PostgreSQL answers with these reports."""
    heard = b""
    for at in range(0, len(ends), 2):
        for data, answer in (
            (query("BEGIN"), b""),
            (FIND, BEGAN + CONTEXT_RAN + FOUND + ends[at] + ready("T")),
            (query("COMMIT"), complete("COMMIT") + ends[at + 1] + ready("I")),
        ):
            book.session.client_data(data)
            if answer:
                book.feed(answer)
        heard += all_did(book)["to_client"]
    return heard


def named(play: Plays) -> Play:
    """A client whose context says its application_name."""
    startup: dict[str, Parts] = {"application_name": ("shop",)}
    return in_control(prepared(play(startup=startup, shared=shared_by_sessions(defers_begin=True))))


def test_what_only_the_context_changed_is_never_heard(play: Plays) -> None:
    heard = split_frames(blocks(named(play), *[NAMED, UNNAMED] * 4))
    assert len(heard) == 4 * 8
    assert not any(message[:1] == b"S" for message in heard)


@pytest.mark.parametrize(
    ("other", "heard"),
    [
        ((NAMED + status("TimeZone", "Europe/Paris"), UNNAMED + BACK), (status("TimeZone", "Europe/Paris"), BACK)),
        ((NAMED, UNNAMED + status("TimeZone", "Europe/Paris")), (status("TimeZone", "Europe/Paris"),)),
        ((NAMED, status("application_name", "other")), ()),
        ((status("application_name", "other"), UNNAMED), (status("application_name", "other"), NAMED)),
    ],
    ids=["in a block", "at its end", "the server's own value", "the context's value"],
)
def test_what_is_not_as_the_last_time_is_heard(
    play: Plays, other: tuple[bytes, bytes], heard: tuple[bytes, ...]
) -> None:
    book = named(play)
    blocks(book, *[NAMED, UNNAMED] * 2)
    told = blocks(book, *other)
    assert tuple(message for message in split_frames(told) if message[:1] == b"S") == heard


def test_what_is_not_the_contexts_doing_any_more_is_heard(play: Plays) -> None:
    """The client asks for the server's own value, and code that nobody can see into sets what the context had set before."""
    book = named(play)
    blocks(book, *[NAMED, UNNAMED] * 2)
    book.session.client_data(query("SET application_name = 'gatehouse'"))
    book.feed(complete("SET") * 3 + ready("I"))
    told = split_frames(all_did(book)["to_client"] + blocks(book, NAMED, UNNAMED))
    assert [message for message in told if message[:1] == b"S"] == [UNNAMED, NAMED, UNNAMED]


def test_what_a_server_reports_by_itself_is_remembered_of_each(play: Plays) -> None:
    book = named(play)
    blocks(book, *[NAMED, UNNAMED] * 2)
    other = book.servers["s1"]
    other.parameters = {**other.parameters, b"application_name": b"old"}
    blocks(book, NAMED, UNNAMED)
    assert other.parameters[b"application_name"] == b"gatehouse"


def test_a_value_of_this_transaction_alone_is_taken_back_though_postgresql_reports_nothing(play: Plays) -> None:
    """SET LOCAL to the server's own value, so that nothing changes for PostgreSQL when the context goes, too."""
    book = named(play)
    blocks(book, *[NAMED, UNNAMED] * 2)
    heard = []
    for data, answer in (
        (query("BEGIN"), b""),
        (FIND, BEGAN + CONTEXT_RAN + FOUND + NAMED + ready("T")),
        (query("SET LOCAL application_name = 'gatehouse'"), complete("SET") + UNNAMED + ready("T")),
        (query("COMMIT"), complete("COMMIT") + ready("I")),
    ):
        book.session.client_data(data)
        if answer:
            book.feed(answer)
        heard.append(all_did(book)["to_client"])
    assert heard[2] == complete("SET") + UNNAMED + ready("T")
    assert heard[3] == complete("COMMIT") + NAMED + ready("I")


def test_a_server_that_is_not_like_the_last_one_is_noticed_at_the_end_of_any_transaction(play: Plays) -> None:
    """Its own TimeZone is another one: it was configured anew since the client came."""
    book = deferring(play)
    book.servers["s1"].parameters = {**book.servers["s1"].parameters, b"TimeZone": b"Europe/Paris"}
    for _ in range(2):
        book.session.client_data(query("SELECT 1"))
        book.feed(complete("SET") + complete("SELECT 1") + ready("I"))
    told = all_did(book)["to_client"]
    once, again = (
        complete("SELECT 1") + status("TimeZone", "Europe/Paris") + ready("I"),
        complete("SELECT 1") + ready("I"),
    )
    assert told == once + again
