"""What would have become of recorded requests under another deck, policy or numbering plan.

Read-only. A request is decided again on the facts that were stored with it, less what the
candidate changes; the digits are always read again, by the numbering plans that are
installed. Whether a source still had something left is not known of the past: a source that
paid is taken to pay again, and one that newly may pay, to have enough.
"""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from gateway.core.dial_out import DialOut, DialOutKind
from gateway.core.e164 import Destination, NumberRefusal, read_number
from gateway.core.explanation import Explanation
from gateway.core.facts import (
    Callee,
    DestinationFacts,
    Facts,
    MeetingFacts,
    SourceKind,
    TenantFacts,
    known,
)
from gateway.core.policy import Allow, Decision, decide
from gateway.core.rating import Micros, Seconds
from gateway.core.reasons import Reason
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger, TriedDeck


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be tried: a deck instead of each tenant's own, choices instead of the stored."""

    deck: TriedDeck | None
    choices: dict[str, Any]


class Unread(StrEnum):
    """Why a request is not decided again.

    Its facts are of a version that stored another format; or its digits are read otherwise by
    now, and what the trunk of its bridge reaches is not in the settings any more; or it is of a
    telephone that called in, which other rules decide.
    """

    OTHER_FORMAT = "other_format"
    UNKNOWN_BRIDGE = "unknown_bridge"
    CALLED_IN = "called_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One recorded request, decided again.

    ``before`` and ``after`` are None where the call is allowed. Micros are what the call cost and
    would have cost, in ``currency``; both 0 for one that nobody answered. ``unfunded_seconds``
    were talked and no source would have paid for them. A request that is ``unread`` is as it
    was: nothing else is known of it.
    """

    dial_out: DialOut
    unread: Unread | None
    before: Reason | None
    after: Reason | None
    recorded_micros: Micros
    candidate_micros: Micros
    currency: str | None
    unfunded_seconds: Seconds

    @property
    def moved_micros(self) -> int:
        """Money that would have been charged more, or less if negative."""
        return self.candidate_micros - self.recorded_micros

    @property
    def is_changed(self) -> bool:
        """Whether anybody would have noticed."""
        return self.before != self.after or self.moved_micros != 0 or self.unfunded_seconds != 0

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        key = self.dial_out.request.key
        return {
            "tenant_id": str(key.tenant_id),
            "dial_out_id": str(key.dial_out_id),
            "requested_at": self.dial_out.requested_at.isoformat(timespec="milliseconds"),
            "number_typed": self.dial_out.request.number_typed,
            "before": self.before or "allowed",
            "after": self.after or "allowed",
            "recorded_micros": self.recorded_micros,
            "candidate_micros": self.candidate_micros,
            "currency": self.currency,
            "unfunded_seconds": self.unfunded_seconds,
        }


class Replay:
    """Decides what is on record once more, under a candidate."""

    def __init__(self, *, ledger: Ledger, inquiry: Inquiry, candidate: Candidate) -> None:
        self._ledger = ledger
        self._inquiry = inquiry
        self._candidate = candidate

    async def run(
        self, tenant_id: UUID, since: datetime, until: datetime
    ) -> AsyncIterator[Replayed]:
        """Yield each request of a tenant in ``since <= requested_at < until``, oldest first."""
        async for dial_out in self._ledger.dial_outs_between(tenant_id, since, until):
            yield await self._again(dial_out)

    async def _again(self, dial_out: DialOut) -> Replayed:
        if dial_out.request.kind is DialOutKind.DIAL_IN:
            return _as_it_was(dial_out, Unread.CALLED_IN)
        explanation = Explanation.parse(dial_out.explanation)
        if explanation is None:
            return _as_it_was(dial_out, Unread.OTHER_FORMAT)
        facts = await self._facts(dial_out, explanation)
        if facts is None:
            return _as_it_was(dial_out, Unread.UNKNOWN_BRIDGE)
        decision = decide(facts)
        micros, unfunded = await self._bill(dial_out, decision, facts)
        return Replayed(
            dial_out=dial_out,
            unread=None,
            before=dial_out.reason,
            after=_after(dial_out, explanation.decision, decision),
            recorded_micros=dial_out.cost_micros or Micros(0),
            candidate_micros=micros,
            currency=_currency(dial_out, facts),
            unfunded_seconds=unfunded,
        )

    async def _facts(self, dial_out: DialOut, explanation: Explanation) -> Facts | None:
        """Return what counts under the candidate; None if it cannot be known of the bridge."""
        stored = explanation.facts
        if stored.tenant is None or stored.organizer is None or stored.meeting is None:
            return stored
        number = read_number(
            dial_out.request.number_typed, stored.meeting.reading_region, stored.organizer.region
        )
        if number != stored.number and not self._inquiry.knows(dial_out.request.bridge):
            return None
        return replace(
            stored,
            tenant=replace(
                stored.tenant, choices=replace(stored.tenant.choices, **self._candidate.choices)
            ),
            meeting=self._meeting(stored.tenant, stored.meeting),
            number=number,
            destination=await self._destination(dial_out, stored, number, explanation.at),
        )

    def _meeting(self, tenant: TenantFacts, meeting: MeetingFacts) -> MeetingFacts:
        """Apply the choice, unless the meeting had another permission: then that is its own."""
        choice = "meeting_to_self" if meeting.callee is Callee.SELF else "meeting_to_third_party"
        if meeting.permission != getattr(tenant.choices, choice):
            return meeting
        permission = self._candidate.choices.get(choice, meeting.permission)
        return replace(meeting, permission=permission)

    async def _destination(
        self,
        dial_out: DialOut,
        stored: Facts,
        number: Destination | NumberRefusal,
        at: datetime,
    ) -> DestinationFacts | None:
        tried = self._candidate.deck
        if number == stored.number and tried is None:
            return stored.destination
        found = await self._inquiry.destination(
            dial_out.request.key.tenant_id,
            number,
            at,
            bridge=dial_out.request.bridge,
            tried=tried,
        )
        if number != stored.number or stored.destination is None or found is None:
            return found
        return replace(
            stored.destination,
            rate=found.rate,
            rate_regions=found.rate_regions,
            rate_is_exact=found.rate_is_exact,
        )

    async def _bill(
        self, dial_out: DialOut, decision: Decision, facts: Facts
    ) -> tuple[Micros, Seconds]:
        """Return what the call's seconds would have cost, and how many nobody would have paid."""
        seconds = dial_out.billable_seconds or 0
        if not isinstance(decision, Allow) or not seconds:
            return Micros(0), Seconds(0)
        paid = Counter[str | None]()
        for part in dial_out.parts:
            paid[part.benefit_id] += part.billed_seconds or 0
        for source in decision.sources:
            if source.kind is SourceKind.CREDITS:
                rate = known(known(facts.destination).rate)
                return await self._ledger.charge(Seconds(seconds), rate), Seconds(0)
            seconds -= paid.get(source.benefit_id, seconds)
            if not seconds:
                return Micros(0), Seconds(0)
        return Micros(0), Seconds(seconds)


def _as_it_was(dial_out: DialOut, unread: Unread) -> Replayed:
    """Return a request of which it is not known what would have become of it."""
    recorded = dial_out.cost_micros or Micros(0)
    return Replayed(
        dial_out=dial_out,
        unread=unread,
        before=dial_out.reason,
        after=dial_out.reason,
        recorded_micros=recorded,
        candidate_micros=recorded,
        currency=None,
        unfunded_seconds=Seconds(0),
    )


def _after(dial_out: DialOut, before: Decision, after: Decision) -> Reason | None:
    """Return the refusal under the candidate.

    What the ledger refused, because nothing was left, stays refused unless a source may pay
    that was not asked then.
    """
    if not isinstance(after, Allow):
        return after.reason
    if isinstance(before, Allow) and set(after.sources) <= set(before.sources):
        return dial_out.reason
    return None


def _currency(dial_out: DialOut, facts: Facts) -> str | None:
    paid = next((part.currency for part in dial_out.parts if part.currency), None)
    rate = facts.destination.rate if facts.destination else None
    return paid or (rate.currency if rate else None)
