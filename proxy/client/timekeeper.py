"""The one timer of a client: it fires when a limit may be reached, and asks `deadlines.py` whether one is.

Lazy: a transaction costs nothing while the timer is armed already. The session calls `watch` when something with a limit
begins and nobody watches; from then on the timer is set again and again until nothing runs.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from proxy.client.deadlines import BUSY, Deadline, Limit, Situation, first_deadline, shortest
from proxy.client.services import Terms
from proxy.client.session import Session
from proxy.client.states import State
from proxy.net.timers import TICK_S, no_later


class TimedClient(Protocol):
    """Who acts when time is up."""

    def time_is_up(self, deadline: Deadline) -> None:
        """A limit is reached; the connection is to be ended, or, for a query, what runs to be cancelled."""

    def waited_in_vain(self, wait_s: float) -> None:
        """The client has waited for a server for as long as it may."""


class Timekeeper:
    """The time limits of one client, from its login to its end.

    `cancel_timeout_s`: what a cancelled query has until it must be over. `waits_since`: when the client began to wait for a
    server, if it waits.
    """

    __slots__ = (
        "_cancel_timeout_s",
        "_cancelled",
        "_client",
        "_is_called",
        "_session",
        "_shortest_s",
        "_timer",
        "terms",
        "waits_since",
    )

    def __init__(self, client: TimedClient, session: Session, terms: Terms, cancel_timeout_s: float) -> None:
        self._client = client
        self._session = session
        self._cancel_timeout_s = cancel_timeout_s
        limits = terms.session
        self._is_called = limits.are_timed  # the session looks at the limits it began with
        self._timer: asyncio.TimerHandle | None = None
        self._cancelled: tuple[float, float] | None = (
            None  # when a segment was cancelled for its length, and its `began`
        )
        self.waits_since = 0.0
        self.terms = terms
        self._shortest_s = shortest(limits)
        if limits.idle_timeout_s:  # a client that has just come can only be idle
            self.look()

    def renew(self, terms: Terms, cancel_timeout_s: float) -> None:
        """Other limits are in force, for what runs as well."""
        self.terms = terms
        self._cancel_timeout_s = cancel_timeout_s
        self._shortest_s = shortest(terms.session)
        self.look()

    def stop(self) -> None:
        """The client is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def watch(self) -> None:
        """Something with a limit begins: it has no deadline before this."""
        if self._shortest_s:
            self._look_by(self._session.began + self._shortest_s)

    def wait_begins(self) -> None:
        """The client waits for a server."""
        self.waits_since = monotonic()
        if self.terms.wait_timeout_s:
            self._look_by(self.waits_since + self.terms.wait_timeout_s)

    def look(self) -> None:
        """Have done what is due, and find out when to look next."""
        self.stop()
        session = self._session
        now = monotonic()
        if session.state == State.WAITING:
            self._look_at_wait(now)
            return
        deadline = self._first_deadline(now)
        if session.state == State.CLOSED:
            return
        # While nothing runs the session calls when something begins.
        session.is_watched = session.state in BUSY
        if deadline is not None:
            self._look_by(deadline.at)
        if self._shortest_s and (session.is_watched or not self._is_called):
            self._look_by(now + self._shortest_s)

    def _first_deadline(self, now: float) -> Deadline | None:
        """The first deadline to come; what has passed is acted upon."""
        cancel_timeout_s = self._cancel_timeout_s
        deadline = first_deadline(self._situation(), self.terms.session, cancel_timeout_s)
        if deadline is None or deadline.at > now + TICK_S:
            return deadline
        if deadline.limit is Limit.QUERY:
            self._cancelled = (now, self._session.began)
        self._client.time_is_up(deadline)
        return first_deadline(self._situation(), self.terms.session, cancel_timeout_s)

    def _situation(self) -> Situation:
        session, cancelled = self._session, self._cancelled
        return Situation(
            session.state,
            session.status,
            session.began,
            session.lent_at,
            session.last_activity,
            session.pinned,
            cancelled[0] if cancelled is not None and cancelled[1] == session.began else None,
        )

    def _look_at_wait(self, now: float) -> None:
        self._session.is_watched = False
        wait_s = self.terms.wait_timeout_s
        if wait_s and self.waits_since + wait_s <= now + TICK_S:
            self._client.waited_in_vain(wait_s)
            if self._session.state not in (State.WAITING, State.CLOSED):
                self.look()
                return
        elif wait_s:
            self._look_by(self.waits_since + wait_s)
        if self._shortest_s and self._session.state != State.CLOSED:
            self._look_by(now + self._shortest_s)

    def _look_by(self, at: float) -> None:
        self._timer = no_later(self._timer, at, self.look)
