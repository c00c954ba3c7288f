"""A telephone that calls in, in the books: charged to credits, bounded by money alone."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from gateway.admission import Admission
from gateway.core.dial_in import Free
from gateway.core.dial_out import (
    MAIN_BRIDGE,
    DialOut,
    DialOutKind,
    DialOutRequest,
    DialOutState,
)
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import Sku
from gateway.core.key import DialOutKey
from gateway.core.limits import LimitKind, LimitMode, LimitScope, LimitTerms
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason
from gateway.core.trunk import Trunk
from gateway.core.waterfall import Source
from gateway.db import Pool
from gateway.explainer import recorded
from gateway.inquiry import Inquiry
from gateway.ledger import ExtendOutcome, Reports, RequestOutcome, SettleOutcome
from gateway.ledger.provisioning_answers import DeckRow, TenantUpdateOutcome
from gateway.reports.usage import Capability, Payer, UsageRow, usage_rows
from tests.ledger.world import ACTOR, CREDITS, NOON, TERMS, YEAR_BEFORE, World

FREEPHONE = Destination(e164=E164("+448081570000"), region=Region("GB"), kind=NumberKind.TOLL_FREE)
TOLL = Destination(e164=E164("+442079460000"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
CALLER = E164("+447700900123")
SECOND = timedelta(seconds=1)
BY_SECOND = DeckRow(
    prefix="44",
    price_micros=Micros(60_000),
    connect_fee_micros=Micros(0),
    initial_increment_seconds=Seconds(1),
    increment_seconds=Seconds(1),
)
MICROS_A_SECOND = 1_000
WHY = json.dumps(
    {
        "facts": {
            "organizer": {
                "region": "GB",
                "licences": [Sku.AUDIO_CONFERENCING_PPM, Sku.COMMUNICATIONS_CREDITS],
            }
        }
    }
)


@pytest.fixture
async def rate(world: World) -> Rate:
    """What a second of a call to a service number costs: a thousand micros."""
    deck = f"inbound {uuid4()}"
    await world.put_deck(deck, [BY_SECOND], YEAR_BEFORE)
    return await world.rate_of(deck, BY_SECOND)


def request(world: World) -> DialOutRequest:
    """Return what a leg asks for."""
    return replace(
        world.request(), kind=DialOutKind.DIAL_IN, initiator_id=None, number_typed="+448081570000"
    )


async def reserve(
    world: World,
    rate: Rate | None,
    *,
    number: Destination = FREEPHONE,
    sources: tuple[Source, ...] = CREDITS,
    seconds: int = 600,
    slice_seconds: int = 100,
    caller: E164 | None = CALLER,
    asked: DialOutRequest | None = None,
) -> tuple[RequestOutcome, DialOut]:
    """Have a leg let in; a toll-free one only with funds for a minute."""
    terms = replace(TERMS, talk_seconds_max=Seconds(seconds), slice_seconds=Seconds(slice_seconds))
    return await world.ledger.reserve_dial_in(
        asked or request(world),
        number,
        sources,
        rate,
        terms,
        WHY,
        NOON,
        caller=caller,
        uniqueid="ast-1.1",
        needs_funds=number is FREEPHONE,
    )


async def lasted(world: World, key: DialOutKey, seconds: float) -> DialOut:
    """Settle a leg that was let in at noon."""
    outcome, dial_out = await world.settle(key, round(seconds * 1000))
    assert outcome is SettleOutcome.SETTLED
    assert dial_out is not None
    return dial_out


async def usage(pool: Pool, world: World) -> list[UsageRow]:
    """Return the tenant's rows of the usage report."""
    calls = Reports(pool).usage(world.tenant_id, NOON, NOON + timedelta(days=1), unanswered=True)
    return [row async for call in calls for row in usage_rows(call)]


async def test_a_toll_free_leg_is_paid_by_credits(world: World, rate: Rate) -> None:
    """It is reserved for its channel at once, extended, billed to the second and reported."""
    await world.add_credits(10_000_000)
    outcome, dial_out = await reserve(world, rate)
    key = dial_out.request.key
    await world.ledger.answered(key, NOON)
    extension = await world.ledger.extend(key, slices=1, at=NOON + 70 * SECOND)
    ended = await lasted(world, key, 142.3)

    assert outcome is RequestOutcome.RESERVED
    assert (dial_out.state, dial_out.gate_uniqueid) == (DialOutState.RELEASED, "ast-1.1")
    assert (dial_out.caller_id, dial_out.ring_seconds) == (CALLER, None)
    assert (dial_out.limit_seconds, extension.limit_seconds) == (100, 200)
    assert (ended.billable_seconds, ended.cost_micros) == (143, 143 * MICROS_A_SECOND)
    assert await world.ledger.check(world.tenant_id) == ()


