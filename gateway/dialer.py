"""Drives each call: Asterisk's reports go into ``core.call``, what follows to ledger and AMI.

Events are applied at once and in order, by one consumer; nothing in ``handle`` waits.
What has to wait (a claim, a settlement) runs as a task of its own, and a lock a call
keeps the tasks of one call from overtaking each other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4, uuid5

import structlog

from gateway.admission import Admission
from gateway.ami import (
    AmiClient,
    AmiError,
    AmiRefused,
    ConferenceChanged,
    DialBegin,
    DialEnd,
    DialState,
    Event,
    GateReached,
    Hangup,
    InterceptReached,
    OriginateResponse,
)
from gateway.core.call import Call, CallEvent, CallState, Ending
from gateway.core.causes import CAUSE_REFUSED, Disposition, is_answer
from gateway.core.dial_out import (
    BridgeName,
    DialOut,
    DialOutKind,
    DialOutRequest,
    DialOutState,
)
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.meeting_name import spellable
from gateway.core.progress import Stage
from gateway.core.reasons import Reason
from gateway.core.verdict import Verdict
from gateway.ledger import Claim, ClaimOutcome, Ledger, LedgerUnavailable, RequestOutcome
from gateway.live_calls import LiveCall, LiveCalls
from gateway.progress import Progress
from gateway.settlement import EXPIRED, Settlement, from_ms, names, to_ms
from gateway.slices import PaidCall, Slices

log = structlog.get_logger()

GATE_CONTEXT = "dialout-gate"
RELEASE_CONTEXT = "dialout-release"
REFUSE_CONTEXT = "dialout-refuse"
JOIN_CONTEXT = "dialout-join"
TRUNK_CHANNELS = "PJSIP/dialout-trunk-"

CAUSE_NORMAL_CLEARING = 16
CLAIM_SECONDS_MAX = 2.0
"""How old a claim may be when its channel reaches the gate. Less than the time between the
two lists of channels that prove a call absent, or another gateway might have voided it."""

TAKE_OVER_SECONDS = CLAIM_SECONDS_MAX + 0.5
LOOK_SECONDS = 0.1
"""How long a reservation of another gateway may stay unclaimed before that gateway is taken for
dead, and how often it is looked at meanwhile. A claim that takes longer lets nobody dial."""

NOT_ORIGINATED = "not_originated"
NEVER_BEGUN = frozenset({NOT_ORIGINATED, EXPIRED})
"""Evidence of dial-outs that ended by a fault of ours, before anything was dialled."""

HANGUP_RETRY_SECONDS = 5.0
"""When a hangup that Asterisk may not have heard is asked for again."""

GATE_SECONDS_MAX = 4
"""The gate's own bound and a little: how much longer than the ringing an Originate may last."""


class BridgeUnavailable(Exception):
    """The conference bridge cannot be reached. Nothing was begun; the same id may be used again."""


class CallNotPlaced(Exception):
    """The conference bridge would not take the call. The dial-out has ended; a new id is needed."""


class CancelOutcome(StrEnum):
    """What became of a dial-out that was to be ended unless somebody had answered."""

    CANCELLED = "cancelled"
    ANSWERED = "answered"
    OVER = "over"


