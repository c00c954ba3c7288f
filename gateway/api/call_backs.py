"""Call me back: the telephone that one could not hear, called once more, over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated
from uuid import UUID, uuid5
from weakref import WeakValueDictionary

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.dial_outs import (
    PATIENCE_SECONDS_MAX,
    DialOutAnswer,
    chosen_id,
    conflict,
    placed,
)
from gateway.api.faults import FAULTS, Fault, Refused, unknown_dial_out
from gateway.bridges import Bridges
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest
from gateway.core.e164 import E164
from gateway.core.key import DialOutKey
from gateway.ledger import Ledger
from gateway.progress import Progress

END_SECONDS_MAX = 5.0
"""How long old calls may take to end. They take milliseconds while Asterisk answers."""

_Telephone = tuple[UUID, str | None, str, E164]
"""One that Call Me rings: tenant, initiator, conference, destination."""


class CallBackBody(BaseModel):
    """The id of the new call."""

    model_config = ConfigDict(extra="forbid")

    dial_out_id: UUID | None = Field(
        default=None,
        description="Chosen by the client. An `Idempotency-Key` header does the same. "
        "Default: one that the old id stands for, so that a retry is the same call back.",
    )


def call_backs(bridges: Bridges, ledger: Ledger, progress: Progress) -> APIRouter:
    """Return the route of calling back."""
    line = _Line(bridges, ledger, progress)
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

        It is hung up first if it is still up, and so is any other Call Me of this person to it:
        nobody pays for two calls at once. The new call is decided and paid for as any other.
        Without an id, or with the same one, it is one call back however often it is asked for.
        """
        old = await _answered(ledger, DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id))
        chosen = None if body is None else body.dial_out_id
        if chosen is None and idempotency_key is None:
            chosen = uuid5(dial_out_id, "call-back")
        request = _again(old, chosen_id(tenant_id, chosen, idempotency_key))
        if request.key == old.request.key:
            raise conflict(request.key)
        async with line.free(_telephone(old), for_=request.key):
            # The old call has ended for it, so it waits for as long as anybody may.
            return await placed(bridges, request, response, PATIENCE_SECONDS_MAX)

    return router


async def _answered(ledger: Ledger, key: DialOutKey) -> DialOut:
    """Return a Call Me that somebody has answered; ``Refused`` for anything else."""
    dial_out = await ledger.dial_out(key)
    if dial_out is None:
        raise unknown_dial_out(key)
    if dial_out.request.kind is not DialOutKind.CALL_ME:
        raise Refused(409, _NO_CALL_ME)
    if dial_out.answered_at is None:
        raise Refused(409, _NEVER_ANSWERED)
    return dial_out


class _Line:
    """Keeps telephones free for the calls back to them, one of which is placed at a time."""

    def __init__(self, bridges: Bridges, ledger: Ledger, progress: Progress) -> None:
        self._bridges = bridges
        self._ledger = ledger
        self._progress = progress
        self._turns: WeakValueDictionary[_Telephone, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def free(self, telephone: _Telephone, *, for_: DialOutKey) -> AsyncIterator[None]:
        """Wait for the turn of a call, and hang up what is open, unless the call is a repeated one.

        Raises ``Refused`` if something does not end.
        """
        async with self._turns.setdefault(telephone, asyncio.Lock()):
            if await self._ledger.dial_out(for_) is None:
                await self._hang_up(telephone, but=for_)
            yield

    async def _hang_up(self, telephone: _Telephone, *, but: DialOutKey) -> None:
        """Hang up what is open, ``but`` what another gateway was asked for at the same time."""
        tenant_id, initiator_id, conference_id, _ = telephone
        is_ended = await asyncio.gather(
            *(
                self._ended(each)
                for each in await self._ledger.unended(tenant_id, conference_id, initiator_id)
                if each.request.kind is DialOutKind.CALL_ME
                and _telephone(each) == telephone
                and each.request.key != but
            )
        )
        if not all(is_ended):
            raise Refused(503, _STILL_UP)

    async def _ended(self, dial_out: DialOut) -> bool:
        now = await self._bridges.cancel(dial_out.request.key) or dial_out
        return await self._progress.until_ended(now, END_SECONDS_MAX)


def _telephone(dial_out: DialOut) -> _Telephone:
    """Return whose telephone a call is to that was not refused."""
    request = dial_out.request
    assert dial_out.destination is not None, "what was not refused has a destination"
    return (
        request.key.tenant_id,
        request.initiator_id,
        request.conference_id,
        dial_out.destination,
    )


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
