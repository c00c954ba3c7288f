"""A number that is called too often, by whomever, is left alone for a while."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from gateway.core.choices import Choices, Confirmation
from gateway.core.dial_out import CoolDown, DialOut, DialOutKind, Terms
from gateway.core.e164 import E164, Destination
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import (
    Callee,
    JoinedOutcome,
    Ledger,
    Provisioning,
    RemovalOutcome,
    RequestOutcome,
)
from tests.ledger.world import ACTOR, CREDITS, LONDON, NOON, ORGANIZER, POOL, TERMS, World

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
COOL_DOWN = CoolDown(attempts=3, window_seconds=Seconds(600), quiet_seconds=Seconds(900))
COOLING = replace(TERMS, cool_down=COOL_DOWN, talk_seconds_max=Seconds(60))
PARIS = replace(LONDON, e164=E164("+33123456789"))
NEVER_CALLED = Callee(destination=LONDON.e164, attempts=0, window_from=None, quiet_until=None)


@pytest.fixture
async def world(world: World) -> World:
    """A tenant that can pay for many calls."""
    await world.add_credits(100_000_000)
    return world


async def attempt(
    world: World,
    at: datetime = NOON,
    *,
    terms: Terms = COOLING,
    destination: Destination = LONDON,
    sources: Sequence[Source] = CREDITS,
    kind: DialOutKind = DialOutKind.CALL_ME,
) -> DialOut:
    """Ask for a call, of which the channel waits already, and return what became of it."""
    outcome, dial_out = await world.ledger.reserve(
        replace(world.request(), kind=kind),
        destination,
        sources,
        world.rate,
        terms,
        '"test"',
        at,
        at + MINUTE,
        "gate",
    )
    assert outcome in (RequestOutcome.RESERVED, RequestOutcome.REFUSED)
    return dial_out


async def attempts(world: World, *instants: datetime) -> list[Reason | None]:
    """Ask for a call at each instant, and return why each was refused."""
    return [(await attempt(world, at)).reason for at in instants]


PASSED = None
COOLS = Reason.CALLEE_COOLING_DOWN


async def test_the_last_attempt_of_a_window_has_the_number_left_alone(world: World) -> None:
    """From that attempt on, to the second; then it may be called as often again."""
    quiet_until = NOON + 2 * MINUTE + timedelta(seconds=COOL_DOWN.quiet_seconds)

    answers = await attempts(
        world,
        *(NOON, NOON + MINUTE, NOON + 2 * MINUTE),
        *(NOON + 2 * MINUTE, quiet_until - SECOND),
        *(quiet_until, quiet_until, quiet_until, quiet_until),
    )

    assert answers == [*[PASSED] * 3, COOLS, COOLS, *[PASSED] * 3, COOLS]


async def test_a_quiet_that_is_over_begins_a_new_window(world: World) -> None:
    """Also where the quiet is the shorter one: what led to it is not counted a second time."""
    short = replace(COOLING, cool_down=replace(COOL_DOWN, quiet_seconds=Seconds(60)))

    answers = [
        (await attempt(world, at, terms=short)).reason
        for at in [*[NOON] * 3, NOON + 59 * SECOND, *[NOON + MINUTE] * 4]
    ]

    assert answers == [*[PASSED] * 3, COOLS, *[PASSED] * 3, COOLS]


async def test_attempts_that_are_far_apart_are_none_too_many(world: World) -> None:
    """A window ends: whoever is called now and then is no victim of anybody."""
    window = timedelta(seconds=COOL_DOWN.window_seconds)

    answers = await attempts(world, NOON, NOON + MINUTE, *(NOON + n * window for n in range(1, 5)))

    assert set(answers) == {PASSED}


async def test_nobody_prolongs_the_quiet_by_asking(world: World, owner: Connection) -> None:
    """Else one who asks for ever would keep a number from everybody for ever."""
    await attempts(world, *[NOON] * 3)
    before = await owner.fetch("SELECT xmin, c.* FROM dialout.callee AS c")

    answers = await attempts(world, *(NOON + n * MINUTE for n in range(14)))

    assert set(answers) == {COOLS}
    assert [row["quiet_until"] for row in before] == [NOON + 15 * MINUTE]
    assert await owner.fetch("SELECT xmin, c.* FROM dialout.callee AS c") == before
    assert await attempts(world, NOON + 15 * MINUTE) == [PASSED]


async def test_it_counts_whoever_asks_and_is_one_number_alone(world: World) -> None:
    """A nuisance may have many tenants; the number next door has not been called at all."""
    others = [await world.elsewhere() for _ in range(3)]
    for other in others:
        await other.add_credits(1_000_000)

    first = [reason for each in others for reason in await attempts(each, NOON)]

    assert first == [PASSED] * 3
    assert await attempts(world, NOON) == [COOLS]
    assert (await attempt(world, destination=PARIS)).reason is PASSED


async def test_two_hundred_tenants_at_once_are_counted_one_by_one(
    world: World, owner: Connection, crowd: None
) -> None:
    """They share nothing but the number: as many pass as may, and nobody waits for ever."""
    tenants = await asyncio.gather(*(world.elsewhere() for _ in range(200)))
    await asyncio.gather(*(each.add_credits(1_000_000) for each in tenants))

    answers = await asyncio.gather(*map(attempt, tenants))

    assert Counter(each.reason for each in answers) == {PASSED: 3, COOLS: 197}
    assert await owner.fetchval("SELECT attempts FROM dialout.callee") == 3


async def test_calls_end_while_the_same_number_is_called(world: World, crowd: None) -> None:
    """Whoever ends one takes what whoever begins one needs: no two may wait for each other.

    They draw on two sources, so that it is not those that keep them apart.
    """
    terms = replace(COOLING, cool_down=replace(COOL_DOWN, attempts=1000))
    others = [await world.elsewhere() for _ in range(4)]
    for each in others:
        await each.add_licence()
        await each.add_credits(100_000_000)

    async def call(whose: World, number: int) -> None:
        dial_out = await attempt(
            whose,
            terms=terms,
            kind=DialOutKind.ADD_PARTICIPANT,
            sources=(POOL, CREDITS)[number % 2],
        )
        key = dial_out.request.key
        await whose.ledger.answered(key, NOON)
        if number % 4 == 0:
            await whose.ledger.seen(whose.tenant_id, [key.dial_out_id], NOON + 20 * SECOND)
        if number % 3:
            await whose.ledger.joined(key, NOON + SECOND)
        await whose.settle(key, 30_000)

    await asyncio.gather(*(call(each, n) for n in range(30) for each in others))

    assert await world.ledger.open_dial_outs() == ()
    assert await world.ledger.check() == ()


async def test_a_refusal_is_recorded_and_counts_against_nothing(
    ledger: Ledger, world: World
) -> None:
    """Asked again with the same id it gets the same answer, and nothing is set aside for it."""
    await attempts(world, *[NOON] * 3)
    reserved = (await world.ledger.balances(world.tenant_id))[0].reserved

    refused = await attempt(world)

    key = refused.request.key
    again = await ledger.reserve(
        refused.request, LONDON, CREDITS, world.rate, COOLING, '"x"', NOON, NOON + MINUTE, "gate"
    )
    assert again == (RequestOutcome.EXISTS, refused)
    assert await ledger.dial_out(key) == refused
    assert refused.explanation == '"test"'
    assert (await world.ledger.balances(world.tenant_id))[0].reserved == reserved
    assert await ledger.check() == ()


async def test_what_nobody_could_pay_for_is_no_attempt(world: World, owner: Connection) -> None:
    """Its telephone never rings; and it tells nothing of who else has called the number."""
    poor = await world.elsewhere()
    await poor.add_credits(1)

    answers = [(await attempt(poor)).reason for _ in range(5)]
    counted = await owner.fetchval("SELECT count(*) FROM dialout.callee")
    await attempts(world, *[NOON] * 3)

    assert set(answers) == {Reason.CREDITS_EXHAUSTED}
    assert counted == 0
    assert (await attempt(poor)).reason is Reason.CREDITS_EXHAUSTED


async def test_without_a_cool_down_every_number_may_be_called(
    world: World, owner: Connection
) -> None:
    """An operator may have it off; then nothing is counted either."""
    answers = [(await attempt(world, terms=TERMS)).reason for _ in range(20)]

    assert set(answers) == {PASSED}
    assert await owner.fetchval("SELECT count(*) FROM dialout.callee") == 0


async def test_one_attempt_may_be_all(world: World) -> None:
    """The smallest cool-down is one call, then quiet; and so it is after the quiet."""
    terms = replace(COOLING, cool_down=replace(COOL_DOWN, attempts=1))

    answers = [
        (await attempt(world, at, terms=terms)).reason
        for at in (NOON, NOON, NOON + 15 * MINUTE, NOON + 15 * MINUTE)
    ]

    assert answers == [PASSED, COOLS, PASSED, COOLS]


# Who has taken a call.


async def test_a_key_that_is_pressed_forgets_the_attempts(
    world: World, provisioning: Provisioning
) -> None:
    """Somebody at the number wants to be called; until then each attempt counts."""
    first, *_, last = [await attempt(world) for _ in range(3)]
    for each in (first, last):
        await world.ledger.answered(each.request.key, NOON)
    assert (await attempt(world)).reason is COOLS

    assert await world.ledger.joined(last.request.key, NOON) is JoinedOutcome.JOINED

    assert last.confirms
    assert await provisioning.callee(LONDON.e164) == NEVER_CALLED
    assert (await attempt(world)).reason is PASSED


@pytest.mark.parametrize(
    ("confirmation", "kind", "is_forgotten"),
    [
        (Confirmation.CALL_ME, DialOutKind.CALL_ME, False),
        (Confirmation.CALL_ME, DialOutKind.ADD_PARTICIPANT, True),
        (Confirmation.CALL_ME, DialOutKind.KEYPAD, True),
        (Confirmation.CALL_ME, DialOutKind.INTERCEPT, True),
        (Confirmation.ALWAYS, DialOutKind.ADD_PARTICIPANT, False),
        (Confirmation.ALWAYS, DialOutKind.KEYPAD, False),
        (Confirmation.ALWAYS, DialOutKind.INTERCEPT, True),
        (Confirmation.NEVER, DialOutKind.CALL_ME, True),
    ],
)
async def test_who_must_press_a_key_accepts_by_nothing_else(
    world: World,
    provisioning: Provisioning,
    confirmation: Confirmation,
    kind: DialOutKind,
    *,
    is_forgotten: bool,
) -> None:
    """A voicemail answers, and stays; of others it is enough that they stay."""
    async with provisioning.change(actor=ACTOR) as change:
        await change.policy_put(world.tenant_id, Choices(confirmation=confirmation), NOON)
    dial_out = await attempt(world, kind=kind)
    await world.ledger.answered(dial_out.request.key, NOON)

    await world.settle(dial_out.request.key, 40_000)

    assert dial_out.confirms is not is_forgotten
    assert ((await provisioning.callee(LONDON.e164)).attempts == 0) is is_forgotten


@pytest.mark.parametrize(("milliseconds", "counted"), [(14_999, 1), (15_000, 0)])
async def test_whoever_stays_for_fifteen_seconds_has_accepted(
    world: World, provisioning: Provisioning, milliseconds: int, counted: int
) -> None:
    """People hang up on a nuisance sooner; that they joined, unasked, says nothing."""
    dial_out = await attempt(world, kind=DialOutKind.ADD_PARTICIPANT)
    await world.ledger.answered(dial_out.request.key, NOON)
    await world.ledger.joined(dial_out.request.key, NOON)
    assert (await provisioning.callee(LONDON.e164)).attempts == 1

    await world.settle(dial_out.request.key, milliseconds)

    assert (await provisioning.callee(LONDON.e164)).attempts == counted


async def test_a_call_that_goes_on_has_its_number_called_again_once(
    world: World, provisioning: Provisioning
) -> None:
    """At its fifteenth second, not at its end: a switchboard is called by many; and no later.

    Else whoever sits in a long meeting could be called by others without end.
    """
    ongoing = await attempt(world, kind=DialOutKind.ADD_PARTICIPANT)
    key = ongoing.request.key
    await world.ledger.answered(key, NOON)
    counted = []
    for seconds in (14, 15, 25):
        await world.ledger.seen(world.tenant_id, [key.dial_out_id], NOON + seconds * SECOND)
        counted.append((await provisioning.callee(LONDON.e164)).attempts)
        if seconds == 15:
            await attempt(world, NOON + 16 * SECOND)

    await world.settle(key, 40_000)

    assert counted == [1, 0, 1]
    assert (await provisioning.callee(LONDON.e164)).attempts == 1


# Those who look, and those who sweep.


async def test_a_rehearsal_knows_and_counts_nothing(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """A quote, and dialout explain, must tell what the call would be told."""

    async def rehearsed(terms: Terms) -> Reason | None:
        rehearsal = await ledger.rehearse(
            world.tenant_id, ORGANIZER, "room-1", LONDON, CREDITS, world.rate, terms, NOON
        )
        return rehearsal.reason

    before = [await rehearsed(COOLING) for _ in range(5)]
    counted = await owner.fetchval("SELECT count(*) FROM dialout.callee")
    await attempts(world, *[NOON] * 3)

    assert before == [PASSED] * 5
    assert counted == 0
    assert await rehearsed(COOLING) is COOLS
    assert await rehearsed(replace(COOLING, cool_down=None)) is PASSED


async def test_an_operator_sees_and_clears_a_number(
    world: World, provisioning: Provisioning, owner: Connection
) -> None:
    """Who did, and why, is written down; what goes by itself is not."""
    await attempts(world, *[NOON] * 3)
    seen = await provisioning.callee(LONDON.e164)
    async with provisioning.change(actor="olga", because="a help line") as change:
        cleared = [await change.callee_clear(LONDON.e164) for _ in range(2)]

    [audited] = await provisioning.audit(None, limit=1)
    assert seen == Callee(
        destination=LONDON.e164,
        attempts=3,
        window_from=NOON,
        quiet_until=NOON + 15 * MINUTE,
    )
    assert cleared == [RemovalOutcome.REMOVED, RemovalOutcome.ABSENT]
    assert (audited.actor, audited.because, audited.relation) == ("olga", "a help line", "callee")
    assert await provisioning.callee(LONDON.e164) == NEVER_CALLED
    assert (await attempt(world)).reason is PASSED


async def test_what_changes_nothing_any_more_is_forgotten(
    ledger: Ledger, world: World, owner: Connection, provisioning: Provisioning
) -> None:
    """A day after its window and its quiet; a few at a time, and what others hold is left."""
    await attempts(world, *[NOON] * 3)
    for number in range(5):
        await attempt(world, destination=replace(LONDON, e164=E164(f"+4420794601{number:02}")))
    day = timedelta(days=1)
    kept = await ledger.forget_old_numbers(NOON + day, limit=100)

    forgotten = [await ledger.forget_old_numbers(NOON + day + MINUTE, limit=3) for _ in range(3)]

    assert kept == 0
    assert forgotten == [3, 2, 0]
    assert (await provisioning.callee(LONDON.e164)).attempts == 3, "its quiet ended later"
    assert await ledger.forget_old_numbers(NOON + day + 16 * MINUTE, limit=3) == 1


async def test_nothing_says_who_has_called(world: World, owner: Connection) -> None:
    """The table is everybody's, so it names nobody; nor does a refusal's record."""
    other = await world.elsewhere()
    await other.add_credits(1_000_000)
    await attempts(other, *[NOON] * 3)

    refused = await attempt(world)

    columns = await owner.fetch(
        """
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'dialout.callee'::regclass AND attnum > 0 AND NOT attisdropped
        """
    )
    assert {row["attname"] for row in columns} == {
        "destination",
        "attempts",
        "window_from",
        "quiet_until",
    }
    assert str(other.tenant_id) not in json.dumps(refused.summary())


async def test_a_call_that_nobody_knows_is_accepted_by_nobody(world: World) -> None:
    """An event of a call that is not in the books forgets no number."""
    stranger = DialOutKey(tenant_id=world.tenant_id, dial_out_id=uuid4())

    assert await world.ledger.joined(stranger, NOON) is JoinedOutcome.UNKNOWN_DIAL_OUT