class Dialer:
    """Places calls, answers the gate, and settles what has ended."""

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        admission: Admission,
        settlement: Settlement,
        slices: Slices,
        progress: Progress,
        now: Callable[[], datetime],
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._admission = admission
        self._settlement = settlement
        self._slices = slices
        self._progress = progress
        self._now = now
        # OriginateResponse goes to every session, so that it must name the one it is for.
        self._mark = f"-{uuid4().hex}"
        self._steps: set[asyncio.Task[None]] = set()
        self.calls = LiveCalls()
        """The calls in hand, for those who ask what a channel is."""
        self.in_doubt = asyncio.Event()
        """Set when a call has ended and nothing seen proves how; the reconciliation clears it."""

    # What clients ask for.

    async def place(self, request: DialOutRequest) -> tuple[RequestOutcome, DialOut | None]:
        """Decide the request and, if it may be made and paid, have Asterisk begin the call.

        Returns when the trunk is being dialled; whether the telephone answers shows later.
        Not before, because the work of answering the client would delay the ringing.
        A request whose key was used before changes nothing and returns what became of it; of
        several gateways that are asked at once, whichever reserves the call begins it.

        Raises ``BridgeUnavailable``, or ``LedgerUnavailable`` when the ledger did not answer:
        ask again with the same key. Raises ``CallNotPlaced``: ask again with a new one.
        """
        if not self._ami.ready:
            raise BridgeUnavailable
        outcome, dial_out = await self._admission.admit(request, at=self._now())
        if outcome in (RequestOutcome.REFUSED, RequestOutcome.UNKNOWN_TENANT):
            _log_refusal(request, dial_out)
        if dial_out is None or dial_out.state is not DialOutState.RESERVED:
            if dial_out is not None and dial_out.evidence in NEVER_BEGUN:
                raise CallNotPlaced
            return outcome, dial_out
        if outcome is RequestOutcome.EXISTS_WITH_DIFFERENT_TERMS:
            return outcome, dial_out
        if dial_out.request.bridge != request.bridge:
            return outcome, dial_out  # it was asked for before, and is another bridge's to place
        asked = replace(dial_out.request, asker_uniqueid=request.asker_uniqueid)
        dial_out = replace(dial_out, request=asked)
        if outcome is not RequestOutcome.RESERVED:
            return outcome, await self.dial(dial_out)
        log.info("dial_out.reserved", **dial_out.summary())
        return outcome, await self._dialled(await self._originate(dial_out), dial_out)

    async def dial(self, dial_out: DialOut) -> DialOut:
        """See to it that a call begins that was reserved before; return what is known then.

        Whoever reserved it has some time to begin it. If nobody has by then, a gateway has died
        in between, and the call is begun here.

        Raises ``CallNotPlaced``, and ``LedgerUnavailable`` as ``place`` does.
        """
        dial_out = await self._moved_on(dial_out)
        if dial_out.evidence in NEVER_BEGUN:
            raise CallNotPlaced
        if dial_out.state is not DialOutState.RESERVED:
            return dial_out
        live = self.calls.originated(dial_out.request.key.gate_uniqueid)
        if live is None:
            log.warning("dial_out.taken_over", **dial_out.summary())
            live = await self._originate(dial_out, takes_over=True)
        return await self._dialled(live, dial_out)

    async def _moved_on(self, dial_out: DialOut) -> DialOut:
        """Return a reserved dial-out once it is so no more, or was originated here, or never is."""
        key = dial_out.request.key
        time = asyncio.get_running_loop().time
        deadline = time() + TAKE_OVER_SECONDS
        while self.calls.originated(key.gate_uniqueid) is None and time() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            known = await self._ledger.dial_out(key)
            if known is not None and known.state is not DialOutState.RESERVED:
                return known
        return dial_out

    async def _dialled(self, live: LiveCall, dial_out: DialOut) -> DialOut:
        """Return what is known of a call once its trunk is being dialled, or will not be."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.dialled.wait(), GATE_SECONDS_MAX)
        with contextlib.suppress(LedgerUnavailable):
            return await self._ledger.dial_out(live.call.key) or dial_out
        return dial_out

    async def cancel(self, key: DialOutKey) -> DialOut | None:
        """End the dial-out wherever it is; return its row, or None if there is none.

        What has not reached the trunk never will; what rings or talks is hung up, again and
        again until Asterisk has heard it, and is settled when Asterisk reports the hangup.

        Raises ``BridgeUnavailable`` if the call is not ours to follow yet and Asterisk does
        not answer, and ``LedgerUnavailable``.
        """
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.state in (DialOutState.REFUSED, DialOutState.ENDED):
            return dial_out
        await self._keep_from_trunk(dial_out)
        await self._clear(dial_out)
        return await self._ledger.dial_out(key)

    async def cancel_unanswered(self, key: DialOutKey) -> CancelOutcome:
        """End the dial-out as ``cancel`` does, but only while nobody has answered.

        A telephone that answers in this very moment is hung up, and billed what it lasted.
        """
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.state in (DialOutState.REFUSED, DialOutState.ENDED):
            return CancelOutcome.OVER
        live = self.calls.at_gate(dial_out.channel_uniqueid)
        if live is not None and live.cancelled:
            return CancelOutcome.CANCELLED
        if dial_out.state is DialOutState.ANSWERED or (live is not None and live.is_answered):
            return CancelOutcome.ANSWERED
        if live is None:
            await self._keep_from_trunk(dial_out)
            await self._clear(dial_out)
            return CancelOutcome.CANCELLED
        is_ending = self.abandon(dial_out.channel_uniqueid)
        return CancelOutcome.CANCELLED if is_ending else CancelOutcome.OVER

    async def _keep_from_trunk(self, dial_out: DialOut) -> None:
        """Have a call that is not let onto the trunk yet never be."""
        live = self.calls.at_gate(dial_out.channel_uniqueid)
        if live is not None:
            live.cancel()
        if dial_out.state is DialOutState.RESERVED:
            key = dial_out.request.key
            await self._settlement.give_back(key, Disposition.CANCELLED, "cancelled")

    async def _clear(self, dial_out: DialOut) -> None:
        """Hang a call up; raise ``BridgeUnavailable`` if nobody would try again."""
        gate_uniqueid = dial_out.channel_uniqueid
        is_followed = gate_uniqueid in self.calls
        hung_up = await self._hang_up(gate_uniqueid, CAUSE_NORMAL_CLEARING)
        if hung_up is None and not is_followed:
            raise BridgeUnavailable

    # What the guard asks for.

    async def drop(self, gate_uniqueid: str) -> bool:
        """Hang a call up, again and again until Asterisk has heard it; False if it has ended."""
        live = self.calls.at_gate(gate_uniqueid)
        if live is None:
            return False
        live.cancel()
        return await self._hang_up(gate_uniqueid, CAUSE_NORMAL_CLEARING) is not False

    # What the abandonment and the keypad ask for.

    def abandon(self, gate_uniqueid: str) -> bool:
        """Have a call end if nobody has answered it yet; return whether that was so. Never waits.

        False also for one that is being ended already. What rings is hung up, again and again
        until Asterisk has heard it; what has not reached the trunk never will. A telephone
        that answers in this very moment is hung up, too, and billed what it lasted.
        """
        live = self.calls.at_gate(gate_uniqueid)
        if live is None or not live.is_unanswered:
            return False
        live.cancel(HANGUP_RETRY_SECONDS)
        self._spawn(self._abandon(live))
        return True

    # What Asterisk reports.

    def handle(self, event: Event) -> None:
        """Apply one event. Events must come in the order of the wire; never waits."""
        match event:
            case GateReached():
                self._spawn(self._open_gate(event))
            case InterceptReached():
                self._spawn(self._intercept(event))
            case DialBegin():
                self._dial_begun(event)
            case DialState(dial_status="RINGING"):
                self._ringing(event)
            case DialEnd():
                self._dial_ended(event)
            case Hangup():
                self._hung_up(event)
            case OriginateResponse():
                self._originated(event)
            case ConferenceChanged(joined=True):
                self._joined(event)
            case _:
                pass

    def attach(self, dial_out: DialOut, trunk_leg: str | None) -> None:
        """Follow a call that was found alive: its channel exists, its past was not seen.

        ``trunk_leg`` is the uniqueid of its leg on the trunk, if there is one yet. One that is
        followed already may have been dialled unseen. One that nobody has let dial is left
        alone: either its gateway does, or the gate hangs up by itself.
        """
        if dial_out.state is DialOutState.RESERVED:
            return
        live = self.calls.at_gate(dial_out.channel_uniqueid) or self._found(dial_out)
        if trunk_leg is not None and live.call.follows(CallEvent.DIAL_BEGIN):
            self.calls.begin(live, trunk_leg)

    def _found(self, dial_out: DialOut) -> LiveCall:
        """Follow a call from here on that some gateway has released."""
        key, gate_uniqueid = dial_out.request.key, dial_out.channel_uniqueid
        call = Call(key=key, gate_uniqueid=gate_uniqueid, witnessed=False).released()
        seconds = (dial_out.limit_seconds or 0) + (dial_out.ring_seconds or 0)
        live = self.calls.track(call, dial_out.request, seconds)
        live.granted = Claim.of(dial_out)
        live.answered = dial_out.state is DialOutState.ANSWERED
        return live

    def pay_on(
        self, dial_out: DialOut, trunk_leg: str, answered_at: datetime, *, warns: bool
    ) -> None:
        """Have a call that was found answered paid for on and on, if that is not done already.

        ``answered_at`` is of the Asterisk host's clock. ``warns`` says that the channels are
        there that warn the callee.
        """
        live = self.calls.at_gate(dial_out.channel_uniqueid)
        if live is not None and live.call.follows(CallEvent.DIAL_BEGIN):
            self.calls.begin(live, trunk_leg)
        if live is None or live.call.trunk_uniqueid != trunk_leg or dial_out.slices is None:
            return
        live.granted = Claim.of(dial_out)
        live.answered = True
        paid = self._paid(live, trunk_leg, to_ms(answered_at))
        self._slices.follow(replace(paid, slices=dial_out.slices, kept_seconds=None, warns=warns))

    # What the reaper and the reconciliation have done.

    async def hang_up_overdue(self) -> None:
        """Hang up what was cancelled, or has outlived both limits that Asterisk was given."""
        time = asyncio.get_running_loop().time()
        for live in self.calls:
            if live.cap_at > time:
                continue
            if not live.cancelled:
                log.error("call.overdue", **names(live.call.key))
            live.cap_at = time + HANGUP_RETRY_SECONDS
            hung_up = await self._hang_up(live.call.gate_uniqueid, CAUSE_NORMAL_CLEARING)
            if hung_up is False and time > live.born_at + GATE_SECONDS_MAX:
                self._doubt(live)

    async def end(self, key: DialOutKey, gate_uniqueid: str, ending: Ending) -> None:
        """Settle a call that is proved to be over, and follow it no longer."""
        await self._settlement.end(key, ending)
        self._forget(gate_uniqueid)

    async def drain(self, seconds: float) -> None:
        """Let the steps in hand finish; after ``seconds`` they are given up.

        What is given up is not lost: its row in the ledger is open, and the record on the
        Asterisk host is still there, for the next start.
        """
        await self._slices.close()
        if self._steps:
            await asyncio.wait(self._steps, timeout=seconds)
        for step in list(self._steps):
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    # The steps of a call.

    async def _abandon(self, live: LiveCall) -> None:
        """Hang the gate's channel up first: somebody's telephone rings."""
        gate_uniqueid = live.call.gate_uniqueid
        if not await self._hang_up(gate_uniqueid, CAUSE_NORMAL_CLEARING):
            live.cap_at = asyncio.get_running_loop().time()
        if live.call.follows(CallEvent.RELEASE):
            await self._settlement.give_back(live.call.key, Disposition.CANCELLED, "cancelled")

    async def _originate(self, dial_out: DialOut, *, takes_over: bool = False) -> LiveCall:
        """Have Asterisk begin a call; return it, which is followed then if it is ours.

        What is taken over may be begun by two gateways at once, and only the claim says which
        of them is to: it goes first.
        """
        key = dial_out.request.key
        assert dial_out.ring_seconds is not None, "a reservation has its terms"
        bound = dial_out.ring_seconds + GATE_SECONDS_MAX
        call = Call(key=key, gate_uniqueid=key.gate_uniqueid)
        live = self.calls.track(call, dial_out.request, bound)
        # Asterisk takes longer to reach the gate than the ledger to answer; so the claim,
        # which may follow the Originate but not its channel, costs the caller nothing.
        live.claimed_at = asyncio.get_running_loop().time()
        live.claiming = asyncio.create_task(self._ledger.claim(key, key.gate_uniqueid, self._now()))
        if takes_over and await _is_ours(live) is not True:
            self._forget(key.gate_uniqueid)
            return live
        try:
            await self._ami.originate(
                action_id=f"{key.hex}{self._mark}",
                channel=f"Local/{key.extension}@{GATE_CONTEXT}/n",
                context=JOIN_CONTEXT,
                extension="s",
                variables=_join_variables(dial_out),
                timeout_ms=bound * 1000,
                channel_id=key.join_uniqueid,
                other_channel_id=key.gate_uniqueid,
            )
        except AmiError as error:
            # Refused or unknown. A gate that is reached all the same finds nobody who
            # knows the call, so nothing will be dialled, whatever Asterisk did.
            log.warning("dial_out.originate_failed", error=str(error), **names(key))
            self._forget(key.gate_uniqueid)
            await self._settlement.give_back(
                key, Disposition.FAILED, NOT_ORIGINATED, claimed_too=await _is_ours(live) is True
            )
            raise CallNotPlaced from error
        return live

    async def _open_gate(self, event: GateReached) -> None:
        """Let a call dial that we originated, claimed, and have not let dial before.

        Whoever else comes with a key gets no answer, and the gate hangs up by itself: it is
        another gateway's call, a replay, or a forgery. Nor does a call of ours that
        another gateway has claimed: that one answers.
        """
        key = DialOutKey.parse(event.key_hex)
        live = self.calls.at_gate(event.uniqueid)
        if live is None or live.claiming is None or live.call.key != key:
            log.warning("gate.ignored", uniqueid=event.uniqueid)
            return
        async with live.lock:
            claim = await live.claiming
            waited = asyncio.get_running_loop().time() - live.claimed_at
            if claim is ClaimOutcome.RELEASED:
                log.info("gate.left", uniqueid=event.uniqueid, **names(live.call.key))
                self._forget(event.uniqueid)
            elif isinstance(claim, Claim) and waited < CLAIM_SECONDS_MAX and not live.cancelled:
                await self._release(live, claim, event)
            else:
                log.info(
                    "gate.refused", claim=claim, cancelled=live.cancelled, **names(live.call.key)
                )
                await self._hang_up(event.uniqueid, CAUSE_REFUSED)

    async def _intercept(self, event: InterceptReached) -> None:
        request = _intercepted(event, self._bridge)
        if request is None:
            await self._refuse(event, Reason.TENANT_UNKNOWN)
            return
        if event.uniqueid in self.calls:
            log.error("gate.forged", uniqueid=event.uniqueid, channel=event.channel)
            return
        call = Call(key=request.key, gate_uniqueid=event.uniqueid)
        live = self.calls.track(call, request, GATE_SECONDS_MAX)
        async with live.lock:
            outcome, dial_out = await self._admission.admit(
                request, at=self._now(), gate_uniqueid=event.uniqueid
            )
            if outcome is RequestOutcome.RESERVED:
                assert dial_out is not None, "what was reserved has a row"
                log.info("dial_out.reserved", **dial_out.summary())
                await self._release(live, Claim.of(dial_out), event)
                return
            self._forget(live.call.gate_uniqueid)
        if (
            dial_out is not None
            and dial_out.gate_uniqueid == event.uniqueid
            and dial_out.state is not DialOutState.ENDED
        ):
            return  # another gateway has let this very channel go on
        _log_refusal(request, dial_out)
        await self._refuse(event, _refusal(outcome, dial_out))

    async def _release(
        self, live: LiveCall, claim: Claim, event: GateReached | InterceptReached
    ) -> None:
        """Let the channel dial, unless it hung up while the ledger was asked."""
        if not live.call.follows(CallEvent.RELEASE):
            return
        key = live.call.key
        verdict = Verdict(
            key=key,
            visit=event.visit,
            uniqueid=event.uniqueid,
            destination=claim.destination,
            limit_seconds=claim.limit_seconds,
            longest_seconds=claim.talk_seconds_max,
            ring_seconds=claim.ring_seconds,
            caller_id=claim.caller_id,
        )
        live.call = live.call.released()
        live.granted = claim
        live.may_last(verdict.cap_seconds)
        try:
            await self._ami.set_and_redirect(
                channel=event.uniqueid,
                variable="DIALOUT_VERDICT",
                value=verdict.text,
                context=RELEASE_CONTEXT,
                extension=key.extension,
                action_id=f"{key.hex}-release",
            )
        except AmiError as error:
            # The channel's hangup, which is still to come or to be found, voids the claim.
            log.warning("dial_out.release_failed", error=str(error), **names(key))

    async def _refuse(self, event: InterceptReached, reason: Reason) -> None:
        try:
            await self._ami.set_and_redirect(
                channel=event.uniqueid,
                variable="DIALOUT_REASON",
                value=reason.value,
                context=REFUSE_CONTEXT,
                extension="s",
                action_id=f"refuse-{uuid4().hex}",
            )
        except AmiError as error:
            log.warning("dial_out.refusal_unsaid", error=str(error), channel=event.channel)

    def _dial_begun(self, event: DialBegin) -> None:
        live = self.calls.at_gate(event.uniqueid)
        if live is None or not live.call.follows(CallEvent.DIAL_BEGIN):
            return
        self.calls.begin(live, event.dest_uniqueid)
        self._tell(live, Stage.DIALING, event.at)
        log.info("call.dialed", channel=event.dest_channel, **names(live.call.key))

    def _ringing(self, event: DialState) -> None:
        live = self.calls.of_leg(event.dest_uniqueid)
        if live is not None:
            self._tell(live, Stage.RINGING, event.at)

    def _dial_ended(self, event: DialEnd) -> None:
        live = self.calls.of_leg(event.dest_uniqueid)
        answered = is_answer(event.dial_status)
        fits = CallEvent.DIAL_ANSWER if answered else CallEvent.DIAL_FAIL
        if live is None or not live.call.follows(fits):
            return
        at_ms = self._at_ms(event.at)
        live.call = live.call.dial_ended(event.dial_status, at_ms)
        if answered:
            self._tell(live, Stage.ANSWERED, event.at)
            log.info("call.answered", **names(live.call.key))
            self._spawn(self._settlement.note_answer(live.call.key, at_ms))
            paid = self._paid(live, event.dest_uniqueid, at_ms)
            live.may_last(paid.limit_seconds)
            self._slices.follow(paid)

    def _paid(self, live: LiveCall, trunk_leg: str, answered_at_ms: int) -> PaidCall:
        """Return a call as it is paid for when it has just been answered."""
        granted = live.granted
        assert granted is not None, "nothing dials that was not released"
        return PaidCall(
            key=live.call.key,
            leg=trunk_leg,
            answered_at_ms=answered_at_ms,
            slices=1,
            limit_seconds=granted.limit_seconds,
            kept_seconds=granted.limit_seconds,
            more=granted.limit_seconds < granted.talk_seconds_max,
            warns=False,
            moved=live.may_last,
        )

    def _hung_up(self, event: Hangup) -> None:
        at_ms = self._at_ms(event.at)
        live = self.calls.of_leg(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.TRUNK_HANGUP):
            live.call = live.call.trunk_hung_up(event.cause, at_ms)
            self._slices.leave(event.uniqueid)
            return
        live = self.calls.at_gate(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.GATE_HANGUP):
            live.call = live.call.gate_hung_up()
            self._spawn(self._finish(live, event.cause, at_ms))

    def _joined(self, event: ConferenceChanged) -> None:
        """Note that a callee came into the conference: somebody is there, and meant to come."""
        key = DialOutKey.of_join(event.uniqueid)
        live = None if key is None else self.calls.at_gate(key.gate_uniqueid)
        if live is not None:
            self._tell(live, Stage.JOINED, event.at)
            self._spawn(self._settlement.note_joined(live.call.key, self._at_ms(event.at)))

    def _originated(self, event: OriginateResponse) -> None:
        """An Originate that failed before any channel reached the gate leaves no other trace."""
        key = DialOutKey.parse(event.action_id.removesuffix(self._mark))
        if key is None or event.success or not event.action_id.endswith(self._mark):
            return
        live = self.calls.at_gate(key.gate_uniqueid)
        if live is not None and live.call.state is CallState.RESERVED:
            live.call = live.call.gate_hung_up()
            self._spawn(self._finish(live, CAUSE_REFUSED, self._at_ms(None)))

    async def _finish(self, live: LiveCall, gate_cause: int, gate_at_ms: int) -> None:
        """Settle a call whose gate channel is gone, on what was seen or on the record."""
        async with live.lock:
            call = live.call
            if self.calls.at_gate(call.gate_uniqueid) is not live:
                return
            ending = call.ending(gate_cause=gate_cause, gate_at_ms=gate_at_ms)
            if ending is None:
                ending = await self._settlement.recorded_ending(call.key, call.gate_uniqueid)
            ours = await _is_ours(live)
            if ours is False:
                self._forget(call.gate_uniqueid)
                return
            if ending is None or ours is None:
                self._doubt(live)
                return
            if live.cancelled and ending.answered_at_ms is None:
                ending = replace(ending, disposition=Disposition.CANCELLED)
            await self.end(call.key, call.gate_uniqueid, ending)

    async def _hang_up(self, channel: str, cause: int) -> bool | None:
        """Hang a channel up; return False if there is none, None if Asterisk did not say."""
        try:
            await self._ami.hangup(channel, cause=cause)
        except AmiRefused:
            return False
        except AmiError as error:
            log.warning("call.hangup_failed", error=str(error), channel=channel)
            return None
        return True

    def _doubt(self, live: LiveCall) -> None:
        """Leave a call to the reconciliation: what was seen does not prove how it ended."""
        log.warning("call.end_unproved", **names(live.call.key))
        self._forget(live.call.gate_uniqueid)
        self.in_doubt.set()

    # Bookkeeping.

    def _forget(self, gate_uniqueid: str) -> None:
        live = self.calls.forget(gate_uniqueid)
        if live is None:
            return
        self._progress.forget(live.call.key)
        if live.call.trunk_uniqueid is not None:
            self._slices.leave(live.call.trunk_uniqueid)

    def _tell(self, live: LiveCall, stage: Stage, at_ms: int | None) -> None:
        self._progress.tell(live.call.key, stage, from_ms(self._at_ms(at_ms)))

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_contained(step))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    def _at_ms(self, at_ms: int | None) -> int:
        """Return Asterisk's own instant of an event; our clock only where it gave none."""
        return to_ms(self._now()) if at_ms is None else at_ms


