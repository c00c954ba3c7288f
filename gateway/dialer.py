"""Drives each call: Asterisk's reports go into ``core.call``, what follows to ledger and AMI.

Events are applied at once and in order, by one consumer; nothing in ``handle`` waits.
What has to wait (a claim, a settlement) runs as a task of its own, and a lock a call
keeps the tasks of one call from overtaking each other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4, uuid5

import structlog

from gateway.admission import Admission
from gateway.ami import (
    AmiClient,
    AmiError,
    AmiRefused,
    DialBegin,
    DialEnd,
    Event,
    GateReached,
    Hangup,
    InterceptReached,
    OriginateResponse,
)
from gateway.core.attendance import DropReason
from gateway.core.call import Call, CallEvent, CallState, Ending
from gateway.core.causes import CAUSE_REFUSED, Disposition, is_answer
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.reasons import Reason
from gateway.core.record import FAMILY, CallRecord
from gateway.core.verdict import CAP_GRACE_SECONDS, Verdict
from gateway.ledger import Claim, ClaimOutcome, Ledger, LedgerUnavailable, RequestOutcome
from gateway.settlement import EXPIRED, Settlement, names, to_ms
from gateway.slices import PaidCall, Slices

log = structlog.get_logger()

GATE_CONTEXT = "dialout-gate"
RELEASE_CONTEXT = "dialout-release"
REFUSE_CONTEXT = "dialout-refuse"
JOIN_CONTEXT = "dialout-join"
WARNING_CONTEXT = "dialout-warning"

CAUSE_NORMAL_CLEARING = 16
CLAIM_SECONDS_MAX = 2.0
"""How old a claim may be when its channel reaches the gate. Less than the time between the
two lists of channels that prove a call absent, or another gateway might have voided it."""

NOT_ORIGINATED = "not_originated"
NEVER_BEGUN = frozenset({NOT_ORIGINATED, EXPIRED})
"""Evidence of dial-outs that ended by a fault of ours, before anything was dialled."""

HANGUP_RETRY_SECONDS = 5.0
"""When a hangup that Asterisk may not have heard is asked for again."""

WHISPER_SECONDS_MAX = 10
"""How long a channel may take until it says something."""

GATE_SECONDS_MAX = 4
"""The gate's own bound and a little: how much longer than the ringing an Originate may last."""


class BridgeUnavailable(Exception):
    """The conference bridge cannot be reached. Nothing was begun; the same id may be used again."""


class CallNotPlaced(Exception):
    """The conference bridge would not take the call. The dial-out has ended; a new id is needed."""


@dataclass(slots=True, eq=False)
class LiveCall:
    """A call that this gateway follows.

    Instants are on the event loop's clock; from ``cap_at`` on it is hung up. ``claiming`` is
    the claim of a call that we originated, ``claimed_at`` when it was asked for.
    ``cancelled`` keeps a gate shut that has not been reached yet. ``dialled`` is set once
    the trunk is being dialled, or never will be. ``granted`` is what was released.
    """

    call: Call
    request: DialOutRequest
    born_at: float
    cap_at: float
    claiming: asyncio.Task[Claim | ClaimOutcome] | None = None
    claimed_at: float = 0.0
    granted: Claim | None = None
    cancelled: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    dialled: asyncio.Event = field(default_factory=asyncio.Event)


