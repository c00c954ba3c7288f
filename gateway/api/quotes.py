"""What a call would cost and who would pay, before it is asked for, over HTTP."""

from datetime import UTC, datetime
from uuid import uuid4

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gateway.api.dial_outs import CallBody, asked
from gateway.api.faults import FAULTS, on_bridge
from gateway.bridges import Bridges
from gateway.core.e164 import NumberKind
from gateway.core.facts import SourceKind
from gateway.core.key import DialOutKey
from gateway.core.reasons import Reason
from gateway.explainer import Explainer


class PayerAnswer(BaseModel):
    """A source that would pay, and for how much of the call."""

    source: SourceKind
    benefit_id: str | None = Field(default=None, description="Which minutes; none for credits.")
    seconds: int


class QuoteAnswer(BaseModel):
    """What a call would be answered now. Absent fields are not known, or do not apply."""

    allowed: bool
    reason: Reason | None = None
    sentence: str = Field(description="For people: who pays how much, or why it is refused.")
    destination: str | None = None
    region: str | None = None
    number_kind: NumberKind | None = None
    paid_by: list[PayerAnswer] = Field(description="In the order in which they would pay.")
    price_micros: int | None = Field(
        default=None, description="For a minute that credits pay, in millionths of `currency`."
    )
    connect_fee_micros: int | None = Field(default=None, description="Once, when answered.")
    initial_increment_seconds: int | None = Field(default=None, description="Charged whole.")
    increment_seconds: int | None = Field(default=None, description="Charged whole after that.")
    currency: str | None = None
    talk_seconds: int | None = Field(default=None, description="How long it could be paid for.")
    limit_seconds: int | None = Field(default=None, description="When it would be cut.")


def quotes(explainer: Explainer, bridges: Bridges) -> APIRouter:
    """Return the route of quotes."""
    router = APIRouter(prefix="/v1/quotes", tags=["dial-outs"], responses=FAULTS)

    @router.post("", response_model_exclude_none=True)
    async def quote(body: CallBody) -> QuoteAnswer:
        """Say what a call would cost and who would pay, or why it would be refused.

        Nothing is reserved or recorded: what others use meanwhile is gone. The same body, with
        an id or without, then places the call.
        """
        nobody = DialOutKey(tenant_id=body.tenant_id, dial_out_id=uuid4())
        bridge = on_bridge(bridges.locate(body.conference_id, body.bridge))
        answer = await explainer.rehearsed(asked(body, nobody, bridge), datetime.now(UTC))
        return QuoteAnswer.model_validate(answer.quote().summary())

    return router
