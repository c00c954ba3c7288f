"""Licences and purchases: what is sold where, to whom, and what an add-on needs."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.choices import Choices, PoolBasis
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku, SourceKind
from gateway.db import Connection
from gateway.ledger import Ledger
from gateway.ledger.provisioning import Change, LicenceKey, Provisioning
from gateway.ledger.provisioning_answers import (
    Channel,
    Licence,
    LicenceEndOutcome,
    LicenceOutcome,
    OrganizerOutcome,
    PolicyOutcome,
    Purchase,
    PurchaseOutcome,
    Segment,
)
from tests.ledger.world import (
    ACTOR,
    NOON,
    ORGANIZER,
    POOL,
    YEAR_BEFORE,
    World,
    until_somebody_waits,
)

AC = Sku.AUDIO_CONFERENCING
PPM = Sku.AUDIO_CONFERENCING_PPM
ADDON = Sku.EXTENDED_DIALOUT_US_CA
CREDITS = Sku.COMMUNICATIONS_CREDITS
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC)
NOT_SO_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A licence as somebody asks for it."""

    sku: Sku = AC
    valid_from: datetime = JANUARY
    valid_to: datetime | None = None
    organizer: OrganizerId = ORGANIZER
    channel: Channel = Channel.CSP
    segment: Segment = Segment.COMMERCIAL
    because: str | None = None


async def assign(world: World, order: Order) -> LicenceOutcome:
    """Ask for a licence, in a change of its own."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await request(change, world, order)


async def request(change: Change, world: World, order: Order) -> LicenceOutcome:
    """Ask for a licence."""
    return await change.licence_assign(
        world.tenant_id,
        order.organizer,
        order.sku,
        valid_from=order.valid_from,
        valid_to=order.valid_to,
        channel=order.channel,
        segment=order.segment,
        at=NOON,
        forced_because=order.because,
    )


async def end(
    world: World, order: Order, valid_to: datetime | None, *, because: str | None = None
) -> LicenceEndOutcome:
    """Ask for another end of a licence, in a change of its own."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await change.licence_end(
            world.tenant_id,
            order.organizer,
            order.sku,
            valid_from=order.valid_from,
            valid_to=valid_to,
            at=NOON,
            forced_because=because,
        )


async def move(world: World, region: str, *, name: str = "Ann") -> OrganizerOutcome:
    """Ask for another country of the organizer, in a change of its own."""
    async with world.provisioning.change(actor=ACTOR) as change:
        return await put(change, world, region, name=name)


async def put(change: Change, world: World, region: str, *, name: str = "Ann") -> OrganizerOutcome:
    """Ask for another country of the organizer."""
    return await change.organizer_put(
        world.tenant_id,
        ORGANIZER,
        display_name=name,
        region=Region(region),
        permission=DialOutPermission.ANY,
    )


async def choose(world: World, choices: Choices) -> None:
    """Make these the tenant's choices."""
    async with world.provisioning.change(actor=ACTOR) as change:
        outcome = await change.policy_put(world.tenant_id, choices, NOON)
    assert outcome is PolicyOutcome.CHANGED


