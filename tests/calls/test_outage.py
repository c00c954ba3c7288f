"""The ledger away for long, failed over or slow, and Asterisk gone: every call is still settled.

The carrier's own record is the truth. ``python -m bench outage`` is the same with fifty calls
and a minute without the ledger.
"""

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from bench.outage import asterisk_died, asterisk_stopped, ledger_away
from gateway.lab.carrier import Carrier
from gateway.lab.stack import Stack, stack
from tests.calls.conftest import LAB
from tests.calls.crowd import Asked, Planned, Site, gateways_beside, reckoned
from tests.calls.meeting import Answer, london
from tests.calls.test_recovery import until_ready

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

AWAY_SECONDS = 8
CALLS = 20
CALLS_LEAVING = 5
HOUR = 3600


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk; whoever stops one of them starts it again."""
    async with stack(LAB) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def site(parts: Stack, tmp_path: Path) -> AsyncIterator[Site]:
    """A gateway and a meeting of this test alone."""
    async with gateways_beside(parts, tmp_path) as opened:
        yield opened


async def test_what_ends_while_the_ledger_is_away_is_billed_exactly(
    parts: Stack, tmp_path: Path
) -> None:
    """Five of twenty hang up meanwhile; the others are paid on in time, and one has no funds.

    None is cut that can pay, though the next slice of each fell due while nobody could be
    asked; the one that cannot is cut at its last second all the same, by Asterisk.
    """
    away = await ledger_away(
        parts,
        tmp_path,
        seconds=AWAY_SECONDS,
        calls=CALLS,
        leaving=CALLS_LEAVING,
        chance=random.Random(),
    )

    assert away.refusal == "ledger_unavailable"
    assert away.faults == ()


async def test_calls_that_were_up_when_asterisk_died_are_settled_within_their_bounds(
    parts: Stack, tmp_path: Path
) -> None:
    """No hangup, no record: the truth lies between the bounds, and the lower one is billed."""
    died = await asterisk_died(parts, tmp_path, seconds=2.0, calls=CALLS)

    assert died.faults == ()


async def test_calls_that_were_up_when_asterisk_was_shut_down_are_billed_exactly(
    parts: Stack, tmp_path: Path
) -> None:
    """It hangs up in order and keeps its records: nothing is left to bounds."""
    stopped = await asterisk_stopped(parts, tmp_path, seconds=1.0, calls=CALLS)

    assert stopped.faults == ()


async def test_a_failover_refuses_until_there_is_one_that_can_be_written_to(
    site: Site,
) -> None:
    """Connections break and what answers next is a standby: 503, then as if nothing had been.

    A call that hung up meanwhile is billed by the new one.
    """
    postgres, meeting = site.parts.postgres, site.meeting
    number = london("24")
    placed = await meeting.place(number)
    await meeting.answered(placed["dial_out_id"])

    await postgres.stop()
    postgres.become_standby()
    await postgres.start()
    refused = await meeting.post(london("22"))
    read = await meeting.read(placed["dial_out_id"])
    await until_ready(meeting.client, ready=False)
    await until_over(site.parts.carrier, number)
    await postgres.promote()
    await until_ready(meeting.client, ready=True)
    ended = await meeting.ended(placed["dial_out_id"])
    following = await meeting.place(london("21"), conference_id="another-room")

    assert (refused.status_code, refused.json()["reason"]) == (503, "ledger_unavailable")
    assert read["state"] == "answered"
    assert ended["billable_seconds"] in {4, 5}
    await meeting.ended(following["dial_out_id"])
    await meeting.assert_books_are_clean()


async def until_over(carrier: Carrier, number: str) -> None:
    """Return once the only call to a number has ended, by the carrier."""
    async with asyncio.timeout(30):
        while all(cdr.number != number for cdr in carrier.cdrs()):
            await asyncio.sleep(0.05)


async def test_answers_of_the_ledger_that_come_late_change_nothing(site: Site) -> None:
    """Frozen in the middle of requests: 503, and whatever it does when it wakes, each is one call.

    What it reserves then is the reservation that the client asks for again, or expires.
    """
    meeting = site.meeting
    await meeting.ended((await meeting.place(london("86")))["dial_out_id"])
    wishes = [(london("86"), f"00000000-0000-4000-8000-{number:012d}") for number in range(10)]

    postgres = site.parts.postgres
    with frozen((postgres.pid, *postgres.sessions())):
        refused = await asyncio.gather(
            *(meeting.post(number, dial_out_id=wish) for number, wish in wishes)
        )
    again = [await until_taken(site, number, wish) for number, wish in wishes]

    assert {each.status_code for each in refused} == {503}
    assert {each.status_code for each in again} <= {200, 201}
    for number, wish in wishes:
        await meeting.ended(wish)
        assert meeting.invites(number) <= 1
    await meeting.assert_books_are_clean()


async def until_taken(site: Site, number: str, dial_out_id: str) -> httpx.Response:
    """Ask with the same id until that is not answered by 503; a new id was called for once."""
    async with asyncio.timeout(30):
        while True:
            response = await site.meeting.post(number, dial_out_id=dial_out_id)
            if response.status_code != 503 or response.json()["reason"] == "call_not_placed":
                return response
            await asyncio.sleep(0.1)


@contextmanager
def frozen(pids: tuple[int, ...]) -> Iterator[None]:
    """Have processes do nothing meanwhile; whatever is sent to them waits."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_clock_that_steps_moves_no_bill(parts: Stack, tmp_path: Path) -> None:
    """An hour on and an hour back, on the gateway's host: calls are timed by Asterisk's alone.

    It is wrong by two hours all the time, so that what the tenant holds counts even when it is
    back. One talks and one rings at each step, and another is placed after it. Nobody's money
    is given back while the telephone is up.
    """
    clock = tmp_path / "clock"
    clock.write_text(str(2 * HOUR))
    stepped = tmp_path / "stepped"
    arguments = ("-m", "tests.calls.stepping_clock", str(clock))
    async with gateways_beside(parts, tmp_path, arguments=arguments) as site:
        asked = []
        for wrong_by in (3 * HOUR, 2 * HOUR):
            talks, rings, after = london("10"), *(rings_then_stays() for _ in range(2))
            talking = await place_alone(site, talks)
            await site.meeting.answered(talking["dial_out_id"])
            ringing = await place_alone(site, rings)
            stepped.write_text(str(wrong_by))
            stepped.replace(clock)  # whoever reads meanwhile finds the one or the other
            following = await place_alone(site, after)
            for placed in (ringing, following):
                await site.meeting.answered(placed["dial_out_id"])
            for number, placed in ((talks, talking), (rings, ringing), (after, following)):
                await site.meeting.cancel(placed["dial_out_id"])
                await site.meeting.ended(placed["dial_out_id"])
                ids = [UUID(placed["dial_out_id"])]
                asked.append(Asked(planned=Planned(number=number), ids=ids))
        calls = await reckoned(site.meeting, asked)

        assert [str(call) for call in calls if (call.invites, call.is_exact) != (1, True)] == []
        assert [call for call in calls if not call.talked] == []
        await site.meeting.assert_books_are_clean()


async def place_alone(site: Site, number: str) -> Answer:
    """Have a telephone called into a meeting of its own, which ends for nobody else."""
    return await site.meeting.place(number, conference_id=f"room-{number.removeprefix('+')}")


def rings_then_stays() -> str:
    """Return a number that rings for a second and then answers; no test has used it."""
    return f"+44207{next(_RINGING)}010061"


_RINGING = itertools.count(1)
