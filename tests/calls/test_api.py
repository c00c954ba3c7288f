"""The HTTP API: what it takes, what it refuses, and in which words. Never a 500."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from gateway.core.reasons import Reason
from tests.calls.meeting import Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_good_request_is_created_and_can_be_read(meeting: Meeting) -> None:
    """201, where to find it, and the same representation there."""
    response = await meeting.post(london("10"), kind="call_me", initiator_id="guest")

    body = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == meeting.path(body["dial_out_id"])
    assert (body["kind"], body["initiator_id"]) == ("call_me", "guest")
    assert body["state"] in ("released", "answered")
    found = await meeting.client.get(response.headers["Location"])
    assert found.json()["dial_out_id"] == body["dial_out_id"]
    await meeting.cancel(body["dial_out_id"])
    await meeting.ended(body["dial_out_id"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", "not-a-uuid"),
        ("tenant_id", None),
        ("dial_out_id", "1"),
        ("kind", "intercept"),
        ("kind", 7),
        ("organizer_id", ""),
        ("organizer_id", "a b"),
        ("organizer_id", "x" * 129),
        ("organizer_id", "alice\r\nAction: Originate"),
        ("initiator_id", "${SHELL(id)}"),
        ("conference_id", "room,PJSIP/1@trunk"),
        ("conference_id", "../../etc"),
        ("conference_id", "röm"),
        ("number", ""),
        ("number", "1" * 41),
        ("number", "+44\r\n20"),
        ("number", "+44\x0020"),
        ("number", 442079460000),
        ("number", None),
    ],
)
async def test_bad_input_is_named(meeting: Meeting, field: str, value: Any) -> None:
    """422, and the field that is wrong; nothing is recorded and nobody is called."""
    before = len(meeting.carrier.invites())

    response = await meeting.post(**{"number": london("21"), field: value})

    assert response.status_code == 422
    assert [fault["loc"][-1] for fault in response.json()["detail"]] == [field]
    assert len(meeting.carrier.invites()) == before


async def test_an_unknown_field_is_named(meeting: Meeting) -> None:
    """A misspelt field must not be passed over: it may have been the one that limits the call."""
    response = await meeting.post(london("21"), conferense_id="room")

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][-1] == "conferense_id"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"number": "\\ud800"}']
)
async def test_what_is_no_request_is_422(meeting: Meeting, content: bytes) -> None:
    """Broken JSON, other JSON, no JSON."""
    response = await meeting.client.post(
        "/v1/dial-outs", content=content, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422


async def test_a_huge_body_is_not_read(meeting: Meeting) -> None:
    """413 before it fills the memory."""
    response = await meeting.post(london("21"), conference_id="x" * 1_000_000)

    assert response.status_code == 413


@pytest.mark.parametrize("token", [None, "wrong", "x" * 10_000, "\u00e4"])
async def test_without_the_token_nothing_is_done(meeting: Meeting, token: str | None) -> None:
    """401 for every route that does or tells something."""
    headers = {} if token is None else {b"Authorization": f"Bearer {token}".encode()}
    url = meeting.client.base_url

    async with httpx.AsyncClient(base_url=url, headers=headers) as stranger:
        responses = [
            await stranger.post("/v1/dial-outs", json={}),
            await stranger.get(meeting.path(str(uuid4()))),
            await stranger.delete(meeting.path(str(uuid4()))),
        ]

    assert [response.status_code for response in responses] == [401, 401, 401]
    assert responses[0].json()["reason"] == "unauthorized"


async def test_the_health_checks_need_no_token(meeting: Meeting) -> None:
    """Those who ask them are load balancers."""
    async with httpx.AsyncClient(base_url=meeting.client.base_url) as anybody:
        assert (await anybody.get("/healthz")).status_code == 200
        assert (await anybody.get("/readyz")).status_code == 200


async def test_what_does_not_exist_is_404(meeting: Meeting) -> None:
    """For reading and for cancelling, and another tenant's dial-out does not exist."""
    other = await meeting.another()
    placed = await meeting.place(london("21"))
    foreign = other.path(placed["dial_out_id"])

    unknown = await meeting.client.get(meeting.path(str(uuid4())))

    assert (unknown.status_code, unknown.json()["reason"]) == (404, "dial_out_unknown")
    assert (await meeting.client.delete(meeting.path(str(uuid4())))).status_code == 404
    assert (await meeting.client.get(foreign)).status_code == 404
    assert (await meeting.client.delete(foreign)).status_code == 404
    await meeting.ended(placed["dial_out_id"])


@pytest.mark.parametrize("path", ["/v1/dial-outs/x?tenant_id=y", f"/v1/dial-outs/{UUID(int=1)}"])
async def test_an_impossible_id_is_422(meeting: Meeting, path: str) -> None:
    """The id and the tenant are checked like every other field."""
    assert (await meeting.client.get(path)).status_code == 422


async def test_the_description_names_every_answer(meeting: Meeting) -> None:
    """Clients are generated from the OpenAPI document, the refusals included."""
    document = (await meeting.client.get("/openapi.json")).json()

    post = document["paths"]["/v1/dial-outs"]["post"]
    assert {"201", "401", "403", "409", "422", "503"} <= set(post["responses"])
    reasons = document["components"]["schemas"]["Reason"]["enum"]
    assert "pool_exhausted" in reasons


async def test_the_description_has_every_reason(meeting: Meeting) -> None:
    """A client that is generated from it knows each refusal by name, and no other."""
    document = (await meeting.client.get("/openapi.json")).json()

    assert document["components"]["schemas"]["Reason"]["enum"] == list(Reason)


async def test_why_is_told_over_http_before_and_after(meeting: Meeting) -> None:
    """The same answer before the call as after it, and nothing is dialled for the asking."""
    number = "+1 900 555 0123"
    question = {
        "tenant_id": str(meeting.tenant_id),
        "organizer_id": "alice",
        "initiator_id": "guest@example.com",
        "number": number,
    }

    before = await meeting.client.post("/v1/explanations", json=question)
    refused = await meeting.post(number)
    dial_out_id = refused.json()["dial_out_id"]
    path = f"/v1/dial-outs/{dial_out_id}/explanation?tenant_id={meeting.tenant_id}"
    after = await meeting.client.get(path)

    assert (before.status_code, refused.status_code, after.status_code) == (200, 403, 200)
    assert before.json()["reason"] == after.json()["reason"] == refused.json()["reason"]
    assert before.json()["to_pass"] == after.json()["to_pass"]
    assert after.json()["is_reproduced"] is True
    assert meeting.invites("+19005550123") == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("organizer_id", "a b"),
        ("number", "+44\r\n20"),
        ("at", "soon"),
        ("kind", "intercept"),
        ("what", "?"),
    ],
)
async def test_a_question_that_is_none_is_named(meeting: Meeting, field: str, value: str) -> None:
    """422 and the field, as for a call."""
    question = {"tenant_id": str(meeting.tenant_id), "organizer_id": "alice", "number": "1"}

    response = await meeting.client.post("/v1/explanations", json={**question, field: value})

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][-1] == field


async def test_nobody_is_told_why_of_what_is_not_there(meeting: Meeting) -> None:
    """404, and 401 without the token."""
    path = f"/v1/dial-outs/{uuid4()}/explanation?tenant_id={meeting.tenant_id}"

    assert (await meeting.client.get(path)).json()["reason"] == "dial_out_unknown"
    async with httpx.AsyncClient(base_url=meeting.client.base_url) as stranger:
        assert (await stranger.get(path)).status_code == 401
        assert (await stranger.post("/v1/explanations", json={})).status_code == 401
