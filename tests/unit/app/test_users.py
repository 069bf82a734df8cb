"""The logins of the configuration, through reloads."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from proxy.app.users import ConfiguredUsers
from proxy.auth.scram import ScramVerifier
from proxy.settings.model import Settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("ONE", "first secret")
    monkeypatch.setenv("TWO", "second secret")
    users = {name: {"password": {"env": name.upper()}, "tenants": "*"} for name in ("one", "two")}
    return Settings.model_validate({"users": users})


@pytest.fixture
def computed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that PBKDF2 was computed of, one by one."""
    computed: list[bytes] = []
    pbkdf2 = hashlib.pbkdf2_hmac

    def noted(name: str, password: bytes, *rest: Any) -> bytes:
        computed.append(password)
        return pbkdf2(name, password, *rest)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", noted)
    return computed


def test_a_reload_computes_nothing_for_who_has_the_same_password(
    settings: Settings, computed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ConfiguredUsers.read(settings)
    computed.clear()
    after = ConfiguredUsers.read(settings, before)
    assert after.verifiers() == before.verifiers()
    assert computed == []
    monkeypatch.setenv("TWO", "another")
    changed = ConfiguredUsers.read(settings, after)
    assert set(computed) == {b"another"}
    assert changed.verifiers()["one"] == before.verifiers()["one"]
    assert changed.verifiers()["two"] != before.verifiers()["two"]


def test_a_login_that_does_not_exist_is_said_to_be_hashed_as_most_are(settings: Settings) -> None:
    assert ConfiguredUsers.read(Settings()).usual_iterations == ConfiguredUsers.read(settings).usual_iterations == 4096
    copied = {"password": {"scram": ScramVerifier.from_password("x", 5000).text()}, "tenants": "*"}
    several = Settings.model_validate({"users": {**settings.users, "a": copied, "b": copied, "c": copied}})
    assert ConfiguredUsers.read(several).usual_iterations == 5000
