"""How clients come in, which tenant they speak for, and what a client that may not is told."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from proxy.wire import codes, frontend
from tests.support import PATIENCE_S
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.raw import RawConnection, Refused
from tests.support.serve import Connection, ServedProxy, connect, eventually, served_proxy, value

PROTOCOL_3_2 = codes.PROTOCOL_3_0 + 2
GSSENC_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"

EXTRA: dict[str, Any] = {
    "users": {
        "both": {"password": {"file": "app.secret"}, "tenants": ["acme", "globex"]},
    },
    "tenants": {
        name: {"placement": {"model": "shared", "cluster": "main", "database": "saas"}, "status": name}
        for name in ("suspended", "maintenance", "offboarded")
    },
}


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        stored = pg18.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'gatehouse'")[0][0]
        users = {**EXTRA["users"], "verifier": {"password": {"scram": stored}, "tenants": ["acme"]}}
        extra = {**EXTRA, "users": users, "listen": {"unix_socket_dir": folder}}
        with running_proxy(pg18, extra) as running:
            yield running


async def raw(proxy: ProxyUnderTest, user: str, *, minor: int = 0, **parameters: str) -> RawConnection:
    return await RawConnection.connect(
        proxy.host,
        proxy.port,
        user=user,
        password=parameters.pop("password", proxy.password),
        parameters=parameters,
        protocol=codes.PROTOCOL_3_0 + minor,
    )


async def refusal(proxy: ProxyUnderTest, user: str, **parameters: str) -> dict[str, str]:
    """The fields of the error that a login ends with."""
    with pytest.raises(Refused) as refused:
        await raw(proxy, user, minor=0, **parameters)
    assert refused.value.fields["S"] == "FATAL"
    assert "H" in refused.value.fields or refused.value.fields["C"] not in ("28000", "53300", "57P03")
    return dict(refused.value.fields)


TENANT = "SELECT current_setting('app.tenant_id')"


# Protocol.


@pytest.mark.parametrize(("minor", "key_bytes"), [(0, 4), (2, 32)])
async def test_both_protocol_versions_are_spoken(proxy: ProxyUnderTest, minor: int, key_bytes: int) -> None:
    async with await raw(proxy, "app.acme", minor=minor) as client:
        assert len(client.key) == key_bytes
        assert await client.value(TENANT) == "acme"


@pytest.mark.parametrize(
    ("protocol", "options", "answer"),
    [
        (codes.PROTOCOL_3_0 + 3, {}, (PROTOCOL_3_2, [])),
        (PROTOCOL_3_2, {"_pq_.something": "1"}, (PROTOCOL_3_2, ["_pq_.something"])),
        (codes.PROTOCOL_3_0, {"_pq_.something": "1"}, (codes.PROTOCOL_3_0, ["_pq_.something"])),
    ],
)
async def test_what_is_not_known_of_the_protocol_is_negotiated_away(
    proxy: ProxyUnderTest, protocol: int, options: dict[str, str], answer: tuple[int, list[str]]
) -> None:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(frontend.startup({"user": "app.acme", **options}, protocol))
    header = await asyncio.wait_for(reader.readexactly(5), PATIENCE_S)
    body = await reader.readexactly(int.from_bytes(header[1:], "big") - 4)
    assert header[:1] == b"v"
    names = [name.decode() for name in body[8:].split(b"\0") if name]
    assert (int.from_bytes(body[:4], "big"), names) == answer
    assert int.from_bytes(body[4:8], "big") == len(names)
    writer.close()


async def test_encryption_that_is_not_there_is_declined_and_login_goes_on(proxy: ProxyUnderTest) -> None:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    for request in (GSSENC_REQUEST, frontend.SSL_REQUEST):
        writer.write(request)
        assert await asyncio.wait_for(reader.readexactly(1), PATIENCE_S) == b"N"
    client = RawConnection(reader, writer)
    client.send(frontend.startup({"user": "app.acme"}))
    await client._log_in("app.acme", proxy.password)
    assert await client.value("SELECT 1") == "1"
    await client.close()


async def test_the_greeting_is_what_postgresql_would_say(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy, "app.acme") as client:
        async with await RawConnection.connect(
            proxy.cluster.host,
            proxy.cluster.port,
            user="gatehouse",
            password=proxy.cluster.login_password,
            database="saas",
        ) as direct:
            theirs, ours = dict(direct.parameters), dict(client.parameters)
        assert ours.keys() == theirs.keys()
        different = {name for name in ours if ours[name] != theirs[name]}
        assert different <= {"application_name", "session_authorization", "client_encoding"}, different


# Who.


async def test_a_wrong_password_and_an_unknown_user_look_the_same(proxy: ProxyUnderTest) -> None:
    known = await refusal(proxy, "app.acme", password="wrong")
    unknown = await refusal(proxy, "nobody.acme", password="wrong")
    assert known["C"] == unknown["C"] == "28P01"
    assert known["M"] == 'password authentication failed for user "app.acme"'
    assert {**known, "M": known["M"].replace("app", "nobody")} == unknown


async def test_a_stored_verifier_lets_in_who_knows_the_password(proxy: ProxyUnderTest) -> None:
    async with await raw(proxy, "verifier", password=proxy.cluster.login_password) as client:
        assert await client.value(TENANT) == "acme"
    assert (await refusal(proxy, "verifier"))["C"] == "28P01"


def test_the_unix_socket_works_like_tcp(proxy: ProxyUnderTest) -> None:
    folder = proxy.gatehouse.settings.listen.unix_socket_dir
    with connect(proxy, host=folder) as client:
        assert value(client, TENANT) == "acme"
    assert (Path(str(folder)) / f".s.PGSQL.{proxy.port}").stat().st_mode & 0o777 == 0o777


# For which tenant.


@pytest.mark.parametrize(
    ("user", "parameters", "tenant"),
    [
        ("app.acme", {}, "acme"),
        ("app", {"tenant": "globex"}, "globex"),
        ("app", {"app.tenant_id": "umbrella"}, "umbrella"),
        ("app", {"options": "-c app.tenant_id=umbrella"}, "umbrella"),
        ("app", {"options": "-c work_mem=5MB --app.tenant_id=acme"}, "acme"),
        ("app", {"options": "-c tenant=initech"}, "initech"),
        ("app.acme", {"tenant": "acme", "options": "-c app.tenant_id=acme"}, "acme"),
        ("initech", {}, "initech"),
        ("initech", {"tenant": "initech"}, "initech"),
        ("both.globex", {}, "globex"),
    ],
)
async def test_the_tenant_is_found_wherever_it_is_named(
    proxy: ProxyUnderTest, user: str, parameters: dict[str, str], tenant: str
) -> None:
    async with await raw(proxy, user, minor=0, **parameters) as client:
        assert await client.value(TENANT) == tenant


@pytest.mark.parametrize(
    ("user", "parameters", "text"),
    [
        ("app", {}, "no tenant specified"),
        ("both", {}, "no tenant specified"),
        ("app.acme", {"tenant": "globex"}, "the connection names more than one tenant"),
        ("app", {"tenant": "acme", "options": "-c app.tenant_id=globex"}, "the connection names more than one tenant"),
        ("initech", {"tenant": "acme"}, 'user "initech" is not allowed to connect for tenant "acme"'),
        ("both.umbrella", {}, 'user "both" is not allowed to connect for tenant "umbrella"'),
        ("app.nosuch", {}, 'tenant "nosuch" does not exist'),
        ("app", {"tenant": "../../etc"}, 'tenant "../../etc" does not exist'),
    ],
)
async def test_a_tenant_that_is_not_clear_or_not_allowed_is_refused(
    proxy: ProxyUnderTest, user: str, parameters: dict[str, str], text: str
) -> None:
    fields = await refusal(proxy, user, **parameters)
    assert fields["C"] == "28000"
    assert fields["M"] == text


@pytest.mark.parametrize("status", ["suspended", "maintenance", "offboarded"])
async def test_a_tenant_that_is_not_active_is_refused_with_the_reason(proxy: ProxyUnderTest, status: str) -> None:
    fields = await refusal(proxy, f"app.{status}")
    assert fields["C"] == "57P03"
    assert {"suspended": "is suspended", "maintenance": "is in maintenance", "offboarded": "has been closed"}[
        status
    ] in fields["M"]


# With which settings.


@pytest.mark.parametrize(
    ("parameters", "sqlstate", "text"),
    [
        ({"DateStyle": "nonsense"}, "22023", 'invalid value for parameter "DateStyle": "nonsense"'),
        ({"options": "-c work_mem=lots"}, "22023", 'invalid value for parameter "work_mem": "lots"'),
        ({"no_such_setting": "1"}, "42704", 'unrecognized configuration parameter "no_such_setting"'),
        ({"fsync": "off"}, "55P02", 'parameter "fsync" cannot be changed now'),
        ({"log_statement": "all"}, "42501", 'permission denied to set parameter "log_statement"'),
        ({"replication": "true"}, "0A000", "replication connections are not supported"),
        ({"replication": "database"}, "0A000", "replication connections are not supported"),
        ({"options": "-x"}, "22023", 'unsupported switch in parameter "options": "-x"'),
        ({"role": "gatehouse_owner"}, "42501", '"role" is set by Gatehouse'),
        ({"options": "-c session_authorization=postgres"}, "42501", '"session_authorization" is set by Gatehouse'),
        ({"search_path": "public, a b"}, "22023", 'invalid value for parameter "search_path": "public, a b"'),
    ],
)
async def test_startup_settings_that_can_not_be_had_are_refused_as_postgresql_would(
    proxy: ProxyUnderTest, parameters: dict[str, str], sqlstate: str, text: str
) -> None:
    fields = await refusal(proxy, "app.acme", **parameters)
    assert (fields["C"], fields["M"][: len(text)]) == (sqlstate, text)


async def test_a_schema_tenant_may_only_narrow_its_search_path(proxy: ProxyUnderTest) -> None:
    fields = await refusal(proxy, "app.globex", search_path="tenant_acme, public")
    assert fields["C"] == "42501"
    for narrower in ("public", "tenant_globex"):
        async with await raw(proxy, "app.globex", search_path=narrower) as client:
            assert await client.value("SHOW search_path") == narrower


async def test_good_startup_settings_last_and_stay_with_their_client(proxy: ProxyUnderTest) -> None:
    options = "-c work_mem=5MB -c statement_timeout=1234"
    async with await raw(proxy, "app.acme", TimeZone="Asia/Tokyo", DateStyle="German", options=options) as client:
        assert client.parameters["TimeZone"] == "Asia/Tokyo"
        assert client.parameters["DateStyle"] == "German, DMY"
        async with await raw(proxy, "app.acme") as other:
            for _ in range(2):
                assert await client.value("SHOW work_mem") == "5MB"
                assert await client.value("SHOW statement_timeout") == "1234ms"
                assert await client.value("SHOW TimeZone") == "Asia/Tokyo"
                assert await other.value("SHOW work_mem") != "5MB"
                assert await other.value("SHOW TimeZone") != "Asia/Tokyo"


# How many, and how long.


def refused_connection(proxy: ProxyUnderTest, tenant: str, user: str = "app") -> str:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(**proxy.dsn(tenant, user))
    return str(refused.value)


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({"limits": {"max_clients": 2}}, "sorry, too many clients already: Gatehouse takes 2"),
        ({"limits": {"max_clients_per_user": 2}}, 'too many connections for user "app": the limit is 2'),
        ({"users": {"app": {"max_clients": 2}}}, 'too many connections for user "app": the limit is 2'),
        ({"limits": {"max_clients_per_tenant": 2}}, 'too many connections for tenant "acme": the limit is 2'),
        ({"tiers": {"default": {"max_clients": 2}}}, 'too many connections for tenant "acme": the limit is 2'),
    ],
)
def test_clients_are_limited(pg18: TestCluster, extra: dict[str, Any], text: str) -> None:
    with running_proxy(pg18, extra) as proxy, ExitStack() as stack:
        clients: list[Connection] = [stack.enter_context(connect(proxy)) for _ in range(2)]
        assert text in refused_connection(proxy, "acme")
        clients.pop().close()
        with eventually(lambda: connect(proxy)) as client:
            assert value(client, "SELECT 1") == 1
        if "tenant" in text:
            with connect(proxy, "umbrella"):
                pass
        assert proxy.gatehouse._services.census.by_user["app"] <= 2


async def test_a_login_that_takes_too_long_is_ended(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"timeouts": {"client_login_timeout": "1s"}}) as proxy:
        for sent in (b"", b"\0\0", frontend.startup({"user": "app.acme"})):
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            assert b"SFATAL\0VFATAL\0C57014\0Mlogin was not complete within 1 s\0" in answer
            writer.close()
        async with await raw(proxy, "app.acme") as client:
            await asyncio.sleep(1.2)
            assert await client.value("SELECT 1") == "1"


async def test_a_client_that_does_nothing_for_too_long_is_sent_away(pg18: TestCluster) -> None:
    with running_proxy(pg18, {"timeouts": {"client_idle_timeout": "1s"}}) as proxy:
        async with await raw(proxy, "app.acme") as idle, await raw(proxy, "app.acme") as busy:
            await busy.query("BEGIN; SELECT 1")
            frame = await idle.read()
            assert (frame.fields["S"], frame.fields["C"]) == ("FATAL", "57P05")
            assert await busy.value("SELECT 1") == "1"


# Nonsense.

LOGGED_IN = [
    b"Z\0\0\0\4",
    b"!\0\0\0\4",
    b"Q\0\0\0\3",
    b"Q\xff\xff\xff\xff",
    b"Q\0\0\0\x08abcd",
    b"P\0\0\0\x05x",
    b"B\0\0\0\4",
    b"B\0\0\0\x0c\0\0\0\5\0\1\0\2",
    b"E\0\0\0\4",
    b"E\0\0\0\x06\0\0",
    b"D\0\0\0\4",
    b"D\0\0\0\x05S",
    b"C\0\0\0\4",
    b"F\0\0\0\4",
    b"p\0\0\0\x05x",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    random.Random(1).randbytes(1000),
]
FIRST = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\0\0\0\0",
    b"\0\0\0\x07abc",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0\0\0\x08\0\2\0\0",
    b"\0\0\0\x08\0\3\0\0",
    b"\0\0\0\x09\0\3\0\0\0",
    b"\0\0\0\x0e\0\3\0\0user\0x",
    b"\0\0\0\x10\x04\xd2\x16\x2eabcd",
    b"\0\0\0\x0a\x04\xd2\x16\x2eab",
    frontend.SSL_REQUEST + b"more",
    frontend.SSL_REQUEST + frontend.SSL_REQUEST,
    random.Random(1).randbytes(1000),
]
SECOND = [
    b"Q\0\0\0\x0dSELECT 1\0",
    b"p\0\0\0\4",
    b"p\0\0\0\x05x",
    b"p\0\0\0\x08pwd\0",
    b"p\xff\xff\xff\xff",
    b"p\0\0\0\x1aSCRAM-SHA-256\0\0\0\0\5n,,",
    b"p\0\0\0\x1dSCRAM-SHA-256\0\0\0\0\x07garbage",
    b"X\0\0\0\4",
    random.Random(1).randbytes(1000),
]


@pytest.fixture(scope="module")
def served(pg18: TestCluster) -> Iterator[ServedProxy]:
    """Its log is looked through at the end: no traceback."""
    with served_proxy(pg18, {"limits": {"max_message_size": "1MB", "max_query_size": "1MB"}}) as running:
        yield running


async def says_no_more_than(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What is answered until the connection is closed, which must be soon."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE_S)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("nonsense", FIRST, ids=lambda sent: sent[:12].hex())
async def test_nonsense_instead_of_a_startup_message_is_cut_off(served: ServedProxy, nonsense: bytes) -> None:
    reader, writer = await asyncio.open_connection(served.host, served.port)
    writer.write(nonsense)
    writer.write_eof()
    answer = await says_no_more_than(reader, writer)
    assert len(answer) < 1000


@pytest.mark.parametrize("nonsense", SECOND, ids=lambda sent: sent[:12].hex())
async def test_nonsense_instead_of_a_password_is_cut_off(served: ServedProxy, nonsense: bytes) -> None:
    reader, writer = await asyncio.open_connection(served.host, served.port)
    writer.write(frontend.startup({"user": "app.acme"}))
    assert (await reader.readexactly(1)) == b"R"
    writer.write(nonsense)
    writer.write_eof()
    answer = await says_no_more_than(reader, writer)
    assert len(answer) < 1000
    assert b"R\0\0\0\x08\0\0\0\0" not in answer


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("nonsense", LOGGED_IN, ids=lambda sent: sent[:12].hex())
async def test_nonsense_in_a_session_costs_only_that_session(
    served: ServedProxy, nonsense: bytes, in_transaction: bool
) -> None:
    async with await raw(served, "app.globex") as other, await raw(served, "app.globex") as client:
        if in_transaction:
            await client.query("BEGIN")
            await client.query("UPDATE orders SET amount = -1")
        client.send(nonsense, frontend.SYNC, frontend.query(b"SELECT 'alive'"))
        answer: list[Any] = []
        try:
            while True:
                answer.append(await client.read())
                if answer[-1].code == "D" or (answer[-1].code == "E" and answer[-1].fields["C"] == "25P02"):
                    break
        except (EOFError, ConnectionResetError):
            pass
        seen = {frame.fields["C"] for frame in answer if frame.code == "E"}
        assert seen
        assert seen <= {"08P01", "54000", "26000", "34000", "57014", "25P02", "0A000"}
        client.abort()
        assert await other.value("SELECT count(*) FROM orders WHERE amount > 0") == "4"


def test_after_all_that_no_lock_is_left(served: ServedProxy) -> None:
    with connect(served, "globex") as client:
        client.execute("BEGIN")
        client.execute("SET LOCAL lock_timeout = '1s'")
        client.execute("SELECT 1 FROM orders FOR UPDATE")
        client.execute("ROLLBACK")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which timer a socket has")
def test_the_kernel_looks_after_clients_that_vanish_without_a_word(proxy: ProxyUnderTest) -> None:
    with socket.create_connection((proxy.host, proxy.port)) as client:
        ours = f":{proxy.port:04X} ", f":{client.getsockname()[1]:04X} "
        eventually(lambda: _timer_of(*ours) == _KEEPALIVE_TIMER)


_KEEPALIVE_TIMER = "02"


def _timer_of(local_port: str, remote_port: str) -> str:
    """Which timer runs for a TCP connection, as /proc/net/tcp numbers them; '' if there is none such."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, timer, *_ = line.split()
        if f"{local} ".endswith(local_port) and f"{remote} ".endswith(remote_port):
            return timer.split(":")[0]
    return ""
