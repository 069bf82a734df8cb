"""`gatehouse check`: what it prints, and what it exits with."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.cli.check import ClusterReport, run_check
from proxy.settings.model import Settings

GOOD = """\
clusters: {main: {hosts: [db1], user: g, password: {env: GATEHOUSE_TEST_UNSET}, tls: {ca_file: gone.crt}}}
users: {app: {password: {file: app.pw}, tenants: "*"}}
tenants:
  acme: {placement: {model: shared, cluster: main, database: saas}}
  initech: {placement: {model: database, cluster: main, database: initech}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "g.yaml"
    path.write_text(GOOD)
    (tmp_path / "app.pw").write_text("s3cret\n")
    return path


def test_a_good_file_is_summed_up(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(config, connect=False) == 0
    assert capsys.readouterr().out == f"OK: {config}: 1 cluster, 1 user, 2 tenants (1 shared, 1 database)\n"


def test_secrets_and_files_that_are_not_there_are_warned_about(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEHOUSE_TEST_UNSET", raising=False)
    run_check(config, connect=False)
    errors = capsys.readouterr().err
    assert 'warning: password of cluster "main": the environment variable GATEHOUSE_TEST_UNSET is not set' in errors
    assert f"warning: {config.parent / 'gone.crt'} is not a file" in errors
    assert "s3cret" not in errors


def test_the_hint_about_a_verifier_is_not_taken_for_one(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("{file: app.pw}", "{scram: x}"))
    assert run_check(config, connect=False) == 2
    errors = capsys.readouterr().err
    assert "this is not a SCRAM verifier" in errors
    hint = errors[errors.index("hint:") :]
    assert "pg_authid" in hint
    assert "***" not in hint


def test_tls_files_that_serve_would_refuse_are_warned_about(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "gone.crt").write_text("no certificate")
    (config.parent / "own.key").write_text("no key")
    with config.open("a") as file:
        file.write("tls: {mode: require, cert_file: gone.crt, key_file: own.key}\n")
    config.write_text(config.read_text().replace("{ca_file", "{mode: verify-ca, ca_file"))
    assert run_check(config, connect=False) == 0
    errors = capsys.readouterr().err
    why = f"can not be used: {config.parent / 'gone.crt'} holds no certificate in PEM form"
    assert f"warning: the TLS files {why}" in errors
    assert f'warning: the TLS files of cluster "main" {why}' in errors


def test_an_empty_configuration_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("pool: {size: 3}")
    assert run_check(path, connect=False) == 0
    assert "there are no clusters" in capsys.readouterr().err


def test_problems_go_to_stderr_and_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.yaml"
    path.write_text("pool: {size: x}\nlog: {level: y}\n")
    assert run_check(path, connect=True) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{path}:1:14:" in captured.err
    assert f"{path}:2:14:" in captured.err


@pytest.mark.parametrize(
    "text",
    [
        "clusters: {main: {hosts: ['postgresql://g:hunter2@db1:5432/saas'], user: g}}",
        "clusters: {main: {hosts: [db1], user: g, dsn: 'host=db1 password=hunter2'}}",
        "clusters: {main: {hosts: [db1], user: g, api_key: hunter2}}",
        "users: {app: {pw: hunter2, tenants: '*'}}",
        "users:\n  app:\n    password:\n      @hunter2\n",
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(text)
    assert run_check(path, connect=False) == 2
    assert "***" in (shown := capsys.readouterr().err)
    assert "hunter2" not in shown


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
def test_connecting_reports_each_cluster_and_exits_with_1_when_one_failed(
    config: Path, capsys: pytest.CaptureFixture[str], ok: bool, code: int
) -> None:
    async def probe(settings: Settings) -> list[ClusterReport]:
        (host,) = settings.clusters["main"].hosts
        return [ClusterReport("main", str(host), ok, "PostgreSQL 18.4" if ok else "connection refused")]

    assert run_check(config, connect=True, probe=probe) == code
    captured = capsys.readouterr()
    if ok:
        assert "OK: main db1:5432: PostgreSQL 18.4" in captured.out
    else:
        assert "FAILED: main db1:5432: connection refused" in captured.err
