"""What the ledger answers: outcomes, in the order of precedence of each function, and facts.

The outcomes are those that the SQL functions return; each function's file says what they mean.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from gateway.core.dial_out import DialOut
from gateway.core.e164 import E164, Region
from gateway.core.policy import OrganizerFacts, SourceKind, TenantFacts
from gateway.core.rating import Micros, Seconds


class RequestOutcome(StrEnum):
    """What became of a request to reserve, or to record a refusal."""

    UNKNOWN_TENANT = "unknown_tenant"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    REFUSED = "refused"
    RESERVED = "reserved"


class ClaimOutcome(StrEnum):
    """Why a channel gets nothing. A claim that succeeds is a ``Claim``."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    REFUSED = "refused"
    ENDED = "ended"
    RELEASED = "released"
    EXPIRED = "expired"


class AnsweredOutcome(StrEnum):
    """Whether the instant of the answer was noted."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    EXISTS = "exists"
    UNCLAIMED = "unclaimed"
    ENDED = "ended"
    ANSWERED = "answered"


class SettleOutcome(StrEnum):
    """Whether a call was billed."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    EXISTS = "exists"
    UNCLAIMED = "unclaimed"
    SETTLED = "settled"


class VoidOutcome(StrEnum):
    """Whether everything was given back."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    EXISTS = "exists"
    RELEASED = "released"
    ANSWERED = "answered"
    VOIDED = "voided"


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
    UPDATED = "updated"


class OrganizerOutcome(StrEnum):
    """Whether an organizer was made known or changed."""

    UNKNOWN_TENANT = "unknown_tenant"
    CREATED = "created"
    UPDATED = "updated"


class LicenceOutcome(StrEnum):
    """Whether a licence was assigned."""

    UNKNOWN_ORGANIZER = "unknown_organizer"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    ASSIGNED = "assigned"


class CreditsOutcome(StrEnum):
    """Whether bought funds were added."""

    UNKNOWN_TENANT = "unknown_tenant"
    EXISTS = "exists"
    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    ADDED = "added"


class RateDeckOutcome(StrEnum):
    """Whether a deck was put in place."""

    EXISTS_WITH_DIFFERENT_CURRENCY = "exists_with_different_currency"
    EXISTS = "exists"
    PUT = "put"


class Unit(StrEnum):
    """What a source is counted in."""

    SECONDS = "seconds"
    MICROS = "micros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a released channel may dial, from the database's own row."""

    destination: E164
    talk_seconds: Seconds
    ring_seconds: Seconds
    caller_id: E164

    @classmethod
    def of(cls, dial_out: DialOut) -> Self:
        """Return the claim of a dial-out that was released when it was reserved."""
        assert dial_out.destination is not None, "a reservation has a destination"
        assert dial_out.talk_seconds is not None, "a reservation has bounds"
        assert dial_out.ring_seconds is not None, "a reservation has bounds"
        assert dial_out.caller_id is not None, "a reservation has a caller id"
        return cls(
            destination=dial_out.destination,
            talk_seconds=dial_out.talk_seconds,
            ring_seconds=dial_out.ring_seconds,
            caller_id=dial_out.caller_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerAnswer:
    """What is known of those whom a request names; None for whom nobody knows.

    ``initiator_region`` is that of the initiator's own record as an organizer.
    """

    tenant: TenantFacts | None
    organizer: OrganizerFacts | None
    initiator_region: Region | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeckRow:
    """The price of one prefix, in a deck that is about to be put in place.

    ``prefix`` is digits without a plus sign; ``price_micros`` is for a minute.
    """

    prefix: str
    price_micros: Micros
    connect_fee_micros: Micros
    initial_increment_seconds: Seconds
    increment_seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One source, in its unit: ``granted`` is always ``used`` + ``reserved`` + ``free``.

    A bound of its validity is None where there is none.
    """

    source_id: UUID
    kind: SourceKind
    unit: Unit
    currency: str | None
    valid_from: datetime | None
    valid_to: datetime | None
    granted: int
    used: int
    reserved: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in the books that does not agree with the rest of them.

    ``check`` is the code of the rule that is broken; ``subject`` the id of the source or the
    dial-out that breaks it.
    """

    tenant_id: UUID
    check: str
    subject: str
    detail: str

    def summary(self) -> dict[str, str]:
        """Return the finding as plain JSON values."""
        return {
            "tenant_id": str(self.tenant_id),
            "check": self.check,
            "subject": self.subject,
            "detail": self.detail,
        }
