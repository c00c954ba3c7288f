"""Minutes that licences bring: who has how many, from when to when, and who may use them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.choices import Choices, Exhaustion, PoolBasis
from gateway.core.dial_out import DialOut
from gateway.core.facts import OrganizerId, Sku, SourceKind
from gateway.core.reasons import Reason
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import Claim, Ledger, RequestOutcome
from gateway.ledger.provisioning import Provisioning
from gateway.ledger.provisioning_answers import (
    Channel,
    LicenceOutcome,
    PolicyOutcome,
    PurchaseOutcome,
    Segment,
)
from tests.ledger.world import (
    ACTOR,
    CREDITS,
    NOON,
    ORGANIZER,
    POOL,
    POOL_THEN_CREDITS,
    YEAR_BEFORE,
    World,
    until_somebody_waits,
)

UNLIMITED = (Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_2018"),)
NINE_HUNDRED = (Source(kind=SourceKind.PROMOTION, benefit_id="complimentary_900"),)
ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
BOB = OrganizerId("bob@example.com")
LONG_AGO = datetime(2017, 1, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
IN_MAY_2018 = datetime(2018, 5, 15, tzinfo=UTC)
IN_2019 = datetime(2019, 5, 15, tzinfo=UTC)
HOUR = 3600
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


class TestPeriod:
    """One source for each calendar month of a benefit, within the benefit's own period."""

    @pytest.mark.parametrize(
        ("sources", "time_zone", "at", "valid_from", "valid_to"),
        [
            (UNLIMITED, "UTC", "2018-06-30T23:00:00Z", "2018-06-01T00:00Z", "2018-07-01T00:00Z"),
            (
                UNLIMITED,
                "Asia/Tokyo",
                "2018-06-30T20:00Z",
                "2018-06-30T15:00Z",
                "2018-07-01T00:00Z",
            ),
            (NINE_HUNDRED, "UTC", "2018-11-12T00:00Z", "2018-11-12T00:00Z", "2018-12-01T00:00Z"),
            (NINE_HUNDRED, "UTC", "2019-11-30T12:00Z", "2019-11-01T00:00Z", "2019-12-01T00:00Z"),
            (POOL, "America/Lima", "2019-12-01T00:00Z", "2019-12-01T00:00Z", "2019-12-01T05:00Z"),
            (POOL, "America/Lima", "2019-12-01T05:00Z", "2019-12-01T05:00Z", "2020-01-01T05:00Z"),
            (POOL, "Europe/Rome", "2026-03-31T22:30Z", "2026-03-31T22:00Z", "2026-04-30T22:00Z"),
            (ADDON, "UTC", "2018-02-28T12:00Z", "2018-02-01T00:00Z", "2018-03-01T00:00Z"),
        ],
    )
    async def test_a_month_is_the_tenants_and_no_longer_than_the_benefit(
        self,
        ledger: Ledger,
        provisioning: Provisioning,
        sources: tuple[Source, ...],
        time_zone: str,
        at: str,
        valid_from: str,
        valid_to: str,
    ) -> None:
        """Whoever calls a second after the end of a promotion must not be paid for by it."""
        world = await World.create(ledger, provisioning, time_zone=time_zone)
        await _license_all(world)

        outcome, _ = await world.reserve(None, sources, at=datetime.fromisoformat(at))

        assert outcome is RequestOutcome.RESERVED
        [balance] = await ledger.balances(world.tenant_id)
        assert (balance.valid_from, balance.valid_to) == (
            datetime.fromisoformat(valid_from),
            datetime.fromisoformat(valid_to),
        )

    @pytest.mark.parametrize("time_zone", ["UTC", "Asia/Tokyo", "America/Lima"])
    async def test_what_is_valid_at_an_instant_is_what_is_in_force(
        self, ledger: Ledger, provisioning: Provisioning, time_zone: str
    ) -> None:
        """Policy names the benefits and the books have the sources: they must be the same."""
        world = await World.create(ledger, provisioning, time_zone=time_zone)
        await _license_all(world)
        bounds = [
            datetime(2018, 7, 1, tzinfo=UTC),
            datetime(2018, 11, 12, tzinfo=UTC),
            datetime(2019, 12, 1, tzinfo=UTC),
            datetime(2019, 12, 1, 5, tzinfo=UTC),
            datetime(2019, 11, 30, 15, tzinfo=UTC),
        ]
        instants = [bound + step for bound in bounds for step in (-DAY, -SECOND, 0 * DAY, DAY)]
        in_force = {at: await _in_force(world, at) for at in instants}

        for at in instants:
            for source in in_force[at]:
                await world.reserve(None, (source,), at=at, seconds=60)

        balances = await ledger.balances(world.tenant_id)
        for at in instants:
            valid = [
                Source(kind=each.kind, benefit_id=each.benefit_id)
                for each in balances
                if _instant(each.valid_from) <= at < _instant(each.valid_to)
            ]
            assert sorted(valid, key=str) == sorted(in_force[at], key=str)
        assert await ledger.check() == ()

    @pytest.mark.parametrize(
        ("sources", "at"),
        [
            (UNLIMITED, datetime(2018, 7, 1, tzinfo=UTC)),
            (NINE_HUNDRED, datetime(2018, 11, 12, tzinfo=UTC) - SECOND),
            (NINE_HUNDRED, datetime(2019, 12, 1, tzinfo=UTC)),
            (POOL, datetime(2019, 12, 1, tzinfo=UTC) - SECOND),
            ((Source(kind=SourceKind.POOL, benefit_id="nothing_of_ours"),), NOON),
        ],
    )
    async def test_a_benefit_that_is_not_in_force_pays_for_nothing(
        self, ledger: Ledger, world: World, sources: tuple[Source, ...], at: datetime
    ) -> None:
        """Policy does not name it; a caller that does has a bug, and must hear of it."""
        await _license_all(world)

        with pytest.raises(asyncpg.NoDataFoundError):
            await world.reserve(None, sources, at=at)
        assert await ledger.balances(world.tenant_id) == ()

    @pytest.mark.parametrize(
        "source",
        [
            Source(kind=SourceKind.POOL, benefit_id="extended_dialout_us_ca"),
            Source(kind=SourceKind.ADDON, benefit_id="standard_pool"),
        ],
    )
    async def test_what_is_one_organizers_is_never_shared(
        self, ledger: Ledger, world: World, source: Source
    ) -> None:
        """A caller that takes one for the other would have everybody use one's minutes."""
        await _license_all(world)

        with pytest.raises(asyncpg.CheckViolationError):
            await world.reserve(None, (source,))
        assert await ledger.balances(world.tenant_id) == ()

    async def test_a_promotion_that_is_prolonged_goes_on(
        self, ledger: Ledger, world: World, owner: Connection
    ) -> None:
        """The next version of the reference data moves an end in mid-month: calls go on."""
        await _license_all(world)
        end, later = datetime(2019, 5, 20, tzinfo=UTC), datetime(2019, 5, 25, tzinfo=UTC)
        prolong = "UPDATE dialout.benefit SET valid_to = $1 WHERE benefit_id = 'complimentary_900'"
        await owner.execute(prolong, end)
        await world.reserve(None, NINE_HUNDRED, at=end - timedelta(hours=1))

        await owner.execute(prolong, later)
        outcome, _ = await world.reserve(None, NINE_HUNDRED, at=end)

        assert outcome is RequestOutcome.RESERVED
        assert (await world.balance(SourceKind.PROMOTION)).valid_to == later
        assert await world.books(SourceKind.PROMOTION) == (900 * 60, 0, 3600, 900 * 60 - 3600)
        assert await ledger.check() == ()


