"""A call that lasts is paid for slice by slice, and each second by what pays when it begins."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from gateway.core.choices import Choices, Exhaustion
from gateway.core.facts import Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import DeckRow, ExtendOutcome, Ledger, RequestOutcome, SettleOutcome
from gateway.ledger.provisioning import Provisioning
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    LONDON_ROW,
    NOON,
    POOL,
    YEAR_BEFORE,
    World,
)

SLICE = 300
SECOND = timedelta(seconds=1)
ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
PROMOTION_THEN_CREDITS = (
    Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_2018"),
    *CREDITS,
)
MIDNIGHT = datetime(2026, 4, 1, tzinfo=UTC)


async def begun(world: World, *, seconds: int = 3600, **more: Any) -> DialOutKey:
    """Reserve the first slice of a call that is answered at once, at noon."""
    return await answered_at(world, NOON, seconds=seconds, **more)


async def answered_at(
    world: World, at: datetime, *, asked_at: datetime | None = None, **more: Any
) -> DialOutKey:
    """Reserve the first slice of a call, and have the telephone answer at an instant."""
    outcome, dial_out = await world.reserve(
        at=asked_at or at,
        gate_uniqueid="ast-1.1",
        slice_seconds=SLICE,
        **more,
    )
    assert outcome is RequestOutcome.RESERVED
    await world.ledger.answered(dial_out.request.key, at)
    return dial_out.request.key


async def billed(world: World, key: DialOutKey) -> list[tuple[str, int | None, int | None]]:
    """Return what each part of an ended call has paid: source, seconds and micros."""
    dial_out = await world.ledger.dial_out(key)
    assert dial_out is not None
    return [(part.source, part.billed_seconds, part.billed_micros) for part in dial_out.parts]


class TestExtend:
    """The next slice, from the same sources, once."""

    async def test_a_call_sets_aside_what_it_needs_for_now(
        self, ledger: Ledger, world: World
    ) -> None:
        """An hour's call must not keep an hour from all the others of its tenant."""
        await world.add_licence()
        key = await begun(world)

        assert await world.books(SourceKind.POOL) == (3600, 0, 300, 3300)
        extension = await ledger.extend(key, slices=1, at=NOON + 200 * SECOND)

        assert extension.outcome is ExtendOutcome.EXTENDED
        assert (extension.slices, extension.talk_seconds, extension.limit_seconds) == (2, 600, 600)
        assert extension.more
        assert await world.books(SourceKind.POOL) == (3600, 0, 600, 3000)
        assert await ledger.check() == ()

    async def test_asking_twice_is_once(self, ledger: Ledger, world: World) -> None:
        """The answer was lost, or two gateways follow one call: nobody pays twice."""
        await world.add_licence()
        key = await begun(world)

        first = await ledger.extend(key, slices=1, at=NOON)
        again = await ledger.extend(key, slices=1, at=NOON)

        assert (first.outcome, again.outcome) == (ExtendOutcome.EXTENDED, ExtendOutcome.EXISTS)
        assert (again.slices, again.talk_seconds) == (2, 600)
        assert await world.books(SourceKind.POOL) == (3600, 0, 600, 3000)

    async def test_many_at_once_are_one(self, ledger: Ledger, world: World) -> None:
        """However many ask for the second slice at the same moment, there is one."""
        await world.add_licence()
        key = await begun(world)

        found = await asyncio.gather(*(ledger.extend(key, slices=1, at=NOON) for _ in range(8)))

        outcomes = sorted(each.outcome for each in found)
        assert outcomes == [ExtendOutcome.EXISTS] * 7 + [ExtendOutcome.EXTENDED]
        assert await world.books(SourceKind.POOL) == (3600, 0, 600, 3000)

    async def test_a_call_lasts_no_longer_than_it_may(self, ledger: Ledger, world: World) -> None:
        """The last slice is shorter, and there is none after it."""
        await world.add_licence()
        key = await begun(world, seconds=400)

        last = await ledger.extend(key, slices=1, at=NOON)
        after = await ledger.extend(key, slices=2, at=NOON)

        assert (last.outcome, last.talk_seconds, last.more) == (ExtendOutcome.EXTENDED, 400, False)
        assert (after.outcome, after.talk_seconds) == (ExtendOutcome.LONGEST, 400)
        assert await world.books(SourceKind.POOL) == (3600, 0, 400, 3200)

    async def test_what_is_left_is_given_and_then_nothing(
        self, ledger: Ledger, world: World
    ) -> None:
        """A slice that cannot be whole is as long as there is money; more may come yet."""
        await world.add_licence()
        await world.released(POOL, seconds=3200)
        key = await begun(world, sources=POOL)

        short = await ledger.extend(key, slices=1, at=NOON)
        none = await ledger.extend(key, slices=short.slices or 0, at=NOON)
        await world.add_credits(1_000_000)

        assert (short.outcome, short.talk_seconds, short.more) == (
            ExtendOutcome.EXTENDED,
            400,
            True,
        )
        assert (none.outcome, none.talk_seconds, none.more) == (ExtendOutcome.EXHAUSTED, 400, True)

    async def test_funds_that_come_in_time_save_the_call(
        self, ledger: Ledger, world: World
    ) -> None:
        """Somebody tops up while the warning is played."""
        await world.add_credits(20_000)
        key = await begun(world, sources=CREDITS)
        assert (await ledger.extend(key, slices=1, at=NOON)).outcome is ExtendOutcome.EXHAUSTED

        await world.add_credits(1_000_000)
        extension = await ledger.extend(key, slices=1, at=NOON)

        assert (extension.outcome, extension.talk_seconds) == (ExtendOutcome.EXTENDED, 360)
        assert await ledger.check() == ()

    async def test_only_an_answered_call_goes_on(self, ledger: Ledger, world: World) -> None:
        """Nobody talks before the answer, and nobody after the end."""
        await world.add_licence()
        unknown = DialOutKey(tenant_id=world.tenant_id, dial_out_id=uuid4())
        waiting = await world.released(POOL, seconds=300)
        ended = await begun(world)
        await world.settle(ended, 1000)

        outcomes = [
            (await ledger.extend(key, slices=1, at=NOON)).outcome
            for key in (unknown, waiting, ended)
        ]

        assert outcomes == [
            ExtendOutcome.UNKNOWN_DIAL_OUT,
            ExtendOutcome.UNANSWERED,
            ExtendOutcome.ENDED,
        ]

    async def test_where_calls_may_finish_the_limit_is_lifted(
        self, ledger: Ledger, world: World
    ) -> None:
        """The tenant's choice: what the call lasts beyond its funds is unpaid, and on record."""
        await world.add_licence()
        async with world.provisioning.change(actor=ACTOR) as change:
            await change.policy_put(world.tenant_id, Choices(on_exhaustion=Exhaustion.FINISH), NOON)
        await world.released(POOL, seconds=3300)
        key = await begun(world, sources=POOL, seconds=1800)

        extension = await ledger.extend(key, slices=1, at=NOON)
        _, ended = await world.settle(key, 500_000)

        assert (extension.outcome, extension.talk_seconds, extension.limit_seconds) == (
            ExtendOutcome.EXHAUSTED,
            300,
            1800,
        )
        assert not extension.more
        assert ended is not None
        assert (ended.billable_seconds, ended.overrun_seconds) == (300, 200)
        assert await ledger.check() == ()


