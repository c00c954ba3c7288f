"""A call is paid for slice after slice, and Asterisk cuts it where that ends, to the second."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from gateway import db
from gateway.core.choices import Exhaustion
from gateway.core.key import DialOutKey
from gateway.core.verdict import CAP_GRACE_SECONDS
from gateway.lab.service import Service
from gateway.lab.stack import Stack, stack
from gateway.lab.telephone import ear_on
from gateway.ledger import ExtendOutcome, Ledger, Provisioning
from tests.calls.conftest import APPLICATION, APPLICATION_SECRET, LAB, OPTIONS
from tests.calls.meeting import Answer, Meeting, london
from tests.calls.test_recovery import until_ready
from tests.gate.ami_socket import AmiSocket

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

SLICE_SECONDS = 5
LONGEST_SECONDS = 14
WARNING_SECONDS = 2
POOL_SECONDS = 3600

SLICED = OPTIONS | {
    "DIALOUT_CALL__SLICE_SECONDS": str(SLICE_SECONDS),
    "DIALOUT_CALL__TALK_SECONDS_MAX": str(LONGEST_SECONDS),
    "DIALOUT_CALL__WARNING_SECONDS": f"[{WARNING_SECONDS}]",
    "DIALOUT_CALL__EXTEND_AHEAD_SECONDS": "1",
}
UNTIL_CUT_SECONDS = LONGEST_SECONDS + 10
CUT_SECONDS = 0.3
"""How far off a cut may be: what it takes to tell Asterisk a limit is taken off the call."""

# For a gateway that starts, or a ledger that stops, while the first slice runs.
LONG_SLICE_SECONDS = 10
LONG_LONGEST_SECONDS = 24
LONG_SLICED = SLICED | {
    "DIALOUT_CALL__SLICE_SECONDS": str(LONG_SLICE_SECONDS),
    "DIALOUT_CALL__TALK_SECONDS_MAX": str(LONG_LONGEST_SECONDS),
}


@dataclass(slots=True, kw_only=True)
class Site:
    """A stack, and a gateway that a test may break. ``witness`` sees every event on Asterisk."""

    parts: Stack
    service: Service
    meeting: Meeting
    witness: AmiSocket
    log: Path
    opened: AsyncExitStack

    async def another_gateway(self) -> Service:
        """Start a second gateway beside the first one."""
        service = Service(
            self.parts.asterisk,
            database=self.parts.gateway,
            output=self.log.with_name("second.log"),
            options=SLICED,
        )
        return await self.opened.enter_async_context(service)

    async def call(self, meeting: Meeting, number: str) -> tuple[Answer, str]:
        """Have a telephone called that answers; return the dial-out and the uniqueid of its leg."""
        placed = await meeting.place(number)
        dialled = await self.witness.event("DialBegin", DialString=f"{number}@dialout-trunk")
        leg = dialled["DestUniqueid"]
        await self.witness.event("DialEnd", DestUniqueid=leg, DialStatus="ANSWER")
        return placed, leg

    async def talked_seconds(self, leg: str) -> float:
        """Return how long a leg was up, by Asterisk's clock, once it is gone."""
        answer = await self.witness.event("DialEnd", DestUniqueid=leg)
        hangup = await self.witness.event("Hangup", UNTIL_CUT_SECONDS, Uniqueid=leg)
        return float(hangup["Timestamp"]) - float(answer["Timestamp"])

    async def logged(self, event: str) -> None:
        """Return once the gateway has logged an event of this name."""
        async with asyncio.timeout(UNTIL_CUT_SECONDS):
            while f'"event": "{event}"' not in self.log.read_text():
                await asyncio.sleep(0.02)

    async def answered_at(self, leg: str) -> float:
        """Return when a leg was answered, by Asterisk's clock."""
        return float((await self.witness.event("DialEnd", DestUniqueid=leg))["Timestamp"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[Stack]:
    """PostgreSQL, a carrier and an Asterisk beside which no other gateway runs."""
    async with stack(LAB, applications={APPLICATION: APPLICATION_SECRET}) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def site(request: pytest.FixtureRequest, parts: Stack, tmp_path: Path) -> AsyncIterator[Site]:
    """A gateway of this test alone, whose slices are short."""
    log = tmp_path / "gateway.log"
    options = getattr(request, "param", SLICED)
    async with (
        AsyncExitStack() as opened,
        db.pool(parts.owner) as pool,
        Service(parts.asterisk, database=parts.gateway, output=log, options=options) as service,
        service.client() as client,
        AmiSocket(
            parts.asterisk.host, parts.asterisk.ami_port, APPLICATION, APPLICATION_SECRET
        ) as witness,
        opened,
    ):
        meeting = await Meeting.create(
            client,
            Ledger(pool, call_seconds_max=20.0),
            Provisioning(pool, call_seconds_max=20.0),
            parts.carrier,
        )
        yield Site(
            parts=parts,
            service=service,
            meeting=meeting,
            witness=witness,
            log=log,
            opened=opened,
        )


def is_told(heard_at: float, end: float) -> bool:
    """Return whether what was heard at an instant is the warning of an end, and precedes it."""
    return -CUT_SECONDS <= heard_at - (end - WARNING_SECONDS) < WARNING_SECONDS


def key_of(meeting: Meeting, placed: Answer) -> DialOutKey:
    """Return the key of a dial-out."""
    return DialOutKey(tenant_id=meeting.tenant_id, dial_out_id=UUID(placed["dial_out_id"]))


async def slices_of(meeting: Meeting, placed: Answer) -> int | None:
    """Return how often something was set aside for a call."""
    dial_out = await meeting.ledger.dial_out(key_of(meeting, placed))
    assert dial_out is not None
    return dial_out.slices


async def test_each_call_lasts_as_long_as_it_is_paid_for(site: Site) -> None:
    """Extended as often as it takes, cut where the pool or the longest call ends, and not later.

    What is billed is what was talked, and what was set aside beyond is given back.
    """

    async def leaves() -> None:
        meeting = site.meeting
        placed, leg = await site.call(meeting, london("29"))
        ended = await meeting.ended(placed["dial_out_id"])
        talked = await site.talked_seconds(leg)
        assert await slices_of(meeting, placed) == 3
        assert ended["billable_seconds"] in {math.ceil(talked - 0.02), math.ceil(talked + 0.02)}
        assert (await meeting.balance("pool")).used == ended["billable_seconds"]
        await meeting.assert_books_are_clean()

    async def is_cut(pool_seconds: int) -> None:
        meeting = await site.meeting.another()
        lasts = min(pool_seconds, LONGEST_SECONDS)
        if pool_seconds < POOL_SECONDS:
            await meeting.set_aside_of_pool(POOL_SECONDS - pool_seconds)
        placed, leg = await site.call(meeting, london("10"))
        ended = await meeting.ended(placed["dial_out_id"], UNTIL_CUT_SECONDS)
        assert await site.talked_seconds(leg) == pytest.approx(lasts, abs=CUT_SECONDS)
        assert (ended["billable_seconds"], ended["hangup_cause"]) == (lasts, 16)
        assert ended.get("overrun_seconds", 0) == 0
        assert (await meeting.balance("pool")).used == lasts

    async def goes_over_to_credits() -> None:
        meeting = await site.meeting.another()
        await meeting.buy_credits(5_000_000)
        await meeting.set_aside_of_pool(POOL_SECONDS - 7)
        placed, _ = await site.call(meeting, london("29"))
        ended = await meeting.ended(placed["dial_out_id"])
        assert ended["paid_by"] == ["pool", "credits"]
        assert (await meeting.balance("pool")).used == 7
        assert (await meeting.balance("credits")).used == (ended["billable_seconds"] - 7) * 10_000

    async def finishes() -> None:
        meeting = await site.meeting.another()
        await meeting.choose(on_exhaustion=Exhaustion.FINISH)
        await meeting.set_aside_of_pool(POOL_SECONDS - 6)
        placed, _ = await site.call(meeting, london("29"))
        ended = await meeting.ended(placed["dial_out_id"])
        assert (ended["billable_seconds"], ended["overrun_seconds"]) == (6, 3)

    async def finishes_at_the_longest() -> None:
        meeting = await site.meeting.another()
        await meeting.choose(on_exhaustion=Exhaustion.FINISH)
        await meeting.set_aside_of_pool(POOL_SECONDS - 6)
        placed, leg = await site.call(meeting, london("10"))
        ended = await meeting.ended(placed["dial_out_id"], UNTIL_CUT_SECONDS)
        assert await site.talked_seconds(leg) == pytest.approx(LONGEST_SECONDS, abs=CUT_SECONDS)
        assert ended["billable_seconds"] == 6

    async with asyncio.TaskGroup() as calls:
        calls.create_task(leaves())
        calls.create_task(is_cut(POOL_SECONDS))
        calls.create_task(is_cut(12))
        calls.create_task(is_cut(3))
        calls.create_task(goes_over_to_credits())
        calls.create_task(finishes())
        calls.create_task(finishes_at_the_longest())


async def test_the_callee_is_warned_of_the_end_and_of_no_other(site: Site) -> None:
    """Slices end unheard; before the last second that is paid for the telephone is told."""
    await site.meeting.set_aside_of_pool(POOL_SECONDS - 12)
    async with ear_on(site.parts.carrier.ear_port) as ear:
        _, leg = await site.call(site.meeting, london("70"))
        telephone = await ear.next_telephone()
        talked = await site.talked_seconds(leg)
    answered_at = await site.answered_at(leg)

    assert talked == pytest.approx(12, abs=CUT_SECONDS)
    [warned_at] = telephone.heard_at()
    assert is_told(warned_at, answered_at + 12)


async def test_asterisk_warns_and_cuts_without_a_gateway(site: Site) -> None:
    """Killed in the middle of a call, the gateway is not missed: the paid slice is the last one.

    After the next start the call is settled from the record on the Asterisk host.
    """
    async with ear_on(site.parts.carrier.ear_port) as ear:
        placed, leg = await site.call(site.meeting, london("70"))
        telephone = await ear.next_telephone()
        await site.logged("call.limit_moved")
        await site.service.kill()
        talked = await site.talked_seconds(leg)
    answered_at = await site.answered_at(leg)
    await site.service.start()
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert talked == pytest.approx(2 * SLICE_SECONDS, abs=CUT_SECONDS)
    [warned_at] = telephone.heard_at()
    assert is_told(warned_at, answered_at + 2 * SLICE_SECONDS)
    assert ended["billable_seconds"] == 2 * SLICE_SECONDS
    await site.meeting.assert_books_are_clean()


@pytest.mark.parametrize("site", [LONG_SLICED], indirect=True, ids=["long slices"])
async def test_a_gateway_that_was_restarted_pays_on(site: Site) -> None:
    """It finds the call alive; what its predecessor had set aside, and not told, counts too."""
    async with ear_on(site.parts.carrier.ear_port) as ear:
        placed, leg = await site.call(site.meeting, london("70"))
        telephone = await ear.next_telephone()
        await site.meeting.answered(placed["dial_out_id"])
        await site.service.kill()
        extension = await site.meeting.ledger.extend(
            key_of(site.meeting, placed), slices=1, at=datetime.now(UTC)
        )
        await site.service.start()
        ended = await site.meeting.ended(placed["dial_out_id"], LONG_LONGEST_SECONDS + 10)
        talked = await site.talked_seconds(leg)
    answered_at = await site.answered_at(leg)

    assert extension.outcome is ExtendOutcome.EXTENDED
    assert talked == pytest.approx(LONG_LONGEST_SECONDS, abs=CUT_SECONDS)
    assert await slices_of(site.meeting, placed) == 3
    assert ended["billable_seconds"] == LONG_LONGEST_SECONDS
    *sooner, warned_at = telephone.heard_at()
    assert is_told(warned_at, answered_at + LONG_LONGEST_SECONDS)
    # Until the second gateway moves the limit, the end of the first slice is the end.
    assert len(sooner) <= 1
    assert all(is_told(at, answered_at + LONG_SLICE_SECONDS) for at in sooner)
    await site.meeting.assert_books_are_clean()


async def test_two_gateways_pay_once(site: Site) -> None:
    """Both follow the call and ask for each slice; it is set aside once, and warned of once."""
    async with ear_on(site.parts.carrier.ear_port) as ear:
        placed, leg = await site.call(site.meeting, london("70"))
        telephone = await ear.next_telephone()
        await site.another_gateway()
        ended = await site.meeting.ended(placed["dial_out_id"], UNTIL_CUT_SECONDS)

    assert await site.talked_seconds(leg) == pytest.approx(LONGEST_SECONDS, abs=CUT_SECONDS)
    assert await slices_of(site.meeting, placed) == 3
    assert ended["billable_seconds"] == LONGEST_SECONDS
    assert len(telephone.heard_at()) == 1
    await site.meeting.assert_books_are_clean()


@pytest.mark.parametrize("site", [LONG_SLICED], indirect=True, ids=["long slices"])
async def test_without_its_database_a_call_ends_where_its_slice_does(site: Site) -> None:
    """Nothing more can be set aside, so nothing more is talked; it is billed when it is back."""
    placed, leg = await site.call(site.meeting, london("10"))
    await site.meeting.answered(placed["dial_out_id"])

    await site.parts.postgres.stop()
    talked = await site.talked_seconds(leg)
    await site.parts.postgres.start()
    await until_ready(site.meeting.client, ready=True)
    ended = await site.meeting.ended(placed["dial_out_id"])

    assert talked == pytest.approx(LONG_SLICE_SECONDS, abs=CUT_SECONDS)
    assert ended["billable_seconds"] == LONG_SLICE_SECONDS
    assert "reservation.not_extended" in site.log.read_text()
    await site.meeting.assert_books_are_clean()


async def test_a_call_that_asterisk_does_not_cut_is_hung_up(site: Site) -> None:
    """The third limit goes by what is paid for, too, and not by what the longest call may last."""
    asterisk = site.parts.asterisk
    await site.meeting.set_aside_of_pool(POOL_SECONDS - 3)
    placed, leg = await site.call(site.meeting, london("10"))
    await site.meeting.answered(placed["dial_out_id"])
    async with AmiSocket(
        asterisk.host, asterisk.ami_port, asterisk.account, asterisk.secret
    ) as somebody:
        await somebody.send(
            ("Action", "Setvar"),
            ("Channel", leg),
            ("Variable", "TIMEOUT(absolute)"),
            ("Value", "0"),
        )
    ended = await site.meeting.ended(placed["dial_out_id"], 3 + 2 * CAP_GRACE_SECONDS + 5)

    assert ended["billable_seconds"] == 3
    assert ended["overrun_seconds"] >= 2 * CAP_GRACE_SECONDS
    assert "call.overdue" in site.log.read_text()
