"""What policy is told of tenants, organizers and destinations."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from gateway.core.e164 import E164, Region
from gateway.core.policy import (
    DialOutPermission,
    OrganizerFacts,
    OrganizerId,
    Sku,
    TenantFacts,
)
from gateway.core.rating import Micros
from gateway.db import Connection
from gateway.ledger import Ledger, OrganizerAnswer, TenantUpdateOutcome
from tests.ledger.world import LONDON, LONDON_ROW, NOON, ORGANIZER, YEAR_BEFORE, World


async def test_an_unknown_tenant_and_an_unknown_organizer_are_facts(
    ledger: Ledger, world: World
) -> None:
    """Policy refuses them by name, so they must come as answers and not as errors."""
    nobody = await ledger.organizer_facts(uuid4(), ORGANIZER, None, NOON)
    stranger = await ledger.organizer_facts(world.tenant_id, OrganizerId("eve"), None, NOON)

    assert nobody == OrganizerAnswer(tenant=None, organizer=None, initiator_region=None)
    assert stranger.tenant == TenantFacts(suspended=False, credits_set_up=False)
    assert stranger.organizer is None


async def test_licences_count_from_their_first_instant_until_their_last(
    ledger: Ledger, world: World
) -> None:
    """The instant of the call decides: a licence is not yet there before, and gone at its end."""
    until = NOON + timedelta(hours=1)
    await world.add_licence(valid_from=NOON, valid_to=until)

    licences = [
        (await ledger.organizer_facts(world.tenant_id, ORGANIZER, None, at)).organizer
        for at in (NOON - timedelta(seconds=1), NOON, until)
    ]

    held = OrganizerFacts(
        region=Region("GB"),
        permission=DialOutPermission.ANY,
        licences=frozenset({Sku.AUDIO_CONFERENCING}),
    )
    without = replace(held, licences=frozenset())
    assert licences == [without, held, without]


async def test_the_initiators_region_is_known_only_of_the_tenants_own_people(
    ledger: Ledger, world: World
) -> None:
    """It decides what digits without a plus sign mean; a guest's are read as the organizer's."""
    member = await ledger.organizer_facts(world.tenant_id, ORGANIZER, ORGANIZER, NOON)
    guest = await ledger.organizer_facts(world.tenant_id, ORGANIZER, "guest", NOON)
    elsewhere = await World.create(ledger)
    await elsewhere.add_organizer(OrganizerId("guest"))
    still_guest = await ledger.organizer_facts(world.tenant_id, ORGANIZER, "guest", NOON)

    assert member.initiator_region == "GB"
    assert guest.initiator_region is None
    assert still_guest.initiator_region is None


async def test_suspension_and_credits_are_told(ledger: Ledger, world: World) -> None:
    """Both change what policy answers at the very next call."""
    await world.add_credits(1)
    outcome = await ledger.tenant_update(
        world.tenant_id, suspended=True, rate_deck_id=world.rate.deck_id
    )

    answer = await ledger.organizer_facts(world.tenant_id, ORGANIZER, None, NOON)

    assert outcome is TenantUpdateOutcome.UPDATED
    assert answer.tenant == TenantFacts(suspended=True, credits_set_up=True)


async def test_the_longest_prefix_prices_the_call(ledger: Ledger, world: World) -> None:
    """A mobile range inside a country has a price of its own, in the deck of the tenant alone."""
    deck_name = f"deck {uuid4()}"
    rows = [
        replace(LONDON_ROW, prefix=prefix, price_micros=Micros(price))
        for prefix, price in (("4", 1), ("44", 2), ("4420", 3), ("442079460123", 4), ("45", 5))
    ]
    _, deck_id = await ledger.rate_deck_put(deck_name, "EUR", rows, YEAR_BEFORE)
    await ledger.tenant_update(world.tenant_id, suspended=False, rate_deck_id=deck_id)

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


async def test_the_rate_is_the_one_of_the_instant(ledger: Ledger, world: World) -> None:
    """A deck that is replaced prices calls from that instant on, and old ones as before."""
    name = f"deck {uuid4()}"
    _, deck_id = await ledger.rate_deck_put(name, "EUR", [LONDON_ROW], YEAR_BEFORE)
    dearer = replace(LONDON_ROW, price_micros=Micros(99_000))
    await ledger.rate_deck_put(name, "EUR", [dearer], NOON)
    await ledger.tenant_update(world.tenant_id, suspended=False, rate_deck_id=deck_id)

    found = [
        (await ledger.destination_facts(world.tenant_id, LONDON, at)).rate
        for at in (YEAR_BEFORE - timedelta(days=1), NOON - timedelta(seconds=1), NOON)
    ]

    assert [rate.price_micros if rate else None for rate in found] == [None, 12_000, 99_000]


async def test_a_tenant_without_a_deck_has_no_rate(ledger: Ledger, world: World) -> None:
    """And the zone is told all the same: the pool needs no rate."""
    await ledger.tenant_update(world.tenant_id, suspended=False, rate_deck_id=None)

    facts = await ledger.destination_facts(world.tenant_id, LONDON, NOON)

    assert facts.in_zone_a
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
        ).in_zone_a
    ]

    assert members == ["US", "PR", "CN", "RU"]


async def test_zone_a_has_its_44_countries(owner: Connection) -> None:
    """The shipped list is complete; one country less would cost somebody money."""
    assert await owner.fetchval("SELECT count(*) FROM dialout.zone_member") == 44


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

    assert (before.in_zone_a, after.in_zone_a) == (True, False)