class TestUnlimited:
    """A promotion without a cap is granted what is set aside of it, as it is."""

    async def test_the_books_add_up_without_a_cap(self, ledger: Ledger, world: World) -> None:
        """Granted is used, reserved and free, so that one report serves every source."""
        await _license_all(world)
        _, dial_out = await world.reserve(None, UNLIMITED, at=IN_MAY_2018, gate_uniqueid="a")
        assert await world.books(SourceKind.PROMOTION) == (1800, 0, 1800, 0)

        await world.settle(dial_out.request.key, 600_000)

        assert await world.books(SourceKind.PROMOTION) == (1800, 600, 0, 1200)
        assert (await world.balance(SourceKind.PROMOTION)).capped is False
        assert await ledger.check() == ()

    async def test_what_was_given_back_is_used_before_more_is_granted(
        self, ledger: Ledger, world: World
    ) -> None:
        """Else a month of short calls would look like one of long calls."""
        await _license_all(world)
        _, dial_out = await world.reserve(None, UNLIMITED, at=IN_MAY_2018)
        await world.void(dial_out.request.key)

        await world.reserve(None, UNLIMITED, at=IN_MAY_2018, seconds=600)
        less = await world.books(SourceKind.PROMOTION)
        await world.reserve(None, UNLIMITED, at=IN_MAY_2018, seconds=1800)

        assert less == (1800, 0, 600, 1200)
        assert await world.books(SourceKind.PROMOTION) == (2400, 0, 2400, 0)
        assert await ledger.check() == ()

    async def test_it_never_ends(self, world: World) -> None:
        """Each call gets the longest that a call may last, and no later source is used."""
        await _license_all(world)
        await world.add_credits(1_000_000)

        for _ in range(5):
            _, dial_out = await world.reserve(
                None, (*UNLIMITED, *CREDITS), at=IN_MAY_2018, seconds=86_400
            )
            assert [part.source for part in dial_out.parts] == [SourceKind.PROMOTION]
            assert dial_out.talk_seconds == 86_400


