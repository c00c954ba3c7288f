"""What provisioning answers: outcomes, in the order of precedence of each function, and lists.

The outcomes are those that the SQL functions return; each function's file says what they mean.
The fields of a list's row are the columns of its view.
"""

from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Json, JsonValue

from gateway.core.choices import MeetingPermission
from gateway.core.e164 import E164, Region
from gateway.core.facts import DialOutPermission, OrganizerId, Sku
from gateway.core.limits import LimitKind, LimitMode, LimitScope
from gateway.core.rating import Micros, Seconds
from gateway.core.week import Hours


class TenantOutcome(StrEnum):
    """Whether a tenant was made known."""

    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    UNKNOWN_RATE_DECK = "unknown_rate_deck"
    RATE_DECK_CURRENCY_DIFFERS = "rate_deck_currency_differs"
    CREATED = "created"


class TenantUpdateOutcome(StrEnum):
    """Whether a tenant was changed."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_RATE_DECK = "unknown_rate_deck"
    RATE_DECK_CURRENCY_DIFFERS = "rate_deck_currency_differs"
    UNCHANGED = "unchanged"
    UPDATED = "updated"


class OrganizerOutcome(StrEnum):
    """Whether an organizer was made known or changed."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_REGION = "unknown_region"
    UNCHANGED = "unchanged"
    LICENCE_NOT_SOLD = "licence_not_sold"
    CREATED = "created"
    UPDATED = "updated"


class LicenceOutcome(StrEnum):
    """Whether a licence was assigned."""

    UNKNOWN_ORGANIZER = "unknown_organizer"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    ENDS_BEFORE_IT_STARTS = "ends_before_it_starts"
    CHANNEL_SEGMENT_MISMATCH = "channel_segment_mismatch"
    OVERLAPS = "overlaps"
    NOT_SOLD = "not_sold"
    PREREQUISITE_MISSING = "prerequisite_missing"
    ASSIGNED = "assigned"


class LicenceEndOutcome(StrEnum):
    """Whether the end of a licence was moved."""

    UNKNOWN_LICENCE = "unknown_licence"
    UNCHANGED = "unchanged"
    ENDS_BEFORE_IT_STARTS = "ends_before_it_starts"
    OVERLAPS = "overlaps"
    NOT_SOLD = "not_sold"
    PREREQUISITE_MISSING = "prerequisite_missing"
    NEEDED_BY_ADDON = "needed_by_addon"
    CHANGED = "changed"


class PurchaseOutcome(StrEnum):
    """Whether a purchase was recorded."""

    UNKNOWN_TENANT = "unknown_tenant"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    ENDS_BEFORE_IT_STARTS = "ends_before_it_starts"
    CHANNEL_SEGMENT_MISMATCH = "channel_segment_mismatch"
    ADDED = "added"


class CreditsOutcome(StrEnum):
    """Whether bought funds were added."""

    UNKNOWN_TENANT = "unknown_tenant"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    ADDED = "added"


class RechargeOutcome(StrEnum):
    """Whether a tenant's credits are recharged by themselves from now on."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    PUT = "put"


class RechargeRemovalOutcome(StrEnum):
    """Whether that has ended."""

    UNKNOWN_TENANT = "unknown_tenant"
    ABSENT = "absent"
    REMOVED = "removed"


class RechargeFailedOutcome(StrEnum):
    """Whether the failure of a recharge was recorded."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_RECHARGE = "unknown_recharge"
    ALREADY_RECHARGED = "already_recharged"
    EXISTS = "exists"
    FAILED = "failed"


class RetryOutcome(StrEnum):
    """Whether an event is delivered before it was due."""

    UNKNOWN_EVENT = "unknown_event"
    ALREADY_DELIVERED = "already_delivered"
    DUE = "due"


class PolicyOutcome(StrEnum):
    """Whether a tenant's choices were changed."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_VERSION = "unknown_version"
    UNKNOWN_REGION = "unknown_region"
    UNCHANGED = "unchanged"
    CHANGED = "changed"


class MeetingOutcome(StrEnum):
    """Whether a meeting got permissions of its own, or had them changed."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_ORGANIZER = "unknown_organizer"
    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"


class LimitOutcome(StrEnum):
    """Whether a limit was set."""

    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_ORGANIZER = "unknown_organizer"
    UNCHANGED = "unchanged"
    CREATED = "created"
    UPDATED = "updated"


