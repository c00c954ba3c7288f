"""Notices: written with what they tell, once each, and read by others without a gap."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway import db
from gateway.core.causes import Disposition
from gateway.core.choices import Choices
from gateway.core.event import EventKind
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.waterfall import Source
from gateway.ledger import Event, Outbox, RequestOutcome
from tests.ledger.world import ACTOR, CREDITS, NOON, POOL, POOL_THEN_CREDITS, World

ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
MINUTE_MICROS = 17_000
"""What the first minute of a call costs in the tests' deck."""


async def told(world: World) -> list[str]:
    """Return what the tenant was told of, in order."""
    return [event.kind for event in await events(world)]


async def events(world: World, after: int = 0) -> tuple[Event, ...]:
    """Return the tenant's events."""
    return await world.provisioning.events(tenant_id=world.tenant_id, after=after)


async def call(world: World, sources: tuple[Source, ...], seconds: int) -> None:
    """Place a call, have it last so long, and settle it."""
    await world.settle(await world.released(sources, seconds=seconds), seconds * 1000)


async def settle_on(world: World, day: datetime, seconds: int) -> None:
    """Place a call of the pool on another day, and settle it."""
    _, dial_out = await world.reserve(None, POOL, seconds=3600, at=day, gate_uniqueid="ast-1.1")
    await world.ledger.settle(
        dial_out.request.key,
        answered_at=day,
        ended_at=day + timedelta(seconds=seconds),
        hangup_cause=16,
        disposition=Disposition.ANSWERED,
        evidence="test",
    )


class TestPool:
    """A pool of one licence: 3600 seconds a month."""

    @pytest.fixture(autouse=True)
    async def _licensed(self, world: World) -> None:
        await world.add_licence()

    async def test_four_fifths_and_all_are_told_at_the_second(self, world: World) -> None:
        """One second less is not told: an administrator who reads 80 % finds 80 %."""
        await call(world, POOL, 2879)
        assert await told(world) == []

        await call(world, POOL, 60)
        assert await told(world) == [EventKind.POOL_USED_80]

        await call(world, POOL, 3600 - 2939)
        assert await told(world) == [EventKind.POOL_USED_80, EventKind.POOL_USED_100]

    async def test_one_call_may_bring_both(self, world: World) -> None:
        """No threshold is passed over because one settlement goes beyond two of them."""
        await call(world, POOL, 3600)

        assert await told(world) == [EventKind.POOL_USED_80, EventKind.POOL_USED_100]

    async def test_what_is_set_aside_is_not_used(self, world: World) -> None:
        """Calls that nobody answers give everything back, and must alarm nobody."""
        keys = [await world.released(POOL, seconds=1800) for _ in range(2)]
        for key in keys:
            await world.void(key)

        assert await told(world) == []

    async def test_a_call_refused_for_want_of_it_is_told(self, world: World) -> None:
        """Half a minute that is left pays for no call, so it would never be used up."""
        await call(world, POOL, 3570)

        outcome, _ = await world.reserve(None, POOL)

        assert outcome is RequestOutcome.REFUSED
        assert await told(world) == [EventKind.POOL_USED_80, EventKind.POOL_USED_100]

    async def test_more_licences_do_not_bring_it_again(self, world: World) -> None:
        """Once a period: 80 % of the larger pool is not told, all of it is."""
        await call(world, POOL, 2880)
        await _another_licence(world)
        await call(world, POOL, 2880)
        assert await told(world) == [EventKind.POOL_USED_80]

        await call(world, POOL, 1440)
        assert await told(world) == [EventKind.POOL_USED_80, EventKind.POOL_USED_100]

    async def test_each_month_is_told_of_by_itself(self, world: World) -> None:
        """The next month's pool is another one."""
        await settle_on(world, NOON, 2880)
        await settle_on(world, NOON + timedelta(days=31), 2880)

        assert await told(world) == [EventKind.POOL_USED_80] * 2

    async def test_it_says_whose_and_how_much(self, world: World) -> None:
        """Whoever reads it needs nothing else to write a mail."""
        await call(world, POOL, 2880)

        [event] = await events(world)
        pool = await world.balance(SourceKind.POOL)
        assert event.at == NOON + timedelta(seconds=2880)
        assert {name: event.data[name] for name in event.data if not name.endswith("_at")} == {
            "tenant_id": str(world.tenant_id),
            "source_id": str(pool.source_id),
            "benefit_id": "standard_pool",
            "organizer_id": None,
            "granted_seconds": 3600,
            "used_seconds": 2880,
            "reserved_seconds": 0,
        }
        assert (event.data["starts_at"], event.data["ends_at"]) == (
            "2026-03-01T00:00:00+00:00",
            "2026-04-01T00:00:00+00:00",
        )

    @pytest.mark.usefixtures("crowd")
    async def test_many_settlements_at_once_tell_it_once(self, world: World) -> None:
        """Thirty calls end in the same instant, and pass both thresholds together."""
        keys = [await world.released(POOL, seconds=120) for _ in range(30)]

        await asyncio.gather(*(world.settle(key, 120_000) for key in keys))

        assert await told(world) == [EventKind.POOL_USED_80, EventKind.POOL_USED_100]
        assert await world.ledger.check() == ()

    async def test_what_is_undone_was_never_told(self, world: World, owner: db.Connection) -> None:
        """The event is in the transaction of what it tells: neither is there without the other."""
        key = await world.released(POOL, seconds=3600)
        transaction = owner.transaction()
        await transaction.start()
        await _settle(owner, key, 3600)
        assert await owner.fetchval("SELECT count(*) FROM dialout.event") == 2

        await transaction.rollback()

        assert await told(world) == []
        assert (await world.balance(SourceKind.POOL)).used == 0

    async def test_other_tenants_hear_nothing(self, world: World) -> None:
        """A tenant's events are its own."""
        elsewhere = await world.elsewhere()
        await call(world, POOL, 3600)

        assert await told(elsewhere) == []


