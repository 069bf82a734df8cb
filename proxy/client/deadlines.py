"""What a client has until when: the one deadline that comes first, and when to look again.

Pure: the clock's reading is passed in. Nothing is counted while statements run; `connection.py` keeps one timer per client
and asks here when it fires, so a limit costs a client that keeps it one look per limit's length.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.client.session_terms import SessionLimits
from proxy.client.states import State
from proxy.errors import IdleInTransactionTimeout, IdleTimeout, ProxyError, QueryTimeout, TransactionTimeout
from proxy.wire import codes

BUSY: Final = frozenset((State.BATCH, State.BUSY, State.COPY_IN))
"""The states in which PostgreSQL owes something, or waits for the rest of what the client sends."""


class Limit(Enum):
    """A limit on time; the value is its label in the metrics."""

    QUERY = "query"
    QUERY_UNANSWERED = "query_unanswered"  # cancelled, and yet not over
    TRANSACTION = "transaction"
    IDLE_IN_TRANSACTION = "idle_in_transaction"
    PIN = "pin"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a client is; times are the loop's, in seconds.

    `began`: when the segment under way was sent; `lent_at`: when the transaction began, 0.0 while PostgreSQL knows of none:
    a client that has said nothing but BEGIN holds nothing that anybody waits for; `cancelled_at`: when this segment
    was cancelled for its length, if it was; `pinned`: for what it keeps a server, or ''.
    """

    state: int
    status: int
    began: float
    lent_at: float
    last_activity: float
    pinned: str = ""
    cancelled_at: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """When which limit is reached."""

    at: float
    limit_s: float
    limit: Limit


def first_deadline(now: Situation, limits: SessionLimits, cancel_timeout_s: float) -> Deadline | None:
    """The first of the limits that count at present; None if none does."""
    deadlines = [
        Deadline(since + limit_s, limit_s, limit)
        for since, limit_s, limit in _running(now, limits, cancel_timeout_s)
        if limit_s
    ]
    return min(deadlines, key=_time, default=None)


def shortest(limits: SessionLimits) -> float:
    """What begins from now on has at least this much time, in seconds; 0 if nothing has a limit."""
    least_s = 0.0
    for limit_s in (
        limits.query_timeout_s,
        limits.transaction_timeout_s,
        limits.idle_in_transaction_timeout_s,
        limits.pin_timeout_s,
        limits.idle_timeout_s,
    ):
        if limit_s and (not least_s or limit_s < least_s):
            least_s = limit_s
    return least_s


def farewell(deadline: Deadline, pinned: str) -> ProxyError:
    """What a client is told whose connection ends at this deadline."""
    after = f"{deadline.limit_s:g} s"
    match deadline.limit:
        case Limit.QUERY | Limit.QUERY_UNANSWERED:
            return QueryTimeout(
                "terminating connection due to query timeout",
                hint=f"The statement was cancelled, but did not end within {after}: PostgreSQL can not be interrupted where "
                "it is, or it waits for the client to send or to read the rest.",
            )
        case Limit.TRANSACTION:
            return TransactionTimeout(
                "terminating connection due to transaction timeout",
                hint=f"A transaction may last {after}: see transaction_timeout.",
            )
        case Limit.IDLE_IN_TRANSACTION:
            return IdleInTransactionTimeout(
                "terminating connection due to idle-in-transaction timeout",
                hint=f"Inside a transaction a client may be silent for {after}: see idle_in_transaction_timeout.",
            )
        case Limit.PIN:
            return IdleTimeout(
                f"terminating connection that kept a server without using it for {after}",
                hint=f"The server was kept for what the session holds ({pinned}): see pin_timeout, or use a session endpoint.",
            )
        case Limit.IDLE:
            return IdleTimeout(
                f"terminating connection after {after} of inactivity",
                hint="Connect again: see client_idle_timeout.",
            )


def _running(now: Situation, limits: SessionLimits, cancel_timeout_s: float) -> list[tuple[float, float, Limit]]:
    """The limits that count at present: since when, how long, which."""
    if now.state in BUSY:
        if not now.lent_at:
            return []  # what runs is the proxy's own: it prepares the server, or looks at what is left there
        query = (now.began, limits.query_timeout_s, Limit.QUERY)
        if now.cancelled_at is not None:
            query = (now.cancelled_at, cancel_timeout_s, Limit.QUERY_UNANSWERED)
        return [(now.lent_at, limits.transaction_timeout_s, Limit.TRANSACTION), query]
    if now.state not in (State.IDLE, State.HELD):
        return []
    if now.state == State.HELD and now.status != codes.IDLE and now.lent_at:
        return [
            (now.lent_at, limits.transaction_timeout_s, Limit.TRANSACTION),
            (now.last_activity, limits.idle_in_transaction_timeout_s, Limit.IDLE_IN_TRANSACTION),
        ]
    running = [(now.last_activity, limits.idle_timeout_s, Limit.IDLE)]
    if now.pinned and now.state == State.HELD:
        running.append((now.last_activity, limits.pin_timeout_s, Limit.PIN))
    return running


def _time(deadline: Deadline) -> float:
    return deadline.at