class BlockOutcome(StrEnum):
    """Whether an organizer was blocked."""

    UNKNOWN_ORGANIZER = "unknown_organizer"
    EXISTS = "exists"
    BLOCKED = "blocked"


class UnblockOutcome(StrEnum):
    """Whether the block of an organizer was lifted."""

    UNKNOWN_ORGANIZER = "unknown_organizer"
    NOT_BLOCKED = "not_blocked"
    LIFTED = "lifted"


class PrefixOutcome(StrEnum):
    """Whether a prefix was listed."""

    UNKNOWN_TENANT = "unknown_tenant"
    EXEMPT_NEEDS_TENANT = "exempt_needs_tenant"
    EXISTS = "exists"
    PUT = "put"


class RemovalOutcome(StrEnum):
    """Whether something was removed."""

    ABSENT = "absent"
    REMOVED = "removed"


class RateDeckOutcome(StrEnum):
    """Whether a deck was put in place."""

    UNKNOWN_REGION = "unknown_region"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    EXISTS_WITH_DIFFERENT_CURRENCY = "exists_with_different_currency"
    EXISTS = "exists"
    STARTS_TOO_EARLY = "starts_too_early"
    SCHEDULED = "scheduled"
    PUT = "put"


class Channel(StrEnum):
    """How a subscription was bought."""

    EA = "ea"
    EES = "ees"
    CSP = "csp"
    WEB_DIRECT = "web_direct"


class Segment(StrEnum):
    """What kind of customer bought it."""

    COMMERCIAL = "commercial"
    EDUCATION = "education"
    NONPROFIT = "nonprofit"
    US_GCC = "us_gcc"


class PrefixEffect(StrEnum):
    """What a listed prefix does; ``exempt`` takes it out of the shipped high-risk list."""

    BLOCK = "block"
    EXEMPT = "exempt"


class PrefixList(StrEnum):
    """Which list a prefix is in. The high-risk one is shipped, and the same for everybody."""

    OPERATOR = "operator"
    TENANT = "tenant"
    HIGH_RISK = "high_risk"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckRow:
    """The price of one prefix, in a deck that is about to be put in place.

    ``prefix`` is digits without a plus sign; ``price_micros`` is for a minute; ``regions`` are
    the countries that the deck names for it, None if it names none. With ``hours`` the price
    holds within them alone, before that of the prefix at any time.
    """

    prefix: str
    price_micros: Micros
    connect_fee_micros: Micros
    initial_increment_seconds: Seconds
    increment_seconds: Seconds
    regions: frozenset[Region] | None = None
    name: str | None = None
    hours: Hours | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row of a list."""

    def summary(self) -> dict[str, JsonValue]:
        """Return the row as plain JSON values, under the names of its fields."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant(Listed):
    """A tenant; ``rate_deck`` is the name of the deck that prices its calls out.

    ``inbound_deck`` prices those who call its service numbers. None where there is no such deck.

    Its months begin on the ``anchor_day``, or the last day of a month that has no such day.
    """

    tenant_id: UUID
    name: str
    suspended: bool
    time_zone: str
    anchor_day: int
    currency: str
    rate_deck: str | None
    inbound_deck: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organizer(Listed):
    """An organizer of meetings; ``region`` is the usage location of the licences."""

    tenant_id: UUID
    organizer_id: OrganizerId
    display_name: str
    region: Region
    dial_out_permission: DialOutPermission


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence(Listed):
    """What an organizer holds; a ``valid_to`` of None is without end.

    ``channel`` and ``segment`` are None of a licence from before they were recorded.
    """

    tenant_id: UUID
    organizer_id: OrganizerId
    sku: Sku
    valid_from: datetime
    valid_to: datetime | None
    channel: Channel | None
    segment: Segment | None
    forced_by: str | None
    forced_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase(Listed):
    """What was bought; a ``valid_to`` of None is without end."""

    tenant_id: UUID
    purchase_id: UUID
    sku: Sku
    quantity: int
    channel: Channel
    segment: Segment
    valid_from: datetime
    valid_to: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant(Listed):
    """Funds that were bought, in micro-units of ``currency``."""

    tenant_id: UUID
    grant_id: UUID
    micros: Micros
    currency: str
    at: datetime


