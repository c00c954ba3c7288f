"""Telephones that call in: lets them in, and has those that are charged for paid and settled.

A leg waits in the dialplan and looks for the gateway's answer, so an answer that comes too
late, or twice, does nothing. What it is charged for begins when it is let in and ends with its
channel; Asterisk keeps its limit, and a record of its end, as of any call.

Events are no proof: whoever may raise one may name any channel in it. What a leg asks, and when
it was let in, is therefore read back from its channel, where only the dialplan writes.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID, uuid5

import structlog

from gateway.admission import Admission
from gateway.ami import (
    AmiClient,
    AmiError,
    AmiRefused,
    DialInAdmitted,
    DialInReached,
    Event,
    Hangup,
)
from gateway.core.call import Ending
from gateway.core.causes import Disposition
from gateway.core.dial_in import Free
from gateway.core.dial_out import BridgeName, DialOut, DialOutKind, DialOutRequest
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.rating import Seconds
from gateway.core.reasons import Reason
from gateway.core.verdict import CAP_GRACE_SECONDS
from gateway.ledger import RequestOutcome
from gateway.settlement import Settlement, names, to_ms
from gateway.slices import PaidCall, Slices
from gateway.steps import Steps
from gateway.waiting_room import OTHERS_SECONDS, Overloaded

log = structlog.get_logger()

OUTCOME: Final = "DIALOUT_OUTCOME"
"""The variable that a waiting leg looks at."""

ASKED: Final = "DIALOUT_ASKED"
"""The variable of a leg that waits, and what for; once it waits no more, its visit alone."""

ADMITTED: Final = "DIALOUT_ADMITTED_MS"
"""The variable of a leg that was let in, and when: epoch milliseconds of Asterisk's clock."""

ANSWER_SECONDS_MAX: Final = 2.5
"""After how long a leg is not answered any more: it waits three seconds, and then goes on."""

UNADMITTED_SECONDS: Final = 10.0
"""After how long a leg that was to be let in, and was not, never will be."""

STEPS_MAX: Final = 500
"""What is done at once for legs. With more in hand, no leg that asks is answered."""

OVERLOADED: Final = "overloaded"
"""Tells a leg that nobody decides on it now: its dialplan goes on as without a gateway."""

