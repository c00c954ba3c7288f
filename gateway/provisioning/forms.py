"""What may be asked of provisioning: each form is a body over HTTP, a command, a line of a sheet.

Whatever people type is checked here, once for all three. Money is written as a decimal number,
in units of the currency, and is exact to a millionth. Times are ISO 8601; without an offset
they are UTC, and a date alone is its first instant. The end of a period is exclusive; without
one, the period has no end.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Hashable, Set
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from gateway.core.choices import Count, MeetingPermission
from gateway.core.e164 import GLOBAL_REGION, REGIONS, Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.rating import Micros, Seconds
from gateway.core.week import DAY_MINUTES, DAYS, Hours, days_named, end_time_named, time_named
from gateway.ledger import Change, Channel, DeckRow, PrefixEffect, Segment
from gateway.sheet import Row

MICROS_A_UNIT = 1_000_000

_MONEY = re.compile(r"[0-9]+(\.[0-9]{1,6})?", re.ASCII)
_MONEY_CHARS_MAX = 17  # ten digits, a point and six: what is longer is no amount of anybody's
# No line ends, nothing that a terminal acts on, nothing that turns the direction of writing,
# and no half of a character.
_TEXT = "[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


def written(pattern: str, allowed: str) -> AfterValidator:
    """Return a check that a text has a form, and says which form is ``allowed`` if it has not."""
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"must be {allowed}")
        return text

    return AfterValidator(check)


def _one_of(regions: Set[Region], allowed: str) -> AfterValidator:
    """Return a check that a code is one of ``regions``, and says what is ``allowed`` if not."""

    def check(code: str) -> str:
        if code not in regions:
            raise ValueError(f"must be {allowed}")
        return code

    return AfterValidator(check)


def _visible(text: str) -> str:
    """Return a text that somebody can see."""
    if not any(each.isprintable() and not each.isspace() for each in text):
        raise ValueError("must have a character that can be seen")
    return text


def _money(at_least: int, at_most: int) -> BeforeValidator:
    """Return a reader of decimal money, in units, as micros. Bounds are in micros."""

    def read(text: object) -> int:
        if not isinstance(text, str) or not _MONEY.fullmatch(text):
            raise ValueError('must be a text like "0.013": units, at most six decimal places')
        micros = int(Decimal(text) * MICROS_A_UNIT) if len(text) <= _MONEY_CHARS_MAX else None
        if micros is None or not at_least <= micros <= at_most:
            raise ValueError(f"must be {_units(at_least)} to {_units(at_most)} units")
        return micros

    return BeforeValidator(read)


def _units(micros: int) -> str:
    return f"{Decimal(micros) / MICROS_A_UNIT:f}"


def instant(text: object) -> datetime:
    """Return the instant that ISO 8601 text names."""
    try:
        named = datetime.fromisoformat(text) if isinstance(text, str) else None
        if named is not None:
            return (named if named.tzinfo else named.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time like 2026-11-21 or 2026-11-21T09:30:00+01:00")


def _regions(text: object) -> object:
    """Return the codes that semicolons separate; a list is one already."""
    return text.split(";") if isinstance(text, str) else text


def _read_by(reader: Callable[[str], object], example: str) -> Callable[[object], object]:
    """Return a reader of what is written as text, like the example, and in no other way."""

    def read(text: object) -> object:
        if not isinstance(text, str):
            raise ValueError(f'must be a text like "{example}"')
        return reader(text)

    return read


ID_ALLOWED = "1 to 128 letters, digits or any of . _ @ + -"

PersonId = Annotated[str, written(r"[A-Za-z0-9._@+-]{1,128}", ID_ALLOWED)]
ConferenceId = Annotated[
    str, written(r"[A-Za-z0-9._@-]{1,128}", "1 to 128 letters, digits or any of . _ @ -")
]
RegionCode = Annotated[
    str, _one_of(REGIONS, "an ISO 3166-1 code, like GB, of a country with a numbering plan")
]
CurrencyCode = Annotated[str, written(r"[A-Z]{3}", "an ISO 4217 code like USD")]
CalleeNumber = Annotated[
    str,
    written(r"\+[1-9][0-9]{6,14}", "a number with + and the calling code, like +442079460000"),
]
Prefix = Annotated[
    str, written(r"[1-9][0-9]{0,14}", "1 to 15 digits with the calling code, without +")
]
Name = Annotated[
    str, written(f"{_TEXT}{{1,256}}", "1 to 256 characters, none of them a control character")
]
DeckName = Annotated[
    str, written(f"{_TEXT}{{1,128}}", "1 to 128 characters, none of them a control character")
]
Note = Annotated[
    str, written(f"{_TEXT}{{0,256}}", "at most 256 characters, none of them a control character")
]
Reason = Annotated[
    str,
    written(f"{_TEXT}{{1,256}}", "1 to 256 characters, none of them a control character"),
    AfterValidator(_visible),
]
Instant = Annotated[datetime, BeforeValidator(instant)]
Price = Annotated[int, _money(0, 10**12)]
Funds = Annotated[int, _money(1, 10**15)]
Spend = Annotated[int, _money(0, 10**15)]
Increment = Annotated[Count, Field(ge=1, le=3600)]
DeckRegion = Annotated[
    str,
    _one_of(
        REGIONS | {GLOBAL_REGION},
        "an ISO 3166-1 code, like GB, of a country with a numbering plan, or 001",
    ),
]
RegionCodes = Annotated[frozenset[DeckRegion], BeforeValidator(_regions), Field(min_length=1)]
RateName = Annotated[
    str, written(f"{_TEXT}{{1,128}}", "1 to 128 characters, none of them a control character")
]
Days = Annotated[frozenset[int], BeforeValidator(_read_by(days_named, "mon-fri"))]
StartTime = Annotated[int, BeforeValidator(_read_by(time_named, "08:00"))]
EndTime = Annotated[int, BeforeValidator(_read_by(end_time_named, "18:00"))]
TimeZone = Annotated[str, written(r"[A-Za-z0-9_+/-]{1,64}", "a name like Europe/London")]


PERSON_ID: TypeAdapter[str] = TypeAdapter(PersonId)
CONFERENCE_ID: TypeAdapter[str] = TypeAdapter(ConferenceId)
PREFIX: TypeAdapter[str] = TypeAdapter(Prefix)
CALLEE_NUMBER: TypeAdapter[str] = TypeAdapter(CalleeNumber)
NAME: TypeAdapter[str] = TypeAdapter(Name)
DECK_NAME: TypeAdapter[str] = TypeAdapter(DeckName)
SPEND: TypeAdapter[int] = TypeAdapter(Spend)


class Author(BaseModel):
    """Who changes something, and why; written down with every row that changes."""

    model_config = ConfigDict(frozen=True)

    actor: PersonId
    because: Reason | None = None


class Form(Row):
    """Something of a tenant that is to be so from now on."""

    @abstractmethod
    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Have it so, within ``change``; ``at`` is now."""


