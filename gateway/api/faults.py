"""What the API answers when it does not do what it was asked: one shape for all of it."""

import hmac
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gateway.bridges import Unplaced
from gateway.core.dial_out import BridgeName
from gateway.core.key import DialOutKey
from gateway.dialer import BridgeUnavailable, CallNotPlaced
from gateway.ledger import LedgerUnavailable
from gateway.waiting_room import Overloaded

RETRY_AFTER_SECONDS = "2"
_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": RETRY_AFTER_SECONDS},
    503: {"Retry-After": RETRY_AFTER_SECONDS},
}
SAME_ID = "Nothing is lost; ask again with the same id."
NEW_ID = "Nobody was called and nothing is charged; ask again with a new id."


class Fault(BaseModel):
    """Why a request was not done: a word for machines, a sentence for people."""

    reason: str
    message: str
    dial_out_id: UUID | None = None


_UNAUTHORIZED = Fault(reason="unauthorized", message="Send the token as a bearer token.")

FAULTS: dict[int | str, dict[str, object]] = {
    401: {"model": Fault, "description": "The token is absent or wrong."},
    403: {"model": Fault, "description": "The dial-out is refused; `reason` says why."},
    404: {"model": Fault, "description": "There is no such dial-out."},
    409: {
        "model": Fault,
        "description": "The id was used for another dial-out, or a bridge must be named.",
    },
    503: {
        "model": Fault,
        "description": "Asterisk or the ledger is away, or too much is asked for; try again.",
    },
}


class Refused(Exception):
    """Carries a status and a fault from a route to the answer."""

    def __init__(self, status: int, fault: Fault) -> None:
        self.status = status
        self.fault = fault


def unknown_dial_out(key: DialOutKey) -> Refused:
    """Return the answer to whoever names a dial-out that is not there."""
    return Refused(
        404,
        Fault(
            reason="dial_out_unknown",
            message="The tenant has no dial-out with this id.",
            dial_out_id=key.dial_out_id,
        ),
    )


def on_bridge(where: BridgeName | Unplaced) -> BridgeName:
    """Return the bridge that a conference is on; ``Refused`` if there is no one answer."""
    match where:
        case Unplaced.BRIDGE_UNKNOWN:
            raise Refused(422, Fault(reason=where, message="There is no bridge of this name."))
        case Unplaced.ON_SEVERAL_BRIDGES:
            message = "Several bridges have this conference. Say which one: bridge."
            raise Refused(409, Fault(reason=where, message=message))
        case Unplaced.NOT_IN_PROGRESS:
            message = "This conference is in progress on no bridge. Say which one: bridge."
            raise Refused(409, Fault(reason=where, message=message))
        case _:
            return where


def authorization(token: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that lets nobody pass without the token."""
    bearer = HTTPBearer(auto_error=False)

    async def authorize(
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        if not _is_token(credentials.credentials if credentials else "", token):
            raise Refused(401, _UNAUTHORIZED)

    return authorize


def bears_one_of(tokens: Iterable[str], header: str | None) -> bool:
    """Return whether the value of an ``Authorization`` header is any of the tokens."""
    scheme, given = get_authorization_scheme_param(header)
    return scheme.lower() == "bearer" and any(_is_token(given, token) for token in tokens)


def unauthorized() -> JSONResponse:
    """Return the answer to whoever has no token."""
    return _fault(401, _UNAUTHORIZED, _HEADERS[401])


def handle_faults(api: FastAPI) -> None:
    """Answer each kind of fault in the one shape."""

    @api.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        return _fault(error.status, error.fault, _HEADERS.get(error.status))

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

    @api.exception_handler(Overloaded)
    async def overloaded(_request: Request, error: Overloaded) -> JSONResponse:
        return crowded(error.retry_seconds)

    @api.exception_handler(HTTPException)
    async def http_fault(_request: Request, error: HTTPException) -> JSONResponse:
        return _fault(error.status_code, Fault(reason="http", message=str(error.detail)))


def crowded(retry_seconds: int) -> JSONResponse:
    """Return the answer to whoever there is no room for."""
    fault = Fault(reason="overloaded", message=f"More is asked for than can be done. {SAME_ID}")
    return _fault(503, fault, {"Retry-After": str(retry_seconds)})


def _is_token(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _away(reason: str, message: str, advice: str) -> JSONResponse:
    fault = Fault(reason=reason, message=f"{message} {advice}")
    return _fault(503, fault, {"Retry-After": RETRY_AFTER_SECONDS})


def _fault(status: int, fault: Fault, headers: dict[str, str] | None = None) -> JSONResponse:
    body = fault.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, status_code=status, headers=headers)
