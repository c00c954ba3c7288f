"""Call me back: one more call to the telephone that answered, and never two at once."""

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from gateway.lab.service import Service
from gateway.lab.stack import Stack
from tests.calls.meeting import Answer, Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def call_back(meeting: Meeting, dial_out_id: str, **request: Any) -> httpx.Response:
    """Ask that a telephone be called again."""
    path = f"/v1/dial-outs/{dial_out_id}/call-back?tenant_id={meeting.tenant_id}"
    return await meeting.client.post(path, **request)


async def call_me(meeting: Meeting, number: str, **fields: Any) -> Answer:
    """Have a participant called, and return the call once it is answered."""
    placed = await meeting.place(number, kind="call_me", initiator_id="bob", **fields)
    return await meeting.answered(placed["dial_out_id"])


def instant(answer: Answer, name: str) -> datetime:
    """Return an instant of a call."""
    return datetime.fromisoformat(answer[name])


async def test_the_same_telephone_is_called_again(meeting: Meeting) -> None:
    """The old leg is hung up first; the new call is for the same people and conference."""
    number = london("10")
    old = await call_me(meeting, number, meeting_name="Weekly, with Zoë")

    response = await call_back(meeting, old["dial_out_id"])

    new = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == meeting.path(new["dial_out_id"])
    same = ("kind", "organizer_id", "initiator_id", "conference_id", "bridge", "meeting_name")
    assert [new[each] for each in same] == [old[each] for each in same]
    assert new["destination"] == number
    ended = await meeting.read(old["dial_out_id"])
    assert (ended["state"], ended["disposition"]) == ("ended", "answered")
    assert instant(ended, "ended_at") <= instant(new, "requested_at")
    await meeting.rings(number, 2)
    assert meeting.invites(number) == 2
    await meeting.cancel(new["dial_out_id"])
    await meeting.ended(new["dial_out_id"])
    await meeting.assert_books_are_clean()


async def test_a_call_that_has_ended_is_called_back_too(meeting: Meeting) -> None:
    """Whoever could not hear anything may have hung up already."""
    number = london("21")
    old = await call_me(meeting, number)
    await meeting.ended(old["dial_out_id"])

    new = (await call_back(meeting, old["dial_out_id"])).json()

    await meeting.ended(new["dial_out_id"])
    await meeting.rings(number, 2)
    assert meeting.invites(number) == 2
    await meeting.assert_books_are_clean()


@pytest.mark.parametrize("named_by", ["body", "header", "nothing"])
async def test_a_retry_is_the_same_call_back(meeting: Meeting, named_by: str) -> None:
    """Asked for five times at once, the telephone rings once more and not five times."""
    number = london("10")
    old = await call_me(meeting, number)
    chosen = str(uuid4())
    requests: dict[str, dict[str, Any]] = {
        "body": {"json": {"dial_out_id": chosen}},
        "header": {"headers": {"Idempotency-Key": chosen}},
        "nothing": {},
    }

    responses = await asyncio.gather(
        *(call_back(meeting, old["dial_out_id"], **requests[named_by]) for _ in range(5))
    )

    assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 201]
    [dial_out_id] = {response.json()["dial_out_id"] for response in responses}
    await meeting.rings(number, 2)
    assert meeting.invites(number) == 2
    await meeting.cancel(dial_out_id)
    await meeting.ended(dial_out_id)
    await meeting.assert_books_are_clean()


async def test_a_retry_by_way_of_another_gateway_is_the_same_call_back(
    meeting: Meeting, second: Service
) -> None:
    """Asked of both at once, neither hangs up what the other has just placed."""
    async with second.client() as client:
        ways = (meeting, replace(meeting, client=client))
        for _ in range(5):
            number, chosen = london("10"), {"dial_out_id": str(uuid4())}
            old = await call_me(meeting, number)

            responses = await asyncio.gather(
                *(call_back(way, old["dial_out_id"], json=chosen) for way in ways * 2)
            )

            assert sorted(each.status_code for each in responses) == [200, 200, 200, 201]
            assert (await meeting.answered(chosen["dial_out_id"]))["state"] == "answered"
            await meeting.rings(number, 2)
            assert meeting.invites(number) == 2
            await meeting.cancel(chosen["dial_out_id"])
            await meeting.ended(chosen["dial_out_id"])
    await meeting.assert_books_are_clean()


async def test_of_two_calls_back_one_is_left(meeting: Meeting) -> None:
    """Two pages ask at once, each with its own id, and again: never are two calls paid for.

    Somebody else's call into the same conference, and his own one elsewhere, go on.
    """
    number = london("10")
    old = await call_me(meeting, number)
    others = [
        await call_me(meeting, london("10")),
        await call_me(meeting, number, conference_id="elsewhere"),
    ]
    chosen = [{"dial_out_id": str(uuid4())} for _ in range(2)]

    responses = await asyncio.gather(
        *(call_back(meeting, old["dial_out_id"], json=each) for each in chosen * 2)
    )

    assert sorted(response.status_code for response in responses) == [200, 200, 201, 201]
    new = [await meeting.read(each["dial_out_id"]) for each in chosen]
    first, last = sorted(new, key=lambda each: instant(each, "requested_at"))
    assert instant(first, "ended_at") <= instant(last, "requested_at")
    assert (await meeting.answered(last["dial_out_id"]))["state"] == "answered"
    for each in (last, *others):
        assert (await meeting.read(each["dial_out_id"]))["state"] == "answered"
        await meeting.cancel(each["dial_out_id"])
        await meeting.ended(each["dial_out_id"])
    await meeting.assert_books_are_clean()


