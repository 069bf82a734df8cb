"""The logins of the configuration as a `UserDirectory`: secrets are read once per load, never kept in clear."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Self

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier
from proxy.auth.scram.verifier import DEFAULT_ITERATIONS
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.settings.model import Settings, User

_KEY_BYTES: Final = 32


class ConfiguredUsers:
    """All users of one Settings.

    `digests` tell which passwords they were made of, by a `key` that is this process's.
    """

    def __init__(self, records: Mapping[str, UserRecord], digests: Mapping[str, bytes], key: bytes) -> None:
        self._records = records
        self._digests = digests
        self._key = key
        counted = Counter(record.verifier.iterations for record in records.values())
        self._usual_iterations: int = counted.most_common(1)[0][0] if counted else DEFAULT_ITERATIONS

    @classmethod
    def read(
        cls, settings: Settings, before: ConfiguredUsers | None = None, pause: Callable[[], None] = lambda: None
    ) -> Self:
        """Read their secrets. Raises ConfigError when one can not be read.

        `before` are the users until a reload: who has the same password keeps the salt, by which a client could tell a
        reload from a changed password otherwise. Each other one takes milliseconds: better in a thread; `pause` is called
        after each.
        """
        key = secrets.token_bytes(_KEY_BYTES) if before is None else before._key
        records: dict[str, UserRecord] = {}
        digests: dict[str, bytes] = {}
        for name, user in settings.users.items():
            verifier = _given_verifier(name, user)
            if verifier is None:
                password = _password(name, user)
                digests[name] = hmac.digest(key, password.encode("utf-8", "surrogateescape"), "sha256")
                if before is not None and hmac.compare_digest(before._digests.get(name, b""), digests[name]):
                    verifier = before._records[name].verifier
                else:
                    verifier = ScramVerifier.from_password(password)
            records[name] = UserRecord(_identity(name, user), verifier)
            pause()
        return cls(records, digests, key)

    @classmethod
    def verified_by(cls, settings: Settings, verifiers: Mapping[str, str]) -> Self:
        """With the `verifiers` of another process, which has read the secrets."""
        records = {
            name: UserRecord(_identity(name, user), ScramVerifier.parse(verifiers[name]))
            for name, user in settings.users.items()
        }
        return cls(records, {}, b"")

    def find(self, user: str) -> UserRecord | None:
        """The login of exactly this name."""
        return self._records.get(user)

    @property
    def usual_iterations(self) -> int:
        """Verifiers copied from a cluster have its scram_iterations, passwords PostgreSQL's default."""
        return self._usual_iterations

    def verifiers(self) -> dict[str, str]:
        """Each login's verifier as text, which is as good as a secret."""
        return {name: record.verifier.text() for name, record in self._records.items()}


def _identity(name: str, user: User) -> Identity:
    return Identity(name, None if user.tenants == "*" else frozenset(user.tenants), user.max_clients)


def _given_verifier(name: str, user: User) -> ScramVerifier | None:
    """What stands in the configuration in a password's place, if it does."""
    if user.password is None:
        raise ConfigError(f'user "{name}" has no password')
    return None if user.password.scram is None else ScramVerifier.parse(user.password.scram)


def _password(name: str, user: User) -> str:
    assert user.password is not None
    try:
        return read_secret(user.password)
    except ConfigError as error:
        raise ConfigError(f'password of user "{name}": {error.message}', hint=error.hint) from None
