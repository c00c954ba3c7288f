"""The page as an ASGI application: its files, and the JSON that they live on."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from gateway.console.guards import Guards
from gateway.console.meeting import Meeting, Participant
from gateway.console.sessions import PlacedCall, Session, Sessions
from gateway.console.stream import POSITION_CHARS_MAX, Stream, call_state
from gateway.console.upstream import Answer, Upstream

COOKIE = "dialout_console"

# A page elsewhere whose name is made to point to this machine is not our page.
_HOSTS = ["127.0.0.1", "localhost"]
_STATIC = Path(__file__).with_name("static")

_Kind = Literal["call_me", "add_participant"]
_Number = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,40}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MeBody(_Body):
    """Who the visitor is."""

    participant_id: Annotated[str, Field(max_length=128)]


class QuoteBody(_Body):
    """A call that is thought about."""

    kind: _Kind
    number: _Number


class CallBody(QuoteBody):
    """A call that is asked for. The page chooses its id, so that a retry is the same call."""

    call_id: UUID


def create_console(meeting: Meeting, upstream: Upstream) -> FastAPI:
    """Return the ASGI application. It is for the loopback interface, and answers to no other name.

    Errors are ``{"reason", "message"}``, as the gateway's are.
    """
    console = FastAPI(title="dialout console", openapi_url=None, docs_url=None, redoc_url=None)
    console.add_middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS)
    console.add_middleware(Guards)
    sessions = Sessions()
    console.include_router(_presence(meeting, sessions))
    console.include_router(_calls(upstream, sessions))
    console.include_router(_numbers(upstream, sessions))
    console.mount("/", StaticFiles(directory=_STATIC, html=True))
    _handle_faults(console)
    return console


def _presence(meeting: Meeting, sessions: Sessions) -> APIRouter:
    router = APIRouter(prefix="/api")

    @router.get("/state")
    async def state(
        response: Response, dialout_console: Annotated[str | None, Cookie()] = None
    ) -> dict[str, Any]:
        """Return the meeting and the session's own; begin a session where there is none."""
        session = sessions.find(dialout_console)
        if session is None:
            secret, session = sessions.begin(meeting.participants[0])
            response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", path="/")
        return _state(meeting, session)

    @router.put("/me")
    async def become(
        body: MeBody, session: Annotated[Session, Depends(_session(sessions))]
    ) -> dict[str, Any]:
        """Be another participant of the meeting."""
        participant = meeting.participant(body.participant_id)
        if participant is None:
            raise HTTPException(404, "Nobody in this meeting has this name.")
        session.participant = participant
        return _state(meeting, session)

    return router


def _calls(upstream: Upstream, sessions: Sessions) -> APIRouter:
    router = APIRouter(prefix="/api")
    ours = Depends(_session(sessions))
    call_of = Depends(_call(sessions))

    @router.post("/quotes")
    async def quote(body: QuoteBody, session: Annotated[Session, ours]) -> Response:
        """Say what a call would cost and who would pay, or why it would be refused."""
        return _relay(await upstream.quote(session.participant, body.kind, body.number))

    @router.post("/calls")
    async def place(body: CallBody, session: Annotated[Session, ours]) -> Response:
        """Have a telephone called."""
        call = PlacedCall(call_id=body.call_id, kind=body.kind, number=body.number)
        return _placed(session, call, await upstream.place(session.participant, call))

    @router.get("/events")
    async def follow(
        session: Annotated[Session, ours],
        last_event_id: Annotated[str, Header(max_length=POSITION_CHARS_MAX)] = "",
    ) -> StreamingResponse:
        """Say what becomes of the session's calls, as it happens."""
        return StreamingResponse(
            Stream(session, upstream, last_event_id).events(), media_type="text/event-stream"
        )

    @router.delete("/calls/{call_id}")
    async def cancel(call: Annotated[PlacedCall, call_of]) -> Response:
        """End a call wherever it is."""
        return _relay(await upstream.cancel(call.call_id))

    @router.post("/calls/{call_id}/call-back")
    async def call_back(
        session: Annotated[Session, ours], call: Annotated[PlacedCall, call_of]
    ) -> Response:
        """Have the same telephone called once more.

        However often it is pressed, in however many tabs: a call is called back anew only when
        nothing has come of it, or that is over.
        """
        before = session.call_backs.get(call.call_id)
        is_over = before is not None and await upstream.has_ended(before.call_id)
        again = session.call_back(call, before if is_over else None)
        answer = await upstream.call_back(call.call_id, again.call_id)
        if not answer.done and not answer.is_unclear:
            session.call_backs.pop(call.call_id, None)
        return _placed(session, again, answer)

    return router


def _numbers(upstream: Upstream, sessions: Sessions) -> APIRouter:
    router = APIRouter(prefix="/api/numbers")
    ours = Depends(_session(sessions))

    @router.get("")
    async def numbers(session: Annotated[Session, ours]) -> Response:
        """Return the numbers at which this participant was called."""
        return _relay(await upstream.recent_numbers(session.participant))

    @router.delete("/{number}")
    async def forget(number: str, session: Annotated[Session, ours]) -> Response:
        """Forget one of them."""
        return _relay(await upstream.forget_number(session.participant, number))

    return router


def _session(sessions: Sessions) -> Callable[..., Awaitable[Session]]:
    """Return a dependency that finds the session of a request, or refuses it."""

    async def find(dialout_console: Annotated[str | None, Cookie()] = None) -> Session:
        session = sessions.find(dialout_console)
        if session is None:
            raise HTTPException(401, "The page was started anew. Load it again.")
        return session

    return find


def _call(sessions: Sessions) -> Callable[..., Awaitable[PlacedCall]]:
    """Return a dependency that finds a call of the session, and refuses those of others."""

    async def find(
        call_id: UUID, session: Annotated[Session, Depends(_session(sessions))]
    ) -> PlacedCall:
        call = session.calls.get(call_id)
        if call is None:
            raise HTTPException(404, "This browser has asked for no such call.")
        return call

    return find


def _placed(session: Session, call: PlacedCall, answer: Answer) -> Response:
    """Answer whoever asked for a call. One of which nobody knows what became is watched, too."""
    if answer.done or answer.is_unclear:
        session.remember(call)
    return JSONResponse(call_state(call), 201) if answer.done else _relay(answer)


def _relay(answer: Answer) -> Response:
    return JSONResponse(answer.body, status_code=answer.status)


def _state(meeting: Meeting, session: Session) -> dict[str, Any]:
    return {
        "meeting": meeting.name,
        "participants": [_participant_state(each) for each in meeting.participants],
        "me": session.participant.participant_id,
        "calls": [call_state(call) for call in session.calls.values()],
        "samples": [{"number": each.number, "what": each.what} for each in meeting.samples],
    }


def _participant_state(participant: Participant) -> dict[str, str]:
    return {"participant_id": participant.participant_id, "name": participant.name}


def _handle_faults(console: FastAPI) -> None:
    @console.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        body = {"reason": "refused", "message": str(error.detail)}
        return JSONResponse(body, status_code=error.status_code)

    @console.exception_handler(RequestValidationError)
    async def invalid(_request: Request, _error: RequestValidationError) -> JSONResponse:
        message = "This cannot be a telephone number. Check it."
        return JSONResponse({"reason": "invalid", "message": message}, status_code=422)
