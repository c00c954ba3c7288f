"""Tenants, organizers, credits, choices, meetings and prefixes: every outcome, twice.

And the change itself: all of it takes effect, or nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.core.choices import (
    Choices,
    Confirmation,
    Exhaustion,
    MeetingPermission,
    Opening,
    PoolBasis,
    Stance,
)
from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, SourceKind
from gateway.core.rating import Micros
from gateway.db import Connection, Pool
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome
from gateway.ledger.provisioning import Provisioning
from gateway.ledger.provisioning_answers import (
    CreditsOutcome,
    DeckRow,
    Meeting,
    MeetingOutcome,
    Organizer,
    OrganizerOutcome,
    PolicyOutcome,
    PrefixEffect,
    PrefixList,
    PrefixOutcome,
    RateDeckOutcome,
    RemovalOutcome,
    Tenant,
    TenantOutcome,
    TenantUpdateOutcome,
)
from tests.ledger.world import ACTOR, LONDON_ROW, NOON, ORGANIZER, POOL, World

OTHERWISE = Choices(
    addon_regions=frozenset({Region("US"), Region("PR")}),
    addon_fair_use_minutes=1,
    pool_basis=PoolBasis.PURCHASED,
    ppm_needs_credits_licence=False,
    premium=Opening.CREDITS,
    toll_free=Stance.ALLOW,
    unallocated=Opening.CREDITS,
    high_risk_prefixes=Stance.ALLOW,
    meeting_to_self=MeetingPermission.EVERYONE,
    meeting_to_third_party=MeetingPermission.ORGANIZER,
    confirmation=Confirmation.NEVER,
    on_exhaustion=Exhaustion.FINISH,
    availability_version=date(2023, 1, 25),
)


async def put_deck(
    provisioning: Provisioning,
    rows: Sequence[DeckRow],
    at: datetime = NOON,
    *,
    name: str = "deck",
    currency: str = "EUR",
) -> RateDeckOutcome:
    """Put a deck, in a change of its own."""
    async with provisioning.change(actor=ACTOR) as change:
        return await change.rate_deck_put(name, currency, rows, at)


# A change.


async def test_a_change_is_made_whole(provisioning: Provisioning, world: World) -> None:
    """What it did is there when it is left, and not before."""
    async with provisioning.change(actor=ACTOR) as change:
        await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)
        within = await provisioning.credits(world.tenant_id)

    assert within == ()
    assert [grant.micros for grant in await provisioning.credits(world.tenant_id)] == [5]


async def test_a_change_can_be_abandoned(provisioning: Provisioning, world: World) -> None:
    """One refused line of a list takes back the lines before it, without being an error."""
    async with provisioning.change(actor=ACTOR) as change:
        await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)
        change.abandon()

    assert await provisioning.credits(world.tenant_id) == ()


async def test_an_error_undoes_a_change_and_stays_itself(
    provisioning: Provisioning, world: World
) -> None:
    """A file that cannot be read is no ledger that is away, although both are an OSError."""

    async def read_a_file() -> None:
        async with provisioning.change(actor=ACTOR) as change:
            await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)
            raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        await read_a_file()

    assert await provisioning.credits(world.tenant_id) == ()
    await world.add_credits(7)


async def test_a_change_that_failed_halfway_is_never_taken_for_made(
    provisioning: Provisioning, world: World
) -> None:
    """The server turns its commit into a rollback, silently; here the caller hears it."""

    async def pass_over_an_error() -> None:
        async with provisioning.change(actor=ACTOR) as change:
            await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await change.credits_add(world.tenant_id, uuid4(), Micros(0), NOON)

    with pytest.raises(LedgerUnavailable, match="Nothing was changed"):
        await pass_over_an_error()

    assert await provisioning.credits(world.tenant_id) == ()


@pytest.mark.parametrize("noticed", [False, True])
async def test_a_connection_that_dies_undoes_the_change(
    pool: Pool, provisioning: Provisioning, world: World, owner: Connection, noticed: bool
) -> None:
    """The caller hears that nothing is known, asks again, and finds nothing half done.

    Whether the driver notices before the change is left, or by its commit.
    """

    async def lose_the_connection() -> None:
        async with provisioning.change(actor=ACTOR) as change:
            await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)
            connections = pool.get_size()
            await owner.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle in transaction'
                """
            )
            async with asyncio.timeout(10):
                while noticed and pool.get_size() == connections:
                    await asyncio.sleep(0.01)  # the driver has no event for it

    with pytest.raises(LedgerUnavailable):
        await lose_the_connection()

    assert await provisioning.credits(world.tenant_id) == ()
    await world.add_credits(7)


