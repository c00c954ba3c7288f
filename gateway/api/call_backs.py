"""Call me back: the telephone that one could not hear, called once more, over HTTP."""

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dial_outs import DialOutAnswer, chosen_id, conflict, placed
from gateway.api.faults import FAULTS, Fault, Refused, unknown_dial_out
from gateway.bridges import Bridges
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest
from gateway.core.key import DialOutKey
from gateway.ledger import Ledger
from gateway.progress import Progress

END_SECONDS_MAX = 5.0
"""How long the old call may take to end. It takes milliseconds while Asterisk answers."""


class CallBackBody(BaseModel):
    """The id of the new call."""

    model_config = ConfigDict(extra="forbid")

    dial_out_id: UUID | None = Field(
        default=None,
        description="Chosen by the client, so that a retry is the same call back. "
        "An `Idempotency-Key` header does the same.",
    )


def call_backs(bridges: Bridges, ledger: Ledger, progress: Progress) -> APIRouter:
    """Return the route of calling back."""
    router = APIRouter(prefix="/v1/dial-outs", tags=["dial-outs"], responses=FAULTS)

    @router.post("/{dial_out_id}/call-back", status_code=201, response_model_exclude_none=True)
    async def call_back(
        dial_out_id: UUID,
        tenant_id: Annotated[UUID, Query()],
        response: Response,
        body: CallBackBody | None = None,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> DialOutAnswer:
        """Call the telephone of an answered Call Me again, into the same conference.

        It is hung up first if it is still up: nobody pays for two calls at once. The new call
        is decided and paid for as any other.
        """
        old = await _answered(DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id))
        chosen = None if body is None else body.dial_out_id
        request = _again(old, chosen_id(tenant_id, chosen, idempotency_key))
        if request.key == old.request.key:
            raise conflict(request.key)
        await _hang_up(old)
        return await placed(bridges, request, response)

    async def _answered(key: DialOutKey) -> DialOut:
        dial_out = await ledger.dial_out(key)
        if dial_out is None:
            raise unknown_dial_out(key)
        if dial_out.request.kind is not DialOutKind.CALL_ME:
            raise Refused(409, _NO_CALL_ME)
        if dial_out.answered_at is None:
            raise Refused(409, _NEVER_ANSWERED)
        return dial_out

    async def _hang_up(dial_out: DialOut) -> None:
        if dial_out.ended_at is not None:
            return
        now = await bridges.cancel(dial_out.request.key) or dial_out
        if not await progress.until_ended(now, END_SECONDS_MAX):
            raise Refused(503, _STILL_UP)

    return router


def _again(dial_out: DialOut, dial_out_id: UUID) -> DialOutRequest:
    """Return the same request under another id, on the bridge that the telephone was on.

    The number is the one that answered: digits without a country may mean another one by now.
    """
    assert dial_out.destination is not None, "what was answered has a destination"
    key = DialOutKey(tenant_id=dial_out.request.key.tenant_id, dial_out_id=dial_out_id)
    return replace(dial_out.request, key=key, number_typed=dial_out.destination)


_NO_CALL_ME = Fault(
    reason="not_a_call_me",
    message="Only whoever was called by Call Me is called back. Ask for a new dial-out instead.",
)
_NEVER_ANSWERED = Fault(
    reason="never_answered",
    message="Nobody has answered that call, so there is nobody to call back.",
)
_STILL_UP = Fault(
    reason="still_up",
    message="The old call has not ended yet. Nobody was called; ask again with the same id.",
)
