"""Limits, where the ledger enforces them: nobody passes one together with somebody else."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import pytest

from gateway.admission import Admission
from gateway.core.dial_out import MAIN_BRIDGE, DialOut
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.explanation import Explanation
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.limits import DEFAULT_LIMITS, Limit, LimitKind, LimitMode, LimitScope, LimitTerms
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.trunk import Trunk
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.explainer import recorded
from gateway.inquiry import Inquiry
from gateway.ledger import (
    BlockOutcome,
    Ledger,
    LimitKey,
    LimitOutcome,
    RemovalOutcome,
    RequestOutcome,
    UnblockOutcome,
)
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    LONDON,
    NOON,
    ORGANIZER,
    POOL,
    POOL_THEN_CREDITS,
    TERMS,
    World,
)

ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
LEEDS = Destination(e164=E164("+441134960123"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
BEN = OrganizerId("ben@example.com")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LONDON_MINUTE_MICROS = 12_000
LONDON_CONNECTION_MICROS = 5_000


async def put(
    world: World,
    kind: LimitKind,
    most: int | None,
    mode: LimitMode = LimitMode.REFUSE,
    *,
    scope: LimitScope = LimitScope.TENANT,
    subject: str = "",
) -> LimitOutcome:
    """Set a limit; money in micros, time in seconds."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.limit_put(
            world.tenant_id, scope, subject, LimitTerms(kind=kind, most=most, mode=mode)
        )


async def of_meetings(world: World, kind: LimitKind, most: int, meeting: str = "") -> None:
    """Set a budget of all meetings, or of one."""
    await put(world, kind, most, scope=LimitScope.MEETING, subject=meeting)


async def ask(
    world: World,
    sources: tuple[Source, ...] = CREDITS,
    *,
    organizer_id: OrganizerId = ORGANIZER,
    meeting: str = "room-1",
    destination: Destination = LONDON,
    seconds: int = 60,
    slice_seconds: int = 86_400,
    at: datetime = NOON,
) -> DialOut:
    """Ask for a call whose channel waits already, and return what became of it."""
    request = replace(world.request(), organizer_id=organizer_id, conference_id=meeting)
    terms = replace(TERMS, talk_seconds_max=Seconds(seconds), slice_seconds=Seconds(slice_seconds))
    _, dial_out = await world.ledger.reserve(
        request, destination, sources, world.rate, terms, "{}", at, at + MINUTE, "ast-1.1"
    )
    return dial_out


async def reasons(
    world: World,
    count: int,
    sources: tuple[Source, ...] = CREDITS,
    *,
    organizer_id: OrganizerId = ORGANIZER,
    meeting: str = "room-1",
    destination: Destination = LONDON,
    at: datetime = NOON,
) -> list[Reason | None]:
    """Ask for calls one after the other, and return why each is refused."""
    answers = [
        await ask(
            world,
            sources,
            organizer_id=organizer_id,
            meeting=meeting,
            destination=destination,
            at=at,
        )
        for _ in range(count)
    ]
    return [each.reason for each in answers]


async def used(world: World, *, meeting: str = "room-1", at: datetime = NOON) -> dict[str, int]:
    """Return how much of each limit is used, as policy is told."""
    request = replace(world.request(), conference_id=meeting)
    answer = await world.ledger.organizer_facts(request, at)
    return {f"{each.scope} {each.kind}": each.used for each in answer.limits}


# One at a time, however many ask.


@pytest.mark.usefixtures("crowd")
async def test_of_fifty_at_once_ten_pass_a_limit_of_ten(ledger: Ledger, world: World) -> None:
    """All of them were told that nobody calls: only who holds the tenant's lock knows better."""
    await world.add_credits(100_000_000)
    await put(world, LimitKind.CONCURRENT_CALLS, 10)

    answers = await asyncio.gather(*(ask(world) for _ in range(50)))

    assert Counter(each.reason for each in answers) == {
        None: 10,
        Reason.LIMIT_CONCURRENT_CALLS: 40,
    }
    assert await ledger.check() == ()