async def test_a_licence_is_assigned_once(world: World) -> None:
    """A retry brings no second hour, and a known licence is not changed by repeating it."""
    order = Order(valid_to=JULY)
    outcomes = [
        await assign(world, each)
        for each in (
            order,
            order,
            replace(order, valid_to=None),
            replace(order, channel=Channel.EA),
            replace(order, segment=Segment.NONPROFIT),
            replace(order, organizer=OrganizerId("stranger")),
        )
    ]

    assert outcomes == [
        LicenceOutcome.ASSIGNED,
        LicenceOutcome.EXISTS,
        *[LicenceOutcome.EXISTS_WITH_DIFFERENT_TERMS] * 3,
        LicenceOutcome.UNKNOWN_ORGANIZER,
    ]
    assert await world.provisioning.licences(world.tenant_id) == (
        Licence(
            tenant_id=world.tenant_id,
            organizer_id=ORGANIZER,
            sku=AC,
            valid_from=JANUARY,
            valid_to=JULY,
            channel=Channel.CSP,
            segment=Segment.COMMERCIAL,
            forced_by=None,
            forced_because=None,
        ),
    )


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "outcome"),
    [
        (JANUARY, APRIL, LicenceOutcome.ASSIGNED),
        (JULY, None, LicenceOutcome.ASSIGNED),
        (JANUARY, APRIL + MICROSECOND, LicenceOutcome.OVERLAPS),
        (JULY - MICROSECOND, OCTOBER, LicenceOutcome.OVERLAPS),
        (JANUARY, None, LicenceOutcome.OVERLAPS),
        (APRIL + timedelta(days=1), APRIL + timedelta(days=2), LicenceOutcome.OVERLAPS),
        (OCTOBER, OCTOBER, LicenceOutcome.ENDS_BEFORE_IT_STARTS),
        (OCTOBER, JULY, LicenceOutcome.ENDS_BEFORE_IT_STARTS),
    ],
)
async def test_nobody_holds_the_same_licence_twice_at_an_instant(
    world: World, valid_from: datetime, valid_to: datetime | None, outcome: LicenceOutcome
) -> None:
    """Periods may touch and not overlap: else which of two did a call rest on?"""
    assert await assign(world, Order(valid_from=APRIL, valid_to=JULY)) is LicenceOutcome.ASSIGNED

    assert await assign(world, Order(valid_from=valid_from, valid_to=valid_to)) is outcome


@pytest.mark.parametrize(
    ("region", "edition", "sold"),
    [
        ("GB", "2018-04-03", {AC, PPM, ADDON, CREDITS}),
        ("CN", "2018-04-03", set()),
        ("CN", "2022-09-22", set()),
        ("RU", "2018-04-03", {AC, PPM, ADDON}),
        ("HK", "2018-04-03", set()),
        ("HK", "2019-04-09", {AC, PPM, ADDON, CREDITS}),
        ("BH", "2018-04-03", {CREDITS}),
        ("BH", "2019-04-09", {AC, PPM, ADDON}),
        ("JM", "2018-04-03", set()),
        ("JM", "2022-09-22", {PPM, ADDON, CREDITS}),
        ("AF", "2022-09-22", set()),
    ],
)
async def test_what_is_sold_depends_on_the_country_and_the_edition(
    world: World, region: str, edition: str, sold: set[Sku]
) -> None:
    """Of the organizer's country alone; what the edition does not know is not sold there."""
    organizer = OrganizerId("local")
    await world.add_organizer(organizer, region=region)
    if edition != "2018-04-03":
        await choose(world, Choices(availability_version=date.fromisoformat(edition)))

    outcomes = {
        sku: await assign(world, Order(sku=sku, organizer=organizer))
        for sku in (AC, PPM, ADDON, CREDITS)
    }

    refused = {sku for sku, outcome in outcomes.items() if outcome is LicenceOutcome.NOT_SOLD}
    assert refused == set(Sku) - sold
    assert all(outcomes[sku] is LicenceOutcome.ASSIGNED for sku in sold)


@pytest.mark.parametrize(
    ("held", "outcome"),
    [
        ([], LicenceOutcome.PREREQUISITE_MISSING),
        ([(CREDITS, JANUARY, None)], LicenceOutcome.PREREQUISITE_MISSING),
        ([(AC, JANUARY, None)], LicenceOutcome.ASSIGNED),
        ([(PPM, JANUARY, None)], LicenceOutcome.ASSIGNED),
        ([(AC, APRIL, OCTOBER)], LicenceOutcome.ASSIGNED),
        ([(AC, JANUARY, JULY), (PPM, JULY, None)], LicenceOutcome.ASSIGNED),
        ([(AC, JANUARY, JULY), (PPM, APRIL, None)], LicenceOutcome.ASSIGNED),
        ([(AC, APRIL + MICROSECOND, None)], LicenceOutcome.PREREQUISITE_MISSING),
        ([(AC, JANUARY, OCTOBER - MICROSECOND)], LicenceOutcome.PREREQUISITE_MISSING),
        (
            [(AC, JANUARY, JULY), (PPM, JULY + MICROSECOND, None)],
            LicenceOutcome.PREREQUISITE_MISSING,
        ),
    ],
)
async def test_the_addon_needs_audio_conferencing_at_every_instant(
    world: World,
    held: list[tuple[Sku, datetime, datetime | None]],
    outcome: LicenceOutcome,
) -> None:
    """Of either kind, one after the other or both; a gap of a microsecond is one."""
    for sku, valid_from, valid_to in held:
        order = Order(sku=sku, valid_from=valid_from, valid_to=valid_to)
        assert await assign(world, order) is LicenceOutcome.ASSIGNED

    addon = Order(sku=ADDON, valid_from=APRIL, valid_to=OCTOBER)
    assert await assign(world, addon) is outcome


