"""Every attack of the table, by both protocols, from every placement that shares servers and from one that does not.

After each: the attacker reached only its own rows (where that is promised), and the next client on the same server,
another tenant's, finds exactly its own rows and an untouched session.
"""

from __future__ import annotations

import pytest

from tests.isolation import world
from tests.isolation.attacks import ATTACKS, REFUSED, Attack, Promise
from tests.isolation.world import Protocol, Resident, connect, items_of, reach_of, run, state_of
from tests.support.proxy import ProxyUnderTest
from tests.support.raw import RawConnection, errors

# Who attacks from a placement, whom, and who else may come next on that server.
CASTS: dict[str, tuple[Resident, Resident, tuple[Resident, ...]]] = {
    "shared": (world.ACME, world.UMBRELLA, (world.UMBRELLA, world.HOOLI)),
    "schema": (world.GLOBEX, world.HOOLI, (world.HOOLI, world.UMBRELLA)),
    "database": (world.INITECH, world.ACME, (world.INITECH,)),
}
REFUSALS = {"42501", "0A000"}

States = dict[str, dict[str, str | None]]


@pytest.fixture(scope="session")
def untouched() -> States:
    """What every tenant's session is like before anything happens, per cluster and tenant."""
    return {}


async def expected_state(proxy: ProxyUnderTest, resident: Resident, untouched: States) -> dict[str, str | None]:
    key = f"{proxy.cluster!r} {resident.name}"
    if key not in untouched:
        async with await connect(proxy, resident) as connection:
            state = await state_of(connection)
        assert (state["tenant"], state["user"], state["schemas"]) == (resident.name, resident.user, resident.schemas)
        assert {state[name] for name in ("temporary relations", "cursors", "channels", "advisory locks")} == {"0"}
        assert state["standard_conforming_strings"] == "on"
        untouched[key] = state
    return untouched[key]


async def assert_unharmed(proxy: ProxyUnderTest, resident: Resident, untouched: States) -> None:
    """A client of the tenant finds its rows, all of them, and its session as it always is."""
    expected = await expected_state(proxy, resident, untouched)
    async with await connect(proxy, resident) as connection:
        # Rows first, and by the protocol that needs statements of the proxy's: to ask for the state has the server reset.
        assert await items_of(connection, "orders", "extended") == sorted(resident.items)
        assert await items_of(connection, resident.orders, "simple") == sorted(resident.items)
        assert await state_of(connection, "simple") == expected
        assert await state_of(connection, "extended") == expected


async def is_refused(connection: RawConnection, attacker: Resident, step: str, protocol: Protocol) -> bool:
    """Whether a statement is refused outside and inside a transaction, and the transaction fails with it."""
    outside = errors(await run(connection, step, protocol))
    unharmed = await items_of(connection, attacker.orders, protocol) == sorted(attacker.items)
    await connection.query("BEGIN")
    await items_of(connection, attacker.orders, protocol)
    inside = errors(await run(connection, step, protocol))
    has_failed = connection.status == "E"
    await connection.query("ROLLBACK")
    return bool(unharmed and has_failed and set(outside + inside) <= REFUSALS and outside and inside)


@pytest.mark.parametrize("model", CASTS)
@pytest.mark.parametrize("topic", dict.fromkeys(attack.name.split(":")[0] for attack in REFUSED))
async def test_what_changes_the_context_is_refused(
    single: ProxyUnderTest, untouched: States, topic: str, model: str
) -> None:
    attacker, victim, bystanders = CASTS[model]
    await expected_state(single, bystanders[0], untouched)
    asked: list[tuple[Protocol, str]] = []
    for attack in REFUSED:
        if attack.name.startswith(f"{topic}:") and model in attack.models:
            (step,) = attack.against(attacker, victim)
            asked += [(protocol, step) for protocol in world.PROTOCOLS[: 1 if attack.simple_only else 2]]
    async with await connect(single, attacker) as connection:
        let_through = [(by, step) for by, step in asked if not await is_refused(connection, attacker, step, by)]
        assert not let_through
        assert await reach_of(connection) <= attacker.items
    await assert_unharmed(single, bystanders[0], untouched)