class TestFairUse:
    """An add-on of an hour a month."""

    async def test_it_is_told_of_by_its_own_names(self, world: World) -> None:
        """Fair use is no pool: who has it is named, and nobody else's counts."""
        await world.add_licence()
        await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
        async with world.provisioning.change(actor=ACTOR) as change:
            await change.policy_put(world.tenant_id, Choices(addon_fair_use_minutes=60), NOON)

        await call(world, ADDON, 2880)
        [event] = await events(world)
        await call(world, ADDON, 720)

        assert event.data["organizer_id"] == "ann@example.com"
        assert await told(world) == [EventKind.ADDON_FAIR_USE_80, EventKind.ADDON_FAIR_USE_100]


class TestCredits:
    """What tenants pay for in advance."""

    async def test_the_last_micro_is_told(self, world: World) -> None:
        """Not when it is set aside, which may come back, but when it is billed."""
        await world.add_credits(MINUTE_MICROS)
        key = await world.released(CREDITS, seconds=60)
        assert await told(world) == []

        await world.settle(key, 60_000)

        [event] = await events(world)
        assert event.kind == EventKind.CREDITS_ZERO
        assert event.data == {
            "tenant_id": str(world.tenant_id),
            "currency": "EUR",
            "free_micros": 0,
        }

    async def test_a_lot_that_ends_before_another_is_no_end(self, world: World) -> None:
        """One lot is used up, the next one pays on: nothing is at zero."""
        await world.add_credits(MINUTE_MICROS)
        await world.add_credits(MINUTE_MICROS)

        await call(world, CREDITS, 60)

        assert await told(world) == []

    async def test_a_call_refused_for_want_of_them_is_told_once(self, world: World) -> None:
        """What is left pays for no minute; every further call is refused, and nobody is told."""
        await world.add_credits(MINUTE_MICROS - 1)

        for _ in range(3):
            outcome, _ = await world.reserve(None, CREDITS)
            assert outcome is RequestOutcome.REFUSED

        assert await told(world) == [EventKind.CREDITS_ZERO]

    async def test_it_is_told_again_after_funds_were_bought(self, world: World) -> None:
        """Each purchase may come to its end, and each end is news."""
        for _ in range(2):
            await world.add_credits(MINUTE_MICROS)
            await call(world, CREDITS, 60)

        assert await told(world) == [EventKind.CREDITS_ZERO] * 2

    async def test_a_pool_before_them_says_nothing_of_them(self, world: World) -> None:
        """A call that the pool pays leaves credits alone."""
        await world.add_licence()
        await world.add_credits(MINUTE_MICROS)

        await call(world, POOL_THEN_CREDITS, 60)

        assert await told(world) == []


