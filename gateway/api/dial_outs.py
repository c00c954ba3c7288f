"""Dial-outs over HTTP: ask for one, look at it, end it."""

import re
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.faults import FAULTS, Fault, Refused, on_bridge, unknown_dial_out
from gateway.bridges import Bridges
from gateway.core.attendance import DropReason
from gateway.core.call import Unproved
from gateway.core.dial_out import (
    BridgeName,
    DialOut,
    DialOutKind,
    DialOutRequest,
    DialOutState,
)
from gateway.core.facts import OrganizerId, SourceKind
from gateway.core.key import DialOutKey
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.ledger import Ledger, RequestOutcome
from gateway.waiting_room import PATIENCE_SECONDS

PATIENCE_SECONDS_MAX = 10.0
"""For how long a client may have its request wait: a connection and a place wait with it."""

OrganizerText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@+-]{1,128}$")]
ConferenceText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,128}$")]
NumberText = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f]{1,40}$", description="As a person types it, with or without +."
    ),
]


BridgeText = Annotated[
    BridgeName,
    Field(
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="The bridge that hosts the conference. Default: where it is in progress.",
    ),
]
MeetingNameText = Annotated[
    str,
    # No control or layout characters, but the joiners that some scripts are spelled with.
    Field(
        pattern=r"^(?:[^\p{C}\p{Zl}\p{Zp}]|\u200c|\u200d){1,100}$",
        description="What the callee is told before pressing 1. Default: `conference_id`.",
    ),
]
ChannelText = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9._-]{1,150}$",
        description="Uniqueid of the asker's own channel in the conference: the telephone stops "
        "ringing when it leaves.",
    ),
]


PreferText = Annotated[
    str | None,
    Header(
        max_length=255,
        description="`wait=N` (RFC 7240): how many seconds the request may wait to be decided "
        f"before it is refused as `overloaded`; {PATIENCE_SECONDS_MAX:.0f} at most.",
    ),
]

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*([0-9]{1,4})\s*(?:$|[,;])", re.ASCII | re.IGNORECASE)


