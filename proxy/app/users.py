"""The logins of the configuration as a `UserDirectory`: secrets are read once per load, never kept in clear."""

from __future__ import annotations

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.settings.model import Settings, User


class ConfiguredUsers:
    """All users of one Settings. Raises ConfigError when a password can not be read."""

    def __init__(self, settings: Settings, old: ConfiguredUsers | None = None) -> None:
        self._records: dict[str, UserRecord] = {}
        for name, user in settings.users.items():
            known = old.find(name) if old is not None else None
            self._records[name] = _record(name, user, known)

    def find(self, user: str) -> UserRecord | None:
        """The login of exactly this name."""
        return self._records.get(user)


def _record(name: str, user: User, known: UserRecord | None) -> UserRecord:
    tenants = None if user.tenants == "*" else frozenset(user.tenants)
    identity = Identity(name, tenants, user.max_clients)
    if user.password is None:
        raise ConfigError(f'user "{name}" has no password')
    if user.password.scram is not None:
        return UserRecord(identity, ScramVerifier.parse(user.password.scram))
    password = read_secret(user.password)
    if known is not None:
        # The same salt as before: a client could tell a reload from a changed password otherwise, and it costs 1 ms.
        same = ScramVerifier.from_password(password, known.verifier.iterations, salt=known.verifier.salt)
        if same == known.verifier:
            return UserRecord(identity, known.verifier)
    return UserRecord(identity, ScramVerifier.from_password(password))