async def test_another_organizers_licence_is_no_prerequisite(world: World) -> None:
    """The add-on is one organizer's own, and so is what it rests on."""
    await world.add_organizer(OrganizerId("bob"))
    await assign(world, Order(organizer=OrganizerId("bob")))

    assert await assign(world, Order(sku=ADDON)) is LicenceOutcome.PREREQUISITE_MISSING


async def test_what_is_forced_says_who_and_why(world: World) -> None:
    """Somebody must be able to sell what the data does not know yet, and answer for it."""
    await world.add_organizer(OrganizerId("li"), region="CN")
    addon = Order(sku=ADDON, organizer=OrganizerId("li"), because="contract 77")

    refused = await assign(world, replace(addon, because=None))
    forced = await assign(world, addon)
    again = await assign(world, addon)
    twice = await assign(world, replace(addon, valid_from=APRIL))

    assert [refused, forced, again, twice] == [
        LicenceOutcome.NOT_SOLD,
        LicenceOutcome.ASSIGNED,
        LicenceOutcome.EXISTS,
        LicenceOutcome.OVERLAPS,
    ]
    [licence] = await world.provisioning.licences(world.tenant_id)
    assert (licence.forced_by, licence.forced_because) == (ACTOR, "contract 77")


@pytest.mark.parametrize("segment", sorted(set(Segment) - {Segment.EDUCATION}))
async def test_the_enrolment_for_education_is_for_education(world: World, segment: Segment) -> None:
    """No reason opens it: the subscription cannot have been bought so."""
    order = Order(channel=Channel.EES, segment=segment, because="asked twice")
    schools = replace(order, segment=Segment.EDUCATION, because=None)

    outcomes = [await assign(world, each) for each in (order, schools)]

    assert outcomes == [LicenceOutcome.CHANNEL_SEGMENT_MISMATCH, LicenceOutcome.ASSIGNED]


async def test_a_licence_ends_earlier_or_later(world: World) -> None:
    """From its new last instant on it counts no more, or longer; repeated, nothing changes."""
    order = Order(valid_to=JULY)
    await assign(world, order)
    await assign(world, replace(order, valid_from=OCTOBER, valid_to=None))

    outcomes = [
        await end(world, order, valid_to)
        for valid_to in (
            *(APRIL, APRIL, OCTOBER, OCTOBER + MICROSECOND, None),
            *(JANUARY, JANUARY - MICROSECOND, JULY),
        )
    ]
    unknown = [
        await end(world, each, APRIL)
        for each in (replace(order, sku=PPM), replace(order, valid_from=APRIL))
    ]

    assert outcomes == [
        LicenceEndOutcome.CHANGED,
        LicenceEndOutcome.UNCHANGED,
        LicenceEndOutcome.CHANGED,
        LicenceEndOutcome.OVERLAPS,
        LicenceEndOutcome.OVERLAPS,
        LicenceEndOutcome.ENDS_BEFORE_IT_STARTS,
        LicenceEndOutcome.ENDS_BEFORE_IT_STARTS,
        LicenceEndOutcome.CHANGED,
    ]
    assert unknown == [LicenceEndOutcome.UNKNOWN_LICENCE] * 2
    assert [each.valid_to for each in await world.provisioning.licences(world.tenant_id)] == [
        JULY,
        None,
    ]


