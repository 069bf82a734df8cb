"""What the short way asks of a chunk, in Python and in C: both say the same of anything."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.client.chunks import (
    DESCRIBED,
    END_OF_NAME,
    SAME_NAME,
    assemble_in_python,
    look_at_batch_in_python,
)
from tests.support.in_c import module_in_c, needs
from tests.support.messages import SYNC, bind, describe, execute, parse

IN_C: Any = module_in_c("proxy.client._chunks")
if_in_c = needs(IN_C)
in_both = pytest.mark.parametrize(
    ("look_at_batch", "assemble"),
    [
        pytest.param(look_at_batch_in_python, assemble_in_python, id="python"),
        pytest.param(IN_C and IN_C.look_at_batch, IN_C and IN_C.assemble, id="c", marks=if_in_c),
    ],
)

BATCH = bind("find", b"1") + execute() + SYNC


@in_both
def test_a_batch_is_known_with_the_end_of_its_name(look_at_batch: Any, assemble: Any) -> None:
    end = END_OF_NAME * 10
    assert look_at_batch(BATCH, b"find") == end + SAME_NAME
    for other in (b"", b"fin", b"find2", b"fund"):
        assert look_at_batch(BATCH, other) == end
    assert (
        look_at_batch(bind("find", b"x" * 300) + describe("P") + execute() + SYNC, b"find")
        == end + SAME_NAME + DESCRIBED
    )
    assert look_at_batch(bind("find", None) + execute() + SYNC, b"find") == end + SAME_NAME
    assert look_at_batch(bind("find", b"1") + execute(max_rows=2**30 + 1) + SYNC, b"find") == end + SAME_NAME


@in_both
@pytest.mark.parametrize(
    "data",
    [
        bind("", b"1") + execute() + SYNC,
        bind("find", b"1", portal="p") + execute() + SYNC,
        bind("find", b"1") + execute("p") + SYNC,
        bind("find", b"1") + execute(),
        bind("find", b"1") + SYNC,
        bind("find", b"1") + execute() + SYNC + SYNC,
        bind("find", b"1") + describe("S") + execute() + SYNC,
        bind("find", b"1") + parse("", "SELECT 1") + execute() + SYNC,
        b"B\0\0\0\x0d\0" + b"find" + b"\0" * 3 + execute() + SYNC,
        b"B\0\0\0\x0d\0" + b"a" * 8 + execute() + SYNC,
        b"B" + b"\0" * 13,
        b"B\0\1\0\x0d" + bind("find", b"1")[5:] + execute() + SYNC,
    ],
)
def test_any_other_chunk_is_not_taken_for_one(look_at_batch: Any, assemble: Any, data: bytes) -> None:
    assert look_at_batch(data, b"find") == -1


@in_both
def test_what_is_assembled_is_all_of_it(look_at_batch: Any, assemble: Any) -> None:
    assert assemble(b"a", b"bc", b"defg", 2) == b"abcfg"
    assert assemble(b"", b"", b"defg", 4) == b""
    for start in (-1, 5, 2**62):
        with pytest.raises(ValueError, match="leave out"):
            assemble(b"a", b"bc", b"defg", start)


@if_in_c
@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32), st.binary(max_size=5), st.binary(max_size=20))
def test_both_say_the_same_of_any_chunk(seed: int, name: bytes, value: bytes) -> None:
    chance = Random(seed)
    text = name.replace(b"\0", b"").decode("latin-1")
    data = bytearray(bind(text, value) + chance.choice([b"", describe("P")]) + execute() + chance.choice([SYNC, b""]))
    for _ in range(chance.randrange(4)):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 4, 13, chance.randrange(256)])
    for chunk in (bytes(data), bytes(data[: chance.randrange(len(data))]), value):
        for known in (name, data[6:10], value):
            assert IN_C.look_at_batch(chunk, bytes(known)) == look_at_batch_in_python(chunk, bytes(known))


@if_in_c
@pytest.mark.parametrize("arguments", [(), (b"", b""), ("", b""), (b"", None), (b"", b"", "", 0), (b"", b"", b"", "0")])
def test_what_are_no_bytes_is_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(TypeError):
        IN_C.assemble(*arguments)
    if arguments != (b"", b""):
        with pytest.raises(TypeError):
            IN_C.look_at_batch(*arguments)