async def test_a_change_waits_no_longer_than_its_limit(
    pool: Pool, provisioning: Provisioning, world: World
) -> None:
    """Two changes of one tenant queue, and the second one gives up in time."""
    hasty = Provisioning(pool, call_seconds_max=0.2)
    async with provisioning.change(actor=ACTOR) as change:
        await change.credits_add(world.tenant_id, uuid4(), Micros(5), NOON)

        with pytest.raises(LedgerUnavailable):
            async with hasty.change(actor=ACTOR) as other:
                await other.credits_add(world.tenant_id, uuid4(), Micros(7), NOON)

    assert [grant.micros for grant in await provisioning.credits(world.tenant_id)] == [5]


async def test_a_list_of_people_holds_up_no_call(provisioning: Provisioning, world: World) -> None:
    """Ten thousand organizers take seconds, and a call has two; so they lock no tenant."""
    await world.add_licence()
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.organizer_put(
                world.tenant_id,
                OrganizerId("new"),
                display_name="New",
                region=Region("GB"),
                permission=DialOutPermission.ANY,
            ),
            await change.meeting_put(
                world.tenant_id,
                "room",
                to_self=MeetingPermission.EVERYONE,
                to_third_party=MeetingPermission.EVERYONE,
            ),
            await change.prefix_put(world.tenant_id, "1900", PrefixEffect.BLOCK, note=""),
        ]
        async with asyncio.timeout(15):
            reserved, _ = await world.reserve(None, POOL)

    assert outcomes == [OrganizerOutcome.CREATED, MeetingOutcome.CREATED, PrefixOutcome.PUT]
    assert reserved is RequestOutcome.RESERVED


# Tenants.


@pytest.mark.parametrize(
    ("name", "time_zone", "currency", "outcome"),
    [
        ("Acme", "UTC", "EUR", TenantOutcome.EXISTS),
        ("Acme", "Europe/Paris", "EUR", TenantOutcome.EXISTS_WITH_DIFFERENT_TERMS),
        ("Acme", "UTC", "USD", TenantOutcome.EXISTS_WITH_DIFFERENT_TERMS),
        ("Other", "UTC", "EUR", TenantOutcome.EXISTS_WITH_DIFFERENT_TERMS),
    ],
)
async def test_a_tenant_is_created_once(
    provisioning: Provisioning,
    world: World,
    name: str,
    time_zone: str,
    currency: str,
    outcome: TenantOutcome,
) -> None:
    """Its month and its currency are fixed: balances rest on them."""
    [deck] = await provisioning.rate_decks()
    async with provisioning.change(actor=ACTOR) as change:
        again = await change.tenant_create(
            world.tenant_id, name=name, time_zone=time_zone, currency=currency, rate_deck=deck.name
        )

    assert again is outcome
    assert await provisioning.tenants() == (
        Tenant(
            tenant_id=world.tenant_id,
            name="Acme",
            suspended=False,
            time_zone="UTC",
            anchor_day=1,
            currency="EUR",
            rate_deck=deck.name,
            inbound_deck=None,
        ),
    )


