"""Where secrets are kept, and that they are not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.settings.paths import FromFile
from proxy.settings.secret import Secret, is_verifier

KEY = "A" * 43 + "="
VERIFIER = f"SCRAM-SHA-256$4096:c2FsdA==${KEY}:{KEY}"


def test_a_verifier_is_not_in_the_repr() -> None:
    assert "SCRAM" not in repr(Secret(scram=VERIFIER))
    assert "PASSWORD" in repr(Secret(env="PASSWORD"))


@pytest.mark.parametrize("data", [{}, {"env": "A", "file": "/x"}, {"scram": VERIFIER, "env": "A"}])
def test_a_secret_is_in_exactly_one_place(data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        Secret.model_validate(data)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "md5" + "0" * 32,
        VERIFIER[:-1],
        VERIFIER.replace("4096", "0"),
        VERIFIER.replace("SHA-256", "SHA-1"),
        f"SCRAM-SHA-256$4096:c2FsdA==${KEY}:c2FsdA==",
        VERIFIER + "\n",
    ],
)
def test_only_a_whole_scram_verifier_is_one(text: str) -> None:
    assert is_verifier(VERIFIER)
    assert not is_verifier(text)


def test_a_password_given_as_the_name_of_a_variable_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Secret.model_validate({"env": "s3cret!"})
    assert "s3cret!" not in str(caught.value.errors()[0]["msg"])


def test_a_relative_file_is_relative_to_the_configuration() -> None:
    secret = Secret.model_validate({"file": "db.pw"}, context=FromFile(Path("/etc/gatehouse")))
    assert secret.file == Path("/etc/gatehouse/db.pw")
