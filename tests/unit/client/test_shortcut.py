"""The short way: what comes in one chunk is handled as the same bytes are that come in two, which go the long way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.client import shortcut
from proxy.client.states import State
from proxy.tenants.model import PoolMode, SchemaPlacement, Tenant, Tier
from proxy.wire import backend
from tests.support.messages import (
    BOUND,
    NO_DATA,
    NO_PARAMETERS,
    PARSED,
    SYNC,
    bind,
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
    Play,
    Plays,
    acquire,
    client,
    granted,
    on_server,
    policy_of,
    release,
    server,
    to_client,
    to_server,
)

COLUMN = backend.row_description(["item"])
RESULT = COLUMN + row(b"tea") + complete("SELECT 1")
PLAIN = "SELECT item FROM orders WHERE id = $1"


def prepared(play: Play) -> Play:
    """The client has prepared "find", and the server holds it and the context's statement."""
    play.session.client_data(parse("find", PLAIN) + describe("S", "find") + SYNC)
    play.feed(PARSED + CONTEXT_RAN + PARSED + NO_PARAMETERS + COLUMN + ready("I"))
    play.take()
    return play


def begun(play: Play) -> Play:
    """The client is in a transaction whose context is in place."""
    play.session.client_data(query("BEGIN"))
    play.feed(complete("BEGIN") + ready("T"))
    play.session.client_data(query("SELECT 1"))
    play.feed(complete("SET") * play.session.context.statements + complete("SELECT 1") + ready("T"))
    play.take()
    return play


def in_pairs(play: Plays, tenant: Tenant = ACME, *, in_block: bool, waits: bool = False) -> tuple[Play, Play]:
    """Two clients of whom the same is true."""
    one, other = prepared(play(tenant)), prepared(play(tenant))
    for book in (one, other):
        if in_block:
            begun(book)
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


@pytest.mark.parametrize("in_block", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("tenant", [ACME, GLOBEX], ids=["shared", "schema"])
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("data", BATCHES.values(), ids=BATCHES)
def test_the_same_bytes_go_to_the_server(
    play: Plays, data: bytes, tenant: Tenant, *, waits: bool, in_block: bool
) -> None:
    short, long = in_pairs(play, tenant, in_block=in_block, waits=waits)
    short.session.client_data(data)
    for part in (data[:7], data[7:]):
        long.session.client_data(part)
    for one in (short, long):
        if one.session.state == State.WAITING:
            one.session.granted(one.lend())
    assert all_did(short) == all_did(long)
    assert short.session.state == long.session.state
    assert short.session.status == long.session.status


def answers(data: bytes, end: bytes, *, in_block: bool) -> bytes:
    """What PostgreSQL answers to one of the chunks that the short way takes."""
    is_query = data[:1] == b"Q"
    context = b"" if in_block else (complete("SET") if is_query else CONTEXT_RAN)
    is_described = b"D\0\0\0\x06P" in data
    begin = b"" if is_query else (PARSED if data[:1] == b"P" else b"") + BOUND
    if not is_query and end.startswith(COLUMN) and not is_described:
        end = end[len(COLUMN) :]
    if not is_query and is_described and not end.startswith(COLUMN):
        end = (NO_DATA if end[:1] == b"C" else b"") + end
    last = ready("E" if end[:1] == b"E" and in_block else "T" if in_block else "I")
    return context + begin + end + last


@pytest.mark.parametrize("in_block", [False, True], ids=["alone", "in a transaction"])
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
def test_the_client_sees_the_same_answer(play: Plays, chunk: str, end: bytes, *, in_block: bool) -> None:
    data = BATCHES[chunk]
    answer = answers(data, end, in_block=in_block)
    cuts: Sequence[int] = sorted({1, 5, len(answer) // 2, len(answer) - 1})
    seen = []
    for cut in (len(answer), *cuts):
        short, long = in_pairs(play, in_block=in_block)
        short.session.client_data(data)
        long.session.client_data(data[:9])
        long.session.client_data(data[9:])
        for one in (short, long):
            assert one.take()[-1].what == "to_server"
            one.feed(answer[:cut])
            if cut < len(answer):
                one.feed(answer[cut:])
            seen.append(all_did(one))
            assert one.session.state == (State.HELD if in_block else State.IDLE)
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


@pytest.mark.parametrize("in_block", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("data", BATCHES.values(), ids=BATCHES)
def test_behind_an_error_nothing_is_run_before_the_next_sync(play: Plays, data: bytes, *, in_block: bool) -> None:
    short, long = in_pairs(play, in_block=in_block)
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
        (bind("find", b"1") + execute() + SYNC, on_server(1).encode()),
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
    short, long = in_pairs(play, in_block=False)
    for book in (short, long):
        for number in range(3):
            book.session.client_data(query(ALIKE.format(number, "tea" * number)))
            book.feed(complete("SET") + RESULT + ready("I"))
        book.take()
    short.session.client_data(query(text))
    long.session.client_data(query(text)[:7])
    long.session.client_data(query(text)[7:])
    assert all_did(short) == all_did(long)