async def test_a_tenant_that_cannot_be_is_refused(provisioning: Provisioning) -> None:
    """A zone that is no zone would fail at the first call; a deck in other money, at every one."""
    await put_deck(provisioning, [LONDON_ROW])
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.tenant_create(
                uuid4(), name="New", time_zone=zone, currency=currency, rate_deck=deck
            )
            for zone, currency, deck in (
                ("Europe/Atlantis", "EUR", "deck"),
                ("CEST; DROP", "EUR", "deck"),
                ("UTC", "EUR", "no deck"),
                ("UTC", "USD", "deck"),
                ("UTC", "USD", None),
            )
        ]

    assert outcomes == [
        TenantOutcome.UNKNOWN_TIME_ZONE,
        TenantOutcome.UNKNOWN_TIME_ZONE,
        TenantOutcome.UNKNOWN_RATE_DECK,
        TenantOutcome.RATE_DECK_CURRENCY_DIFFERS,
        TenantOutcome.CREATED,
    ]


async def test_a_tenant_changes_only_where_it_may(provisioning: Provisioning, world: World) -> None:
    """The same rules hold for a deck that comes later; what is known, is so no second time."""
    await put_deck(provisioning, [LONDON_ROW], currency="USD", name="dollars")
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.tenant_update(tenant_id, suspended=suspended, rate_deck=deck)
            for tenant_id, suspended, deck in (
                (uuid4(), False, None),
                (world.tenant_id, False, "no deck"),
                (world.tenant_id, False, "dollars"),
                (world.tenant_id, False, None),
                (world.tenant_id, False, None),
                (world.tenant_id, True, None),
            )
        ]

    assert outcomes == [
        TenantUpdateOutcome.UNKNOWN_TENANT,
        TenantUpdateOutcome.UNKNOWN_RATE_DECK,
        TenantUpdateOutcome.RATE_DECK_CURRENCY_DIFFERS,
        TenantUpdateOutcome.UPDATED,
        TenantUpdateOutcome.UNCHANGED,
        TenantUpdateOutcome.UPDATED,
    ]
    tenant = await provisioning.tenant(world.tenant_id)
    assert tenant is not None
    assert (tenant.suspended, tenant.rate_deck) == (True, None)


async def test_tenants_are_listed_in_pages_and_by_name(
    provisioning: Provisioning, world: World
) -> None:
    """Each of them once; a name may be that of several."""
    async with provisioning.change(actor=ACTOR) as change:
        for name in ("Acme", "Bolt", "Core"):
            await change.tenant_create(
                uuid4(), name=name, time_zone="UTC", currency="EUR", rate_deck=None
            )

    everybody = await provisioning.tenants()
    first = await provisioning.tenants(limit=3)
    rest = await provisioning.tenants(after=first[-1].tenant_id, limit=3)

    assert len(everybody) == 4
    assert first + rest == everybody
    assert len(await provisioning.tenants(name="Acme")) == 2
    assert await provisioning.tenant(uuid4()) is None


# Organizers.


async def test_an_organizer_is_put_again(provisioning: Provisioning, world: World) -> None:
    """The last word stands, and it is the organizer of this tenant alone."""
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.organizer_put(
                tenant_id,
                ORGANIZER,
                display_name=name,
                region=Region(region),
                permission=DialOutPermission.DOMESTIC,
            )
            for tenant_id, name, region in (
                (world.tenant_id, "Ann Lee", "US"),
                (world.tenant_id, "Ann Lee", "US"),
                (world.tenant_id, "Ann Lee", "usa"),
                (world.tenant_id, "Ann Lee", "001"),
                (uuid4(), "Ann Lee", "US"),
            )
        ]

    assert outcomes == [
        OrganizerOutcome.UPDATED,
        OrganizerOutcome.UNCHANGED,
        OrganizerOutcome.UNKNOWN_REGION,
        OrganizerOutcome.UNKNOWN_REGION,
        OrganizerOutcome.UNKNOWN_TENANT,
    ]
    assert await provisioning.organizers(world.tenant_id) == (
        Organizer(
            tenant_id=world.tenant_id,
            organizer_id=ORGANIZER,
            display_name="Ann Lee",
            region=Region("US"),
            dial_out_permission=DialOutPermission.DOMESTIC,
        ),
    )


