"""What was placed while the ledger was away is booked once, as of when it was granted."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from gateway.core.choices import Choices
from gateway.core.dial_out import CoolDown, DialOutState
from gateway.core.facts import Sku, SourceKind
from gateway.core.limits import LimitKind, LimitMode, LimitScope, LimitTerms
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.ledger import ExtendOutcome, GrantOutcome, Ledger, RequestOutcome, SettleOutcome
from tests.ledger.world import ADDON, CREDITS, NOON, POOL, TERMS, World

ADDON_SECONDS = 600_000
"""What an add-on brings a month where the tenant has not chosen: its fair use."""


@pytest.fixture
async def licensed(world: World) -> World:
    """A tenant whose organizer has the add-on."""
    await world.add_licence()
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    return world


async def test_a_granted_call_is_as_any_other_once_it_is_booked(
    ledger: Ledger, licensed: World
) -> None:
    """Filed by when it was granted, released to its channel, paid by the marked source."""
    grant = licensed.grant()

    outcome, dial_out = await ledger.grant_book(grant)

    assert outcome is GrantOutcome.BOOKED
    assert dial_out.request == grant.request
    assert dial_out.state is DialOutState.RELEASED
    assert dial_out.granted
    assert dial_out.gate_uniqueid == grant.key.gate_uniqueid
    assert (dial_out.requested_at, dial_out.released_at) == (NOON, NOON)
    assert (dial_out.talk_seconds, dial_out.limit_seconds) == (600, 600)
    assert dial_out.talk_seconds_max == TERMS.talk_seconds_max
    assert await licensed.books(SourceKind.ADDON) == (ADDON_SECONDS, 0, 600, ADDON_SECONDS - 600)
    assert await ledger.open_dial_outs() == (dial_out,)
    assert await ledger.check() == ()


async def test_it_is_billed_to_the_second_and_the_rest_goes_back(
    ledger: Ledger, licensed: World
) -> None:
    """The evidence of its end comes after the booking, or long before: both settle it."""
    grant = licensed.grant()
    await ledger.grant_book(grant)

    outcome, dial_out = await licensed.settle(grant.key, 41_500)

    assert outcome is SettleOutcome.SETTLED
    assert dial_out is not None
    assert (dial_out.billable_seconds, dial_out.overrun_seconds) == (42, 0)
    assert await licensed.books(SourceKind.ADDON) == (ADDON_SECONDS, 42, 0, ADDON_SECONDS - 42)
    assert await ledger.check() == ()


async def test_booked_twice_it_is_booked_once(ledger: Ledger, licensed: World) -> None:
    """A crash between the booking and the journal books again: nothing more is set aside."""
    grant = licensed.grant()
    await ledger.grant_book(grant)
    await licensed.settle(grant.key, 5000)

    outcome, dial_out = await ledger.grant_book(grant)
    other, _ = await ledger.grant_book(
        replace(grant, request=replace(grant.request, conference_id="room-2"))
    )

    assert outcome is GrantOutcome.EXISTS
    assert dial_out.granted
    assert dial_out.billable_seconds == 5
    assert other is GrantOutcome.EXISTS_WITH_DIFFERENT_TERMS
    assert await licensed.books(SourceKind.ADDON) == (ADDON_SECONDS, 5, 0, ADDON_SECONDS - 5)
    assert await ledger.check() == ()


async def test_what_the_source_lacks_is_noted_as_overrun(ledger: Ledger, licensed: World) -> None:
    """The call has been up: nobody is billed for what there was not, and nothing is overdrawn."""
    async with licensed.provisioning.change(actor="test") as change:
        await change.policy_put(licensed.tenant_id, Choices(addon_fair_use_minutes=1), NOON)
    grant = licensed.grant()

    outcome, dial_out = await ledger.grant_book(grant)
    _, settled = await licensed.settle(grant.key, 90_000)

    assert outcome is GrantOutcome.BOOKED
    assert (dial_out.talk_seconds, dial_out.limit_seconds) == (60, 600)
    assert settled is not None
    assert (settled.billable_seconds, settled.overrun_seconds) == (60, 30)
    assert await licensed.books(SourceKind.ADDON) == (60, 60, 0, 0)
    assert await ledger.check() == ()


async def test_a_benefit_that_is_not_in_force_gives_nothing(ledger: Ledger, world: World) -> None:
    """It ended since the gateway heard of it: all of the call is overrun, and nobody pays."""
    gone = Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_900")
    grant = world.grant(sources=(gone,))

    outcome, dial_out = await ledger.grant_book(grant)
    _, settled = await world.settle(grant.key, 30_000)

    assert outcome is GrantOutcome.BOOKED
    assert (dial_out.talk_seconds, dial_out.limit_seconds) == (0, 600)
    assert settled is not None
    assert (settled.billable_seconds, settled.overrun_seconds) == (0, 30)
    assert await ledger.check() == ()


async def test_it_goes_on_from_the_source_that_pays_for_it(ledger: Ledger, licensed: World) -> None:
    """Still up when the ledger is back: the next slice is set aside as for any other call."""
    grant = licensed.grant(terms=replace(TERMS, slice_seconds=Seconds(300)))
    await ledger.grant_book(grant)
    await ledger.answered(grant.key, NOON)

    extension = await ledger.extend(grant.key, slices=1, at=NOON + timedelta(minutes=9))

    assert extension.outcome is ExtendOutcome.EXTENDED
    assert (extension.talk_seconds, extension.limit_seconds) == (900, 900)
    await licensed.settle(grant.key, 700_000)
    assert (await licensed.balance(SourceKind.ADDON)).used == 700
    assert await ledger.check() == ()


async def test_without_funds_it_asks_for_no_more(ledger: Ledger, world: World) -> None:
    """Nothing paid for its first slice, so that nothing is asked to pay for the next."""
    gone = Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_900")
    grant = world.grant(sources=(gone,))
    await ledger.grant_book(grant)
    await ledger.answered(grant.key, NOON)

    extension = await ledger.extend(grant.key, slices=1, at=NOON + timedelta(minutes=9))

    assert extension.outcome is ExtendOutcome.EXHAUSTED
    assert extension.limit_seconds == 600
    assert await ledger.check() == ()


async def test_a_reservation_whose_answer_was_lost_becomes_the_granted_call(
    ledger: Ledger, licensed: World
) -> None:
    """It was reserved after all, and nobody has claimed it: no second dial-out is made."""
    request = licensed.request()
    await licensed.reserve(request, ADDON)
    grant = licensed.grant(request)

    outcome, dial_out = await ledger.grant_book(grant)

    assert outcome is GrantOutcome.RELEASED
    assert dial_out.state is DialOutState.RELEASED
    assert dial_out.gate_uniqueid == grant.key.gate_uniqueid
    assert (await licensed.settle(grant.key, 5000))[0] is SettleOutcome.SETTLED
    assert await ledger.check() == ()


async def test_what_another_gateway_has_ended_stays_ended(ledger: Ledger, licensed: World) -> None:
    """It reached the ledger while ours did not: nothing is billed twice."""
    request = licensed.request()
    await licensed.reserve(request, ADDON)
    await licensed.void(request.key)

    outcome, dial_out = await ledger.grant_book(licensed.grant(request))

    assert outcome is GrantOutcome.EXISTS
    assert not dial_out.granted
    assert dial_out.state is DialOutState.ENDED
    assert await ledger.check() == ()


async def test_a_granted_call_counts_against_the_limits(ledger: Ledger, licensed: World) -> None:
    """Two at once are allowed: the one that was granted is one of them, and leaves with its end."""
    async with licensed.provisioning.change(actor="test") as change:
        terms = LimitTerms(kind=LimitKind.CONCURRENT_CALLS, most=2, mode=LimitMode.REFUSE)
        await change.limit_put(licensed.tenant_id, LimitScope.TENANT, "", terms)
    grant = licensed.grant()
    await ledger.grant_book(grant)

    second, _ = await licensed.reserve(None, ADDON)
    third, refused = await licensed.reserve(None, ADDON)
    await licensed.settle(grant.key, 1000)
    fourth, _ = await licensed.reserve(None, ADDON)

    assert (second, third, fourth) == (
        RequestOutcome.RESERVED,
        RequestOutcome.REFUSED,
        RequestOutcome.RESERVED,
    )
    assert refused.reason is Reason.LIMIT_CONCURRENT_CALLS
    assert await ledger.check() == ()


async def test_it_is_booked_even_if_its_callee_is_left_alone(
    ledger: Ledger, licensed: World
) -> None:
    """The telephone has rung: it counts as an attempt, and refuses nothing."""
    cooling = replace(
        TERMS,
        cool_down=CoolDown(attempts=1, window_seconds=Seconds(600), quiet_seconds=Seconds(600)),
    )
    await ledger.grant_book(licensed.grant(terms=cooling))

    outcome, _ = await ledger.grant_book(licensed.grant(terms=cooling))

    assert outcome is GrantOutcome.BOOKED


async def test_two_that_book_the_same_book_once(ledger: Ledger, licensed: World) -> None:
    """A journal that two processes have found: one of them makes the dial-out."""
    grant = licensed.grant()

    outcomes = [
        outcome
        for outcome, _ in await asyncio.gather(*(ledger.grant_book(grant) for _ in range(4)))
    ]

    assert sorted(outcomes) == [GrantOutcome.BOOKED, *[GrantOutcome.EXISTS] * 3]
    assert (await licensed.balance(SourceKind.ADDON)).reserved == 600


@pytest.mark.parametrize("source", [POOL, CREDITS])
async def test_neither_pool_nor_credits_pay_for_a_grant(
    ledger: Ledger, licensed: World, source: tuple[Source, ...]
) -> None:
    """What runs out, or is money, is given by reserve alone, which can refuse it."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await ledger.grant_book(licensed.grant(sources=source))
