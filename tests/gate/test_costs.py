"""No transaction costs more than the budget in budget.json allows."""

from __future__ import annotations

import pytest

from tests.gate import budget
from tests.gate.budget import Costs
from tests.gate.costs import core_costs, whole_costs
from tests.support.compiled import IS_COMPILED

_DOUBTS = 2
"""How often what seems too much is counted again: what other tests leave running in this process can only add to it."""


@pytest.fixture
def allowed() -> Costs:
    if IS_COMPILED:
        pytest.skip("the hot modules are compiled: their instructions can not be counted")
    found = budget.committed()
    if found is None:
        pytest.skip(f"no budget for Python {budget.VERSION}; make one with: {budget.RENEW}")
    return found


def test_the_session_core_keeps_to_its_budget(allowed: Costs) -> None:
    costs = core_costs()
    for _ in range(_DOUBTS):
        if budget.all_excesses(costs, allowed):
            costs = budget.least(costs, core_costs())
    _assert_within(costs, allowed)


async def test_whole_connections_keep_to_their_budget(allowed: Costs) -> None:
    costs = await whole_costs()
    for _ in range(_DOUBTS):
        if budget.all_excesses(costs, allowed):
            costs = budget.least(costs, await whole_costs())
    _assert_within(costs, allowed)


def _assert_within(costs: Costs, allowed: Costs) -> None:
    over = budget.all_excesses(costs, allowed)
    if over:
        renew = f"If it is worth that, renew the budget for Python {budget.VERSION}: {budget.RENEW}"
        pytest.fail("\n".join(("transactions cost more than before:", *over, renew)), pytrace=False)
