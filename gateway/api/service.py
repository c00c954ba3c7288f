"""The HTTP API as a whole: what it serves, to whom, and how much it listens to."""

from typing import Protocol

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import __version__
from gateway.api.admin import Administration, admin, body_bytes_max
from gateway.api.dial_outs import dial_outs
from gateway.api.explanations import explanations
from gateway.api.faults import Fault, Refused, authorization, handle_faults
from gateway.api.limits import limits
from gateway.api.metrics import metric_routes
from gateway.api.notices import notices
from gateway.api.reports import report_routes
from gateway.dialer import Dialer
from gateway.explainer import Explainer
from gateway.ledger import Ledger

BODY_BYTES_MAX = 16_384


class Readiness(Protocol):
    """Whether a call could be placed right now."""

    @property
    def ready(self) -> bool:
        """True while the bridge and the ledger answer."""
        ...


def create_api(
    *,
    dialer: Dialer,
    ledger: Ledger,
    explainer: Explainer,
    readiness: Readiness,
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
    api.include_router(_health(readiness))
    authorized = [Depends(authorization(token))]
    api.include_router(dial_outs(dialer, ledger), dependencies=authorized)
    api.include_router(explanations(explainer), dependencies=authorized)
    api.include_router(metric_routes(), dependencies=authorized)
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


def _health(readiness: Readiness) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer while the process lives."""
        return {"state": "alive"}

    @router.get("/readyz", responses={503: {"model": Fault}})
    async def readyz() -> dict[str, str]:
        """Answer 200 while a call could be placed: bridge and ledger are there."""
        if not readiness.ready:
            raise Refused(503, Fault(reason="not_ready", message="Asterisk or ledger is away."))
        return {"state": "ready"}

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
