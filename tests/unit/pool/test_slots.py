"""The stacks that idle servers lie in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.pool.slots import Slot, Stack

_STEPS = st.lists(st.one_of(st.just("push"), st.just("pop"), st.integers(0, 30)), max_size=60)


@given(_STEPS)
def test_a_stack_does_what_a_list_does(steps: list[str | int]) -> None:
    """Put on top, taken from the top, or (a number) taken out from wherever it lies."""
    stack = Stack()
    expected: list[Slot] = []
    for step in steps:
        if step == "push":
            slot = Slot(1.0)
            stack.push(slot)
            expected.append(slot)
        elif not expected:
            continue
        elif step == "pop":
            assert stack.pop() is expected.pop()
        else:
            assert isinstance(step, int)
            stack.take_out(expected.pop(step % len(expected)))
        assert stack.count == len(expected)
    assert [stack.pop() for _ in range(stack.count)] == expected[::-1]
