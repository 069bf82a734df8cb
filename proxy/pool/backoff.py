"""When to try again after a server could not be opened, and what to tell clients until then.

A circuit breaker without a thread or a timer: it answers questions about a clock that is passed in. After a failure
there is a pause, and while nothing else can serve them new clients get the last error at once instead of piling up
behind a dead cluster. After the pause one attempt is made; its failure doubles the pause, its success ends the matter.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import ProxyError


class Backoff:
    """The pauses between attempts: `first_s`, doubled up to `most_s`, each shortened by up to a quarter at random."""

    __slots__ = ("_error", "_failures", "_first_s", "_most_s", "_random", "retry_at")

    def __init__(self, random: Callable[[], float], first_s: float = 1.0, most_s: float = 15.0) -> None:
        self._random = random
        self._first_s = first_s
        self._most_s = most_s
        self._failures = 0
        self._error: ProxyError | None = None
        self.retry_at = 0.0

    @property
    def is_failing(self) -> bool:
        """Has no attempt succeeded since the last failure?"""
        return self._error is not None

    @property
    def last_error(self) -> ProxyError | None:
        """What the last attempt failed with; None if it succeeded."""
        return self._error

    def failed(self, error: ProxyError, now: float) -> None:
        """An attempt failed. Attempts that were under way together count as one."""
        is_repeated = self._error is not None and now < self.retry_at
        self._error = error
        if is_repeated:
            return
        pause_s = min(self._most_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self.retry_at = now + pause_s * (1.0 - 0.25 * self._random())

    def succeeded(self) -> None:
        """An attempt succeeded."""
        self._error = None
        self._failures = 0

    def may_try(self, now: float) -> bool:
        """Is the pause, if any, over?"""
        return self._error is None or now >= self.retry_at

    def blocking_error(self, now: float) -> ProxyError | None:
        """The last error while the pause lasts."""
        return self._error if self._error is not None and now < self.retry_at else None
