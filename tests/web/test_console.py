"""What stands behind the page, without a browser: whom it answers, and what it never says."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from gateway.console import Upstream, create_console
from gateway.console.sessions import CALLS_MAX, SESSIONS_MAX, PlacedCall, Sessions
from gateway.console.stream import Stream
from gateway.lab import program
from gateway.lab.web import sample_meeting

TOKEN = "the-token-of-the-gateway"
QUOTE = {"kind": "call_me", "number": "+442079460070"}


@asynccontextmanager
async def browser(
    answers: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """Lend a client of a page whose gateway is away, or says what ``answers`` does."""
    meeting = sample_meeting(uuid4())
    nobody = f"http://127.0.0.1:{program.free_port(socket.SOCK_STREAM)}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(base_url=nobody, headers=headers, transport=answers) as gateway:
        transport = httpx.ASGITransport(create_console(meeting, Upstream(gateway, meeting)))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8090"
        ) as client:
            yield client


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that has loaded the page, and so has a session."""
    async with browser() as client:
        assert (await client.get("/api/state")).is_success
        yield client


async def test_the_session_is_the_browsers_alone() -> None:
    """No script reads the cookie, and no other site's page has it sent along."""
    async with browser() as client:
        state = await client.get("/api/state")

    cookie = state.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in state.text + str(state.headers)


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/state", "/none"])
async def test_every_answer_says_what_the_page_may_do(client: httpx.AsyncClient, path: str) -> None:
    """Only what comes from here is run or asked, and the page goes into no frame."""
    headers = (await client.get(path)).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


async def test_another_name_of_this_machine_is_refused(client: httpx.AsyncClient) -> None:
    """A site may point its own name to the loopback interface: then it is not our page."""
    answer = await client.get("/api/state", headers={"Host": "evil.example"})

    assert answer.status_code == 400


async def test_another_site_changes_nothing(client: httpx.AsyncClient) -> None:
    """Browsers say where a request comes from."""
    for site in ("cross-site", "same-site", "none"):
        answer = await client.post("/api/quotes", json=QUOTE, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403


async def test_a_form_is_no_json(client: httpx.AsyncClient) -> None:
    """What a form of another site can send without being asked is not taken."""
    body = '{"kind": "call_me", "number": "+442079460070"}'
    answer = await client.post("/api/quotes", content=body, headers={"Content-Type": "text/plain"})

    assert answer.status_code == 422


async def test_who_has_not_loaded_the_page_is_nobody() -> None:
    """Each of the page's acts is a session's."""
    async with browser() as client:
        answers = [
            await client.post("/api/quotes", json=QUOTE),
            await client.post("/api/calls", json={**QUOTE, "call_id": str(uuid4())}),
            await client.put("/api/me", json={"participant_id": "alice"}),
            await client.get("/api/numbers"),
            await client.delete(f"/api/calls/{uuid4()}"),
            await client.get("/api/events"),
        ]

    assert {answer.status_code for answer in answers} == {401}
    assert answers[0].json()["message"] == "The page was started anew. Load it again."


async def test_a_call_of_another_browser_is_unknown(client: httpx.AsyncClient) -> None:
    """It is neither watched nor ended nor called back, though its id may be known."""
    call_id = uuid4()
    watched = await client.get("/api/events", headers={"Last-Event-ID": f"{call_id.hex}.1"})
    answers = [
        await client.delete(f"/api/calls/{call_id}"),
        await client.post(f"/api/calls/{call_id}/call-back"),
    ]

    assert watched.text == "retry: 1000\n\n"
    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "call_me", "number": ""},
        {"kind": "call_me", "number": "1" * 41},
        {"kind": "call_me", "number": "1\r\nAction: Hangup"},
        {"kind": "dial_in", "number": "+442079460070"},
        {"kind": "call_me", "number": "+442079460070", "organizer_id": "carol"},
    ],
)
async def test_what_no_page_sends_is_refused(
    client: httpx.AsyncClient, body: dict[str, str]
) -> None:
    """Nor does the answer say what was sent: it may be a telephone number."""
    answer = await client.post("/api/quotes", json=body)

    assert answer.status_code == 422
    assert answer.json() == {
        "reason": "invalid",
        "message": "This cannot be a telephone number. Check it.",
    }