@pytest.mark.usefixtures("crowd")
async def test_of_many_at_once_none_passes_the_money_of_a_day(world: World) -> None:
    """A call costs 17,000 for a minute, and 100,000 may be spent: five pass, whoever is first."""
    await world.add_credits(100_000_000)
    await put(world, LimitKind.SPEND_A_DAY, 100_000)

    answers = await asyncio.gather(*(ask(world) for _ in range(30)))

    assert Counter(each.reason for each in answers) == {None: 5, Reason.LIMIT_SPEND_A_DAY: 25}


@pytest.mark.usefixtures("crowd")
async def test_calls_that_begin_and_end_at_once_count_to_nothing(world: World) -> None:
    """Counts change in the transaction of the call: none is lost, and no call waits for ever."""
    await world.add_licence()
    await world.add_credits(100_000_000)
    await put(world, LimitKind.CONCURRENT_CALLS, 1000)
    await put(world, LimitKind.SPEND_A_DAY, 10**12)
    await of_meetings(world, LimitKind.MEETING_TIME, 10**6)

    async def call(number: int) -> None:
        dial_out = await ask(world, POOL_THEN_CREDITS, organizer_id=[ORGANIZER, BEN][number % 2])
        if number % 3:
            await world.settle(dial_out.request.key, 30_000)
        else:
            await world.void(dial_out.request.key)

    await world.add_organizer(BEN)
    await asyncio.gather(*(call(number) for number in range(90)))

    spent = await world.balance(SourceKind.CREDITS)
    assert await used(world) == {
        "tenant concurrent_calls": 0,
        "organizer concurrent_calls": 0,
        "organizer callees_a_day": 1,
        "tenant spend_a_day": spent.used,
        "meeting meeting_time": 60 * 30,
    }


# Calls.


async def test_a_call_counts_until_it_is_known_to_have_ended(world: World) -> None:
    """Unknown is not ended: what is answered, released or lost from sight is still a call."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CONCURRENT_CALLS, 2)
    first, second = await ask(world), await ask(world)

    assert await reasons(world, 1, at=NOON + DAY) == [Reason.LIMIT_CONCURRENT_CALLS]
    await world.settle(first.request.key, 5000)
    await world.settle(first.request.key, 5000)
    assert await reasons(world, 2) == [None, Reason.LIMIT_CONCURRENT_CALLS]
    await world.void(second.request.key)
    assert await reasons(world, 2) == [None, Reason.LIMIT_CONCURRENT_CALLS]


async def test_what_is_refused_counts_for_nothing(world: World) -> None:
    """Else somebody who asks in vain would keep everybody else from calling."""
    await put(world, LimitKind.CALLS_A_MINUTE, 2)

    assert await reasons(world, 3) == [Reason.CREDITS_EXHAUSTED] * 3
    assert (await used(world))["tenant calls_a_minute"] == 0


async def test_the_next_minute_has_calls_of_its_own(world: World) -> None:
    """A minute is one of the clock: from its first instant until before its last."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CALLS_A_MINUTE, 2)
    last = NOON + MINUTE - timedelta(microseconds=1)

    assert await reasons(world, 3, at=last) == [None, None, Reason.LIMIT_CALLS_A_MINUTE]
    assert await reasons(world, 3, at=NOON + MINUTE) == [None, None, Reason.LIMIT_CALLS_A_MINUTE]


