"""The tenant of one seed: three organizers, a rate of a thousand micros a second, little to spend.

What a licence brings is an hour; so an earlier call has used up all of it but what the seed
leaves.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from gateway.core.causes import Disposition
from gateway.core.choices import Choices
from gateway.core.dial_out import DialOutKind, DialOutRequest, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import DialOutPermission, OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.waterfall import Source
from gateway.ledger import Channel, DeckRow, Ledger, Provisioning, RequestOutcome, Segment
from gateway.simulator.scenario import HOLDERS, Scenario

DECK: Final = "simulation"
CURRENCY: Final = "USD"
MICROS_A_SECOND: Final = 1_000
CALLER_ID: Final = E164("+442079460999")

_ACTOR: Final = "simulation"
_EARLIER_SECONDS_MAX: Final = 14_400
_ROWS: Final = tuple(
    DeckRow(
        prefix=prefix,
        regions=None,
        price_micros=Micros(MICROS_A_SECOND * 60),
        connect_fee_micros=Micros(0),
        initial_increment_seconds=Seconds(1),
        increment_seconds=Seconds(1),
    )
    for prefix in ("1", "44")
)
_POOL: Final = Source(kind=SourceKind.POOL, benefit_id="standard_pool")
_ADDON: Final = Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca")
_ADDON_HOLDER: Final = OrganizerId("ben")


async def put_deck(provisioning: Provisioning) -> None:
    """Make the deck that prices the calls of all seeds."""
    async with provisioning.change(actor=_ACTOR) as change:
        await change.rate_deck_put(DECK, CURRENCY, _ROWS, _year_ago(datetime.now(UTC)))


async def create_tenant(
    provisioning: Provisioning, ledger: Ledger, scenario: Scenario, *, addon_minutes: int
) -> None:
    """Make the tenant of a seed, with what the seed leaves it to spend.

    ``addon_minutes`` are what the add-on brings: at least as much as is to be left of it.
    """
    now = datetime.now(UTC)
    tenant_id = scenario.tenant_id
    async with provisioning.change(actor=_ACTOR) as change:
        await change.tenant_create(
            tenant_id,
            name=f"Seed {scenario.seed}",
            time_zone="UTC",
            currency=CURRENCY,
            rate_deck=DECK,
        )
        await change.policy_put(tenant_id, Choices(addon_fair_use_minutes=addon_minutes), now)
        for organizer_id, skus in HOLDERS.items():
            await change.organizer_put(
                tenant_id,
                organizer_id,
                display_name=organizer_id.title(),
                region=Region("GB"),
                permission=DialOutPermission.ANY,
            )
            for sku in skus:
                await change.licence_assign(
                    tenant_id,
                    organizer_id,
                    sku,
                    valid_from=_year_ago(now),
                    valid_to=None,
                    channel=Channel.CSP,
                    segment=Segment.COMMERCIAL,
                    at=now,
                    forced_because="a simulation sells what it likes",
                )
        funds = scenario.funds
        if funds.credit_seconds:
            micros = Micros(funds.credit_seconds * MICROS_A_SECOND)
            await change.credits_add(tenant_id, uuid5(tenant_id, "credits"), micros, now)
    rate = await _rate(provisioning)
    for source, left in ((_POOL, funds.pool_seconds), (_ADDON, funds.addon_seconds)):
        await _use_up(ledger, tenant_id, source, rate, left, now)


async def _use_up(
    ledger: Ledger, tenant_id: UUID, source: Source, rate: Rate, left: Seconds, now: datetime
) -> None:
    """Have one earlier call pay for all of a source but ``left``."""
    key = DialOutKey(tenant_id=tenant_id, dial_out_id=uuid5(tenant_id, source.kind))
    outcome, dial_out = await ledger.reserve(
        DialOutRequest(
            key=key,
            kind=DialOutKind.ADD_PARTICIPANT,
            organizer_id=_ADDON_HOLDER,
            initiator_id=None,
            conference_id="before",
            number_typed="+12022000000",
        ),
        Destination(e164=E164("+12022000000"), region=Region("US"), kind=NumberKind.FIXED_LINE),
        (source,),
        rate,
        Terms(
            talk_seconds_max=Seconds(_EARLIER_SECONDS_MAX),
            talk_seconds_min=Seconds(1),
            slice_seconds=Seconds(_EARLIER_SECONDS_MAX),
            ring_seconds=Seconds(5),
            caller_id=CALLER_ID,
        ),
        "{}",
        now,
        now + timedelta(seconds=8),
        "earlier",
    )
    assert outcome is RequestOutcome.RESERVED, "nothing was spent before"
    assert dial_out.talk_seconds is not None, "what is reserved has its time"
    await ledger.settle(
        key,
        answered_at=now,
        ended_at=now + timedelta(seconds=max(1, dial_out.talk_seconds - left)),
        hangup_cause=16,
        disposition=Disposition.ANSWERED,
        evidence="record",
    )


async def _rate(provisioning: Provisioning) -> Rate:
    [deck_id] = [each.deck_id for each in await provisioning.rate_decks() if each.name == DECK]
    row = _ROWS[0]
    return Rate(
        deck_id=deck_id,
        deck=DECK,
        prefix=row.prefix,
        regions=row.regions,
        currency=CURRENCY,
        price_micros=row.price_micros,
        connect_fee_micros=row.connect_fee_micros,
        initial_increment_seconds=row.initial_increment_seconds,
        increment_seconds=row.increment_seconds,
    )


def _year_ago(at: datetime) -> datetime:
    return at - timedelta(days=365)