class Dialer:
    """Places calls, answers the gate, and settles what has ended."""

    def __init__(
        self,
        *,
        ami: AmiClient,
        ledger: Ledger,
        admission: Admission,
        settlement: Settlement,
        slices: Slices,
        now: Callable[[], datetime],
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._admission = admission
        self._settlement = settlement
        self._slices = slices
        self._now = now
        self._steps: set[asyncio.Task[None]] = set()
        self.in_doubt = asyncio.Event()
        """Set when a call has ended and nothing seen proves how; the reconciliation clears it."""
        self._by_gate: dict[str, LiveCall] = {}
        self._by_trunk: dict[str, LiveCall] = {}

    # What clients ask for.

    async def place(self, request: DialOutRequest) -> tuple[RequestOutcome, DialOut | None]:
        """Decide the request and, if it may be made and paid, have Asterisk begin the call.

        Returns when the trunk is being dialled; whether the telephone answers shows later.
        Not before, because the work of answering the client would delay the ringing.
        A request whose key was used before changes nothing and returns what became of it.

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
        return outcome, await self._dial(dial_out)

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
        gate_uniqueid = dial_out.channel_uniqueid
        live = self._by_gate.get(gate_uniqueid)
        if live is not None:
            live.cancelled = True
            live.cap_at = asyncio.get_running_loop().time()
        if dial_out.state is DialOutState.RESERVED:
            await self._settlement.give_back(key, Disposition.CANCELLED, "cancelled")
        hung_up = await self._hang_up(gate_uniqueid, CAUSE_NORMAL_CLEARING)
        if hung_up is None and live is None:
            raise BridgeUnavailable
        return await self._ledger.dial_out(key)

    # What the guard asks for.

    def request(self, gate_uniqueid: str) -> DialOutRequest | None:
        """Return what asked for a call that this gateway follows; None if it has none there."""
        live = self._by_gate.get(gate_uniqueid)
        return None if live is None else live.request

    async def warn_of_drop(self, gate_uniqueid: str, reason: DropReason, seconds: int) -> None:
        """Tell the callee, and nobody else, why and how soon the call will be dropped."""
        live = self._by_gate.get(gate_uniqueid)
        if live is None or live.call.trunk_uniqueid is None:
            return
        try:
            await self._ami.whisper(
                leg=live.call.trunk_uniqueid,
                channel=f"Local/{reason}@{WARNING_CONTEXT}/n",
                variables={"DIALOUT_WARNINGS": str(seconds)},
                timeout_ms=WHISPER_SECONDS_MAX * 1000,
                # Two gateways that guard the same bridge warn once.
                channel_id=f"{live.call.key.hex}-told",
                other_channel_id=f"{live.call.key.hex}-tells",
            )
        except AmiError as error:
            log.warning("call.unwarned", error=str(error), **names(live.call.key))
        else:
            log.info("call.warned", reason=reason, seconds=seconds, **names(live.call.key))

    async def drop(self, gate_uniqueid: str) -> bool:
        """Hang a call up, again and again until Asterisk has heard it; False if it has ended."""
        live = self._by_gate.get(gate_uniqueid)
        if live is None:
            return False
        live.cancelled = True
        live.cap_at = asyncio.get_running_loop().time()
        return await self._hang_up(gate_uniqueid, CAUSE_NORMAL_CLEARING) is not False

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
            case DialEnd():
                self._dial_ended(event)
            case Hangup():
                self._hung_up(event)
            case OriginateResponse():
                self._originated(event)
            case _:
                pass

    def link_lost(self) -> None:
        """From now on events may be missed: no call in hand is fully witnessed any more."""
        for live in self._by_gate.values():
            live.call = live.call.unwitnessed()

    def attach(self, dial_out: DialOut, trunk_leg: str | None) -> None:
        """Follow a call that was found alive: its channel exists, its past was not seen.

        ``trunk_leg`` is the uniqueid of its leg on the trunk, if there is one yet.
        """
        key = dial_out.request.key
        gate_uniqueid = dial_out.channel_uniqueid
        if gate_uniqueid in self._by_gate:
            return
        call = Call(key=key, gate_uniqueid=gate_uniqueid, witnessed=False)
        if dial_out.state is not DialOutState.RESERVED:
            call = call.released()
        seconds = (dial_out.limit_seconds or 0) + (dial_out.ring_seconds or 0)
        live = self._track(call, dial_out.request, seconds)
        live.granted = Claim.of(dial_out)
        if trunk_leg is not None and live.call.follows(CallEvent.DIAL_BEGIN):
            self._begin(live, trunk_leg)

    def pay_on(
        self, dial_out: DialOut, trunk_leg: str, answered_at: datetime, *, warns: bool
    ) -> None:
        """Have a call that was found answered paid for on and on, if that is not done already.

        ``answered_at`` is of the Asterisk host's clock. ``warns`` says that the channels are
        there that warn the callee.
        """
        live = self._by_gate.get(dial_out.channel_uniqueid)
        if live is not None and live.call.follows(CallEvent.DIAL_BEGIN):
            self._begin(live, trunk_leg)
        if live is None or live.call.trunk_uniqueid != trunk_leg or dial_out.slices is None:
            return
        live.granted = Claim.of(dial_out)
        paid = self._paid(live, trunk_leg, to_ms(answered_at))
        self._slices.follow(replace(paid, slices=dial_out.slices, kept_seconds=None, warns=warns))

    def follows(self, gate_uniqueid: str) -> bool:
        """Return whether this gateway has the call in hand and has seen all of it."""
        live = self._by_gate.get(gate_uniqueid)
        return live is not None and live.call.witnessed

    def live_keys(self) -> Iterator[DialOutKey]:
        """Yield the keys of the calls that are up or on their way."""
        return (live.call.key for live in self._by_gate.values())

    # What the reaper and the reconciliation have done.

    async def hang_up_overdue(self) -> None:
        """Hang up what was cancelled, or has outlived both limits that Asterisk was given."""
        time = asyncio.get_running_loop().time()
        for live in list(self._by_gate.values()):
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

    async def _dial(self, dial_out: DialOut) -> DialOut:
        """Have Asterisk begin the call, if it has not; return what is known when it dials."""
        key = dial_out.request.key
        live = self._by_gate.get(key.gate_uniqueid)
        if live is None:
            log.info("dial_out.reserved", **dial_out.summary())
            live = await self._originate(dial_out)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.dialled.wait(), GATE_SECONDS_MAX)
        with contextlib.suppress(LedgerUnavailable):
            return await self._ledger.dial_out(key) or dial_out
        return dial_out

    async def _originate(self, dial_out: DialOut) -> LiveCall:
        key = dial_out.request.key
        assert dial_out.ring_seconds is not None, "a reservation has its terms"
        bound = dial_out.ring_seconds + GATE_SECONDS_MAX
        call = Call(key=key, gate_uniqueid=key.gate_uniqueid)
        live = self._track(call, dial_out.request, bound)
        # Asterisk takes longer to reach the gate than the ledger to answer; so the claim,
        # which may follow the Originate but not its channel, costs the caller nothing.
        live.claimed_at = asyncio.get_running_loop().time()
        live.claiming = asyncio.create_task(self._ledger.claim(key, key.gate_uniqueid, self._now()))
        try:
            await self._ami.originate(
                action_id=key.hex,
                channel=f"Local/{key.extension}@{GATE_CONTEXT}/n",
                context=JOIN_CONTEXT,
                extension="s",
                variables={"DIALOUT_CONFERENCE": dial_out.request.conference_id},
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
        another gateway's call, a replay, or a forgery.
        """
        key = DialOutKey.parse(event.key_hex)
        live = self._by_gate.get(event.uniqueid)
        if live is None or live.claiming is None or live.call.key != key:
            log.warning("gate.ignored", uniqueid=event.uniqueid)
            return
        async with live.lock:
            claim = await live.claiming
            waited = asyncio.get_running_loop().time() - live.claimed_at
            if isinstance(claim, Claim) and waited < CLAIM_SECONDS_MAX and not live.cancelled:
                await self._release(live, claim, event)
            else:
                log.info(
                    "gate.refused", claim=claim, cancelled=live.cancelled, **names(live.call.key)
                )
                await self._hang_up(event.uniqueid, CAUSE_REFUSED)

    async def _intercept(self, event: InterceptReached) -> None:
        request = _intercepted(event)
        if request is None:
            await self._refuse(event, Reason.TENANT_UNKNOWN)
            return
        if event.uniqueid in self._by_gate:
            log.error("gate.forged", uniqueid=event.uniqueid, channel=event.channel)
            return
        call = Call(key=request.key, gate_uniqueid=event.uniqueid)
        live = self._track(call, request, GATE_SECONDS_MAX)
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
        live.cap_at = self._cap_at(verdict.cap_seconds)
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
        live = self._by_gate.get(event.uniqueid)
        if live is None or not live.call.follows(CallEvent.DIAL_BEGIN):
            return
        self._begin(live, event.dest_uniqueid)
        log.info("call.dialed", channel=event.dest_channel, **names(live.call.key))

    def _dial_ended(self, event: DialEnd) -> None:
        live = self._by_trunk.get(event.dest_uniqueid)
        answered = is_answer(event.dial_status)
        fits = CallEvent.DIAL_ANSWER if answered else CallEvent.DIAL_FAIL
        if live is None or not live.call.follows(fits):
            return
        at_ms = self._at_ms(event.at)
        live.call = live.call.dial_ended(event.dial_status, at_ms)
        if answered:
            log.info("call.answered", **names(live.call.key))
            self._spawn(self._settlement.note_answer(live.call.key, at_ms))
            paid = self._paid(live, event.dest_uniqueid, at_ms)
            self._limit_moved(live, paid.limit_seconds)
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
            moved=partial(self._limit_moved, live),
        )

    def _limit_moved(self, live: LiveCall, seconds: float) -> None:
        """Take a call for overdue no sooner than Asterisk cuts it, and not much later."""
        if not live.cancelled:
            live.cap_at = self._cap_at(seconds)

    def _hung_up(self, event: Hangup) -> None:
        at_ms = self._at_ms(event.at)
        live = self._by_trunk.get(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.TRUNK_HANGUP):
            live.call = live.call.trunk_hung_up(event.cause, at_ms)
            self._slices.leave(event.uniqueid)
            return
        live = self._by_gate.get(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.GATE_HANGUP):
            live.call = live.call.gate_hung_up()
            self._spawn(self._finish(live, event.cause, at_ms))

    def _originated(self, event: OriginateResponse) -> None:
        """An Originate that failed before any channel reached the gate leaves no other trace."""
        key = DialOutKey.parse(event.action_id)
        if key is None or event.success:
            return
        live = self._by_gate.get(key.gate_uniqueid)
        if live is not None and live.call.state is CallState.RESERVED:
            live.call = live.call.gate_hung_up()
            self._spawn(self._finish(live, CAUSE_REFUSED, self._at_ms(None)))

    async def _finish(self, live: LiveCall, gate_cause: int, gate_at_ms: int) -> None:
        """Settle a call whose gate channel is gone, on what was seen or on the record."""
        async with live.lock:
            call = live.call
            if self._by_gate.get(call.gate_uniqueid) is not live:
                return
            ending = call.ending(gate_cause=gate_cause, gate_at_ms=gate_at_ms)
            if ending is None:
                ending = await self._recorded_ending(call)
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

    async def _recorded_ending(self, call: Call) -> Ending | None:
        try:
            text = await self._ami.record(FAMILY, call.key.hex)
        except AmiError:
            return None
        record = CallRecord.parse(text) if text else None
        if record is None or record.gate_uniqueid != call.gate_uniqueid:
            return None
        return record.ending()

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

    def _track(self, call: Call, request: DialOutRequest, seconds: int) -> LiveCall:
        """Follow a call that may live so long."""
        born_at = asyncio.get_running_loop().time()
        cap_at = self._cap_at(seconds)
        live = LiveCall(call=call, request=request, born_at=born_at, cap_at=cap_at)
        self._by_gate[call.gate_uniqueid] = live
        return live

    def _begin(self, live: LiveCall, trunk_leg: str) -> None:
        """Follow the telephone's leg, too."""
        live.call = live.call.dial_begun(trunk_leg)
        self._by_trunk[trunk_leg] = live
        live.dialled.set()

    def _forget(self, gate_uniqueid: str) -> None:
        live = self._by_gate.pop(gate_uniqueid, None)
        if live is None:
            return
        live.dialled.set()
        if live.call.trunk_uniqueid is not None:
            self._by_trunk.pop(live.call.trunk_uniqueid, None)
            self._slices.leave(live.call.trunk_uniqueid)

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_contained(step))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    def _at_ms(self, at_ms: int | None) -> int:
        """Return Asterisk's own instant of an event; our clock only where it gave none."""
        return to_ms(self._now()) if at_ms is None else at_ms

    @staticmethod
    def _cap_at(seconds: float) -> float:
        """Return when a call that may live so long is overdue, whatever Asterisk should do."""
        return asyncio.get_running_loop().time() + seconds + 2 * CAP_GRACE_SECONDS


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


def _intercepted(event: InterceptReached) -> DialOutRequest | None:
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
