"""Whose a call is, where another gateway, a stranger or a broken link leave room for doubt."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from gateway.gate import TAKE_OVER_SECONDS
from gateway.lab.service import Service
from gateway.lab.stack import Stack
from tests.calls.conftest import OPTIONS
from tests.calls.meeting import Meeting, london
from tests.calls.participants import Hall, hall_of, hall_stack
from tests.calls.test_guard import tampering

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

PATIENCE = {"DIALOUT_CALL__RING_SECONDS": "60"}

GATE_SECONDS = 3
TAKEN_OVER_SECONDS_MAX = 10
"""Three, and what a busy machine may be late. That it was taken over is what the answer says."""
UNDISTURBED_SECONDS = TAKE_OVER_SECONDS + 0.5
"""How long it is watched that nobody ends a call: longer than any gateway waits with its answer."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def halls() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier, and an Asterisk that lets people in."""
    async with hall_stack() as parts:
        yield parts


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hall(halls: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hall]:
    """A gateway, and a meeting whose telephones ring for long."""
    output = tmp_path_factory.mktemp("first") / "gateway.log"
    async with hall_of(halls, output, **PATIENCE) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def beside(
    halls: Stack, hall: Hall, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Meeting]:
    """The same meeting, by way of another gateway on the same Asterisk and ledger."""
    output = tmp_path_factory.mktemp("second") / "gateway.log"
    options = OPTIONS | PATIENCE
    async with (
        Service(halls.asterisk, database=halls.gateway, output=output, options=options) as second,
        second.client() as client,
    ):
        meeting = hall.meeting
        yield Meeting(
            client=client,
            ledger=meeting.ledger,
            provisioning=meeting.provisioning,
            carrier=meeting.carrier,
            tenant_id=meeting.tenant_id,
        )


async def ask_both(
    hall: Hall, beside: Meeting, number: str, **fields: str
) -> tuple[httpx.Response, httpx.Response]:
    """Ask both gateways for the same call at once."""
    return await asyncio.gather(hall.meeting.post(number, **fields), beside.post(number, **fields))


async def rings_on(meeting: Meeting, number: str) -> bool:
    """Return whether a telephone is called once, and not hung up while it is watched."""
    await meeting.rings(number)
    await asyncio.sleep(UNDISTURBED_SECONDS)
    return rings_once(meeting, number)


def rings_once(meeting: Meeting, number: str) -> bool:
    """Return whether a telephone was called once, and was not hung up since."""
    return meeting.invites(number) == 1 and "CANCEL" not in meeting.carrier.requests(number)


async def test_of_two_gateways_one_calls_whom_a_participant_types(
    hall: Hall, beside: Meeting
) -> None:
    """Both see the visit and answer it. Ten of them: each is told so, and one telephone rings."""

    async def visit() -> None:
        number = london("80")
        asker = await hall.enter(hall.new_room())
        assert await asker.dials(number) == "calling"
        assert await rings_on(hall.meeting, number)
        await asker.leave()

    for _ in range(2):
        await asyncio.gather(*(visit() for _ in range(5)))


async def test_of_two_gateways_one_calls_whom_a_client_asks_both_for(
    hall: Hall, beside: Meeting
) -> None:
    """The same id, twenty times. Both say that it was placed, and it rings on undisturbed."""
    numbers = {str(uuid4()): london("80") for _ in range(20)}

    for dial_out_id, number in numbers.items():
        answers = await ask_both(hall, beside, number, dial_out_id=dial_out_id)
        assert sorted(each.status_code for each in answers) == [200, 201]
        assert [each.json()["state"] for each in answers] == ["released", "released"]

    assert all(await asyncio.gather(*(rings_on(hall.meeting, each) for each in numbers.values())))
    for dial_out_id in numbers:
        await hall.meeting.cancel(dial_out_id)
    for dial_out_id in numbers:
        assert (await hall.meeting.ended(dial_out_id))["disposition"] == "cancelled"
    await hall.meeting.assert_books_are_clean()


async def test_what_a_gateway_reserved_that_died_is_begun_by_another(
    hall: Hall, beside: Meeting
) -> None:
    """Asked of both again, whoever takes it over: soon, and once."""
    number, room = london("80"), hall.new_room()
    dial_out_id = await hall.meeting.set_aside(number, room)

    async with asyncio.timeout(TAKEN_OVER_SECONDS_MAX):
        answers = await ask_both(hall, beside, number, dial_out_id=dial_out_id, conference_id=room)

    assert [each.status_code for each in answers] == [200, 200]
    assert [each.json()["state"] for each in answers] == ["released", "released"]
    assert await rings_on(hall.meeting, number)
    await hall.meeting.cancel(dial_out_id)
    await hall.meeting.ended(dial_out_id)
    await hall.meeting.assert_books_are_clean()


async def test_the_failed_originate_of_another_ends_no_call(halls: Stack, tmp_path: Path) -> None:
    """Every session hears of it, and it may name a call of ours. It is not ours that failed.

    Ours waits at the gate, unheard by its gateway, until the gate hangs up by itself.
    """
    async with (
        tampering(halls.asterisk.ami_port) as way,
        hall_of(halls, tmp_path / "gateway.log", DIALOUT_BRIDGES__MAIN__PORT=str(way.port)) as seen,
    ):
        way.lost = b"DialoutGate"
        dial_out_id = uuid4()
        key = seen.meeting.tenant_id.hex + dial_out_id.hex
        placing = asyncio.create_task(seen.meeting.post(london("80"), dial_out_id=str(dial_out_id)))
        await seen.witness.event("UserEvent", UserEvent="DialoutGate", Key=key)
        await seen.witness.send(
            ("Action", "Originate"),
            ("ActionID", key),
            ("Channel", "Local/nobody@nowhere"),
            ("Application", "Wait"),
            ("Data", "1"),
            ("Async", "true"),
        )
        failed = await seen.witness.event("OriginateResponse", ActionID=key)
        ended = await seen.meeting.ended(str(dial_out_id))
        await placing

    assert failed["Response"] == "Failure"
    ended_at = datetime.fromisoformat(ended["ended_at"]).timestamp()
    assert ended_at - float(failed["Timestamp"]) > GATE_SECONDS / 2


async def test_a_call_that_was_dialled_while_the_link_broke_rings_on(
    halls: Stack, tmp_path: Path
) -> None:
    """Its gateway has let it dial and did not see it done. It knows the leg again by the list."""
    async with (
        tampering(halls.asterisk.ami_port) as way,
        hall_of(
            halls,
            tmp_path / "gateway.log",
            DIALOUT_BRIDGES__MAIN__PORT=str(way.port),
            **PATIENCE,
        ) as seen,
    ):
        number, following = london("80"), london("80")
        way.lost = b"Event: DialBegin"
        placing = asyncio.create_task(seen.meeting.post(number))
        await seen.meeting.rings(number)
        way.lost = None
        way.cut()
        reconciled = len(seen.log("calls.reconciled"))
        placed = (await placing).json()
        async with asyncio.timeout(30):
            while (await seen.meeting.post(following)).status_code != 201:
                await asyncio.sleep(0.05)
        await seen.meeting.rings(following)
        async with asyncio.timeout(30):  # the legs are held against the calls after the first
            while len(seen.log("calls.reconciled")) < reconciled + 2:
                await asyncio.sleep(0.1)

        assert seen.log("trunk.tripped") == []
        assert rings_once(seen.meeting, number)
        await seen.meeting.cancel(placed["dial_out_id"])
        assert (await seen.meeting.ended(placed["dial_out_id"]))["disposition"] == "cancelled"
