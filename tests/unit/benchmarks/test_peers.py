"""Peers: found by path or variable, refused when too old, and configured alike."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.endpoints import Ability, Role, read_version
from benchmarks.peers.configs import PEERS, Front, Peer, Setup
from benchmarks.peers.starting import check_version, find_program, missing_peers
from proxy.auth.scram import ScramVerifier
from proxy.cli.demo.binaries import LaunchError

FRONT = Front(6001, 5001, "app", "open sesame", Path("/run/peer"))
BY_PROGRAM = {peer.program: peer for peer in PEERS}


def setup_of(program: str) -> Setup:
    return BY_PROGRAM[program].configure(FRONT)


def toml_of(program: str) -> dict[str, Any]:
    return tomllib.loads(setup_of(program).files[f"{program}.toml"])


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


def test_pgcat_has_one_thread_and_twenty_servers() -> None:
    config = toml_of("pgcat")
    pool = config["pools"]["bench"]
    assert config["general"]["worker_threads"] == 1
    assert pool["pool_mode"] == "transaction"
    assert pool["prepared_statements_cache_size"] == 200
    assert pool["users"]["0"]["pool_size"] == 20
    assert pool["shards"]["0"]["servers"] == [["127.0.0.1", 5001, "primary"]]


def test_pgdog_has_one_thread_and_twenty_servers() -> None:
    config, setup = toml_of("pgdog"), setup_of("pgdog")
    general = config["general"]
    assert (general["workers"], general["default_pool_size"]) == (1, 20)
    assert (general["pooler_mode"], general["prepared_statements"]) == ("transaction", "extended")
    assert general["auth_type"] == "scram"
    assert config["databases"] == [{"name": "bench", "host": "127.0.0.1", "port": 5001}]
    assert tomllib.loads(setup.files["users.toml"])["users"][0]["name"] == "app"
    assert setup.environment == {"RUST_LOG": "warn"}


def test_pg_doorman_has_one_thread_twenty_servers_and_a_verifier() -> None:
    config = toml_of("pg_doorman")
    pool = config["pools"]["bench"]
    user = pool["users"]["0"]
    assert config["general"]["worker_threads"] == 1
    assert config["general"]["prepared_statements"] is True
    assert (pool["pool_mode"], pool["server_port"], user["pool_size"]) == ("transaction", 5001, 20)
    assert is_verifier_of(user["password"], FRONT.password)
    assert user["server_password"] == FRONT.password


def test_odyssey_has_one_thread_twenty_servers_and_a_verifier() -> None:
    lines = setup_of("odyssey").files["odyssey.conf"].splitlines()
    words = dict(line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
    assert words["workers"] == "1"
    assert (words["pool"], words["pool_size"]) == ('"transaction"', "20")
    assert (words["pool_reserve_prepared_statement"], words["pool_discard"]) == ("yes", "no")
    assert words["authentication"] == '"scram-sha-256"'
    assert is_verifier_of(words["password"].strip('"'), FRONT.password)


def is_verifier_of(text: str, password: str) -> bool:
    verifier = ScramVerifier.parse(text)
    return verifier == ScramVerifier.from_password(password, verifier.iterations, salt=verifier.salt)


@pytest.mark.parametrize(
    ("program", "said", "version"),
    [
        ("haproxy", "HAProxy version 2.6.12-1+deb12u4 2026/05/01 - https://haproxy.org/", "2.6.12-1+deb12u4"),
        ("pgbouncer", "PgBouncer 1.25.2\nlibevent 2.1.12-stable", "1.25.2"),
        ("pgcat", "pgcat 1.3.0", "1.3.0"),
        ("pgdog", " PgDog ve1dbbad", "e1dbbad"),
        ("odyssey", "odyssey 1.5.3-rc1 release +pam +ldap -systemd -prom", "1.5.3-rc1"),
        ("pg_doorman", "pg_doorman 3.10.7", "3.10.7"),
        ("pg_doorman", "what is this?", "of unknown version"),
    ],
)
def test_each_says_its_version_in_its_own_way(program: str, said: str, version: str) -> None:
    assert read_version(said, BY_PROGRAM[program].version) == version


def test_an_old_pgbouncer_is_refused_with_what_to_do() -> None:
    with pytest.raises(LaunchError, match=r"PgBouncer 1\.18\.0, which knows no prepared") as refusal:
        check_version(BY_PROGRAM["pgbouncer"], "/usr/sbin/pgbouncer", "1.18.0")
    assert refusal.value.hint is not None
    assert "1.21 with GATEHOUSE_BENCH_PGBOUNCER" in refusal.value.hint


@pytest.mark.parametrize(("program", "version"), [("pgbouncer", "1.21.0"), ("pgdog", "of unknown version")])
def test_others_may_take_part(program: str, version: str) -> None:
    check_version(BY_PROGRAM[program], program, version)


def test_a_variable_comes_before_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("pgcat", "pg_doorman"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for peer in PEERS:
        monkeypatch.delenv(peer.variable, raising=False)
    monkeypatch.setenv("GATEHOUSE_BENCH_PG_DOORMAN", "/opt/doorman")
    assert find_program(BY_PROGRAM["pgcat"]) == str(tmp_path / "pgcat")
    assert find_program(BY_PROGRAM["pg_doorman"]) == "/opt/doorman"
    assert [peer.program for peer in missing_peers()] == ["haproxy", "pgbouncer", "pgdog", "odyssey"]


def test_pgcat_alone_takes_no_scram() -> None:
    assert [peer.program for peer in PEERS if Ability.SCRAM_LOGIN in peer.lacks] == ["pgcat"]


def test_pgbouncer_is_the_first_pooler_the_one_that_others_are_compared_with() -> None:
    assert next(peer.program for peer in PEERS if peer.role is Role.POOLER) == "pgbouncer"
