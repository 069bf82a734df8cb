"""Read secrets from where the configuration says they are kept: the environment and files.

A secret is read when it is used, so that a rotated file is seen without a restart. Errors name the place, never what
was found there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.errors import ConfigError
from proxy.settings.secret import Secret

_MAX_BYTES: Final = 65_536


class SecretSource:
    """Reads secrets; `environ` stands for the process' environment."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def read_secret(self, secret: Secret) -> str:
        """The secret's text, a verifier as it is; raises ConfigError naming the variable or file when there is none.

        One newline at the end of a file does not count.
        """
        if secret.env is not None:
            return self._from_environment(secret.env)
        if secret.file is not None:
            return _from_file(secret.file)
        assert secret.scram is not None
        return secret.scram

    def _from_environment(self, name: str) -> str:
        value = self._environ.get(name)
        if value is None:
            raise ConfigError(f"the environment variable {name} is not set", hint="It should hold a secret.")
        return _usable(value, f"the environment variable {name}")


def read_secret(secret: Secret) -> str:
    """As `SecretSource.read_secret`, from the process' own environment."""
    return SecretSource().read_secret(secret)


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        hint = "It should hold a secret, and the account Gatehouse runs as must be allowed to read it."
        raise ConfigError(f"the secret file {path} can not be read: {error.strerror}", hint=hint) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"the secret file {path} is longer than 64 kB")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"the secret file {path} is not UTF-8") from None
    return _usable(text.removesuffix("\n").removesuffix("\r"), f"the secret file {path}")


def _usable(value: str, where: str) -> str:
    if not value:
        raise ConfigError(f"{where} is empty", hint="It should hold a secret.")
    if "\0" in value:
        raise ConfigError(f"{where} holds a zero byte, which can not be part of a password")
    return value
