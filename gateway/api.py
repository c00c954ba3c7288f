"""The HTTP API: the only module that knows what a refusal, a fault or a retry is in HTTP."""

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Literal, Protocol
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import __version__
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState
from gateway.core.key import DialOutKey
from gateway.core.policy import OrganizerId, SourceKind
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.dialer import BridgeUnavailable, CallNotPlaced, Dialer
from gateway.ledger import Ledger, LedgerUnavailable, RequestOutcome

BODY_BYTES_MAX = 16_384
RETRY_AFTER_SECONDS = "2"
SAME_ID = "Nothing is lost; ask again with the same id."
NEW_ID = "Nobody was called and nothing is charged; ask again with a new id."

OrganizerText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@+-]{1,128}$")]
ConferenceText = Annotated[str, Field(pattern=r"^[A-Za-z0-9._@-]{1,128}$")]


class Readiness(Protocol):
    """Whether a call could be placed right now."""

    @property
    def ready(self) -> bool:
        """True while the bridge and the ledger answer."""
        ...


class DialOutBody(BaseModel):
    """A telephone to be called into a conference."""

    model_config = ConfigDict(extra="forbid")

    tenant_id: UUID
    dial_out_id: UUID | None = Field(
        default=None,
        description="Chosen by the client, so that a retry is the same dial-out. "
        "An `Idempotency-Key` header does the same.",
    )
    kind: Literal["add_participant", "call_me"]
    organizer_id: OrganizerText = Field(description="Who pays: the organizer of the meeting.")
    initiator_id: OrganizerText | None = Field(
        default=None, description="Who asked. Digits without + are read in this person's country."
    )
    conference_id: ConferenceText
    number: str = Field(
        pattern=r"^[^\x00-\x1f\x7f]{1,40}$", description="As a person types it, with or without +."
    )


class FundingAnswer(BaseModel):
    """What one source has set aside for a call and, once it is settled, has paid."""

    source: SourceKind
    seconds: int
    micros: int
    billed_seconds: int | None = None
    billed_micros: int | None = None


class DialOutAnswer(BaseModel):
    """What is known of a dial-out. Absent fields are not known, or do not apply."""

    tenant_id: UUID
    dial_out_id: UUID
    kind: DialOutKind
    state: DialOutState
    reason: Reason | None = None
    organizer_id: str
    initiator_id: str | None = None
    conference_id: str
    number_typed: str
    destination: str | None = None
    region: str | None = None
    number_kind: str | None = None
    talk_seconds: int | None = None
    ring_seconds: int | None = None
    caller_id: str | None = None
    paid_by: list[SourceKind] | None = None
    requested_at: datetime
    released_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    disposition: str | None = None
    hangup_cause: int | None = Field(default=None, description="Q.850")
    billable_seconds: int | None = None
    overrun_seconds: int | None = Field(default=None, description="Beyond the funds; not billed.")
    evidence: str | None = Field(default=None, description="How the end is known.")
    funding: list[FundingAnswer] | None = None
    cost_micros: int | None = Field(default=None, description="Millionths of `currency`.")
    currency: str | None = None


class Fault(BaseModel):
    """Why a request was not done: a word for machines, a sentence for people."""

    reason: str
    message: str
    dial_out_id: UUID | None = None


_FAULTS: dict[int | str, dict[str, object]] = {
    401: {"model": Fault, "description": "The token is absent or wrong."},
    403: {"model": Fault, "description": "The dial-out is refused; `reason` says why."},
    404: {"model": Fault, "description": "There is no such dial-out."},
    409: {"model": Fault, "description": "The id was used for another dial-out."},
    503: {"model": Fault, "description": "Asterisk or the ledger is away; try again."},
}


class _Refused(Exception):
    """Carries a status and a fault from a route to the answer."""

    def __init__(self, status: int, fault: Fault) -> None:
        self.status = status
        self.fault = fault


def create_api(*, dialer: Dialer, ledger: Ledger, readiness: Readiness, token: str) -> FastAPI:
    """Return the ASGI application."""
    api = FastAPI(
        title="dialout-gateway",
        version=__version__,
        description="Calls telephones into conferences, if the organizer is entitled to it.",
    )
    api.add_middleware(BodyLimit)
    api.include_router(_health(readiness))
    api.include_router(_dial_outs(dialer, ledger), dependencies=[Depends(_authorization(token))])
    _handle_faults(api)
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
            raise _Refused(503, Fault(reason="not_ready", message="Asterisk or ledger is away."))
        return {"state": "ready"}

    return router