class TenantForm(Form):
    """A tenant. Time zone, anchor day and currency never change: balances rest on them."""

    name: Name
    time_zone: TimeZone
    anchor_day: Annotated[int, Field(ge=1, le=31)] = 1
    currency: CurrencyCode
    rate_deck: DeckName | None = None
    inbound_deck: DeckName | None = None

    @property
    def key(self) -> Hashable:
        """The name, by which people know it."""
        return self.name

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Make the tenant known, with the default of every choice."""
        return await change.tenant_create(
            tenant_id,
            name=self.name,
            time_zone=self.time_zone,
            anchor_day=self.anchor_day,
            currency=self.currency,
            rate_deck=self.rate_deck,
            inbound_deck=self.inbound_deck,
        )


class OrganizerForm(Form):
    """An organizer, whole: what is left out of it is not kept from before."""

    organizer_id: PersonId
    display_name: Note = ""
    region: RegionCode
    dial_out_permission: DialOutPermission

    @property
    def key(self) -> Hashable:
        """The organizer."""
        return self.organizer_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Make the organizer known, or change one."""
        return await change.organizer_put(
            tenant_id,
            OrganizerId(self.organizer_id),
            display_name=self.display_name,
            region=Region(self.region),
            permission=self.dial_out_permission,
        )


class LicenceForm(Form):
    """A licence of an organizer for a period. ``forced_because`` passes over what is refused."""

    organizer_id: PersonId
    sku: Sku
    valid_from: Instant
    valid_to: Instant | None = None
    channel: Channel
    segment: Segment
    forced_because: Reason | None = None

    @property
    def key(self) -> Hashable:
        """The organizer, the licence and its first instant."""
        return self.organizer_id, self.sku, self.valid_from

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Assign the licence."""
        return await change.licence_assign(
            tenant_id,
            OrganizerId(self.organizer_id),
            self.sku,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            channel=self.channel,
            segment=self.segment,
            at=at,
            forced_because=self.forced_because,
        )


class LicenceEndForm(Form):
    """Another end of a licence that an organizer has; without ``valid_to``, none."""

    organizer_id: PersonId
    sku: Sku
    valid_from: Instant
    valid_to: Instant | None
    forced_because: Reason | None = None

    @property
    def key(self) -> Hashable:
        """The organizer, the licence and its first instant."""
        return self.organizer_id, self.sku, self.valid_from

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Move the end."""
        return await change.licence_end(
            tenant_id,
            OrganizerId(self.organizer_id),
            self.sku,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            at=at,
            forced_because=self.forced_because,
        )


class PurchaseForm(Form):
    """Licences that were bought. Counted where the tenant's choice ``pool_basis`` says so."""

    purchase_id: UUID
    sku: Sku
    quantity: Annotated[Count, Field(ge=1, le=1_000_000)]
    channel: Channel
    segment: Segment
    valid_from: Instant
    valid_to: Instant | None = None

    @property
    def key(self) -> Hashable:
        """The purchase."""
        return self.purchase_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Record the purchase."""
        return await change.purchase_add(
            tenant_id,
            self.purchase_id,
            self.sku,
            quantity=self.quantity,
            channel=self.channel,
            segment=self.segment,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            at=at,
        )


class CreditsForm(Form):
    """Funds that a tenant bought. The same ``grant_id`` is never added twice."""

    grant_id: UUID
    amount: Funds

    @property
    def key(self) -> Hashable:
        """The grant."""
        return self.grant_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Add the funds."""
        return await change.credits_add(tenant_id, self.grant_id, Micros(self.amount), at)


