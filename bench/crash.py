"""Gateways killed at random instants while telephones are called: is a second lost or invented?

``kill -9`` again and again, and a start at once each time, under a steady load of short calls
whose clients ask again as they should. An instant may lie within a start. In the end each
call is held against the carrier's own record.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import db
from gateway.cli.terminal import progress
from gateway.lab.service import Service
from gateway.lab.stack import stack
from gateway.ledger import Ledger
from gateway.settings import DatabaseSettings, ProofSettings
from tests.calls.crowd import (
    SECONDS_OFF_MAX,
    Call,
    Crowd,
    Planned,
    crowd_numbers,
    gateways_beside,
    reckoned,
)

LIVES_SECONDS_MAX = (2.0, 8.0, 8.0)
"""How long a gateway lives at most once it is ready, one as likely as the other: some die in what
they found, others live to take what was asked for meanwhile."""

DIALLED_SHARE_MIN = 1 / 3
"""With fewer calls that reached the carrier it would have proved little. Those do not count that
were waiting for a gateway when the last one was killed."""

START_SECONDS_MAX = 2.0
"""How long one that is killed before it is ready is let start at most."""

DIES_YOUNG = 0.25
"""How often one is killed again before it is ready."""

SETTLE_SECONDS_MAX = 30.0

OPEN_SECONDS_MAX = 10.0
"""How long after that an unclaimed reservation has expired, and the longest call has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    ``seconds`` is for how long calls were asked for; ``open_seconds`` how long a reservation was
    open after the last gateway was ready again.
    """

    seed: int
    gateways: int
    kills: int
    seconds: float
    calls: tuple[Call, ...]
    open_seconds: float
    findings: int

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words: of each call, of all of them, and of the books."""
        calls = tuple(
            f"{what}: {call}"
            for call in self.calls
            for what, is_wrong in (
                ("dialled twice", call.invites > 1),
                ("billed wrongly", abs(call.off_seconds) > SECONDS_OFF_MAX),
                ("still open", call.is_open),
                ("turned away", call.was_turned_away),
                ("taken and never dialled", call.was_forgotten and not self._had_nobody(call)),
                (f"refused, {call.asked.refusal}", call.asked.refusal is not None),
            )
            if is_wrong
        )
        dialled = sum(call.invites > 0 for call in self.calls)
        asked = sum(bool(call.invites) or not call.asked.cut_short for call in self.calls)
        is_idle = dialled < asked * DIALLED_SHARE_MIN or not dialled
        return calls + tuple(
            what
            for what, is_wrong in (
                (f"{dialled} of {asked} calls reached the carrier", is_idle),
                (f"open for {self.open_seconds:.1f} s", self.open_seconds > OPEN_SECONDS_MAX),
                (f"{self.findings} findings of the ledger", self.findings > 0),
            )
            if is_wrong
        )

    def _had_nobody(self, call: Call) -> bool:
        """Return whether its only gateway died when it was claimed and not yet let dial."""
        return self.gateways == 1 and call.was_absent

    def figures(self) -> dict[str, Any]:
        """Return what is printed."""
        off = Counter(call.off_seconds for call in self.calls if call.invites)
        answered = [call for call in self.calls if call.carrier_seconds]
        return {
            "seed": self.seed,
            "kills": self.kills,
            "calls_asked_for": len(self.calls),
            "calls_asked_for_a_second": round(len(self.calls) / self.seconds, 1),
            "calls_given_up": sum(
                not call.asked.taken and call.asked.refusal is None for call in self.calls
            ),
            "attempts_failed": dict(
                Counter(failure for call in self.calls for failure in call.asked.failures)
            ),
            "calls_that_reached_the_carrier": sum(call.invites > 0 for call in self.calls),
            # A client may call it off in time, or be told that it is only reserved, or over.
            "taken_and_not_dialled": dict(
                Counter(
                    f"told {call.asked.told}" + (", to be called off" if is_short else "")
                    for call in self.calls
                    for is_short in [call.asked.planned.hang_up_seconds is not None]
                    if call.asked.taken and not call.invites
                )
            ),
            "not_dialled_because": dict(
                Counter(
                    f"{row.disposition} {row.evidence} {row.hangup_cause}"
                    for call in self.calls
                    for row in call.rows
                    if call.asked.taken and not call.invites
                )
            ),
            "calls_answered": len(answered),
            "numbers_dialled_twice": sum(call.invites > 1 for call in self.calls),
            "carrier_seconds": sum(call.carrier_seconds for call in self.calls),
            "billed_seconds": sum(call.billed_seconds for call in self.calls),
            "seconds_off_of_calls": {f"{by:+d}": count for by, count in sorted(off.items())},
            "evidence": dict(
                Counter(row.evidence for call in answered for row in call.rows if row.evidence)
            ),
            "seconds_until_nothing_was_open": round(self.open_seconds, 1),
            "still_open": sum(call.is_open for call in self.calls),
            "ledger_findings": self.findings,
            "faults": len(self.faults),
        }