async def test_a_gateway_whose_clock_is_behind_opens_no_minute_again(world: World) -> None:
    """Two gateways whose clocks differ would start to count anew with each other's calls."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CALLS_A_MINUTE, 2)

    assert await reasons(world, 1, at=NOON + MINUTE) == [None]
    assert await reasons(world, 1, at=NOON) == [None]
    assert await reasons(world, 1, at=NOON + MINUTE) == [Reason.LIMIT_CALLS_A_MINUTE]


async def test_a_number_that_was_called_today_may_be_called_again(world: World) -> None:
    """Different numbers are counted: to be cut off and called back is no fraud."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CALLEES_A_DAY, 1)

    assert await reasons(world, 2) == [None, None]
    assert await reasons(world, 1, destination=LEEDS) == [Reason.LIMIT_CALLEES_A_DAY]
    assert await reasons(world, 1, destination=LEEDS, at=NOON + DAY) == [None]


async def test_a_dear_minute_is_refused_where_credits_may_pay(world: World) -> None:
    """What only minutes can pay for costs nothing a minute."""
    await world.add_licence()
    await world.add_credits(1_000_000)
    await put(world, LimitKind.PRICE, LONDON_MINUTE_MICROS - 1)

    assert await reasons(world, 1) == [Reason.LIMIT_PRICE]
    assert await reasons(world, 1, sources=POOL_THEN_CREDITS) == [Reason.LIMIT_PRICE]
    assert await reasons(world, 1, sources=POOL) == [None]
    await put(world, LimitKind.PRICE, LONDON_MINUTE_MICROS)
    assert await reasons(world, 1) == [None]


# Whose.


async def test_organizers_are_counted_apart_and_the_tenant_as_a_whole(world: World) -> None:
    """One organizer's limit is nobody else's; the tenant's is everybody's together."""
    await world.add_credits(1_000_000)
    await world.add_organizer(BEN)
    await put(world, LimitKind.CONCURRENT_CALLS, 2, scope=LimitScope.ORGANIZER)
    await put(world, LimitKind.CONCURRENT_CALLS, 3)

    assert await reasons(world, 3) == [None, None, Reason.LIMIT_CONCURRENT_CALLS]
    assert await reasons(world, 2, organizer_id=BEN) == [None, Reason.LIMIT_CONCURRENT_CALLS]