RETRY_SECONDS: Final = 5.0
UNADMITTED: Final = "unadmitted"
CAUSE_NORMAL_CLEARING: Final = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Leg:
    """A telephone that has called in. Instants without a unit are on the event loop's clock.

    ``arrived_at_ms`` is when it asked, by Asterisk's clock. ``dial_out`` is its row, None until
    it is decided that it is charged for. ``is_witnessed`` says that nothing since its arrival
    can have been missed. From ``admit_by`` on it is looked whether it was let in at all, and
    from ``cap_at`` on, if it was, it is hung up.
    """

    uniqueid: str
    is_witnessed: bool
    arrived_at_ms: int | None = None
    dial_out: DialOut | None = None
    admitted_at_ms: int | None = None
    is_gone: bool = False
    admit_by: float = float("inf")
    cap_at: float = float("inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class DialIns:
    """The legs of one bridge. ``in_doubt`` is set when one has ended and nothing proves how."""

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        admission: Admission,
        settlement: Settlement,
        slices: Slices,
        in_doubt: asyncio.Event,
        now: Callable[[], datetime],
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._admission = admission
        self._settlement = settlement
        self._slices = slices
        self._in_doubt = in_doubt
        self._now = now
        self._legs: dict[str, Leg] = {}
        self._steps = Steps(fault="call.step_failed")

    # What Asterisk reports.

    def handle(self, event: Event) -> None:
        """Apply one event. Events must come in the order of the wire; never waits."""
        match event:
            case DialInReached():
                self._reached(event)
            case DialInAdmitted():
                self._admitted(event)
            case Hangup():
                self._hung_up(event)
            case _:
                pass

    def link_lost(self) -> None:
        """From now on events may be missed: no leg in hand is fully witnessed any more."""
        for leg in self._legs.values():
            leg.is_witnessed = False

    # What the reconciliation has found.

    def follows(self, uniqueid: str) -> bool:
        """Return whether this gateway has the leg in hand and has seen all of it."""
        leg = self._legs.get(uniqueid)
        return leg is not None and leg.is_witnessed

    def witnessed_keys(self) -> frozenset[DialOutKey]:
        """Return the keys of the legs of which everything was seen, and no end."""
        return frozenset(
            leg.dial_out.request.key
            for leg in self._legs.values()
            if leg.dial_out is not None and leg.is_witnessed and not leg.is_gone
        )

    def live_keys(self) -> Iterator[DialOutKey]:
        """Yield the keys of the legs that are charged for."""
        rows = (leg.dial_out for leg in self._legs.values())
        return (row.request.key for row in rows if row is not None)

    async def attach(self, dial_out: DialOut, *, warns: bool) -> None:
        """Follow a leg that was found alive: its channel exists, its past was not seen.

        ``warns`` says that the channels are there that warn its caller. Raises ``AmiError`` and
        ``LedgerUnavailable``.
        """
        uniqueid = dial_out.channel_uniqueid
        leg = self._legs.get(uniqueid)
        if leg is None:
            leg = self._legs[uniqueid] = Leg(uniqueid=uniqueid, is_witnessed=False)
            _grant(leg, dial_out)
        if leg.dial_out is None or leg.is_witnessed or leg.is_gone:
            return
        async with leg.lock:
            await self._follow_up(leg, dial_out, warns=warns)

    async def end(self, key: DialOutKey, uniqueid: str, ending: Ending) -> None:
        """Settle a leg that is proved to be over, and follow it no longer."""
        await self._settlement.end(key, ending)
        self._forget(uniqueid)

    # What the reaper does.

    async def hang_up_overdue(self) -> None:
        """Hang up what has outlived the limit that Asterisk was given."""
        time = _time()
        for leg in list(self._legs.values()):
            if leg.cap_at > time or leg.dial_out is None or leg.admitted_at_ms is None:
                continue
            log.error("call.overdue", **names(leg.dial_out.request.key))
            leg.cap_at = time + RETRY_SECONDS
            try:
                await self._ami.hangup(leg.uniqueid, cause=CAUSE_NORMAL_CLEARING)
            except AmiRefused:
                self._doubt(leg, leg.dial_out.request.key)
            except AmiError as error:
                log.warning("call.hangup_failed", error=str(error), channel=leg.uniqueid)

    def look_for_unadmitted(self) -> None:
        """Give back what is set aside for legs that should be in by now, and are not."""
        time = _time()
        for leg in self._legs.values():
            if leg.admit_by <= time and not leg.is_gone:
                leg.admit_by = time + RETRY_SECONDS
                self._steps.spawn(self._look(leg))

    async def drain(self, seconds: float) -> None:
        """Let the steps in hand finish; after ``seconds`` they are given up, and lose nothing."""
        await self._steps.drain(seconds)

    # The steps of a leg.

    def _reached(self, event: DialInReached) -> None:
        if len(self._steps) >= STEPS_MAX:
            log.error("dial_in.ignored", channel=event.channel)
        else:
            self._steps.spawn(self._decide(event))

    async def _decide(self, event: DialInReached) -> None:
        """Answer a leg that waits; without an answer, its dialplan knows what to do."""
        try:
            if not await self._waits(event):
                return
        except AmiError as error:
            log.warning("dial_in.unanswered", error=str(error), channel=event.channel)
            return
        if event.uniqueid in self._legs:
            _log_forged(event)
            return
        leg = Leg(uniqueid=event.uniqueid, is_witnessed=True, arrived_at_ms=event.at)
        self._legs[event.uniqueid] = leg
        async with leg.lock:
            try:
                await self._answer(leg, event)
            finally:
                if leg.dial_out is None:
                    self._forget(leg.uniqueid)

    async def _waits(self, event: DialInReached) -> bool:
        """Return whether the channel itself says that it waits for what the event asks."""
        try:
            asked = await self._ami.variable(ASKED, channel=event.uniqueid)
        except AmiRefused:
            asked = ""  # there is no such channel
        if asked == event.visit:
            log.info("dial_in.too_late", channel=event.channel)
        elif asked != _asked(event):
            _log_forged(event)
        return asked == _asked(event)

    async def _answer(self, leg: Leg, event: DialInReached) -> None:
        try:
            word = await self._word(leg, event)
            if word is None:
                return
            is_told = await self._tells(leg, event, word)
        except AmiError as error:
            # It may have been told: whether it was let in is looked for later.
            log.warning("dial_in.unanswered", error=str(error), channel=event.channel)
            return
        if not is_told and leg.dial_out is not None:
            await self._give_back(leg, leg.dial_out)

    async def _word(self, leg: Leg, event: DialInReached) -> str | None:
        """Return what the leg is told; None if another gateway tells it."""
        request = _request(event, self._bridge)
        if request is None:
            return Reason.TENANT_UNKNOWN
        try:
            self._admission.check_room(len(self._legs) - 1)
            admitted = await self._admission.admit_dial_in(
                request, caller=event.caller, at=self._now(), uniqueid=event.uniqueid
            )
        except Overloaded as error:
            log.info("dial_in.overloaded", error=str(error), **names(request.key))
            await asyncio.sleep(OTHERS_SECONDS)
            return OVERLOADED if await self._waits(event) else None
        if isinstance(admitted, Free):
            log.info("dial_in.free", **names(request.key))
            return "free"
        outcome, dial_out = admitted
        if outcome is RequestOutcome.UNKNOWN_TENANT or dial_out is None:
            log.info("dial_in.refused", reason=Reason.TENANT_UNKNOWN.value, **names(request.key))
            return Reason.TENANT_UNKNOWN
        if outcome is RequestOutcome.RESERVED:
            _grant(leg, dial_out)
            log.info("dial_in.reserved", **dial_out.summary())
            return f"admit:{request.key.hex}:{_limit_seconds(dial_out) * 1000}"
        if outcome is RequestOutcome.REFUSED:
            log.info("dial_in.refused", **dial_out.summary())
            return dial_out.reason
        return None

    async def _tells(self, leg: Leg, event: DialInReached, word: str) -> bool:
        """Tell a leg in time; return False if it was not told. ``AmiError``: nobody knows."""
        if leg.is_gone or await self._is_late(event):
            log.info("dial_in.too_late", channel=event.channel)
            return False
        try:
            await self._ami.set_variable(OUTCOME, f"{event.visit}:{word}", channel=leg.uniqueid)
        except AmiRefused as refusal:
            log.info("dial_in.untold", error=str(refusal), channel=event.channel)
            return False
        return True

    async def _is_late(self, event: DialInReached) -> bool:
        """Return whether the leg may have gone on before it sees an answer."""
        if event.at is None:
            return False
        return await self._ami.ping() - event.at > ANSWER_SECONDS_MAX * 1000

    def _admitted(self, event: DialInAdmitted) -> None:
        leg = self._legs.get(event.uniqueid)
        if leg is None or leg.dial_out is None:
            return
        if event.key_hex != leg.dial_out.request.key.hex:
            _log_forged(event)
        else:
            self._steps.spawn(self._admit(leg, leg.dial_out, event))

    async def _admit(self, leg: Leg, dial_out: DialOut, event: DialInAdmitted) -> None:
        """Have a leg that was let in paid for, if its channel says so, too."""
        async with leg.lock:
            if self._legs.get(leg.uniqueid) is not leg or leg.admitted_at_ms is not None:
                return
            try:
                admitted_at_ms = await self._admitted_at_ms(leg)
            except AmiError as error:
                # Its record knows if it is gone already, and a later look if it is not.
                log.info("dial_in.unproved", error=str(error), uniqueid=leg.uniqueid)
                leg.is_witnessed = False
                return
            is_said_before = event.at is not None and event.at < event.admitted_at_ms
            if admitted_at_ms != event.admitted_at_ms or is_said_before:
                _log_forged(event)
                return
            log.info("dial_in.admitted", **names(dial_out.request.key))
            self._pay(leg, dial_out, event.admitted_at_ms, is_known=True, warns=False)

    async def _look(self, leg: Leg) -> None:
        """Find out whether a leg was let in of which nothing was heard."""
        async with leg.lock:
            if self._legs.get(leg.uniqueid) is not leg or leg.admitted_at_ms is not None:
                return
            assert leg.dial_out is not None, "a leg has its row before it has a deadline"
            try:
                await self._follow_up(leg, leg.dial_out, warns=False)
            except AmiError as error:
                log.warning("dial_in.unknown", error=str(error), uniqueid=leg.uniqueid)

    async def _follow_up(self, leg: Leg, dial_out: DialOut, *, warns: bool) -> None:
        """Have a leg paid for that is in, and give back what one has that never came in.

        One that is gone, its end or the reconciliation settles. Raises ``AmiError`` and
        ``LedgerUnavailable``.
        """
        if leg.is_gone:
            return
        admitted_at_ms = leg.admitted_at_ms or _noted_at_ms(dial_out)
        try:
            admitted_at_ms = admitted_at_ms or await self._admitted_at_ms(leg)
        except AmiRefused:
            self._doubt(leg, dial_out.request.key)
            return
        if admitted_at_ms is not None:
            self._pay(leg, dial_out, admitted_at_ms, is_known=False, warns=warns)
        elif self._is_over_time(dial_out):
            await self._give_back(leg, dial_out)

    def _is_over_time(self, dial_out: DialOut) -> bool:
        return self._now() - dial_out.requested_at > timedelta(seconds=UNADMITTED_SECONDS)

    def _pay(
        self, leg: Leg, dial_out: DialOut, admitted_at_ms: int, *, is_known: bool, warns: bool
    ) -> None:
        """Have a leg that was let in paid for; ``is_known`` says that Asterisk has its limit."""
        assert dial_out.slices is not None, "a reservation has its slices"
        assert dial_out.talk_seconds_max is not None, "a reservation has bounds"
        limit_seconds = _limit_seconds(dial_out)
        key = dial_out.request.key
        if leg.admitted_at_ms is None:
            leg.admitted_at_ms = admitted_at_ms
            leg.admit_by = float("inf")
            _limit_moved(leg, limit_seconds)
            self._steps.spawn(self._settlement.note_answer(key, admitted_at_ms))
        self._slices.follow(
            PaidCall(
                key=key,
                leg=leg.uniqueid,
                answered_at_ms=admitted_at_ms,
                slices=dial_out.slices,
                limit_seconds=limit_seconds,
                kept_seconds=limit_seconds,
                is_stale=not is_known,
                more=limit_seconds < dial_out.talk_seconds_max,
                warns=warns,
                moved=partial(_limit_moved, leg),
            )
        )

    def _hung_up(self, event: Hangup) -> None:
        leg = self._legs.get(event.uniqueid)
        if leg is None or leg.is_gone:
            return
        leg.is_gone = True
        self._slices.leave(leg.uniqueid)
        at_ms = to_ms(self._now()) if event.at is None else event.at
        self._steps.spawn(self._finish(leg, event.cause, at_ms))

    async def _finish(self, leg: Leg, cause: int, at_ms: int) -> None:
        """Settle a leg whose channel is gone, on what was seen or on the record."""
        async with leg.lock:
            if self._legs.get(leg.uniqueid) is not leg or leg.dial_out is None:
                return
            key = leg.dial_out.request.key
            ending = _ending(leg, cause, at_ms) or await self._settlement.recorded_ending(
                key, leg.uniqueid
            )
            if ending is None:
                self._doubt(leg, key)
            else:
                await self.end(key, leg.uniqueid, ending)

    async def _admitted_at_ms(self, leg: Leg) -> int | None:
        """Return when a leg was let in, by its channel; None if it was not.

        That is between its arrival and now, by Asterisk's clock, or it is no such instant.
        Raises ``AmiError``, ``AmiRefused`` if the channel is gone.
        """
        text = await self._ami.variable(ADMITTED, channel=leg.uniqueid)
        if len(text) != len("1234567890123") or not text.isdecimal():
            return None
        at_ms = int(text)
        return at_ms if (leg.arrived_at_ms or 0) <= at_ms <= await self._ami.ping() else None

    async def _give_back(self, leg: Leg, dial_out: DialOut) -> None:
        """Void what was reserved for a leg that is not let in by it."""
        log.warning("dial_in.unadmitted", **names(dial_out.request.key))
        await self._settlement.give_back(
            dial_out.request.key,
            Disposition.CANCELLED if leg.is_gone else Disposition.FAILED,
            UNADMITTED,
            claimed_as=dial_out.released_at,
        )
        self._forget(leg.uniqueid)

    def _doubt(self, leg: Leg, key: DialOutKey) -> None:
        """Leave a leg to the reconciliation: what was seen does not prove how it ended."""
        log.warning("call.end_unproved", **names(key))
        self._forget(leg.uniqueid)
        self._in_doubt.set()

    # Bookkeeping.

    def _forget(self, uniqueid: str) -> None:
        self._legs.pop(uniqueid, None)
        self._slices.leave(uniqueid)


def _request(event: DialInReached, bridge: BridgeName) -> DialOutRequest | None:
    """Return what a leg asks for; None if it names no possible tenant.

    The visit gives it its id, so that two gateways that see it make one dial-in of it.
    """
    try:
        tenant_id = UUID(event.tenant)
    except ValueError:
        return None
    return DialOutRequest(
        key=DialOutKey(
            tenant_id=tenant_id, dial_out_id=uuid5(tenant_id, f"{event.uniqueid}/{event.visit}")
        ),
        kind=DialOutKind.DIAL_IN,
        organizer_id=OrganizerId(event.organizer),
        initiator_id=None,
        conference_id=event.conference,
        number_typed=event.number,
        bridge=bridge,
    )


def _ending(leg: Leg, cause: int, at_ms: int) -> Ending | None:
    """Return how a leg ended, or None if what was seen does not prove it."""
    if leg.admitted_at_ms is None and not leg.is_witnessed:
        return None
    is_answered = leg.admitted_at_ms is not None
    return Ending(
        disposition=Disposition.ANSWERED if is_answered else Disposition.CANCELLED,
        hangup_cause=cause,
        answered_at_ms=leg.admitted_at_ms,
        ended_at_ms=at_ms,
        evidence="events",
    )


def _asked(event: DialInReached) -> str:
    """Return what the dialplan keeps of a question, in its words."""
    said_of_meeting = (event.tenant, event.organizer, event.conference)
    return ":".join((event.visit, event.number, event.caller, *said_of_meeting))


def _log_forged(event: DialInReached | DialInAdmitted) -> None:
    log.error("gate.forged", uniqueid=event.uniqueid)


def _noted_at_ms(dial_out: DialOut) -> int | None:
    return None if dial_out.answered_at is None else to_ms(dial_out.answered_at)


def _grant(leg: Leg, dial_out: DialOut) -> None:
    leg.dial_out = dial_out
    leg.admit_by = _time() + UNADMITTED_SECONDS


def _limit_seconds(dial_out: DialOut) -> Seconds:
    assert dial_out.limit_seconds is not None, "a reservation has bounds"
    return dial_out.limit_seconds


def _limit_moved(leg: Leg, seconds: float) -> None:
    """Take a leg for overdue no sooner than Asterisk cuts it, and not much later."""
    leg.cap_at = _time() + seconds + 2 * CAP_GRACE_SECONDS


def _time() -> float:
    return asyncio.get_running_loop().time()