async def test_a_promotion_with_a_cap_is_shared_by_the_tenant(world: World) -> None:
    """Nine hundred minutes for each organizer, in one pot: one may use those of the other."""
    await _license_all(world)
    await world.add_organizer(BOB)
    await world.add_licence(BOB, valid_from=LONG_AGO)

    _, dial_out = await world.reserve(None, NINE_HUNDRED, at=IN_2019, seconds=86_400)

    assert dial_out.talk_seconds == 86_400
    assert await world.books(SourceKind.PROMOTION) == (108_000, 0, 86_400, 21_600)


class TestAddon:
    """Unlimited minutes of one organizer, under a fair-use policy."""

    async def test_each_organizer_has_minutes_of_their_own(
        self, ledger: Ledger, world: World
    ) -> None:
        """Whoever uses theirs up is refused, and the other one is not."""
        await _license_all(world)
        await world.add_organizer(BOB)
        await _license_all(world, BOB)
        await _choose(world, Choices(addon_fair_use_minutes=100))
        await world.reserve(None, ADDON, seconds=6000)

        outcome, refused = await world.reserve(None, ADDON)
        _, bobs = await _reserve_for(world, BOB, ADDON)

        assert (outcome, refused.reason) == (RequestOutcome.REFUSED, Reason.ADDON_EXHAUSTED)
        assert bobs.talk_seconds == 1800
        assert {
            (each.organizer_id, each.granted, each.reserved)
            for each in await ledger.balances(world.tenant_id)
        } == {(ORGANIZER, 6000, 6000), (BOB, 6000, 1800)}
        assert await ledger.check() == ()

    async def test_the_pool_goes_on_where_it_ends(self, world: World) -> None:
        """The add-on does not replace the tenant's minutes."""
        await _license_all(world)
        await _choose(world, Choices(addon_fair_use_minutes=10))

        _, dial_out = await world.reserve(None, (*ADDON, *POOL))

        assert [(part.benefit_id, part.seconds) for part in dial_out.parts] == [
            ("extended_dialout_us_ca", 600),
            ("standard_pool", 1200),
        ]

    async def test_a_month_has_its_own_minutes(self, ledger: Ledger, world: World) -> None:
        """Fair use is counted by the month: what was used in March is no fault in April."""
        await _license_all(world)
        await _choose(world, Choices(addon_fair_use_minutes=30))

        answers = [
            await world.reserve(None, ADDON, at=datetime(2026, month, 15, tzinfo=UTC))
            for month in (3, 3, 4)
        ]

        assert [outcome for outcome, _ in answers] == ["reserved", "refused", "reserved"]
        assert len(await ledger.balances(world.tenant_id)) == 2

    async def test_nothing_is_granted_before_the_licence(self, world: World) -> None:
        """A caller that skips policy gets no minutes; the licence brings them all the same."""
        await world.add_licence()
        _, refused = await world.reserve(None, ADDON)

        await world.add_licence(sku=Sku.EXTENDED_DIALOUT_US_CA)
        outcome, _ = await world.reserve(None, ADDON)

        assert refused.reason is Reason.ADDON_EXHAUSTED
        assert outcome is RequestOutcome.RESERVED
        assert await world.books(SourceKind.ADDON) == (600_000, 0, 1800, 598_200)


