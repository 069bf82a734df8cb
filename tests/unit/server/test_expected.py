"""An answer read in one go: what is taken so is what the ledger would have made of it, reply by reply."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolViolation
from proxy.server.expected import (
    BATCH_ANSWER,
    BEHIND_BEGIN,
    BEHIND_CONTEXT,
    BEHIND_PARSE,
    DESCRIBED_ANSWER,
    MOST_SETS,
    TRANSITIONS,
    behind_sets,
    clients_part_in_python,
)
from proxy.server.jobs import Job
from proxy.server.ledger import Ledger
from proxy.server.units import BIND, DESCRIBE, DROP, EXECUTE, INJECTED, PARSE, QUERY, STATEMENT, SYNC
from proxy.wire import backend
from tests.fuzz import corpus
from tests.fuzz.mutations import spoil
from tests.support.in_c import module_in_c, needs
from tests.support.messages import BOUND, NO_DATA, PARSED, complete, notice, ready, row, status

IN_C: Any = module_in_c("proxy.server._expected")
if_in_c = needs(IN_C)
BOTH = [clients_part_in_python, *([] if IN_C is None else [IN_C.clients_part])]

COLUMN = backend.row_description(["a"])
CONTEXT_REPLIES = [BOUND, row(b"acme"), complete("SELECT 1")]
BEHIND = (BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED)
SET = STATEMENT | DROP | INJECTED

ClientsPart = Callable[[bytes, bytes, int, int, bytes], bytes]
Segment = tuple[int, tuple[int, ...], list[bytes]]

SEGMENTS: dict[str, Segment] = {
    "a Query": (behind_sets(0), (QUERY,), [COLUMN, row(b"1"), complete("SELECT 1")]),
    "a Query behind two settings": (
        behind_sets(2),
        (SET, SET, QUERY),
        [complete("SET"), complete("SET"), COLUMN, row(b"1"), row(b"2"), complete("SELECT 2")],
    ),
    "an UPDATE": (behind_sets(1), (SET, QUERY), [complete("SET"), complete("UPDATE 1")]),
    "a batch": (BATCH_ANSWER, (BIND, EXECUTE, SYNC), [BOUND, row(b"1"), complete("SELECT 1")]),
    "a described batch": (
        DESCRIBED_ANSWER,
        (BIND, DESCRIBE, EXECUTE, SYNC),
        [BOUND, COLUMN, row(None), complete("SELECT 1")],
    ),
    "a parsed batch": (
        BEHIND_PARSE + BATCH_ANSWER,
        (PARSE, BIND, EXECUTE, SYNC),
        [PARSED, BOUND, row(b"1"), complete("SELECT 1")],
    ),
    "a parsed and described batch behind the context": (
        BEHIND_CONTEXT + BEHIND_PARSE + DESCRIBED_ANSWER,
        (*BEHIND, PARSE, BIND, DESCRIBE, EXECUTE, SYNC),
        [BOUND, row(b"acme"), complete("SELECT 1"), PARSED, BOUND, COLUMN, row(b"1"), complete("SELECT 1")],
    ),
    "a batch behind the context": (
        BEHIND_CONTEXT + BATCH_ANSWER,
        (*BEHIND, BIND, EXECUTE, SYNC),
        [BOUND, row(b"acme"), complete("SELECT 1"), BOUND, complete("DELETE 0")],
    ),
    "a batch behind a BEGIN and the context": (
        BEHIND_BEGIN + BEHIND_CONTEXT + BATCH_ANSWER,
        (PARSE | DROP | INJECTED, BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED, *BEHIND, BIND, EXECUTE, SYNC),
        [PARSED, BOUND, complete("BEGIN"), *CONTEXT_REPLIES, BOUND, row(b"1"), complete("SELECT 1")],
    ),
    "a parsed and described batch behind a BEGIN and the context": (
        BEHIND_BEGIN + BEHIND_CONTEXT + BEHIND_PARSE + DESCRIBED_ANSWER,
        (
            *(PARSE | DROP | INJECTED, BIND | DROP | INJECTED, EXECUTE | DROP | INJECTED),
            *(*BEHIND, PARSE, BIND, DESCRIBE, EXECUTE, SYNC),
        ),
        [PARSED, BOUND, complete("BEGIN"), *CONTEXT_REPLIES, PARSED, BOUND, COLUMN, row(b"1"), complete("SELECT 1")],
    ),
    "a described batch behind the context": (
        BEHIND_CONTEXT + DESCRIBED_ANSWER,
        (*BEHIND, BIND, DESCRIBE, EXECUTE, SYNC),
        [BOUND, row(b"acme"), complete("SELECT 1"), BOUND, NO_DATA, complete("INSERT 0 1")],
    ),
}


UNHEARD = status("application_name", "shop") + status("search_path", "acme, shared")


def in_one_go(segment: Segment, data: bytes, unheard: bytes = b"") -> bytes:
    answer, units, _ = segment
    ledger = Ledger(Job())
    ledger.expect(answer, ord("I"), units, unheard)
    ledger.feed(data)
    return ledger.take_expected()


def one_by_one(segment: Segment, data: bytes) -> bytes | None:
    """None where the ledger would say that the server says what can not be."""
    ledger = Ledger(Job())
    ledger.units.extend(segment[1])
    ledger.feed(data)
    try:
        found = ledger.advance()
    except ProtocolViolation:
        return None
    seen = b"".join(ledger.out)
    ledger.out.clear()
    return seen + ready(chr(found)) if found and ledger.is_settled else seen


@pytest.mark.parametrize("segment", SEGMENTS.values(), ids=SEGMENTS)
def test_what_is_expected_is_taken_as_the_ledger_would_take_it(segment: Segment) -> None:
    data = b"".join(segment[2]) + ready("I")
    seen = in_one_go(segment, data)
    assert seen
    assert seen == one_by_one(segment, data)


@pytest.mark.parametrize("segment", SEGMENTS.values(), ids=SEGMENTS)
@pytest.mark.parametrize("clients_part", BOTH)
def test_what_need_not_be_heard_is_left_out_where_it_stands_at_the_end(
    segment: Segment, clients_part: ClientsPart
) -> None:
    answer, _, replies = segment
    data = b"".join(replies)
    seen = clients_part(TRANSITIONS, data + UNHEARD + ready("I"), answer, ord("I"), UNHEARD)
    assert seen == clients_part(TRANSITIONS, data + ready("I"), answer, ord("I"), b"")
    assert seen == clients_part(TRANSITIONS, data + ready("I"), answer, ord("I"), UNHEARD)
    for other in (
        data + UNHEARD[:-2] + b"!\0" + ready("I"),
        data + UNHEARD + ready("T"),
        data + UNHEARD + notice("01000") + ready("I"),
        data + notice("01000") + UNHEARD + ready("I"),
        data + UNHEARD + UNHEARD + ready("I"),
        UNHEARD + data + ready("I"),
    ):
        assert clients_part(TRANSITIONS, other, answer, ord("I"), UNHEARD) == b""


@given(st.sampled_from(sorted(SEGMENTS)), st.integers(min_value=0, max_value=2**32))
def test_whatever_the_server_says_nothing_is_taken_that_the_ledger_would_not_pass(name: str, seed: int) -> None:
    segment = SEGMENTS[name]
    end = [UNHEARD, ready("I")] if seed % 2 else [ready("I")]
    frames = spoil(Random(seed), [*segment[2], *end], corpus.BACKEND_DONORS, corpus.BACKEND_TYPES)
    data = b"".join(frames)
    seen = in_one_go(segment, data, UNHEARD)
    if seen:
        assert seen == one_by_one(segment, data)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        COLUMN + row(b"1") + complete("SELECT 1"),
        COLUMN + row(b"1") + complete("SELECT 1") + ready("T"),
        COLUMN + row(b"1") + complete("SELECT 1") + ready("I") + ready("I"),
        COLUMN + row(b"1") + complete("SELECT 1") + ready("I") + notice("57P01"),
        COLUMN + notice("01000") + complete("SELECT 0") + ready("I"),
        COLUMN + complete("SELECT 0") + status("TimeZone", "UTC") + ready("I"),
        COLUMN[:-1],
        COLUMN + b"C\0\0\0\x04" + ready("I"),
        b"T\0\0\0\x03" + complete("SELECT 0") + ready("I"),
        b"T\x7f\xff\xff\xff" + complete("SELECT 0") + ready("I"),
    ],
)
def test_anything_else_is_left_to_the_ledger(answer: bytes) -> None:
    for clients_part in BOTH:
        assert clients_part(TRANSITIONS, answer, behind_sets(0), ord("I"), b"") == b""


def test_units_can_be_looked_at_before_the_answer_comes() -> None:
    """Who looks at what is owed, as whoever cleans up after a client does, sees it; and then it is read one by one."""
    answer, units, replies = SEGMENTS["a batch behind the context"]
    ledger = Ledger(Job())
    ledger.expect(answer, ord("I"), units)
    assert not ledger.is_settled
    assert tuple(ledger.units) == units
    ledger.feed(b"".join(replies) + ready("I"))
    assert ledger.take_expected() == b""
    assert ledger.advance() == ord("I")
    assert b"".join(ledger.out) == BOUND + complete("DELETE 0")


def test_as_many_settings_as_a_context_may_have() -> None:
    data = complete("SET") * MOST_SETS + complete("DELETE 1") + ready("I")
    for clients_part in BOTH:
        assert clients_part(TRANSITIONS, data, behind_sets(MOST_SETS), ord("I"), b"") == complete("DELETE 1") + ready(
            "I"
        )


@if_in_c
@given(st.sampled_from(sorted(SEGMENTS)), st.integers(0, 2**32), st.integers(0, 255), st.sampled_from(b"ITEX"))
def test_both_say_the_same_of_any_answer(name: str, seed: int, state: int, status: int) -> None:
    end = [UNHEARD, ready("I")] if seed % 2 else [ready("I")]
    spoilt = spoil(Random(seed), [*SEGMENTS[name][2], *end], corpus.BACKEND_DONORS, corpus.BACKEND_TYPES)
    for data in (b"".join(spoilt), b"".join(spoilt)[: seed % 50], b"".join(SEGMENTS[name][2]) + ready("I")):
        for expected in (SEGMENTS[name][0], state):
            seen = {clients_part(TRANSITIONS, data, expected, status, UNHEARD) for clients_part in BOTH}
            assert len(seen) == 1


@if_in_c
@given(st.binary(max_size=60), st.integers(0, 255), st.binary(max_size=10))
def test_both_say_the_same_of_any_bytes(data: bytes, state: int, unheard: bytes) -> None:
    assert len({clients_part(TRANSITIONS, data, state, ord("I"), unheard) for clients_part in BOTH}) == 1


@if_in_c
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        (TRANSITIONS, b"", 1, 73),
        (TRANSITIONS, "", 1, 73, b""),
        (TRANSITIONS, b"", 1, 73, ""),
        (b"", b"", 1, 73, b""),
        (TRANSITIONS, b"", 256, 73, b""),
        (TRANSITIONS, b"", -1, 73, b""),
        (TRANSITIONS, b"", "1", 73, b""),
        (TRANSITIONS, b"", 2**70, 73, b""),
    ],
)
def test_what_is_no_state_or_no_bytes_is_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        IN_C.clients_part(*arguments)
