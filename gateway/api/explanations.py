"""Why, over HTTP: of what is on record, and of what has not been asked for yet."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dial_outs import BridgeText, ConferenceText, NumberText, OrganizerText
from gateway.api.faults import FAULTS, on_bridge, unknown_dial_out
from gateway.bridges import Bridges
from gateway.core.dial_out import DialOutKind
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.explainer import Explainer, question
from gateway.provisioning.forms import Instant


class QuestionBody(BaseModel):
    """A dial-out that is not made: what would it be answered?"""

    model_config = ConfigDict(extra="forbid")

    tenant_id: UUID
    organizer_id: OrganizerText
    initiator_id: OrganizerText | None = Field(
        default=None, description="Who would ask; absent for somebody who has not signed in."
    )
    kind: Literal["add_participant", "call_me"] = "add_participant"
    conference_id: ConferenceText = "explain"
    number: NumberText
    bridge: BridgeText | None = None
    at: Instant | None = Field(
        default=None,
        description="The instant whose licences, rates and lists count, ISO 8601; without an "
        "offset it is UTC. Default: now.",
    )


def explanations(explainer: Explainer, bridges: Bridges) -> APIRouter:
    """Return the routes of explanations."""
    router = APIRouter(prefix="/v1", tags=["explanations"], responses=FAULTS)

    @router.post("/explanations")
    async def rehearse(body: QuestionBody) -> dict[str, Any]:
        """Answer as a call would be answered, with every rule looked at. Nothing is reserved."""
        request = question(
            body.tenant_id,
            organizer_id=OrganizerId(body.organizer_id),
            initiator_id=body.initiator_id,
            kind=DialOutKind(body.kind),
            conference_id=body.conference_id,
            number=body.number,
            bridge=on_bridge(bridges.locate(body.conference_id, body.bridge)),
        )
        answer = await explainer.rehearsed(request, body.at or datetime.now(UTC))
        return answer.summary()

    @router.get("/dial-outs/{dial_out_id}/explanation")
    async def read(dial_out_id: UUID, tenant_id: Annotated[UUID, Query()]) -> dict[str, Any]:
        """Return why a dial-out on record was allowed or refused."""
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        answer = await explainer.recorded(key)
        if answer is None:
            raise unknown_dial_out(key)
        return answer.summary()

    return router