async def test_a_body_is_short_and_says_so(client: httpx.AsyncClient) -> None:
    """A page for one person has no use for the memory that others would like to fill."""

    async def endless() -> AsyncIterator[bytes]:
        yield b"{}"

    long = await client.post("/api/quotes", content=b" " * 5000)
    untold = await client.post("/api/quotes", content=endless())

    assert (long.status_code, untold.status_code) == (413, 413)


async def test_a_gateway_that_is_away_is_said(client: httpx.AsyncClient) -> None:
    """With what to do. What was asked for may have been done, so its call is watched already."""
    call_id = str(uuid4())
    answer = await client.post("/api/calls", json={**QUOTE, "call_id": call_id})

    assert answer.status_code == 503
    assert answer.json() == {
        "reason": "gateway_away",
        "message": "The gateway does not answer. Try again soon.",
    }
    state = (await client.get("/api/state")).json()
    assert [call["call_id"] for call in state["calls"]] == [call_id]


async def test_a_call_back_keeps_its_id_while_it_may_be_placed() -> None:
    """And no longer: an id that the gateway has given up, or whose call is over, calls nobody."""
    script = [
        *((503, "call_not_placed"), (503, "still_up"), (201, ""), (201, "")),
        *((403, "pool_exhausted"), (201, "")),
    ]
    known = [{}, {}, {"ended_at": "2026-11-21T15:35:19Z"}]
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=known.pop(0))
        if request.url.path.endswith("/call-back"):
            asked.append(json.loads(request.content)["dial_out_id"])
            status, reason = script.pop(0)
            return httpx.Response(status, json={"reason": reason, "message": ""})
        return httpx.Response(201, json={})

    async with browser(httpx.MockTransport(answer)) as client:
        await client.get("/api/state")
        call_id = str(uuid4())
        await client.post("/api/calls", json={**QUOTE, "call_id": call_id})
        while script:
            await client.post(f"/api/calls/{call_id}/call-back")

    not_placed, placed, refused, anew = dict.fromkeys(asked)
    assert asked == [not_placed, placed, placed, placed, refused, anew]


async def test_a_gateway_with_no_place_for_a_reader_is_asked_again() -> None:
    """Within the same stream: the other calls in it are not told of anew for that."""
    last = 'event: ended\ndata: {"text": "Nobody answered."}\nid: 6\n\n'
    script = [httpx.Response(201, json={}), httpx.Response(429), httpx.Response(200, text=last)]

    async with browser(httpx.MockTransport(lambda _: script.pop(0))) as client:
        await client.get("/api/state")
        call_id = uuid4()
        await client.post("/api/calls", json={**QUOTE, "call_id": str(call_id)})
        events = (await client.get("/api/events")).text

    assert events.count("event: ended") == 1
    assert f"id: {call_id.hex}.6" in events
    assert "Nobody answered." in events
    assert str(call_id) in events


async def test_a_call_too_many_is_followed_no_more() -> None:
    """The page is told so, and waits for it no longer."""
    meeting = sample_meeting(uuid4())
    _, session = Sessions().begin(meeting.participants[0])
    calls = [_call() for _ in range(CALLS_MAX + 1)]
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as away:
        session.remember(calls[0])
        async with aclosing(Stream(session, Upstream(away, meeting), "").events()) as events:
            said = [await anext(events)]
            following = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            for call in calls[1:]:
                session.remember(call)
            said.append(await following)

    assert b"event: gone" in said[1]
    assert str(calls[0].call_id).encode() in said[1]


async def test_a_participant_is_one_of_the_meeting(client: httpx.AsyncClient) -> None:
    """The page lends no other identity than those that it was given."""
    nobody = await client.put("/api/me", json={"participant_id": "mallory"})
    bob = await client.put("/api/me", json={"participant_id": "bob"})

    assert nobody.status_code == 404
    assert bob.json()["me"] == "bob"


def test_sessions_and_their_calls_are_bounded() -> None:
    """The oldest is forgotten: a page that is left running does not grow."""
    sessions = Sessions()
    alice = sample_meeting(uuid4()).participants[0]
    first, _ = sessions.begin(alice)
    last, session = "", None
    for _ in range(SESSIONS_MAX):
        last, session = sessions.begin(alice)
    assert session is not None
    for _ in range(CALLS_MAX + 1):
        session.call_back(call := _call(), None)
        session.remember(call)

    assert sessions.find(first) is None
    assert sessions.find(last) is session
    assert len(session.calls) == len(session.call_backs) == CALLS_MAX


def _call() -> PlacedCall:
    return PlacedCall(call_id=uuid4(), kind="call_me", number="1")
