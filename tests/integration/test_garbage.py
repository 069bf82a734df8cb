"""What a client leaves behind is gone when it is: nothing waits for the garbage collector, which would stop everybody."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy
from tests.support.serve import eventually

_TIMES = 5


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18) as running:
        yield running


def _connect(proxy: ProxyUnderTest, *, autocommit: bool = False) -> psycopg.Connection:
    return psycopg.connect(**proxy.dsn("acme"), autocommit=autocommit)


def _query(proxy: ProxyUnderTest) -> None:
    with _connect(proxy, autocommit=True) as client:
        client.execute("SELECT 1")
        client.execute("SELECT %s::int", (1,), prepare=True)


def _block(proxy: ProxyUnderTest) -> None:
    with _connect(proxy) as client:
        client.execute("SET work_mem = '5MB'")
        client.execute("SELECT 1")


def _error(proxy: ProxyUnderTest) -> None:
    with _connect(proxy, autocommit=True) as client, pytest.raises(psycopg.errors.DivisionByZero):
        client.execute("SELECT 1/0")


def _refused_statement(proxy: ProxyUnderTest) -> None:
    with _connect(proxy, autocommit=True) as client, pytest.raises(psycopg.errors.InsufficientPrivilege):
        client.execute("SET app.tenant_id = 'globex'")


def _leaves_in_a_transaction(proxy: ProxyUnderTest) -> None:
    client = _connect(proxy)
    client.execute("SELECT 1")
    client.close()


def _wrong_password(proxy: ProxyUnderTest) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**proxy.dsn("acme") | {"password": "wrong"})


def _unknown_tenant(proxy: ProxyUnderTest) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(**proxy.dsn("nobody"))


@pytest.mark.parametrize(
    "visit",
    [_query, _block, _error, _refused_statement, _leaves_in_a_transaction, _wrong_password, _unknown_tenant],
)
def test_nothing_is_left_to_the_collector(proxy: ProxyUnderTest, visit: Callable[[ProxyUnderTest], None]) -> None:
    visit(proxy)
    # An earlier test's Gatehouse may become garbage just now: what a client leaves is there each time.
    left: Counter[str] = Counter()
    for _ in range(3):
        left = _left_to_the_collector(proxy, visit)
        if not left:
            break
    assert not left, left


def _left_to_the_collector(proxy: ProxyUnderTest, visit: Callable[[ProxyUnderTest], None]) -> Counter[str]:
    """The proxy's own objects that would wait for the collector after some visits, by their class."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(_TIMES):
            visit(proxy)
        eventually(lambda: proxy.call(lambda: not proxy.gatehouse.services.census.present))
        gc.collect()
        return Counter(type(thing).__qualname__ for thing in gc.garbage if type(thing).__module__.startswith("proxy."))
    finally:
        gc.set_debug(0)
        gc.enable()
        gc.garbage.clear()
