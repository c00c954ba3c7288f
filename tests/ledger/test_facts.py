"""What policy is told of tenants, organizers, meetings and destinations."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from gateway.core.choices import Choices, MeetingPermission, Opening
from gateway.core.dial_out import DialOutRequest
from gateway.core.e164 import E164, Region
from gateway.core.facts import (
    Blocks,
    DialOutPermission,
    OrganizerFacts,
    OrganizerId,
    Sku,
    TenantFacts,
)
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros
from gateway.db import Connection
from gateway.ledger import (
    Ledger,
    MeetingPermissions,
    OrganizerAnswer,
    PolicyOutcome,
    PrefixEffect,
    TriedDeck,
)
from tests.ledger.world import ACTOR, LONDON, LONDON_ROW, NOON, ORGANIZER, YEAR_BEFORE, World


def asked_by(world: World, initiator_id: str | None) -> DialOutRequest:
    """Return a request of somebody in the organizer's meeting."""
    return replace(world.request(), initiator_id=initiator_id)


async def test_an_unknown_tenant_and_an_unknown_organizer_are_facts(
    ledger: Ledger, world: World
) -> None:
    """Policy refuses them by name, so they must come as answers and not as errors."""
    request = world.request()
    nowhere = DialOutKey(tenant_id=uuid4(), dial_out_id=uuid4())

    nobody = await ledger.organizer_facts(replace(request, key=nowhere), NOON)
    stranger = await ledger.organizer_facts(replace(request, organizer_id=OrganizerId("eve")), NOON)

    assert nobody == OrganizerAnswer(
        tenant=None, organizer=None, initiator_region=None, meeting=None
    )
    assert isinstance(stranger.tenant, TenantFacts)
    assert stranger.organizer is None


async def test_licences_count_from_their_first_instant_until_their_last(
    ledger: Ledger, world: World
) -> None:
    """The instant of the call decides: a licence is not yet there before, and gone at its end."""
    until = NOON + timedelta(hours=1)
    await world.add_licence(valid_from=NOON, valid_to=until)

    licences = [
        (await ledger.organizer_facts(world.request(), at)).organizer
        for at in (NOON - timedelta(seconds=1), NOON, until)
    ]

    held = OrganizerFacts(
        region=Region("GB"),
        permission=DialOutPermission.ANY,
        licences=frozenset({Sku.AUDIO_CONFERENCING}),
        dial_out_disabled=False,
    )
    without = replace(held, licences=frozenset())
    assert licences == [without, held, without]


async def test_the_initiators_region_is_known_only_of_the_tenants_own_people(
    ledger: Ledger, world: World
) -> None:
    """It decides what digits without a plus sign mean; a guest's are read as the organizer's."""
    member = await ledger.organizer_facts(asked_by(world, ORGANIZER), NOON)
    guest = await ledger.organizer_facts(asked_by(world, "guest"), NOON)
    elsewhere = await world.elsewhere()
    await elsewhere.add_organizer(OrganizerId("guest"))
    still_guest = await ledger.organizer_facts(asked_by(world, "guest"), NOON)

    assert member.initiator_region == "GB"
    assert guest.initiator_region is None
    assert still_guest.initiator_region is None


async def test_suspension_and_credits_are_told(ledger: Ledger, world: World) -> None:
    """Both change what policy answers at the very next call."""
    await world.add_credits(1)
    await world.update(suspended=True)

    tenant = (await ledger.organizer_facts(world.request(), NOON)).tenant

    assert tenant is not None
    assert (tenant.suspended, tenant.credits_set_up) == (True, True)


async def test_a_new_tenant_has_the_defaults_of_every_choice(ledger: Ledger, world: World) -> None:
    """They stand once in Python and once in SQL, and must never differ."""
    tenant = (await ledger.organizer_facts(world.request(), NOON)).tenant

    assert tenant is not None
    assert tenant.choices == Choices()


async def test_what_a_tenant_chooses_is_told(ledger: Ledger, world: World) -> None:
    """At the very next call, and to nobody else."""
    elsewhere = await world.elsewhere()
    choices = Choices(premium=Opening.CREDITS, addon_regions=frozenset({Region("PR")}))
    async with world.provisioning.change(actor=ACTOR) as change:
        outcome = await change.policy_put(world.tenant_id, choices, NOON)

    own = (await ledger.organizer_facts(world.request(), NOON)).tenant
    other = (await ledger.organizer_facts(elsewhere.request(), NOON)).tenant

    assert outcome is PolicyOutcome.CHANGED
    assert own is not None
    assert other is not None
    assert (own.choices, other.choices) == (choices, Choices())