async def perform(connection: RawConnection, attack: Attack, steps: tuple[str, ...], protocol: Protocol) -> set[str]:
    """Send the steps, and return what the attacker reached at the end of them."""
    for step in steps:
        answer = await run(connection, step, protocol)
        inside = connection.status == "E"
    if attack.promise is Promise.REFUSED:
        assert errors(answer), f"not refused: {steps[-1]}"
        assert set(errors(answer)) <= REFUSALS | ({"25P02"} if inside and len(steps) > 1 else set()), answer
    return await reach_of(connection, protocol)


def cases() -> list[object]:
    return [pytest.param(attack, model, id=f"{model}-{attack.name}") for attack in ATTACKS for model in attack.models]


async def attack_by(
    connection: RawConnection, attack: Attack, attacker: Resident, steps: tuple[str, ...], protocol: Protocol
) -> set[str]:
    """Each statement in a transaction of its own, then all of them in one; returns what was reached in all."""
    reached = await perform(connection, attack, steps, protocol)
    await connection.query("BEGIN")
    own = await items_of(connection, attacker.orders)
    assert own in (sorted(attacker.items), None)
    if own is None:  # it shut itself out
        await connection.query("ROLLBACK")
        await connection.query("BEGIN")
    reached |= await perform(connection, attack, steps, protocol)
    await connection.query("ROLLBACK" if connection.status == "E" else "COMMIT")
    # What an attacker did to its own session is over with its transaction, or at least shows nobody else's rows.
    assert await items_of(connection, attacker.orders, protocol) in (sorted(attacker.items), None)
    assert await reach_of(connection, protocol) <= attacker.items
    return reached


@pytest.mark.parametrize(("attack", "model"), cases())
async def test_an_attack_reaches_nobody_else(
    single: ProxyUnderTest, untouched: States, attack: Attack, model: str
) -> None:
    attacker, victim, bystanders = CASTS[model]
    if attack.promise is Promise.REFUSED:
        bystanders = bystanders[:1]
    for bystander in bystanders:
        await expected_state(single, bystander, untouched)
    steps = attack.against(attacker, victim)
    reached: set[str] = set()
    for protocol in world.PROTOCOLS[: 1 if attack.simple_only else 2]:
        async with await connect(single, attacker) as connection:
            try:
                reached |= await attack_by(connection, attack, attacker, steps, protocol)
            except (EOFError, ConnectionError):
                assert attack.ends_connection
            if not attack.pinned:
                await assert_unharmed(single, bystanders[0], untouched)
        if attack.promise is not Promise.REFUSED:
            for bystander in bystanders:
                await assert_unharmed(single, bystander, untouched)
    if attack.promise is Promise.GAP:
        assert reached & (victim.items | world.HOOLI.items), "this gap is closed: say so in docs/isolation.md"
    else:
        assert reached <= attacker.items


async def test_deallocate_hidden_in_a_view_does_not_starve_the_next_client(
    single: ProxyUnderTest, untouched: States
) -> None:
    await expected_state(single, world.HOOLI, untouched)
    async with await connect(single, world.GLOBEX) as connection:
        await connection.query(
            "CREATE OR REPLACE FUNCTION tenant_globex.forget() RETURNS text LANGUAGE plpgsql"
            " AS $f$ BEGIN DEALLOCATE ALL; RETURN 'gone'; END $f$"
        )
        await connection.query("CREATE OR REPLACE VIEW tenant_globex.forgetful AS SELECT tenant_globex.forget()")
        await run(connection, "SELECT item FROM orders", "extended")
        await connection.query("SELECT * FROM tenant_globex.forgetful")
        await assert_unharmed(single, world.HOOLI, untouched)
        await run(connection, "SELECT item FROM orders", "extended")
        await connection.query("SELECT * FROM tenant_globex.forgetful")
        await run(connection, "SELECT item FROM orders", "extended")  # may fail, once: the harm is the tenant's own
        assert await items_of(connection, "orders", "extended") == sorted(world.GLOBEX.items)