async def test_without_funds_a_toll_free_leg_is_refused(world: World, rate: Rate) -> None:
    """Each minute of it costs the operator; and the same leg is told the same again."""
    await world.add_credits(59 * MICROS_A_SECOND)
    asked = request(world)
    outcome, dial_out = await reserve(world, rate, asked=asked)
    again, _ = await reserve(world, rate, asked=asked)

    assert outcome is RequestOutcome.REFUSED
    assert dial_out.reason is Reason.CREDITS_EXHAUSTED
    assert again is RequestOutcome.EXISTS
    assert await world.ledger.check(world.tenant_id) == ()


@pytest.mark.parametrize("sources", [CREDITS, ()], ids=["credits", "nobody"])
async def test_without_funds_a_toll_leg_is_let_in_unpaid(
    world: World, rate: Rate, sources: tuple[Source, ...]
) -> None:
    """Nobody is kept out of a meeting by an empty purse who costs nothing; it is on record."""
    priced = rate if sources else None
    outcome, dial_out = await reserve(world, priced, number=TOLL, sources=sources, caller=None)
    key = dial_out.request.key
    await world.ledger.answered(key, NOON)
    extension = await world.ledger.extend(key, slices=1, at=NOON)
    ended = await lasted(world, key, 42)

    assert outcome is RequestOutcome.RESERVED
    assert (dial_out.talk_seconds, dial_out.limit_seconds, dial_out.caller_id) == (0, 600, None)
    assert (extension.outcome, extension.more) == (ExtendOutcome.EXHAUSTED, False)
    assert (ended.billable_seconds, ended.overrun_seconds, ended.cost_micros) == (0, 42, 0)
    assert await world.ledger.check(world.tenant_id) == ()


async def test_what_credits_do_not_cover_of_a_toll_leg_is_unpaid(
    world: World, rate: Rate, pool: Pool
) -> None:
    """Charged for what they have, it goes on to the longest call; the report has both parts."""
    await world.add_credits(130 * MICROS_A_SECOND)
    _, dial_out = await reserve(world, rate, number=TOLL)
    key = dial_out.request.key
    await world.ledger.answered(key, NOON)
    extension = await world.ledger.extend(key, slices=1, at=NOON + 70 * SECOND)
    ended = await lasted(world, key, 150)
    paid, unpaid = await usage(pool, world)

    assert (extension.talk_seconds, extension.limit_seconds) == (130, 600)
    assert (ended.billable_seconds, ended.overrun_seconds) == (130, 20)
    assert (paid.payer, paid.capability) == (Payer.CREDITS, Capability.PAY_PER_MINUTE)
    assert (unpaid.payer, unpaid.capability) == (Payer.NOBODY, Capability.FREE)
    assert paid.cells()["call_type"] == "conf_in"
    assert paid.cells()["destination_number"] == TOLL.e164
    assert paid.cells()["caller_id"] == CALLER
    assert await world.ledger.check(world.tenant_id) == ()


async def test_only_limits_on_money_hold_for_those_who_call_in(world: World, rate: Rate) -> None:
    """They take no place of a call out, and a limit on calls out keeps none of them out."""
    await world.add_credits(10_000_000)
    for kind in (LimitKind.CONCURRENT_CALLS, LimitKind.CALLS_A_MINUTE, LimitKind.CALLEES_A_DAY):
        await put_limit(world, LimitScope.ORGANIZER, kind, 1)
    await put_limit(world, LimitScope.MEETING, LimitKind.MEETING_TIME, 60)
    before = await reserve(world, rate)
    out, _ = await world.reserve(sources=CREDITS, seconds=60)
    after = await reserve(world, rate)

    assert out is RequestOutcome.RESERVED
    for outcome, leg in (before, after):
        assert (outcome, leg.talk_seconds) == (RequestOutcome.RESERVED, 100)


async def test_a_limit_on_money_bounds_what_a_leg_may_cost(world: World, rate: Rate) -> None:
    """A toll-free leg is refused beyond it, a toll leg goes on beyond it unpaid."""
    await world.add_credits(10_000_000)
    await put_limit(world, LimitScope.ORGANIZER, LimitKind.SPEND_A_DAY, 120 * MICROS_A_SECOND)
    first, leg = await reserve(world, rate)
    second, refused = await reserve(world, rate)
    third, toll = await reserve(world, rate, number=TOLL)

    assert (first, second, third) == (
        RequestOutcome.RESERVED,
        RequestOutcome.REFUSED,
        RequestOutcome.RESERVED,
    )
    assert leg.talk_seconds == 100
    assert refused.reason is Reason.LIMIT_SPEND_A_DAY
    assert (toll.talk_seconds, toll.limit_seconds) == (20, 600)
    for each in (leg, toll):
        await lasted(world, each.request.key, 5)
    again, _ = await reserve(world, rate)
    assert again is RequestOutcome.RESERVED