async def test_what_is_made_longer_must_be_allowed_as_a_new_one(world: World) -> None:
    """Else a day of the add-on, made longer, would be an add-on without its prerequisite."""
    assert await move(world, "UA") is OrganizerOutcome.UPDATED
    await assign(world, Order(valid_to=JULY))
    addon = Order(sku=ADDON, valid_to=APRIL)
    await assign(world, addon)
    await assign(world, replace(addon, sku=CREDITS))

    longer = [await end(world, addon, to) for to in (JULY, JULY + MICROSECOND)]
    forced = await end(world, addon, None, because="renewal is on its way")
    shorter = await end(world, addon, OCTOBER)
    await choose(world, Choices(availability_version=date(2022, 9, 22)))
    gone = await end(world, replace(addon, sku=CREDITS), None)
    earlier = await end(world, replace(addon, sku=CREDITS), NOON)

    assert longer == [LicenceEndOutcome.CHANGED, LicenceEndOutcome.PREREQUISITE_MISSING]
    assert (forced, shorter) == (LicenceEndOutcome.CHANGED, LicenceEndOutcome.CHANGED)
    assert (gone, earlier) == (LicenceEndOutcome.NOT_SOLD, LicenceEndOutcome.CHANGED)
    [found] = [
        each
        for each in await world.provisioning.licences(world.tenant_id, organizer_id=ORGANIZER)
        if each.sku is ADDON
    ]
    assert (found.forced_by, found.forced_because) == (ACTOR, "renewal is on its way")


@pytest.mark.parametrize(
    ("region", "held", "outcome"),
    [
        ("RU", [Order()], OrganizerOutcome.UPDATED),
        ("RU", [Order(), Order(sku=CREDITS)], OrganizerOutcome.LICENCE_NOT_SOLD),
        ("ZW", [], OrganizerOutcome.UPDATED),
        ("ZW", [Order()], OrganizerOutcome.LICENCE_NOT_SOLD),
        ("ZW", [Order(valid_from=LONG_AFTER)], OrganizerOutcome.LICENCE_NOT_SOLD),
        ("ZW", [Order(valid_from=LONG_AGO, valid_to=NOT_SO_LONG_AGO)], OrganizerOutcome.UPDATED),
        ("ZW", [Order(because="contract 77")], OrganizerOutcome.UPDATED),
        (
            "ZW",
            [Order(because="contract 77"), Order(sku=CREDITS)],
            OrganizerOutcome.LICENCE_NOT_SOLD,
        ),
    ],
)
async def test_nobody_moves_to_where_a_licence_is_not_sold(
    world: World, region: str, held: list[Order], outcome: OrganizerOutcome
) -> None:
    """Else it is assigned first and moved then; what was forced, somebody answers for already."""
    for order in held:
        assert await assign(world, order) is LicenceOutcome.ASSIGNED
    [before] = await world.provisioning.organizers(world.tenant_id)

    assert await move(world, region) is outcome

    [after] = await world.provisioning.organizers(world.tenant_id)
    assert (after == before) is (outcome is OrganizerOutcome.LICENCE_NOT_SOLD)


async def test_another_organizers_licence_holds_nobody_back(world: World) -> None:
    """A licence is one organizer's own, of one tenant."""
    await world.add_organizer(OrganizerId("bob"))
    await assign(world, Order(organizer=OrganizerId("bob")))
    await assign(await world.elsewhere(), Order())

    assert await move(world, "ZW") is OrganizerOutcome.UPDATED


async def test_a_move_goes_by_the_edition_that_the_tenant_chose(world: World) -> None:
    """The same one that an assignment goes by; who stays is not asked again."""
    await assign(world, Order(sku=PPM))
    old = await move(world, "JM")
    await choose(world, Choices(availability_version=date(2022, 9, 22)))
    new = await move(world, "JM")
    await choose(world, Choices())
    stays = await move(world, "JM", name="Ann Lee")

    assert (old, new, stays) == (
        OrganizerOutcome.LICENCE_NOT_SOLD,
        OrganizerOutcome.UPDATED,
        OrganizerOutcome.UPDATED,
    )


