"""Keeps calls paid for while they are up: slice after slice, each before the last one ends.

Asterisk cuts a call at the end of what is paid for, and warns its callee before, whether a
gateway is there or not. So nothing here is needed to end a call, only to let it go on, and
whatever fails here fails towards the cut.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from gateway.ami import AmiClient, AmiError, AmiRefused
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.ledger import ExtendOutcome, Extension, Ledger, LedgerUnavailable
from gateway.settlement import names

log = structlog.get_logger()

ASK_AGAIN_SECONDS = 5.0
"""After the ledger had nothing, or did not answer: credits may be bought at any moment."""

EXTENDED_AT_ONCE = 2
"""Slices that are asked for at once: they are not urgent, and claims and settlements are."""

LATE_SECONDS = 0.5
"""How long Asterisk may take to hear of a limit: until it has, the call may outlast it by that."""

TELLINGS = 3
"""How often it is told a limit that it was late to hear of."""

WARNING_CHANNEL = "Local/s@dialout-warning/n"
WARNING_SECONDS_MAX = 15_000
"""How long a warning may lie ahead: longer than the gate lets any call live."""


@dataclass(slots=True, kw_only=True, eq=False)
class PaidCall:
    """A call that is up, and how long it is paid for.

    ``leg`` is the uniqueid of the telephone's leg, ``answered_at_ms`` of the Asterisk host's
    clock. ``limit_seconds`` count from the answer, as the ledger has them; ``kept_seconds`` are
    what Asterisk was told last, None if that is not known. ``is_stale`` says that another gateway
    may have set more aside since, and moved the limit. ``more`` says whether the ledger may
    have more, ``outcome`` what it said last. ``warns`` says that the channels are there that
    warn the callee. ``moved`` is called with the seconds from now on whenever the limit was
    moved.
    """

    key: DialOutKey
    leg: str
    answered_at_ms: int
    slices: int
    limit_seconds: Seconds
    kept_seconds: Seconds | None
    more: bool
    warns: bool
    moved: Callable[[float], None]
    outcome: ExtendOutcome | None = None
    is_stale: bool = False

    def left_ms(self, clock_ms: int) -> int:
        """Return how long the call is paid for from an instant on."""
        return self.answered_at_ms + self.limit_seconds * 1000 - clock_ms


class Slices:
    """One task a call, which sleeps until the next slice is due.

    ``warnings`` are the seconds before the end of a call at which its callee is told, the
    largest first. The next slice is asked for ``ahead_seconds`` before the first of them, so
    that nobody is warned of an end that does not come.
    """

    def __init__(
        self,
        *,
        ami: AmiClient,
        ledger: Ledger,
        now: Callable[[], datetime],
        warnings: tuple[int, ...],
        ahead_seconds: int,
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._now = now
        self._warnings = warnings
        self._ahead_ms = (max(warnings, default=0) + ahead_seconds) * 1000
        self._extending = asyncio.Semaphore(EXTENDED_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def follow(self, call: PaidCall) -> None:
        """Keep a call paid for until it is left. One that is followed already is not touched."""
        if call.leg not in self._tasks:
            self._tasks[call.leg] = asyncio.create_task(self._keep(call))

    def leave(self, leg: str) -> None:
        """Ask for nothing more for the call with this leg, if it is followed."""
        task = self._tasks.pop(leg, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Leave every call. Asterisk keeps their limits."""
        tasks = list(self._tasks.values())
        for leg in list(self._tasks):
            self.leave(leg)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, call: PaidCall) -> None:
        while True:
            try:
                if await self._go_on(call):
                    continue
                return
            except (AmiError, LedgerUnavailable) as error:
                log.warning("reservation.not_extended", error=str(error), **names(call.key))
            except Exception:
                log.exception("reservation.not_extended", **names(call.key))
            call.is_stale = True
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _go_on(self, call: PaidCall) -> bool:
        """Take the call one slice further; return whether there is another step to take.

        Raises ``AmiError`` or ``LedgerUnavailable``; the same step may be taken again.
        """
        if call.is_stale:
            await self._catch_up(call)
        if call.kept_seconds != call.limit_seconds:
            await self._move_limit(call)
        is_warned = call.warns or not self._warnings or await self._warn(call)
        if not call.more:
            if not is_warned:
                await asyncio.sleep(ASK_AGAIN_SECONDS)
            return not is_warned
        left_ms = call.left_ms(await self._ami.ping())
        seconds = max(0, left_ms - self._ahead_ms) / 1000
        if not is_warned and seconds > ASK_AGAIN_SECONDS:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            return True
        await asyncio.sleep(seconds)
        await self._extend(call)
        return True

    async def _catch_up(self, call: PaidCall) -> None:
        """Learn from the ledger how long the call is paid for by now.

        A limit of before would take back what another gateway has moved it to since.
        """
        dial_out = await self._ledger.dial_out(call.key)
        if dial_out is None or dial_out.ended_at is not None:
            call.more, call.kept_seconds = False, call.limit_seconds
            return
        assert dial_out.slices is not None, "a reservation has its slices"
        assert dial_out.limit_seconds is not None, "a reservation has bounds"
        assert dial_out.talk_seconds_max is not None, "a reservation has bounds"
        call.slices, call.limit_seconds = dial_out.slices, dial_out.limit_seconds
        call.more = dial_out.limit_seconds < dial_out.talk_seconds_max
        call.kept_seconds = None
        call.is_stale = False

    async def _extend(self, call: PaidCall) -> None:
        """Ask the ledger for the next slice; wait a while if it had none."""
        async with self._extending:
            extension = await self._ledger.extend(call.key, slices=call.slices, at=self._now())
        if extension.limit_seconds is None or extension.slices is None:
            call.more = False
            return
        moves = extension.limit_seconds != call.limit_seconds
        if moves or extension.outcome is not call.outcome:
            _log_extension(call.key, extension)
        call.outcome = extension.outcome
        call.slices = extension.slices
        call.limit_seconds = extension.limit_seconds
        call.more = extension.more
        if call.more and not moves:
            await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _move_limit(self, call: PaidCall) -> None:
        """Have Asterisk cut the call when it is no longer paid for, and hardly later.

        What passes until Asterisk has heard of it comes on top. So all that has passed since the
        ping was asked is taken off, and what took long after that is said again.
        """
        time = asyncio.get_running_loop().time
        for _ in range(TELLINGS):
            asked_at = time()
            clock_ms = await self._ami.ping()
            told_at = time()
            left_ms = max(1, call.left_ms(clock_ms) - round((told_at - asked_at) * 1000))
            await self._ami.limit(call.leg, milliseconds=left_ms)
            if time() - told_at < LATE_SECONDS:
                break
        else:
            log.warning("call.limit_late", seconds=round(time() - told_at, 1), **names(call.key))
        call.kept_seconds = call.limit_seconds
        log.info("call.limit_moved", limit_seconds=call.limit_seconds, **names(call.key))
        call.moved(left_ms / 1000)

    async def _warn(self, call: PaidCall) -> bool:
        """Have Asterisk warn the callee by itself from now on; return whether it will.

        A call without warnings is better than one that is cut early; so a fault is none of
        the slice's, and the next step tries again. Whoever is refused may not be the first to
        ask: another gateway may have been, or this one, whose answer was lost.
        """
        try:
            call.warns = await self._whisper(call)
        except AmiError as error:
            log.warning("call.unwarned", error=str(error), **names(call.key))
        return call.warns

    async def _whisper(self, call: PaidCall) -> bool:
        """Ask for the channels that warn the callee; return True once they are there.

        Raises ``AmiError`` if they are not, or if that is not known.
        """
        try:
            await self._ami.whisper(
                leg=call.leg,
                channel=WARNING_CHANNEL,
                variables={
                    "DIALOUT_LEG": call.leg,
                    "DIALOUT_WARNINGS": "-".join(map(str, self._warnings)),
                },
                timeout_ms=WARNING_SECONDS_MAX * 1000,
                channel_id=call.key.warned_uniqueid,
                other_channel_id=call.key.warning_uniqueid,
            )
        except AmiRefused:
            channels = {channel.uniqueid for channel in await self._ami.channels()}
            if call.key.warning_uniqueid not in channels:
                raise
        return True


def _log_extension(key: DialOutKey, extension: Extension) -> None:
    extended = extension.outcome is ExtendOutcome.EXTENDED
    log.info(
        "reservation.extended" if extended else "reservation.not_extended",
        outcome=extension.outcome.value,
        slices=extension.slices,
        talk_seconds=extension.talk_seconds,
        limit_seconds=extension.limit_seconds,
        **names(key),
    )
