"""A tenant to test on: small words for what the tests need, all said as the gateway says it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self, TypedDict
from uuid import UUID, uuid4

from gateway.core.causes import Disposition
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, Terms
from gateway.core.e164 import E164, Destination, NumberKind, Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku, SourceKind
from gateway.core.grant import Grant
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.waterfall import Source
from gateway.db import Connection
from gateway.ledger import Balance, Claim, Ledger, RequestOutcome, SettleOutcome, VoidOutcome
from gateway.ledger.provisioning import Provisioning
from gateway.ledger.provisioning_answers import (
    Channel,
    CreditsOutcome,
    DeckRow,
    LicenceOutcome,
    OrganizerOutcome,
    RateDeckOutcome,
    Segment,
    TenantOutcome,
)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
ACTOR = "test"
YEAR_BEFORE = datetime(2025, 3, 10, tzinfo=UTC)
ADDON = (Source(kind=SourceKind.ADDON, benefit_id="extended_dialout_us_ca"),)
POOL = (Source(kind=SourceKind.POOL, benefit_id="standard_pool"),)
CREDITS = (Source(kind=SourceKind.CREDITS),)
POOL_THEN_CREDITS = (*POOL, *CREDITS)
ORGANIZER = OrganizerId("ann@example.com")
LONDON = Destination(e164=E164("+442079460123"), region=Region("GB"), kind=NumberKind.FIXED_LINE)
TERMS = Terms(
    talk_seconds_max=Seconds(1800),
    talk_seconds_min=Seconds(60),
    slice_seconds=Seconds(86_400),
    ring_seconds=Seconds(30),
    caller_id=E164("+442079460999"),
)
LONDON_ROW = DeckRow(
    prefix="44",
    price_micros=Micros(12_000),
    connect_fee_micros=Micros(5_000),
    initial_increment_seconds=Seconds(60),
    increment_seconds=Seconds(60),
)


class Ended(TypedDict):
    """What the gateway tells the ledger of the end of a call."""

    answered_at: datetime
    ended_at: datetime
    hangup_cause: int
    disposition: Disposition
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One tenant in EUR with a deck that prices +44, and one organizer without licences."""

    ledger: Ledger
    provisioning: Provisioning
    tenant_id: UUID
    rate: Rate

    @classmethod
    async def create(
        cls,
        ledger: Ledger,
        provisioning: Provisioning,
        *,
        time_zone: str = "UTC",
        anchor_day: int = 1,
    ) -> Self:
        """Make a tenant that nobody knew before."""
        deck = f"deck {uuid4()}"
        tenant_id = uuid4()
        async with provisioning.change(actor=ACTOR) as change:
            put = await change.rate_deck_put(deck, "EUR", [LONDON_ROW], YEAR_BEFORE)
            created = await change.tenant_create(
                tenant_id,
                name="Acme",
                time_zone=time_zone,
                anchor_day=anchor_day,
                currency="EUR",
                rate_deck=deck,
            )
        assert put is RateDeckOutcome.PUT
        assert created is TenantOutcome.CREATED
        rate = await _rate(provisioning, deck, LONDON_ROW)
        world = cls(ledger=ledger, provisioning=provisioning, tenant_id=tenant_id, rate=rate)
        await world.add_organizer(ORGANIZER)
        return world

    async def elsewhere(self) -> Self:
        """Make another tenant beside this one."""
        return await self.create(self.ledger, self.provisioning)

    async def add_organizer(self, organizer_id: OrganizerId, *, region: str = "GB") -> None:
        """Make an organizer known who may call anywhere."""
        async with self.provisioning.change(actor=ACTOR) as change:
            outcome = await change.organizer_put(
                self.tenant_id,
                organizer_id,
                display_name="Ann",
                region=Region(region),
                permission=DialOutPermission.ANY,
            )
        assert outcome is OrganizerOutcome.CREATED

    async def add_licence(
        self,
        organizer_id: OrganizerId = ORGANIZER,
        *,
        sku: Sku = Sku.AUDIO_CONFERENCING,
        valid_from: datetime = YEAR_BEFORE,
        valid_to: datetime | None = None,
        at: datetime = NOON,
    ) -> None:
        """Give an organizer a licence; Audio Conferencing brings 3600 s a month into the pool."""
        async with self.provisioning.change(actor=ACTOR) as change:
            outcome = await change.licence_assign(
                self.tenant_id,
                organizer_id,
                sku,
                valid_from=valid_from,
                valid_to=valid_to,
                channel=Channel.CSP,
                segment=Segment.COMMERCIAL,
                at=at,
            )
        assert outcome is LicenceOutcome.ASSIGNED

    async def add_credits(self, micros: int, at: datetime = NOON) -> None:
        """Add bought funds."""
        async with self.provisioning.change(actor=ACTOR) as change:
            outcome = await change.credits_add(self.tenant_id, uuid4(), Micros(micros), at)
        assert outcome is CreditsOutcome.ADDED

    async def update(self, *, suspended: bool = False, rate_deck: str | None = None) -> None:
        """Suspend the tenant or not, and have a deck price its calls; None is no deck."""
        async with self.provisioning.change(actor=ACTOR) as change:
            await change.tenant_update(self.tenant_id, suspended=suspended, rate_deck=rate_deck)

    async def put_deck(self, name: str, rows: Sequence[DeckRow], at: datetime) -> None:
        """Make these rows the whole of a deck in EUR from then on."""
        async with self.provisioning.change(actor=ACTOR) as change:
            outcome = await change.rate_deck_put(name, "EUR", rows, at)
        assert outcome is RateDeckOutcome.PUT

    async def rate_of(self, deck: str, row: DeckRow) -> Rate:
        """Return what a row of a deck in EUR says a call costs."""
        return await _rate(self.provisioning, deck, row)

    def request(self) -> DialOutRequest:
        """Return a request with an id of its own."""
        return DialOutRequest(
            key=DialOutKey(tenant_id=self.tenant_id, dial_out_id=uuid4()),
            kind=DialOutKind.CALL_ME,
            organizer_id=ORGANIZER,
            initiator_id="bob",
            conference_id="room-1",
            number_typed="020 7946 0123",
        )

    async def reserve(
        self,
        request: DialOutRequest | None = None,
        sources: tuple[Source, ...] = POOL_THEN_CREDITS,
        *,
        seconds: int = 1800,
        seconds_min: int = 60,
        slice_seconds: int = 86_400,
        at: datetime = NOON,
        gate_uniqueid: str | None = None,
        rate: Rate | None = None,
    ) -> tuple[RequestOutcome, DialOut]:
        """Ask for a call to London."""
        terms = replace(
            TERMS,
            talk_seconds_max=Seconds(seconds),
            talk_seconds_min=Seconds(seconds_min),
            slice_seconds=Seconds(slice_seconds),
        )
        return await self.ledger.reserve(
            request or self.request(),
            LONDON,
            sources,
            rate or self.rate,
            terms,
            '{"because": "test"}',
            at,
            at + timedelta(seconds=60),
            gate_uniqueid,
        )

    def grant(
        self,
        request: DialOutRequest | None = None,
        sources: tuple[Source, ...] = ADDON,
        *,
        seconds: int = 600,
        terms: Terms = TERMS,
        at: datetime = NOON,
    ) -> Grant:
        """Return what a gateway granted for a call to London while the ledger was away."""
        return Grant(
            request=request or self.request(),
            destination=LONDON,
            sources=sources,
            terms=terms,
            limit_seconds=Seconds(seconds),
            confirms=False,
            explanation='{"because": "test"}',
            at=at,
            expires_at=at + timedelta(seconds=8),
        )

    async def released(
        self,
        sources: tuple[Source, ...] = POOL_THEN_CREDITS,
        *,
        seconds: int = 1800,
        slice_seconds: int = 86_400,
    ) -> DialOutKey:
        """Reserve a call that has passed the gate, and return its key."""
        outcome, dial_out = await self.reserve(
            None, sources, seconds=seconds, slice_seconds=slice_seconds, gate_uniqueid="ast-1.1"
        )
        assert outcome is RequestOutcome.RESERVED
        return dial_out.request.key

    async def settle(
        self, key: DialOutKey, milliseconds: int
    ) -> tuple[SettleOutcome, DialOut | None]:
        """End a call that was answered at noon and lasted so long."""
        ended_at = NOON + timedelta(milliseconds=milliseconds)
        return await self.ledger.settle(key, **self.ending(NOON, ended_at))

    @staticmethod
    def ending(answered_at: datetime, ended_at: datetime) -> Ended:
        """Return what is told of the end of a call that lasted from one instant to the other."""
        return Ended(
            answered_at=answered_at,
            ended_at=ended_at,
            hangup_cause=16,
            disposition=Disposition.ANSWERED,
            evidence="test",
        )

    async def void(
        self, key: DialOutKey, *, at: datetime = NOON, only_if_unclaimed: bool = False
    ) -> tuple[VoidOutcome, DialOut | None]:
        """End a call that nobody answered."""
        return await self.ledger.void(
            key,
            at=at,
            hangup_cause=17,
            disposition=Disposition.BUSY,
            only_if_unclaimed=only_if_unclaimed,
            evidence="test",
        )

    async def balance(self, kind: SourceKind) -> Balance:
        """Return the tenant's only source of a kind."""
        [balance] = [
            each for each in await self.ledger.balances(self.tenant_id) if each.kind is kind
        ]
        return balance

    async def books(self, kind: SourceKind) -> tuple[int, int, int, int]:
        """Return granted, used, reserved and free of all the tenant's sources of a kind."""
        found = [each for each in await self.ledger.balances(self.tenant_id) if each.kind is kind]
        assert found, f"there is no {kind}"
        return (
            sum(each.granted for each in found),
            sum(each.used for each in found),
            sum(each.reserved for each in found),
            sum(each.free for each in found),
        )


