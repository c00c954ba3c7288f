"""Funds are set aside once, in order, to the second, or the refusal is recorded."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.dial_out import DialOutKind, DialOutState, FundingPart
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import Ledger, Provisioning, RequestOutcome
from tests.ledger.conftest import CONNECTIONS_MAX
from tests.ledger.world import (
    CREDITS,
    LONDON,
    NOON,
    ORGANIZER,
    POOL,
    POOL_THEN_CREDITS,
    TERMS,
    World,
)


async def test_a_reservation_holds_its_terms_and_sets_the_funds_aside(
    ledger: Ledger, world: World
) -> None:
    """What was decided is what is stored, and what is read back later."""
    await world.add_licence()
    request = world.request()

    outcome, dial_out = await world.reserve(request, POOL)

    assert outcome is RequestOutcome.RESERVED
    assert dial_out.request == request
    assert dial_out.state is DialOutState.RESERVED
    assert (dial_out.destination, dial_out.region) == (LONDON.e164, LONDON.region)
    assert (dial_out.talk_seconds, dial_out.ring_seconds) == (1800, 30)
    assert dial_out.caller_id == TERMS.caller_id
    assert dial_out.expires_at == NOON + timedelta(seconds=60)
    assert dial_out.explanation == '{"because": "test"}'
    assert await world.books(SourceKind.POOL) == (3600, 0, 1800, 1800)
    assert await ledger.dial_out(request.key) == dial_out
    assert await ledger.open_dial_outs() == (dial_out,)
    assert await ledger.check() == ()


async def test_a_retry_finds_what_the_first_one_did(world: World) -> None:
    """A lost answer is asked for again: nothing is set aside twice."""
    await world.add_licence()
    request = world.request()
    _, first = await world.reserve(request, POOL)

    outcome, again = await world.reserve(request, POOL, seconds=600)

    assert (outcome, again) == (RequestOutcome.EXISTS, first)
    assert await world.books(SourceKind.POOL) == (3600, 0, 1800, 1800)


async def test_an_id_means_one_request(world: World) -> None:
    """Each difference alone is another request, and gets the record of the first one."""
    await world.add_licence()
    request = world.request()
    _, first = await world.reserve(request, POOL)
    others = [
        replace(request, kind=DialOutKind.ADD_PARTICIPANT),
        replace(request, organizer_id=OrganizerId("else")),
        replace(request, initiator_id=None),
        replace(request, conference_id="else"),
        replace(request, number_typed="else"),
    ]

    answers = [await world.reserve(other, POOL) for other in others]

    assert answers == [(RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS, first)] * 5


async def test_two_tenants_may_choose_the_same_id(ledger: Ledger, world: World) -> None:
    """A client chooses the id; it must neither collide with another tenant's nor show it."""
    elsewhere = await world.elsewhere()
    request = world.request()
    await world.add_licence()
    await elsewhere.add_licence()
    await world.reserve(request, POOL)
    key = DialOutKey(tenant_id=elsewhere.tenant_id, dial_out_id=request.key.dial_out_id)

    outcome, dial_out = await elsewhere.reserve(replace(request, key=key), POOL)

    assert outcome is RequestOutcome.RESERVED
    assert dial_out.request.key == key


async def test_a_waiting_channel_gets_its_release_with_the_reservation(
    ledger: Ledger, world: World
) -> None:
    """The intercept has a channel already: there is no second round trip, and no second claim."""
    await world.add_licence()

    _, dial_out = await world.reserve(gate_uniqueid="ast-7.1")

    assert dial_out.state is DialOutState.RELEASED
    assert (dial_out.gate_uniqueid, dial_out.released_at) == ("ast-7.1", NOON)
    assert await ledger.claim(dial_out.request.key, "ast-7.1", NOON) == "released"


