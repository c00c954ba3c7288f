"""The price and who pays, before the call."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.core.facts import DialOutPermission, Sku
from gateway.core.reasons import REASON_TEXTS, Reason
from tests.calls.meeting import ORGANIZER, Answer, Meeting, london, nairobi

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def quoted(meeting: Meeting, number: str, **fields: Any) -> Answer:
    """Return the quote of a call."""
    body = {
        "tenant_id": str(meeting.tenant_id),
        "kind": "add_participant",
        "organizer_id": ORGANIZER,
        "initiator_id": "guest@example.com",
        "conference_id": "room",
        "number": number,
        **fields,
    }
    response = await meeting.client.post("/v1/quotes", json=body)
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


async def test_minutes_pay(meeting: Meeting) -> None:
    """Who pays and how long, and no price: the deck has one, but nobody pays it."""
    number = london("22")

    answer = await quoted(meeting, number)

    assert answer == {
        "allowed": True,
        "sentence": "1:00 from the pool, cut at 1:00.",
        "destination": number,
        "region": "GB",
        "number_kind": "fixed_line",
        "paid_by": [{"source": "pool", "benefit_id": "standard_pool", "seconds": 60}],
        "talk_seconds": 60,
        "limit_seconds": 60,
    }
    assert meeting.invites(number) == 0


async def test_credits_pay_a_price(meeting: Meeting) -> None:
    """Outside the zone: the price of a minute, in the tenant's currency."""
    await meeting.buy_credits(300_000)

    answer = await quoted(meeting, nairobi("22"))

    assert answer["sentence"] == "0.60 USD a minute from credits, cut at 0:30."
    assert (answer["price_micros"], answer["connect_fee_micros"]) == (600_000, 0)
    assert (answer["initial_increment_seconds"], answer["increment_seconds"]) == (1, 1)
    assert answer["currency"] == "USD"


async def test_the_pool_and_then_credits(meeting: Meeting) -> None:
    """In the order in which they pay, and the call itself is paid by the same."""
    await meeting.buy_credits(5_000_000)
    await meeting.set_aside_of_pool(3580)
    number = london("22")

    answer = await quoted(meeting, number)
    placed = await meeting.place(number)
    await meeting.ended(placed["dial_out_id"])

    assert (
        answer["sentence"]
        == "0:20 from the pool, then 0.60 USD a minute from credits, cut at 1:00."
    )
    assert [each["source"] for each in answer["paid_by"]] == placed["paid_by"]
    assert (answer["talk_seconds"], answer["limit_seconds"]) == (60, placed["limit_seconds"])
    assert meeting.invites(number) == 1


async def test_a_quote_leaves_no_trace(meeting: Meeting) -> None:
    """Nothing is set aside and nothing is on record, however often somebody asks."""
    begun = datetime.now(UTC) - timedelta(minutes=1)
    before = await meeting.ledger.balances(meeting.tenant_id)

    for _ in range(20):
        await quoted(meeting, london("22"))

    assert await meeting.ledger.balances(meeting.tenant_id) == before
    assert await meeting.ledger.dial_outs(meeting.tenant_id, begun) == ()
    await meeting.assert_books_are_clean()


async def test_a_refusal_is_the_one_that_the_call_would_get(meeting: Meeting) -> None:
    """For policy's reasons and for the ledger's: a page says so before anybody waits."""
    await meeting.add_organizer("unlicensed")
    await meeting.add_organizer("domestic", DialOutPermission.DOMESTIC)
    await meeting.license("domestic", Sku.AUDIO_CONFERENCING)
    await meeting.set_aside_of_pool(7200)
    before = len(meeting.carrier.invites())

    for number, fields in (
        ("+12025550123", {"organizer_id": "domestic"}),
        (london("22"), {"organizer_id": "unlicensed"}),
        (london("22"), {"organizer_id": "nobody"}),
        ("12", {}),
        ("999", {}),
        ("+19005550123", {}),
        (nairobi("22"), {}),
        (london("22"), {"tenant_id": str(uuid4())}),
        (london("22"), {}),
    ):
        answer = await quoted(meeting, number, **fields)
        reason = await meeting.refused(number, **fields)
        assert (answer["allowed"], answer["reason"]) == (False, reason)
        assert answer["sentence"] == REASON_TEXTS[Reason(reason)].message
        assert (answer["paid_by"], answer.get("price_micros")) == ([], None)
    assert len(meeting.carrier.invites()) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "1" * 41),
        ("number", "+44\r\n20"),
        ("organizer_id", "a b"),
        ("conference_id", "room,PJSIP/1@trunk"),
        ("kind", "intercept"),
        ("meeting_name", ""),
        ("meeting_name", "x" * 101),
        ("meeting_name", "a\nb"),
        ("meeting_name", "a\u202eb"),
        ("asker_channel", "SIP/1\r\nAction: Hangup"),
        ("bridge", "Main"),
        ("dial_out_id", str(UUID(int=1))),
    ],
)
async def test_bad_input_is_named(meeting: Meeting, field: str, value: str) -> None:
    """As for the call itself; an id belongs to a call and not to a question."""
    body = {
        "tenant_id": str(meeting.tenant_id),
        "kind": "call_me",
        "organizer_id": ORGANIZER,
        "conference_id": "room",
        "number": london("22"),
        field: value,
    }

    response = await meeting.client.post("/v1/quotes", json=body)

    assert response.status_code == 422
    assert [fault["loc"][-1] for fault in response.json()["detail"]] == [field]