async def _contained(step: Coroutine[Any, Any, None]) -> None:
    """Run one step of one call; a fault in it is that call's alone.

    What the step left undone is found by the reconciliation, from the ledger's open rows.
    """
    try:
        await step
    except LedgerUnavailable as error:
        log.error("ledger.unavailable", error=str(error))
    except Exception:
        log.exception("call.step_failed")


def _join_variables(dial_out: DialOut) -> dict[str, str]:
    """Return what the half that joins is told: where, whether a key is asked for, who it is.

    The callee of a Call Me is whoever asked for it; anybody else has not signed in.
    """
    request = dial_out.request
    variables = {
        "DIALOUT_CONFERENCE": request.conference_id,
        "DIALOUT_CONFIRM": "1" if dial_out.confirms else "",
        "DIALOUT_MEETING": spellable(request.meeting_name or "")
        or spellable(request.conference_id),
        "DIALOUT_TENANT": str(request.key.tenant_id),
        "DIALOUT_ORGANIZER": request.organizer_id,
        "DIALOUT_INITIATOR": (
            request.initiator_id or "" if request.kind is DialOutKind.CALL_ME else ""
        ),
    }
    return {name: value for name, value in variables.items() if value}


async def _is_ours(live: LiveCall) -> bool | None:
    """Return whether we may end the call: we claimed it, or no claim of ours was needed.

    None if the ledger did not say whether it took the claim.
    """
    if live.claiming is None:
        return True
    try:
        return isinstance(await live.claiming, Claim)
    except LedgerUnavailable:
        return None