async def test_nobody_is_called_back_who_never_answered(meeting: Meeting) -> None:
    """Else it would be a way to ring a stranger again and again, from one click."""
    number = london("86")
    placed = await meeting.place(number, kind="call_me", initiator_id="bob")
    await meeting.ended(placed["dial_out_id"])

    response = await call_back(meeting, placed["dial_out_id"])

    assert (response.status_code, response.json()["reason"]) == (409, "never_answered")
    assert meeting.invites(number) == 1


async def test_what_rings_is_not_called_back(meeting: Meeting) -> None:
    """It goes on ringing: nobody has heard anything yet."""
    number = london("80")
    placed = await meeting.place(number, kind="call_me", initiator_id="bob")
    await meeting.rings(number)

    response = await call_back(meeting, placed["dial_out_id"])

    assert (response.status_code, response.json()["reason"]) == (409, "never_answered")
    assert (await meeting.read(placed["dial_out_id"]))["state"] == "released"
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])


async def test_only_call_me_is_called_back(meeting: Meeting) -> None:
    """Somebody else's telephone is asked for anew, by whoever may; its call stays up."""
    placed = await meeting.place(london("10"))
    await meeting.answered(placed["dial_out_id"])

    response = await call_back(meeting, placed["dial_out_id"])

    assert (response.status_code, response.json()["reason"]) == (409, "not_a_call_me")
    assert (await meeting.read(placed["dial_out_id"]))["state"] == "answered"
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])


async def test_a_call_back_is_decided_anew(meeting: Meeting) -> None:
    """It is paid from what the old one gives back; with nothing left it is refused as any call."""
    number = london("10")
    old = await call_me(meeting, number)
    await meeting.set_aside_of_pool((await meeting.balance("pool")).free)

    new = (await call_back(meeting, old["dial_out_id"])).json()
    await meeting.answered(new["dial_out_id"])
    await meeting.cancel(new["dial_out_id"])
    await meeting.ended(new["dial_out_id"])
    await meeting.set_aside_of_pool((await meeting.balance("pool")).free)
    refused = await call_back(meeting, new["dial_out_id"])

    used = (await meeting.read(old["dial_out_id"]))["billable_seconds"]
    assert new["talk_seconds"] == 60 - used
    assert (refused.status_code, refused.json()["reason"]) == (403, "pool_exhausted")
    await meeting.rings(number, 2)
    assert meeting.invites(number) == 2


async def test_nobody_is_called_back_before_the_old_call_is_settled(
    meeting: Meeting, parts: Stack
) -> None:
    """Two calls would be paid for at once. Here somebody keeps its row from being settled."""
    number, chosen = london("10"), {"dial_out_id": str(uuid4())}
    old = await call_me(meeting, number)
    owner = await asyncpg.connect(parts.owner.dsn.get_secret_value())
    try:
        async with owner.transaction():
            row = await owner.fetchval(
                "SELECT dial_out_id FROM dialout.dial_out"
                " WHERE tenant_id = $1 AND dial_out_id = $2 FOR UPDATE",
                meeting.tenant_id,
                UUID(old["dial_out_id"]),
            )
            response = await call_back(meeting, old["dial_out_id"], json=chosen)
            meanwhile = await meeting.read(old["dial_out_id"])
    finally:
        await owner.close()
    await meeting.ended(old["dial_out_id"])
    again = await call_back(meeting, old["dial_out_id"], json=chosen)

    assert str(row) == old["dial_out_id"]
    assert meanwhile["state"] == "answered"
    assert (response.status_code, response.json()["reason"]) == (503, "still_up")
    assert again.status_code == 201
    await meeting.rings(number, 2)
    assert meeting.invites(number) == 2
    await meeting.cancel(chosen["dial_out_id"])
    await meeting.ended(chosen["dial_out_id"])
    await meeting.assert_books_are_clean()


async def test_the_old_id_is_no_new_one(meeting: Meeting) -> None:
    """409, and the call goes on: nothing is hung up for a request that cannot be done."""
    old = await call_me(meeting, london("10"))

    response = await call_back(
        meeting, old["dial_out_id"], json={"dial_out_id": old["dial_out_id"]}
    )

    assert response.status_code == 409
    assert (await meeting.read(old["dial_out_id"]))["state"] == "answered"
    await meeting.cancel(old["dial_out_id"])
    await meeting.ended(old["dial_out_id"])


async def test_nobody_calls_back_what_is_not_there(meeting: Meeting) -> None:
    """404 for an unknown id and for another tenant's; 422 for what the body cannot hold."""
    other = await meeting.another()
    old = await call_me(meeting, london("10"))

    assert (await call_back(meeting, str(uuid4()))).status_code == 404
    assert (await call_back(other, old["dial_out_id"])).status_code == 404
    strange = await call_back(meeting, old["dial_out_id"], json={"number": london("10")})
    assert strange.status_code == 422
    assert (await meeting.read(old["dial_out_id"]))["state"] == "answered"
    await meeting.cancel(old["dial_out_id"])
    await meeting.ended(old["dial_out_id"])
