"""Addresses of servers."""

from __future__ import annotations

import pytest

from proxy.settings.hosts import HostPort, parse_host_port
from proxy.settings.names import Invalid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("db1:5433", HostPort("db1", 5433)),
        ("db1", HostPort("db1", 5432)),
        ("127.0.0.1:5432", HostPort("127.0.0.1", 5432)),
        ("[::1]:5433", HostPort("::1", 5433)),
        ("[fe80::1%eth0]", HostPort("fe80::1%eth0", 5432)),
        ("/run/postgresql:5433", HostPort("/run/postgresql", 5433)),
    ],
)
def test_an_address_is_a_name_an_ip_or_a_socket_directory(text: str, expected: HostPort) -> None:
    assert parse_host_port(text) == expected
    assert parse_host_port(str(expected)) == expected


def test_a_socket_directory_leads_to_the_file_postgresql_makes() -> None:
    host = parse_host_port("/run/postgresql/:5433")
    assert host.is_unix
    assert host.socket_path == "/run/postgresql/.s.PGSQL.5433"


@pytest.mark.parametrize(
    "text",
    [
        *("", ":5432", "db1:", "db1:0", "db1:65536", "db 1", "a:b", "postgres://db1", "db1:5432/x"),
        *("db..example.com", f"{'d' * 64}.example.com", "db\x01", "d\u200d\u200db", "d\0b", "/run\0"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_host_port(text)


def test_a_dsn_is_told_what_belongs_there() -> None:
    with pytest.raises(Invalid) as caught:
        parse_host_port("postgresql://gatehouse:pw@db1:5432/saas")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Write host:port alone")


def test_an_ipv6_address_without_brackets_is_told_what_is_missing() -> None:
    with pytest.raises(Invalid) as caught:
        parse_host_port("::1")
    assert caught.value.hint is not None
    assert "brackets" in caught.value.hint
