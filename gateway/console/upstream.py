"""The gateway as a web back end sees it: its HTTP API, and answers that can go to a browser."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from gateway.console.meeting import Meeting, Participant
from gateway.console.sessions import PlacedCall

# Two of the gateway's keep-alives may be lost before the stream counts as dead.
_STREAM_TIMEOUT = httpx.Timeout(10.0, read=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway said: an HTTP status for the browser, and the JSON that goes with it."""

    status: int
    body: dict[str, Any]

    @property
    def done(self) -> bool:
        """True if the gateway did what it was asked for."""
        return 200 <= self.status < 300

    @property
    def is_unclear(self) -> bool:
        """True if it may have been done, or may yet be by asking for the same once more."""
        return self.status >= 500 and self.body["reason"] != "call_not_placed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that became of a call. The ``number`` is its place in the order, from 1.

    0 stands for what is no step of the call's own, and may be said again.
    """

    name: str
    number: int
    data: dict[str, Any]


GONE = Event(name="gone", number=0, data={"text": "The gateway does not know this call."})


class Upstream:
    """The gateway's API, asked for one meeting.

    ``client`` has the gateway's address and token, and is the caller's to close. A gateway that
    does not answer is an answer, too: 503 with a sentence, and nothing raised.
    """

    def __init__(self, client: httpx.AsyncClient, meeting: Meeting) -> None:
        self._client = client
        self._meeting = meeting
        self._tenant = {"tenant_id": str(meeting.tenant_id)}

    async def quote(self, who: Participant, kind: str, number: str) -> Answer:
        """Ask what a call would cost, or why it would be refused."""
        return await self._ask("POST", "/v1/quotes", json=self._request(who, kind, number))

    async def place(self, who: Participant, call: PlacedCall) -> Answer:
        """Have a telephone called. The same id again calls nobody."""
        request = self._request(who, call.kind, call.number)
        return await self._ask(
            "POST", "/v1/dial-outs", json={**request, "dial_out_id": str(call.call_id)}
        )

    async def call_back(self, call_id: UUID, new_id: UUID) -> Answer:
        """Have the telephone of an earlier call called once more, as the call ``new_id``."""
        return await self._ask(
            "POST",
            f"/v1/dial-outs/{call_id}/call-back",
            params=self._tenant,
            json={"dial_out_id": str(new_id)},
        )

    async def cancel(self, call_id: UUID) -> Answer:
        """End a call wherever it is."""
        return await self._ask("DELETE", f"/v1/dial-outs/{call_id}", params=self._tenant)

    async def recent_numbers(self, who: Participant) -> Answer:
        """Ask which numbers a participant was called at. Anonymous ones have none."""
        if who.initiator_id is None:
            return Answer(status=200, body={"numbers": []})
        return await self._ask("GET", _numbers_of(who.initiator_id), params=self._tenant)

    async def forget_number(self, who: Participant, number: str) -> Answer:
        """Have one of a participant's recent numbers forgotten."""
        if who.initiator_id is None:
            return Answer(status=204, body={})
        path = f"{_numbers_of(who.initiator_id)}/{quote(number, safe='')}"
        return await self._ask("DELETE", path, params=self._tenant)

    async def has_ended(self, call_id: UUID) -> bool:
        """Ask whether a call is known to have ended."""
        answer = await self._ask("GET", f"/v1/dial-outs/{call_id}", params=self._tenant)
        return answer.done and "ended_at" in answer.body

    async def events(self, call_id: UUID, after: int) -> AsyncGenerator[Event]:
        """Yield what becomes of a call after the event of this number, as the gateway says it.

        ``GONE`` if the gateway does not know the call. Ends early where the gateway cannot be
        reached, has no place to follow from, or breaks off.
        """
        headers = {"Last-Event-ID": str(after)} if after else {}
        try:
            async with self._client.stream(
                "GET",
                f"/v1/dial-outs/{call_id}/events",
                params=self._tenant,
                headers=headers,
                timeout=_STREAM_TIMEOUT,
            ) as response:
                if response.status_code == httpx.codes.NOT_FOUND:
                    yield GONE
                if response.is_success:
                    async for event in _events(response.aiter_lines()):
                        yield event
        except (httpx.HTTPError, ValueError):
            return

    def _request(self, who: Participant, kind: str, number: str) -> dict[str, Any]:
        request = {
            **self._tenant,
            "kind": kind,
            "organizer_id": self._meeting.organizer_id,
            "conference_id": self._meeting.conference_id,
            "meeting_name": self._meeting.name,
            "number": number,
        }
        if who.initiator_id is not None:
            request["initiator_id"] = who.initiator_id
        return request

    async def _ask(self, method: str, path: str, **request: Any) -> Answer:
        try:
            response = await self._client.request(method, path, **request)
        except httpx.HTTPError:
            return _fault(503, "gateway_away", "The gateway does not answer. Try again soon.")
        return _answer(response)


async def _events(lines: AsyncIterator[str]) -> AsyncGenerator[Event]:
    """Yield the events of a stream. Raises ValueError at one that no gateway sends."""
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "event" in fields:
            number, data = fields.get("id", ""), fields.get("data", "")
            yield Event(name=fields["event"], number=int(number), data=json.loads(data))
        fields = {}


def _numbers_of(initiator_id: str) -> str:
    return f"/v1/participants/{quote(initiator_id, safe='')}/numbers"


def _answer(response: httpx.Response) -> Answer:
    """Return what may go on to a browser: never what the gateway says to its own operator."""
    if response.is_success:
        return Answer(status=response.status_code, body=response.json() if response.content else {})
    match response.status_code:
        case 403 | 404 | 409 | 429 | 503:
            fault = response.json()
            return _fault(response.status_code, str(fault["reason"]), str(fault["message"]))
        case 422:
            return _fault(422, "invalid", "This cannot be a telephone number. Check it.")
        case _:
            return _fault(502, "gateway_fault", "The gateway did not do it. Tell its operator.")


def _fault(status: int, reason: str, message: str) -> Answer:
    return Answer(status=status, body={"reason": reason, "message": message})
