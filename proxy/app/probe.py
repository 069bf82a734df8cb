"""Log in to every host of every cluster, for `gatehouse check --connect`."""

from __future__ import annotations

import structlog

from proxy.app import assembly
from proxy.auth.scram import SaltedPasswords
from proxy.errors import ProxyError
from proxy.server.connect import Connector
from proxy.settings.model import Settings


async def login_report(settings: Settings) -> list[tuple[str, str, bool, str]]:
    """(cluster, host, whether login works, detail) for each host; each database of the cluster's tenants is tried."""
    options = assembly.server_options(settings)
    report = []
    for name, cluster in settings.clusters.items():
        databases = {entry.placement.database for entry in settings.tenants.values() if entry.placement.cluster == name}
        for host in cluster.hosts:
            one = cluster.model_copy(update={"hosts": (host,)})
            for database in sorted(databases) or ["postgres"]:
                ok, detail = True, f"database {database}"
                try:
                    connector = Connector(
                        name,
                        one,
                        options,
                        lambda cluster=cluster: assembly.server_password(cluster),  # type: ignore[misc]
                        SaltedPasswords(),
                        structlog.get_logger(),
                    )
                    server = await connector.open(database, cluster.user, lambda _: None)
                    detail += f", PostgreSQL {server.parameters.get(b'server_version', b'?').decode()}"
                    server.close("checked")
                except ProxyError as error:
                    reason = error.log_context.get("reason") or error.log_context.get("server_message") or ""
                    ok, detail = False, f"{detail}: {error.message}" + (f" ({reason})" if reason else "")
                except OSError as error:
                    ok, detail = False, f"{detail}: {error}"
                report.append((name, str(host), ok, detail))
    return report