async def test_ones_own_limit_stands_for_the_default(world: World) -> None:
    """Higher, lower, or none at all; and taken away, the default holds again."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CALLS_A_MINUTE, 1, scope=LimitScope.ORGANIZER)
    own = partial(
        put, world, LimitKind.CALLS_A_MINUTE, scope=LimitScope.ORGANIZER, subject=ORGANIZER
    )
    key = LimitKey(scope=LimitScope.ORGANIZER, subject=ORGANIZER, kind=LimitKind.CALLS_A_MINUTE)

    assert await reasons(world, 2) == [None, Reason.LIMIT_CALLS_A_MINUTE]
    assert await own(2) is LimitOutcome.CREATED
    assert await reasons(world, 2) == [None, Reason.LIMIT_CALLS_A_MINUTE]
    assert await own(None) is LimitOutcome.UPDATED
    assert await own(None) is LimitOutcome.UNCHANGED
    assert await reasons(world, 3) == [None] * 3
    async with world.provisioning.change(actor=ACTOR) as change:
        assert await change.limit_remove(world.tenant_id, key) is RemovalOutcome.REMOVED
        assert await change.limit_remove(world.tenant_id, key) is RemovalOutcome.ABSENT
    assert await reasons(world, 1) == [Reason.LIMIT_CALLS_A_MINUTE]


async def test_a_limit_is_of_a_tenant_and_an_organizer_that_there_are(world: World) -> None:
    """A limit of a misspelt organizer would protect nobody."""
    kind = LimitKind.CALLS_A_MINUTE
    elsewhere = replace(world, tenant_id=world.request().key.dial_out_id)

    assert await put(elsewhere, kind, 1) is LimitOutcome.UNKNOWN_TENANT
    assert (
        await put(world, kind, 1, scope=LimitScope.ORGANIZER, subject="eve")
        is LimitOutcome.UNKNOWN_ORGANIZER
    )


@pytest.mark.parametrize(
    ("scope", "subject", "kind", "mode"),
    [
        (LimitScope.TENANT, "ann", LimitKind.PRICE, LimitMode.REFUSE),
        (LimitScope.TENANT, "", LimitKind.MEETING_TIME, LimitMode.REFUSE),
        (LimitScope.TENANT, "", LimitKind.FAIR_USE, LimitMode.REFUSE),
        (LimitScope.MEETING, "", LimitKind.PRICE, LimitMode.REFUSE),
        (LimitScope.ORGANIZER, "", LimitKind.FAIR_USE_NOTICE, LimitMode.REFUSE),
    ],
)
async def test_the_table_takes_no_limit_that_there_is_not(
    world: World, scope: LimitScope, subject: str, kind: LimitKind, mode: LimitMode
) -> None:
    """Whatever the forms let through, SQL would look for it in vain."""
    with pytest.raises(asyncpg.CheckViolationError):
        await put(world, kind, 1, mode, scope=scope, subject=subject)


async def test_every_kind_and_scope_can_be_set_and_is_looked_at_in_order(world: World) -> None:
    """The kinds stand in Python and in SQL, and the order is part of the contract."""
    every = [(kind, scope) for kind in LimitKind for scope in kind.scopes]
    for kind, scope in reversed(every):
        await put(world, kind, 5, kind.modes[-1], scope=scope)

    answer = await world.ledger.organizer_facts(world.request(), NOON)

    assert [(each.kind, each.scope) for each in answer.limits] == every


async def test_a_new_tenant_has_the_default_limits(world: World) -> None:
    """They stand once in Python and once in SQL, and must never differ."""
    limits = await world.provisioning.limits(world.tenant_id)

    assert {LimitTerms(kind=each.kind, most=each.most, mode=each.mode) for each in limits} == set(
        DEFAULT_LIMITS
    )
    assert {(each.scope, each.subject) for each in limits} == {(LimitScope.ORGANIZER, "")}


# Money.


async def test_minutes_pay_beyond_the_money_of_a_day(world: World) -> None:
    """The limit bounds what credits give; a call that the pool can pay for needs none."""
    await world.add_licence()
    await world.add_credits(1_000_000)
    await put(world, LimitKind.SPEND_A_DAY, LONDON_CONNECTION_MICROS + LONDON_MINUTE_MICROS)

    long = await ask(world, POOL_THEN_CREDITS, seconds=7200)

    assert [(part.source, part.seconds) for part in long.parts] == [
        (SourceKind.POOL, 3600),
        (SourceKind.CREDITS, 60),
    ]
    assert await reasons(world, 1, sources=POOL_THEN_CREDITS) == [Reason.LIMIT_SPEND_A_DAY]
    await world.void(long.request.key)
    assert await reasons(world, 1, sources=POOL_THEN_CREDITS) == [None]


async def test_whoever_has_no_money_is_told_so_and_not_of_the_limit(world: World) -> None:
    """To raise the limit would be no help."""
    await world.add_credits(100)
    await put(world, LimitKind.SPEND_A_DAY, 10_000_000)

    assert await reasons(world, 1) == [Reason.CREDITS_EXHAUSTED]


async def test_what_is_not_billed_may_be_spent_again_today(world: World) -> None:
    """What is set aside counts, and is corrected when the call has ended."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.SPEND_A_DAY, 100_000)
    call = await ask(world, seconds=400)
    before = (await used(world))["tenant spend_a_day"]

    await world.settle(call.request.key, 61_000)
    after = (await used(world))["tenant spend_a_day"]

    assert before == LONDON_CONNECTION_MICROS + 7 * LONDON_MINUTE_MICROS
    assert after == LONDON_CONNECTION_MICROS + 2 * LONDON_MINUTE_MICROS


