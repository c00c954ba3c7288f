"""The claim of a second gateway: there is one a dial-out, and what was seen before is void."""

import asyncio
from datetime import timedelta

import pytest

from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOutState
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.ledger import Claim, ClaimOutcome, Ledger, Provisioning, VoidOutcome
from tests.ledger.world import LONDON, NOON, TERMS, World

SECOND = timedelta(seconds=1)


@pytest.fixture
async def world(ledger: Ledger, provisioning: Provisioning) -> World:
    """A tenant with an hour in the pool."""
    world = await World.create(ledger, provisioning)
    await world.add_licence()
    await world.add_credits(1_000_000)
    return world


async def claimed(world: World) -> DialOutKey:
    """Have a gateway claim a call, and return its key."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key
    assert isinstance(await world.ledger.claim(key, key.gate_uniqueid, NOON), Claim)
    return key


async def test_a_call_is_taken_over_once(ledger: Ledger, world: World) -> None:
    """Of ten gateways that find a channel waiting, one lets it dial."""
    key = await claimed(world)

    answers = await asyncio.gather(
        *(ledger.take_over(key, key.gate_uniqueid, NOON + SECOND) for _ in range(10))
    )

    assert answers.count(ClaimOutcome.RELEASED) == 9
    assert [each for each in answers if isinstance(each, Claim)] == [
        Claim(
            destination=LONDON.e164,
            limit_seconds=Seconds(1800),
            talk_seconds_max=Seconds(1800),
            ring_seconds=TERMS.ring_seconds,
            caller_id=TERMS.caller_id,
        )
    ]


async def test_what_nobody_claimed_is_claimed_by_taking_it_over(
    ledger: Ledger, world: World
) -> None:
    """Its own gateway may have died before its claim: from then on that claim finds nothing."""
    _, dial_out = await world.reserve()
    key = dial_out.request.key

    taken = await ledger.take_over(key, key.gate_uniqueid, NOON)
    late = await ledger.claim(key, key.gate_uniqueid, NOON)
    known = await ledger.dial_out(key)

    assert isinstance(taken, Claim)
    assert late is ClaimOutcome.RELEASED
    assert known is not None
    assert (known.state, known.gate_uniqueid) == (DialOutState.RELEASED, key.gate_uniqueid)


async def test_another_channel_takes_nothing_over(ledger: Ledger, world: World) -> None:
    """A call is its own channel's: who comes with the id and another channel gets nothing."""
    key = await claimed(world)

    assert await ledger.take_over(key, "ast-9.9", NOON) is ClaimOutcome.RELEASED


async def test_what_is_over_is_not_taken_over(ledger: Ledger, world: World) -> None:
    """Answered, ended, expired or unknown: nobody dials."""
    answered, ended = await claimed(world), await claimed(world)
    await ledger.answered(answered, NOON)
    await world.void(ended)
    _, expired = await world.reserve()
    unknown = DialOutKey(tenant_id=world.tenant_id, dial_out_id=world.tenant_id)

    answers = [
        await ledger.take_over(answered, answered.gate_uniqueid, NOON),
        await ledger.take_over(ended, ended.gate_uniqueid, NOON),
        await ledger.take_over(expired.request.key, "gate", NOON + timedelta(hours=1)),
        await ledger.take_over(unknown, "gate", NOON),
    ]

    assert answers == [
        ClaimOutcome.ENDED,
        ClaimOutcome.ENDED,
        ClaimOutcome.EXPIRED,
        ClaimOutcome.UNKNOWN_DIAL_OUT,
    ]


async def test_an_absence_seen_before_says_nothing_of_who_was_let_dial_since(
    ledger: Ledger, world: World
) -> None:
    """Two lists without the call were taken, then a gateway began it: it stays paid for."""
    key = await claimed(world)
    await ledger.take_over(key, key.gate_uniqueid, NOON + SECOND)

    async def void_as_released_at(seconds: int) -> VoidOutcome:
        outcome, _ = await ledger.void(
            key,
            at=NOON + 5 * SECOND,
            hangup_cause=0,
            disposition=Disposition.FAILED,
            only_if_unclaimed=False,
            evidence="absent_twice",
            latest_end=NOON + 5 * SECOND,
            released_at=NOON + seconds * SECOND,
        )
        return outcome

    assert await void_as_released_at(0) is VoidOutcome.RELEASED
    assert await void_as_released_at(1) is VoidOutcome.VOIDED