async def _rate(provisioning: Provisioning, deck: str, row: DeckRow) -> Rate:
    [deck_id] = [each.deck_id for each in await provisioning.rate_decks() if each.name == deck]
    return Rate(
        deck_id=deck_id,
        deck=deck,
        prefix=row.prefix,
        regions=row.regions,
        currency="EUR",
        price_micros=row.price_micros,
        connect_fee_micros=row.connect_fee_micros,
        initial_increment_seconds=row.initial_increment_seconds,
        increment_seconds=row.increment_seconds,
    )


async def up(world: World) -> DialOutKey:
    """Return a call that was let dial."""
    _, row = await world.reserve(None, POOL, seconds=60)
    key = row.request.key
    assert isinstance(await world.ledger.claim(key, key.gate_uniqueid, NOON), Claim)
    return key


@asynccontextmanager
async def locked(owner: Connection, world: World) -> AsyncIterator[None]:
    """Keep everybody from the dial-outs of one tenant."""
    async with owner.transaction():
        await owner.execute(
            "SELECT FROM dialout.dial_out WHERE tenant_id = $1 FOR UPDATE", world.tenant_id
        )
        yield


async def until_somebody_waits(owner: Connection) -> None:
    """Return once another session waits for a lock in this database."""
    async with asyncio.timeout(20):
        while not await owner.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        ):
            await owner.execute("SELECT pg_stat_clear_snapshot()")  # or all looks are one