async def test_a_day_is_one_of_the_tenants_time_zone(world: World) -> None:
    """In New York it is still the day before at three in the morning of Greenwich.

    A call counts, whole, for the day in which it was asked for: what it sets aside after
    midnight is yesterday's, too, and so is what it gives back.
    """
    world = await World.create(world.ledger, world.provisioning, time_zone="America/New_York")
    await world.add_credits(1_000_000)
    await put(world, LimitKind.SPEND_A_DAY, 60_000)
    before_midnight = datetime(2026, 3, 11, 3, 59, tzinfo=UTC)
    midnight = datetime(2026, 3, 11, 4, tzinfo=UTC)

    call = await ask(world, seconds=3600, slice_seconds=60, at=before_midnight)
    await answer(world, call, before_midnight)
    assert (await used(world, at=before_midnight))["tenant spend_a_day"] == 17_000
    assert (await used(world, at=midnight))["tenant spend_a_day"] == 0
    for slices in range(1, 5):
        await world.ledger.extend(call.request.key, slices=slices, at=midnight)

    assert (await used(world, at=before_midnight))["tenant spend_a_day"] == 53_000
    assert (await used(world, at=midnight))["tenant spend_a_day"] == 0
    assert await reasons(world, 1, at=before_midnight) == [Reason.LIMIT_SPEND_A_DAY]
    assert await reasons(world, 3, at=midnight) == [None, None, None]


async def answer(world: World, dial_out: DialOut, at: datetime) -> None:
    """Have somebody answer a call."""
    await world.ledger.answered(dial_out.request.key, at)


# The budget of a meeting.


async def test_the_legs_of_a_meeting_share_its_minutes_to_the_second(world: World) -> None:
    """Slice by slice, first come, first served; nobody is given a second that is not there."""
    await world.add_credits(10_000_000)
    await of_meetings(world, LimitKind.MEETING_TIME, 400)
    first, second = (
        await ask(world, seconds=3600, slice_seconds=90),
        await ask(world, seconds=3600, slice_seconds=90),
    )
    for leg in (first, second):
        await answer(world, leg, NOON)

    talk = [
        (await world.ledger.extend(leg.request.key, slices=slices, at=NOON)).talk_seconds
        for slices in range(1, 4)
        for leg in (first, second)
    ]

    assert talk == [180, 180, 220, 180, 220, 180]
    assert (await used(world))["meeting meeting_time"] == 400
    assert await reasons(world, 1) == [Reason.LIMIT_MEETING_TIME]
    assert await reasons(world, 1, meeting="room-2") == [None]


async def test_what_one_leg_leaves_another_may_talk(world: World) -> None:
    """A budget that is given back can be had at once, by a call that asks again."""
    await world.add_credits(10_000_000)
    await of_meetings(world, LimitKind.MEETING_TIME, 300)
    short, long = (
        await ask(world, seconds=3600, slice_seconds=150),
        await ask(world, seconds=3600, slice_seconds=150),
    )
    await answer(world, long, NOON)
    nothing = await world.ledger.extend(long.request.key, slices=1, at=NOON)

    await world.settle(short.request.key, 30_500)
    more = await world.ledger.extend(long.request.key, slices=nothing.slices or 1, at=NOON)

    assert (nothing.outcome, nothing.talk_seconds, nothing.more) == ("exhausted", 150, True)
    assert (more.outcome, more.talk_seconds) == ("extended", 150 + 150 - 31)


async def test_a_meeting_has_a_budget_in_money_of_its_own(world: World) -> None:
    """The dear legs and the cheap ones together; a day later it is whole again."""
    await world.add_credits(10_000_000)
    await of_meetings(world, LimitKind.MEETING_SPEND, 50_000)
    await of_meetings(world, LimitKind.MEETING_SPEND, 20_000, meeting="room-2")

    assert await reasons(world, 3) == [None, None, Reason.LIMIT_MEETING_SPEND]
    assert await reasons(world, 2, meeting="room-2") == [None, Reason.LIMIT_MEETING_SPEND]
    assert await reasons(world, 1, at=NOON + DAY) == [None]


