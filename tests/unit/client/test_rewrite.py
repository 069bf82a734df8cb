"""Queries rewritten statement by statement: what is sent, what is noted, and where an error was."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.client.rewrite import Kind, Progress, Rewriter, Rewritten, goes_bare, residue, take_effect
from proxy.context.client_settings import ClientSettings, Parts
from proxy.context.context import Context, InjectionNames
from proxy.guard.verdicts import examine
from proxy.server.units import DROP, INJECTED, NOTED, QUERY, STATEMENT, Capture, Effect, PositionMap
from proxy.wire import codes

P = 'SET LOCAL "app"."tenant_id" TO \'acme\'; '
INJECTION = STATEMENT | DROP | INJECTED
STATUSES = {"I": codes.IDLE, "T": codes.IN_TRANSACTION, "E": codes.FAILED}


def context(settings: ClientSettings) -> Context:
    own = {"app.tenant_id": ("acme",)}
    return Context(tuple((own | settings.effective).items()), (), InjectionNames("test"))


def rewrite(
    sql: str, status: str = "I", *, in_place: bool = False, startup: dict[str, Parts] | None = None, owns: str = ""
) -> Rewritten:
    settings = ClientSettings(startup or {})
    progress = Progress(STATUSES[status], in_place)
    rewriter = Rewriter(context(settings), settings, progress, lambda name: not name or name == owns, context)
    return rewriter.rewrite(sql.encode(), examine(sql.encode()).statements)


@pytest.mark.parametrize(
    ("sql", "status", "in_place", "sent"),
    [
        ("BEGIN", "I", False, "BEGIN"),
        ("BEGIN; SELECT 1; COMMIT", "I", False, f"BEGIN; {P}SELECT 1; COMMIT"),
        ("SELECT 1; COMMIT; SELECT 2; SELECT 3", "T", True, f"SELECT 1; COMMIT; {P}SELECT 2; SELECT 3"),
        ("SELECT 1; COMMIT; SELECT 2", "I", False, f"{P}SELECT 1; COMMIT; {P}SELECT 2"),
        ("COMMIT; BEGIN; SELECT 1", "T", True, f"COMMIT; BEGIN; {P}SELECT 1"),
        ("ROLLBACK AND CHAIN; SELECT 1", "T", True, f"ROLLBACK AND CHAIN; {P}SELECT 1"),
        ("ROLLBACK; SELECT 1", "E", False, f"ROLLBACK; {P}SELECT 1"),
        ("ROLLBACK TO a; SELECT 1", "E", False, "ROLLBACK TO a; SELECT 1"),
        ("SELECT 1; SELECT 2", "E", False, "SELECT 1; SELECT 2"),
        (
            "BEGIN; SET TRANSACTION READ ONLY; SAVEPOINT a",
            "I",
            False,
            f"BEGIN; SET TRANSACTION READ ONLY; {P}SAVEPOINT a",
        ),
        ("PREPARE TRANSACTION 'x'; SELECT 1", "T", True, f"PREPARE TRANSACTION 'x'; {P}SELECT 1"),
        (" /* a */ COMMIT -- b\n; ;\n SELECT 1 ; ", "T", True, f" /* a */ COMMIT -- b\n; ;\n {P}SELECT 1 ; "),
        ("SET SESSION a.b = 'c'", "T", True, "SET LOCAL a.b = 'c'"),
        ("SET TIME ZONE 'UTC'", "T", True, "SET LOCAL TIME ZONE 'UTC'; SHOW \"timezone\""),
        ("SET NAMES 'UTF8'", "T", True, "SET LOCAL NAMES 'UTF8'; SHOW \"client_encoding\""),
        ("SET LOCAL a.b = 'c'; COMMIT", "T", True, "SET LOCAL a.b = 'c'; COMMIT"),
        ("RESET a.b", "T", True, 'SET LOCAL "a"."b" TO DEFAULT'),
        ("SELECT set_config('a.b', 'c', false)", "T", True, "SELECT set_config('a.b', 'c', true)"),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            "T",
            True,
            "SET LOCAL \"default_transaction_isolation\" TO 'serializable'; "
            'SET LOCAL "default_transaction_read_only" TO \'on\'; SHOW "default_transaction_read_only"',
        ),
        ("DEALLOCATE mine", "T", True, 'SET LOCAL "gatehouse"."nothing" TO \'\''),
        ("DEALLOCATE theirs", "T", True, "DEALLOCATE theirs"),
        ("RESET ALL", "T", True, 'SET LOCAL "gatehouse"."nothing" TO \'\''),
        ("DISCARD ALL; SELECT 1", "T", True, "DISCARD ALL; SELECT 1"),
    ],
)
def test_each_statement_finds_the_context_it_needs(sql: str, status: str, in_place: bool, sent: str) -> None:
    assert rewrite(sql, status, in_place=in_place, owns="mine").sql.decode() == sent


def test_what_was_set_earlier_in_the_string_stands_in_the_next_transactions_context() -> None:
    sent = rewrite("SET a.b = 'c'; COMMIT; SELECT 1; RESET a.b; COMMIT; SELECT 2").sql.decode()
    with_setting = P + 'SET LOCAL "a"."b" TO \'c\'; '
    assert sent == (
        f'{P}SET LOCAL a.b = \'c\'; COMMIT; {with_setting}SELECT 1; SET LOCAL "a"."b" TO DEFAULT; COMMIT; {P}SELECT 2'
    )


def test_what_a_rollback_in_the_string_takes_back_does_not_stand_there() -> None:
    assert rewrite("SET a.b = 'c'; ROLLBACK; SELECT 1").sql.decode().endswith(f"ROLLBACK; {P}SELECT 1")


def test_units_tell_the_proxys_replies_from_the_clients() -> None:
    sent = rewrite("BEGIN; SET timezone = 'x'; SELECT 1; COMMIT")
    assert sent.units == [
        STATEMENT,
        INJECTION,
        STATEMENT | NOTED,
        STATEMENT | DROP | NOTED,
        STATEMENT,
        STATEMENT | NOTED,
        QUERY,
    ]
    effect, capture, end = sent.notes
    assert isinstance(effect, Effect)
    assert isinstance(capture, Capture)
    assert isinstance(end, Effect)
    assert capture.name == "timezone"


def test_a_statement_that_stands_for_another_keeps_the_clients_tag() -> None:
    tags = [
        note.tag
        for note in rewrite("RESET a.b; RESET ALL; DEALLOCATE ALL; SET a.b = 1", "T").notes
        if isinstance(note, Effect)
    ]
    assert tags == [b"RESET", b"RESET", b"DEALLOCATE ALL", None]


def test_reset_all_goes_back_to_the_startup_values() -> None:
    sent = rewrite("RESET ALL", "T", in_place=True, startup={"a.b": ("c",), "application_name": ("shop",)})
    assert sent.sql == (
        b'SET LOCAL "a"."b" TO \'c\'; SET LOCAL "application_name" TO \'shop\'; SET LOCAL "gatehouse"."nothing" TO \'\''
    )
    assert sent.units == [STATEMENT | DROP, STATEMENT | DROP, STATEMENT | NOTED, QUERY]


@pytest.mark.parametrize(
    ("sql", "status", "in_place", "after", "in_place_after"),
    [
        ("BEGIN", "I", False, "T", False),
        ("BEGIN; SELECT 1", "I", False, "T", True),
        ("BEGIN; BEGIN", "I", False, "T", False),
        ("COMMIT", "T", True, "I", False),
        ("COMMIT AND CHAIN", "T", True, "T", False),
        ("COMMIT AND CHAIN; SELECT 1", "T", True, "T", True),
        ("ROLLBACK TO a", "E", True, "T", True),
        ("ROLLBACK; BEGIN", "E", True, "T", False),
        ("SELECT 1; COMMIT", "I", False, "I", False),
    ],
)
def test_progress_is_where_the_transaction_will_stand(
    sql: str, status: str, in_place: bool, after: str, in_place_after: bool
) -> None:
    progress = rewrite(sql, status, in_place=in_place).progress
    assert (progress.status, progress.in_place) == (STATUSES[after], in_place_after)


# Positions.


@given(
    st.lists(
        st.sampled_from(
            [
                "SELECT 1",
                "COMMIT",
                "BEGIN",
                "SELECT 'é', '𝄞'",
                "SET a.b = 'ü'",
                "SET SESSION a.b = 1",
                "SAVEPOINT x",
                " ",
            ]
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from("IT"),
    st.data(),
)
def test_any_position_in_the_clients_text_is_found_again(parts: list[str], status: str, data: st.DataObject) -> None:
    marker = "nope"
    index = data.draw(st.integers(0, len(parts)))
    sql = "; ".join([*parts[:index], f"SELECT {marker}", *parts[index:]])
    sent = rewrite(sql, status)
    assert sent.positions.original(sent.sql.decode().index(marker) + 1) == sql.index(marker) + 1


def test_a_position_in_what_the_proxy_put_in_is_where_it_was_put() -> None:
    sent = rewrite("SELECT 1", "I")
    assert sent.sql.decode() == P + "SELECT 1"
    assert sent.positions.original(5) >= 1
    assert sent.positions.original(len(P) + 8) == 8


def test_positions_count_characters_not_bytes() -> None:
    positions = PositionMap("é; SET LOCAL x".encode(), ((len("é; SET LOCAL".encode()), 6),))
    assert positions.original(2) == 2
    assert positions.original(14) == 8


# What statements leave behind, and what they do to settings.


@pytest.mark.parametrize(
    ("sql", "is_tainted"),
    [
        ("SET a.b = 1", False),
        ("RESET ALL", False),
        ("DEALLOCATE mine", False),
        ("DEALLOCATE theirs", True),
        ("SELECT set_config('a.b', 'c', false)", False),
        ("SELECT set_config('a.b', 'c', true)", False),
        ("SELECT set_config('a.b', 'c', $1)", True),
        ("DO ''", True),
        ("LISTEN a", True),
        ("SELECT 1", False),
    ],
)
def test_a_statement_that_is_replaced_leaves_nothing_behind(sql: str, is_tainted: bool) -> None:
    statement = examine(sql.encode()).single
    assert statement is not None
    assert bool(residue(statement, lambda name: name == "mine")) == is_tainted


@pytest.mark.parametrize(
    ("sql", "idle", "in_block"),
    [
        ("VACUUM", True, True),
        ("SET LOCAL a.b = 1", True, False),
        ("LOCK t", True, False),
        ("DECLARE c CURSOR FOR SELECT 1", True, False),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", False, False),
        ("SET a.b = 1", False, False),
        ("SELECT 1", False, False),
    ],
)
def test_what_postgresql_must_get_alone_goes_bare(sql: str, idle: bool, in_block: bool) -> None:
    statement = examine(sql.encode()).single
    assert statement is not None
    assert goes_bare(statement, codes.IDLE) == idle
    assert goes_bare(statement, codes.IN_TRANSACTION) == in_block


def test_effects_follow_the_statements_of_a_transaction() -> None:
    settings = ClientSettings({"a.b": ("startup",)})
    for sql in (
        "SET a.b = 1",
        "SAVEPOINT s",
        "SET a.b = 2",
        "SET LOCAL a.b = 3",
        "ROLLBACK TO s",
        "RELEASE s",
        "COMMIT",
    ):
        statement = examine(sql.encode()).single
        assert statement is not None
        take_effect(settings, statement)
    assert settings.effective == {"a.b": ("1",)}


def test_a_commit_that_postgresql_answered_with_rollback_keeps_nothing() -> None:
    settings = ClientSettings({})
    settings.change("a.b", ("c",))
    commit = examine(b"COMMIT").single
    assert commit is not None
    take_effect(settings, commit, committed=False)
    assert settings.effective == {}


@given(
    st.lists(
        st.sampled_from(["SELECT 1", "COMMIT", "BEGIN", "ROLLBACK", "COMMIT AND CHAIN", "SET a.b = 1"]), max_size=8
    )
)
def test_no_statement_that_reads_runs_without_a_context_in_front_of_it_in_its_transaction(parts: list[str]) -> None:
    assume(parts)
    is_in_place = False
    for statement in examine(rewrite("; ".join(parts)).sql).statements:
        changes = [change.name for change in statement.changes]
        if "app.tenant_id" in changes:
            is_in_place = True
        elif statement.kind in (Kind.COMMIT, Kind.ROLLBACK, Kind.COMMIT_CHAIN, Kind.ROLLBACK_CHAIN):
            is_in_place = False
        elif statement.kind != Kind.BEGIN:
            assert is_in_place
