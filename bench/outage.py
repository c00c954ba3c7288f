"""What becomes of calls that are up while the ledger is away for long, or when Asterisk dies.

Telephones leave while PostgreSQL is stopped, one is cut because nothing more was paid for it,
and the others outlive what was set aside for them before. Each is held against the carrier's
own record in the end. Where Asterisk is killed the truth is the instant of that.
"""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.core.dial_out import DialOut, DialOutState
from gateway.lab.stack import Stack, stack
from tests.calls.crowd import Asked, Call, Planned, Site, gateways_beside, reckoned
from tests.calls.meeting import Meeting, nairobi

RATE = 20
"""Calls a second, until all are up."""

SETTLE_SECONDS_MAX = 15.0
CENT_A_SECOND = 10_000
STAYS, LEAVES = "10", "60"
AREA = "+44207"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerAway:
    """What a time without the ledger did to the calls that were up.

    ``left`` were hung up by their telephones meanwhile, ``stayed`` by us long afterwards, and
    for ``unfunded`` there was no more money. ``settled_seconds`` is how long after the ledger
    was back the last of what had ended was settled, ``refusal`` what a new call was told.
    """

    seconds: float
    slice_seconds: int
    left: tuple[Call, ...]
    stayed: tuple[Call, ...]
    unfunded: Call
    settled_seconds: float
    refusal: str
    findings: int

    @property
    def calls(self) -> tuple[Call, ...]:
        """All that were up."""
        return (*self.left, *self.stayed, self.unfunded)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words: a bill, a call cut that could be paid on, or the books."""
        return (
            *(f"billed wrongly: {call}" for call in self.calls if not call.is_exact),
            *(f"cut: {call}" for call in self.stayed if call.talked <= self.slice_seconds),
            *_of_the_books(self.findings),
        )

    def figures(self) -> dict[str, Any]:
        """Return what is printed."""
        return {
            "seconds_without_ledger": self.seconds,
            "slice_seconds": self.slice_seconds,
            "calls_up": len(self.calls),
            "hung_up_meanwhile": len(self.left),
            "outlived_their_slice": sum(c.talked > self.slice_seconds for c in self.stayed),
            "cut_for_want_of_funds_after_seconds": self.unfunded.billed_seconds,
            "billed_exactly": sum(call.is_exact for call in self.calls),
            "carrier_seconds": sum(call.carrier_seconds for call in self.calls),
            "billed_seconds": sum(call.billed_seconds for call in self.calls),
            "new_calls_are_told": self.refusal,
            "settled_seconds_after_it_was_back": round(self.settled_seconds, 1),
            "ledger_findings": self.findings,
        }


async def measure(
    lab: Path, *, seconds: int, calls: int, leaving: int
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Take away the ledger for so long, then Asterisk twice; return the figures and the faults."""
    async with stack(lab) as parts:
        directory = parts.asterisk.directory
        away = await ledger_away(
            parts,
            directory,
            seconds=seconds,
            calls=calls,
            leaving=leaving,
            chance=random.Random(),
        )
        died = await asterisk_died(parts, directory, seconds=5.0, calls=calls)
        stopped = await asterisk_stopped(parts, directory, seconds=5.0, calls=calls)
    figures = {
        "the ledger was away": away.figures(),
        "Asterisk was killed": died.figures(),
        "Asterisk was shut down": stopped.figures(),
    }
    return figures, (*away.faults, *died.faults, *stopped.faults)