def _intercepted(event: InterceptReached, bridge: BridgeName) -> DialOutRequest | None:
    """Return what an intercepted channel asks for; None if it names no possible tenant or id.

    Without an id of its own the visit of the gate gives it one, so that two gateways that
    see the same visit make one dial-out of it.
    """
    try:
        tenant_id = UUID(event.tenant)
        visit = uuid5(tenant_id, f"{event.uniqueid}/{event.visit}")
        dial_out_id = UUID(event.dial_out_id) if event.dial_out_id else visit
    except ValueError:
        return None
    return DialOutRequest(
        key=DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id),
        kind=DialOutKind.INTERCEPT,
        organizer_id=OrganizerId(event.organizer),
        initiator_id=event.initiator or None,
        conference_id=event.conference,
        number_typed=event.number,
        bridge=bridge,
    )


def _refusal(outcome: RequestOutcome, dial_out: DialOut | None) -> Reason:
    if outcome is RequestOutcome.UNKNOWN_TENANT:
        return Reason.TENANT_UNKNOWN
    if outcome is RequestOutcome.REFUSED and dial_out is not None and dial_out.reason is not None:
        return dial_out.reason
    return Reason.DUPLICATE


def _log_refusal(request: DialOutRequest, dial_out: DialOut | None) -> None:
    if dial_out is None:
        log.info("dial_out.refused", reason=Reason.TENANT_UNKNOWN.value, **names(request.key))
    else:
        log.info("dial_out.refused", **dial_out.summary())