async def test_a_move_waits_for_a_licence_that_is_being_assigned(
    world: World, owner: Connection
) -> None:
    """Each of the two is allowed alone: the later one must see the earlier one."""
    async with world.provisioning.change(actor=ACTOR) as change:
        assigned = await request(change, world, Order())
        moving = asyncio.ensure_future(move(world, "ZW"))
        await until_somebody_waits(owner)

    assert assigned is LicenceOutcome.ASSIGNED
    assert await moving is OrganizerOutcome.LICENCE_NOT_SOLD


async def test_a_licence_waits_for_an_organizer_who_is_being_moved(
    world: World, owner: Connection
) -> None:
    """The same race, the other way round."""
    async with world.provisioning.change(actor=ACTOR) as change:
        moved = await put(change, world, "ZW")
        assigning = asyncio.ensure_future(assign(world, Order()))
        await until_somebody_waits(owner)

    assert moved is OrganizerOutcome.UPDATED
    assert await assigning is LicenceOutcome.NOT_SOLD


async def test_audio_conferencing_does_not_end_below_an_addon(world: World) -> None:
    """Until the add-on has ended, or another licence carries it on; a reason forces it."""
    base = Order(valid_to=None)
    addon = Order(sku=ADDON, valid_from=APRIL, valid_to=JULY)
    await assign(world, base)
    await assign(world, addon)

    needed = [await end(world, base, to) for to in (APRIL, JULY - MICROSECOND)]
    after = await end(world, base, JULY)
    await assign(world, Order(sku=PPM, valid_from=APRIL + timedelta(days=30)))
    carried = await end(world, base, APRIL + timedelta(days=30))
    gap = await end(world, base, APRIL + timedelta(days=30) - MICROSECOND)
    forced = await end(world, base, APRIL, because="fraud")

    assert needed == [LicenceEndOutcome.NEEDED_BY_ADDON] * 2
    assert (after, carried, gap, forced) == (
        LicenceEndOutcome.CHANGED,
        LicenceEndOutcome.CHANGED,
        LicenceEndOutcome.NEEDED_BY_ADDON,
        LicenceEndOutcome.CHANGED,
    )
    assert await end(world, addon, APRIL + MICROSECOND) is LicenceEndOutcome.CHANGED


async def test_minutes_are_not_taken_back(ledger: Ledger, world: World) -> None:
    """A licence that ends in mid-month leaves its hour: it may be used already."""
    await assign(world, Order())
    await world.reserve(None, POOL)

    await end(world, Order(), NOON)

    assert (await world.books(SourceKind.POOL))[0] == 3600
    assert await ledger.check() == ()


async def test_many_licences_are_counted_once(ledger: Ledger, world: World) -> None:
    """A list of them in one change brings each its hour, when the change is made."""
    await assign(world, Order())
    await world.reserve(None, POOL)
    names = [OrganizerId(f"organizer-{number}") for number in range(20)]
    for name in names:
        await world.add_organizer(name)

    async with world.provisioning.change(actor=ACTOR) as change:
        for name in names:
            await change.licence_assign(
                world.tenant_id,
                name,
                AC,
                valid_from=JANUARY,
                valid_to=None,
                channel=Channel.CSP,
                segment=Segment.COMMERCIAL,
                at=NOON,
            )

    assert (await world.books(SourceKind.POOL))[0] == 21 * 3600
    assert await ledger.check() == ()


