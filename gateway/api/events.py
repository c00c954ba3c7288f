"""How far a dial-out has come, over HTTP: server-sent events."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from gateway.api.faults import FAULTS, Fault, Refused, unknown_dial_out
from gateway.core.dial_out import DialOutKind
from gateway.core.key import DialOutKey
from gateway.core.progress import LAST_NUMBERS, Stage, Step
from gateway.ledger import Ledger
from gateway.progress import Progress

RECONNECT_MS = 1_000
"""How soon a client comes back whose stream has broken off."""

_MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No proxy may keep an event back, or give it to anybody else."""

_NUMBERS = {str(stage.number): stage.number for stage in Stage}


def events(ledger: Ledger, progress: Progress) -> APIRouter:
    """Return the route that tells of a dial-out's progress."""
    router = APIRouter(prefix="/v1/dial-outs", tags=["dial-outs"], responses=FAULTS)

    async def place() -> AsyncIterator[None]:
        """Keep one of the places for as long as the answer lasts."""
        with progress.place() as is_free:
            if not is_free:
                raise Refused(429, _FULL)
            yield

    @router.get(
        "/{dial_out_id}/events",
        response_class=StreamingResponse,
        dependencies=[Depends(place)],
        responses={
            200: {"content": {_MEDIA_TYPE: {}}, "description": "The events, as they come."},
            204: {"description": "Nothing follows what the client was told last."},
            429: {"model": Fault, "description": "Too many are being told; read it instead."},
        },
    )
    async def follow(
        dial_out_id: UUID,
        tenant_id: Annotated[UUID, Query()],
        last_event_id: Annotated[str, Header(max_length=64)] = "",
    ) -> Response:
        """Tell each stage as it is reached, those that were reached before at once.

        `event` is the stage: reserved, dialing, ringing, answered, joined, ended or refused;
        `data` a JSON object with `stage`, `at`, `text` and, at the end, why or what it came to.
        A stage may be left out, none comes twice or after a later one, and the stream ends with
        `ended` or `refused`. With the `Last-Event-ID` of any gateway it goes on after that.
        A telephone that has called in is on record, too, and has no stages: 404.
        """
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        dial_out = await ledger.dial_out(key)
        if dial_out is None or dial_out.request.kind is DialOutKind.DIAL_IN:
            raise unknown_dial_out(key)
        after = _NUMBERS.get(last_event_id, 0)
        if after in LAST_NUMBERS:
            return Response(status_code=204)
        steps = progress.follow(dial_out, after=after)
        return StreamingResponse(_stream(key, steps), media_type=_MEDIA_TYPE, headers=_HEADERS)

    return router


_FULL = Fault(
    reason="too_many_watchers",
    message="As many are told of calls as can be at once. Read the dial-out instead.",
)


async def _stream(
    key: DialOutKey, steps: AsyncGenerator[Step | None, None]
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RECONNECT_MS)
    async with aclosing(steps):
        async for step in steps:
            yield KEEPALIVE_COMMENT if step is None else _event(key, step)


def _event(key: DialOutKey, step: Step) -> bytes:
    data = {
        "tenant_id": str(key.tenant_id),
        "dial_out_id": str(key.dial_out_id),
        **step.summary(),
    }
    return format_sse_event(event=step.stage, id=str(step.stage.number), data_str=json.dumps(data))
