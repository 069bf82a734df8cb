"""Secrets from the environment and from files; errors name the place, never the content."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.credentials.sources import SecretSource, read_secret
from proxy.errors import ConfigError
from proxy.settings.secret import Secret


def test_a_variable_holds_the_secret_as_it_is() -> None:
    assert SecretSource({"PW": " x\n"}).read_secret(Secret(env="PW")) == " x\n"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEHOUSE_TEST_PW", "x")
    assert read_secret(Secret(env="GATEHOUSE_TEST_PW")) == "x"


@pytest.mark.parametrize(
    ("content", "secret"), [(b"x\n", "x"), (b"x\r\n", "x"), (b"x\n\n", "x\n"), (b" x ", " x "), ("pä".encode(), "pä")]
)
def test_one_newline_at_the_end_of_a_file_does_not_count(tmp_path: Path, content: bytes, secret: str) -> None:
    path = tmp_path / "pw"
    path.write_bytes(content)
    assert read_secret(Secret(file=path)) == secret


def test_a_rotated_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    source = SecretSource({})
    for text in ("old", "new"):
        path.write_text(text)
        assert source.read_secret(Secret(file=path)) == text


def test_a_verifier_is_given_as_it_is() -> None:
    key = "A" * 43 + "="
    verifier = f"SCRAM-SHA-256$4096:c2FsdA==${key}:{key}"
    assert SecretSource({}).read_secret(Secret(scram=verifier)) == verifier


@pytest.mark.parametrize(("environ", "text"), [({}, "is not set"), ({"PW": ""}, "is empty"), ({"PW": "a\0"}, "zero")])
def test_a_variable_without_a_secret_is_named(environ: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=f"environment variable PW .*{text}"):
        SecretSource(environ).read_secret(Secret(env="PW"))


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"s3cret\xff", "UTF-8"), (b"s3cret" * 20_000, "64 kB")],
)
def test_a_file_without_a_usable_secret_is_named_and_not_shown(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "pw"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=text) as caught:
        read_secret(Secret(file=path))
    assert str(path) in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_or_a_directory_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(ConfigError, match="can not be read") as caught:
            read_secret(Secret(file=path))
        assert str(path) in str(caught.value)
