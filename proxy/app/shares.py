"""What one worker may take of what is allowed for all.

Workers do not talk to each other when they open a server or let a client in: each has its share, and together they have
what the configuration says. A client may therefore wait, or be refused, while another worker has room. A limit below
the number of workers is one for each of them, for none could serve anybody otherwise; where that would break a promise
to PostgreSQL (`pool.size`, `pool.session_size`, `max_connections`) such a configuration is refused.
"""

from __future__ import annotations

from typing import Final, TypeVar

from proxy.settings.model import Settings
from proxy.settings.types import Section

S = TypeVar("S", bound=Section)

POOL: Final = ("size", "session_size", "max_waiting")
LIMITS: Final = ("max_clients", "max_logins", "max_clients_per_user", "max_clients_per_tenant")
TIER: Final = ("max_server_connections", "max_clients", "max_pinned")


def share(total: int, index: int, count: int) -> int:
    """Of `total` what worker `index` of `count` gets: the remainder goes to the first ones, and nobody gets nothing.

    0, which means no limit or nothing at all, is 0 for everybody.
    """
    return max(1, floor_share(total, index, count)) if total else 0


def floor_share(total: int, index: int, count: int) -> int:
    """The same where a share may be nothing."""
    return total // count + (index < total % count)


def worker_settings(settings: Settings, index: int, count: int) -> Settings:
    """The settings of worker `index` of `count`: the same, with its share of every limit."""
    pool = _shared(settings.pool, POOL, index, count)
    pool = pool.model_copy(update={"min_size": floor_share(pool.min_size, index, count)})
    clusters = {name: _shared(each, ("max_connections",), index, count) for name, each in settings.clusters.items()}
    users = {name: _shared(each, ("max_clients",), index, count) for name, each in settings.users.items()}
    tiers = {name: _shared(each, TIER, index, count) for name, each in settings.tiers.items()}
    limits = _shared(settings.limits, LIMITS, index, count)
    update = {"pool": pool, "clusters": clusters, "users": users, "tiers": tiers, "limits": limits}
    return settings.model_copy(update=update)


def _shared(section: S, names: tuple[str, ...], index: int, count: int) -> S:
    """The section with its limits divided; one that is not given (None) stays so."""
    limits: dict[str, int | None] = {name: getattr(section, name) for name in names}
    return section.model_copy(
        update={name: None if limit is None else share(limit, index, count) for name, limit in limits.items()}
    )
