"""Why a call is, was or would be placed or refused: the answer, with everything that led to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID, uuid4

from gateway.core.call import Unproved
from gateway.core.dial_in import DialInExplanation
from gateway.core.dial_out import (
    BridgeName,
    DialOut,
    DialOutKind,
    DialOutRequest,
    SourceStanding,
    Terms,
)
from gateway.core.e164 import METADATA_VERSION
from gateway.core.explanation import Explanation, explain
from gateway.core.facts import OrganizerId, known
from gateway.core.key import DialOutKey
from gateway.core.outage import Outage
from gateway.core.policy import Allow
from gateway.core.quote import Quote, quote
from gateway.core.rating import Seconds
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.inquiry import Inquiry
from gateway.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How the end of a call is known, and the outages that it spans.

    It lasted between ``least_seconds`` and ``most_seconds``. ``unproved`` says by which of them
    it was billed where nothing proves its end. All of it is None while the call goes on.
    """

    evidence: str | None
    least_seconds: Seconds | None
    most_seconds: Seconds | None
    unproved: Unproved | None
    billed_seconds: Seconds | None
    outages: tuple[Outage, ...]

    @classmethod
    def of(cls, dial_out: DialOut, outages: tuple[Outage, ...]) -> Self:
        """Return that of a dial-out on record."""
        return cls(
            evidence=dial_out.evidence,
            least_seconds=dial_out.least_seconds,
            most_seconds=dial_out.most_seconds,
            unproved=dial_out.unproved,
            billed_seconds=dial_out.billable_seconds,
            outages=outages,
        )

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "evidence": self.evidence,
            "least_seconds": self.least_seconds,
            "most_seconds": self.most_seconds,
            "unproved": self.unproved,
            "billed_seconds": self.billed_seconds,
            "outages": [each.summary() for each in self.outages],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request, or would become of it, and why.

    ``reason`` is None if the call is allowed. ``sources`` are those that were asked to pay,
    as they stood. ``explanation`` is None for a dial-out of a version that stored another
    format. ``is_reproduced`` says that the rules of this version, asked again, give the
    stored bytes; None for what has just been decided. ``evidence`` is None for what was refused,
    or has just been decided.
    """

    request: DialOutRequest
    reason: Reason | None
    talk_seconds: Seconds | None
    limit_seconds: Seconds | None
    sources: tuple[SourceStanding, ...]
    explanation: Explanation | DialInExplanation | None
    is_reproduced: bool | None
    evidence: Evidence | None = None

    @property
    def to_pass(self) -> tuple[str, ...]:
        """What would have to change for the call to be allowed; empty if it is."""
        if self.reason is None:
            return ()
        remedies = self.explanation.to_pass if self.explanation else ()
        return remedies or (REASON_TEXTS[self.reason].remedy,)

    def quote(self) -> Quote:
        """Return what of it people are told before a call; not for what is on record."""
        assert self.explanation is not None, "what has just been decided is explained"
        return quote(
            self.explanation.facts,
            reason=self.reason,
            sources=self.sources,
            talk_seconds=self.talk_seconds,
            limit_seconds=self.limit_seconds,
        )

    def summary(self) -> dict[str, Any]:
        """Return the answer as plain JSON values."""
        return {
            "answer": "allow" if self.reason is None else "deny",
            "reason": self.reason,
            "message": REASON_TEXTS[self.reason].message if self.reason else None,
            "to_pass": list(self.to_pass),
            "talk_seconds": self.talk_seconds,
            "limit_seconds": self.limit_seconds,
            "request": _request(self.request),
            "sources": [asdict(source) for source in self.sources],
            "is_reproduced": self.is_reproduced,
            "explanation": self.explanation and self.explanation.plain(),
            "evidence": self.evidence and self.evidence.summary(),
        }


class Explainer:
    """Explains what is on record, and what a call would be answered if it were asked for.

    ``terms`` are those of each bridge.
    """

    def __init__(
        self, *, ledger: Ledger, inquiry: Inquiry, terms: Mapping[BridgeName, Terms]
    ) -> None:
        self._ledger = ledger
        self._inquiry = inquiry
        self._terms = terms

    async def recorded(self, key: DialOutKey) -> Answer | None:
        """Return why a dial-out on record was allowed or refused; None if there is none."""
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None:
            return None
        return recorded(dial_out, await self._ledger.outages_of(dial_out))

    async def rehearsed(self, request: DialOutRequest, at: datetime) -> Answer:
        """Return what ``request`` would be answered at ``at``. Nothing is reserved or recorded.

        What licences, rates and lists say is of that instant; what the sources have left is of
        today, because history keeps no balances. It queues with what the tenant really asks for.
        """
        async with self._inquiry.place(request.key.tenant_id):
            return await self._rehearsed(request, at)

    async def _rehearsed(self, request: DialOutRequest, at: datetime) -> Answer:
        facts = await self._inquiry.facts(request, at)
        explanation = explain(facts, at=at, metadata_version=METADATA_VERSION)
        decision = explanation.decision
        if not isinstance(decision, Allow):
            return Answer(
                request=request,
                reason=decision.reason,
                talk_seconds=None,
                limit_seconds=None,
                sources=(),
                explanation=explanation,
                is_reproduced=None,
            )
        rehearsal = await self._ledger.rehearse(
            request.key.tenant_id,
            request.organizer_id,
            request.conference_id,
            facts.dialled,
            decision.sources,
            known(facts.destination).rate,
            self._terms[request.bridge],
            at,
        )
        return Answer(
            request=request,
            reason=rehearsal.reason,
            talk_seconds=rehearsal.talk_seconds,
            limit_seconds=rehearsal.limit_seconds,
            sources=rehearsal.sources,
            explanation=explanation,
            is_reproduced=None,
        )


def question(
    tenant_id: UUID,
    *,
    organizer_id: OrganizerId,
    initiator_id: str | None,
    kind: DialOutKind,
    conference_id: str,
    number: str,
    bridge: BridgeName,
) -> DialOutRequest:
    """Return a request that is never made, to ask what would become of it."""
    return DialOutRequest(
        key=DialOutKey(tenant_id=tenant_id, dial_out_id=uuid4()),
        kind=kind,
        organizer_id=organizer_id,
        initiator_id=initiator_id,
        conference_id=conference_id,
        number_typed=number,
        bridge=bridge,
    )


def recorded(dial_out: DialOut, outages: tuple[Outage, ...]) -> Answer:
    """Return why a dial-out on record was allowed or refused, and the outages that it spans."""
    calls_in = dial_out.request.kind is DialOutKind.DIAL_IN
    explanation = (DialInExplanation if calls_in else Explanation).parse(dial_out.explanation)
    return Answer(
        request=dial_out.request,
        reason=dial_out.reason,
        talk_seconds=dial_out.talk_seconds,
        limit_seconds=dial_out.limit_seconds,
        sources=dial_out.sources,
        explanation=explanation,
        is_reproduced=(
            None if explanation is None else explanation.again().text == dial_out.explanation
        ),
        evidence=None if dial_out.reason is not None else Evidence.of(dial_out, outages),
    )


def _request(request: DialOutRequest) -> dict[str, Any]:
    return {
        "tenant_id": str(request.key.tenant_id),
        "kind": request.kind,
        "organizer_id": request.organizer_id,
        "initiator_id": request.initiator_id,
        "conference_id": request.conference_id,
        "bridge": request.bridge,
        "number_typed": request.number_typed,
    }