class TestSplit:
    """Which source pays for which second."""

    async def test_a_source_ends_at_an_exact_second(self, ledger: Ledger, world: World) -> None:
        """12:40 of pool, then credits at 0.021 a minute with the connect fee once."""
        deck = f"deck {uuid4()}"
        row = DeckRow(
            prefix="44",
            price_micros=Micros(21_000),
            connect_fee_micros=Micros(5_000),
            initial_increment_seconds=Seconds(1),
            increment_seconds=Seconds(1),
        )
        await world.put_deck(deck, [row], YEAR_BEFORE)
        rate = await world.rate_of(deck, row)
        await world.add_licence()
        await world.released(POOL, seconds=3600 - 760)
        await world.add_credits(1_000_000)
        key = await begun(world, rate=rate)
        for slices in range(1, 5):
            await ledger.extend(key, slices=slices, at=NOON)

        outcome, ended = await world.settle(key, 1_200_000)

        assert outcome is SettleOutcome.SETTLED
        assert ended is not None
        assert await billed(world, key) == [
            ("pool", 760, 0),
            ("credits", 440, 5_000 + 440 * 21_000 // 60),
        ]
        assert ended.cost_micros == 159_000
        assert await ledger.check() == ()

    @pytest.mark.parametrize("seconds", [1, 59, 60, 61, 300, 301, 600, 899, 900])
    async def test_slices_cost_what_the_whole_call_costs(
        self, ledger: Ledger, world: World, seconds: int
    ) -> None:
        """However a call was cut into slices, time and money are rounded once."""
        await world.add_credits(1_000_000)
        key = await begun(world, sources=CREDITS)
        await ledger.extend(key, slices=1, at=NOON)
        await ledger.extend(key, slices=2, at=NOON)

        _, ended = await world.settle(key, seconds * 1000)

        assert ended is not None
        assert ended.cost_micros == await ledger.charge(Seconds(seconds), world.rate)
        assert (await world.books(SourceKind.CREDITS))[1:3] == (ended.cost_micros, 0)
        assert await ledger.check() == ()

    @pytest.mark.parametrize(
        ("answered_after_ms", "milliseconds", "before", "after"),
        [
            (0, 300_000, 100, 200),
            (0, 99_001, 100, 0),
            (0, 100_000, 100, 0),
            (0, 100_001, 100, 1),
            (40_000, 300_000, 60, 240),
            (40_400, 300_000, 60, 240),
            (99_999, 2_000, 1, 1),
        ],
    )
    async def test_a_month_ends_during_a_call(
        self,
        ledger: Ledger,
        world: World,
        answered_after_ms: int,
        milliseconds: int,
        before: int,
        after: int,
    ) -> None:
        """A second belongs to the month in which it begins, however long the ringing took."""
        await world.add_licence()
        asked_at = MIDNIGHT - 100 * SECOND
        answer = asked_at + timedelta(milliseconds=answered_after_ms)
        key = await answered_at(world, answer, asked_at=asked_at, sources=POOL)

        await ledger.settle(
            key,
            **world.ending(answer, answer + timedelta(milliseconds=milliseconds)),
        )

        march, april = await ledger.balances(world.tenant_id)
        assert (march.valid_to, april.valid_from) == (MIDNIGHT, MIDNIGHT)
        assert (march.used, april.used) == (before, after)
        assert (march.reserved, april.reserved) == (0, 0)
        assert await ledger.check() == ()

    @pytest.mark.parametrize("after_seconds", [290, 300, 310, 350, 380, 390])
    async def test_no_second_is_left_out_before_a_month_ends(
        self, ledger: Ledger, world: World, after_seconds: int
    ) -> None:
        """Answered at once, a call passes the month's end later than one that rings for long."""
        await world.add_licence()
        start = MIDNIGHT - after_seconds * SECOND
        key = await answered_at(world, start, sources=POOL, seconds=3600)
        await ledger.extend(key, slices=1, at=start + 200 * SECOND)
        await ledger.extend(key, slices=2, at=start + 500 * SECOND)

        _, ended = await ledger.settle(key, **world.ending(start, start + 600 * SECOND))

        assert ended is not None
        assert (ended.billable_seconds, ended.overrun_seconds) == (600, 0)
        march, april = await ledger.balances(world.tenant_id)
        assert (march.used, april.used) == (after_seconds, 600 - after_seconds)
        assert await ledger.check() == ()

    async def test_what_is_promised_is_paid_whenever_it_is_answered(
        self, ledger: Ledger, world: World
    ) -> None:
        """Too little before the month ends must not take what is there after it from the call."""
        await world.add_licence()
        start = MIDNIGHT - 80 * SECOND
        await world.reserve(None, POOL, seconds=3530, at=MIDNIGHT - timedelta(hours=2))
        late = MIDNIGHT + 5 * SECOND
        key = await answered_at(world, late, asked_at=start, sources=POOL)

        _, ended = await ledger.settle(key, **world.ending(late, late + 70 * SECOND))

        assert ended is not None
        assert (ended.billable_seconds, ended.overrun_seconds) == (70, 0)
        assert await ledger.check() == ()

    async def test_funds_that_come_late_fill_the_gap(self, ledger: Ledger, world: World) -> None:
        """The pool ends ten seconds before its month: bought funds pay them, and no more."""
        await world.add_licence()
        start = MIDNIGHT - 80 * SECOND
        await world.reserve(None, POOL, seconds=3530, at=MIDNIGHT - timedelta(hours=2))
        await world.add_credits(1_000)
        key = await answered_at(world, start)
        await world.add_credits(1_000_000, at=start)

        extension = await ledger.extend(key, slices=1, at=start)
        _, ended = await ledger.settle(key, **world.ending(start, start + 200 * SECOND))

        assert (extension.outcome, ended and ended.billable_seconds) == ("extended", 200)
        assert await billed(world, key) == [
            ("pool", 70, 0),
            ("credits", 10, 5_000 + 12_000),
            ("pool", 120, 0),
        ]
        assert await ledger.check() == ()

    async def test_the_new_month_pays_again(self, ledger: Ledger, world: World) -> None:
        """Pool until it ends, credits until midnight, and then the pool of the new month."""
        await world.add_licence()
        await world.add_credits(1_000_000)
        await world.reserve(None, POOL, seconds=3500, at=MIDNIGHT - timedelta(hours=2))
        start = MIDNIGHT - 200 * SECOND
        key = await answered_at(world, start)

        await ledger.settle(key, **world.ending(start, start + 300 * SECOND))

        assert await billed(world, key) == [
            ("pool", 100, 0),
            ("credits", 100, 5_000 + 2 * 12_000),
            ("pool", 100, 0),
        ]
        assert await ledger.check() == ()

    async def test_the_anchor_day_is_the_tenants(
        self, ledger: Ledger, provisioning: Provisioning
    ) -> None:
        """Months that begin on the 31st begin on the last day where there is no such day."""
        world = await World.create(
            ledger, provisioning, time_zone="America/New_York", anchor_day=31
        )
        await world.add_licence(valid_from=YEAR_BEFORE)
        await world.reserve(None, POOL, at=datetime(2026, 3, 10, tzinfo=UTC))

        balance = await world.balance(SourceKind.POOL)

        assert balance.valid_from == datetime(2026, 2, 28, 5, tzinfo=UTC)
        assert balance.valid_to == datetime(2026, 3, 31, 4, tzinfo=UTC)


class TestPrice:
    """A price that changes while somebody talks."""

    async def dearer(self, world: World) -> tuple[DialOutKey, datetime]:
        """Begin a call 100 s before its price goes from 12,000 to 60,000 a minute."""
        deck = f"deck {uuid4()}"
        change = NOON + 100 * SECOND
        cheap = LONDON_ROW
        dear = DeckRow(
            prefix="44",
            price_micros=Micros(60_000),
            connect_fee_micros=Micros(9_000),
            initial_increment_seconds=Seconds(60),
            increment_seconds=Seconds(60),
        )
        await world.put_deck(deck, [cheap], YEAR_BEFORE)
        await world.put_deck(deck, [dear], change)
        await world.add_credits(10_000_000)
        key = await begun(world, sources=CREDITS, rate=await world.rate_of(deck, cheap))
        return key, change

    @pytest.mark.parametrize(
        ("seconds", "cost"),
        [
            # One minute begun at the old price.
            (60, 5_000 + 12_000),
            # 100 s at the old one; the second minute ends at the new.
            (101, 5_000 + 100 * 200 + 20 * 1000),
            (120, 5_000 + 100 * 200 + 20 * 1000),
            (300, 5_000 + 100 * 200 + 200 * 1000),
        ],
    )
    async def test_it_changes_at_the_instant(
        self, ledger: Ledger, world: World, seconds: int, cost: int
    ) -> None:
        """Each second has the price at which it begins; the connect fee is paid once."""
        key, _ = await self.dearer(world)

        _, ended = await world.settle(key, seconds * 1000)

        assert ended is not None
        assert ended.cost_micros == cost
        assert await ledger.check() == ()

    async def test_a_deck_that_was_loaded_late_prices_the_next_slice(
        self, ledger: Ledger, world: World
    ) -> None:
        """It holds from an instant before the call, and was written after it was decided."""
        deck = f"deck {uuid4()}"
        await world.put_deck(deck, [LONDON_ROW], YEAR_BEFORE)
        await world.add_credits(100_000_000)
        key = await begun(world, sources=CREDITS, rate=await world.rate_of(deck, LONDON_ROW))
        dear = replace(LONDON_ROW, price_micros=Micros(999_000))
        await world.put_deck(deck, [dear], NOON - SECOND)

        await ledger.extend(key, slices=1, at=NOON + 200 * SECOND)
        _, ended = await world.settle(key, 600_000)

        assert ended is not None
        assert ended.cost_micros == 5_000 + 5 * 12_000 + 5 * 999_000
        assert await ledger.check() == ()

    async def test_a_source_without_a_cap_pays_on_both_sides(
        self, ledger: Ledger, world: World
    ) -> None:
        """What was given back is used before more is granted, over two stretches, too."""
        at = datetime(2018, 5, 15, tzinfo=UTC)
        deck = f"deck {uuid4()}"
        await world.add_licence(valid_from=at - timedelta(days=900))
        await world.put_deck(deck, [LONDON_ROW], at - timedelta(days=30))
        dear = replace(LONDON_ROW, price_micros=Micros(60_000))
        await world.put_deck(deck, [dear], at + 120 * SECOND)
        rate = await world.rate_of(deck, LONDON_ROW)
        first = await answered_at(world, at, sources=PROMOTION_THEN_CREDITS, rate=rate)
        await ledger.settle(first, **world.ending(at, at + SECOND))

        second = await answered_at(world, at, sources=PROMOTION_THEN_CREDITS, rate=rate)
        await ledger.extend(second, slices=1, at=at)
        await ledger.settle(second, **world.ending(at, at + 500 * SECOND))

        assert (await world.books(SourceKind.PROMOTION))[1:3] == (501, 0)
        assert await ledger.check() == ()

    async def test_what_is_set_aside_suffices_whenever_it_is_answered(
        self, ledger: Ledger, world: World
    ) -> None:
        """Nobody knows how long it will ring: the dearest course is set aside."""
        key, change = await self.dearer(world)
        set_aside = (await world.books(SourceKind.CREDITS))[2]
        late = change - 10 * SECOND

        await ledger.settle(key, **world.ending(late, late + 300 * SECOND))

        used = (await world.books(SourceKind.CREDITS))[1]
        assert used == 5_000 + 10 * 200 + 290 * 1000
        assert used <= set_aside
        assert await ledger.check() == ()


class TestLots:
    """Bought funds lapse, and the oldest is used first."""

    async def test_the_first_to_lapse_is_used_first(self, ledger: Ledger, world: World) -> None:
        """A call draws on the next lot in the midst of a minute, and its price is one."""
        june = datetime(2025, 6, 1, tzinfo=UTC)
        await world.add_credits(50_000)
        await world.add_credits(20_000, at=june)
        key = await begun(world, sources=CREDITS)

        await world.settle(key, 150_000)

        newer, older = sorted(
            await ledger.balances(world.tenant_id), key=lambda each: each.granted, reverse=True
        )
        assert older.valid_to == datetime(2026, 6, 1, tzinfo=UTC)
        assert (older.used, newer.used) == (20_000, 5_000 + 3 * 12_000 - 20_000)
        assert (older.reserved, newer.reserved) == (0, 0)
        assert await ledger.check() == ()

    async def test_what_has_lapsed_pays_for_nothing(self, ledger: Ledger, world: World) -> None:
        """Twelve months after the purchase the rest is gone, to the instant."""
        await world.add_credits(1_000_000, at=NOON - timedelta(days=365))

        lapsed, refusal = await world.reserve(None, CREDITS, at=NOON)
        in_time, _ = await world.reserve(None, CREDITS, at=NOON - SECOND)

        assert (lapsed, refusal.reason) == (RequestOutcome.REFUSED, "credits_exhausted")
        assert in_time is RequestOutcome.RESERVED

    async def test_what_was_set_aside_in_time_pays(self, ledger: Ledger, world: World) -> None:
        """A lot that lapses during a call pays for what it promised, and for no more."""
        await world.add_credits(1_000_000, at=NOON - timedelta(days=365) + SECOND)
        key = await begun(world, sources=CREDITS)

        extension = await ledger.extend(key, slices=1, at=NOON + 200 * SECOND)
        _, ended = await world.settle(key, 250_000)

        assert extension.outcome is ExtendOutcome.EXHAUSTED
        assert ended is not None
        assert ended.cost_micros == 5_000 + 5 * 12_000
        assert await ledger.check() == ()

    async def test_a_purchase_is_one_lot_however_often_it_is_told(
        self, ledger: Ledger, world: World, owner: Connection
    ) -> None:
        """The payment system repeats itself: the money is there once."""
        grant_id = uuid4()
        for _ in range(3):
            async with world.provisioning.change(actor=ACTOR) as change:
                await change.credits_add(world.tenant_id, grant_id, Micros(1_000), NOON)

        assert await world.books(SourceKind.CREDITS) == (1_000, 0, 0, 1_000)
        assert await owner.fetchval("SELECT count(*) FROM dialout.credit_grant") == 1


async def test_the_gateway_may_extend(world: World, owner: Connection) -> None:
    """It needs no right on any table, as for a call."""
    await world.add_licence()
    key = await begun(world)
    await owner.execute("SET ROLE dialout_gateway")

    outcome = await owner.fetchval(
        "SELECT outcome FROM dialout.extend($1, $2, 1, $3)", key.tenant_id, key.dial_out_id, NOON
    )

    assert outcome == "extended"


async def test_an_addon_is_extended_from_the_organizers_own(ledger: Ledger, world: World) -> None:
    """The second slice asks the sources of the first: the same organizer's minutes."""
    await world.add_licence(sku=Sku.AUDIO_CONFERENCING)
    await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
    key = await begun(world, sources=ADDON)

    await ledger.extend(key, slices=1, at=NOON)

    assert (await world.books(SourceKind.ADDON))[2] == 600
    assert await ledger.check() == ()
