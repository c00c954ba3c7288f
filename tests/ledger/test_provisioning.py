"""Tenants, organizers, licences, credits and decks: every outcome, each asked for twice."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest

from gateway.core.e164 import Region
from gateway.core.policy import DialOutPermission, OrganizerId, Sku, SourceKind
from gateway.core.rating import Micros
from gateway.ledger import (
    CreditsOutcome,
    Ledger,
    LicenceOutcome,
    OrganizerOutcome,
    RateDeckOutcome,
    TenantOutcome,
    TenantUpdateOutcome,
)
from tests.ledger.world import LONDON_ROW, NOON, ORGANIZER, YEAR_BEFORE, World


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
    ledger: Ledger, world: World, name: str, time_zone: str, currency: str, outcome: TenantOutcome
) -> None:
    """Its month and its currency are fixed: balances rest on them."""
    again = await ledger.tenant_create(
        world.tenant_id,
        name=name,
        time_zone=time_zone,
        currency=currency,
        rate_deck_id=world.rate.deck_id,
    )

    assert again is outcome


async def test_a_tenant_that_cannot_be_is_refused(ledger: Ledger, world: World) -> None:
    """A zone that is no zone would fail at the first call; a deck in other money, at every one."""
    deck_id = world.rate.deck_id
    outcomes = [
        await ledger.tenant_create(
            uuid4(), name="New", time_zone=zone, currency=currency, rate_deck_id=deck
        )
        for zone, currency, deck in (
            ("Europe/Atlantis", "EUR", deck_id),
            ("CEST; DROP", "EUR", deck_id),
            ("UTC", "EUR", 999_999),
            ("UTC", "USD", deck_id),
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


async def test_a_tenant_changes_only_where_it_may(ledger: Ledger, world: World) -> None:
    """The same rules hold for a deck that comes later."""
    _, dollars = await ledger.rate_deck_put("dollars", "USD", [LONDON_ROW], YEAR_BEFORE)

    outcomes = [
        await ledger.tenant_update(tenant_id, suspended=False, rate_deck_id=deck_id)
        for tenant_id, deck_id in (
            (uuid4(), None),
            (world.tenant_id, 999_999),
            (world.tenant_id, dollars),
            (world.tenant_id, None),
            (world.tenant_id, None),
        )
    ]

    assert outcomes == [
        TenantUpdateOutcome.UNKNOWN_TENANT,
        TenantUpdateOutcome.UNKNOWN_RATE_DECK,
        TenantUpdateOutcome.RATE_DECK_CURRENCY_DIFFERS,
        TenantUpdateOutcome.UPDATED,
        TenantUpdateOutcome.UPDATED,
    ]


async def test_an_organizer_is_put_again(ledger: Ledger, world: World) -> None:
    """The last word stands, and it is the organizer of this tenant alone."""
    updated, nobody = [
        await ledger.organizer_put(
            tenant_id,
            ORGANIZER,
            display_name="Ann Lee",
            region=Region("US"),
            permission=DialOutPermission.DOMESTIC,
        )
        for tenant_id in (world.tenant_id, uuid4())
    ]
    answer = await ledger.organizer_facts(world.tenant_id, ORGANIZER, None, NOON)

    assert (updated, nobody) == (OrganizerOutcome.UPDATED, OrganizerOutcome.UNKNOWN_TENANT)
    assert answer.organizer is not None
    assert (answer.organizer.region, answer.organizer.permission) == ("US", "domestic")


async def test_an_organizers_id_has_a_form(world: World) -> None:
    """It travels through dialplan variables, where anything else is cut away."""
    for organizer_id in ("", "a b", "a/b", "x" * 129, "ann\n", "ä"):
        with pytest.raises(asyncpg.CheckViolationError):
            await world.add_organizer(OrganizerId(organizer_id))


async def test_a_licence_is_assigned_once(ledger: Ledger, world: World) -> None:
    """A retry brings no second hour, and a known licence is not moved by repeating it."""
    until = NOON + timedelta(days=365)
    outcomes = [
        await ledger.licence_assign(
            world.tenant_id,
            OrganizerId(organizer),
            Sku.AUDIO_CONFERENCING,
            valid_from=YEAR_BEFORE,
            valid_to=valid_to,
            at=NOON,
        )
        for organizer, valid_to in (
            (ORGANIZER, until),
            (ORGANIZER, until),
            (ORGANIZER, None),
            ("stranger", until),
        )
    ]

    assert outcomes == [
        LicenceOutcome.ASSIGNED,
        LicenceOutcome.EXISTS,
        LicenceOutcome.EXISTS_WITH_DIFFERENT_TERMS,
        LicenceOutcome.UNKNOWN_ORGANIZER,
    ]


async def test_funds_are_added_once(ledger: Ledger, world: World) -> None:
    """The payment's id is the key: a retry of the shop adds nothing, another sum is told."""
    grant_id = uuid4()

    outcomes = [
        await ledger.credits_add(tenant_id, grant, Micros(micros), NOON)
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
    assert await ledger.check() == ()


@pytest.mark.parametrize("micros", [0, -1, 10**15 + 1])
async def test_a_sum_that_nobody_pays_is_an_error(
    ledger: Ledger, world: World, micros: int
) -> None:
    """Funds are never taken away by adding a negative sum."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await ledger.credits_add(world.tenant_id, uuid4(), Micros(micros), NOON)


async def test_a_deck_is_put_whole_or_not_at_all(ledger: Ledger, world: World) -> None:
    """One row that cannot be undoes the rest, and what was valid stays valid."""
    rows = [LONDON_ROW, replace(LONDON_ROW, prefix="49")]
    await ledger.rate_deck_put("whole", "EUR", rows, YEAR_BEFORE)
    dearer = [replace(row, price_micros=Micros(99)) for row in rows]

    with pytest.raises(asyncpg.CheckViolationError):
        await ledger.rate_deck_put(
            "whole", "EUR", [*dearer, replace(LONDON_ROW, prefix="+1")], NOON
        )
    with pytest.raises(asyncpg.UniqueViolationError):
        await ledger.rate_deck_put("whole", "EUR", [*dearer, dearer[0]], NOON)

    assert (await ledger.rate_deck_put("whole", "EUR", rows, NOON))[0] is RateDeckOutcome.EXISTS


async def test_a_deck_is_put_once(ledger: Ledger) -> None:
    """A retry finds it as it is, in any order of rows; its currency never changes."""
    rows = [LONDON_ROW, replace(LONDON_ROW, prefix="49")]

    first = await ledger.rate_deck_put("deck", "EUR", rows, YEAR_BEFORE)
    again = await ledger.rate_deck_put("deck", "EUR", rows[::-1], NOON)
    fewer = await ledger.rate_deck_put("deck", "EUR", rows[:1], NOON)
    dollars = await ledger.rate_deck_put("deck", "USD", rows, NOON)

    assert [outcome for outcome, _ in (first, again, fewer, dollars)] == [
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS,
        RateDeckOutcome.PUT,
        RateDeckOutcome.EXISTS_WITH_DIFFERENT_CURRENCY,
    ]
    assert len({deck_id for _, deck_id in (first, again, fewer, dollars)}) == 1


async def test_an_empty_deck_is_an_error(ledger: Ledger, world: World) -> None:
    """A file that was cut short must not take every price away."""
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await ledger.rate_deck_put("empty", "EUR", [], YEAR_BEFORE)
