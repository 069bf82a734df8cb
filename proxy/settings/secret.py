"""Where a secret is kept. The secret itself is never here, except a SCRAM verifier, which no repr shows.

Reading a secret is the work of `proxy.credentials`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from proxy.settings.names import Invalid, is_environment_name
from proxy.settings.paths import ConfigPath

WHERE_HINT: Final = "Keep the secret out of this file: write {env: NAME} or {file: PATH}."
_BASE64: Final = "([A-Za-z0-9+/=]+)"
_VERIFIER: Final = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{0,8}}):{_BASE64}\${_BASE64}:{_BASE64}")


class Secret(BaseModel):
    """Exactly one of an environment variable, a file, or a stored SCRAM verifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = Field(default=None, description="name of the environment variable that holds the secret")
    file: ConfigPath | None = Field(
        default=None, description="file that holds the secret; one newline at its end is dropped, as editors add one"
    )
    scram: str | None = Field(
        default=None,
        repr=False,
        description="a client's SCRAM verifier as pg_authid.rolpassword holds it; the password can not be read from it",
    )

    @field_validator("env")
    @classmethod
    def _check_name(cls, env: str | None) -> str | None:
        # The value is not shown: people put the secret itself here by mistake.
        if env is not None and not is_environment_name(env):
            raise Invalid("this is not the name of an environment variable", "Write the name alone, without $ or {}.")
        return env

    @field_validator("scram")
    @classmethod
    def _check_verifier(cls, scram: str | None) -> str | None:
        if scram is not None and not is_verifier(scram):
            raise Invalid(
                "this is not a SCRAM verifier",
                "Copy the whole of it, in quotes, as PostgreSQL's SELECT rolpassword FROM pg_authid shows it.",
            )
        return scram

    @model_validator(mode="after")
    def _one_of(self) -> Secret:
        if sum(part is not None for part in (self.env, self.file, self.scram)) != 1:
            raise Invalid("exactly one of env, file and scram must be given", WHERE_HINT)
        return self


def is_verifier(text: str) -> bool:
    """Is it a SCRAM-SHA-256 verifier in PostgreSQL's form, with keys of the right length?"""
    match = _VERIFIER.fullmatch(text)
    if match is None:
        return False
    try:
        keys = [base64.b64decode(part, validate=True) for part in match.groups()[1:]]
    except binascii.Error:
        return False
    return [len(key) for key in keys[1:]] == [32, 32]


def _refuse_plain(value: Any) -> Any:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, Mapping):
        raise Invalid("a secret can not be written here", WHERE_HINT)
    if "vault" in value:
        raise Invalid("secrets from Vault are not available yet", WHERE_HINT)
    return value


SecretField = Annotated[Secret, BeforeValidator(_refuse_plain)]