async def test_a_benefit_is_in_force_from_its_first_instant_until_its_last(
    ledger: Ledger, world: World
) -> None:
    """The regimes of the seeds' history, to the microsecond: the date of a call decides."""
    tick = timedelta(microseconds=1)
    ends = datetime(2018, 7, 1, tzinfo=UTC)
    begins = datetime(2018, 11, 12, tzinfo=UTC)
    changes = datetime(2019, 12, 1, tzinfo=UTC)

    in_force = []
    for at in (ends - tick, ends, begins - tick, begins, changes - tick, changes, NOON):
        tenant = (await ledger.organizer_facts(world.request(), at)).tenant
        assert tenant is not None
        in_force.append([each.benefit_id for each in tenant.benefits])

    addon, early, late, pool = (
        "extended_dialout_us_ca",
        "complimentary_2018",
        "complimentary_900",
        "standard_pool",
    )
    assert in_force == [
        [early, addon],
        [addon],
        [addon],
        [late, addon],
        [late, addon],
        [addon, pool],
        [addon, pool],
    ]


async def test_customers_of_china_may_not_dial_out(ledger: Ledger, world: World) -> None:
    """The organizer's own country counts, not the destination's."""
    await world.add_organizer(OrganizerId("li"), region="CN")
    request = replace(world.request(), organizer_id=OrganizerId("li"))

    answers = [
        (await ledger.organizer_facts(each, NOON)).organizer for each in (world.request(), request)
    ]

    assert [each.dial_out_disabled for each in answers if each] == [False, True]


async def test_a_meeting_may_have_permissions_of_its_own(ledger: Ledger, world: World) -> None:
    """Of this tenant's conference alone: others may have one of the same name."""
    elsewhere = await world.elsewhere()
    before = await ledger.organizer_facts(world.request(), NOON)
    async with world.provisioning.change(actor=ACTOR) as change:
        await change.meeting_put(
            world.tenant_id,
            world.request().conference_id,
            to_self=MeetingPermission.EVERYONE,
            to_third_party=MeetingPermission.ORGANIZER,
        )

    own = await ledger.organizer_facts(world.request(), NOON)
    other = await ledger.organizer_facts(elsewhere.request(), NOON)

    assert own.meeting == MeetingPermissions(
        to_self=MeetingPermission.EVERYONE, to_third_party=MeetingPermission.ORGANIZER
    )
    assert (before.meeting, other.meeting) == (None, None)


async def test_the_longest_prefix_prices_the_call(ledger: Ledger, world: World) -> None:
    """A mobile range inside a country has a price of its own, in the deck of the tenant alone."""
    deck_name = f"deck {uuid4()}"
    rows = [
        replace(LONDON_ROW, prefix=prefix, price_micros=Micros(price))
        for prefix, price in (("4", 1), ("44", 2), ("4420", 3), ("442079460123", 4), ("45", 5))
    ]
    await world.put_deck(deck_name, rows, YEAR_BEFORE)
    await world.update(rate_deck=deck_name)

    prices = {}
    for number in ("+442079460123", "+442079460124", "+441214960000", "+4930123456", "+33123456"):
        destination = replace(LONDON, e164=E164(number))
        facts = await ledger.destination_facts(world.tenant_id, destination, NOON)
        prices[number] = facts.rate.price_micros if facts.rate else None

    assert prices == {
        "+442079460123": 4,
        "+442079460124": 3,
        "+441214960000": 2,
        "+4930123456": 1,
        "+33123456": None,
    }


async def test_a_deck_may_be_tried_instead_of_the_tenants_own(ledger: Ledger, world: World) -> None:
    """A replay asks what another deck would have said, and changes nothing."""
    name = f"deck {uuid4()}"
    row = replace(LONDON_ROW, price_micros=Micros(7), regions=frozenset({Region("GB")}))
    await world.put_deck(name, [row], YEAR_BEFORE)
    found = await ledger.rate_deck_find(name)
    assert found is not None

    deck = TriedDeck(deck_id=found[0], rates_at=NOON)
    tried = await ledger.destination_facts(world.tenant_id, LONDON, NOON, tried=deck)
    own = await ledger.destination_facts(world.tenant_id, LONDON, NOON)

    assert tried.rate is not None
    assert tried.rate.price_micros == 7
    assert tried.rate.regions == frozenset({"GB"})
    assert own.rate == world.rate
    assert await ledger.rate_deck_find("no such deck") is None