class TestPurchased:
    """What was bought brings minutes, whoever holds it, if the tenant chose so."""

    @pytest.fixture
    async def world(self, world: World) -> World:
        """A tenant that counts what it bought, with one organizer who has a licence."""
        await world.add_licence()
        await _choose(world, Choices(pool_basis=PoolBasis.PURCHASED))
        return world

    async def test_each_unit_brings_an_hour(self, ledger: Ledger, world: World) -> None:
        """Units of Audio Conferencing that have started, and no others."""
        await _buy(world, 100)
        await _buy(world, 15)
        await _buy(world, 7, valid_to=MARCH)
        await _buy(world, 5, valid_from=NOON + SECOND)
        await _buy(world, 3, sku=Sku.COMMUNICATIONS_CREDITS)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 115 * HOUR
        assert await ledger.check() == ()

    async def test_without_a_purchase_nothing_is_granted(self, world: World) -> None:
        """Licences that organizers hold bring nothing then."""
        outcome, dial_out = await world.reserve(None, POOL)

        assert (outcome, dial_out.reason) == (RequestOutcome.REFUSED, Reason.POOL_EXHAUSTED)

    async def test_a_renewal_brings_nothing_twice(self, world: World) -> None:
        """Ten units that end and ten that follow are ten at any instant of the month."""
        renewal = MARCH + 5 * DAY
        await _buy(world, 10, valid_to=renewal)
        await _buy(world, 12, valid_from=renewal)

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == 12 * HOUR

    async def test_units_that_start_later_bring_their_hours_then(
        self, ledger: Ledger, world: World
    ) -> None:
        """They were bought before; the first call after their start finds them."""
        start = NOON + 5 * DAY
        await _buy(world, 1)
        await world.reserve(None, POOL)
        await _buy(world, 2, valid_from=start)

        await world.reserve(None, POOL, at=start - SECOND)
        before = await world.balance(SourceKind.POOL)
        await world.reserve(None, POOL, at=start)

        assert before.granted == HOUR
        assert (await world.balance(SourceKind.POOL)).granted == 3 * HOUR
        assert await ledger.check() == ()

    async def test_a_purchase_reaches_an_open_pool_at_once(self, world: World) -> None:
        """Somebody who buys because the minutes are used up need not wait."""
        await _buy(world, 1)
        await world.reserve(None, POOL)

        await _buy(world, 1)

        assert (await world.balance(SourceKind.POOL)).granted == 2 * HOUR