async def test_a_call_is_split_where_the_pool_ends(world: World) -> None:
    """The pool gives its last second, credits the rest, at whole increments and one fee."""
    await world.add_licence()
    await world.add_credits(1_000_000)
    await world.reserve(None, POOL, seconds=3600 - 1000)

    _, dial_out = await world.reserve(seconds=1800)

    assert dial_out.talk_seconds == 1800
    assert dial_out.parts == (
        FundingPart(
            source=SourceKind.POOL,
            benefit_id="standard_pool",
            seconds=Seconds(1000),
            micros=Micros(0),
            billed_seconds=None,
            billed_micros=None,
            currency=None,
        ),
        FundingPart(
            source=SourceKind.CREDITS,
            benefit_id=None,
            seconds=Seconds(800),
            # 800 s are 14 started minutes.
            micros=Micros(14 * 12_000 + 5_000),
            billed_seconds=None,
            billed_micros=None,
            currency="EUR",
        ),
    )
    assert await world.books(SourceKind.POOL) == (3600, 0, 3600, 0)
    assert await world.books(SourceKind.CREDITS) == (1_000_000, 0, 173_000, 827_000)


async def test_the_order_of_the_sources_is_the_callers(world: World) -> None:
    """Policy says who pays first; the ledger has no order of its own."""
    await world.add_licence()
    await world.add_credits(5_000 + 12_000 * 2)

    _, dial_out = await world.reserve(None, (*CREDITS, *POOL))

    assert [(part.source, part.seconds) for part in dial_out.parts] == [
        (SourceKind.CREDITS, 120),
        (SourceKind.POOL, 1680),
    ]


async def test_a_call_is_shortened_to_what_there_is(world: World) -> None:
    """Less than was asked for is granted down to the minimum: the call gets a limit instead."""
    await world.add_credits(5_000 + 12_000 * 3 + 11_999)

    _, dial_out = await world.reserve(None, CREDITS)

    assert dial_out.talk_seconds == 180
    assert await world.books(SourceKind.CREDITS) == (52_999, 0, 41_000, 11_999)


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        (POOL, Reason.POOL_EXHAUSTED),
        (CREDITS, Reason.CREDITS_EXHAUSTED),
        (POOL_THEN_CREDITS, Reason.CREDITS_EXHAUSTED),
    ],
)
async def test_too_little_is_refused_for_the_last_source_and_recorded(
    ledger: Ledger, world: World, sources: tuple[Source, ...], reason: Reason
) -> None:
    """A refusal names what would have helped; a retry gets it again, even after a top-up."""
    await world.add_credits(16_999)  # one micro less than the fee and a minute
    request = world.request()

    outcome, dial_out = await world.reserve(request, sources)
    await world.add_credits(1_000_000)
    again = await world.reserve(request, sources)

    assert outcome is RequestOutcome.REFUSED
    assert (dial_out.state, dial_out.reason) == (DialOutState.REFUSED, reason)
    assert dial_out.parts == ()
    assert again == (RequestOutcome.EXISTS, dial_out)
    assert await world.books(SourceKind.CREDITS) == (1_016_999, 0, 0, 1_016_999)
    assert await ledger.check() == ()


async def test_pool_and_credits_together_reach_the_minimum(world: World) -> None:
    """Neither alone is enough; the minimum is of the call, not of a part."""
    await world.add_licence()
    await world.reserve(None, POOL, seconds=3600 - 30)
    await world.add_credits(17_000)

    outcome, dial_out = await world.reserve(seconds=90, seconds_min=90)

    assert outcome is RequestOutcome.RESERVED
    assert [part.seconds for part in dial_out.parts] == [30, 60]


