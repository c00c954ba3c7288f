"""Everything that still rings, ended at once; what somebody has answered goes on."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.core.dial_out import BridgeName
from gateway.lab.service import Service
from tests.calls.meeting import PATIENT, Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTHING: dict[str, list[str]] = {"cancelled": [], "answered": [], "unreachable": []}


async def cancel_all(meeting: Meeting, conference: str, **fields: Any) -> httpx.Response:
    """Ask that nothing of a conference ring any longer."""
    body = {"tenant_id": str(meeting.tenant_id), "conference_id": conference, **fields}
    return await meeting.client.post("/v1/cancellations", json=body)


async def ringing(meeting: Meeting, **fields: Any) -> str:
    """Have a telephone rung, and return the id of its call."""
    number = london("80")
    placed = await meeting.place(number, **fields)
    await meeting.rings(number)
    dial_out_id: str = placed["dial_out_id"]
    return dial_out_id


async def rings_out(meeting: Meeting, dial_out_id: str) -> None:
    """Insist that a telephone rings for as long as any would that nobody answers."""
    assert (await meeting.ended(dial_out_id))["disposition"] == "no_answer"


async def test_what_rings_is_cancelled_and_what_is_answered_stays(meeting: Meeting) -> None:
    """The answer says which; no telephone rings as long as it would, and nothing is charged."""
    answered = (await meeting.place(london("10")))["dial_out_id"]
    await meeting.answered(answered)
    rang = [await ringing(meeting) for _ in range(3)]

    response = await cancel_all(meeting, "room")

    assert response.status_code == 200
    assert response.json() == {"cancelled": rang, "answered": [answered], "unreachable": []}
    for each in rang:
        ended = await meeting.ended(each)
        assert (ended["disposition"], ended["billable_seconds"]) == ("cancelled", 0)
    assert (await meeting.read(answered))["state"] == "answered"
    await meeting.cancel(answered)
    await meeting.ended(answered)
    await meeting.assert_books_are_clean()


async def test_only_one_persons_calls(meeting: Meeting) -> None:
    """A person who leaves takes no call along that another one has asked for, or nobody named."""
    # No conference of a test before: its end would take along what rings for it.
    bobs = await ringing(meeting, initiator_id="bob", conference_id="persons")
    carols = await ringing(meeting, initiator_id="carol", conference_id="persons")

    response = await cancel_all(meeting, "persons", initiator_id="bob")

    assert response.json() == {"cancelled": [bobs], "answered": [], "unreachable": []}
    assert (await meeting.ended(bobs))["disposition"] == "cancelled"
    await rings_out(meeting, carols)


async def test_no_other_conference_and_no_other_tenant(meeting: Meeting) -> None:
    """Two tenants may name their conferences alike."""
    other = await meeting.another()
    elsewhere = await ringing(meeting, conference_id="elsewhere")
    foreign = await ringing(other)

    response = await cancel_all(meeting, "room")

    assert response.json() == NOTHING
    await rings_out(meeting, elsewhere)
    await rings_out(other, foreign)


async def test_asked_again_there_is_nothing_left(meeting: Meeting) -> None:
    """A retry does no harm, and names nothing that is over."""
    dial_out_id = await ringing(meeting)
    await cancel_all(meeting, "room")
    await meeting.ended(dial_out_id)

    assert (await cancel_all(meeting, "room")).json() == NOTHING


async def test_cancelled_at_every_instant(meeting: Meeting) -> None:
    """However early it comes: a call either is cancelled or is up, and never rings on.

    The numbers answer at once, so that some of them race with the cancellation. What the
    answer says to go on does go on; whatever was hung up is paid to the second at most.
    """
    numbers = [london("10") for _ in range(12)]
    ids = [str(uuid4()) for _ in numbers]

    async def place(turns: int) -> None:
        for _ in range(turns * 40):
            await asyncio.sleep(0)
        await meeting.post(
            numbers[turns], dial_out_id=ids[turns], conference_id="race", headers=PATIENT
        )

    placing = asyncio.gather(*(place(turns) for turns in range(len(ids))))
    said: dict[str, set[str]] = {outcome: set() for outcome in NOTHING}
    while not placing.done():
        for outcome, found in (await cancel_all(meeting, "race")).json().items():
            said[outcome].update(found)
    await placing
    last = (await cancel_all(meeting, "race")).json()
    going_on = said["answered"] | set(last["answered"])

    for dial_out_id in ids:
        if dial_out_id in going_on:
            assert (await meeting.answered(dial_out_id))["state"] == "answered"
            await meeting.cancel(dial_out_id)
        ended = await meeting.ended(dial_out_id)
        assert ended["billable_seconds"] <= 2 or dial_out_id in going_on
    assert not going_on & said["cancelled"]
    await meeting.assert_books_are_clean()


async def test_another_gateway_cancels_the_same(meeting: Meeting, second: Service) -> None:
    """It follows none of the calls, and knows from the ledger which of them were answered."""
    answered = (await meeting.place(london("10")))["dial_out_id"]
    await meeting.answered(answered)
    rang = await ringing(meeting)

    async with second.client() as client:
        response = await cancel_all(replace(meeting, client=client), "room")

    assert response.json() == {"cancelled": [rang], "answered": [answered], "unreachable": []}
    assert (await meeting.ended(rang))["disposition"] == "cancelled"
    assert (await meeting.read(answered))["state"] == "answered"
    await meeting.cancel(answered)
    await meeting.ended(answered)


async def test_what_is_of_a_bridge_that_is_away_keeps_nothing_else_ringing(
    meeting: Meeting,
) -> None:
    """It is named, so that somebody knows; 503 only where nothing else was there to be done."""
    lost = await meeting.set_aside_of_pool(60, BridgeName("sold"))
    lost_id = str(lost.dial_out_id)
    alone = await cancel_all(meeting, "elsewhere")
    rang = await ringing(meeting, conference_id="elsewhere")

    response = await cancel_all(meeting, "elsewhere")

    assert (alone.status_code, alone.json()["reason"]) == (503, "bridge_unavailable")
    assert response.status_code == 200
    assert response.json() == {"cancelled": [rang], "answered": [], "unreachable": [lost_id]}
    assert (await meeting.ended(rang))["disposition"] == "cancelled"

    # Of one that was answered, the row says so even if no bridge can.
    await meeting.ledger.claim(lost, lost.gate_uniqueid, datetime.now(UTC))
    await meeting.ledger.answered(lost, datetime.now(UTC))
    assert (await cancel_all(meeting, "elsewhere")).json() == NOTHING | {"answered": [lost_id]}


async def test_bad_input_is_named(meeting: Meeting) -> None:
    """422, and nothing is cancelled."""
    dial_out_id = await ringing(meeting)
    body = {"tenant_id": str(meeting.tenant_id), "conference_id": "room"}

    for field, value in (
        ("tenant_id", "x"),
        ("conference_id", ""),
        ("conference_id", "room\r\nAction: Hangup"),
        ("initiator_id", "a b"),
        ("reason", "x"),
    ):
        response = await meeting.client.post("/v1/cancellations", json={**body, field: value})
        assert response.status_code == 422
        assert [fault["loc"][-1] for fault in response.json()["detail"]] == [field]

    await rings_out(meeting, dial_out_id)


async def test_without_the_token_nothing_is_cancelled(meeting: Meeting) -> None:
    """401, for these routes as for all."""
    async with httpx.AsyncClient(base_url=meeting.client.base_url) as stranger:
        responses = [
            await stranger.post("/v1/cancellations", json={}),
            await stranger.post("/v1/quotes", json={}),
            await stranger.post(f"/v1/dial-outs/{uuid4()}/call-back"),
            await stranger.get("/v1/participants/bob/numbers"),
            await stranger.delete("/v1/participants/bob/numbers"),
            await stranger.delete("/v1/participants/bob/numbers/+442079460000"),
        ]

    assert {response.status_code for response in responses} == {401}