class TestChoices:
    """A tenant changes what its minutes are counted by."""

    async def test_another_basis_reaches_the_open_pool(self, ledger: Ledger, world: World) -> None:
        """More is there at once; what a month was granted is never taken back."""
        await world.add_licence()
        await _buy(world, 5)
        await world.reserve(None, POOL)
        assigned = await world.balance(SourceKind.POOL)

        await _choose(world, Choices(pool_basis=PoolBasis.PURCHASED))
        purchased = await world.balance(SourceKind.POOL)
        await _choose(world, Choices(pool_basis=PoolBasis.ASSIGNED))
        await world.reserve(None, POOL)

        assert (assigned.granted, purchased.granted) == (HOUR, 5 * HOUR)
        assert await world.books(SourceKind.POOL) == (5 * HOUR, 0, HOUR, 4 * HOUR)
        assert await ledger.check() == ()

    async def test_more_fair_use_reaches_the_next_call(self, ledger: Ledger, world: World) -> None:
        """An organizer who was stopped for fair use is let on by the tenant."""
        await _license_all(world)
        await _choose(world, Choices(addon_fair_use_minutes=30))
        await world.reserve(None, ADDON)
        _, refused = await world.reserve(None, ADDON)

        await _choose(world, Choices(addon_fair_use_minutes=90))
        outcome, _ = await world.reserve(None, ADDON)

        assert refused.reason is Reason.ADDON_EXHAUSTED
        assert outcome is RequestOutcome.RESERVED
        assert await world.books(SourceKind.ADDON) == (5400, 0, 3600, 1800)
        assert await ledger.check() == ()

    async def test_less_fair_use_takes_nothing_back(self, ledger: Ledger, world: World) -> None:
        """What is set aside for running calls must stay covered."""
        await _license_all(world)
        await world.reserve(None, ADDON)

        await _choose(world, Choices(addon_fair_use_minutes=1))
        outcome, _ = await world.reserve(None, ADDON)

        assert outcome is RequestOutcome.RESERVED
        assert (await world.balance(SourceKind.ADDON)).granted == 600_000
        assert await ledger.check() == ()


class TestCount:
    """Minutes are counted when something can have changed, and at no other time."""

    async def test_many_licences_are_counted_once(self, world: World, owner: Connection) -> None:
        """A count is as long as the tenant has licences: an import must not make one for each."""
        await world.add_licence()
        await world.reserve(None, POOL)
        names = [OrganizerId(f"organizer{number}") for number in range(5)]
        for name in names:
            await world.add_organizer(name)

        async with world.provisioning.change(actor=ACTOR) as change:
            for name in names:
                outcome = await change.licence_assign(
                    world.tenant_id,
                    name,
                    Sku.AUDIO_CONFERENCING,
                    valid_from=YEAR_BEFORE,
                    valid_to=None,
                    channel=Channel.CSP,
                    segment=Segment.COMMERCIAL,
                    at=NOON,
                )
                assert outcome is LicenceOutcome.ASSIGNED

        grants = await owner.fetch(
            "SELECT granted_delta FROM dialout.entry WHERE kind = 'grant' ORDER BY number"
        )
        assert [grant["granted_delta"] for grant in grants] == [HOUR, 5 * HOUR]

    async def test_whoever_assigns_a_licence_needs_no_right_to_count(
        self, world: World, owner: Connection
    ) -> None:
        """The count is made when the transaction commits, with no function's rights around it."""
        await world.add_licence()
        await world.reserve(None, POOL)
        await world.add_organizer(BOB)

        await owner.execute("SET ROLE dialout_provisioner")
        await owner.fetchval(
            """
            SELECT dialout.licence_assign(
                $1, $2, 'audio_conferencing', $3, null, 'csp', 'commercial', null, null, $4
            )
            """,
            *(world.tenant_id, BOB, YEAR_BEFORE, NOON),
        )

        assert (await world.balance(SourceKind.POOL)).granted == 2 * HOUR

    async def test_a_call_counts_nothing_that_cannot_have_changed(
        self, world: World, owner: Connection
    ) -> None:
        """It is on the path of the call: a licence that nobody announced is not looked for."""
        await world.add_licence()
        await world.reserve(None, POOL)
        await world.add_organizer(BOB)
        await owner.execute(
            """
            INSERT INTO dialout.licence (tenant_id, organizer_id, sku, valid_from, valid_to)
            VALUES ($1, $2, 'audio_conferencing', $3, 'infinity')
            """,
            *(world.tenant_id, BOB, YEAR_BEFORE),
        )

        await world.reserve(None, POOL)

        assert (await world.balance(SourceKind.POOL)).granted == HOUR

    async def test_a_source_is_counted_once_all_are_locked(
        self, ledger: Ledger, world: World, owner: Connection
    ) -> None:
        """A call that counts must not hold the pool while it waits for the credits.

        Somebody who settles locks the older credits first and then the pool: each would wait
        for the other.
        """
        start = NOON + DAY
        await world.add_credits(1_000_000)
        await world.add_licence()
        await world.add_organizer(BOB)
        await world.add_licence(BOB, valid_from=start)
        await world.reserve()
        lock = "SELECT FROM dialout.source WHERE kind = $1 FOR NO KEY UPDATE NOWAIT"

        async with owner.transaction():
            await owner.execute(lock.replace("$1", "'credits'"))
            call = asyncio.ensure_future(world.reserve(at=start))
            await until_somebody_waits(owner)
            await owner.execute(lock.replace("$1", "'pool'"))
        outcome, _ = await call

        assert outcome is RequestOutcome.RESERVED
        assert (await world.balance(SourceKind.POOL)).granted == 2 * HOUR
        assert await ledger.check() == ()


