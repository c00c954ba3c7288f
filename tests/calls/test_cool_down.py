"""A telephone that nobody takes a call at is not rung on and on, whoever asks, by any way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.core.e164 import E164
from gateway.core.reasons import REASON_TEXTS, Reason
from gateway.lab.service import Service
from gateway.lab.stack import Stack
from gateway.ledger import Ledger, Provisioning
from tests.calls.conftest import OPTIONS
from tests.calls.meeting import Meeting, london

pytestmark = pytest.mark.asyncio(loop_scope="session")

ATTEMPTS = 2
QUIET_SECONDS = 5
COOLING = OPTIONS | {
    "DIALOUT_COOL_DOWN__ATTEMPTS": str(ATTEMPTS),
    "DIALOUT_COOL_DOWN__WINDOW_SECONDS": "600",
    "DIALOUT_COOL_DOWN__QUIET_SECONDS": str(QUIET_SECONDS),
}
BUSY = "86"


@pytest_asyncio.fixture(loop_scope="session")
async def meeting(
    parts: Stack, ledger: Ledger, provisioning: Provisioning, tmp_path: Path
) -> AsyncIterator[Meeting]:
    """A meeting behind a gateway that leaves numbers alone for some seconds."""
    async with (
        Service(
            parts.asterisk,
            database=parts.gateway,
            output=tmp_path / "gateway.log",
            options=COOLING,
        ) as service,
        service.client() as client,
    ):
        yield await Meeting.create(client, ledger, provisioning, parts.carrier)


async def attempted(meeting: Meeting, number: str) -> None:
    """Have a number called as often as may be; it is busy each time."""
    for _ in range(ATTEMPTS):
        placed = await meeting.place(number)
        ended = await meeting.ended(placed["dial_out_id"])
        assert ended["disposition"] == "busy"


async def test_a_number_that_nobody_answers_at_is_left_alone_for_a_while(meeting: Meeting) -> None:
    """Refused with its reason and what would help, and the carrier sees no further call."""
    number = london(BUSY)
    await attempted(meeting, number)

    response = await meeting.post(number, kind="call_me")

    assert response.status_code == 403, response.text
    said = response.json()
    assert said["reason"] == Reason.CALLEE_COOLING_DOWN
    assert said["message"] == REASON_TEXTS[Reason.CALLEE_COOLING_DOWN].message
    assert meeting.invites(number) == ATTEMPTS
    await meeting.assert_books_are_clean()


async def test_it_is_left_alone_by_every_tenant_and_no_other_number_is(meeting: Meeting) -> None:
    """A nuisance may have many accounts; a neighbour's telephone has nothing to do with it."""
    number = london(BUSY)
    await attempted(meeting, number)
    other = await meeting.another()

    reason = await other.refused(number)
    neighbour = await other.place(london(BUSY))

    assert reason == Reason.CALLEE_COOLING_DOWN
    assert meeting.invites(number) == ATTEMPTS
    assert (await other.ended(neighbour["dial_out_id"]))["disposition"] == "busy"


async def test_it_may_be_called_again_after_that(
    meeting: Meeting, provisioning: Provisioning
) -> None:
    """By itself, once the quiet is over: nobody has to lift anything."""
    number = london(BUSY)
    await attempted(meeting, number)
    callee = await provisioning.callee(E164(number))
    assert callee.quiet_until is not None
    await asyncio.sleep((callee.quiet_until - datetime.now(UTC)).total_seconds())

    await attempted(meeting, number)

    assert meeting.invites(number) == 2 * ATTEMPTS
    assert await meeting.refused(number) == Reason.CALLEE_COOLING_DOWN


async def test_an_operator_may_have_it_called_again_at_once(
    meeting: Meeting, provisioning: Provisioning
) -> None:
    """The gateway that refused keeps nothing in its memory."""
    number = london(BUSY)
    await attempted(meeting, number)
    assert await meeting.refused(number) == Reason.CALLEE_COOLING_DOWN

    async with provisioning.change(actor="test") as change:
        await change.callee_clear(E164(number))

    await attempted(meeting, number)
    assert meeting.invites(number) == 2 * ATTEMPTS
