"""Peers: found by path or variable, refused when too old, and configured alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.endpoints import Role, read_version
from benchmarks.peers.configs import PEERS, Front, Peer
from benchmarks.peers.starting import check_version, find_program, missing_peers
from proxy.cli.demo.binaries import LaunchError

FRONT = Front(6001, 5001, "app", "open sesame", Path("/run/peer"))
BY_PROGRAM = {peer.program: peer for peer in PEERS}


def everyone() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("peer", PEERS, ids=[peer.program for peer in PEERS])


@everyone()
def test_each_listens_where_it_shall_in_front_of_postgresql(peer: Peer) -> None:
    said = "\n".join(peer.configure(FRONT).files.values())
    assert "6001" in said
    assert "5001" in said


@everyone()
def test_each_is_started_with_its_files_and_without_the_password(peer: Peer) -> None:
    setup = peer.configure(FRONT)
    main = next(iter(setup.files))
    assert f"/run/peer/{main}" in setup.arguments
    assert FRONT.password not in " ".join(setup.arguments)
    assert FRONT.password not in repr((FRONT, setup))


@pytest.mark.parametrize(
    ("program", "said", "version"),
    [
        ("haproxy", "HAProxy version 2.6.12-1+deb12u4 2026/05/01 - https://haproxy.org/", "2.6.12-1+deb12u4"),
        ("pgbouncer", "PgBouncer 1.25.2\nlibevent 2.1.12-stable", "1.25.2"),
    ],
)
def test_each_says_its_version_in_its_own_way(program: str, said: str, version: str) -> None:
    assert read_version(said, BY_PROGRAM[program].version) == version


def test_an_old_pgbouncer_is_refused_with_what_to_do() -> None:
    with pytest.raises(LaunchError, match=r"PgBouncer 1\.18\.0, which knows no prepared") as refusal:
        check_version(BY_PROGRAM["pgbouncer"], "/usr/sbin/pgbouncer", "1.18.0")
    assert refusal.value.hint is not None
    assert "1.21 with GATEHOUSE_BENCH_PGBOUNCER" in refusal.value.hint


def test_a_recent_pgbouncer_may_take_part() -> None:
    check_version(BY_PROGRAM["pgbouncer"], "pgbouncer", "1.21.0")


def test_a_variable_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for peer in PEERS:
        monkeypatch.delenv(peer.variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GATEHOUSE_BENCH_PGBOUNCER", "/opt/pgbouncer")
    assert find_program(BY_PROGRAM["pgbouncer"]) == "/opt/pgbouncer"
    assert [peer.program for peer in missing_peers()] == ["haproxy"]


def test_pgbouncer_is_the_first_pooler_the_one_that_others_are_compared_with() -> None:
    assert next(peer.program for peer in PEERS if peer.role is Role.POOLER) == "pgbouncer"
