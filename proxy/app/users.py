"""The logins of the configuration as a `UserDirectory`: secrets are read once per load, never kept in clear."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.settings.model import Settings, User


class ConfiguredUsers:
    """All users of one Settings. Raises ConfigError when a password can not be read.

    `known` are the `verifiers` of others, before a reload or in another process: who has the same password keeps the salt.
    """

    def __init__(self, settings: Settings, known: Mapping[str, str] | None = None) -> None:
        self._records: dict[str, UserRecord] = {}
        for name, user in settings.users.items():
            self._records[name] = _record(name, user, None if known is None else known.get(name))

    def find(self, user: str) -> UserRecord | None:
        """The login of exactly this name."""
        return self._records.get(user)

    def verifiers(self) -> dict[str, str]:
        """Each login's verifier as text, which is as good as a secret."""
        return {name: record.verifier.text() for name, record in self._records.items()}


def _record(name: str, user: User, known: str | None) -> UserRecord:
    tenants = None if user.tenants == "*" else frozenset(user.tenants)
    identity = Identity(name, tenants, user.max_clients)
    if user.password is None:
        raise ConfigError(f'user "{name}" has no password')
    if user.password.scram is not None:
        return UserRecord(identity, ScramVerifier.parse(user.password.scram))
    try:
        password = read_secret(user.password)
    except ConfigError as error:
        raise ConfigError(f'password of user "{name}": {error.message}', hint=error.hint) from None
    if known is not None:
        # The same salt as before: a client could tell a reload from a changed password otherwise, and it costs 1 ms.
        before = ScramVerifier.parse(known)
        if ScramVerifier.from_password(password, before.iterations, salt=before.salt) == before:
            return UserRecord(identity, before)
    return UserRecord(identity, ScramVerifier.from_password(password))
