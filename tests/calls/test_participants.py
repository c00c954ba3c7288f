"""The numbers that a participant's web page offers again."""

from datetime import datetime
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from gateway.core.choices import Confirmation
from tests.calls.meeting import Answer, Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def at_once(meeting: Meeting) -> Meeting:
    """A meeting whose callees need press no key: those who are called here have none."""
    await meeting.choose(confirmation=Confirmation.NEVER)
    return meeting


def path(meeting: Meeting, initiator: str, number: str = "") -> str:
    """Return where a participant's numbers are, or one of them."""
    one = f"/{number}" if number else ""
    return f"/v1/participants/{initiator}/numbers{one}?tenant_id={meeting.tenant_id}"


async def numbers(meeting: Meeting, initiator: str) -> list[str]:
    """Return the numbers that a participant is offered."""
    answer: Answer = (await meeting.client.get(path(meeting, initiator))).json()
    return [each["destination"] for each in answer["numbers"]]


async def join(meeting: Meeting, number: str, initiator: str, kind: str = "call_me") -> None:
    """Have a telephone called, wait until it is in the conference, and end the call."""
    placed = await meeting.place(number, kind=kind, initiator_id=initiator)
    await meeting.until(placed["dial_out_id"], lambda it: "joined_at" in it)
    await meeting.cancel(placed["dial_out_id"])
    await meeting.ended(placed["dial_out_id"])


async def test_the_latest_number_comes_first(at_once: Meeting) -> None:
    """As it was dialled and as it was typed; a number that is called again moves up."""
    first, second = london("10"), london("10")
    await join(at_once, first, "bob")
    await join(at_once, second, "bob")
    await join(at_once, first, "bob")

    response = await at_once.client.get(path(at_once, "bob"))

    assert response.status_code == 200
    found = response.json()["numbers"]
    assert [each["destination"] for each in found] == [first, second]
    assert found[0]["number_typed"] == first
    later, sooner = (datetime.fromisoformat(each["last_at"]) for each in found)
    assert later > sooner


async def test_only_ones_own_telephones_are_offered(at_once: Meeting) -> None:
    """Not those of others whom one added, not those of other people, not what never answered."""
    mine, theirs, added, busy = london("10"), london("10"), london("10"), london("86")
    other = await at_once.another()
    await join(at_once, mine, "bob")
    await join(at_once, theirs, "carol")
    await join(at_once, added, "bob", kind="add_participant")
    failed = await at_once.place(busy, kind="call_me", initiator_id="bob")
    await at_once.ended(failed["dial_out_id"])

    assert await numbers(at_once, "bob") == [mine]
    assert await numbers(at_once, "nobody") == []
    assert await numbers(other, "bob") == []


async def test_a_number_is_forgotten(at_once: Meeting) -> None:
    """On request, once: then it is not there. The record of the call itself stays."""
    kept, gone = london("10"), london("10")
    await join(at_once, gone, "bob")
    await join(at_once, kept, "bob")

    first = await at_once.client.delete(path(at_once, "bob", gone))
    again = await at_once.client.delete(path(at_once, "bob", gone.replace("+", "%2B")))

    assert (first.status_code, first.content) == (204, b"")
    assert (again.status_code, again.json()["reason"]) == (404, "number_unknown")
    assert await numbers(at_once, "bob") == [kept]
    assert at_once.invites(gone) == 1


async def test_all_are_forgotten(at_once: Meeting) -> None:
    """In one request; doing it twice changes nothing, and nobody else's are touched."""
    await join(at_once, london("10"), "bob")
    await join(at_once, london("10"), "bob")
    carols = london("10")
    await join(at_once, carols, "carol")

    responses = [await at_once.client.delete(path(at_once, "bob")) for _ in range(2)]

    assert [response.status_code for response in responses] == [204, 204]
    assert await numbers(at_once, "bob") == []
    assert await numbers(at_once, "carol") == [carols]


@pytest.mark.parametrize(
    "strange",
    ["a b", "x" * 129, "bob%0d%0aAction: Hangup", "%00", "${SHELL(id)}", "b%C3%B6b"],
)
async def test_a_strange_participant_is_422(meeting: Meeting, strange: str) -> None:
    """Checked as everywhere: nothing of it reaches the ledger."""
    responses: list[httpx.Response] = [
        await meeting.client.get(path(meeting, strange)),
        await meeting.client.delete(path(meeting, strange)),
        await meeting.client.delete(path(meeting, strange, "+442079460000")),
    ]

    assert {response.status_code for response in responses} == {422}


@pytest.mark.parametrize("strange", ["1", "+44-20", "+%D9%A3%D9%A3%D9%A3%D9%A3", "+" + "1" * 16])
async def test_a_strange_number_is_422(meeting: Meeting, strange: str) -> None:
    """Only what could have been listed."""
    response = await meeting.client.delete(path(meeting, str(uuid4()), strange))

    assert response.status_code == 422
