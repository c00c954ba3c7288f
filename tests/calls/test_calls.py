"""Calls of every kind: what the carrier saw, how they ended, what they cost."""

import asyncio
import math
from collections import Counter
from datetime import datetime
from uuid import uuid4

import pytest

from gateway.core.facts import DialOutPermission, Sku
from gateway.lab.service import CALLER_ID
from tests.calls.meeting import PATIENT, Meeting, london, nairobi

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_call_paid_by_the_pool(meeting: Meeting) -> None:
    """Answered, hung up by the far side after two seconds: three begun seconds of the pool."""
    number = london("22")

    placed = await meeting.place(number)
    ended = await meeting.ended(placed["dial_out_id"])

    assert (ended["disposition"], ended["paid_by"]) == ("answered", ["pool"])
    assert ended["billable_seconds"] in (2, 3)
    assert (await meeting.balance("pool")).used == ended["billable_seconds"]
    assert meeting.invites(number) == 1
    await meeting.assert_books_are_clean()


async def test_a_call_paid_by_credits_and_hung_up_by_us(meeting: Meeting) -> None:
    """Outside Zone A the deck's price counts, by the second here, one cent each."""
    await meeting.buy_credits(5_000_000)
    number = nairobi("10")

    placed = await meeting.place(number)
    await meeting.answered(placed["dial_out_id"])
    assert (await meeting.cancel(placed["dial_out_id"])).status_code == 200
    ended = await meeting.ended(placed["dial_out_id"])

    assert (ended["disposition"], ended["paid_by"]) == ("answered", ["credits"])
    assert ended["cost_micros"] == ended["billable_seconds"] * 10_000
    assert (await meeting.balance("credits")).used == ended["cost_micros"]
    await meeting.assert_books_are_clean()


async def test_the_telephone_sees_the_bridges_toll_number(meeting: Meeting) -> None:
    """For everybody, and never a number that a client chose."""
    number = london("22")

    placed = await meeting.place(number)
    await meeting.ended(placed["dial_out_id"])

    [invite] = [each for each in meeting.carrier.invites() if each.number == number]
    assert invite.caller.removeprefix("+") == CALLER_ID.removeprefix("+")


@pytest.mark.parametrize(
    ("ending", "disposition"),
    [("86", "busy"), ("80", "no_answer"), ("03", "congestion"), ("99", "failed")],
)
async def test_a_call_that_nobody_answers_costs_nothing(
    meeting: Meeting, ending: str, disposition: str
) -> None:
    """Ringing is free, and everything that was set aside is back."""
    number = london(ending)

    placed = await meeting.place(number)
    ended = await meeting.ended(placed["dial_out_id"])

    assert ended["disposition"] == disposition
    assert ended["billable_seconds"] == 0
    assert "paid_by" not in ended
    assert (await meeting.balance("pool")).free == 3600
    assert meeting.invites(number) == 1
    await meeting.assert_books_are_clean()


async def test_a_redirect_by_the_carrier_is_not_followed(meeting: Meeting) -> None:
    """A 302 would let the far end choose the number that is paid for."""
    number = london("02")
    before = len(meeting.carrier.invites())

    placed = await meeting.place(number)
    ended = await meeting.ended(placed["dial_out_id"])

    assert ended["billable_seconds"] == 0
    assert len(meeting.carrier.invites()) == before + 1


async def test_early_media_is_not_an_answer(meeting: Meeting) -> None:
    """183 with sound before the answer: the clock starts at the answer."""
    number = london("83")

    placed = await meeting.place(number)
    answered = await meeting.answered(placed["dial_out_id"])
    await meeting.cancel(placed["dial_out_id"])
    ended = await meeting.ended(placed["dial_out_id"])

    assert answered["answered_at"] > answered["released_at"]
    answered_at, ended_at = (
        datetime.fromisoformat(ended[each]) for each in ("answered_at", "ended_at")
    )
    assert ended["billable_seconds"] == math.ceil((ended_at - answered_at).total_seconds())