@pytest.mark.parametrize(
    ("kind", "most", "seconds"),
    [(LimitKind.MEETING_TIME, 100, 100), (LimitKind.MEETING_SPEND, 30_000, 120)],
)
async def test_a_budget_is_not_passed_by_calls_that_may_finish(
    world: World, owner: Connection, kind: LimitKind, most: int, seconds: int
) -> None:
    """The tenant lets calls go on unpaid; a limit that let them would be none."""
    await owner.execute("UPDATE dialout.tenant_policy SET on_exhaustion = 'finish'")
    await world.add_credits(10_000_000)
    await of_meetings(world, kind, most)

    call = await ask(world, seconds=3600, slice_seconds=300)
    await answer(world, call, NOON)
    extension = await world.ledger.extend(call.request.key, slices=1, at=NOON)

    assert (call.talk_seconds, call.limit_seconds) == (seconds, seconds)
    assert (extension.talk_seconds, extension.limit_seconds) == (seconds, seconds)


# Fair use.


async def test_fair_use_counts_whoever_pays(world: World) -> None:
    """The add-on's own cap only hands on to the pool and to credits; this is where it ends."""
    await world.add_licence()
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    await world.add_credits(10_000_000)
    await put(world, LimitKind.FAIR_USE, 900, scope=LimitScope.ORGANIZER)

    covered = await ask(world, (*ADDON, *POOL_THEN_CREDITS), seconds=840)
    rest = await ask(world, (*ADDON, *POOL_THEN_CREDITS), seconds=840)
    beyond = await ask(world, (*ADDON, *POOL_THEN_CREDITS))
    elsewhere = await ask(world, POOL_THEN_CREDITS)
    next_month = await ask(world, (*ADDON, *CREDITS), at=NOON + 25 * DAY)

    assert [each.talk_seconds for each in (covered, rest)] == [840, 60]
    assert beyond.reason is Reason.LIMIT_FAIR_USE
    assert elsewhere.reason is None
    assert next_month.reason is None


# Observed, and blocked.


async def test_a_limit_that_observes_lets_everything_pass(world: World) -> None:
    """It is for finding out what a limit would have refused."""
    await world.add_credits(1_000_000)
    for kind in (LimitKind.CONCURRENT_CALLS, LimitKind.SPEND_A_DAY, LimitKind.PRICE):
        await put(world, kind, 0, LimitMode.OBSERVE)

    assert await reasons(world, 3) == [None] * 3


async def test_whoever_passes_a_limit_that_blocks_is_blocked_until_it_is_lifted(
    world: World,
) -> None:
    """Not until the day ends or a call does: until somebody has looked at it."""
    await world.add_credits(1_000_000)
    await world.add_organizer(BEN)
    await put(world, LimitKind.CONCURRENT_CALLS, 1, LimitMode.BLOCK)
    call = await ask(world)

    assert await reasons(world, 2) == [Reason.LIMIT_CONCURRENT_CALLS, Reason.ORGANIZER_BLOCKED]
    await world.settle(call.request.key, 1000)
    assert await reasons(world, 1, at=NOON + DAY) == [Reason.ORGANIZER_BLOCKED]
    assert await reasons(world, 1, organizer_id=BEN, at=NOON + DAY) == [None]
    async with world.provisioning.change(actor="eve") as change:
        lifted = await change.organizer_unblock(
            world.tenant_id, ORGANIZER, because="it was a fire drill", at=NOON
        )

    assert lifted is UnblockOutcome.LIFTED
    [block] = await world.provisioning.blocks(world.tenant_id)
    assert (block.organizer_id, block.blocked_by, block.reason, block.at) == (
        ORGANIZER,
        "gateway",
        Reason.LIMIT_CONCURRENT_CALLS,
        NOON,
    )
    assert (block.lifted_by, block.lifted_because) == ("eve", "it was a fire drill")


