"""Everything of a conference that still rings, ended at once, over HTTP."""

import asyncio
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dial_outs import ConferenceText, OrganizerText
from gateway.api.faults import FAULTS
from gateway.bridges import Bridges
from gateway.core.key import DialOutKey
from gateway.dialer import BridgeUnavailable, CancelOutcome
from gateway.ledger import Ledger


class CancellationBody(BaseModel):
    """Whose calls are to ring no longer."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: UUID
    conference_id: ConferenceText
    initiator_id: OrganizerText | None = Field(
        default=None, description="Only what this person asked for. Default: whoever asked."
    )


class CancellationAnswer(BaseModel):
    """What became of the calls that had not ended."""

    cancelled: list[UUID] = Field(
        description="What rang or was on its way. Nothing is charged, but for a telephone that "
        "answers in that very moment: it is hung up, and billed the second that it began."
    )
    answered: list[UUID] = Field(description="What somebody has answered: it goes on.")
    unreachable: list[UUID] = Field(
        description="What nobody has answered, on a bridge that is away: it may ring on."
    )


def cancellations(bridges: Bridges, ledger: Ledger) -> APIRouter:
    """Return the route of cancellations."""
    router = APIRouter(prefix="/v1/cancellations", tags=["dial-outs"], responses=FAULTS)

    @router.post("")
    async def cancel(body: CancellationBody) -> CancellationAnswer:
        """Have everything ring no longer that was asked for out of a conference.

        What was answered goes on. To be asked again after a fault, or while anything is
        unreachable: what was cancelled stays so. 503 if nothing at all could be reached.
        """
        found = await ledger.unended(body.tenant_id, body.conference_id, body.initiator_id)
        keys = [dial_out.request.key for dial_out in found]
        answer = CancellationAnswer(cancelled=[], answered=[], unreachable=[])
        for key, outcome in zip(keys, await asyncio.gather(*map(_cancelled, keys)), strict=True):
            match outcome:
                case CancelOutcome.CANCELLED:
                    answer.cancelled.append(key.dial_out_id)
                case CancelOutcome.ANSWERED:
                    answer.answered.append(key.dial_out_id)
                case CancelOutcome.OVER:
                    pass
                case None:
                    answer.unreachable.append(key.dial_out_id)
        if answer.unreachable and not (answer.cancelled or answer.answered):
            raise BridgeUnavailable
        return answer

    async def _cancelled(key: DialOutKey) -> CancelOutcome | None:
        """Return what became of one call; None if its bridge is away."""
        try:
            return await bridges.cancel_unanswered(key)
        except BridgeUnavailable:
            return None

    return router
