"""What one worker gets of what is allowed for all."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.app.shares import floor_share, share, worker_settings
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings

CONFIG = """\
workers: 3
pool: {size: 20, session_size: 5, min_size: 2}
limits: {max_clients: 100, max_clients_per_user: 0, max_clients_per_tenant: 7}
clusters: {main: {hosts: [a], user: g, password: {env: A}, max_connections: 80}}
users: {app: {password: {env: A}, tenants: "*", max_clients: 10}, web: {password: {env: A}, tenants: "*"}}
tiers: {small: {max_server_connections: 4, max_pinned: 0, max_clients: 2}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "gatehouse.yaml"
    file.write_text(CONFIG)
    return load_settings(file)


@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("total", [8, 9, 20, 81])
def test_shares_add_up_to_the_whole_and_differ_by_one_at_most(total: int, count: int) -> None:
    shares = [share(total, index, count) for index in range(count)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


def test_a_limit_below_the_number_of_workers_is_one_for_each() -> None:
    assert [share(2, index, 4) for index in range(4)] == [1, 1, 1, 1]
    assert [floor_share(2, index, 4) for index in range(4)] == [1, 1, 0, 0]


def test_no_limit_stays_no_limit() -> None:
    assert [share(0, index, 4) for index in range(4)] == [0, 0, 0, 0]


def test_every_limit_for_all_is_divided(settings: Settings) -> None:
    parts = [worker_settings(settings, index, 3) for index in range(3)]
    assert [part.pool.size for part in parts] == [7, 7, 6]
    assert [part.pool.session_size for part in parts] == [2, 2, 1]
    assert [part.pool.min_size for part in parts] == [1, 1, 0]
    assert [part.clusters["main"].max_connections for part in parts] == [27, 27, 26]
    assert [part.limits.max_clients for part in parts] == [34, 33, 33]
    assert [part.limits.max_clients_per_user for part in parts] == [0, 0, 0]
    assert [part.limits.max_clients_per_tenant for part in parts] == [3, 2, 2]
    assert [part.users["app"].max_clients for part in parts] == [4, 3, 3]
    assert [part.users["web"].max_clients for part in parts] == [None, None, None]
    assert [part.tiers["small"].max_server_connections for part in parts] == [2, 1, 1]
    assert [part.tiers["small"].max_pinned for part in parts] == [0, 0, 0]
    assert [part.tiers["default"].max_server_connections for part in parts] == [None, None, None]
    assert [part.tiers["default"].max_pinned for part in parts] == [1, 1, 1]


def test_what_is_no_limit_for_all_stays_as_it_is(settings: Settings) -> None:
    part = worker_settings(settings, 1, 3)
    assert part.pool.wait_timeout_s == settings.pool.wait_timeout_s
    assert part.limits.max_message_bytes == settings.limits.max_message_bytes
    assert part.tenants == settings.tenants
    assert part.listen == settings.listen