async def test_only_the_limit_that_blocks_does(world: World) -> None:
    """His own refuses and the tenant's blocks: who passes only his own is not blocked."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CONCURRENT_CALLS, 1, scope=LimitScope.ORGANIZER)
    await put(world, LimitKind.CONCURRENT_CALLS, 5, LimitMode.BLOCK)

    assert await reasons(world, 2) == [None, Reason.LIMIT_CONCURRENT_CALLS]
    assert await world.provisioning.blocks(world.tenant_id) == ()


async def test_money_that_runs_out_blocks_where_the_limit_says_so(world: World) -> None:
    """Also where minutes could have paid, and only the ledger knows that they are used up."""
    await world.add_credits(1_000_000)
    await world.add_licence()
    await put(world, LimitKind.SPEND_A_DAY, 1000, LimitMode.BLOCK)
    pool = await ask(world, POOL_THEN_CREDITS, seconds=3600)

    assert (pool.reason, await reasons(world, 1, sources=POOL_THEN_CREDITS)) == (
        None,
        [Reason.LIMIT_SPEND_A_DAY],
    )
    assert len(await world.provisioning.blocks(world.tenant_id)) == 1


async def test_an_organizer_is_blocked_and_unblocked_once(world: World) -> None:
    """A retry changes nothing, and the first reason stands."""
    async with world.provisioning.change(actor="eve") as change:
        tenant_id = world.tenant_id
        outcomes = [
            await change.organizer_block(tenant_id, BEN, because="fraud", at=NOON),
            await change.organizer_unblock(tenant_id, BEN, because="sorry", at=NOON),
            await change.organizer_unblock(tenant_id, ORGANIZER, because="sorry", at=NOON),
            await change.organizer_block(tenant_id, ORGANIZER, because="fraud", at=NOON),
            await change.organizer_block(tenant_id, ORGANIZER, because="more", at=NOON),
            await change.organizer_unblock(tenant_id, ORGANIZER, because="sorry", at=NOON),
            await change.organizer_block(tenant_id, ORGANIZER, because="again", at=NOON),
        ]

    assert outcomes == [
        BlockOutcome.UNKNOWN_ORGANIZER,
        UnblockOutcome.UNKNOWN_ORGANIZER,
        UnblockOutcome.NOT_BLOCKED,
        BlockOutcome.BLOCKED,
        BlockOutcome.EXISTS,
        UnblockOutcome.LIFTED,
        BlockOutcome.BLOCKED,
    ]
    blocks = await world.provisioning.blocks(world.tenant_id)
    assert [(each.reason, each.blocked_by) for each in blocks] == [
        ("again", "eve"),
        ("fraud", "eve"),
    ]


async def test_a_block_is_audited_and_never_rewritten(world: World, owner: Connection) -> None:
    """Who lifted what, and when, is for whoever asks later."""
    async with world.provisioning.change(actor="eve", because="because") as change:
        await change.organizer_block(world.tenant_id, ORGANIZER, because="fraud", at=NOON)
        await change.organizer_unblock(world.tenant_id, ORGANIZER, because="sorry", at=NOON)

    entries = await world.provisioning.audit(world.tenant_id)
    assert [each.relation for each in entries[:2]] == ["organizer_block"] * 2
    assert {each.actor for each in entries[:2]} == {"eve"}
    for statement in ("UPDATE {} SET lifted_by = 'ann'", "DELETE FROM {}"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await owner.execute(statement.format("dialout.organizer_block"))


# What policy is told, and what is kept.


async def decided(world: World, count: int) -> list[DialOut]:
    """Have the gateway decide requests one after the other."""
    admission = Admission(
        ledger=world.ledger,
        inquiry=Inquiry(ledger=world.ledger, trunks={MAIN_BRIDGE: Trunk()}),
        terms={MAIN_BRIDGE: TERMS},
    )
    answers = [await admission.admit(world.request(), at=NOON) for _ in range(count)]
    return [dial_out for _, dial_out in answers if dial_out is not None]


@pytest.fixture
async def entitled(world: World) -> World:
    """An organizer whose calls to London credits pay for."""
    for sku in (Sku.AUDIO_CONFERENCING_PPM, Sku.COMMUNICATIONS_CREDITS):
        await world.add_licence(sku=sku)
    await world.add_credits(10_000_000)
    return world


async def test_an_explanation_shows_what_was_used_and_gives_the_same_again(entitled: World) -> None:
    """The count is a fact of the decision: asked again it refuses again, byte for byte."""
    await put(entitled, LimitKind.CALLS_A_MINUTE, 1, LimitMode.BLOCK)

    allowed, refused, blocked = await decided(entitled, 3)

    assert [each.reason for each in (allowed, refused, blocked)] == [
        None,
        Reason.LIMIT_CALLS_A_MINUTE,
        Reason.ORGANIZER_BLOCKED,
    ]
    for each in (allowed, refused, blocked):
        assert recorded(each, ()).is_reproduced
    explanation = Explanation.parse(refused.explanation)
    assert explanation is not None
    limit = Limit(
        kind=LimitKind.CALLS_A_MINUTE,
        scope=LimitScope.TENANT,
        mode=LimitMode.BLOCK,
        most=1,
        used=1,
    )
    assert limit in explanation.facts.limits


async def test_a_number_of_today_is_a_fact(entitled: World) -> None:
    """Policy lets it pass for the same reason as the ledger."""
    await put(entitled, LimitKind.CALLEES_A_DAY, 1)

    assert [each.reason for each in await decided(entitled, 2)] == [None, None]


async def test_what_a_limit_only_observes_is_logged_and_kept(
    entitled: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once a call that is beyond it; the stored explanation says the same."""
    await put(entitled, LimitKind.CALLS_A_MINUTE, 1, LimitMode.OBSERVE)

    first, second = await decided(entitled, 2)

    assert capsys.readouterr().out.count("limit.observed") == 1
    for dial_out, observed in ((first, []), (second, [LimitKind.CALLS_A_MINUTE])):
        explanation = Explanation.parse(dial_out.explanation)
        assert explanation is not None
        assert [each.kind for each in explanation.observed] == observed


