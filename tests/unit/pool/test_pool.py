"""The pool as its clients meet it: who gets which server, when, and what they are told otherwise."""

from __future__ import annotations

import pytest

from proxy.errors import PoolFull, PoolTimeout, ServerLoginFailed, ServerUnreachable, ShuttingDown
from proxy.pool.core import PoolLimits
from proxy.pool.pool import Pool
from proxy.server.ports import ServerPort
from proxy.tenants.model import PoolMode
from tests.unit.pool.fakes import Cluster, FakeClient, FakeServer, give_back, lend


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def idle_servers(cluster: Cluster, pool: Pool, tenants: list[str]) -> list[FakeServer]:
    """One idle server for each of these tenants, in this order of return."""
    clients = [FakeClient(tenant) for tenant in tenants]
    servers = []
    for client in clients:
        assert pool.acquire(client) is None
        servers.append(cluster.open_next())
    for client in clients:
        give_back(pool, client)
        cluster.clock.advance(0.001)
    return servers


# --- lending


def test_the_first_client_waits_until_a_server_is_opened_for_it(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient()
    assert pool.acquire(client) is None
    server = cluster.open_next()
    assert client.server is server
    assert server.tenant_id == "acme"
    assert pool.baseline == {b"server_version": b"18.4"}


def test_a_tenant_gets_back_its_own_server_at_once(cluster: Cluster) -> None:
    pool = cluster.pool()
    servers = idle_servers(cluster, pool, ["acme", "globex"])
    assert pool.acquire(FakeClient("acme")) is servers[0]
    assert servers[0].reset_levels == []


def test_of_a_tenants_own_servers_the_last_one_back_is_lent_first(cluster: Cluster) -> None:
    pool = cluster.pool()
    servers = idle_servers(cluster, pool, ["acme", "acme", "acme"])
    assert [pool.acquire(FakeClient("acme")) for _ in range(3)] == servers[::-1]


def test_a_server_of_another_tenant_is_reset_before_it_is_lent(cluster: Cluster) -> None:
    pool = cluster.pool()
    (server,) = idle_servers(cluster, pool, ["acme"])
    client = FakeClient("globex")
    assert pool.acquire(client) is None
    assert client.is_waiting
    assert server.reset_levels == [1]
    server.finish_reset()
    assert client.server is server
    assert server.tenant_id == "globex"
    assert cluster.openings == []


def test_another_tenants_server_is_taken_from_whoever_used_it_least_recently(cluster: Cluster) -> None:
    pool = cluster.pool()
    servers = idle_servers(cluster, pool, ["acme", "umbrella"])
    pool.acquire(FakeClient("globex"))
    assert [server.reset_levels for server in servers] == [[1], []]


def test_in_a_trusted_pool_a_server_changes_tenants_without_a_reset(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(trusted=True))
    (server,) = idle_servers(cluster, pool, ["acme"])
    assert pool.acquire(FakeClient("globex")) is server
    assert server.reset_levels == []


def test_a_pool_that_is_no_longer_trusted_resets_what_lies_idle(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(trusted=True))
    (server,) = idle_servers(cluster, pool, ["acme"])
    pool.configure(PoolLimits(trusted=False))
    assert pool.acquire(FakeClient("globex")) is None
    assert server.reset_levels == [1]


@pytest.mark.parametrize("taint", [1, 2])
def test_a_tainted_server_is_reset_when_it_comes_back_even_in_a_trusted_pool(cluster: Cluster, taint: int) -> None:
    pool, client = cluster.pool(PoolLimits(trusted=True, size=1)), FakeClient()
    server = lend(cluster, pool, client)
    server.taint = taint
    give_back(pool, client)
    assert server.reset_levels == [taint]
    again = FakeClient()
    assert pool.acquire(again) is None
    server.finish_reset()
    assert again.server is server
    assert server.taint == 0


def test_a_server_that_was_reset_goes_to_any_tenant_without_another_reset(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient("acme")
    server = lend(cluster, pool, client)
    server.taint = 1
    give_back(pool, client)
    server.finish_reset()
    assert pool.acquire(FakeClient("globex")) is server
    assert server.reset_levels == [1]


@pytest.mark.parametrize("is_at_once", [True, False])
def test_a_server_whose_reset_fails_is_closed_and_the_next_one_tried(cluster: Cluster, is_at_once: bool) -> None:
    pool = cluster.pool()
    bad, good = idle_servers(cluster, pool, ["acme", "acme"])
    bad.resets_at_once = False if is_at_once else None
    client = FakeClient("globex")
    assert pool.acquire(client) is None
    cluster.clock.advance()
    if not is_at_once:
        bad.finish_reset(is_reset=False)
    assert bad.closed_because == "reset failed"
    good.finish_reset()
    assert client.server is good


def test_a_reset_that_ends_at_once_still_grants_outside_acquire(cluster: Cluster) -> None:
    pool = cluster.pool()
    (server,) = idle_servers(cluster, pool, ["acme"])
    server.resets_at_once = True
    client = FakeClient("globex")
    assert pool.acquire(client) is None
    assert client.is_waiting
    cluster.clock.advance()
    assert client.server is server


def test_a_reset_server_is_for_the_tenant_that_it_was_reset_for(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(size=1))
    holder, flood, quiet = FakeClient("hot"), [FakeClient("hot") for _ in range(3)], FakeClient("quiet")
    server = lend(cluster, pool, holder)
    for client in [*flood, quiet]:
        pool.acquire(client)
    give_back(pool, holder)
    give_back(pool, flood[0])
    assert server.reset_levels == [1]
    server.finish_reset()
    assert quiet.server is server


# --- release: the one door


def test_an_unusable_server_is_closed_for_the_reason_it_states(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient()
    server = lend(cluster, pool, client)
    server.problem = "replies owed"
    server.taint = 2
    give_back(pool, client)
    assert server.closed_because == "replies owed"
    assert server.reset_levels == []
    assert pool.snapshot().closed == {"replies owed": 1}


def test_a_server_older_than_its_lifetime_is_not_lent_again(cluster: Cluster) -> None:
    pool, client = cluster.pool(PoolLimits(lifetime_s=60)), FakeClient()
    server = lend(cluster, pool, client)
    cluster.clock.advance(61)
    give_back(pool, client)
    assert server.closed_because == "lifetime"


def test_a_smaller_size_after_a_reload_holds_as_servers_come_back(cluster: Cluster) -> None:
    pool, clients = cluster.pool(), [FakeClient() for _ in range(3)]
    servers = [lend(cluster, pool, client) for client in clients]
    pool.configure(PoolLimits(size=1))
    for client in clients:
        give_back(pool, client)
    assert [server.closed_because for server in servers] == ["pool over size", "pool over size", None]


def test_a_server_released_twice_is_lent_once(cluster: Cluster) -> None:
    pool, client = cluster.pool(PoolLimits(size=1)), FakeClient()
    server = lend(cluster, pool, client)
    pool.release(server)
    pool.release(server)
    assert pool.acquire(FakeClient()) is server
    assert pool.acquire(FakeClient()) is None


def test_a_server_that_was_discarded_is_closed_when_it_is_released_after_all(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient()
    server = lend(cluster, pool, client)
    pool.discard(server, "server lost")
    pool.release(server)
    assert server.closed_because == "server lost"
    assert pool.size == 0


def test_a_server_that_dies_idle_is_not_lent(cluster: Cluster) -> None:
    pool = cluster.pool()
    dead, alive = idle_servers(cluster, pool, ["acme", "acme"])
    pool.discard(alive, "server lost")
    assert pool.acquire(FakeClient()) is dead


def test_a_server_that_dies_in_its_reset_makes_room_for_a_new_one(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(size=1))
    (server,) = idle_servers(cluster, pool, ["acme"])
    client = FakeClient("globex")
    pool.acquire(client)
    done = server.reset_done
    pool.discard(server, "server lost")
    assert done is not None
    done(False)
    assert client.is_waiting
    fresh = cluster.open_next()
    assert client.server is fresh


# --- limits


def test_no_more_than_size_servers_are_opened(cluster: Cluster) -> None:
    pool, clients = cluster.pool(PoolLimits(size=3)), [FakeClient() for _ in range(10)]
    for client in clients:
        pool.acquire(client)
    cluster.open_all()
    assert [client.server is not None for client in clients] == [True] * 3 + [False] * 7


def test_no_more_servers_are_opened_than_clients_wait_and_few_at_a_time(cluster: Cluster) -> None:
    pool = cluster.pool()
    pool.acquire(FakeClient())
    assert len(cluster.openings) == 1
    for _ in range(10):
        pool.acquire(FakeClient())
    assert len(cluster.openings) == 4


def test_a_tenant_at_its_limit_waits_while_others_are_served(cluster: Cluster) -> None:
    pool, clients = cluster.pool(), [FakeClient("capped", max_servers=2) for _ in range(4)]
    for client in clients:
        pool.acquire(client)
    other = FakeClient("other")
    pool.acquire(other)
    cluster.open_all()
    assert [client.server is not None for client in clients] == [True, True, False, False]
    assert other.server is not None
    give_back(pool, clients[0])
    assert clients[2].server is not None


def test_a_tenant_at_its_limit_gets_no_idle_server_either(cluster: Cluster) -> None:
    pool, first, second = cluster.pool(PoolLimits(trusted=True)), FakeClient("capped", 1), FakeClient("capped", 1)
    idle_servers(cluster, pool, ["acme", "globex"])
    first.server = pool.acquire(first)
    assert pool.acquire(second) is None
    cluster.clock.advance(1)
    assert second.is_waiting
    give_back(pool, first)
    assert second.server is not None


def test_a_server_opened_for_a_tenant_that_is_at_its_limit_by_then_serves_another(cluster: Cluster) -> None:
    pool, clients, other = cluster.pool(), [FakeClient("capped", 2) for _ in range(2)], FakeClient("other")
    for client in clients:
        pool.acquire(client)
    cluster.open_next()
    clients[1].max_servers = 1
    pool.maintain()
    pool.acquire(other)
    server = cluster.open_next()
    assert other.server is server
    assert clients[1].is_waiting


def test_a_server_in_reset_after_use_counts_against_its_tenants_limit(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient("capped", max_servers=1)
    server = lend(cluster, pool, client)
    server.taint = 1
    give_back(pool, client)
    again = FakeClient("capped", max_servers=1)
    assert pool.acquire(again) is None
    assert cluster.openings == []
    server.finish_reset()
    assert again.server is server


def test_clients_of_one_tenant_are_served_in_order_of_arrival(cluster: Cluster) -> None:
    pool, clients = cluster.pool(PoolLimits(size=1)), [FakeClient() for _ in range(4)]
    served: list[int] = []
    for number, client in enumerate(clients):
        client.on_granted = lambda server, number=number: served.append(number)
        pool.acquire(client)
    cluster.open_next()
    for client in clients:
        give_back(pool, client)
    assert served == [0, 1, 2, 3]


def test_a_newcomer_does_not_pass_those_who_wait(cluster: Cluster) -> None:
    pool, holder, waiting, newcomer = cluster.pool(PoolLimits(size=1)), FakeClient(), FakeClient(), FakeClient()
    lend(cluster, pool, holder)
    pool.acquire(waiting)
    taken: list[ServerPort | None] = []
    waiting.on_granted = lambda server: taken.append(pool.acquire(newcomer))
    give_back(pool, holder)
    assert waiting.server is not None
    assert taken == [None]
    give_back(pool, waiting)
    assert newcomer.server is not None


def test_a_newcomer_does_not_take_an_idle_server_from_those_about_to_be_served(cluster: Cluster) -> None:
    pool, newcomer = cluster.pool(PoolLimits(trusted=True)), FakeClient("other")
    clients = [FakeClient("capped", 1) for _ in range(3)]
    idle_servers(cluster, pool, ["a", "b", "c"])
    clients[0].server = pool.acquire(clients[0])
    taken: list[ServerPort | None] = []
    for client in clients[1:]:
        pool.acquire(client)
        client.max_servers = 3
    clients[1].on_granted = lambda server: taken.append(pool.acquire(newcomer))
    pool.maintain()
    assert taken == [None]
    assert clients[2].server is not None


def test_a_forgotten_client_gets_nothing(cluster: Cluster) -> None:
    pool, gone, next_one = cluster.pool(PoolLimits(size=1)), FakeClient(), FakeClient()
    pool.acquire(gone)
    pool.acquire(next_one)
    pool.forget(gone)
    server = cluster.open_next()
    assert gone.server is None
    assert next_one.server is server


def test_an_opening_nobody_waits_for_any_more_serves_the_next_client(cluster: Cluster) -> None:
    pool, gone, next_one = cluster.pool(), FakeClient("acme"), FakeClient("globex")
    pool.acquire(gone)
    pool.forget(gone)
    pool.acquire(next_one)
    assert len(cluster.openings) == 1
    server = cluster.open_next()
    assert next_one.server is server


def test_a_client_that_fails_on_its_grant_costs_its_server_and_nobody_else(cluster: Cluster) -> None:
    pool, holder, broken, sound = cluster.pool(PoolLimits(size=1)), FakeClient(), FakeClient(), FakeClient()
    server = lend(cluster, pool, holder)

    def fail(_: ServerPort) -> None:
        raise ValueError("broken")

    broken.on_granted = fail
    pool.acquire(broken)
    pool.acquire(sound)
    give_back(pool, holder)
    assert server.closed_because == "client failed"
    fresh = cluster.open_next()
    assert sound.server is fresh
    with pytest.raises(ValueError, match="broken"):
        cluster.clock.advance()


# --- time


def test_a_wait_that_is_too_long_ends_with_what_happened_and_what_to_change(cluster: Cluster) -> None:
    pool, clients = cluster.pool(PoolLimits(size=1)), [FakeClient() for _ in range(3)]
    lend(cluster, pool, FakeClient())
    for client in clients:
        pool.acquire(client)
    cluster.clock.advance(14.9)
    assert clients[0].is_waiting
    cluster.clock.advance(0.2)
    error = clients[0].error
    assert isinstance(error, PoolTimeout)
    assert error.sqlstate == "53300"
    assert error.message == (
        'no server connection for database "saas" became free within 15 s (pool size 1, 3 clients waiting)'
    )
    assert error.hint is not None
    assert "pool.size" in error.hint
    assert pool.snapshot().wait_timeouts_total == 3


def test_the_hint_names_the_tenants_limit_when_that_is_what_it_waits_for(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient(max_servers=1)
    lend(cluster, pool, FakeClient(max_servers=1))
    pool.acquire(client)
    cluster.clock.advance(16)
    assert client.error is not None
    assert "max_server_connections" in str(client.error.hint)


def test_who_times_its_own_wait_is_not_ended_by_the_pool(cluster: Cluster) -> None:
    pool, patient, ordinary = cluster.pool(PoolLimits(size=1, query_wait_notify_s=5.0)), FakeClient(), FakeClient()
    lend(cluster, pool, FakeClient())
    pool.acquire(patient, is_timed=False)
    cluster.clock.advance(1.0)
    pool.acquire(ordinary)
    cluster.clock.advance(15.1)
    assert ordinary.error is not None
    assert patient.is_waiting
    assert patient.told_waiting_s == [5.0]
    cluster.clock.advance(1000)
    assert patient.is_waiting


def test_a_later_client_with_less_patience_than_the_next_notice_is_refused_in_time(cluster: Cluster) -> None:
    pool, patient, ordinary = cluster.pool(PoolLimits(size=1, wait_timeout_s=0.3)), FakeClient(), FakeClient()
    lend(cluster, pool, FakeClient())
    pool.acquire(patient, is_timed=False)
    pool.acquire(ordinary)
    cluster.clock.advance(0.31)
    assert ordinary.error is not None


def test_who_gives_up_is_told_what_the_pool_would_have_told_it(cluster: Cluster) -> None:
    pool, hasty, next_one = cluster.pool(PoolLimits(size=1)), FakeClient(), FakeClient("globex")
    holder = FakeClient()
    server = lend(cluster, pool, holder)
    pool.acquire(hasty, is_timed=False)
    pool.acquire(next_one)
    error = pool.give_up(hasty, 0.1)
    assert error is not None
    assert error.message == (
        'no server connection for database "saas" became free within 0.1 s (pool size 1, 2 clients waiting)'
    )
    assert error.sqlstate == "53300"
    assert pool.snapshot().wait_timeouts_total == 1
    assert pool.give_up(hasty, 0.1) is None
    assert hasty.is_waiting, "it is told by whoever made it give up"
    give_back(pool, holder)
    server.finish_reset()
    assert next_one.server is server


def test_in_session_mode_the_hints_are_other_ones() -> None:
    cluster = Cluster()
    pool = cluster.pool(PoolLimits(size=1, max_waiting=1), mode=PoolMode.SESSION)
    lend(cluster, pool, FakeClient())
    waiting, surplus = FakeClient(), FakeClient()
    pool.acquire(waiting)
    pool.acquire(surplus)
    cluster.clock.advance(16)
    assert waiting.error is not None
    assert "pool.session_size" in str(waiting.error.hint)
    assert "until it disconnects" in str(waiting.error.hint)
    assert surplus.error is not None
    assert "pool.session_size" in str(surplus.error.hint)
    assert pool.snapshot().mode == "session"


def test_a_waiting_client_is_told_once(cluster: Cluster) -> None:
    pool, client = cluster.pool(PoolLimits(size=1)), FakeClient()
    lend(cluster, pool, FakeClient())
    pool.acquire(client)
    cluster.clock.advance(4.9)
    assert client.told_waiting_s == []
    cluster.clock.advance(5)
    assert client.told_waiting_s == [pytest.approx(5.0)]


def test_all_waiting_clients_share_one_timer(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(size=1))
    lend(cluster, pool, FakeClient())
    for _ in range(100):
        pool.acquire(FakeClient())
        cluster.clock.advance(0.01)
    assert cluster.clock.pending == 1


def test_a_full_queue_refuses_the_next_client_outside_acquire(cluster: Cluster) -> None:
    pool, late = cluster.pool(PoolLimits(size=1, max_waiting=2)), FakeClient()
    lend(cluster, pool, FakeClient())
    for client in (FakeClient(), FakeClient(), late):
        assert pool.acquire(client) is None
    assert late.is_waiting
    cluster.clock.advance()
    assert isinstance(late.error, PoolFull)
    assert pool.snapshot().refused_total == 1


def test_a_client_that_is_forgotten_is_not_refused_any_more(cluster: Cluster) -> None:
    pool, late = cluster.pool(PoolLimits(size=1, max_waiting=1)), FakeClient()
    lend(cluster, pool, FakeClient())
    pool.acquire(FakeClient())
    pool.acquire(late)
    pool.forget(late)
    cluster.clock.advance()
    assert late.error is None


# --- failure to open


def unreachable() -> ServerUnreachable:
    return ServerUnreachable("could not connect")


def test_waiting_clients_get_the_error_when_no_server_can_be_opened(cluster: Cluster) -> None:
    pool, clients, error = cluster.pool(), [FakeClient(), FakeClient()], unreachable()
    for client in clients:
        pool.acquire(client)
    cluster.fail_next(error)
    assert [client.error for client in clients] == [None, None]
    cluster.fail_next(error)
    assert [client.error for client in clients] == [error, error]


def test_clients_keep_waiting_for_a_server_that_exists_though_another_can_not_be_opened(cluster: Cluster) -> None:
    pool, holder, waiting = cluster.pool(), FakeClient(), FakeClient()
    server = lend(cluster, pool, holder)
    pool.acquire(waiting)
    cluster.fail_next(unreachable())
    assert waiting.error is None
    give_back(pool, holder)
    assert waiting.server is server


def test_after_a_failure_new_clients_get_the_last_error_at_once_and_recovery_is_automatic(cluster: Cluster) -> None:
    pool, error = cluster.pool(), unreachable()
    pool.acquire(FakeClient())
    cluster.fail_next(error)
    early, late = FakeClient(), FakeClient()
    pool.acquire(early)
    cluster.clock.advance()
    assert early.error is error
    assert cluster.openings == []
    cluster.clock.advance(1.1)
    pool.acquire(late)
    assert late.is_waiting
    server = cluster.open_next()
    assert late.server is server


def test_a_cluster_that_answers_again_is_tried_before_the_pause_is_over(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient()
    for _ in range(6):
        pool.acquire(FakeClient())
        cluster.fail_next(unreachable())
        cluster.clock.advance(15.1)
    pool.acquire(FakeClient())
    cluster.fail_next(unreachable())
    assert pool.is_unreachable
    pool.try_again()
    pool.acquire(client)
    assert client.is_waiting
    cluster.open_next()
    assert client.server is not None


def test_a_login_that_is_refused_is_not_tried_again_because_the_cluster_answers(cluster: Cluster) -> None:
    pool, client = cluster.pool(), FakeClient()
    pool.acquire(FakeClient())
    error = ServerLoginFailed("password authentication failed")
    cluster.fail_next(error)
    assert not pool.is_unreachable
    pool.try_again()
    pool.acquire(client)
    cluster.clock.advance()
    assert client.error is error


def test_while_opening_fails_one_attempt_is_made_at_a_time(cluster: Cluster) -> None:
    pool = cluster.pool()
    pool.acquire(FakeClient())
    cluster.fail_next(unreachable())
    cluster.clock.advance(1.1)
    for _ in range(5):
        pool.acquire(FakeClient())
    assert len(cluster.openings) == 1


def test_a_pool_with_servers_tries_again_after_the_pause_without_being_asked(cluster: Cluster) -> None:
    pool, waiting = cluster.pool(), FakeClient()
    lend(cluster, pool, FakeClient())
    pool.acquire(waiting)
    cluster.fail_next(unreachable())
    cluster.clock.advance(0.9)
    assert cluster.openings == []
    cluster.clock.advance(0.2)
    assert waiting.is_waiting
    assert cluster.open_next() is waiting.server


def test_clients_that_wait_are_refused_when_the_last_server_dies_during_the_pause(cluster: Cluster) -> None:
    pool, holder, waiting, error = cluster.pool(), FakeClient(), FakeClient(), unreachable()
    server = lend(cluster, pool, holder)
    pool.acquire(waiting)
    cluster.fail_next(error)
    pool.discard(server, "server lost")
    assert waiting.error is error


# --- maintenance


def test_idle_servers_are_closed_after_a_while_down_to_the_minimum(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(min_size=1, idle_timeout_s=30))
    servers = idle_servers(cluster, pool, ["acme", "acme", "globex"])
    cluster.clock.advance(29)
    pool.maintain()
    assert pool.size == 3
    cluster.clock.advance(2)
    pool.maintain()
    assert [server.closed_because for server in servers] == ["idle timeout", "idle timeout", None]


def test_an_old_idle_server_is_replaced_to_keep_the_minimum(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(min_size=1, lifetime_s=60))
    (server,) = idle_servers(cluster, pool, ["acme"])
    cluster.clock.advance(61)
    pool.maintain()
    assert server.closed_because == "lifetime"
    fresh = cluster.open_next()
    assert pool.acquire(FakeClient("globex")) is fresh


def test_a_raised_limit_of_a_tenant_takes_effect_at_the_next_tick(cluster: Cluster) -> None:
    pool = cluster.pool()
    lend(cluster, pool, FakeClient(max_servers=1))
    waiting = FakeClient(max_servers=1)
    pool.acquire(waiting)
    waiting.max_servers = 2
    pool.maintain()
    assert waiting.is_waiting
    assert cluster.open_next() is waiting.server


def test_tenants_that_left_no_trace_cost_no_memory(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(size=1, trusted=True))
    lend(cluster, pool, client := FakeClient("first"))
    give_back(pool, client)
    for number in range(100):
        client = FakeClient(f"tenant{number}")
        client.server = pool.acquire(client)
        give_back(pool, client)
    pool.maintain()
    assert len(pool._core.queue._lines) == 1


# --- the end


def test_a_draining_pool_closes_idle_servers_at_once_and_lent_ones_when_they_come_back(cluster: Cluster) -> None:
    pool, holder, waiting, late = (
        cluster.pool(PoolLimits(size=2)),
        FakeClient(),
        FakeClient(max_servers=1),
        FakeClient(),
    )
    idle, lent = idle_servers(cluster, pool, ["globex", "acme"])
    holder.server = pool.acquire(holder)
    holder.max_servers = waiting.max_servers = 1
    pool.acquire(waiting)
    pool.drain()
    pool.acquire(late)
    cluster.clock.advance()
    assert idle.closed_because == "draining"
    assert pool.size == 1
    assert isinstance(waiting.error, ShuttingDown)
    assert isinstance(late.error, ShuttingDown)
    assert cluster.emptied == 0
    give_back(pool, holder)
    assert lent.closed_because == "draining"
    assert cluster.emptied == 1


def test_a_server_that_arrives_in_a_draining_pool_is_closed(cluster: Cluster) -> None:
    pool = cluster.pool()
    pool.acquire(FakeClient())
    pool.drain()
    assert cluster.open_next().closed_because == "draining"


# --- what is seen


def test_the_snapshot_shows_every_state(cluster: Cluster) -> None:
    pool = cluster.pool(PoolLimits(size=4))
    idle_servers(cluster, pool, ["a", "b", "c"])
    held = FakeClient("a")
    held.server = pool.acquire(held)
    tainted = FakeClient("b")
    tainted.server = pool.acquire(tainted)
    assert isinstance(tainted.server, FakeServer)
    tainted.server.taint = 2
    give_back(pool, tainted)
    for _ in range(3):
        pool.acquire(FakeClient("b", max_servers=2))
    cluster.clock.advance(2)
    snapshot = pool.snapshot()
    assert (snapshot.cl_active, snapshot.sv_active, snapshot.cl_waiting) == (1, 1, 3)
    assert (snapshot.sv_idle, snapshot.sv_used, snapshot.sv_login) == (0, 2, 0)
    assert snapshot.maxwait_seconds == pytest.approx(2.0)
    assert (snapshot.opened_total, snapshot.resets_total) == (3, 2)
