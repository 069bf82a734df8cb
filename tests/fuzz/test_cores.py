"""Whatever bytes come, from clients and from servers, the cores stand it: a fixed number of examples of each property."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.properties import PROPERTIES

EXAMPLES = 400


@pytest.mark.parametrize("name", PROPERTIES)
def test_whatever_bytes_come(name: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # what is shrunk is the random numbers, which nobody reads
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def check(rng: Random) -> None:
        PROPERTIES[name](rng)

    check()