async def measure(lab: Path, *, kills: int, rate: float, gateways: int, seed: int) -> Outcome:
    """Kill ``gateways`` in turn, ``kills`` times in all, under ``rate`` calls a second."""
    # One each, so that the instants of the kills do not depend on how often clients ask.
    chance, clients, numbers = (random.Random(f"{seed}-{what}") for what in range(3))
    async with (
        stack(lab) as parts,
        gateways_beside(parts, parts.asterisk.directory, gateways) as site,
    ):
        crowd = Crowd(site.ways, clients)
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            load = tasks.create_task(_load(crowd, crowd_numbers(numbers), rate, tasks))
            with progress(is_quiet=False) as bars:
                bar = bars.add_task("kills", total=kills)
                killed = 0
                while killed < kills:
                    service = chance.choice(site.services)
                    killed += await _kill(service, chance, kills - killed)
                    bars.update(bar, completed=killed)
                    if killed == kills:
                        seconds = time.monotonic() - began
                        load.cancel()
                        crowd.lose_patience()
                    await service.start()
                    ready_at = time.monotonic()
            open_seconds = await _until_nothing_is_open(site.meeting.ledger, ready_at)
        calls = await reckoned(site.meeting, crowd.asked)
        findings = await _findings(parts.owner)
    return Outcome(
        seed=seed,
        gateways=gateways,
        kills=killed,
        seconds=seconds,
        calls=calls,
        open_seconds=open_seconds,
        findings=findings,
    )


def tell(faults: Sequence[str]) -> None:
    """Print each call that is wrong."""
    sys.stderr.writelines(f"{fault}\n" for fault in faults)


async def _findings(owner: DatabaseSettings) -> int:
    """Prove the books, which have some hundred thousand entries by now."""
    patient = ProofSettings()
    async with db.pool(patient.database(owner)) as pool:
        return len(await Ledger(pool, call_seconds_max=patient.call_seconds_max).check())


async def _load(
    crowd: Crowd, planned: Iterator[Planned], rate: float, calls: asyncio.TaskGroup
) -> None:
    """Begin so many calls a second, until cancelled, however long each takes."""
    due = time.monotonic()
    while True:
        calls.create_task(crowd.call(next(planned)))
        due += 1 / rate
        await asyncio.sleep(max(0, due - time.monotonic()))


async def _kill(service: Service, chance: random.Random, kills_max: int) -> int:
    """Kill a gateway once it has lived a while, and perhaps again in its starts; count that."""
    await asyncio.sleep(chance.uniform(0, chance.choice(LIVES_SECONDS_MAX)))
    await service.kill()
    kills = 1
    while kills < kills_max and chance.random() < DIES_YOUNG:
        try:
            # A start that is cut short ends in a kill.
            async with asyncio.timeout(chance.uniform(0, START_SECONDS_MAX)):
                await service.start()
        except TimeoutError:
            kills += 1
        else:
            return kills + await _kill(service, chance, kills_max - kills)
    return kills


async def _until_nothing_is_open(ledger: Ledger, since: float) -> float:
    """Return how long after an instant the last reservation was ended, or the patience for it."""
    while time.monotonic() - since < SETTLE_SECONDS_MAX and await ledger.open_dial_outs():
        await asyncio.sleep(0.1)
    return time.monotonic() - since