class TestExhaustion:
    """What becomes of a call whose funds end before the longest that a call may last."""

    @pytest.mark.parametrize(
        ("on_exhaustion", "limit_seconds"),
        [(Exhaustion.DISCONNECT, HOUR), (Exhaustion.FINISH, 5000)],
    )
    async def test_the_limit_is_the_tenants_choice(
        self, ledger: Ledger, world: World, on_exhaustion: Exhaustion, limit_seconds: int
    ) -> None:
        """The gate is told how long the call may last, not how long it is paid for."""
        await world.add_licence()
        await _choose(world, Choices(on_exhaustion=on_exhaustion))

        _, dial_out = await world.reserve(None, POOL, seconds=5000)
        claim = await ledger.claim(dial_out.request.key, "a-gate", NOON)

        assert (dial_out.talk_seconds, dial_out.limit_seconds) == (HOUR, limit_seconds)
        assert isinstance(claim, Claim)
        assert claim.limit_seconds == limit_seconds

    async def test_what_finishes_unpaid_is_not_billed(self, ledger: Ledger, world: World) -> None:
        """The tenant lets calls finish; its books stay within what was set aside."""
        await world.add_licence()
        await _choose(world, Choices(on_exhaustion=Exhaustion.FINISH))
        _, dial_out = await world.reserve(None, POOL, seconds=5000, gate_uniqueid="a")

        _, ended = await world.settle(dial_out.request.key, 4_900_000)

        assert ended is not None
        assert (ended.billable_seconds, ended.overrun_seconds) == (HOUR, 1300)
        assert await world.books(SourceKind.POOL) == (HOUR, HOUR, 0, 0)
        assert await ledger.check() == ()


class TestStanding:
    """What each source had when it was asked is kept with the call."""

    async def test_each_source_that_was_asked_is_on_record(
        self, ledger: Ledger, world: World
    ) -> None:
        """In the order of asking, from before this call, with what each one gives to it."""
        await world.add_licence()
        await world.add_credits(1_000_000)
        await world.reserve(None, POOL, seconds=3000)

        _, dial_out = await world.reserve(seconds=660)
        await world.void(dial_out.request.key)

        kept = await ledger.dial_out(dial_out.request.key)
        assert kept is not None
        pool, credit = kept.sources
        assert (pool.kind, pool.benefit_id, pool.unit) == ("pool", "standard_pool", "seconds")
        assert (pool.granted, pool.used, pool.reserved, pool.free) == (3600, 0, 3000, 600)
        assert (pool.seconds, pool.micros) == (600, 0)
        assert (credit.kind, credit.benefit_id, credit.currency) == ("credits", None, "EUR")
        assert (credit.granted, credit.reserved, credit.free) == (1_000_000, 0, 1_000_000)
        assert (credit.seconds, credit.micros) == (60, 17_000)

    async def test_a_source_that_is_not_needed_gives_nothing(self, world: World) -> None:
        """It was asked all the same: an explanation lists it."""
        await _license_all(world)

        _, dial_out = await world.reserve(None, (*ADDON, *POOL))

        assert [each.seconds for each in dial_out.sources] == [1800, 0]

    async def test_a_refusal_says_what_there_was(self, ledger: Ledger, world: World) -> None:
        """Somebody who is refused asks why: there is less than a minute left."""
        await world.add_licence()
        await world.add_credits(16_999)
        await world.reserve(None, POOL, seconds=3570)

        outcome, refused = await world.reserve()

        assert outcome is RequestOutcome.REFUSED
        assert [each.free for each in refused.sources] == [30, 16_999]
        assert await ledger.dial_out(refused.request.key) == refused

    async def test_credits_that_were_never_set_up_are_no_source(self, world: World) -> None:
        """There is nothing to show of them."""
        await world.add_licence()

        _, dial_out = await world.reserve(None, POOL_THEN_CREDITS)

        assert [each.kind for each in dial_out.sources] == [SourceKind.POOL]


