"""The stage for stories about a client's session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.playbook import Plays


@pytest.fixture
def play() -> Iterator[Plays]:
    """Makes plays; every one must be told to its end."""
    plays = Plays()
    yield plays
    plays.close()