async def test_a_service_number_has_the_price_of_its_own_deck(world: World) -> None:
    """Calling in is priced by the tenant's second deck; without one there is no price."""
    await world.put_deck("in", [BY_SECOND], YEAR_BEFORE)
    priced = []
    for inbound in (None, "in"):
        async with world.provisioning.change(actor=ACTOR) as change:
            outcome = await change.tenant_update(
                world.tenant_id, suspended=False, rate_deck=None, inbound_deck=inbound
            )
        assert outcome is TenantUpdateOutcome.UPDATED
        priced.append(await world.ledger.inbound_rate(world.tenant_id, FREEPHONE, NOON))

    assert priced == [None, await world.rate_of("in", BY_SECOND)]
    async with world.provisioning.change(actor=ACTOR) as change:
        assert (
            await change.tenant_update(
                world.tenant_id, suspended=False, rate_deck=None, inbound_deck="none"
            )
            is TenantUpdateOutcome.UNKNOWN_RATE_DECK
        )


async def test_a_toll_leg_goes_on_beyond_a_limit_that_it_meets(world: World, rate: Rate) -> None:
    """The limit bounds what is spent on it, and nobody in the meeting is cut off by it."""
    await world.add_credits(10_000_000)
    await put_limit(world, LimitScope.ORGANIZER, LimitKind.SPEND_A_DAY, 120 * MICROS_A_SECOND)
    _, leg = await reserve(world, rate, number=TOLL)
    await world.ledger.answered(leg.request.key, NOON)
    extension = await world.ledger.extend(leg.request.key, slices=1, at=NOON + 70 * SECOND)

    assert leg.limit_seconds == 100
    assert (extension.talk_seconds, extension.limit_seconds) == (120, 600)


async def put_limit(world: World, scope: LimitScope, kind: LimitKind, most: int) -> None:
    """Set a limit that refuses."""
    async with world.provisioning.change(actor=ACTOR) as change:
        await change.limit_put(
            world.tenant_id, scope, "", LimitTerms(kind=kind, most=most, mode=LimitMode.REFUSE)
        )


async def test_legs_at_once_share_one_balance(world: World, rate: Rate, crowd: None) -> None:
    """Twenty toll-free legs race for credits of five: five come in, nothing is overdrawn."""
    await world.add_credits(500 * MICROS_A_SECOND)
    outcomes = await asyncio.gather(*(reserve(world, rate) for _ in range(20)))

    assert [each for each, _ in outcomes].count(RequestOutcome.RESERVED) == 5
    assert await world.ledger.check(world.tenant_id) == ()


async def test_a_leg_is_decided_on_record_and_explained(world: World) -> None:
    """What the ledger knows makes the decision, and ``explain`` tells it again, byte for byte."""
    await world.put_deck("in", [BY_SECOND], YEAR_BEFORE)
    await world.add_licence(sku=Sku.AUDIO_CONFERENCING_PPM)
    admission = Admission(
        ledger=world.ledger,
        inquiry=Inquiry(ledger=world.ledger, trunks={MAIN_BRIDGE: Trunk()}),
        terms={MAIN_BRIDGE: TERMS},
    )

    async def admitted(number: str, caller: str) -> Free | tuple[RequestOutcome, DialOut | None]:
        asked = replace(
            request(world),
            key=DialOutKey(tenant_id=world.tenant_id, dial_out_id=uuid4()),
            number_typed=number,
        )
        return await admission.admit_dial_in(asked, caller=caller, at=NOON, uniqueid="ast-1.1")

    refused = await admitted(FREEPHONE.e164, CALLER)
    await world.add_licence(sku=Sku.COMMUNICATIONS_CREDITS)
    await world.add_credits(10_000_000)
    async with world.provisioning.change(actor=ACTOR) as change:
        await change.tenant_update(
            world.tenant_id, suspended=False, rate_deck=None, inbound_deck="in"
        )
    shown = await admitted(FREEPHONE.e164, "07700 900123")
    withheld = await admitted(TOLL.e164, "")
    await world.add_licence()
    free = await admitted(TOLL.e164, CALLER)

    assert isinstance(free, Free)
    rows = []
    for each in (refused, shown, withheld):
        assert not isinstance(each, Free)
        assert each[1] is not None
        rows.append(each[1])
    assert [row.reason for row in rows] == [Reason.NOT_COVERED, None, None]
    assert [row.caller_id for row in rows] == [None, CALLER, None]
    for row in rows:
        answer = recorded(row, ())
        assert answer.is_reproduced
        assert answer.reason == row.reason
        assert json.dumps(answer.summary())
        assert bool(answer.to_pass) == (row.reason is not None)