async def test_terms_that_no_call_can_have_are_an_error(world: World) -> None:
    """A caller with a bug must hear of it, and not find a refusal that looks like the user's."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await world.reserve(seconds=60, seconds_min=61)
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await world.reserve(seconds_min=0)
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await world.reserve(None, ())


async def test_credits_are_never_charged_in_another_currency(world: World) -> None:
    """A rate in other money would charge the wrong sum without a sign of it."""
    await world.add_credits(1_000_000)

    with pytest.raises(asyncpg.InvalidParameterValueError):
        await world.reserve(None, CREDITS, rate=replace(world.rate, currency="USD"))


async def test_an_unknown_tenant_cannot_reserve(ledger: Ledger, world: World) -> None:
    """Policy refuses it before; reaching the ledger with one is a bug, and sets nothing aside."""
    stranger = replace(world, tenant_id=uuid4())

    with pytest.raises(asyncpg.NoDataFoundError):
        await stranger.reserve()
    assert await ledger.open_dial_outs() == ()


@pytest.mark.usefixtures("crowd")
async def test_the_last_of_the_pool_is_reserved_once(ledger: Ledger, world: World) -> None:
    """Two hundred calls race for minutes that cover three: three win, nothing is overdrawn.

    This is the property the ledger exists for. The race is real: many connections, no lock
    in Python.
    """
    await world.add_licence()

    answers = await asyncio.gather(
        *(world.reserve(None, POOL, seconds=1200, seconds_min=1200) for _ in range(200))
    )

    assert Counter(outcome for outcome, _ in answers) == {
        RequestOutcome.RESERVED: 3,
        RequestOutcome.REFUSED: 197,
    }
    assert await world.books(SourceKind.POOL) == (3600, 0, 3600, 0)
    assert await ledger.check() == ()


@pytest.mark.usefixtures("crowd")
async def test_one_id_asked_for_at_once_is_one_reservation(ledger: Ledger, world: World) -> None:
    """A client that retries without waiting, or two gateways, get one dial-out between them."""
    await world.add_licence()
    request = world.request()

    answers = await asyncio.gather(
        *(world.reserve(request, POOL, seconds=60) for _ in range(CONNECTIONS_MAX))
    )

    assert Counter(outcome for outcome, _ in answers) == {
        RequestOutcome.RESERVED: 1,
        RequestOutcome.EXISTS: CONNECTIONS_MAX - 1,
    }
    assert await world.books(SourceKind.POOL) == (3600, 0, 60, 3540)
    assert await ledger.check() == ()


class TestPool:
    """The tenant's minutes of a calendar month."""

    async def test_each_organizer_with_a_licence_brings_an_hour(self, world: World) -> None:
        """One pool for all, however short a part of the month somebody's licence lasts."""
        for name, valid_from, valid_to in (
            ("whole", datetime(2026, 1, 1, tzinfo=UTC), None),
            ("ended", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
            ("before", datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
            ("after", datetime(2026, 4, 1, tzinfo=UTC), None),
        ):
            await world.add_organizer(OrganizerId(name))
            await world.add_licence(OrganizerId(name), valid_from=valid_from, valid_to=valid_to)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 2 * 3600

    async def test_a_renewal_brings_nothing_twice(self, world: World) -> None:
        """A licence that ends and is renewed in mid-month is the same hour."""
        renewal = datetime(2026, 3, 9, tzinfo=UTC)
        await world.add_licence(valid_to=renewal)
        await world.add_licence(valid_from=renewal)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 3600

    async def test_a_licence_that_goes_round_brings_one_hour(
        self, ledger: Ledger, world: World
    ) -> None:
        """Else whoever bought one licence and moved it daily would have thirty hours a month."""
        for day, name in enumerate(("first", "second", "third")):
            start = NOON + timedelta(days=day)
            await world.add_organizer(OrganizerId(name))
            await world.add_licence(
                OrganizerId(name), valid_from=start, valid_to=start + timedelta(hours=23), at=start
            )
            await world.reserve(None, POOL, seconds=600, at=start)

        assert await world.books(SourceKind.POOL) == (3600, 0, 1800, 1800)
        assert await ledger.check() == ()

    @pytest.mark.parametrize(
        ("overlap", "hours"), [(timedelta(0), 1), (timedelta(microseconds=1), 2)]
    )
    async def test_a_licence_that_is_handed_over_is_one(
        self, world: World, overlap: timedelta, hours: int
    ) -> None:
        """An end is exclusive: at the instant of the hand-over the next organizer alone has it."""
        await world.add_licence(valid_to=NOON + overlap)
        await world.add_organizer(OrganizerId("next"))
        await world.add_licence(OrganizerId("next"), valid_from=NOON)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == hours * 3600

    async def test_an_organizer_brings_one_hour_whatever_the_rows(
        self, world: World, owner: Connection
    ) -> None:
        """Rows from before overlaps were refused may overlap; nobody holds a licence twice."""
        await world.add_licence()
        await owner.execute(
            """
            INSERT INTO dialout.licence (tenant_id, organizer_id, sku, valid_from, valid_to)
            VALUES ($1, $2, 'audio_conferencing', $3, 'infinity')
            """,
            *(world.tenant_id, ORGANIZER, NOON - timedelta(days=1)),
        )

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 3600

    async def test_the_most_that_were_held_at_once_stay_counted(self, world: World) -> None:
        """Two of early March are two for the month, though one alone is held at the call."""
        await world.add_organizer(OrganizerId("left"))
        await world.add_licence()
        await world.add_licence(OrganizerId("left"), valid_to=NOON - timedelta(days=1))
        await world.add_organizer(OrganizerId("later"))
        await world.add_licence(OrganizerId("later"), valid_from=NOON)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 2 * 3600

    async def test_a_licence_reaches_an_open_pool_at_once(self, world: World) -> None:
        """Somebody who buys a licence because the minutes are used up need not wait."""
        await world.add_licence()
        await world.reserve(None, POOL)
        await world.add_organizer(OrganizerId("second"))

        await world.add_licence(OrganizerId("second"))

        assert await world.books(SourceKind.POOL) == (7200, 0, 1800, 5400)

    async def test_a_licence_that_starts_later_brings_its_hour_then(
        self, ledger: Ledger, world: World
    ) -> None:
        """It was assigned before; the first call after its start finds its minutes."""
        start = NOON + timedelta(days=5)
        await world.add_licence()
        await world.add_organizer(OrganizerId("later"))
        await world.reserve(None, POOL)
        await world.add_licence(OrganizerId("later"), valid_from=start)

        await world.reserve(None, POOL, at=start - timedelta(seconds=1))
        before = await world.balance(SourceKind.POOL)
        await world.reserve(None, POOL, at=start)
        after = await world.balance(SourceKind.POOL)

        assert (before.granted, after.granted) == (3600, 7200)
        assert await ledger.check() == ()

    async def test_a_month_has_its_own_minutes(self, ledger: Ledger, world: World) -> None:
        """No rollover, and nothing that has to run at midnight."""
        await world.add_licence()
        midnight = datetime(2026, 4, 1, tzinfo=UTC)
        await world.reserve(None, POOL, at=midnight - timedelta(hours=1))

        await world.reserve(None, POOL, at=midnight)

        assert [
            (each.valid_from, each.valid_to, each.reserved)
            for each in await ledger.balances(world.tenant_id)
        ] == [
            (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC), 1800),
            (datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC), 1800),
        ]

    @pytest.mark.parametrize(
        ("time_zone", "month_from", "month_to"),
        [
            ("UTC", "2026-03-01T00:00Z", "2026-04-01T00:00Z"),
            ("Asia/Tokyo", "2026-03-31T15:00Z", "2026-04-30T15:00Z"),
            ("America/New_York", "2026-03-01T05:00Z", "2026-04-01T04:00Z"),
            ("Asia/Kathmandu", "2026-03-31T18:15Z", "2026-04-30T18:15Z"),
        ],
    )
    async def test_the_month_is_the_tenants(
        self,
        ledger: Ledger,
        provisioning: Provisioning,
        time_zone: str,
        month_from: str,
        month_to: str,
    ) -> None:
        """At one instant it is March in New York and April in Tokyo; summer time moves an end."""
        world = await World.create(ledger, provisioning, time_zone=time_zone)
        await world.add_licence()

        await world.reserve(None, POOL, at=datetime(2026, 3, 31, 19, tzinfo=UTC))

        pool = await world.balance(SourceKind.POOL)
        assert (pool.valid_from, pool.valid_to) == (
            datetime.fromisoformat(month_from),
            datetime.fromisoformat(month_to),
        )