class RechargeForm(Form):
    """By how much credits are recharged, below which balance, and how long after a failure."""

    amount: Funds
    trigger: Funds
    backoff_seconds: Annotated[Count, Field(ge=60, le=2_592_000)] = 3600

    @property
    def key(self) -> Hashable:
        """Nothing: a tenant has one."""
        return None

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Have the credits recharged like this from now on."""
        return await change.recharge_put(
            tenant_id,
            amount_micros=Micros(self.amount),
            trigger_micros=Micros(self.trigger),
            backoff_seconds=Seconds(self.backoff_seconds),
            at=at,
        )


class RechargeFailureForm(Form):
    """Why the payment system could not recharge a tenant's credits."""

    recharge_id: UUID
    reason: Reason

    @property
    def key(self) -> Hashable:
        """The recharge."""
        return self.recharge_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Record the failure."""
        return await change.recharge_failed(tenant_id, self.recharge_id, reason=self.reason, at=at)


class MeetingForm(Form):
    """A meeting with permissions of its own: for Call Me, and for calling somebody else.

    With ``organizer_id`` it is that organizer's alone; without, any organizer's who is named.
    """

    conference_id: ConferenceId
    to_self: MeetingPermission
    to_third_party: MeetingPermission
    organizer_id: PersonId | None = None

    @property
    def key(self) -> Hashable:
        """The conference."""
        return self.conference_id

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """Give the meeting these permissions."""
        return await change.meeting_put(
            tenant_id,
            self.conference_id,
            to_self=self.to_self,
            to_third_party=self.to_third_party,
            organizer_id=None if self.organizer_id is None else OrganizerId(self.organizer_id),
        )


class PrefixForm(Form):
    """A prefix on a list: a tenant's own or, without tenant, the operator's for everybody.

    ``exempt`` takes it out of the shipped list of high-risk prefixes, for one tenant.
    """

    prefix: Prefix
    effect: PrefixEffect = PrefixEffect.BLOCK
    note: Note = ""

    @property
    def key(self) -> Hashable:
        """The prefix and what it does: one may be blocked in whole and exempt in part."""
        return self.prefix, self.effect

    async def put(self, change: Change, tenant_id: UUID, at: datetime) -> StrEnum:
        """List the prefix for a tenant."""
        return await change.prefix_put(tenant_id, self.prefix, self.effect, note=self.note)

    async def put_for_all(self, change: Change) -> StrEnum:
        """List the prefix for all tenants."""
        return await change.prefix_put(None, self.prefix, self.effect, note=self.note)


class DeckForm(BaseModel):
    """A rate deck: the name that tenants choose it by, and the currency of its prices.

    ``starts_at`` is when the sheet takes effect; without one, now. The hours of its windows are
    those of ``time_zone``; without one, of the zone that the deck had, or UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: DeckName
    currency: CurrencyCode
    starts_at: datetime | None = None
    time_zone: TimeZone | None = None


class DeckRowForm(Row):
    """The price of a prefix: of a minute and of a connection, and how seconds are counted.

    With ``days``, or ``from`` and ``to``, it holds within those hours of the week only. A row
    that takes effect at another instant than the rest of the sheet says from when.
    """

    prefix: Prefix
    name: RateName | None = None
    price: Price
    currency: CurrencyCode | None = None
    connect_fee: Price = 0
    initial_increment: Increment
    increment: Increment
    regions: RegionCodes | None = None
    valid_from: Instant | None = None
    days: Days | None = None
    from_time: Annotated[StartTime | None, Field(alias="from")] = None
    to_time: Annotated[EndTime | None, Field(alias="to")] = None

    @property
    def hours(self) -> Hours | None:
        """The hours of the week in which the row holds; None if it is always."""
        return _hours(self.days, self.from_time, self.to_time)

    @property
    def key(self) -> Hashable:
        """The prefix, from when on, and within which hours."""
        return self.prefix, self.valid_from, self.hours

    def deck_row(self) -> DeckRow:
        """Return the row in the ledger's words."""
        return DeckRow(
            prefix=self.prefix,
            name=self.name,
            hours=self.hours,
            price_micros=Micros(self.price),
            connect_fee_micros=Micros(self.connect_fee),
            initial_increment_seconds=Seconds(self.initial_increment),
            increment_seconds=Seconds(self.increment),
            regions=None if self.regions is None else _same(self.regions),
        )


# The same few of them come in thousands of lines.
@lru_cache(maxsize=1024)
def _hours(days: frozenset[int] | None, start: int | None, end: int | None) -> Hours | None:
    return Hours.of(
        frozenset(range(len(DAYS))) if days is None else days,
        0 if start is None else start,
        DAY_MINUTES if end is None else end,
    )


@lru_cache(maxsize=1024)
def _same(regions: frozenset[str]) -> frozenset[Region]:
    return frozenset(map(Region, regions))
