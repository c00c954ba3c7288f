"""Everything of a conference that still rings, ended at once, over HTTP."""

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dial_outs import ConferenceText, OrganizerText
from gateway.api.faults import FAULTS
from gateway.bridges import Bridges
from gateway.dialer import CancelOutcome
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

    cancelled: list[UUID] = Field(description="What rang or was on its way: nothing is charged.")
    answered: list[UUID] = Field(description="What somebody has answered: it goes on.")


def cancellations(bridges: Bridges, ledger: Ledger) -> APIRouter:
    """Return the route of cancellations."""
    router = APIRouter(prefix="/v1/cancellations", tags=["dial-outs"], responses=FAULTS)

    @router.post("")
    async def cancel(body: CancellationBody) -> CancellationAnswer:
        """Have everything ring no longer that was asked for out of a conference.

        What was answered goes on. To be asked again after a fault: what was cancelled stays so.
        """
        found = await ledger.unended(body.tenant_id, body.conference_id, body.initiator_id)
        answer = CancellationAnswer(cancelled=[], answered=[])
        for dial_out in found:
            key = dial_out.request.key
            match await bridges.cancel_unanswered(key):
                case CancelOutcome.CANCELLED:
                    answer.cancelled.append(key.dial_out_id)
                case CancelOutcome.ANSWERED:
                    answer.answered.append(key.dial_out_id)
                case CancelOutcome.OVER:
                    pass
        return answer

    return router