async def test_an_organizers_id_has_a_form(world: World) -> None:
    """It travels through dialplan variables, where anything else is cut away."""
    for organizer_id in ("", "a b", "a/b", "x" * 129, "ann\n", "ä"):
        with pytest.raises(asyncpg.CheckViolationError):
            await world.add_organizer(OrganizerId(organizer_id))


async def test_organizers_are_listed_in_pages(provisioning: Provisioning, world: World) -> None:
    """Each of a tenant's once, and no other tenant's."""
    elsewhere = await world.elsewhere()
    for name in ("b", "c", "d"):
        await world.add_organizer(OrganizerId(name))

    first = await provisioning.organizers(world.tenant_id, limit=3)
    rest = await provisioning.organizers(world.tenant_id, after=first[-1].organizer_id, limit=3)

    assert [each.organizer_id for each in first + rest] == [ORGANIZER, "b", "c", "d"]
    assert len(await provisioning.organizers(elsewhere.tenant_id)) == 1


# Credits.


async def test_funds_are_added_once(
    ledger: Ledger, provisioning: Provisioning, world: World
) -> None:
    """The payment's id is the key: a retry of the shop adds nothing, another sum is told."""
    grant_id = uuid4()
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.credits_add(tenant_id, grant, Micros(micros), NOON)
            for tenant_id, grant, micros in (
                (world.tenant_id, grant_id, 500),
                (world.tenant_id, grant_id, 500),
                (world.tenant_id, grant_id, 501),
                (world.tenant_id, uuid4(), 100),
                (uuid4(), uuid4(), 100),
            )
        ]

    assert outcomes == [
        CreditsOutcome.ADDED,
        CreditsOutcome.EXISTS,
        CreditsOutcome.EXISTS_WITH_DIFFERENT_TERMS,
        CreditsOutcome.ADDED,
        CreditsOutcome.UNKNOWN_TENANT,
    ]
    assert await world.books(SourceKind.CREDITS) == (600, 0, 0, 600)
    assert {grant.micros for grant in await provisioning.credits(world.tenant_id)} == {500, 100}
    assert await ledger.check() == ()


@pytest.mark.parametrize("micros", [0, -1, 10**15 + 1])
async def test_a_sum_that_nobody_pays_is_an_error(world: World, micros: int) -> None:
    """Funds are never taken away by adding a negative sum."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await world.add_credits(micros)


# Choices.


async def test_a_new_tenant_has_the_defaults(provisioning: Provisioning, world: World) -> None:
    """The table's defaults are those of the core, one by one."""
    assert await provisioning.policy(world.tenant_id) == Choices()
    assert await provisioning.policy(uuid4()) is None


async def test_every_choice_is_kept(provisioning: Provisioning, world: World) -> None:
    """Each of them differs from its default here; one that were forgotten would not."""
    async with provisioning.change(actor=ACTOR) as change:
        outcomes = [
            await change.policy_put(tenant_id, choices, NOON)
            for tenant_id, choices in (
                (world.tenant_id, Choices()),
                (world.tenant_id, OTHERWISE),
                (world.tenant_id, OTHERWISE),
                (world.tenant_id, replace(OTHERWISE, availability_version=date(2018, 4, 4))),
                (world.tenant_id, replace(OTHERWISE, addon_regions=frozenset({Region("usa")}))),
                (uuid4(), OTHERWISE),
            )
        ]

    assert outcomes == [
        PolicyOutcome.UNCHANGED,
        PolicyOutcome.CHANGED,
        PolicyOutcome.UNCHANGED,
        PolicyOutcome.UNKNOWN_VERSION,
        PolicyOutcome.UNKNOWN_REGION,
        PolicyOutcome.UNKNOWN_TENANT,
    ]
    assert await provisioning.policy(world.tenant_id) == OTHERWISE


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ("{}", asyncpg.NotNullViolationError),
        ('{"premium": "allow"}', asyncpg.CheckViolationError),
        ('{"addon_fair_use_minutes": 0}', asyncpg.CheckViolationError),
        ('{"addon_fair_use_minutes": 44641}', asyncpg.CheckViolationError),
    ],
)
async def test_a_choice_that_nobody_has_is_an_error(
    owner: Connection, world: World, choices: str, error: type[Exception]
) -> None:
    """And one that is missing: a client of another version must not take a choice away."""
    with pytest.raises(error):
        await owner.execute(
            """
            SELECT dialout.policy_put(
                $1,
                CASE WHEN $2::jsonb = '{}' THEN '{"availability_version": "2018-04-03"}'
                ELSE (to_jsonb(p) || $2::jsonb)::json END,
                now()
            )
            FROM dialout.policy_list AS p WHERE p.tenant_id = $1
            """,
            *(world.tenant_id, choices),
        )