class RechargeState(StrEnum):
    """What became of a recharge. One that failed may still be paid."""

    OPEN = "open"
    RECHARGED = "recharged"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """How far an event has come. ``failing`` has been tried for days, and still is."""

    PENDING = "pending"
    FAILING = "failing"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoRecharge(Listed):
    """By how much credits are recharged, and below which balance, in micros of ``currency``.

    After a failure nothing is asked for during ``backoff_seconds``.
    """

    tenant_id: UUID
    amount_micros: Micros
    trigger_micros: Micros
    backoff_seconds: Seconds
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recharge(Listed):
    """What was asked of the payment system; ``ended_at`` and ``because`` are what it answered."""

    tenant_id: UUID
    recharge_id: UUID
    amount_micros: Micros
    currency: str
    requested_at: datetime
    state: RechargeState
    ended_at: datetime | None
    because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Listed):
    """Something that others must hear of, and how far it has come.

    ``number`` is its place among all events; the next reader's page begins after it. ``kind``
    is one of ``gateway.core.event``. ``next_at`` is None of one that was delivered or never
    tried, ``fault`` what the last attempt failed on.
    """

    number: int
    event_id: UUID
    tenant_id: UUID
    kind: str
    at: datetime
    data: Json[dict[str, JsonValue]]
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    fault: str | None
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting(Listed):
    """A meeting that has permissions of its own; an organizer too, if it is known whose it is."""

    tenant_id: UUID
    conference_id: str
    to_self: MeetingPermission
    to_third_party: MeetingPermission
    organizer_id: OrganizerId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee(Listed):
    """How often a number was called since ``window_from``, by whomever, and took no call.

    It is left alone until ``quiet_until``; None if it was not called too often.
    """

    destination: E164
    attempts: int
    window_from: datetime | None
    quiet_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSet(Listed):
    """A limit that is set. An empty subject: the tenant, or the default of all of the scope.

    ``most`` is in the unit of the kind; None is no limit, where the default is one.
    """

    tenant_id: UUID
    scope: LimitScope
    subject: str
    kind: LimitKind
    most: int | None
    mode: LimitMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(Listed):
    """An organizer who is blocked, or was: then it says who lifted it and why."""

    tenant_id: UUID
    block_id: UUID
    organizer_id: OrganizerId
    at: datetime
    blocked_by: str
    reason: str
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_because: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrefix(Listed):
    """A prefix in digits, and the list that it is in.

    ``region``, ``source`` and ``listed_on`` are those of the shipped list; None in the others.
    """

    listed_in: PrefixList
    tenant_id: UUID | None
    prefix: str
    effect: PrefixEffect
    note: str
    region: Region | None
    source: str | None
    listed_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDeck(Listed):
    """A deck: how many rates are in force, in which time zone, and since when.

    ``ahead`` are the versions that will be: ``starts_at``, ``time_zone`` and ``rates`` of each,
    in order. A deck that has never been in force has no time zone.
    """

    deck_id: int
    name: str
    currency: str
    time_zone: str | None
    rates: int
    rates_from: datetime | None
    ahead: Json[list[dict[str, JsonValue]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckRate(Listed):
    """A price of a deck: of ``prefix``, within ``hours`` of the week or, without, at any time.

    It holds from ``starts_at`` until before ``ends_at``; None is no bound. ``slot`` numbers the
    prices of a prefix, the one at any time being 0.
    """

    prefix: str
    slot: int
    hours: Json[Hours] | None
    name: str | None
    price_micros: Micros
    connect_fee_micros: Micros
    initial_increment_seconds: Seconds
    increment_seconds: Seconds
    regions: tuple[Region, ...] | None
    time_zone: str
    starts_at: datetime | None
    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry(Listed):
    """One row of ``relation`` as it was and as it became; None: it was not, or is no more.

    ``tenant_id`` is None of what touches all tenants.
    """

    audit_id: UUID
    tenant_id: UUID | None
    at: datetime
    actor: str
    because: str | None
    relation: str
    before: Json[dict[str, JsonValue]] | None
    after: Json[dict[str, JsonValue]] | None


def _plain(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | dict() | list():
            return value
        case tuple():
            return list(map(_plain, value))
        case datetime() | date():
            return value.isoformat()
        case _:
            return str(value)