async def test_the_rate_is_the_one_of_the_instant(ledger: Ledger, world: World) -> None:
    """A deck that is replaced prices calls from that instant on, and old ones as before."""
    name = f"deck {uuid4()}"
    await world.put_deck(name, [LONDON_ROW], YEAR_BEFORE)
    await world.put_deck(name, [replace(LONDON_ROW, price_micros=Micros(99_000))], NOON)
    await world.update(rate_deck=name)

    found = [
        (await ledger.destination_facts(world.tenant_id, LONDON, at)).rate
        for at in (YEAR_BEFORE - timedelta(days=1), NOON - timedelta(seconds=1), NOON)
    ]

    assert [rate.price_micros if rate else None for rate in found] == [None, 12_000, 99_000]


async def test_a_tenant_without_a_deck_has_no_rate(ledger: Ledger, world: World) -> None:
    """And the zone is told all the same: the pool needs no rate."""
    await world.update(rate_deck=None)

    facts = await ledger.destination_facts(world.tenant_id, LONDON, NOON)

    assert facts.zones == {"zone_a"}
    assert facts.rate is None


async def test_zone_a_is_a_list_of_countries(ledger: Ledger, world: World) -> None:
    """Country is never the calling code: PR is a member of its own, GU and KZ are none."""
    members = [
        region
        for region in ("US", "PR", "CN", "RU", "GU", "KZ", "001")
        if (
            await ledger.destination_facts(
                world.tenant_id, replace(LONDON, region=Region(region)), NOON
            )
        ).zones
    ]

    assert members == ["US", "PR", "CN", "RU"]


async def test_the_reference_data_is_all_there(owner: Connection) -> None:
    """Loaded as it is shipped; one country less would cost somebody money."""
    counts = {
        table: await owner.fetchval(f"SELECT count(*) FROM dialout.{table}")
        for table in ("zone_member", "country", "benefit", "restriction")
    }

    assert counts == {"zone_member": 44, "country": 116, "benefit": 4, "restriction": 1}
    assert await owner.fetchval("SELECT count(*) FROM dialout.country WHERE selector_2018") == 86


async def test_membership_of_a_zone_has_its_time(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """A country that leaves the zone leaves it at an instant, not for its past."""
    await owner.execute(
        "UPDATE dialout.zone_member SET valid_to = $1 WHERE region = 'GB'",
        datetime(2026, 3, 1, tzinfo=UTC),
    )

    before = await ledger.destination_facts(world.tenant_id, LONDON, NOON - timedelta(days=20))
    after = await ledger.destination_facts(world.tenant_id, LONDON, NOON)

    assert [before.zones, after.zones] == [frozenset({"zone_a"}), frozenset()]


async def test_each_list_tells_its_longest_prefix(
    ledger: Ledger, world: World, owner: Connection
) -> None:
    """The operator's for everybody, the tenant's for itself, the shipped one and what is exempt."""
    elsewhere = await world.elsewhere()
    await owner.execute(
        """
        INSERT INTO dialout.high_risk_prefix
        VALUES ('44207', 'GB', 'a test', 'a test', '2026-01-01')
        """
    )
    async with world.provisioning.change(actor=ACTOR) as change:
        for prefix in ("44", "4420", "4421"):
            await change.prefix_put(None, prefix, PrefixEffect.BLOCK, note="a test")
        await change.prefix_put(world.tenant_id, "442079", PrefixEffect.BLOCK, note="a test")
        await change.prefix_put(world.tenant_id, "4420794", PrefixEffect.EXEMPT, note="a test")

    own = await ledger.destination_facts(world.tenant_id, LONDON, NOON)
    other = await ledger.destination_facts(elsewhere.tenant_id, LONDON, NOON)
    away = await ledger.destination_facts(
        world.tenant_id, replace(LONDON, e164=E164("+4930123456")), NOON
    )

    assert own.blocks == Blocks(
        operator="4420", high_risk="44207", tenant="442079", exempt="4420794"
    )
    assert other.blocks == Blocks(operator="4420", high_risk="44207", tenant=None, exempt=None)
    assert away.blocks == Blocks()
