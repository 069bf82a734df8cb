"""A simulation: many clients of some tenants flood a small pool, and one client of a quiet tenant asks now and then."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.pool.core import PoolLimits
from proxy.pool.pool import Pool
from proxy.server.ports import ServerPort
from tests.unit.pool.fakes import Cluster, FakeServer

TRANSACTION_S = 0.010
RESET_S = 0.001


class SimulatedServer(FakeServer):
    """A server whose reset takes its time."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def reset(self, level: int, done: Callable[[bool], None]) -> None:
        self.cluster.clock.call_later(RESET_S, lambda: done(True))


class BusyClient:
    """Runs one transaction after the other, `pause_s` apart, and notes how long it waited for each."""

    max_servers = 0

    def __init__(self, cluster: Cluster, pool: Pool, tenant_id: str, pause_s: float) -> None:
        self.cluster, self.pool, self.tenant_id, self.pause_s = cluster, pool, tenant_id, pause_s
        self.waits: list[float] = []
        self.asked_at = 0.0

    def ask(self) -> None:
        self.asked_at = self.cluster.clock.now
        server = self.pool.acquire(self)
        if server is not None:
            self.granted(server)

    def granted(self, server: ServerPort) -> None:
        self.waits.append(self.cluster.clock.now - self.asked_at)
        self.cluster.clock.call_later(TRANSACTION_S, lambda: self.finish(server))

    def finish(self, server: ServerPort) -> None:
        # A client of a real application asks again in a later turn of the event loop.
        self.cluster.clock.call_later(self.pause_s, self.ask)
        self.pool.release(server)

    def refused(self, error: Exception) -> None:
        raise AssertionError(error)

    def still_waiting(self, waited_s: float) -> None:
        """It is used to it."""


def simulate(tenants: list[str], clients_each: int, *, trusted: bool) -> tuple[list[float], list[float]]:
    """What the quiet client waited, and what the others did, in 10 simulated seconds on 4 servers."""
    cluster = Cluster()
    pool = cluster.pool(PoolLimits(size=4, trusted=trusted, wait_timeout_s=0))
    flood = [BusyClient(cluster, pool, tenant, 0.0) for tenant in tenants for _ in range(clients_each)]
    for client in flood:
        client.ask()
    while cluster.openings:
        opening_pool, slot = cluster.openings.pop()
        opening_pool.opened(slot, SimulatedServer(cluster))
    cluster.clock.advance(1.0)
    quiet = BusyClient(cluster, pool, "quiet", 0.05)
    quiet.ask()
    cluster.clock.advance(10.0)
    assert len(quiet.waits) > 50
    return quiet.waits, [wait for client in flood for wait in client.waits[1:]]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_quiet_tenant_waits_for_one_transaction_at_most_while_a_hot_one_floods(trusted: bool) -> None:
    quiet, hot = simulate(["hot"], 200, trusted=trusted)
    assert max(quiet) <= TRANSACTION_S + RESET_S + 1e-9
    assert min(hot[len(hot) // 2 :]) > 10 * max(quiet)


def test_a_quiet_tenant_waits_for_one_turn_of_each_tenant_that_floods() -> None:
    tenants = [f"hot{number}" for number in range(12)]
    quiet, _ = simulate(tenants, 20, trusted=False)
    turns = -(-(len(tenants) + 1) // 4)
    assert max(quiet) <= (turns + 1) * (TRANSACTION_S + RESET_S)
