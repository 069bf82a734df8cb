"""What a client that is let in hears first."""

from __future__ import annotations

import pytest

from proxy.client.admission import greeting
from proxy.wire import backend
from tests.support.playbook import BASELINE, Plays, shared_by_sessions


def welcome(key: bytes, **changed: bytes) -> bytes:
    """AuthenticationOk, the baseline with these values in it, this key, ReadyForQuery."""
    values = BASELINE | {name.encode(): value for name, value in changed.items()}
    statuses = b"".join(backend.parameter_status(name, value) for name, value in values.items())
    return backend.AUTHENTICATION_OK + statuses + backend.backend_key_data(7, key) + b"Z\0\0\0\x05I"


def test_a_client_is_greeted_with_its_own_settings_where_it_has_them(play: Plays) -> None:
    shared = shared_by_sessions()
    psql = play(shared=shared, startup={"application_name": ("psql",)}).session
    plain = play(shared=shared).session
    for _ in range(2):
        assert greeting(psql, 7, b"key1") == welcome(b"key1", application_name=b"psql")
        assert greeting(plain, 7, b"key2") == welcome(b"key2")


def test_a_client_is_greeted_with_what_servers_report_now(play: Plays, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = shared_by_sessions()
    assert greeting(play(shared=shared).session, 7, b"key1") == welcome(b"key1")
    monkeypatch.setitem(BASELINE, b"TimeZone", b"Asia/Tokyo")
    assert greeting(play(shared=shared).session, 7, b"key2") == welcome(b"key2", TimeZone=b"Asia/Tokyo")
