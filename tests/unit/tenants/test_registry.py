"""The registry: answers from memory, asks once, serves old answers when it must, and says when things changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.errors import RegistryUnavailable, TenantUnknown
from proxy.tenants.model import SharedPlacement, Tenant, TenantStatus, Tier
from proxy.tenants.registry import TenantRegistry

ACME = Tenant("acme", SharedPlacement("main", "saas"), Tier("default"))
GLOBEX = replace(ACME, id="globex")


class Source:
    """A source that can be made to fail or to wait, and counts."""

    def __init__(self) -> None:
        self.tenants = {"acme": ACME, "globex": GLOBEX}
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked: list[str] = []

    async def fetch(self, tenant_id: str) -> Tenant | None:
        self.asked.append(tenant_id)
        tenant = self.tenants.get(tenant_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return tenant


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(source: Source, clock: Clock) -> TenantRegistry:
    return TenantRegistry(source, ttl_s=60, negative_ttl_s=5, stale_s=600, clock=clock)


async def test_an_answer_is_remembered_until_its_time_is_over(
    registry: TenantRegistry, source: Source, clock: Clock
) -> None:
    assert registry.cached("acme") is None
    assert await registry.lookup("acme") is ACME
    assert registry.cached("acme") is ACME
    clock.now += 59
    assert await registry.lookup("acme") is ACME
    assert source.asked == ["acme"]
    clock.now += 1
    assert registry.cached("acme") is None
    await registry.lookup("acme")
    assert source.asked == ["acme", "acme"]


async def test_an_unknown_tenant_is_remembered_for_a_shorter_time(
    registry: TenantRegistry, source: Source, clock: Clock
) -> None:
    for _ in range(3):
        with pytest.raises(TenantUnknown, match='tenant "nobody" does not exist'):
            await registry.lookup("nobody")
    assert source.asked == ["nobody"]
    clock.now += 5
    source.tenants["nobody"] = replace(ACME, id="nobody")
    assert (await registry.lookup("nobody")).id == "nobody"


async def test_how_look_ups_end_is_counted(registry: TenantRegistry, source: Source, clock: Clock) -> None:
    await registry.lookup("acme")
    await registry.lookup("acme")
    for _ in range(2):
        with pytest.raises(TenantUnknown):
            await registry.lookup("nobody")
    clock.now += 61
    source.failure = OSError("gone")
    await registry.lookup("acme")
    counts = (registry.hits, registry.misses, registry.negative_hits, registry.stale_served, registry.source_failures)
    assert counts == (1, 3, 1, 1, 1)


async def test_an_id_that_can_not_exist_is_not_asked_for(registry: TenantRegistry, source: Source) -> None:
    for text in ("", "a b", "x" * 64, "a'; --", "é\n"):
        with pytest.raises(TenantUnknown) as caught:
            await registry.lookup(text)
        assert caught.value.message.isprintable()
    assert source.asked == []


async def test_guessing_does_not_fill_the_memory(source: Source, clock: Clock) -> None:
    registry = TenantRegistry(source, 60, 5, 600, clock, max_negative_entries=2)
    for text in ("a", "b", "c", "c", "a"):
        with pytest.raises(TenantUnknown):
            await registry.lookup(text)
    assert source.asked == ["a", "b", "c", "a"]


async def test_the_oldest_answer_makes_room(source: Source, clock: Clock) -> None:
    registry = TenantRegistry(source, 60, 5, 600, clock, max_entries=1)
    await registry.lookup("acme")
    await registry.lookup("globex")
    assert registry.cached("acme") is None
    assert registry.cached("globex") is GLOBEX


async def test_an_old_answer_serves_while_the_source_fails(
    registry: TenantRegistry, source: Source, clock: Clock
) -> None:
    await registry.lookup("acme")
    clock.now += 61
    source.failure = OSError("down")
    assert await registry.lookup("acme") is ACME
    assert registry.cached("acme") is ACME, "a broken source is not asked for each transaction"
    assert source.asked == ["acme", "acme"]
    clock.now += 600
    with pytest.raises(RegistryUnavailable) as caught:
        await registry.lookup("acme")
    assert "down" not in caught.value.message
    assert registry.source_failures == 2


async def test_without_an_old_answer_a_failing_source_is_no_unknown_tenant(
    registry: TenantRegistry, source: Source
) -> None:
    source.failure = OSError("down")
    with pytest.raises(RegistryUnavailable):
        await registry.lookup("acme")
    source.failure = None
    assert await registry.lookup("acme") is ACME


async def test_a_source_that_hangs_is_a_source_that_fails(source: Source, clock: Clock) -> None:
    registry = TenantRegistry(source, 60, 5, 600, clock, fetch_timeout_s=0)
    source.gate = asyncio.Event()
    with pytest.raises(RegistryUnavailable):
        await registry.lookup("acme")


async def test_many_who_ask_at_once_ask_the_source_once(registry: TenantRegistry, source: Source) -> None:
    source.gate = asyncio.Event()
    asking = [asyncio.create_task(registry.lookup("acme")) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [ACME] * 9
    assert source.asked == ["acme"]


async def test_after_invalidation_every_tenant_is_asked_for_again(registry: TenantRegistry, source: Source) -> None:
    await registry.lookup("acme")
    before = registry.changes.number
    source.tenants["acme"] = replace(ACME, status=TenantStatus.SUSPENDED)
    registry.invalidate()
    assert registry.changes.number > before
    assert registry.cached("acme") is None
    assert (await registry.lookup("acme")).status is TenantStatus.SUSPENDED


async def test_a_tenant_that_did_not_change_stays_the_same_object(registry: TenantRegistry, source: Source) -> None:
    first = await registry.lookup("acme")
    source.tenants["acme"] = replace(ACME)
    before = registry.changes.number
    registry.invalidate()
    assert await registry.lookup("acme") is first
    assert registry.changes.number == before + 1, "asking again is no change"


async def test_an_old_answer_serves_after_an_invalidation_while_the_source_fails(
    registry: TenantRegistry, source: Source
) -> None:
    await registry.lookup("acme")
    registry.invalidate()
    source.failure = OSError("down")
    assert await registry.lookup("acme") is ACME
    assert registry.cached("acme") is ACME


async def test_invalidation_forgets_who_was_unknown(registry: TenantRegistry, source: Source) -> None:
    with pytest.raises(TenantUnknown):
        await registry.lookup("new")
    source.tenants["new"] = replace(ACME, id="new")
    registry.invalidate()
    assert (await registry.lookup("new")).id == "new"


async def test_an_answer_under_way_during_invalidation_is_not_believed(
    registry: TenantRegistry, source: Source
) -> None:
    source.gate = asyncio.Event()
    asking = asyncio.create_task(registry.lookup("acme"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.asked == ["acme"]
    changed = source.tenants["acme"] = replace(ACME, status=TenantStatus.SUSPENDED)
    registry.invalidate()
    source.gate.set()
    assert await asking == changed
    assert registry.cached("acme") == changed


async def test_a_change_seen_when_asking_again_moves_the_generation(
    registry: TenantRegistry, source: Source, clock: Clock
) -> None:
    await registry.lookup("acme")
    before = registry.changes.number
    clock.now += 60
    await registry.lookup("acme")
    assert registry.changes.number == before
    clock.now += 60
    del source.tenants["acme"]
    with pytest.raises(TenantUnknown):
        await registry.lookup("acme")
    assert registry.changes.number == before + 1


async def test_closing_stops_what_is_under_way(registry: TenantRegistry, source: Source) -> None:
    source.gate = asyncio.Event()
    asking = asyncio.create_task(registry.lookup("acme"))
    await asyncio.sleep(0)
    await registry.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
