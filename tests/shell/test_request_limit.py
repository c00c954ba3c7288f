"""How many HTTP requests are answered at once, who takes none of the places, and for how long."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.api.faults import handle_faults
from gateway.api.service import BodyLimit, Door, RequestLimit

TOKEN = "0123456789abcdef0123456789abcdef"
BODY_SECONDS_MAX = 0.1


class Slow:
    """An application that answers nobody before it is told to."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.has_begun = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 and nothing else."""
        self.has_begun.set()
        if scope["path"] != "/healthz":
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def client(slow: Slow) -> httpx.AsyncClient:
    """Return a client of that application, which takes one request at a time."""
    limited = RequestLimit(slow, requests_max=1)
    return httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://gateway")


async def test_beyond_the_limit_a_request_is_refused_in_the_shape_of_all_faults() -> None:
    """A client that reads ``reason`` and ``Retry-After`` need not know who refused it, or why."""
    slow = Slow()
    async with client(slow) as asking, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(asking.get("/v1/dial-outs"))
        await slow.has_begun.wait()

        refused = await asking.post("/v1/dial-outs", content=b"x" * 100_000)

        assert (refused.status_code, refused.json()["reason"]) == (503, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        assert (await asking.get("/healthz")).status_code == 200
        slow.may_answer.set()
    assert first.result().status_code == 200


@pytest.mark.parametrize("path", ["/v1/admin/events", "/v1/admin/tenants/1/events"])
async def test_what_only_ends_like_a_stream_is_counted(path: str) -> None:
    """It reads the ledger, as everything else does."""
    slow = Slow()
    async with client(slow) as asking, asyncio.TaskGroup() as tasks:
        tasks.create_task(asking.get("/v1/dial-outs/1/events"))
        await slow.has_begun.wait()
        slow.has_begun.clear()
        tasks.create_task(asking.get(path))
        await slow.has_begun.wait()

        assert (await asking.get(path)).status_code == 503
        slow.may_answer.set()


async def test_a_client_that_goes_away_leaves_its_place() -> None:
    """Else so many impatient clients would shut the API for good."""
    slow = Slow()
    async with client(slow) as asking:
        gone = asyncio.create_task(asking.get("/v1/dial-outs"))
        await slow.has_begun.wait()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)

        slow.may_answer.set()
        assert (await asking.get("/v1/dial-outs")).status_code == 200


async def stalled() -> AsyncIterator[bytes]:
    """Begin a body that does not end."""
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize("given", [None, f"Basic {TOKEN}", "Bearer wrong", f"Bearer {TOKEN}x"])
async def test_a_stranger_is_told_so_at_once_and_takes_no_place(given: str | None) -> None:
    """Else anybody could shut the API, with as many requests as there are places."""
    slow = Slow()
    door = Door(RequestLimit(slow, requests_max=1), tokens=(TOKEN,))
    headers = {} if given is None else {"Authorization": given}
    transport = httpx.ASGITransport(door)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        async with asyncio.timeout(20):
            refused = await asking.post("/v1/dial-outs", content=stalled(), headers=headers)
        assert (refused.status_code, refused.json()["reason"]) == (401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert not slow.has_begun.is_set()

        assert (await asking.get("/healthz")).status_code == 200
        slow.may_answer.set()
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert (await asking.get("/v1/dial-outs", headers=bearer)).status_code == 200


def limited_api() -> FastAPI:
    """Return an application that has one place, and little time for a body."""
    api = FastAPI()
    api.add_middleware(BodyLimit, seconds_max=BODY_SECONDS_MAX)
    api.add_middleware(RequestLimit, requests_max=1)
    handle_faults(api)

    @api.post("/")
    async def answer(body: dict[str, int]) -> dict[str, int]:
        """Return what was sent."""
        return body

    @api.get("/")
    async def tell() -> StreamingResponse:
        """Answer for longer than a body may take."""

        async def slowly() -> AsyncIterator[bytes]:
            yield b"on"
            await asyncio.sleep(3 * BODY_SECONDS_MAX)
            yield b"off"

        return StreamingResponse(slowly())

    return api


async def test_a_body_that_does_not_come_gives_its_place_back() -> None:
    """A client that stalls has the token, and must not keep the others out for all that."""
    transport = httpx.ASGITransport(limited_api())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        async with asyncio.timeout(20):
            late = await asking.post("/", content=stalled())

        assert late.status_code == 408
        assert (await asking.post("/", json={"a": 1})).json() == {"a": 1}


async def test_only_the_body_has_to_be_quick() -> None:
    """An answer may take as long as it takes, and its client is listened to until then."""
    transport = httpx.ASGITransport(limited_api())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as asking:
        assert (await asking.get("/")).text == "onoff"