async def test_a_tenants_choices_are_its_own(provisioning: Provisioning, world: World) -> None:
    """Whatever the object says of other tenants."""
    elsewhere = await world.elsewhere()
    async with provisioning.change(actor=ACTOR) as change:
        await change.policy_put(world.tenant_id, OTHERWISE, NOON)

    assert await provisioning.policy(elsewhere.tenant_id) == Choices()


# Meetings.


async def test_a_meeting_has_permissions_until_they_are_removed(
    provisioning: Provisioning, world: World
) -> None:
    """Then the tenant's choices hold for it again."""
    everyone, organizer = MeetingPermission.EVERYONE, MeetingPermission.ORGANIZER
    async with provisioning.change(actor=ACTOR) as change:
        put = [
            await change.meeting_put(
                tenant_id, "room-1", to_self=everyone, to_third_party=third_party
            )
            for tenant_id, third_party in (
                (world.tenant_id, everyone),
                (world.tenant_id, everyone),
                (world.tenant_id, organizer),
                (uuid4(), everyone),
            )
        ]
    listed = await provisioning.meetings(world.tenant_id)
    async with provisioning.change(actor=ACTOR) as change:
        removed = [
            await change.meeting_remove(tenant_id, "room-1")
            for tenant_id in (uuid4(), world.tenant_id, world.tenant_id)
        ]

    assert put == [
        MeetingOutcome.CREATED,
        MeetingOutcome.UNCHANGED,
        MeetingOutcome.UPDATED,
        MeetingOutcome.UNKNOWN_TENANT,
    ]
    assert listed == (
        Meeting(
            tenant_id=world.tenant_id,
            conference_id="room-1",
            to_self=everyone,
            to_third_party=organizer,
            organizer_id=None,
        ),
    )
    assert removed == [RemovalOutcome.ABSENT, RemovalOutcome.REMOVED, RemovalOutcome.ABSENT]
    assert await provisioning.meetings(world.tenant_id) == ()


async def test_a_meeting_may_be_registered_with_its_organizer(
    provisioning: Provisioning, world: World
) -> None:
    """One that the tenant has, and no other one then; whoever is left out is not kept."""
    everyone = MeetingPermission.EVERYONE
    put = []
    for organizer_id in (OrganizerId("eve"), ORGANIZER, ORGANIZER, None):
        async with provisioning.change(actor=ACTOR) as change:
            outcome = await change.meeting_put(
                world.tenant_id,
                "room-1",
                to_self=everyone,
                to_third_party=everyone,
                organizer_id=organizer_id,
            )
        listed = await provisioning.meetings(world.tenant_id)
        put.append((outcome, [each.organizer_id for each in listed]))

    assert put == [
        (MeetingOutcome.UNKNOWN_ORGANIZER, []),
        (MeetingOutcome.CREATED, [ORGANIZER]),
        (MeetingOutcome.UNCHANGED, [ORGANIZER]),
        (MeetingOutcome.UPDATED, [None]),
    ]


