"""The check that nothing is left open sees what is, and nothing else."""

from __future__ import annotations

import contextlib
import os

import pytest

from tests.unit.net.wires import leaves_nothing_open


def test_what_is_left_open_each_time_is_seen() -> None:
    with contextlib.ExitStack() as stack:

        def leave_one_open() -> None:
            stack.callback(os.close, os.dup(0))

        with pytest.raises(pytest.fail.Exception, match="left open"):
            leaves_nothing_open(leave_one_open)


def test_what_somebody_else_opened_meanwhile_is_not() -> None:
    theirs: list[int] = []

    def meanwhile_another_thread_opens_one() -> None:
        if not theirs:
            theirs.append(os.dup(0))

    leaves_nothing_open(meanwhile_another_thread_opens_one)
    os.close(theirs[0])
