"""Several pools and one cluster's `max_connections`."""

from __future__ import annotations

from proxy.errors import PoolTimeout
from proxy.pool.core import PoolLimits
from proxy.pool.pool import Pool
from tests.unit.pool.fakes import Cluster, FakeClient, give_back, lend


def hold(cluster: Cluster, pool: Pool, count: int) -> list[FakeClient]:
    """Clients that each hold a server."""
    clients = [FakeClient() for _ in range(count)]
    for client in clients:
        lend(cluster, pool, client)
    return clients


def test_pools_of_a_cluster_never_open_more_than_its_budget() -> None:
    cluster = Cluster(max_connections=3)
    pools = [cluster.pool(database=f"db{number}") for number in range(3)]
    for pool in pools:
        for _ in range(3):
            pool.acquire(FakeClient())
    cluster.open_all()
    assert sum(pool.size for pool in pools) == 3


def test_a_pool_without_servers_takes_the_place_of_the_longest_idle_one() -> None:
    cluster = Cluster(max_connections=2)
    old, young, needy = (cluster.pool(database=name) for name in ("old", "young", "needy"))
    for pool in (old, young):
        (client,) = hold(cluster, pool, 1)
        give_back(pool, client)
        cluster.clock.advance(0.1)
    client = FakeClient()
    needy.acquire(client)
    assert (old.size, young.size) == (0, 1)
    assert old.snapshot().closed == {"given to another pool": 1}
    server = cluster.open_next()
    assert client.server is server


def test_a_pool_with_its_share_does_not_take_a_server_that_has_just_become_idle() -> None:
    cluster = Cluster(max_connections=4)
    first, second = cluster.pool(database="first"), cluster.pool(database="second")
    hold(cluster, first, 2)
    clients = hold(cluster, second, 2)
    give_back(second, clients[0])
    waiting = FakeClient()
    first.acquire(waiting)
    cluster.tick()
    assert second.size == 2
    cluster.clock.advance(1.1)
    cluster.tick()
    assert (second.size, first.size) == (1, 3)
    server = cluster.open_next()
    assert waiting.server is server


def test_a_pool_above_its_share_gives_back_what_it_gets_back() -> None:
    cluster = Cluster(max_connections=4)
    rich, poor = cluster.pool(database="rich"), cluster.pool(database="poor")
    holders = hold(cluster, rich, 4)
    for _ in range(10):
        rich.acquire(FakeClient())
    waiting = [FakeClient() for _ in range(3)]
    for client in waiting:
        poor.acquire(client)
    for holder in holders:
        give_back(rich, holder)
        cluster.clock.advance()
        for _ in range(len(cluster.openings)):
            cluster.open_next()
    assert (rich.size, poor.size) == (2, 2)
    assert [client.server is not None for client in waiting] == [True, True, False]


def test_with_more_pools_than_connections_each_gets_its_turn() -> None:
    cluster = Cluster(max_connections=1)
    busy, other = cluster.pool(database="busy"), cluster.pool(database="other")
    (holder,) = hold(cluster, busy, 1)
    queue = [FakeClient() for _ in range(50)]
    for client in queue:
        busy.acquire(client)
    waiting = FakeClient()
    other.acquire(waiting)
    for client in [holder, *queue]:
        cluster.clock.advance(0.1)
        if waiting.server is not None:
            break
        give_back(busy, client)
        cluster.clock.advance()
        if cluster.openings and other.size:
            cluster.open_next()
    assert waiting.server is not None
    assert cluster.clock.now < 1001.5


def test_the_first_login_to_a_database_gets_its_server_from_a_pool_above_its_share() -> None:
    cluster = Cluster(max_connections=2)
    rich, new = cluster.pool(database="rich"), cluster.pool(database="new")
    holders = hold(cluster, rich, 2)
    outcomes: list[object] = []
    new.warm(outcomes.append)
    give_back(rich, holders[0])
    cluster.clock.advance()
    cluster.open_next()
    assert (outcomes, new.size, rich.size) == ([None], 1, 1)


def test_a_server_that_comes_back_unneeded_goes_to_the_pool_that_waits() -> None:
    cluster = Cluster(max_connections=1)
    first, second = cluster.pool(database="first"), cluster.pool(database="second")
    (holder,) = hold(cluster, first, 1)
    waiting = FakeClient()
    second.acquire(waiting)
    give_back(first, holder)
    cluster.clock.advance()
    server = cluster.open_next()
    assert waiting.server is server


def test_a_server_that_dies_makes_room_for_the_pool_that_waits() -> None:
    cluster = Cluster(max_connections=1)
    first, second = cluster.pool(database="first"), cluster.pool(database="second")
    (holder,) = hold(cluster, first, 1)
    waiting = FakeClient()
    second.acquire(waiting)
    assert holder.server is not None
    first.discard(holder.server, "server lost")
    cluster.clock.advance()
    server = cluster.open_next()
    assert waiting.server is server


def test_nothing_is_given_back_for_clients_that_have_left() -> None:
    cluster = Cluster(max_connections=2)
    rich, poor = cluster.pool(database="rich"), cluster.pool(database="poor")
    holders = hold(cluster, rich, 2)
    gone = FakeClient()
    poor.acquire(gone)
    poor.forget(gone)
    give_back(rich, holders[0])
    assert rich.size == 2


def test_an_idle_server_nobody_came_for_goes_to_the_pool_that_waits() -> None:
    cluster = Cluster(max_connections=1)
    first, second = cluster.pool(database="first"), cluster.pool(database="second")
    gone, waiting = FakeClient(), FakeClient()
    first.acquire(gone)
    second.acquire(waiting)
    first.forget(gone)
    cluster.open_next()
    cluster.clock.advance()
    server = cluster.open_next()
    assert waiting.server is server


def test_a_budget_that_shrinks_closes_idle_servers_and_then_returned_ones() -> None:
    cluster = Cluster(max_connections=3)
    pool = cluster.pool()
    holders = hold(cluster, pool, 3)
    give_back(pool, holders[0])
    cluster.budget.max_connections = 1
    cluster.tick()
    assert pool.size == 2
    give_back(pool, holders[1])
    give_back(pool, holders[2])
    assert pool.size == 1


def test_the_hint_names_the_clusters_limit_when_that_is_what_a_client_waits_for() -> None:
    cluster = Cluster(max_connections=1)
    first, second = cluster.pool(database="first"), cluster.pool(PoolLimits(), database="second")
    hold(cluster, first, 1)
    client = FakeClient()
    second.acquire(client)
    cluster.clock.advance(16)
    assert isinstance(client.error, PoolTimeout)
    assert 'max_connections of cluster "main"' in str(client.error.hint)
