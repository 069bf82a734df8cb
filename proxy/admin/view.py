"""What the HTTP endpoint asks the rest of the process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from proxy.observe.counters import ProxyStats
from proxy.observe.gauges import GaugeSource


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that should be so, such as `configuration` or `cluster main`; `detail` says why not, or what is known.

    Ready is who passes all required checks. What may fail without clients being sent elsewhere (one cluster of three)
    is shown, but not `required`.
    """

    name: str
    ok: bool
    detail: str = ""
    required: bool = True


class AdminView(Protocol):
    """The running proxy, as the HTTP endpoint sees it; every member is used on the event loop and must be cheap."""

    @property
    def stats(self) -> ProxyStats:
        """The process's counters."""
        ...

    @property
    def gauges(self) -> GaugeSource:
        """What is there now."""
        ...

    @property
    def version(self) -> str:
        """Gatehouse's version."""
        ...

    @property
    def started_at(self) -> float:
        """When the process started, in Unix seconds."""
        ...

    def readiness(self) -> list[Check]:
        """The conditions for sending clients here, as they are now."""
        ...
