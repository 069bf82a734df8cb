"""Whether clusters answer: asked by a connection of its own only while no server connection shows that they do, or while
a pool holds back because they did not: it is told when they do again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.admin.view import Check
from proxy.errors import ProxyError
from proxy.pool.manager import PoolManager
from proxy.server.connect import Connector

_INTERVAL_S: Final = 2.0


class ClusterHealth:
    """Watches the clusters of the configuration in force."""

    def __init__(self, connectors: Callable[[], dict[str, Connector]], pools: PoolManager) -> None:
        self._connectors = connectors
        self._pools = pools
        self._failures: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def checks(self) -> list[Check]:
        """One per cluster."""
        return [
            Check(
                f"cluster {name}",
                not self._failures.get(name, "not asked yet"),
                self._failures.get(name, ""),
                required=False,
            )
            for name in self._connectors()
        ]

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(name, connector) for name, connector in self._connectors().items()))
            await asyncio.sleep(_INTERVAL_S)

    async def _ask(self, name: str, connector: Connector) -> None:
        is_in_use = any(pool.cluster == name and pool.sv_active + pool.sv_idle for pool in self._pools.snapshots())
        if is_in_use and not self._pools.is_unreachable(name):
            self._failures[name] = ""
            return
        try:
            await connector.check()
        except ProxyError as error:
            self._failures[name] = error.message
        else:
            self._failures[name] = ""
            self._pools.cluster_answers(name)
