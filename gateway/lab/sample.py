"""A tenant to try things on: three organizers, a pool of minutes, credits and a small rate deck."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from gateway.core.e164 import Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.rating import Micros, Seconds
from gateway.ledger import Channel, DeckRow, Provisioning, Segment

DECK = (
    ("1", 13_000),
    ("1787", 35_000),
    ("1939", 35_000),
    ("1876", 330_000),
    ("44", 14_000),
    ("447", 120_000),
    ("254", 250_000),
)
"""Prefix and price of a minute in micros; by the minute, no connect fee."""

CREDITS = Micros(50_000_000)

ORGANIZERS = (
    ("alice", "GB", DialOutPermission.ANY, (Sku.AUDIO_CONFERENCING, Sku.COMMUNICATIONS_CREDITS)),
    ("bob", "GB", DialOutPermission.DOMESTIC, (Sku.AUDIO_CONFERENCING,)),
    ("carol", "GB", DialOutPermission.ANY, (Sku.COMMUNICATIONS_CREDITS,)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTenant:
    """The tenant that was made."""

    tenant_id: UUID


async def create_sample_tenant(provisioning: Provisioning) -> SampleTenant:
    """Make a tenant with everything that a call needs; each one is a new one."""
    tenant_id = uuid4()
    now = datetime.now(UTC)
    async with provisioning.change(actor="demo") as change:
        await change.rate_deck_put("sample", "USD", _deck(), now)
        await change.tenant_create(
            tenant_id,
            name="Sample Ltd",
            time_zone="Europe/London",
            currency="USD",
            rate_deck="sample",
        )
        for name, region, permission, licences in ORGANIZERS:
            organizer_id = OrganizerId(name)
            await change.organizer_put(
                tenant_id,
                organizer_id,
                display_name=name.title(),
                region=Region(region),
                permission=permission,
            )
            for sku in licences:
                await change.licence_assign(
                    tenant_id,
                    organizer_id,
                    sku,
                    valid_from=now,
                    valid_to=None,
                    channel=Channel.WEB_DIRECT,
                    segment=Segment.COMMERCIAL,
                    at=now,
                )
        await change.credits_add(tenant_id, uuid4(), CREDITS, now)
    return SampleTenant(tenant_id=tenant_id)


def _deck() -> tuple[DeckRow, ...]:
    return tuple(
        DeckRow(
            prefix=prefix,
            regions=None,
            price_micros=Micros(price),
            connect_fee_micros=Micros(0),
            initial_increment_seconds=Seconds(60),
            increment_seconds=Seconds(60),
        )
        for prefix, price in DECK
    )