async def ledger_away(
    parts: Stack, directory: Path, *, seconds: int, calls: int, leaving: int, chance: random.Random
) -> LedgerAway:
    """Stop PostgreSQL for so long while ``calls`` are up, ``leaving`` of which end meanwhile.

    A slice is twice as long, and the next one is due when half of that time has passed: so it
    falls due while nobody can pay, and is paid in time all the same.
    """
    ramp_seconds = calls / RATE
    options = {
        "DIALOUT_CALL__SLICE_SECONDS": str(2 * seconds),
        "DIALOUT_CALL__EXTEND_AHEAD_SECONDS": str(seconds + seconds // 2),
    }
    async with gateways_beside(parts, directory, options=options) as site:
        poor = await _poor_meeting(site, seconds=math.ceil(ramp_seconds + seconds / 2))
        leaves = [_leaves(chance, ramp_seconds, seconds) for _ in range(leaving)]
        stays = [_stays(number) for number in range(calls - leaving - 1)]
        # Those first that are up the longest: all of them are up at once then.
        stayed = [await _placed_in_turn(site.meeting, each) for each in stays]
        left = [await _placed_in_turn(site.meeting, each) for each in leaves]
        unfunded = await _placed(poor, Planned(number=nairobi(STAYS)))
        await _until_all_are_answered(site, calls)
        up_at = time.monotonic()

        await parts.postgres.stop()
        refusal = (await site.meeting.post(_stays(9_999).number)).json()["reason"]
        await asyncio.sleep(up_at + seconds - time.monotonic())
        await parts.postgres.start()
        back_at = time.monotonic()
        await _until_open(site, len(stayed))
        settled_seconds = time.monotonic() - back_at

        await asyncio.sleep(max(0.0, up_at + 2 * seconds + 1 - time.monotonic()))
        await asyncio.gather(*(site.meeting.cancel(str(each.ids[-1])) for each in stayed))
        await _until_open(site, 0)
        return LedgerAway(
            seconds=seconds,
            slice_seconds=2 * seconds,
            left=await reckoned(site.meeting, left),
            stayed=await reckoned(site.meeting, stayed),
            unfunded=(await reckoned(poor, [unfunded]))[0],
            settled_seconds=settled_seconds,
            refusal=refusal,
            findings=len(await site.meeting.ledger.check()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """A call that was up when Asterisk died, and how long it had talked then, by the carrier."""

    row: DialOut
    talked: float

    @property
    def is_within_bounds(self) -> bool:
        """Whether the truth lies between the bounds, and the lower one was billed."""
        least, most = self.row.least_seconds, self.row.most_seconds
        assert least is not None, "it was settled"
        assert most is not None, "it was settled"
        return least <= math.ceil(self.talked) <= most and self.row.billable_seconds == least


@dataclass(frozen=True, slots=True, kw_only=True)
class AsteriskDied:
    """What became of the calls that were up when Asterisk was killed."""

    calls: tuple[Vanished, ...]
    settled_seconds: float
    findings: int

    @property
    def faults(self) -> tuple[str, ...]:
        """The calls whose bounds or bill are wrong, and the books if they are, in words."""
        calls = tuple(
            f"out of bounds: {each.talked:.2f} s talked, {each.row.least_seconds} to"
            f" {each.row.most_seconds} s, {each.row.billable_seconds} s billed by"
            f" {each.row.evidence}"
            for each in self.calls
            if not each.is_within_bounds
        )
        return calls + _of_the_books(self.findings)

    def figures(self) -> dict[str, Any]:
        """Return what is printed."""
        widths = sorted(
            (each.row.most_seconds or 0) - (each.row.least_seconds or 0) for each in self.calls
        )
        return {
            "calls_up": len(self.calls),
            "within_their_bounds": sum(each.is_within_bounds for each in self.calls),
            "seconds_between_the_bounds_min": widths[0],
            "seconds_between_the_bounds_max": widths[-1],
            "carrier_seconds": sum(math.ceil(each.talked) for each in self.calls),
            "billed_seconds": sum(each.row.billable_seconds or 0 for each in self.calls),
            "settled_seconds_after_it_was_back": round(self.settled_seconds, 1),
            "ledger_findings": self.findings,
        }


async def asterisk_died(
    parts: Stack, directory: Path, *, seconds: float, calls: int
) -> AsteriskDied:
    """Kill Asterisk when ``calls`` have been up for so long, and start it again."""
    async with gateways_beside(parts, directory) as site:
        up = await _up(site, [_stays(number) for number in range(5_000, 5_000 + calls)])
        await asyncio.sleep(seconds)
        await parts.asterisk.kill()
        died_at = datetime.now(UTC)
        await parts.asterisk.start()
        back_at = time.monotonic()
        await _until_open(site, 0)
        settled_seconds = time.monotonic() - back_at
        answers = parts.carrier.answers()
        return AsteriskDied(
            calls=tuple(
                Vanished(row=call.rows[0], talked=(died_at - answers[call.number]).total_seconds())
                for call in await reckoned(site.meeting, up)
            ),
            settled_seconds=settled_seconds,
            findings=len(await site.meeting.ledger.check()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AsteriskStopped:
    """What became of the calls that were up when Asterisk was shut down in order."""

    calls: tuple[Call, ...]
    findings: int

    @property
    def faults(self) -> tuple[str, ...]:
        """The calls that are not billed exactly, and the books if they are wrong, in words."""
        calls = tuple(f"billed wrongly: {call}" for call in self.calls if not call.is_exact)
        return calls + _of_the_books(self.findings)

    def figures(self) -> dict[str, Any]:
        """Return what is printed."""
        return {
            "calls_up": len(self.calls),
            "billed_exactly": sum(call.is_exact for call in self.calls),
            "carrier_seconds": sum(call.carrier_seconds for call in self.calls),
            "billed_seconds": sum(call.billed_seconds for call in self.calls),
            "ledger_findings": self.findings,
        }


async def asterisk_stopped(
    parts: Stack, directory: Path, *, seconds: float, calls: int
) -> AsteriskStopped:
    """Shut Asterisk down when ``calls`` have been up for so long, and start it again."""
    async with gateways_beside(parts, directory) as site:
        up = await _up(site, [_stays(number) for number in range(7_000, 7_000 + calls)])
        await asyncio.sleep(seconds)
        await parts.asterisk.stop()
        await parts.asterisk.start()
        await _until_open(site, 0)
        return AsteriskStopped(
            calls=await reckoned(site.meeting, up),
            findings=len(await site.meeting.ledger.check()),
        )


async def _poor_meeting(site: Site, *, seconds: int) -> Meeting:
    """Return a meeting that can pay for so many seconds of a call abroad, and no more."""
    poor = await site.meeting.another()
    await poor.buy_credits(seconds * CENT_A_SECOND)
    return poor


def _stays(number: int) -> Planned:
    return Planned(number=f"{AREA}9{number:04d}{STAYS}")


def _leaves(chance: random.Random, ramp_seconds: float, seconds: int) -> Planned:
    """Return a telephone that hangs up between the first and the last fifth of the absence."""
    after = 2 * ramp_seconds + chance.uniform(0.2, 0.7) * seconds
    return Planned(number=f"{AREA}{chance.randrange(9)}{round(after * 100):04d}{LEAVES}")


async def _up(site: Site, planned: Sequence[Planned]) -> list[Asked]:
    """Return calls once all of them are answered."""
    asked = [await _placed_in_turn(site.meeting, each) for each in planned]
    await _until_all_are_answered(site, len(asked))
    return asked


async def _placed_in_turn(meeting: Meeting, planned: Planned) -> Asked:
    await asyncio.sleep(1 / RATE)
    return await _placed(meeting, planned)


async def _placed(meeting: Meeting, planned: Planned) -> Asked:
    asked = Asked(planned=planned, taken=True)
    await meeting.place(
        planned.number, dial_out_id=str(asked.ids[0]), conference_id=f"room-{asked.ids[0].hex}"
    )
    return asked


async def _until_all_are_answered(site: Site, calls: int) -> None:
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while await _answered(site) < calls:
            await asyncio.sleep(0.05)


async def _answered(site: Site) -> int:
    found: Sequence[DialOut] = await site.meeting.ledger.open_dial_outs()
    return sum(each.state is DialOutState.ANSWERED for each in found)


async def _until_open(site: Site, count: int) -> None:
    """Return once no more than so many calls are open."""
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while len(await site.meeting.ledger.open_dial_outs()) > count:
            await asyncio.sleep(0.05)


def _of_the_books(findings: int) -> tuple[str, ...]:
    """Return what is wrong with the ledger itself, in words."""
    return (f"{findings} findings of the ledger",) if findings else ()
