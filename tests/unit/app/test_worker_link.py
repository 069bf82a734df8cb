"""What goes between the processes of one Gatehouse: nothing of a compiled class, for these can not be pickled."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.app.users import ConfiguredUsers
from proxy.app.worker_link import REDUCERS, Begin, DeliverCancel, GiveReport, Place, Ready, Reload, Reloaded, Stop
from proxy.settings.live import TenantChanges, diff
from proxy.settings.loading import load_settings
from proxy.settings.model import Settings
from tests.support.compiled import hot_modules

CONFIG = """\
workers: 2
clusters: {main: {hosts: [a], user: g, password: {env: A}}}
users: {app: {password: {env: SECRET_OF_APP}, tenants: "*"}}
tenants: {acme: {placement: {model: shared, cluster: main, database: saas}}}
"""


class Look(pickle.Pickler):
    """Pickles, and notes whose objects it met."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.met: set[type] = set()

    def reducer_override(self, obj: object) -> Any:
        self.met.add(type(obj))
        return REDUCERS[type(obj)](obj) if type(obj) in REDUCERS else NotImplemented


def compiled_in(message: object) -> set[type]:
    """The classes of compiled modules in a message that have no reducer."""
    look = Look()
    look.dump(message)
    hot = {module.replace("/", ".") for module in hot_modules()}
    assert hot
    return {kind for kind in look.met - set(REDUCERS) if kind.__module__ in hot}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SECRET_OF_APP", "open sesame")
    file = tmp_path / "gatehouse.yaml"
    file.write_text(CONFIG)
    return load_settings(file)


MESSAGES: dict[str, Callable[[Settings], object]] = {
    "begin": lambda settings: Begin(settings, Place(0, 2, b"secret", verifiers(settings), {"/s": 3}, Path("/doors"))),
    "reload": lambda settings: Reload(
        settings, TenantChanges.between({}, settings.tenants), diff(settings, settings), verifiers(settings)
    ),
    "stop": lambda _: Stop(at_once=True),
    "ready": lambda _: Ready(),
    "reloaded": lambda _: Reloaded("a problem"),
    "report": lambda _: GiveReport(),
    "cancel": lambda _: DeliverCancel(7, b"key"),
}


def verifiers(settings: Settings) -> dict[str, str]:
    return ConfiguredUsers.read(settings).verifiers()


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_have_nothing_of_a_compiled_class(settings: Settings, name: str) -> None:
    message = MESSAGES[name](settings)
    assert compiled_in(message) == set()
    assert pickle.loads(pickle.dumps(message)) == message


def test_what_is_compiled_would_be_seen(settings: Settings) -> None:
    assert compiled_in([ConfiguredUsers.read(settings)])


@pytest.mark.parametrize("name", ["begin", "reload"])
def test_verifiers_are_not_shown(settings: Settings, name: str) -> None:
    message = MESSAGES[name](settings)
    assert "SCRAM-SHA-256" not in repr(message)
    assert "secret" not in repr(message)


def test_what_one_process_has_read_another_need_not_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read = ConfiguredUsers.read(settings)
    monkeypatch.delenv("SECRET_OF_APP")
    told = ConfiguredUsers.verified_by(settings, read.verifiers())
    assert told.find("app") == read.find("app")
    assert told.find("nobody") is None