async def test_a_rehearsal_knows_the_limits_and_leaves_no_trace(world: World) -> None:
    """`dialout explain` must never tell another story than the call."""
    await world.add_credits(1_000_000)
    await of_meetings(world, LimitKind.MEETING_TIME, 100)
    before = await used(world)

    rehearsal = await world.ledger.rehearse(
        world.tenant_id, ORGANIZER, "room-1", LONDON, CREDITS, world.rate, TERMS, NOON
    )

    assert rehearsal.talk_seconds == 100
    assert await used(world) == before


async def test_counts_of_long_ago_are_forgotten_a_few_at_a_time(
    world: World, owner: Connection
) -> None:
    """They never pile up, and today's stay."""
    await world.add_credits(100_000_000)
    for days in range(12):
        await ask(world, at=NOON + days * DAY, meeting=f"room-{days}")

    for table in ("callee_day", "limit_day", "meeting_day"):
        first = await owner.fetchval(f"SELECT min(day) FROM dialout.{table}")
        assert first == (NOON + 4 * DAY).date()


async def test_the_same_request_counts_once(world: World) -> None:
    """A client that asks again, because the answer was lost, has placed no second call."""
    await world.add_credits(1_000_000)
    await put(world, LimitKind.CALLS_A_MINUTE, 5)
    request = world.request()

    outcomes = [(await world.reserve(request, CREDITS))[0] for _ in range(3)]

    assert outcomes == [RequestOutcome.RESERVED, RequestOutcome.EXISTS, RequestOutcome.EXISTS]
    assert (await used(world))["tenant calls_a_minute"] == 1
