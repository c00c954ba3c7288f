"""The HTTP API as a whole: what it serves, to whom, and how much it listens to."""

from typing import Literal

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import __version__
from gateway.api.admin import Administration, admin, body_bytes_max
from gateway.api.call_backs import call_backs
from gateway.api.cancellations import cancellations
from gateway.api.dial_outs import dial_outs
from gateway.api.events import events
from gateway.api.explanations import explanations
from gateway.api.faults import Fault, Refused, authorization, handle_faults
from gateway.api.limits import limits
from gateway.api.metrics import metric_routes
from gateway.api.notices import notices
from gateway.api.participants import participants
from gateway.api.quotes import quotes
from gateway.api.reports import report_routes
from gateway.bridges import Bridges
from gateway.explainer import Explainer
from gateway.ledger import Ledger
from gateway.progress import Progress

BODY_BYTES_MAX = 16_384


class Ready(BaseModel):
    """That a call could be placed, and on which bridges: each is ``ready`` or ``away``."""

    state: Literal["ready"]
    bridges: dict[str, Literal["ready", "away"]]


def create_api(
    *,
    bridges: Bridges,
    ledger: Ledger,
    progress: Progress,
    explainer: Explainer,
    token: str,
    administration: Administration | None = None,
) -> FastAPI:
    """Return the ASGI application. Without ``administration`` it serves no provisioning."""
    api = FastAPI(
        title="dialout-gateway",
        version=__version__,
        description="Calls telephones into conferences, if the organizer is entitled to it.",
    )
    api.add_middleware(BodyLimit)
    api.include_router(_health(bridges))
    authorized = [Depends(authorization(token))]
    for router in (
        dial_outs(bridges, ledger),
        events(ledger, progress),
        call_backs(bridges, ledger, progress),
        cancellations(bridges, ledger),
        quotes(explainer, bridges),
        participants(ledger),
        explanations(explainer, bridges),
        metric_routes(),
    ):
        api.include_router(router, dependencies=authorized)
    if administration is not None:
        for routes in (admin, limits, notices):
            api.include_router(
                routes(administration.provisioning),
                dependencies=[Depends(authorization(administration.token))],
            )
        api.include_router(
            report_routes(administration.provisioning, administration.reports),
            dependencies=[Depends(authorization(administration.token))],
        )
    handle_faults(api)
    return api


def _health(bridges: Bridges) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer while the process lives."""
        return {"state": "alive"}

    @router.get("/readyz", responses={503: {"model": Fault}})
    async def readyz() -> Ready:
        """Answer 200 while a call could be placed on any bridge, and say on which."""
        if not bridges.ready:
            raise Refused(503, Fault(reason="not_ready", message="Asterisk or ledger is away."))
        return Ready(state="ready", bridges=bridges.states)

    return router


class BodyLimit:
    """Answers 413 to a body that no request of ours can need, before it fills the memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body as it comes in: a client need not say its length, nor the truth."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max = body_bytes_max(scope["path"], otherwise=BODY_BYTES_MAX)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise HTTPException(413, f"The body is larger than {bytes_max} bytes.")
            return message

        await self._app(scope, counted, send)