class TestLapsing:
    """Lots lapse twelve months after they were bought, here on 10 March 2027 at noon."""

    LAPSES = datetime(2027, 3, 10, 12, tzinfo=UTC)

    async def test_it_is_told_thirty_days_before_and_once(
        self, world: World, pool: db.Pool
    ) -> None:
        """Time alone brings it about: no call need be made."""
        await world.add_credits(MINUTE_MICROS)
        outbox = Outbox(pool, call_seconds_max=20.0)
        month_before = self.LAPSES - timedelta(days=30)

        await outbox.sweep(month_before - timedelta(seconds=1))
        assert await told(world) == []
        for _ in range(2):
            await outbox.sweep(month_before)

        [event] = await events(world)
        assert event.kind == EventKind.CREDITS_EXPIRING
        assert (event.data["unused_micros"], event.data["expires_at"]) == (
            MINUTE_MICROS,
            "2027-03-10T12:00:00+00:00",
        )

    async def test_nothing_lapses_of_what_is_used_up(self, world: World, pool: db.Pool) -> None:
        """Nobody need hear of a lot that has nothing left."""
        await world.add_credits(MINUTE_MICROS)
        await call(world, CREDITS, 60)

        await Outbox(pool, call_seconds_max=20.0).sweep(self.LAPSES - timedelta(days=1))

        assert await told(world) == [EventKind.CREDITS_ZERO]

    async def test_it_is_late_once_it_has_lapsed(self, world: World, pool: db.Pool) -> None:
        """A gateway that was away for a month does not announce what has happened."""
        await world.add_credits(MINUTE_MICROS)

        await Outbox(pool, call_seconds_max=20.0).sweep(self.LAPSES)

        assert await told(world) == []


async def test_the_kinds_are_the_same_in_both_languages(owner: db.Connection) -> None:
    """Python's list is closed, and so is the table's; one that is in neither cannot be written."""
    rule = await owner.fetchval(
        """
        SELECT pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = 'dialout.event'::regclass AND conname = 'event_kind_check'
        """
    )

    assert set(re.findall(r"'([a-z_.0-9]+)'", rule)) == set(EventKind)


async def test_a_reader_misses_nothing_that_is_committed_late(
    world: World, owner: db.Connection
) -> None:
    """The event that began first is committed last: it must come after the page that was read.

    Read in the order of ids or of instants, it would lie before the mark, and never be seen.
    """
    await world.add_licence()
    elsewhere = await world.elsewhere()
    await elsewhere.add_licence()
    slow = await world.released(POOL, seconds=3600)
    transaction = owner.transaction()
    await transaction.start()
    await _settle(owner, slow, 3600)
    await call(elsewhere, POOL, 2880)

    first = await world.provisioning.events()
    await transaction.commit()
    rest = await world.provisioning.events(after=first[-1].number)

    assert [each.tenant_id for each in first] == [elsewhere.tenant_id]
    assert [each.tenant_id for each in rest] == [world.tenant_id] * 2
    assert [each.number for each in (*first, *rest)] == [1, 2, 3]
    assert rest[0].event_id < first[0].event_id


@pytest.mark.usefixtures("crowd")
async def test_readers_at_once_number_each_event_once(world: World) -> None:
    """Two payment systems ask in the same instant, and read the same numbers."""
    await world.add_licence()
    await call(world, POOL, 3600)

    pages = await asyncio.gather(*(world.provisioning.events() for _ in range(20)))

    assert {tuple(each.number for each in page) for page in pages} == {(1, 2)}


async def test_pages_go_on_where_they_ended(world: World) -> None:
    """A thousand events need not fit into one answer."""
    for _ in range(3):
        await world.add_credits(MINUTE_MICROS)
        await call(world, CREDITS, 60)

    page = await world.provisioning.events(limit=2)
    rest = await world.provisioning.events(after=page[-1].number, limit=2)

    assert [each.number for each in page] == [1, 2]
    assert [each.number for each in rest] == [3]


async def test_history_is_not_rewritten(world: World, owner: db.Connection) -> None:
    """Not even the owner changes what was told, or that it was delivered, by mistake."""
    await world.add_licence()
    await call(world, POOL, 2880)

    for statement in (
        "UPDATE dialout.event SET kind = 'credits.zero'",
        "DELETE FROM dialout.event",
        "TRUNCATE dialout.event CASCADE",
        "DELETE FROM dialout.delivery",
    ):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await owner.execute(statement)


async def _another_licence(world: World) -> None:
    bob = OrganizerId("bob@example.com")
    await world.add_organizer(bob)
    await world.add_licence(bob)


async def _settle(owner: db.Connection, key: DialOutKey, seconds: int) -> None:
    await owner.execute(
        "SELECT outcome FROM dialout.settle($1, $2, $3, $4, 16, 'answered', 'test')",
        *(key.tenant_id, key.dial_out_id, NOON, NOON + timedelta(seconds=seconds)),
    )
