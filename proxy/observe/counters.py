"""Plain integers on their owners: what the data path counts.

Nothing here locks, allocates or formats: counting is an integer add, timing a bisect and two adds. The event loop is
the only writer; a scrape may read from another thread, where each number is true for itself and numbers may be one
event apart. Names, labels and help texts live with the families (`families.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from mypy_extensions import i64

from proxy.errors import ErrorKind, ProxyError

# The types are spelled out because mypyc leaves a bare `Final` tuple unset.
QUERY_SECONDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds for query times: from a primary-key read to what a statement_timeout usually ends."""

WAIT_SECONDS: Final[tuple[float, ...]] = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0)
"""Upper bounds for waiting; the last one is the default `pool.wait_timeout`."""


TIMEOUTS: Final[tuple[str, ...]] = (
    "query",
    "query_unanswered",
    "transaction",
    "idle_in_transaction",
    "pin",
    "idle",
)
"""The time limits of clients, as the label `timeout` names them."""


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """A histogram at one moment; `counts` holds one more element than `bounds`: what lay above all of them."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many observations there were; the sum of `counts`, so that buckets and count never disagree."""
        return sum(self.counts)


class Histogram:
    """Observations in seconds, counted per bucket; a bucket includes its upper bound, as Prometheus' `le` does."""

    __slots__ = ("_least", "_others", "_small", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds`: upper bounds in seconds, ascending."""
        self.bounds: tuple[float, ...] = bounds
        self._least: float = bounds[0]
        self._small: i64 = 0
        self._others: list[int] = [0] * (len(bounds) + 1)
        self.sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        if seconds <= self._least:  # nearly always, and an attribute is cheaper than a list's element
            self._small += 1
        else:
            self._others[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def add(self, other: Histogram) -> None:
        """Add what `other` counted; both must have the same bounds."""
        self._small += other._small
        # One copy first: the owner may count on while this runs in a scrape's thread.
        for position, count in enumerate(tuple(other._others)):
            self._others[position] += count
        self.sum += other.sum

    @property
    def counts(self) -> list[int]:
        """Observations per bucket, and those above all bounds; a copy."""
        return [self._small, *self._others[1:]]

    @counts.setter
    def counts(self, counts: list[int]) -> None:
        self._small = counts[0]
        self._others = [0, *counts[1:]]

    def snapshot(self) -> HistogramSnapshot:
        """What was counted up to now."""
        return HistogramSnapshot(self.bounds, tuple(self.counts), self.sum)


class TrafficStats:
    """What one tenant's clients did, or what went through one pool; all of it only grows.

    `received_bytes` come from clients, `sent_bytes` go to clients. `query_seconds` runs from a segment's first byte
    sent to its ReadyForQuery, `wait_seconds` is observed for clients that had to wait for a server,
    `transaction_seconds` is the time servers were lent in all. `errors` are ErrorResponses from servers,
    `context_injections` the times settings were put in front of client bytes, `pins` the times a server was tied to a
    client beyond its transaction.
    """

    __slots__ = (
        "context_injections",
        "errors",
        "pins",
        "placement",
        "queries",
        "query_seconds",
        "received_bytes",
        "sent_bytes",
        "transaction_seconds",
        "transactions",
        "wait_seconds",
    )

    def __init__(self, placement: str = "") -> None:
        """`placement`: the tenant's placement model, `shared`, `schema` or `database`; empty for a pool."""
        self.placement: str = placement
        self.queries: int = 0
        self.transactions: int = 0
        self.received_bytes: int = 0
        self.sent_bytes: int = 0
        self.context_injections: int = 0
        self.errors: int = 0
        self.pins: int = 0
        self.transaction_seconds: float = 0.0
        self.query_seconds: Histogram = Histogram(QUERY_SECONDS)
        self.wait_seconds: Histogram = Histogram(WAIT_SECONDS)

    def add(self, other: TrafficStats) -> None:
        """Add what `other` counted: for the sum over many tenants, or over processes."""
        self.queries += other.queries
        self.transactions += other.transactions
        self.received_bytes += other.received_bytes
        self.sent_bytes += other.sent_bytes
        self.context_injections += other.context_injections
        self.errors += other.errors
        self.pins += other.pins
        self.transaction_seconds += other.transaction_seconds
        self.query_seconds.add(other.query_seconds)
        self.wait_seconds.add(other.wait_seconds)


class ProxyStats:
    """What one process counted since it started.

    `tenants` holds each tenant's current counters; `series` those of every (tenant, placement) ever seen, in order of
    appearance, so that a tenant that moves begins a new series and the old one keeps its last value: a counter never
    goes down. `received_bytes` and `sent_bytes` are those of clients without a tenant: logins and cancel requests.
    """

    __slots__ = (
        "cancels_total",
        "connections_total",
        "errors",
        "guard_refusals",
        "login_refused",
        "logins_total",
        "received_bytes",
        "sent_bytes",
        "series",
        "tenants",
        "timeouts",
    )

    def __init__(self) -> None:
        self.tenants: dict[str, TrafficStats] = {}
        self.series: dict[tuple[str, str], TrafficStats] = {}
        self.connections_total: int = 0
        self.logins_total: int = 0
        self.cancels_total: int = 0
        self.received_bytes: int = 0
        self.sent_bytes: int = 0
        self.login_refused: dict[str, int] = {}
        self.guard_refusals: dict[str, int] = {}
        self.errors: dict[str, int] = {kind.value: 0 for kind in ErrorKind}
        self.timeouts: dict[str, int] = dict.fromkeys(TIMEOUTS, 0)

    def tenant(self, tenant_id: str, placement_model: str) -> TrafficStats:
        """The counters of a tenant where it lives now; a session asks once and keeps them."""
        current = self.tenants.get(tenant_id)
        if current is not None and current.placement == placement_model:
            return current
        stats = self.series.get((tenant_id, placement_model))
        if stats is None:
            stats = self.series[tenant_id, placement_model] = TrafficStats(placement_model)
        self.tenants[tenant_id] = stats
        return stats

    def count_error(self, error: ProxyError) -> None:
        """Count an error that Gatehouse reported in its own name; a guard's refusal is counted by reason, too."""
        kind = error.kind
        self.errors[kind.value] += 1
        if kind is ErrorKind.GUARD:
            reason = reason_of(error)
            self.guard_refusals[reason] = self.guard_refusals.get(reason, 0) + 1

    def count_refused_login(self, error: ProxyError) -> None:
        """Count a login that ended with `error`, by reason and among the errors."""
        reason = reason_of(error)
        self.login_refused[reason] = self.login_refused.get(reason, 0) + 1
        self.count_error(error)


def reason_of(error: ProxyError) -> str:
    """A short label for an error: its class in snake_case, so there are only as many as classes."""
    name = type(error).__name__
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
