"""What the ledger answers: outcomes, in the order of precedence of each function, and facts.

The outcomes are those that the SQL functions return; each function's file says what they mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self
from uuid import UUID

from gateway.core.attendance import DropReason
from gateway.core.choices import MeetingPermission
from gateway.core.dial_out import DialOut, SourceStanding
from gateway.core.e164 import E164, Region
from gateway.core.facts import Blocks, OrganizerFacts, OrganizerId, SourceKind, TenantFacts
from gateway.core.limits import Limit, LimitScope
from gateway.core.outage import Outage
from gateway.core.rating import Micros, Rate, Seconds
from gateway.core.reasons import Reason


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


class JoinedOutcome(StrEnum):
    """Whether the instant was noted at which the callee came into the conference."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    EXISTS = "exists"
    UNCLAIMED = "unclaimed"
    ENDED = "ended"
    JOINED = "joined"


class ForgetOutcome(StrEnum):
    """Whether a number was kept, and is not any more."""

    ABSENT = "absent"
    REMOVED = "removed"


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


class ExtendOutcome(StrEnum):
    """Whether a call may go on. The first two come without anything else."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    ENDED = "ended"
    UNANSWERED = "unanswered"
    EXISTS = "exists"
    LONGEST = "longest"
    EXHAUSTED = "exhausted"
    EXTENDED = "extended"


class DroppedOutcome(StrEnum):
    """Whether it was noted that a call was ended because its meeting had left it behind."""

    UNKNOWN_DIAL_OUT = "unknown_dial_out"
    UNANSWERED = "unanswered"
    EXISTS = "exists"
    DROPPED = "dropped"


class GrantOutcome(StrEnum):
    """What was made of a call that was placed under a grant while the ledger was away."""

    EXISTS_WITH_DIFFERENT_TERMS = "exists_with_different_terms"
    EXISTS = "exists"
    RELEASED = "released"
    BOOKED = "booked"


class Unit(StrEnum):
    """What a source is counted in."""

    SECONDS = "seconds"
    MICROS = "micros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a released channel may dial, from the database's own row, and for how long.

    ``limit_seconds`` may be moved while the call lasts, up to ``talk_seconds_max``. ``granted``
    says that it is no claim of the ledger's: the call was granted while that was away.
    """

    destination: E164
    limit_seconds: Seconds
    talk_seconds_max: Seconds
    ring_seconds: Seconds
    caller_id: E164
    granted: bool = False

    @classmethod
    def of(cls, dial_out: DialOut) -> Self:
        """Return the claim of a dial-out that was released when it was reserved."""
        assert dial_out.destination is not None, "a reservation has a destination"
        assert dial_out.limit_seconds is not None, "a reservation has bounds"
        assert dial_out.talk_seconds_max is not None, "a reservation has bounds"
        assert dial_out.ring_seconds is not None, "a reservation has bounds"
        assert dial_out.caller_id is not None, "a reservation has a caller id"
        return cls(
            destination=dial_out.destination,
            limit_seconds=dial_out.limit_seconds,
            talk_seconds_max=dial_out.talk_seconds_max,
            ring_seconds=dial_out.ring_seconds,
            caller_id=dial_out.caller_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """How long a call may go on, counted from the answer, after so many ``slices``.

    ``talk_seconds`` are paid for; at ``limit_seconds`` Asterisk is to cut it. All are None for
    a call that is unknown or has ended. ``more`` says whether asking again could bring more.
    """

    outcome: ExtendOutcome
    slices: int | None
    talk_seconds: Seconds | None
    limit_seconds: Seconds | None
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPermissions:
    """Who may have a telephone called from one meeting, and whose meeting it is, if known."""

    to_self: MeetingPermission
    to_third_party: MeetingPermission
    organizer_id: OrganizerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentNumber:
    """A number that a participant was called at and joined from, last at ``last_at``.

    ``number_typed`` is what was typed then.
    """

    destination: E164
    number_typed: str
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerAnswer:
    """What is known of those whom a request names; None for whom nobody knows.

    ``initiator_region`` is that of the initiator's own record as an organizer. ``meeting`` is
    None for a meeting without permissions of its own. ``limits`` are those in force, in order.
    """

    tenant: TenantFacts | None
    organizer: OrganizerFacts | None
    initiator_region: Region | None
    meeting: MeetingPermissions | None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationAnswer:
    """What the reference data, the lists and a rate deck say of a destination."""

    zones: frozenset[str]
    blocks: Blocks
    called_today: frozenset[LimitScope]
    rate: Rate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedDeck:
    """A deck to try instead of a tenant's own, with the rates that it has at an instant."""

    deck_id: int
    rates_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a reservation would have been. ``reason`` is None if it would have been made."""

    reason: Reason | None
    talk_seconds: Seconds | None
    limit_seconds: Seconds | None
    sources: tuple[SourceStanding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What dropping a tenant's calls for one reason has saved, at most."""

    tenant_id: UUID
    reason: DropReason
    calls: int
    seconds: Seconds
    micros: Micros
    currency: str

    def summary(self) -> dict[str, str | int]:
        """Return it as plain JSON values."""
        return {
            "tenant_id": str(self.tenant_id),
            "reason": self.reason,
            "calls": self.calls,
            "saved_seconds_at_most": self.seconds,
            "saved_micros_at_most": self.micros,
            "currency": self.currency,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Who served a bridge before a gateway, by the clock of its Asterisk.

    ``served_until`` is when another gateway last did that had begun before this one, None for
    nobody. ``outages`` are the times without any gateway that were noted now, oldest first.
    """

    served_until: datetime | None
    outages: tuple[Outage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantName:
    """Who a tenant is, and what its money is."""

    tenant_id: UUID
    name: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One source, in its unit: ``granted`` is always ``used`` + ``reserved`` + ``free``.

    A bound of its validity is None where there is none. ``organizer_id`` is None where the
    whole tenant shares it; one that is not ``capped`` is granted whatever is asked of it.
    """

    source_id: UUID
    kind: SourceKind
    benefit_id: str | None
    organizer_id: OrganizerId | None
    capped: bool
    unit: Unit
    currency: str | None
    valid_from: datetime | None
    valid_to: datetime | None
    granted: int
    used: int
    reserved: int
    free: int


class FindingCode(StrEnum):
    """What can be wrong with the books; sql/functions/ledger_check_month.sql explains each."""

    UNFUNDED = "unfunded"
    PARTS_DIFFER = "parts_differ"
    ENTRIES_DIFFER = "entries_differ"
    NOT_ENDED = "not_ended"
    ENDED_EARLY = "ended_early"
    END_DIFFERS = "end_differs"
    CHARGE_DIFFERS = "charge_differs"
    BILLED_DIFFERS = "billed_differs"
    SOURCE_NOT_VALID = "source_not_valid"
    SOURCE_DIFFERS = "source_differs"
    ASTRAY = "astray"
    DOUBLED = "doubled"
    CHAIN_BROKEN = "chain_broken"
    TOTALS_DIFFER = "totals_differ"
    OVERDRAWN = "overdrawn"
    GRANTED_UNNEEDED = "granted_unneeded"
    LOTS_DIFFER = "lots_differ"
    PERIODS_OVERLAP = "periods_overlap"
    HEAD_DIFFERS = "head_differs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in the books that does not agree with the rest of them.

    ``check`` is the rule that is broken; ``subject`` what breaks it: the id of a source or a
    dial-out, or a month, as ``2026-01``.
    """

    tenant_id: UUID
    check: FindingCode
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The last entry of the journal that a tenant has in a month of UTC, and its digest.

    Whoever keeps it elsewhere can prove later that nothing up to it was changed or cut off.
    """

    tenant_id: UUID
    month: datetime
    number: int
    digest: bytes

    def summary(self) -> dict[str, str | int]:
        """Return the head as plain JSON values."""
        return {
            "tenant_id": str(self.tenant_id),
            "month": self.month.strftime("%Y-%m"),
            "number": self.number,
            "digest": self.digest.hex(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LastProof:
    """What the last check of all books found: how often each code, and how long it took."""

    checked_at: datetime
    seconds: int
    findings: Mapping[str, int]