def _dial_outs(dialer: Dialer, ledger: Ledger) -> APIRouter:
    router = APIRouter(prefix="/v1/dial-outs", tags=["dial-outs"], responses=_FAULTS)

    @router.post("", status_code=201, response_model_exclude_none=True)
    async def place(
        body: DialOutBody,
        response: Response,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
    ) -> DialOutAnswer:
        """Have a telephone called. The same id again gives the same dial-out and calls nobody."""
        request = _request(body, idempotency_key)
        outcome, dial_out = await dialer.place(request)
        match outcome:
            case RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS:
                raise _Refused(409, _conflict(request.key))
            case RequestOutcome.EXISTS:
                response.status_code = 200
            case RequestOutcome.RESERVED | RequestOutcome.REFUSED | RequestOutcome.UNKNOWN_TENANT:
                pass
        if dial_out is None or dial_out.state is DialOutState.REFUSED:
            raise _Refused(403, _refusal(request.key, dial_out))
        response.headers["Location"] = (
            f"/v1/dial-outs/{request.key.dial_out_id}?tenant_id={request.key.tenant_id}"
        )
        return _answer(dial_out)

    @router.get("/{dial_out_id}", response_model_exclude_none=True)
    async def read(dial_out_id: UUID, tenant_id: Annotated[UUID, Query()]) -> DialOutAnswer:
        """Return what is known of a dial-out."""
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        return _found(key, await ledger.dial_out(key))

    @router.delete("/{dial_out_id}", response_model_exclude_none=True)
    async def cancel(dial_out_id: UUID, tenant_id: Annotated[UUID, Query()]) -> DialOutAnswer:
        """End a dial-out wherever it is: it never rings, stops ringing, or is hung up."""
        key = DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)
        return _found(key, await dialer.cancel(key))

    return router


def _authorization(token: str) -> Callable[..., Awaitable[None]]:
    bearer = HTTPBearer(auto_error=False)

    async def authorize(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        given = credentials.credentials if credentials else ""
        if not hmac.compare_digest(given.encode(), token.encode()):
            fault = Fault(reason="unauthorized", message="Send the token as a bearer token.")
            raise _Refused(401, fault)

    return authorize


def _handle_faults(api: FastAPI) -> None:
    @api.exception_handler(_Refused)
    async def refused(_request: Request, error: _Refused) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return _fault(error.status, error.fault, headers)

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # Without what was sent: it may be a telephone number, or text that no JSON can hold.
        detail = [
            {"loc": list(fault["loc"]), "msg": fault["msg"], "type": fault["type"]}
            for fault in error.errors()
        ]
        return JSONResponse({"detail": detail}, status_code=422)

    @api.exception_handler(BridgeUnavailable)
    async def bridge_away(_request: Request, _error: BridgeUnavailable) -> JSONResponse:
        return _away("bridge_unavailable", "The conference bridge cannot be reached.", SAME_ID)

    @api.exception_handler(CallNotPlaced)
    async def not_placed(_request: Request, _error: CallNotPlaced) -> JSONResponse:
        return _away("call_not_placed", "The conference bridge did not take the call.", NEW_ID)

    @api.exception_handler(LedgerUnavailable)
    async def ledger_away(_request: Request, _error: LedgerUnavailable) -> JSONResponse:
        return _away("ledger_unavailable", "The ledger does not answer.", SAME_ID)

    @api.exception_handler(HTTPException)
    async def http_fault(_request: Request, error: HTTPException) -> JSONResponse:
        return _fault(error.status_code, Fault(reason="http", message=str(error.detail)))


def _away(reason: str, message: str, advice: str) -> JSONResponse:
    fault = Fault(reason=reason, message=f"{message} {advice}")
    return _fault(503, fault, {"Retry-After": RETRY_AFTER_SECONDS})


def _fault(status: int, fault: Fault, headers: dict[str, str] | None = None) -> JSONResponse:
    body = fault.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, status_code=status, headers=headers)


def _request(body: DialOutBody, idempotency_key: str | None) -> DialOutRequest:
    return DialOutRequest(
        key=DialOutKey(tenant_id=body.tenant_id, dial_out_id=_dial_out_id(body, idempotency_key)),
        kind=DialOutKind(body.kind),
        organizer_id=OrganizerId(body.organizer_id),
        initiator_id=body.initiator_id,
        conference_id=body.conference_id,
        number_typed=body.number,
    )


def _dial_out_id(body: DialOutBody, idempotency_key: str | None) -> UUID:
    """Return the client's own id, else the one that its key stands for, else a new one."""
    if body.dial_out_id is not None:
        return body.dial_out_id
    if idempotency_key is not None:
        return uuid5(body.tenant_id, idempotency_key)
    return uuid4()


def _answer(dial_out: DialOut) -> DialOutAnswer:
    return DialOutAnswer.model_validate(dial_out.summary())


def _found(key: DialOutKey, dial_out: DialOut | None) -> DialOutAnswer:
    if dial_out is None:
        fault = Fault(
            reason="dial_out_unknown",
            message="The tenant has no dial-out with this id.",
            dial_out_id=key.dial_out_id,
        )
        raise _Refused(404, fault)
    return _answer(dial_out)


def _refusal(key: DialOutKey, dial_out: DialOut | None) -> Fault:
    reason = dial_out.reason if dial_out else Reason.TENANT_UNKNOWN
    assert reason is not None, "a refused dial-out has its reason"
    return Fault(reason=reason, message=REASON_TEXTS[reason], dial_out_id=key.dial_out_id)


def _conflict(key: DialOutKey) -> Fault:
    return Fault(
        reason="exists_with_different_terms",
        message="This id was used for another dial-out. Choose a new one.",
        dial_out_id=key.dial_out_id,
    )


class BodyLimit:
    """Answers 413 to a body that no request of ours can need, before it fills the memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body as it comes in: a client need not say its length, nor the truth."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_BYTES_MAX:
                raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes.")
            return message

        await self._app(scope, counted, send)