@pytest.mark.parametrize(
    ("finding", "tampering"),
    [
        (
            "source_not_valid",
            "UPDATE dialout.part SET from_at = '2018-07-01' WHERE at < '2018-07-01'",
        ),
        ("source_not_valid", "UPDATE dialout.source SET valid_from = $1 WHERE kind = 'addon'"),
        (
            "source_differs",
            "UPDATE dialout.source SET organizer_id = 'else' WHERE kind = 'addon'",
        ),
    ],
)
async def test_tampering_is_found(
    ledger: Ledger, world: World, owner: Connection, finding: str, tampering: str
) -> None:
    """Nothing in the tables forbids it; the check tells."""
    await _license_all(world)
    await world.reserve(None, UNLIMITED, at=IN_MAY_2018)
    await world.reserve(None, ADDON)
    assert await ledger.check() == ()
    await owner.execute("SET session_replication_role = replica")

    await owner.execute(tampering.replace("$1", "'2026-03-10 12:00:01+00'"))

    assert {each.check for each in await ledger.check()} == {finding}


async def _license_all(world: World, organizer_id: OrganizerId = ORGANIZER) -> None:
    """Give an organizer Audio Conferencing and the add-on, for all time that matters."""
    for sku in (Sku.AUDIO_CONFERENCING, Sku.EXTENDED_DIALOUT_US_CA):
        await world.add_licence(organizer_id, sku=sku, valid_from=LONG_AGO)


async def _choose(world: World, choices: Choices) -> None:
    async with world.provisioning.change(actor=ACTOR) as change:
        outcome = await change.policy_put(world.tenant_id, choices, NOON)
    assert outcome in (PolicyOutcome.CHANGED, PolicyOutcome.UNCHANGED)


async def _buy(
    world: World,
    quantity: int,
    *,
    sku: Sku = Sku.AUDIO_CONFERENCING,
    valid_from: datetime = YEAR_BEFORE,
    valid_to: datetime | None = None,
) -> None:
    async with world.provisioning.change(actor=ACTOR) as change:
        outcome = await change.purchase_add(
            world.tenant_id,
            uuid4(),
            sku,
            quantity=quantity,
            channel=Channel.CSP,
            segment=Segment.COMMERCIAL,
            valid_from=valid_from,
            valid_to=valid_to,
            at=NOON,
        )
    assert outcome is PurchaseOutcome.ADDED


async def _reserve_for(
    world: World, organizer_id: OrganizerId, sources: tuple[Source, ...]
) -> tuple[RequestOutcome, DialOut]:
    return await world.reserve(replace(world.request(), organizer_id=organizer_id), sources)


async def _in_force(world: World, at: datetime) -> list[Source]:
    """Return what policy would have to name at an instant."""
    answer = await world.ledger.organizer_facts(world.request(), at)
    assert answer.tenant is not None
    return [
        Source(kind=benefit.kind, benefit_id=benefit.benefit_id)
        for benefit in answer.tenant.benefits
    ]


def _instant(bound: datetime | None) -> datetime:
    assert bound is not None, "what a benefit gives has a month"
    return bound