async def test_cancelled_while_it_rings(meeting: Meeting) -> None:
    """The ringing stops, nothing is billed, everything is given back."""
    number = london("80")
    placed = await meeting.place(number)
    await meeting.rings(number)

    response = await meeting.cancel(placed["dial_out_id"])
    ended = await meeting.ended(placed["dial_out_id"])

    assert response.status_code == 200
    assert ended["disposition"] == "cancelled"
    assert ended["billable_seconds"] == 0
    await meeting.assert_books_are_clean()


async def test_cancelled_at_every_instant(meeting: Meeting) -> None:
    """From the moment that it exists: however early the cancel comes, nothing goes on ringing.

    The numbers would ring until the ring time is over; a cancel that is lost shows as
    ``no_answer``, seconds later.
    """
    numbers = [london("80") for _ in range(12)]
    ids = [str(uuid4()) for _ in numbers]

    async def cancel_soon(dial_out_id: str, turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        while (await meeting.cancel(dial_out_id)).status_code == 404:
            await asyncio.sleep(0)

    responses = await asyncio.gather(
        *(
            meeting.post(number, dial_out_id=each, headers=PATIENT)
            for number, each in zip(numbers, ids, strict=True)
        ),
        *(cancel_soon(each, turns * 20) for turns, each in enumerate(ids)),
    )
    ended = [await meeting.ended(each) for each in ids]

    assert {each["disposition"] for each in ended} == {"cancelled"}
    assert {response.status_code for response in responses if response} == {201}
    await meeting.assert_books_are_clean()


async def test_cancelling_twice_changes_nothing(meeting: Meeting) -> None:
    """A cancel that is sent again finds the dial-out ended and says how."""
    placed = await meeting.place(london("80"))
    await meeting.cancel(placed["dial_out_id"])
    ended = await meeting.ended(placed["dial_out_id"])

    again = await meeting.cancel(placed["dial_out_id"])

    assert again.status_code == 200
    assert again.json() == ended


async def test_asterisk_cuts_the_call_where_the_funds_end(meeting: Meeting) -> None:
    """Credits for three seconds: the call is up for three, and is billed all of them."""
    await meeting.buy_credits(30_000)
    number = nairobi("10")

    placed = await meeting.place(number)
    ended = await meeting.ended(placed["dial_out_id"])

    assert placed["talk_seconds"] == 3
    assert ended["billable_seconds"] == 3
    assert (await meeting.balance("credits")).free == 0
    await meeting.assert_books_are_clean()


async def test_a_call_over_the_end_of_the_pool(meeting: Meeting) -> None:
    """The pool pays its last two seconds, the credits pay from the third on."""
    await meeting.buy_credits(5_000_000)
    await meeting.set_aside_of_pool(3598)

    placed = await meeting.place(london("24"))
    ended = await meeting.ended(placed["dial_out_id"])

    assert ended["paid_by"] == ["pool", "credits"]
    assert ended["billable_seconds"] in (4, 5)
    assert ended["cost_micros"] == (ended["billable_seconds"] - 2) * 10_000
    assert (await meeting.balance("pool")).used == 2
    assert await meeting.ledger.check(meeting.tenant_id) == ()


async def test_a_retry_is_the_same_call(meeting: Meeting) -> None:
    """One id, asked for ten times at once: one call, one bill, the same answer to all."""
    number = london("22")
    dial_out_id = str(uuid4())

    responses = await asyncio.gather(
        *(meeting.post(number, dial_out_id=dial_out_id, headers=PATIENT) for _ in range(10))
    )
    ended = await meeting.ended(dial_out_id)
    again = await meeting.post(number, dial_out_id=dial_out_id)

    assert Counter(response.status_code for response in responses) == {201: 1, 200: 9}
    assert (again.status_code, again.json()) == (200, ended)
    assert meeting.invites(number) == 1
    await meeting.assert_books_are_clean()


async def test_an_idempotency_key_makes_a_retry_harmless(meeting: Meeting) -> None:
    """The header does what an id of the client's own does."""
    number = london("22")
    headers = {"Idempotency-Key": "the meeting, the number, the click"}

    first = await meeting.post(number, headers=headers)
    second = await meeting.post(number, headers=headers)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["dial_out_id"] == second.json()["dial_out_id"]
    await meeting.ended(first.json()["dial_out_id"])
    assert meeting.invites(number) == 1


async def test_one_id_for_two_calls_is_a_conflict(meeting: Meeting) -> None:
    """An id that was used for another number must not silently mean the first one."""
    dial_out_id = str(uuid4())
    await meeting.place(london("22"), dial_out_id=dial_out_id)
    other = london("22")

    response = await meeting.post(other, dial_out_id=dial_out_id)

    assert response.status_code == 409
    assert response.json()["reason"] == "exists_with_different_terms"
    await meeting.ended(dial_out_id)
    assert meeting.invites(other) == 0


async def test_two_tenants_may_choose_the_same_id(meeting: Meeting) -> None:
    """An id belongs to its tenant: both calls are made, and each is its own."""
    other = await meeting.another()
    dial_out_id = str(uuid4())
    numbers = london("22"), london("22")

    await meeting.place(numbers[0], dial_out_id=dial_out_id)
    await other.place(numbers[1], dial_out_id=dial_out_id)

    assert (await meeting.ended(dial_out_id))["destination"] == numbers[0]
    assert (await other.ended(dial_out_id))["destination"] == numbers[1]
    assert [meeting.invites(number) for number in numbers] == [1, 1]


async def test_refusals_reach_no_carrier(meeting: Meeting) -> None:
    """Each with its own reason, on record, and no INVITE for any of them."""
    await meeting.add_organizer("unlicensed")
    await meeting.add_organizer("domestic", DialOutPermission.DOMESTIC)
    await meeting.license("domestic", Sku.AUDIO_CONFERENCING)
    before = len(meeting.carrier.invites())

    assert await meeting.refused("+12025550123", organizer_id="domestic") == "permission_domestic"
    assert await meeting.refused(london("22"), organizer_id="unlicensed") == "no_audio_conferencing"
    assert await meeting.refused(london("22"), organizer_id="nobody") == "organizer_unknown"
    assert await meeting.refused("12") == "number_invalid"
    assert await meeting.refused("999") == "emergency_or_short_code"
    assert await meeting.refused("+19005550123") == "number_kind_refused"
    assert await meeting.refused(nairobi("22")) == "not_covered"
    assert await meeting.refused(london("22"), tenant_id=str(uuid4())) == "tenant_unknown"

    placed = await meeting.place(london("22"))
    await meeting.ended(placed["dial_out_id"])
    assert len(meeting.carrier.invites()) == before + 1


async def test_a_refusal_is_on_record(meeting: Meeting) -> None:
    """It can be read again, and the same id is refused again without another decision."""
    dial_out_id = str(uuid4())

    await meeting.refused("+19005550123", dial_out_id=dial_out_id)

    answer = await meeting.read(dial_out_id)
    assert (answer["state"], answer["reason"]) == ("refused", "number_kind_refused")
    assert await meeting.refused("+19005550123", dial_out_id=dial_out_id) == "number_kind_refused"


async def test_twenty_at_once_on_funds_for_three(meeting: Meeting) -> None:
    """Exactly three telephones ring; the others hear that the credits are set aside."""
    await meeting.buy_credits(3 * 60 * 10_000)
    numbers = [nairobi("10") for _ in range(20)]

    responses = await asyncio.gather(*(meeting.post(number, headers=PATIENT) for number in numbers))

    assert Counter(response.status_code for response in responses) == {201: 3, 403: 17}
    reasons = {r.json()["reason"] for r in responses if r.status_code == 403}
    assert reasons == {"credits_exhausted"}
    placed = [r.json()["dial_out_id"] for r in responses if r.status_code == 201]
    for dial_out_id in placed:
        await meeting.answered(dial_out_id)
    assert sum(meeting.invites(number) for number in numbers) == 3
    for dial_out_id in placed:
        await meeting.cancel(dial_out_id)
        await meeting.ended(dial_out_id)
    credits_ = await meeting.balance("credits")
    assert credits_.used + credits_.free == credits_.granted
    await meeting.assert_books_are_clean()