async def test_meetings_are_listed_in_pages(provisioning: Provisioning, world: World) -> None:
    """Each of them once."""
    async with provisioning.change(actor=ACTOR) as change:
        for room in ("c", "a", "b"):
            await change.meeting_put(
                world.tenant_id,
                room,
                to_self=MeetingPermission.EVERYONE,
                to_third_party=MeetingPermission.EVERYONE,
            )

    first = await provisioning.meetings(world.tenant_id, limit=2)
    rest = await provisioning.meetings(world.tenant_id, after="b", limit=2)

    assert [meeting.conference_id for meeting in first + rest] == ["a", "b", "c"]


# Prefixes.


async def test_a_prefix_is_listed_for_a_tenant_or_for_all(
    provisioning: Provisioning, world: World
) -> None:
    """Nobody is exempt for all at once: the shipped list is switched off tenant by tenant."""
    block, exempt = PrefixEffect.BLOCK, PrefixEffect.EXEMPT
    tenant_id = world.tenant_id
    async with provisioning.change(actor=ACTOR) as change:
        put = [
            await change.prefix_put(owner, "44207", effect, note=note)
            for owner, effect, note in (
                (tenant_id, block, ""),
                (tenant_id, block, ""),
                (tenant_id, block, "again"),
                (tenant_id, exempt, "ours"),
                (uuid4(), block, ""),
                (None, exempt, ""),
                (None, block, "fraud"),
                (None, block, "fraud"),
            )
        ]
    own = await provisioning.prefixes(tenant_id)
    of_all = await provisioning.prefixes(None)

    assert put == [
        PrefixOutcome.PUT,
        PrefixOutcome.EXISTS,
        PrefixOutcome.PUT,
        PrefixOutcome.PUT,
        PrefixOutcome.UNKNOWN_TENANT,
        PrefixOutcome.EXEMPT_NEEDS_TENANT,
        PrefixOutcome.PUT,
        PrefixOutcome.EXISTS,
    ]
    assert [(each.prefix, each.effect, each.note) for each in own] == [
        ("44207", block, "again"),
        ("44207", exempt, "ours"),
    ]
    assert [each.prefix for each in of_all if each.listed_in is PrefixList.OPERATOR] == ["44207"]
    assert all(
        each.source and each.listed_on and each.region
        for each in of_all
        if each.listed_in is PrefixList.HIGH_RISK
    )
    assert len({each.listed_in for each in of_all}) == 2


async def test_a_prefix_is_removed_from_one_list_alone(
    provisioning: Provisioning, world: World
) -> None:
    """The same digits stand in the others as before, and the shipped ones cannot be removed."""
    block, exempt = PrefixEffect.BLOCK, PrefixEffect.EXEMPT
    lists: list[UUID | None] = [world.tenant_id, None]
    async with provisioning.change(actor=ACTOR) as change:
        for owner in lists:
            await change.prefix_put(owner, "44207", block, note="")
        await change.prefix_put(world.tenant_id, "44207", exempt, note="")
        removed = [
            await change.prefix_remove(owner, prefix, effect)
            for owner, prefix, effect in (
                (uuid4(), "44207", block),
                (None, "44207", exempt),
                (world.tenant_id, "44207", block),
                (world.tenant_id, "44207", block),
            )
        ]

    assert removed == [
        RemovalOutcome.ABSENT,
        RemovalOutcome.ABSENT,
        RemovalOutcome.REMOVED,
        RemovalOutcome.ABSENT,
    ]
    [left] = await provisioning.prefixes(world.tenant_id)
    assert left.effect is exempt
    async with provisioning.change(actor=ACTOR) as change:
        assert await change.prefix_remove(None, "44207", block) is RemovalOutcome.REMOVED
    shipped = await provisioning.prefixes(None)
    async with provisioning.change(actor=ACTOR) as change:
        assert await change.prefix_remove(None, shipped[0].prefix, block) is RemovalOutcome.ABSENT
