"""Everything at once: no deadlock, nothing lost, nothing twice."""

import asyncio
from collections import Counter
from datetime import timedelta
from random import Random

import pytest

from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.ledger import Claim, Ledger, SettleOutcome, VoidOutcome
from tests.ledger.world import CREDITS, NOON, POOL, POOL_THEN_CREDITS, World

CREDITS_THEN_POOL = (*CREDITS, *POOL)

SECOND = timedelta(seconds=1)

pytestmark = pytest.mark.usefixtures("crowd")


async def test_calls_begin_and_end_at_the_same_time(ledger: Ledger, world: World) -> None:
    """Reserving, settling and voiding over both sources in mixed order ends, and adds up.

    A lock taken out of order would end in a deadlock, which the ledger reports as its own
    absence, and this test as a failure.
    """
    random = Random(7)
    await world.add_licence()
    await world.add_credits(100_000_000)
    waterfalls = [POOL_THEN_CREDITS, CREDITS_THEN_POOL]

    async def call() -> None:
        key = await world.released(random.choice(waterfalls), seconds=120)
        ending = random.choice(["settle", "void", "both"])
        if ending in ("settle", "both"):
            await asyncio.gather(*(world.settle(key, 61_000) for _ in range(2)))
        if ending in ("void", "both"):
            await asyncio.gather(*(world.void(key) for _ in range(2)))

    await asyncio.gather(*(call() for _ in range(150)), *_add_funds(world))

    assert await ledger.open_dial_outs() == ()
    assert (await world.balance(SourceKind.POOL)).reserved == 0
    assert (await world.books(SourceKind.CREDITS))[2] == 0
    assert await ledger.check() == ()


def _add_funds(world: World) -> list[asyncio.Future[None]]:
    """Buy funds meanwhile, in many transactions of their own."""
    return [asyncio.ensure_future(world.add_credits(1)) for _ in range(30)]


async def test_calls_over_both_sources_end_in_any_order(ledger: Ledger, world: World) -> None:
    """Half of them name the pool first and half the credits; each ending needs both.

    Locked in the order of the parts, two of them would wait for each other for ever.
    """
    keys = [key for number in range(20) for key in await _both_ways(world, number)]

    endings = await asyncio.gather(
        *(world.settle(key, 3_601_000) for key in keys), *(world.void(key) for key in keys)
    )

    ended = [SettleOutcome.SETTLED, VoidOutcome.VOIDED]
    assert sum(outcome in ended for outcome, _ in endings) == len(keys)
    assert await ledger.open_dial_outs() == ()
    assert await ledger.check() == ()


async def _both_ways(world: World, number: int) -> list[DialOutKey]:
    """Reserve all of the pool and a minute of credits, then all of the credits and an hour."""
    await world.add_credits(2 * 17_000)
    keys = []
    for name, waterfall in (("a", POOL_THEN_CREDITS), ("b", CREDITS_THEN_POOL)):
        organizer_id = OrganizerId(f"{name}{number}")
        await world.add_organizer(organizer_id)
        await world.add_licence(organizer_id)
        keys.append(await world.released(waterfall, seconds=3660))
    return keys


async def test_a_hangup_that_is_reported_at_once_by_many_is_one_bill(
    ledger: Ledger, world: World
) -> None:
    """Event, record and reconciliation race to settle or void: exactly one of them ends it."""
    await world.add_licence()
    keys = [await world.released(seconds=60) for _ in range(12)]

    endings = await asyncio.gather(
        *(world.settle(key, 5000) for key in keys for _ in range(8)),
        *(world.void(key) for key in keys),
    )

    outcomes = Counter(outcome for outcome, _ in endings)
    assert outcomes[SettleOutcome.SETTLED] + outcomes[VoidOutcome.VOIDED] == len(keys)
    assert len({dial_out for _, dial_out in endings}) == len(keys)
    assert await ledger.check() == ()


async def test_many_visits_of_the_gate_get_one_claim(ledger: Ledger, world: World) -> None:
    """Twenty channels with one id race the reaper: one dials, or none does."""
    await world.add_licence()
    _, dial_out = await world.reserve()
    key = dial_out.request.key

    async def claim(number: int) -> bool:
        return isinstance(await ledger.claim(key, f"gate-{number}", NOON), Claim)

    async def fence() -> bool:
        return (await world.void(key, only_if_unclaimed=True))[0] is VoidOutcome.VOIDED

    won = await asyncio.gather(*(claim(number) for number in range(20)), fence(), fence())

    assert sum(won) == 1
    assert await ledger.check() == ()


async def test_calls_seen_in_any_order_do_not_block_each_other(
    ledger: Ledger, world: World
) -> None:
    """Two gateways report the same calls, listed differently."""
    await world.add_licence()
    keys = [await world.released(seconds=60) for _ in range(50)]
    ids = [key.dial_out_id for key in keys]

    await asyncio.gather(
        *(
            ledger.seen(world.tenant_id, ids[::step], NOON + number * SECOND)
            for number in range(20)
            for step in (1, -1)
        )
    )

    assert {dial_out.seen_at for dial_out in await ledger.open_dial_outs()} == {NOON + 19 * SECOND}
