"""A request to call one telephone into one conference, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NewType

from gateway.core.attendance import DropReason
from gateway.core.call import Unproved
from gateway.core.causes import Disposition
from gateway.core.e164 import E164, NumberKind, Region
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import Reason

BridgeName = NewType("BridgeName", str)
"""What the settings call a conference bridge."""

MAIN_BRIDGE: Final = BridgeName("main")
"""The bridge of those who have one."""


class DialOutKind(StrEnum):
    """By which way the request came; ``dial_in`` is a telephone that called the bridge."""

    ADD_PARTICIPANT = "add_participant"
    CALL_ME = "call_me"
    INTERCEPT = "intercept"
    KEYPAD = "keypad"
    DIAL_IN = "dial_in"


class DialOutState(StrEnum):
    """How far the database has seen it come. ``refused`` and ``ended`` are final."""

    REFUSED = "refused"
    RESERVED = "reserved"
    RELEASED = "released"
    ANSWERED = "answered"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOutRequest:
    """What somebody in a meeting asked for.

    Requests with equal keys are one request, if they agree in kind, people, conference and
    number. ``bridge`` hosts the conference. ``meeting_name`` is what the callee is told, None
    for the conference's id. ``asker_uniqueid`` is the channel of whoever asks, in that
    conference: the telephone rings no longer than it stays. It is kept by nobody but the
    gateway that places the call.
    """

    key: DialOutKey
    kind: DialOutKind
    organizer_id: OrganizerId
    initiator_id: str | None
    conference_id: str
    number_typed: str
    bridge: BridgeName = MAIN_BRIDGE
    meeting_name: str | None = None
    asker_uniqueid: str | None = None

    @property
    def is_organizers_own(self) -> bool:
        """Whether the organizer had his own telephone called, and attends by it."""
        return self.kind is DialOutKind.CALL_ME and self.initiator_id == self.organizer_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CoolDown:
    """When a number is left alone, whoever asks.

    After ``attempts`` calls within ``window_seconds`` that nobody there accepted, the next one
    is refused, and all that follow for ``quiet_seconds``.
    """

    attempts: int
    window_seconds: Seconds
    quiet_seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The bounds of a call of one bridge, whoever pays.

    No call lasts longer than ``talk_seconds_max``, and none begins that is not paid for
    ``talk_seconds_min``. Money is set aside ``slice_seconds`` at a time. ``caller_id`` is the
    bridge's toll number. Without ``cool_down`` no number is ever left alone.
    """

    talk_seconds_max: Seconds
    talk_seconds_min: Seconds
    slice_seconds: Seconds
    ring_seconds: Seconds
    caller_id: E164
    cool_down: CoolDown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPart:
    """What one source has paid, or has set aside, for one call.

    ``benefit_id`` is None for credits. ``seconds`` and ``micros`` are what was set aside; the
    billed ones are None until the call is settled. ``micros`` is 0 for a source that is
    counted in seconds.
    """

    source: SourceKind
    benefit_id: str | None
    seconds: Seconds
    micros: Micros
    billed_seconds: Seconds | None
    billed_micros: Micros | None
    currency: str | None

    def summary(self) -> dict[str, Any]:
        """Return the part as plain JSON values; absent ones are left out."""
        plain = {
            "source": self.source,
            "benefit_id": self.benefit_id,
            "seconds": self.seconds,
            "micros": self.micros,
            "billed_seconds": self.billed_seconds,
            "billed_micros": self.billed_micros,
        }
        return {name: value for name, value in plain.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStanding:
    """What one source had when it was asked to pay for a call, and what it gave.

    The totals are in its ``unit``, seconds or micros, from before the call. One that is not
    ``capped`` gives whatever is asked of it.
    """

    kind: SourceKind
    benefit_id: str | None
    unit: str
    currency: str | None
    capped: bool
    granted: int
    used: int
    reserved: int
    free: int
    seconds: Seconds
    micros: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOut:
    """One row of the record: the request, the decision, and what Asterisk did about it.

    Times are UTC. ``talk_seconds`` is how long the call is paid for so far, by so many
    ``slices``; ``limit_seconds`` when Asterisk cuts it, later only where calls may finish
    unpaid; it never lasts longer than ``talk_seconds_max``. ``billable_seconds`` is from
    answer to hangup of the telephone's leg, rounded up; 0 when nobody answered; None until the
    end is known. ``overrun_seconds`` is what a call lasted beyond what was set aside for it:
    not billed. ``asterisk_booted_at`` is when the Asterisk began that it was released on, as far
    as known. ``confirms`` says that the callee must press a key before joining, ``joined_at``
    when the callee came into the conference. ``evidence`` says how the end is known;
    the call lasted between ``least_seconds`` and ``most_seconds``, which are equal where that is
    proof, and else ``unproved`` says which of them was billed. ``dropped`` says
    why the guard ended the call, None if it did not. ``explanation`` is the JSON
    text of the facts and the decision, as stored. ``granted`` says that it was placed while the
    ledger was away.
    """

    request: DialOutRequest
    state: DialOutState
    reason: Reason | None
    destination: E164 | None
    region: Region | None
    number_kind: NumberKind | None
    requested_at: datetime
    expires_at: datetime | None
    released_at: datetime | None
    answered_at: datetime | None
    seen_at: datetime | None
    ended_at: datetime | None
    talk_seconds: Seconds | None
    limit_seconds: Seconds | None
    talk_seconds_max: Seconds | None
    slices: int | None
    ring_seconds: Seconds | None
    caller_id: E164 | None
    gate_uniqueid: str | None
    disposition: Disposition | None
    hangup_cause: int | None
    billable_seconds: Seconds | None
    overrun_seconds: Seconds | None
    evidence: str | None
    parts: tuple[FundingPart, ...]
    sources: tuple[SourceStanding, ...]
    explanation: str
    dropped: DropReason | None = None
    confirms: bool = False
    joined_at: datetime | None = None
    asterisk_booted_at: datetime | None = None
    least_seconds: Seconds | None = None
    most_seconds: Seconds | None = None
    unproved: Unproved | None = None
    granted: bool = False

    @property
    def channel_uniqueid(self) -> str:
        """The channel that runs its gate: the one that claimed it, else the one we would name."""
        return self.gate_uniqueid or self.request.key.gate_uniqueid

    def summary(self) -> dict[str, Any]:
        """Return the row as plain JSON values: one line of a log, one answer of the API.

        Absent values are left out. Money is in micro-units of ``currency``.
        """
        key = self.request.key
        plain = {
            "tenant_id": str(key.tenant_id),
            "dial_out_id": str(key.dial_out_id),
            "kind": self.request.kind,
            "state": self.state,
            "reason": self.reason,
            "organizer_id": self.request.organizer_id,
            "initiator_id": self.request.initiator_id,
            "conference_id": self.request.conference_id,
            "bridge": self.request.bridge,
            "meeting_name": self.request.meeting_name,
            "number_typed": self.request.number_typed,
            "destination": self.destination,
            "region": self.region,
            "number_kind": self.number_kind,
            "talk_seconds": self.talk_seconds,
            "limit_seconds": self.limit_seconds,
            "talk_seconds_max": self.talk_seconds_max,
            "slices": self.slices,
            "ring_seconds": self.ring_seconds,
            "caller_id": self.caller_id,
            "confirms": self.confirms or None,
            "paid_by": self.paid_by or None,
            "requested_at": _iso(self.requested_at),
            "released_at": _iso(self.released_at),
            "answered_at": _iso(self.answered_at),
            "joined_at": _iso(self.joined_at),
            "ended_at": _iso(self.ended_at),
            "disposition": self.disposition,
            "hangup_cause": self.hangup_cause,
            "billable_seconds": self.billable_seconds,
            "overrun_seconds": self.overrun_seconds or None,
            "evidence": self.evidence,
            "least_seconds": self.least_seconds if self.unproved else None,
            "most_seconds": self.most_seconds if self.unproved else None,
            "unproved": self.unproved,
            "granted": self.granted or None,
            "dropped": self.dropped,
            "funding": [part.summary() for part in self.parts] or None,
            "cost_micros": self.cost_micros,
            "currency": next((part.currency for part in self.parts if part.currency), None),
        }
        return {name: value for name, value in plain.items() if value is not None}

    @property
    def paid_by(self) -> list[SourceKind]:
        """The sources that have paid, in order; until the call is settled, those that may."""
        return [part.source for part in self.parts if part.billed_seconds != 0]

    @property
    def cost_micros(self) -> Micros | None:
        """What the settled call cost, over all its parts; None until it is settled."""
        if self.billable_seconds is None:
            return None
        return Micros(sum(part.billed_micros or 0 for part in self.parts))


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")
