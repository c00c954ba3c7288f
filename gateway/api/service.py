"""The HTTP API as a whole: what it serves, to whom, and how much it listens to.

What comes in passes the door first, which asks for a token; only then it takes one of the places;
and only in a place its body is read, as much of it as a request can need and no longer than that
takes. So a stranger holds nothing, and a client that stalls holds a place for some seconds.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import __version__, metrics
from gateway.api.admin import Administration, admin, body_bytes_max, body_seconds_max
from gateway.api.call_backs import call_backs
from gateway.api.cancellations import cancellations
from gateway.api.dial_outs import dial_outs
from gateway.api.events import events
from gateway.api.explanations import explanations
from gateway.api.faults import (
    RETRY_AFTER_SECONDS,
    Fault,
    Refused,
    authorization,
    bears_one_of,
    crowded,
    handle_faults,
    unauthorized,
)
from gateway.api.gaps import gap_routes
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
BODY_SECONDS_MAX = 5.0

REQUESTS_MAX = 200
"""Requests that are answered at once, over all connections. A request for a call holds its place
until the trunk is being dialled. So many are some hundred milliseconds of work, for which the
events of the calls in progress may have to wait."""

_OPEN_TO_ALL = frozenset({"/healthz", "/readyz", "/docs", "/redoc", "/openapi.json"})
"""What needs no token, and reads no body."""

_ANSWERED_ALWAYS = frozenset({"/healthz", "/readyz", "/metrics"})
"""What tells those who watch over the gateway how it is."""

_STREAM = re.compile(r"/v1/dial-outs/[^/]+/events")
"""Where clients are told of calls for long: streams have places of their own."""


class Ready(BaseModel):
    """That a call could be placed, and on which bridges: each is ``ready`` or ``away``.

    ``degraded``: the ledger is away, and only few calls go on, under grants.
    """

    state: Literal["ready", "degraded"]
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
    api.add_middleware(RequestLimit, requests_max=REQUESTS_MAX)
    tokens = (token,) if administration is None else (token, administration.token)
    api.add_middleware(Door, tokens=tokens)  # the last one added is the first to be passed
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
        api.include_router(
            gap_routes(administration.reports),
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
        state: Literal["ready", "degraded"] = "degraded" if bridges.stand_in else "ready"
        return Ready(state=state, bridges=bridges.states)

    return router


class Door:
    """Answers 401 to whoever has none of the tokens, before a place is taken or a body is read.

    Which of the tokens a route needs, the route itself says.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in whoever may come in."""
        if self._may_pass(scope):
            await self._app(scope, receive, send)
        else:
            await unauthorized()(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["path"] in _OPEN_TO_ALL:
            return True
        return bears_one_of(self._tokens, Headers(scope=scope).get("authorization"))


class BodyLimit:
    """Answers 413 to a body that no request of ours can need, and 408 to one that does not come."""

    def __init__(self, app: ASGIApp, *, seconds_max: float = BODY_SECONDS_MAX) -> None:
        self._app = app
        self._seconds_max = seconds_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body as it comes in: a client need not say its length, nor the truth."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bytes_max = body_bytes_max(scope["path"], otherwise=BODY_BYTES_MAX)
        seconds_max = body_seconds_max(scope["path"], otherwise=self._seconds_max)
        deadline = asyncio.get_running_loop().time() + seconds_max
        received, is_whole = 0, False

        async def counted() -> Message:
            nonlocal received, is_whole
            try:
                # What comes after the body is that the client goes, which it may do at any time.
                async with asyncio.timeout_at(None if is_whole else deadline):
                    message = await receive()
            except TimeoutError:
                reason = f"The body has not come within {seconds_max:g} seconds."
                raise HTTPException(408, reason) from None
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise HTTPException(413, f"The body is larger than {bytes_max} bytes.")
            return message

        await self._app(scope, counted, send)


class RequestLimit:
    """Answers 503 to what comes while as many requests as may be are being answered."""

    def __init__(self, app: ASGIApp, *, requests_max: int) -> None:
        self._app = app
        self._requests_max = requests_max
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the request until it is answered; its body is not read for a refusal."""
        if scope["type"] != "http" or _is_free(scope["path"]):
            await self._app(scope, receive, send)
            return
        if self._requests >= self._requests_max:
            metrics.turned_away()
            await crowded(int(RETRY_AFTER_SECONDS))(scope, receive, send)
            return
        self._requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._requests -= 1


def _is_free(path: str) -> bool:
    """Return whether a request is not counted."""
    return path in _ANSWERED_ALWAYS or bool(_STREAM.fullmatch(path))
