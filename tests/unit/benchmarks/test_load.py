"""The load's client: logs in as any client does, whatever way the bytes are cut."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.endpoints import Endpoint, Role
from benchmarks.load import process
from benchmarks.load.process import LoadFailed, LoadProcess
from benchmarks.load.wire import Conversation, Login, Refused, message, query, startup
from proxy.auth.md5 import md5_password
from proxy.auth.scram import ScramServer, ScramVerifier
from proxy.wire import backend, codes, frontend

LOGIN = Login("app.bench", "open sesame", "bench")


def test_it_proves_that_it_knows_the_password() -> None:
    server = ScramServer(ScramVerifier.from_password("open sesame"))
    client = Conversation(LOGIN, "nonce")
    first, _ = client.receive(backend.authentication_sasl(server.mechanisms))
    challenge = server.first("SCRAM-SHA-256", first[5 + len(b"SCRAM-SHA-256\0") + 4 :])
    final, _ = client.receive(backend.authentication(codes.AUTH_SASL_CONTINUE, challenge))
    assert server.final(final[5:])


def test_it_answers_who_asks_for_md5() -> None:
    client = Conversation(LOGIN, "nonce")
    answer, _ = client.receive(backend.authentication(codes.AUTH_MD5, b"salt"))
    assert answer == frontend.password(md5_password(LOGIN.user, LOGIN.password, b"salt"))


def test_a_task_that_tells_nothing_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint("silent", Role.POOLER, 1, "login", "secret", None, "1")
    with LoadProcess(endpoint, "storm", count=1) as storm:
        storm.hear()
        monkeypatch.setattr(process, "PATIENCE_S", 0)
        with pytest.raises(LoadFailed, match=r"silent: .*too long a silence"):
            storm.hear()


@pytest.mark.skipif(sys.platform != "linux", reason="benchmarks are for Linux")
def test_the_thousand_of_a_storm_take_only_what_others_leave() -> None:
    endpoint = Endpoint("calm", Role.POOLER, 1, "login", "secret", None, "1")
    with LoadProcess(endpoint, "storm", count=0) as storm:
        storm.hear()
        assert os.sched_getscheduler(storm._process.pid) == os.SCHED_IDLE
        storm.say()
        storm.hear()


def test_messages_may_come_in_pieces() -> None:
    client = Conversation(LOGIN, "nonce")
    said = backend.AUTHENTICATION_OK + backend.parameter_status(b"TimeZone", b"UTC") + backend.READY[codes.IDLE]
    for piece in (said[:3], said[3:14], said[14:-1]):
        client.receive(piece)
    assert not client.is_in
    assert client.receive(said[-1:]) == (b"", codes.READY_FOR_QUERY)
    assert client.is_in


def test_an_error_is_raised_with_its_words() -> None:
    said = backend.error_from_fields({"S": "FATAL", "C": "28P01", "M": "password authentication failed"})
    with pytest.raises(Refused, match="28P01: password authentication failed"):
        Conversation(LOGIN, "nonce").receive(said)


def test_messages_are_postgresqls() -> None:
    assert query("SELECT 1") == frontend.query(b"SELECT 1")
    assert message(b"X", b"") == frontend.TERMINATE
    assert startup(LOGIN) == frontend.startup({"user": "app.bench", "database": "bench"})
