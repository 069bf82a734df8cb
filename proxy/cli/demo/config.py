"""The configuration that the demo runs Gatehouse with: an ordinary file, with its secrets in files beside it."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from proxy.cli.demo.postgres import LocalPostgres
from proxy.cli.demo.seed import LOGIN, TENANTS, SampleTenant

HOST: Final = "127.0.0.1"
PASSWORD_VARIABLE: Final = "GATEHOUSE_DEMO_PASSWORD"  # noqa: S105 - the name of a variable
SINGLE_TENANT: Final = "initech"
"""The tenant that has a login of its own, bound to it."""


def _new_password() -> str:
    return secrets.token_hex(6)


def _app_password() -> str:
    return os.environ.get(PASSWORD_VARIABLE) or _new_password()


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """Ports and passwords of one run. The password of `app`, who may speak for all tenants, can come from outside."""

    port: int
    http_port: int
    app_password: str = field(default_factory=_app_password, repr=False)
    tenant_password: str = field(default_factory=_new_password, repr=False)
    server_password: str = field(default_factory=_new_password, repr=False)

    def user(self, tenant: SampleTenant) -> str:
        """Whom a client of this tenant logs in as."""
        return tenant.name if tenant.name == SINGLE_TENANT else f"app.{tenant.name}"

    def password(self, tenant: SampleTenant) -> str:
        """The password of `user(tenant)`."""
        return self.tenant_password if tenant.name == SINGLE_TENANT else self.app_password

    def psql_line(self, tenant: SampleTenant, psql: str = "psql") -> str:
        """A shell line that opens psql as this tenant."""
        where = f"-h {HOST} -p {self.port} -U {self.user(tenant)} {tenant.database}"
        return f"PGPASSWORD={shlex.quote(self.password(tenant))} {shlex.quote(psql)} {where}"

    def write(self, folder: Path, postgres: LocalPostgres) -> Path:
        """Write gatehouse.yaml and the secrets it names into `folder`; returns the path of the former."""
        for name, secret in self._secrets().items():
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(secret + "\n")
        path = folder / "gatehouse.yaml"
        path.write_text(yaml.safe_dump(self._document(postgres), sort_keys=False))
        return path

    def _secrets(self) -> Mapping[str, str]:
        return {
            "app.secret": self.app_password,
            "tenant.secret": self.tenant_password,
            "main.secret": self.server_password,
        }

    def _document(self, postgres: LocalPostgres) -> dict[str, Any]:
        return {
            "listen": {"host": HOST, "port": self.port},
            "http": {"host": HOST, "port": self.http_port},
            "log": {"format": "console", "level": "warning"},
            "clusters": {
                "main": {
                    "hosts": [f"{postgres.host}:{postgres.port}"],
                    "user": LOGIN,
                    "password": {"file": "main.secret"},
                    "max_connections": 40,
                    "tls": {"mode": "disable"},
                }
            },
            "users": {
                "app": {"password": {"file": "app.secret"}, "tenants": "*"},
                SINGLE_TENANT: {"password": {"file": "tenant.secret"}, "tenants": [SINGLE_TENANT]},
            },
            "tenants": {tenant.name: {"placement": _placement(tenant)} for tenant in TENANTS},
        }


def _placement(tenant: SampleTenant) -> dict[str, str]:
    parts = {
        "model": tenant.model,
        "cluster": "main",
        "database": tenant.database,
        "schema": tenant.schema,
        "role": tenant.role,
    }
    return {key: value for key, value in parts.items() if value is not None}
