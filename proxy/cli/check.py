"""`gatehouse check`: is the configuration good, and, with `--connect`, do the clusters let Gatehouse in, and have what
the tenants need?

How to connect is the caller's: this module only reports. Exit codes: 0 good, 1 a cluster refused, 2 not usable.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.app.assembly import client_tls
from proxy.credentials.sources import SecretSource
from proxy.errors import ConfigError
from proxy.observe.redact import redact_text
from proxy.server.connect import tls_context
from proxy.settings.loading import load_settings
from proxy.settings.model import ClientTls, Cluster, ServerTls, Settings, User

EXIT_OK: Final = 0
EXIT_REFUSED: Final = 1
EXIT_CONFIG: Final = 2


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What came of a login to one host; `detail` says which version answered, why it failed, or what is not there."""

    cluster: str
    host: str
    ok: bool
    detail: str


Probe = Callable[[Settings], Awaitable[list[ClusterReport]]]


def run_check(config: Path, *, connect: bool, probe: Probe | None = None) -> int:
    """Check the file and, with `connect`, the clusters by `probe`; prints what was found, returns the exit code."""
    try:
        settings = load_settings(config)
    except ConfigError as error:
        print(safe(str(error)), file=sys.stderr)
        return EXIT_CONFIG
    for warning in warnings(settings, SecretSource()):
        print(safe(f"warning: {warning}"), file=sys.stderr)
    print(f"OK: {config}: {summary(settings)}")
    if not connect:
        return EXIT_OK
    if probe is None:
        raise ValueError("connect needs a probe")
    return _report(asyncio.run(_await(probe(settings))))


def safe(text: str) -> str:
    """The text without passwords in the forms they are known by, such as a DSN where only a host belongs."""
    return "\n".join(map(redact_text, text.splitlines()))


def summary(settings: Settings) -> str:
    """`1 cluster, 2 users, 4 tenants (2 shared, 1 schema, 1 database)`."""
    models = Counter(tenant.placement.model for tenant in settings.tenants.values())
    placed = ", ".join(f"{models[model]} {model}" for model in ("shared", "schema", "database") if models[model])
    parts = [
        _counted(len(settings.clusters), "cluster"),
        _counted(len(settings.users), "user"),
        _counted(len(settings.tenants), "tenant") + (f" ({placed})" if placed else ""),
    ]
    return ", ".join(parts)


def warnings(settings: Settings, source: SecretSource) -> Iterator[str]:
    """What is allowed and yet does not work here and now: secrets and files that can not be read, empty sections."""
    for name in ("clusters", "users", "tenants"):
        if not getattr(settings, name):
            yield f"there are no {name}: nobody can use this proxy"
    owners = [*_named("cluster", settings.clusters), *_named("user", settings.users)]
    for owner, entry in owners:
        if entry.password is not None:
            try:
                source.read_secret(entry.password)
            except ConfigError as error:
                yield f"password of {owner}: {error.message}"
    for path in dict.fromkeys(_files(settings)):
        if not path.is_file():
            yield f"{path} is not a file"
    yield from _unusable_tls(settings)


def _named(kind: str, entries: Mapping[str, Cluster] | Mapping[str, User]) -> Iterator[tuple[str, Cluster | User]]:
    for name, entry in entries.items():
        yield f'{kind} "{name}"', entry


def _files(settings: Settings) -> Iterator[Path]:
    sections: list[ClientTls | ServerTls] = [settings.tls, *(cluster.tls for cluster in settings.clusters.values())]
    for tls in sections:
        yield from _files_of(tls)


def _files_of(tls: ClientTls | ServerTls) -> list[Path]:
    return [path for path in (tls.cert_file, tls.key_file, tls.ca_file) if path is not None]


def _unusable_tls(settings: Settings) -> Iterator[str]:
    """What `serve` would refuse; of a file that is not there enough was said."""
    if all(path.is_file() for path in _files_of(settings.tls)):
        try:
            client_tls(settings.tls)
        except ConfigError as error:
            yield error.message
    for name, cluster in settings.clusters.items():
        if all(path.is_file() for path in _files_of(cluster.tls)):
            try:
                tls_context(cluster)
            except OSError as error:
                yield f'the TLS files of cluster "{name}" can not be used: {error}'


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


async def _await(reports: Awaitable[list[ClusterReport]]) -> list[ClusterReport]:
    return await reports


def _report(reports: list[ClusterReport]) -> int:
    for report in reports:
        stream = sys.stdout if report.ok else sys.stderr
        print(f"{'OK' if report.ok else 'FAILED'}: {report.cluster} {report.host}: {report.detail}", file=stream)
    return EXIT_OK if all(report.ok for report in reports) else EXIT_REFUSED
