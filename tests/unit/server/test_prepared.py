"""Prepared statements: what is shared, what a server holds, and what must go for something new."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.server.prepared import Prepared, PreparedOnServer, StatementCatalog, close_statement
from proxy.wire import frontend

BODY = frontend.parse(b"", b"SELECT $1", (23,))[6:]


def names(number: int) -> bytes:
    return b"name_%d" % number


def test_a_statement_is_parsed_under_the_servers_name_or_none() -> None:
    statement = Prepared(b"srv", BODY, "verdict")
    assert statement.parse == frontend.parse(b"srv", b"SELECT $1", (23,))
    assert statement.parse_unnamed == frontend.parse(b"", b"SELECT $1", (23,))
    assert statement.note is None


def test_closing_a_statement_names_it() -> None:
    assert close_statement(b"srv") == b"C\0\0\0\x09Ssrv\0"


def test_the_same_text_for_the_same_plans_is_the_same_statement() -> None:
    catalog = StatementCatalog[str](names)
    statement = catalog.add(b"key", BODY, BODY, "verdict")
    assert catalog.find(b"key", BODY) is statement
    assert catalog.find(b"other key", BODY) is None
    assert catalog.find(b"key", BODY + b"\0") is None


def test_what_servers_are_given_may_differ_from_what_the_client_wrote() -> None:
    catalog = StatementCatalog[str](names)
    statement = catalog.add(b"", b"written\0\0\0", b"sent\0\0\0", "verdict")
    assert catalog.find(b"", b"written\0\0\0") is statement
    assert b"sent" in statement.parse
    assert b"written" not in statement.parse


def test_no_name_is_given_twice_not_even_after_a_statement_was_forgotten() -> None:
    catalog = StatementCatalog[int](names, max_entries=2)
    given_names = [catalog.add(b"", b"%d" % number, b"", number).server_name for number in range(5)]
    given_names.append(catalog.next_name())
    assert len(set(given_names)) == 6


def test_the_catalog_forgets_beyond_its_limit() -> None:
    catalog = StatementCatalog[int](names, max_entries=2)
    for number in range(3):
        catalog.add(b"", b"%d" % number, b"", number)
    assert catalog.find(b"", b"0") is None
    assert catalog.find(b"", b"2") is not None


def test_a_statement_in_use_is_not_the_first_that_the_catalog_forgets() -> None:
    catalog = StatementCatalog[int](names, max_entries=2)
    catalog.add(b"", b"0", b"", 0)
    catalog.add(b"", b"1", b"", 1)
    catalog.find(b"", b"0")
    catalog.add(b"", b"2", b"", 2)
    assert catalog.find(b"", b"0") is not None


def test_a_server_knows_what_it_was_given_until_it_is_taken_away() -> None:
    held = PreparedOnServer(10)
    assert not held.touch(b"a")
    assert held.add(b"a") is None
    assert held.touch(b"a")
    held.discard(b"a")
    held.discard(b"never there")
    assert not held.touch(b"a")
    held.add(b"b")
    held.unnamed = object()
    held.clear()
    assert (len(held), held.unnamed) == (0, None)


@given(st.integers(1, 4), st.lists(st.integers(0, 6), max_size=40))
def test_a_server_closes_what_was_used_least_recently(limit: int, uses: list[int]) -> None:
    held = PreparedOnServer(limit)
    model: list[int] = []
    for number in uses:
        closed = None
        if not held.touch(b"%d" % number):
            closed = held.add(b"%d" % number)
        if number in model:
            model.remove(number)
        model.append(number)
        expected = b"%d" % model.pop(0) if len(model) > limit else None
        assert closed == expected
        assert len(held) == len(model)


def test_large_statements_push_out_more_than_small_ones() -> None:
    catalog = StatementCatalog[str](names, max_bytes=10_000)
    old = b"o" * 500
    catalog.add(b"", old, old, "verdict")
    large = b"x" * 3000
    catalog.add(b"", large, large, "verdict")
    assert catalog.find(b"", old) is None, "three copies of the large text leave no room"
    assert catalog.find(b"", large) is not None
    huge = b"y" * 5000
    assert catalog.add(b"", huge, huge, "verdict").parse, "what is too large to be kept can be used all the same"
    assert catalog.find(b"", huge) is None
