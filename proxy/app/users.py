"""The logins of the configuration as a `UserDirectory`: secrets are read once per load, never kept in clear."""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Final

from proxy.auth.identity import Identity, UserRecord
from proxy.auth.scram import ScramVerifier
from proxy.auth.scram.verifier import DEFAULT_ITERATIONS
from proxy.credentials.sources import read_secret
from proxy.errors import ConfigError
from proxy.settings.model import Settings, User

_KEY_BYTES: Final = 32


class ConfiguredUsers:
    """All users of one Settings. Raises ConfigError when a password can not be read.

    `known` are the `verifiers` of others, in another process: who has the same password keeps the salt. `before` are
    the users until a reload: the same for them, and it takes no PBKDF2, 1 ms for each while everybody waits.
    """

    def __init__(
        self, settings: Settings, known: Mapping[str, str] | None = None, before: ConfiguredUsers | None = None
    ) -> None:
        self._key: bytes = secrets.token_bytes(_KEY_BYTES) if before is None else before._key
        if known is None:
            known = {} if before is None else before.verifiers()
        self._records: dict[str, UserRecord] = {}
        self._digests: dict[str, bytes] = {}  # of passwords, by a key that is this process's
        for name, user in settings.users.items():
            self._records[name] = self._record(name, user, known.get(name), before)

        counted = Counter(record.verifier.iterations for record in self._records.values())
        self._usual_iterations: int = counted.most_common(1)[0][0] if counted else DEFAULT_ITERATIONS

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

    def _record(self, name: str, user: User, known: str | None, before: ConfiguredUsers | None) -> UserRecord:
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
        digest = hmac.digest(self._key, password.encode("utf-8", "surrogateescape"), "sha256")
        self._digests[name] = digest
        is_the_same = before is not None and hmac.compare_digest(before._digests.get(name, b""), digest)
        verifier = before._records[name].verifier if before is not None and is_the_same else None
        return UserRecord(identity, _verifier(password, known, verifier))


def _verifier(password: str, known: str | None, before: ScramVerifier | None) -> ScramVerifier:
    """What is known of this password, or else another one; `before` is sure to be of it, `known` may not be."""
    if before is not None and known in (None, before.text()):
        return before
    if known is not None:
        # The same salt as before: a client could tell a reload from a changed password otherwise.
        verifier = ScramVerifier.parse(known)
        if ScramVerifier.from_password(password, verifier.iterations, salt=verifier.salt) == verifier:
            return verifier
    return ScramVerifier.from_password(password)