class CallBody(BaseModel):
    """A telephone, and the conference that it is to be called into."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: UUID
    kind: Literal["add_participant", "call_me"]
    organizer_id: OrganizerText = Field(description="Who pays: the organizer of the meeting.")
    initiator_id: OrganizerText | None = Field(
        default=None, description="Who asked. Digits without + are read in this person's country."
    )
    conference_id: ConferenceText
    number: NumberText
    bridge: BridgeText | None = None
    meeting_name: MeetingNameText | None = None
    asker_channel: ChannelText | None = None


class DialOutBody(CallBody):
    """A telephone to be called into a conference."""

    dial_out_id: UUID | None = Field(
        default=None,
        description="Chosen by the client, so that a retry is the same dial-out. "
        "An `Idempotency-Key` header does the same.",
    )


class FundingAnswer(BaseModel):
    """What one source has set aside for a call and, once it is settled, has paid."""

    source: SourceKind
    benefit_id: str | None = Field(default=None, description="Which minutes; none for credits.")
    seconds: int
    micros: int
    billed_seconds: int | None = None
    billed_micros: int | None = None


class DialOutAnswer(BaseModel):
    """What is known of a dial-out. Absent fields are not known, or do not apply."""

    tenant_id: UUID
    dial_out_id: UUID
    kind: DialOutKind
    state: DialOutState
    reason: Reason | None = None
    organizer_id: str
    initiator_id: str | None = None
    conference_id: str
    bridge: str
    meeting_name: str | None = None
    number_typed: str
    destination: str | None = None
    region: str | None = None
    number_kind: str | None = None
    talk_seconds: int | None = Field(default=None, description="What is funded.")
    limit_seconds: int | None = Field(default=None, description="When the call is cut.")
    ring_seconds: int | None = None
    caller_id: str | None = None
    confirms: bool | None = Field(
        default=None, description="True if the callee must press 1 before joining."
    )
    paid_by: list[SourceKind] | None = None
    requested_at: datetime
    released_at: datetime | None = None
    answered_at: datetime | None = None
    joined_at: datetime | None = None
    ended_at: datetime | None = None
    disposition: str | None = None
    hangup_cause: int | None = Field(default=None, description="Q.850")
    billable_seconds: int | None = None
    overrun_seconds: int | None = Field(default=None, description="Beyond the funds; not billed.")
    evidence: str | None = Field(default=None, description="How the end is known.")
    least_seconds: int | None = Field(
        default=None, description="Where nothing proves the end: the least that the call lasted."
    )
    most_seconds: int | None = Field(default=None, description="And the most.")
    unproved: Unproved | None = Field(default=None, description="Which of the two is billed.")
    granted: bool | None = Field(
        default=None, description="True if it was placed while the ledger was away."
    )
    dropped: DropReason | None = Field(
        default=None, description="Why the gateway ended a call that its meeting had left behind."
    )
    funding: list[FundingAnswer] | None = None
    cost_micros: int | None = Field(default=None, description="Millionths of `currency`.")
    currency: str | None = None


def dial_outs(bridges: Bridges, ledger: Ledger) -> APIRouter:
    """Return the routes of dial-outs."""
    router = APIRouter(prefix="/v1/dial-outs", tags=["dial-outs"], responses=FAULTS)

    @router.post("", status_code=201, response_model_exclude_none=True)
    async def place(
        body: DialOutBody,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
        prefer: PreferText = None,
    ) -> DialOutAnswer:
        """Have a telephone called. The same id again gives the same dial-out and calls nobody."""
        dial_out_id = chosen_id(body.tenant_id, body.dial_out_id, idempotency_key)
        key = DialOutKey(tenant_id=body.tenant_id, dial_out_id=dial_out_id)
        bridge = on_bridge(await bridges.home(key, body.conference_id, body.bridge))
        return await placed(bridges, asked(body, key, bridge), response, patience(prefer))

    @router.get("/{dial_out_id}", response_model_exclude_none=True)
    async def read(dial_out_id: UUID, tenant_id: Annotated[UUID, Query()]) -> DialOutAnswer:
        """Return what is known of a dial-out."""
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        return _found(key, await ledger.dial_out(key))

    @router.delete("/{dial_out_id}", response_model_exclude_none=True)
    async def cancel(dial_out_id: UUID, tenant_id: Annotated[UUID, Query()]) -> DialOutAnswer:
        """End a dial-out wherever it is: it never rings, stops ringing, or is hung up."""
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        return _found(key, await bridges.cancel(key))

    return router


async def placed(
    bridges: Bridges, request: DialOutRequest, response: Response, patience_seconds: float
) -> DialOutAnswer:
    """Have a call placed and return what came of it; raise ``Refused`` if nothing did."""
    outcome, dial_out = await bridges.place(request, patience_seconds=patience_seconds)
    match outcome:
        case RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS:
            raise conflict(request.key)
        case RequestOutcome.EXISTS:
            response.status_code = 200
        case RequestOutcome.RESERVED | RequestOutcome.REFUSED | RequestOutcome.UNKNOWN_TENANT:
            pass
    if dial_out is None or dial_out.state is DialOutState.REFUSED:
        raise Refused(403, _refusal(request.key, dial_out))
    response.headers["Location"] = (
        f"/v1/dial-outs/{request.key.dial_out_id}?tenant_id={request.key.tenant_id}"
    )
    return _answer(dial_out)


def patience(prefer: str | None) -> float:
    """Return for how many seconds a client would wait, by its ``Prefer`` header or as a rule."""
    wait = _WAIT.search(prefer or "")
    return PATIENCE_SECONDS if wait is None else min(float(wait[1]), PATIENCE_SECONDS_MAX)


def asked(body: CallBody, key: DialOutKey, bridge: BridgeName) -> DialOutRequest:
    """Return what a body asks for, on the bridge that it is for."""
    return DialOutRequest(
        key=key,
        kind=DialOutKind(body.kind),
        organizer_id=OrganizerId(body.organizer_id),
        initiator_id=body.initiator_id,
        conference_id=body.conference_id,
        number_typed=body.number,
        bridge=bridge,
        meeting_name=body.meeting_name,
        asker_uniqueid=body.asker_channel,
    )


def chosen_id(tenant_id: UUID, dial_out_id: UUID | None, idempotency_key: str | None) -> UUID:
    """Return the client's own id, else the one that its key stands for, else a new one."""
    if dial_out_id is not None:
        return dial_out_id
    if idempotency_key is not None:
        return uuid5(tenant_id, idempotency_key)
    return uuid4()


def _answer(dial_out: DialOut) -> DialOutAnswer:
    return DialOutAnswer.model_validate(dial_out.summary())


def _found(key: DialOutKey, dial_out: DialOut | None) -> DialOutAnswer:
    if dial_out is None:
        raise unknown_dial_out(key)
    return _answer(dial_out)


def _refusal(key: DialOutKey, dial_out: DialOut | None) -> Fault:
    reason = dial_out.reason if dial_out else Reason.TENANT_UNKNOWN
    assert reason is not None, "a refused dial-out has its reason"
    return Fault(reason=reason, message=REASON_TEXTS[reason].message, dial_out_id=key.dial_out_id)


def conflict(key: DialOutKey) -> Refused:
    """Return the answer to whoever chose an id that another dial-out has."""
    fault = Fault(
        reason="exists_with_different_terms",
        message="This id was used for another dial-out. Choose a new one.",
        dial_out_id=key.dial_out_id,
    )
    return Refused(409, fault)
