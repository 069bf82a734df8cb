"""Random scripts: whatever a client sends in whatever order, it sees the same through Gatehouse."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.wire import frontend
from tests.differential.harness import CHANNELS, PLACES, Script, Step, b, c, d, direct, e, p, q, run, through
from tests.support.postgres import TestCluster
from tests.support.proxy import ProxyUnderTest, running_proxy

TEXTS = (
    "SELECT 1",
    "SELECT 1/0",
    "SELEC",
    "",
    "BEGIN",
    "SHOW transaction_isolation",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SAVEPOINT b",
    "ROLLBACK TO b",
    "SET work_mem = '3MB'",
    "SET LOCAL work_mem = '4MB'",
    "SET work_mem = 'lots'",
    "RESET work_mem",
    "SHOW work_mem",
    "RESET ALL",
    "SET TimeZone = 'asia/tokyo'",
    "RESET TimeZone",
    "SHOW TimeZone",
    "SET DateStyle = 'German'",
    "SELECT set_config('work_mem', '5MB', false)",
    "SELECT current_setting('app.tenant_id')",
    "SELECT count(*) FROM orders",
)
# What needs a fresh transaction is in scripts.py: see "batches" in differences.py.
ALONE = ("DISCARD ALL",)
NAMES = ("s1", "s2", "")

texts = st.sampled_from(TEXTS)
queries = st.one_of(
    st.lists(texts, min_size=1, max_size=3).map(lambda parts: q("; ".join(parts))), st.sampled_from(ALONE).map(q)
)
named = st.one_of(
    st.builds(lambda name, text: p(text, name), st.sampled_from(NAMES), texts),
    st.builds(lambda name: b(name=name) + d() + e(), st.sampled_from(NAMES)),
    st.builds(lambda name: d(name, "S"), st.sampled_from(NAMES)),
    st.builds(lambda name: c(name), st.sampled_from(NAMES)),
)
# SET LOCAL behind an injected context finds a transaction to be local to, and so gives no warning.
batched = texts.filter(lambda text: not text.startswith("SET LOCAL"))
batches = st.lists(st.one_of(batched.map(run), named), min_size=1, max_size=4).map(
    lambda parts: b"".join(parts) + frontend.SYNC
)
scripts = st.lists(st.one_of(queries, batches), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def proxy(pg18: TestCluster) -> Iterator[ProxyUnderTest]:
    with running_proxy(pg18, {"pool": {"size": 2}, **CHANNELS}) as running:
        yield running


@pytest.mark.parametrize("place", PLACES)
def test_any_script_is_seen_the_same(pg18: TestCluster, proxy: ProxyUnderTest, place: str) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(scripts)
    def check(messages: list[bytes]) -> None:
        script = Script("random", [Step(message) for message in messages])

        async def both() -> None:
            expected = await direct(pg18, PLACES[place], script)
            assert await through(proxy, PLACES[place], script) == expected

        asyncio.run(both())

    check()
