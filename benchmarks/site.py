"""All that stands while workloads are measured, and what a workload is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.database import Database
from benchmarks.endpoints import Ability, Endpoint, running_gatehouse, straight
from benchmarks.measurement import Measurement
from benchmarks.peers.starting import running_peers


@dataclass(frozen=True, slots=True)
class Site:
    """The database, what stands in front of it, and the commands of Gatehouse's builds by name."""

    database: Database
    endpoints: Sequence[Endpoint]
    builds: Mapping[str, Sequence[str]]

    @property
    def pgbench(self) -> Path:
        """The pgbench of PostgreSQL's version."""
        return self.database.pgbench


@contextmanager
def running_endpoints(database: Database, builds: Mapping[str, Sequence[str]]) -> Iterator[list[Endpoint]]:
    """Start everything there is; `builds` are the commands of Gatehouse's builds by name.

    Raises `LaunchError` if one does not start.
    """
    with ExitStack() as stack:
        peers = stack.enter_context(running_peers(database))
        ours = [stack.enter_context(running_gatehouse(database, *build)) for build in builds.items()]
        yield [straight(database), *peers, *ours]


class Workload:
    """One table of the comparison.

    `figures` are the columns, `ratios` those that are compared with the peers', `is_long`: not for a quick run. Who
    lacks one of the abilities that it `needs` is left out.
    """

    name: str
    title: str
    figures: tuple[str, ...]
    ratios: tuple[str, ...] = ()
    is_long: bool = False
    needs: frozenset[Ability] = frozenset()

    @contextmanager
    def open(self, site: Site) -> Iterator[Sequence[Endpoint]]:
        """What is measured: of the site's endpoints, or of its own, for as long as the context lasts."""
        yield site.endpoints

    def measure(self, site: Site, endpoint: Endpoint, seconds: int) -> Measurement:
        """One run. Raises RunFailed or LoadFailed."""
        raise NotImplementedError

    def command(self, endpoint: Endpoint, seconds: int) -> str:
        """What was run, for the record."""
        raise NotImplementedError


def poolers(site: Site) -> list[Endpoint]:
    """Those whose clients share servers: many clients of the others are many servers, PostgreSQL's own limit."""
    return [endpoint for endpoint in site.endpoints if endpoint.pools]
