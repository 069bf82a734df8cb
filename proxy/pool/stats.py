"""What happened in a pool, and how it looks now: PgBouncer's `SHOW POOLS`, and more."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.observe.gauges import PoolSnapshot
from proxy.pool.core import PoolCore
from proxy.pool.limits import PoolKey
from proxy.pool.slots import SlotState


@dataclass(slots=True)
class PoolCounters:
    """What happened in a pool since it was made, and what those who hold its servers say of them.

    `waits`, `wait_timeouts` and `refused` (at once, or all together when no server could be opened) count clients, the
    others servers. `pinned` and `recovering` go up and down and are kept by who holds the servers: lent ones tied to
    their client beyond its transaction, and lent ones that end the transaction of a client that left.
    """

    waits: int = 0
    wait_timeouts: int = 0
    refused: int = 0
    opened: int = 0
    resets: int = 0
    reset_failures: int = 0
    connect_errors: int = 0
    pinned: int = 0
    recovering: int = 0
    closed: dict[str, int] = field(default_factory=dict)

    def count_closed(self, reason: str) -> None:
        """One server more was closed for `reason`."""
        self.closed[reason] = self.closed.get(reason, 0) + 1


def snapshot(key: PoolKey, core: PoolCore, counters: PoolCounters, now: float) -> PoolSnapshot:
    """The pool now. `sv_used` are the servers being reset."""
    states = [slot.state for slot in core.slots.values()]
    active = states.count(SlotState.LENT)
    oldest = core.queue.oldest()
    return PoolSnapshot(
        cluster=key.cluster,
        database=key.database,
        user=key.user,
        mode=key.mode.value,
        cl_active=active,
        cl_waiting=core.queue.waiting,
        sv_active=active,
        sv_idle=core.idle.count,
        sv_used=states.count(SlotState.RESETTING),
        sv_login=len(core.opening),
        sv_recovering=counters.recovering,
        sv_pinned=counters.pinned,
        max_size=core.limits.size,
        maxwait_seconds=0.0 if oldest is None else now - oldest.arrived,
        waits_total=counters.waits,
        wait_timeouts_total=counters.wait_timeouts,
        refused_total=counters.refused,
        opened_total=counters.opened,
        closed=dict(counters.closed),
        resets_total=counters.resets,
        reset_failures_total=counters.reset_failures,
        connect_errors_total=counters.connect_errors,
    )
