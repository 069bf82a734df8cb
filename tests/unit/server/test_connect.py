"""The TLS settings towards a cluster."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.server.connect import tls_context
from proxy.settings.model import Cluster


def cluster(**tls: Any) -> Cluster:
    return Cluster.model_validate({"hosts": ["db"], "user": "g", "password": {"env": "A"}, "tls": tls})


@pytest.fixture
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's, which is what SSL_CERT_FILE names."""
    file = tmp_path / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return file


def known(context: ssl.SSLContext | None) -> list[Any]:
    assert context is not None
    return [authority["serialNumber"] for authority in context.get_ca_certs()]


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_the_systems_authorities_are_read_once_for_all_clusters(authorities: Path, mode: str) -> None:
    one, other = tls_context(cluster(mode=mode)), tls_context(cluster(mode=mode))
    assert one is other
    assert len(known(one)) == 1
    assert one is not None
    assert one.verify_mode is ssl.CERT_REQUIRED
    assert one.check_hostname is (mode == "verify-full")


def test_they_are_read_again_when_they_have_changed(authorities: Path) -> None:
    before = tls_context(cluster(mode="verify-full"))
    trustme.CA().cert_pem.write_to_path(str(authorities))
    os.utime(authorities, ns=(1, 1))
    after = tls_context(cluster(mode="verify-full"))
    assert known(before) != known(after)


def test_a_file_of_ones_own_is_read_each_time(authorities: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    before = tls_context(cluster(mode="verify-ca", ca_file=str(file)))
    trustme.CA().cert_pem.write_to_path(str(file))
    after = tls_context(cluster(mode="verify-ca", ca_file=str(file)))
    assert len(known(before)) == len(known(after)) == 1
    assert known(before) != known(after) != known(tls_context(cluster(mode="verify-ca")))


def test_nobody_is_asked_where_nothing_is_verified(authorities: Path) -> None:
    for mode in ("prefer", "require"):
        context = tls_context(cluster(mode=mode))
        assert known(context) == []
        assert context is not None
        assert context.verify_mode is ssl.CERT_NONE
    assert tls_context(cluster(mode="disable")) is None
