"""What the ledger tells of calls and funds, for reports. Seconds and micros, times in UTC."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.e164 import E164, NumberKind, Region
from gateway.core.facts import Sku, SourceKind
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import Reason
from gateway.ledger.answers import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPart:
    """What one source has paid of one slice of a call.

    ``benefit_id``, ``sku`` and ``source_id`` are None for credits, ``rate`` for all else. Two
    parts of equal ``rate`` were priced alike; ``connect_fee_micros`` is that rate's, which a
    call pays once, with the first part that credits pay.
    """

    source: SourceKind
    benefit_id: str | None
    sku: Sku | None
    source_id: UUID | None
    rate: str | None
    connect_fee_micros: Micros
    seconds: Seconds
    micros: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageCall:
    """A call that has ended, and what was billed of it, in the order of its seconds.

    ``organizer_region`` is the usage location that it was decided by, None where nobody knows
    it any more. ``is_pay_per_minute`` says that the organizer's subscription brought no
    minutes. ``calls_in`` says that the telephone called a service number, which is its
    destination then; ``caller_id`` is None for one that withheld its own. ``answered_at`` is
    None where nobody answered. ``overrun_seconds`` were talked beyond what was set aside, and
    nobody has paid them. ``unproved`` says by which bound it was billed where nothing proves
    its end.
    """

    dial_out_id: UUID
    requested_at: datetime
    conference_id: str
    organizer_id: str
    organizer_name: str | None
    organizer_region: Region | None
    is_pay_per_minute: bool
    calls_in: bool
    initiator_id: str | None
    caller_id: E164 | None
    number_typed: str
    destination: E164
    region: Region
    number_kind: NumberKind
    answered_at: datetime | None
    ended_at: datetime
    disposition: Disposition
    overrun_seconds: Seconds
    unproved: Unproved | None
    currency: str
    billed: tuple[BilledPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageCount:
    """How many calls a report has, and how many it lacks because they still go on."""

    ended: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a source was granted and what became of it, in its ``unit``.

    A bound of None is no bound. ``sku`` is None for credits, which are one row a lot. The
    organizer is None where the whole tenant shares the source. One that is not ``capped`` is
    granted whatever is set aside of it.
    """

    source_id: UUID
    kind: SourceKind
    benefit_id: str | None
    sku: Sku | None
    organizer_id: str | None
    organizer_name: str | None
    organizer_region: Region | None
    capped: bool
    unit: Unit
    currency: str | None
    valid_from: datetime | None
    valid_to: datetime | None
    granted: int
    used: int
    reserved: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GapCall:
    """A call that spans an outage, how its end is known, and what was billed of it.

    It lasted between ``least_seconds`` and ``most_seconds``, None while it goes on or where
    nobody wrote that down. Where nothing proves the end, ``unproved`` says by which of them it
    was billed, and the ``otherwise`` values are what the other one would have billed: both are
    bounded by what was set aside. They are None where the end is proved.
    """

    tenant_id: UUID
    dial_out_id: UUID
    requested_at: datetime
    calls_in: bool
    destination: E164
    answered_at: datetime | None
    ended_at: datetime | None
    evidence: str | None
    least_seconds: Seconds | None
    most_seconds: Seconds | None
    unproved: Unproved | None
    billed_seconds: Seconds | None
    billed_micros: Micros | None
    otherwise_seconds: Seconds | None
    otherwise_micros: Micros | None
    currency: str

    @property
    def seconds_otherwise_more(self) -> int:
        """How many seconds more the other bound would have billed; negative for fewer."""
        return (self.otherwise_seconds or 0) - (self.billed_seconds or 0) if self.unproved else 0

    @property
    def micros_otherwise_more(self) -> Micros:
        """How much more that would have cost; negative for less."""
        if self.unproved is None:
            return Micros(0)
        return Micros((self.otherwise_micros or 0) - (self.billed_micros or 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerUse:
    """What an organizer's calls of one scope came to, over those that have ended.

    ``calls`` were answered, ``unanswered`` were not. ``unpaid_seconds`` were talked beyond what
    was set aside.
    """

    organizer_id: str
    organizer_name: str | None
    organizer_region: Region | None
    is_domestic: bool
    calls: int
    unanswered: int
    seconds: Seconds
    unpaid_seconds: Seconds
    micros: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizerRefusals:
    """How many of an organizer's calls were refused for one reason."""

    organizer_id: str
    organizer_name: str | None
    organizer_region: Region | None
    reason: Reason
    calls: int
