"""Billed seconds against the carrier's own clock, over a hundred calls of random length."""

import asyncio
import math
import random
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import datetime

import pytest

from gateway.lab.carrier import Carrier, Cdr
from tests.calls.meeting import PATIENT, Answer, Meeting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

CALLS = 100
CALLS_A_SECOND = 10
TALK_HUNDREDTHS = range(20, 2001)
MEAN_DIFFERENCE_MS_MAX = 100
"""It is a few milliseconds where nothing else runs. Were whole seconds counted, it would be 300."""
CREDITS_MICROS = 100_000_000
"""Enough for what the pool cannot have set aside for all of the calls at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call that will last so many hundredths of a second, and who will hang it up."""

    number: str
    hundredths: int
    we_leave: bool

    @classmethod
    def make(cls, hundredths: int, *, we_leave: bool) -> "Planned":
        """Plan a call; the carrier reads in the number when it has to hang up, if it has to."""
        ending = "10" if we_leave else "60"
        return cls(
            number=f"+442079{hundredths:04d}{ending}", hundredths=hundredths, we_leave=we_leave
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """A call that is over, as both sides have it."""

    planned: Planned
    answer: Answer
    cdr: Cdr

    @property
    def off_ms(self) -> float:
        """How much longer the call was for us than for the carrier."""
        answered_at, ended_at = (
            datetime.fromisoformat(self.answer[name]) for name in ("answered_at", "ended_at")
        )
        return ((ended_at - answered_at).total_seconds() - self.cdr.seconds) * 1000

    @property
    def off_seconds(self) -> int:
        """How many seconds more were billed than the call began by the carrier's clock."""
        return int(self.answer["billable_seconds"]) - math.ceil(self.cdr.seconds)


async def test_a_hundred_calls_are_billed_by_the_carriers_own_clock(meeting: Meeting) -> None:
    """Never off by more than a second, and before the rounding by less than 100 ms in the mean.

    Half of the calls are hung up by the carrier and half by us, ten new ones come a second. The
    carrier's clock counts from its 200 to the BYE. A bill that is shorter would be money that
    nobody gets, one that is longer money that nobody owes.
    """
    await meeting.buy_credits(CREDITS_MICROS)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    planned = [
        Planned.make(hundredths, we_leave=at % 2 == 0)
        for at, hundredths in enumerate(chance.sample(TALK_HUNDREDTHS, CALLS))
    ]

    answers = await asyncio.gather(
        *(_talk(meeting, each, wait=at / CALLS_A_SECOND) for at, each in enumerate(planned))
    )
    cdrs = await _cdrs(meeting.carrier, {each.number for each in planned})
    billed = [
        Billed(planned=each, answer=answer, cdr=cdrs[each.number])
        for each, answer in zip(planned, answers, strict=True)
    ]

    off_ms = sorted(abs(each.off_ms) for each in billed)
    figures = {
        "seed": seed,
        "mean_difference_ms": round(statistics.fmean(off_ms), 2),
        "p95_difference_ms": round(off_ms[CALLS * 95 // 100], 2),
        "max_difference_ms": round(off_ms[-1], 2),
        "billed_a_second_more": sum(each.off_seconds > 0 for each in billed),
        "billed_a_second_less": sum(each.off_seconds < 0 for each in billed),
        "billed_seconds": sum(each.answer["billable_seconds"] for each in billed),
        "carrier_seconds": sum(math.ceil(each.cdr.seconds) for each in billed),
    }
    sys.stdout.write(f"{figures}\n")
    assert [each for each in billed if each.answer["disposition"] != "answered"] == []
    assert [each for each in billed if abs(each.off_seconds) > 1] == []
    assert statistics.fmean(off_ms) < MEAN_DIFFERENCE_MS_MAX
    assert [meeting.invites(each.number) for each in planned] == [1] * CALLS
    await meeting.assert_books_are_clean()


async def _talk(meeting: Meeting, planned: Planned, *, wait: float) -> Answer:
    """Place a call when it is its turn, hang it up if that is ours to do, return how it ended.

    Nobody asks after it while it is up: a hundred who do would be the load that is measured.
    """
    await asyncio.sleep(wait)
    placed = await meeting.place(
        planned.number, conference_id=f"room-{planned.hundredths}", headers=PATIENT
    )
    seconds = planned.hundredths / 100
    if planned.we_leave:
        answered = await meeting.answered(placed["dial_out_id"])
        begun_at = datetime.fromisoformat(answered["answered_at"]).timestamp()
        await asyncio.sleep(begun_at + seconds - time.time())
        await meeting.cancel(placed["dial_out_id"])
    else:
        await asyncio.sleep(seconds)
    return await meeting.ended(placed["dial_out_id"])


async def _cdrs(carrier: Carrier, numbers: set[str]) -> dict[str, Cdr]:
    """Return what the carrier would bill for each number, once it has all of it."""
    async with asyncio.timeout(30):
        while True:
            found = {each.number: each for each in carrier.cdrs() if each.number in numbers}
            if len(found) == len(numbers):
                return found
            await asyncio.sleep(0.1)
