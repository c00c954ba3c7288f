"""What a participant's web page offers again: the telephones that called them last."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from gateway.api.dial_outs import OrganizerText
from gateway.api.faults import FAULTS, Fault, Refused
from gateway.core.e164 import E164
from gateway.ledger import ForgetOutcome, Ledger

DestinationText = Annotated[str, Path(pattern=r"^\+[0-9]{4,15}$", description="As it is listed.")]


class RecentNumber(BaseModel):
    """A telephone that a participant had called for themselves, and joined from."""

    destination: str
    number_typed: str = Field(description="As it was typed.")
    last_at: datetime


class RecentNumbers(BaseModel):
    """The last ten of them, latest first."""

    numbers: list[RecentNumber]


def participants(ledger: Ledger) -> APIRouter:
    """Return the routes of recent numbers."""
    router = APIRouter(prefix="/v1/participants", tags=["participants"], responses=FAULTS)

    @router.get("/{initiator_id}/numbers")
    async def read(
        initiator_id: OrganizerText, tenant_id: Annotated[UUID, Query()]
    ) -> RecentNumbers:
        """List the numbers that a participant joined from by Call Me."""
        found = await ledger.recent_numbers(tenant_id, initiator_id)
        return RecentNumbers(
            numbers=[
                RecentNumber(
                    destination=each.destination,
                    number_typed=each.number_typed,
                    last_at=each.last_at,
                )
                for each in found
            ]
        )

    @router.delete("/{initiator_id}/numbers/{destination}", status_code=204)
    async def forget(
        initiator_id: OrganizerText,
        destination: DestinationText,
        tenant_id: Annotated[UUID, Query()],
    ) -> None:
        """Forget one number of a participant. The records of the calls themselves stay."""
        outcome = await ledger.forget_number(tenant_id, initiator_id, E164(destination))
        if outcome is not ForgetOutcome.REMOVED:
            raise Refused(404, _UNKNOWN)

    @router.delete("/{initiator_id}/numbers", status_code=204)
    async def forget_all(initiator_id: OrganizerText, tenant_id: Annotated[UUID, Query()]) -> None:
        """Forget every number of a participant, if there is any."""
        await ledger.forget_number(tenant_id, initiator_id)

    return router


_UNKNOWN = Fault(reason="number_unknown", message="The participant has no such recent number.")