async def test_licences_are_listed_in_pages(world: World) -> None:
    """Each of them once, whatever the pages' length; of one organizer, if one is named."""
    for name in ("a", "b"):
        await world.add_organizer(OrganizerId(name))
        await assign(world, Order(organizer=OrganizerId(name), valid_to=APRIL))
        await assign(world, Order(organizer=OrganizerId(name), valid_from=APRIL))
        await assign(world, Order(organizer=OrganizerId(name), sku=PPM))
    listing = world.provisioning.licences

    everything = await listing(world.tenant_id)
    paged: list[Licence] = []
    after = None
    while page := await listing(world.tenant_id, after=after, limit=2):
        paged.extend(page)
        after = LicenceKey(
            organizer_id=page[-1].organizer_id, sku=page[-1].sku, valid_from=page[-1].valid_from
        )

    assert len(everything) == 6
    assert tuple(paged) == everything
    assert await listing(world.tenant_id, organizer_id=OrganizerId("b")) == everything[3:]
    assert await listing(uuid4()) == ()


async def test_a_purchase_is_recorded_once(provisioning: Provisioning, world: World) -> None:
    """The seller's id is the key; EES is for education here, too."""
    sold = Purchase(
        tenant_id=world.tenant_id,
        purchase_id=uuid4(),
        sku=AC,
        quantity=25,
        channel=Channel.EA,
        segment=Segment.COMMERCIAL,
        valid_from=JANUARY,
        valid_to=None,
    )
    new = replace(sold, purchase_id=uuid4())

    outcomes = [
        await _buy(provisioning, purchase)
        for purchase in (
            sold,
            sold,
            replace(sold, quantity=26),
            replace(sold, valid_to=JULY),
            replace(new, tenant_id=uuid4()),
            replace(new, valid_to=JANUARY),
            replace(new, channel=Channel.EES),
        )
    ]

    assert outcomes == [
        PurchaseOutcome.ADDED,
        PurchaseOutcome.EXISTS,
        PurchaseOutcome.EXISTS_WITH_DIFFERENT_TERMS,
        PurchaseOutcome.EXISTS_WITH_DIFFERENT_TERMS,
        PurchaseOutcome.UNKNOWN_TENANT,
        PurchaseOutcome.ENDS_BEFORE_IT_STARTS,
        PurchaseOutcome.CHANNEL_SEGMENT_MISMATCH,
    ]
    assert await provisioning.purchases(world.tenant_id) == (sold,)


async def _buy(provisioning: Provisioning, purchase: Purchase) -> PurchaseOutcome:
    async with provisioning.change(actor=ACTOR) as change:
        return await change.purchase_add(
            purchase.tenant_id,
            purchase.purchase_id,
            purchase.sku,
            quantity=purchase.quantity,
            channel=purchase.channel,
            segment=purchase.segment,
            valid_from=purchase.valid_from,
            valid_to=purchase.valid_to,
            at=NOON,
        )


async def test_purchases_bring_minutes_where_the_tenant_chose_so(
    ledger: Ledger, world: World
) -> None:
    """At once into a pool that is open, and so does the choice itself."""
    await assign(world, Order())
    await world.reserve(None, POOL)
    bought = Purchase(
        tenant_id=world.tenant_id,
        purchase_id=uuid4(),
        sku=AC,
        quantity=10,
        channel=Channel.EA,
        segment=Segment.COMMERCIAL,
        valid_from=YEAR_BEFORE,
        valid_to=None,
    )

    granted = []
    await _buy(world.provisioning, bought)
    granted.append((await world.books(SourceKind.POOL))[0])
    await choose(world, Choices(pool_basis=PoolBasis.PURCHASED))
    granted.append((await world.books(SourceKind.POOL))[0])
    await _buy(world.provisioning, replace(bought, purchase_id=uuid4(), quantity=5))
    granted.append((await world.books(SourceKind.POOL))[0])

    assert granted == [3600, 36_000, 54_000]
    assert await ledger.check() == ()


async def test_a_licence_that_nobody_sold_is_an_error(owner: Connection, world: World) -> None:
    """Only what was assigned before this was recorded has no channel."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await owner.execute(
            """
            SELECT dialout.licence_assign(
                $1, $2, 'audio_conferencing', $3, null, null, 'commercial', null, null, $3
            )
            """,
            *(world.tenant_id, ORGANIZER, NOON),
        )
