"""Outages of one bridge: what was away, from when to when, as far as this gateway can know.

What is noticed is kept until the ledger has it, which may be what is away. Nothing here decides
about a call: it is for people who ask afterwards which calls an outage touched, ``dialout gaps``.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Final
from uuid import uuid4

import structlog

from gateway import metrics
from gateway.core.dial_out import BridgeName
from gateway.core.outage import (
    Outage,
    OutageKind,
    Reading,
    detail_of,
    step_detail,
    steps,
)
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.settlement import from_ms, to_ms

log = structlog.get_logger()

BEAT_SECONDS: Final = 10
"""How often a gateway notes in the ledger that it serves a bridge."""

READING_SECONDS_MAX: Final = 6.0
"""How old the last reading of Asterisk's clock may be while a bridge is served: as old as its
heartbeat, beyond which the gate takes no gateway for alive."""

KEPT_MAX: Final = 100
"""How many outages of a kind are kept for the ledger. Beyond that two are told as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Began:
    """Something is away since then, by Asterisk's clock."""

    ms: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _LinkUp:
    """The link came up then, by the steady clock, to an Asterisk that was up for so long."""

    steady_ms: int
    uptime_seconds: int | None


class Outages:
    """Notices what is away from one bridge, and has the ledger note it.

    Whoever serves the bridge tells it what it sees; none of that waits for anything. ``now`` is
    the time of day of this host, ``steady`` a clock that nobody can set, in seconds.
    """

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ledger: Ledger,
        now: Callable[[], datetime],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bridge = bridge
        self._ledger = ledger
        self._now = now
        self._steady = steady
        self._gateway_id = uuid4()
        self._reading: Reading | None = None
        self._link_up: _LinkUp | None = None
        self._booted_ms: int | None = None
        self._ledger_answered_ms: int | None = None
        self._open: dict[OutageKind, _Began] = {}
        self._kept: defaultdict[OutageKind, list[Outage]] = defaultdict(list)
        self._to_write = asyncio.Event()

    # What is seen.

    def link_up(self, uptime_seconds: int | None) -> None:
        """The link is up; how long it was away is known once Asterisk's clock is."""
        self._link_up = _LinkUp(steady_ms=self._steady_ms(), uptime_seconds=uptime_seconds)

    def link_down(self, reason: str) -> None:
        """The link is gone, since it was last known to work."""
        self._link_up = None
        since = self._asterisk_ms() if self._reading is None else self._reading.asterisk_ms
        self._begin(OutageKind.LINK, since, reason)

    def clock_read(self, asterisk_ms: int, *, asked: float) -> None:
        """Asterisk has told its clock; it was asked when the steady clock said ``asked``."""
        before, reading = self._reading, self._read(asterisk_ms, asked)
        self._reading = reading
        if self._link_up is not None:
            self._link_is_back(self._link_up, reading, before)
            self._link_up = None
            self._to_write.set()  # the bridge is served from here on
        if before is not None:
            for clock, by_ms in steps(before, reading):
                ends = before.asterisk_ms, reading.asterisk_ms
                self._note(OutageKind.CLOCK, min(ends), max(ends), step_detail(clock, by_ms))

    def ledger_answered(self) -> None:
        """The ledger is there."""
        self._ledger_answered_ms = self._steady_ms()
        self._end(OutageKind.LEDGER, self._asterisk_ms())

    def ledger_silent(self, error: str) -> None:
        """The ledger has not answered, since it did for the last time."""
        since = self._ledger_answered_ms
        self._begin(
            OutageKind.LEDGER,
            self._asterisk_ms() if since is None else self._asterisk_ms(since),
            error,
        )

    # What is made of it.

    def _link_is_back(self, up: _LinkUp, reading: Reading, before: Reading | None) -> None:
        """End the outage of the link, and note that of Asterisk if it was not up all the time."""
        up_ms = reading.asterisk_at(up.steady_ms)
        self._end(OutageKind.LINK, up_ms)
        if up.uptime_seconds is None:
            return
        booted_ms = up_ms - up.uptime_seconds * 1000
        if before is None:
            self._booted_ms = booted_ms  # whether that was in an outage, only the ledger knows
        elif booted_ms > before.asterisk_ms:
            self._note(OutageKind.ASTERISK, before.asterisk_ms, booted_ms, "booted since")

    def _begin(self, kind: OutageKind, ms: int, detail: str) -> None:
        if kind not in self._open:
            self._open[kind] = _Began(ms=ms, detail=detail_of(detail))
            log.warning("outage.began", bridge=self._bridge, kind=kind, detail=detail)

    def _end(self, kind: OutageKind, ms: int) -> None:
        began = self._open.pop(kind, None)
        if began is not None:
            self._note(kind, began.ms, ms, began.detail)

    def _note(self, kind: OutageKind, began_ms: int, ended_ms: int, detail: str) -> None:
        """Keep an outage for the ledger."""
        outage = Outage(
            outage_id=uuid4(),
            bridge=self._bridge,
            kind=kind,
            began_at=from_ms(began_ms),
            ended_at=from_ms(max(began_ms, ended_ms)),
            detail=detail,
        )
        self._tell(outage)
        kept = self._kept[kind]
        if len(kept) == KEPT_MAX:
            outage = replace(outage, began_at=min(outage.began_at, kept.pop().began_at))
        kept.append(outage)
        self._to_write.set()

    @staticmethod
    def _tell(outage: Outage) -> None:
        metrics.outage(outage)
        log.info(
            "outage.ended",
            bridge=outage.bridge,
            kind=outage.kind,
            began_at=outage.began_at.isoformat(),
            seconds=outage.seconds,
            detail=outage.detail,
        )

    # What is written.

    async def run(self) -> None:
        """Write what there is to be written, and every ten seconds that the bridge is served."""
        while True:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._to_write.wait()
            except TimeoutError:
                pass
            self._to_write.clear()
            await self._write(stops=False)

    async def stop(self) -> None:
        """Say that this gateway serves the bridge no longer."""
        await self._write(stops=True)

    async def _write(self, *, stops: bool) -> None:
        """Write what can be; the rest is kept for the next time."""
        try:
            for outage in tuple(chain.from_iterable(self._kept.values())):
                await self._ledger.outage_note(outage)
                if outage in self._kept[outage.kind]:  # it may be part of a longer one by now
                    self._kept[outage.kind].remove(outage)
            if self._serves:
                await self._beat(stops=stops)
        except LedgerUnavailable as error:
            log.warning("outages.unwritten", bridge=self._bridge, error=str(error))
        except Exception:
            log.exception("outages.unwritten", bridge=self._bridge)

    @property
    def _serves(self) -> bool:
        """Whether the gate takes this gateway for alive."""
        if self._reading is None or OutageKind.LINK in self._open:
            return False
        return self._steady_ms() - self._reading.answered_ms < READING_SECONDS_MAX * 1000

    async def _beat(self, *, stops: bool) -> None:
        """Note that the bridge is served, and learn until when it was before this gateway."""
        at = from_ms(self._asterisk_ms())
        before = await self._ledger.gateway_serves(
            self._bridge, self._gateway_id, at, stops=stops, beat_seconds=BEAT_SECONDS
        )
        for outage in before.outages:
            self._tell(outage)
        booted_ms, self._booted_ms = self._booted_ms, None
        if booted_ms is None or before.served_until is None:
            return
        if booted_ms > to_ms(before.served_until):
            self._note(OutageKind.ASTERISK, to_ms(before.served_until), booted_ms, "booted since")

    # The clocks.

    def _read(self, asterisk_ms: int, asked: float) -> Reading:
        return Reading(
            asterisk_ms=asterisk_ms,
            gateway_ms=to_ms(self._now()),
            asked_ms=int(asked * 1000),
            answered_ms=self._steady_ms(),
        )

    def _asterisk_ms(self, steady_ms: int | None = None) -> int:
        """Return what Asterisk's clock says now, or said at a moment of the steady clock.

        Before it was ever read, it is taken to be this host's.
        """
        at_ms = self._steady_ms() if steady_ms is None else steady_ms
        if self._reading is None:
            return to_ms(self._now()) - (self._steady_ms() - at_ms)
        return self._reading.asterisk_at(at_ms)

    def _steady_ms(self) -> int:
        return int(self._steady() * 1000)
