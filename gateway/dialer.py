"""Drives each call: Asterisk's reports go into ``core.call``, what follows to ledger and AMI.

Events are applied at once and in order, by one consumer; nothing in ``handle`` waits.
What has to wait (a claim, a settlement) runs as a task of its own, and a lock a call
keeps the tasks of one call from overtaking each other.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

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
from gateway.core.key import DialOutKey
from gateway.core.meeting_name import spellable
from gateway.core.progress import Stage
from gateway.core.record import FAMILY
from gateway.gate import (
    GATE_SECONDS_MAX,
    TAKE_OVER_SECONDS,
    Gate,
    booted_at,
    hang_up,
    log_refusal,
)
from gateway.grants import Grants
from gateway.ledger import Claim, Ledger, LedgerUnavailable, RequestOutcome
from gateway.live_calls import LiveCall, LiveCalls
from gateway.progress import Progress
from gateway.settlement import EXPIRED, Settlement, from_ms, names, to_ms
from gateway.slices import PaidCall, Slices
from gateway.steps import Steps
from gateway.waiting_room import PATIENCE_SECONDS

log = structlog.get_logger()

GATE_CONTEXT = "dialout-gate"
JOIN_CONTEXT = "dialout-join"
TRUNK_CHANNELS = "PJSIP/dialout-trunk-"

CAUSE_NORMAL_CLEARING = 16
LOOK_SECONDS = 0.1
"""How often a reservation of another gateway is looked at until its call has begun."""

_LEFT_BEHIND = frozenset({DialOutState.RESERVED, DialOutState.RELEASED})
"""How a dial-out is found whose gateway has died before its call had begun."""

NOT_ORIGINATED = "not_originated"
NEVER_BEGUN = frozenset({NOT_ORIGINATED, EXPIRED})
"""Evidence of dial-outs that ended by a fault of ours, before anything was dialled."""

BOOT_MS_MAX = 2500
"""By how much two links may differ in when Asterisk began: each knows its uptime to the second."""

HANGUP_RETRY_SECONDS = 5.0
"""When a hangup that Asterisk may not have heard is asked for again."""


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
        grants: Grants | None = None,
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._admission = admission
        self._settlement = settlement
        self._slices = slices
        self._progress = progress
        self._now = now
        self._grants = grants
        # OriginateResponse goes to every session, so that it must name the one it is for.
        self._mark = f"-{uuid4().hex}"
        self._steps = Steps(fault="call.step_failed")
        self._hangups_noted: list[set[str]] = []
        self.calls = LiveCalls()
        """The calls in hand, for those who ask what a channel is."""
        self.in_doubt = asyncio.Event()
        """Set when a call has ended and nothing seen proves how; the reconciliation clears it."""
        self._gate = Gate(
            bridge=bridge,
            ami=ami,
            ledger=ledger,
            admission=admission,
            calls=self.calls,
            forget=self._forget,
            in_doubt=self.in_doubt,
            now=now,
            grants=grants,
        )

    # What clients ask for.

    async def place(
        self, request: DialOutRequest, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> tuple[RequestOutcome, DialOut | None]:
        """Decide the request and, if it may be made and paid, have Asterisk begin the call.

        Returns when the trunk is being dialled; whether the telephone answers shows later.
        Not before, because the work of answering the client would delay the ringing.
        A request whose key was used before changes nothing and returns what became of it; of
        several gateways that are asked at once, whichever reserves the call begins it.

        Raises ``BridgeUnavailable``, or ``LedgerUnavailable`` when the ledger did not answer:
        ask again with the same key. So it does ``Overloaded``, at once or when the decision has
        not begun in ``patience_seconds``. Raises ``CallNotPlaced``: ask again with a new one.
        """
        if not self._ami.ready:
            raise BridgeUnavailable
        self._admission.check_room(len(self.calls))
        outcome, dial_out = await self._admission.admit(
            request, at=self._now(), patience_seconds=patience_seconds
        )
        if outcome in (RequestOutcome.REFUSED, RequestOutcome.UNKNOWN_TENANT):
            log_refusal(request, dial_out)
        if dial_out is None or dial_out.state not in _LEFT_BEHIND:
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

        Raises ``CallNotPlaced``, and ``BridgeUnavailable`` and ``LedgerUnavailable`` as
        ``place`` does.
        """
        dial_out = await self._moved_on(dial_out)
        live = self.calls.at_gate(dial_out.channel_uniqueid)
        if live is None and dial_out.state in _LEFT_BEHIND:
            if await self._has_begun(dial_out, self._is_there):
                dial_out = await self._claimed(dial_out)
            else:
                log.warning("dial_out.taken_over", **dial_out.summary())
                live = await self._originate(dial_out, takes_over=True)
        if live is not None:
            dial_out = await self._dialled(live, dial_out)
        if dial_out.evidence in NEVER_BEGUN:
            raise CallNotPlaced
        return dial_out

    async def _moved_on(self, dial_out: DialOut) -> DialOut:
        """Return a dial-out once its call has begun, here or elsewhere, or could have by now."""
        key = dial_out.request.key
        time = asyncio.get_running_loop().time
        deadline = time() + TAKE_OVER_SECONDS
        while dial_out.state in _LEFT_BEHIND and time() < deadline:
            if self.calls.at_gate(dial_out.channel_uniqueid) is not None:
                break
            if dial_out.state is DialOutState.RELEASED and await self._has_begun(
                dial_out, self._is_named
            ):
                break
            await asyncio.sleep(LOOK_SECONDS)
            dial_out = await self._ledger.dial_out(key) or dial_out
        return dial_out

    async def _claimed(self, dial_out: DialOut) -> DialOut:
        """Return a dial-out that another gateway has begun once it was claimed, or never will be.

        The claim may follow the channel, which waits for it no longer than the gate does.
        """
        time = asyncio.get_running_loop().time
        deadline = time() + GATE_SECONDS_MAX
        dial_out = await self._known_now(dial_out)
        while dial_out.state is DialOutState.RESERVED and time() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            dial_out = await self._known_now(dial_out)
        return dial_out

    async def _has_begun(
        self, dial_out: DialOut, is_there: Callable[[DialOutKey, str], Awaitable[bool]]
    ) -> bool:
        """Return whether Asterisk has a channel of the call, or a record, or may have had one.

        One that was killed after the call was let dial has neither, which proves nothing.
        """
        if dial_out.state is DialOutState.RELEASED and not self._is_same_asterisk(dial_out):
            return True
        try:
            return await is_there(dial_out.request.key, dial_out.channel_uniqueid)
        except AmiError as error:
            raise BridgeUnavailable from error

    def _is_same_asterisk(self, dial_out: DialOut) -> bool:
        """Return whether Asterisk surely runs since the call was let dial."""
        booted_at_ms, then = self._ami.booted_at_ms, dial_out.asterisk_booted_at
        if booted_at_ms is None or then is None:
            return False
        return abs(booted_at_ms - to_ms(then)) < BOOT_MS_MAX

    async def _is_named(self, key: DialOutKey, gate_uniqueid: str) -> bool:
        """Return whether Asterisk tells of a channel by its name, or has a record of the call.

        For those who look again and again, and may be many: a gateway that died leaves all its
        callers behind. That there is none only ``_is_there`` proves. Raises ``AmiError``.
        """
        with contextlib.suppress(AmiRefused):
            await self._ami.visit(gate_uniqueid)
            return True
        return await self._ami.record(FAMILY, key.hex) is not None

    async def _is_there(self, key: DialOutKey, gate_uniqueid: str) -> bool:
        """Return whether Asterisk has a channel or a record of a call. Raises ``AmiError``."""
        if any(each.uniqueid == gate_uniqueid for each in await self._ami.channels()):
            return True
        return await self._ami.record(FAMILY, key.hex) is not None

    async def _dialled(self, live: LiveCall, dial_out: DialOut) -> DialOut:
        """Return what is known of a call once its trunk is being dialled, or will not be."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(live.dialled.wait(), GATE_SECONDS_MAX)
        return await self._known_now(dial_out)

    async def _known_now(self, dial_out: DialOut) -> DialOut:
        """Return what has become of a dial-out; what was known of it if nobody can say."""
        with contextlib.suppress(LedgerUnavailable):
            return await self._ledger.dial_out(dial_out.request.key) or dial_out
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
        """Hang a call up; raise ``BridgeUnavailable`` if nobody would try again.

        One that another gateway has just claimed has its channel yet to come: it is waited for.
        """
        gate_uniqueid = dial_out.channel_uniqueid
        is_followed = gate_uniqueid in self.calls
        time = asyncio.get_running_loop().time
        deadline = time() + GATE_SECONDS_MAX
        while (
            (hung_up := await self._cleared(gate_uniqueid)) is False
            and not is_followed
            and time() < deadline
            and await self._may_be_coming(dial_out)
        ):
            await asyncio.sleep(LOOK_SECONDS)
        if hung_up is None and not is_followed:
            raise BridgeUnavailable

    async def _cleared(self, gate_uniqueid: str) -> bool | None:
        """Hang a call up as ``hang_up`` does; who follows it by then knows that it is cancelled."""
        hung_up = await hang_up(self._ami, gate_uniqueid, CAUSE_NORMAL_CLEARING)
        live = self.calls.at_gate(gate_uniqueid)
        if live is not None:
            live.cancel()
        return hung_up

    async def _may_be_coming(self, dial_out: DialOut) -> bool:
        """Return whether a call was let dial so recently that its channel may not be there yet.

        One that we do not originate was there first. Raises ``LedgerUnavailable``.
        """
        if dial_out.channel_uniqueid != dial_out.request.key.gate_uniqueid:
            return False
        now = await self._ledger.dial_out(dial_out.request.key)
        if now is None or now.released_at is None or now.state is DialOutState.ENDED:
            return False
        return self._now() - now.released_at < timedelta(seconds=GATE_SECONDS_MAX)

    # What the guard asks for.

    async def drop(self, gate_uniqueid: str) -> bool:
        """Hang a call up, again and again until Asterisk has heard it; False if it has ended."""
        live = self.calls.at_gate(gate_uniqueid)
        if live is None:
            return False
        live.cancel()
        return await hang_up(self._ami, gate_uniqueid, CAUSE_NORMAL_CLEARING) is not False

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
        self._steps.spawn(self._abandon(live))
        return True

    # What Asterisk reports.

    def handle(self, event: Event) -> None:
        """Apply one event. Events must come in the order of the wire; never waits."""
        match event:
            case GateReached() | InterceptReached():
                self._gate.handle(event)
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
        self._slices.follow(replace(paid, slices=dial_out.slices, is_stale=True, warns=warns))

    # What the reaper and the reconciliation have done.

    @contextlib.contextmanager
    def noting_hangups(self) -> Iterator[set[str]]:
        """Lend a set to which each channel is added that hangs up in the meantime.

        What has hung up since a list of channels was asked for may be in it all the same.
        """
        gone: set[str] = set()
        self._hangups_noted.append(gone)
        try:
            yield gone
        finally:
            self._hangups_noted = [each for each in self._hangups_noted if each is not gone]

    async def hang_up_overdue(self) -> None:
        """Hang up what was cancelled, or has outlived both limits that Asterisk was given."""
        time = asyncio.get_running_loop().time()
        for live in self.calls:
            if live.cap_at > time:
                continue
            if not live.cancelled:
                log.error("call.overdue", **names(live.call.key))
            live.cap_at = time + HANGUP_RETRY_SECONDS
            hung_up = await hang_up(self._ami, live.call.gate_uniqueid, CAUSE_NORMAL_CLEARING)
            if hung_up is False and time > live.born_at + GATE_SECONDS_MAX:
                self._doubt(live)

    async def end(self, key: DialOutKey, gate_uniqueid: str, ending: Ending) -> None:
        """Settle a call that is proved to be over, and follow it no longer."""
        await self._settlement.end(key, ending)
        live = self.calls.at_gate(gate_uniqueid)
        if live is not None:
            self._forget(live)

    async def drain(self, seconds: float) -> None:
        """Let the steps in hand finish; after ``seconds`` they are given up.

        What is given up is not lost: its row in the ledger is open, and the record on the
        Asterisk host is still there, for the next start.
        """
        await self._slices.close()
        await self._gate.drain(seconds)
        await self._steps.drain(seconds)

    # The steps of a call.

    async def _abandon(self, live: LiveCall) -> None:
        """Hang the gate's channel up first: somebody's telephone rings."""
        gate_uniqueid = live.call.gate_uniqueid
        if not await hang_up(self._ami, gate_uniqueid, CAUSE_NORMAL_CLEARING):
            live.cap_at = asyncio.get_running_loop().time()
        if live.call.follows(CallEvent.RELEASE):
            await self._settlement.give_back(live.call.key, Disposition.CANCELLED, "cancelled")

    async def _originate(self, dial_out: DialOut, *, takes_over: bool = False) -> LiveCall:
        """Have Asterisk begin a call; return it, which is followed then if it is ours.

        What is taken over may be begun by several gateways at once, and only the claim says
        which of them is to: it goes first. Raises ``LedgerUnavailable`` if it does not say.
        """
        key = dial_out.request.key
        assert dial_out.ring_seconds is not None, "a reservation has its terms"
        bound = dial_out.ring_seconds + GATE_SECONDS_MAX
        begun = self.calls.at_gate(key.gate_uniqueid)
        if begun is not None:
            return begun  # by another request for the same call, while this one was looking
        call = Call(key=key, gate_uniqueid=key.gate_uniqueid)
        live = self.calls.track(call, dial_out.request, bound)
        # Asterisk takes longer to reach the gate than the ledger to answer; so the claim,
        # which may follow the Originate but not its channel, costs the caller nothing.
        live.claimed_at = asyncio.get_running_loop().time()
        claim = self._ledger.take_over if takes_over else self._ledger.claim
        live.released_at = self._now()
        live.claiming = asyncio.create_task(
            claim(key, key.gate_uniqueid, live.released_at, booted_at(self._ami))
        )
        if takes_over and not await self._may_begin(live):
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
            if not await self._was_granted(live) and await self._came_to_nothing(live, error):
                raise CallNotPlaced from error
        return live

    async def _may_begin(self, live: LiveCall) -> bool:
        """Return whether a call is ours to take over; one that is not is followed no longer."""
        is_ours = await live.is_ours()
        if is_ours is not True:
            self._forget(live)
        if is_ours is None:
            raise LedgerUnavailable
        return is_ours

    async def _came_to_nothing(self, live: LiveCall, error: AmiError) -> bool:
        """Give a call back that Asterisk has refused or may not have heard of; return if it was.

        Once it is given back nobody lets it dial, whatever Asterisk did. It is not if another
        gateway has taken it over by then: that one has begun it, or will.
        """
        key = live.call.key
        log.warning("dial_out.originate_failed", error=str(error), **names(key))
        self._forget(live)
        return await self._settlement.give_back(
            key,
            Disposition.FAILED,
            NOT_ORIGINATED,
            claimed_as=live.released_at if await live.is_ours() is True else None,
        )

    async def _was_granted(self, live: LiveCall) -> bool:
        """Return whether a call was not taken because another gateway has granted it before.

        Its channels have the names that ours would have, and its record is not ours to delete.
        A claim of the ledger's stays: whatever proves the end of that call settles it by it.
        """
        key, gate_uniqueid = live.call.key, live.call.gate_uniqueid
        if self._grants is None:
            return False
        try:
            if not await self._is_there(key, gate_uniqueid):
                return False
        except AmiError:
            return False
        log.warning("dial_out.granted_before", **names(key))
        self._forget(live)
        await self._grants.drop(key)
        self.in_doubt.set()
        return True

    def _dial_begun(self, event: DialBegin) -> None:
        self._gate.moved_on(event.uniqueid)
        live = self.calls.at_gate(event.uniqueid)
        if live is not None and not live.call.may_dial:
            # Another gateway has let it dial, and what was seen of it here proves nothing.
            self._forget(live)
            return
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
            self._steps.spawn(self._settlement.note_answer(live.call.key, at_ms))
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
        for gone in self._hangups_noted:
            gone.add(event.uniqueid)
        self._gate.moved_on(event.uniqueid)
        at_ms = self._at_ms(event.at)
        live = self.calls.of_leg(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.TRUNK_HANGUP):
            live.call = live.call.trunk_hung_up(event.cause, at_ms)
            self._slices.leave(event.uniqueid)
            return
        live = self.calls.at_gate(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.GATE_HANGUP):
            live.call = live.call.gate_hung_up()
            self._steps.spawn(self._finish(live, event.cause, at_ms))

    def _joined(self, event: ConferenceChanged) -> None:
        """Note that a callee came into the conference: somebody is there, and meant to come."""
        key = DialOutKey.of_join(event.uniqueid)
        live = None if key is None else self.calls.at_gate(key.gate_uniqueid)
        if live is not None:
            self._tell(live, Stage.JOINED, event.at)
            self._steps.spawn(self._settlement.note_joined(live.call.key, self._at_ms(event.at)))

    def _originated(self, event: OriginateResponse) -> None:
        """An Originate that failed before any channel reached the gate leaves no other trace."""
        key = DialOutKey.parse(event.action_id.removesuffix(self._mark))
        if key is None or event.success or not event.action_id.endswith(self._mark):
            return
        live = self.calls.at_gate(key.gate_uniqueid)
        if live is not None and live.call.state is CallState.RESERVED:
            live.call = live.call.gate_hung_up()
            self._steps.spawn(self._unbegun(live, self._at_ms(None)))

    async def _unbegun(self, live: LiveCall, at_ms: int) -> None:
        """End a call that never began, unless it is another gateway's that did."""
        if not await self._was_granted(live):
            await self._finish(live, CAUSE_REFUSED, at_ms)

    async def _finish(self, live: LiveCall, gate_cause: int, gate_at_ms: int) -> None:
        """Settle a call whose gate channel is gone, on what was seen or on the record."""
        async with live.lock:
            call = live.call
            if self.calls.at_gate(call.gate_uniqueid) is not live:
                return
            ending = call.ending(gate_cause=gate_cause, gate_at_ms=gate_at_ms)
            if ending is None:
                ending = await self._settlement.recorded_ending(
                    call.key,
                    call.gate_uniqueid,
                    call.answered_at_ms,
                    call.undialled(gate_cause=gate_cause, gate_at_ms=gate_at_ms),
                )
            ours = await live.is_ours()
            if ours is False:
                self._forget(live)
                return
            if ending is None or ours is None:
                self._doubt(live)
                return
            if live.cancelled and ending.answered_at_ms is None:
                ending = replace(ending, disposition=Disposition.CANCELLED)
            if not call.may_dial:
                # Another gateway may have taken it over and let it dial, unseen here.
                ending = replace(ending, released_at=live.released_at)
            await self.end(call.key, call.gate_uniqueid, ending)

    def _doubt(self, live: LiveCall) -> None:
        """Leave a call to the reconciliation: what was seen does not prove how it ended."""
        log.warning("call.end_unproved", **names(live.call.key))
        self._forget(live)
        self.in_doubt.set()

    # Bookkeeping.

    def _forget(self, live: LiveCall) -> None:
        if not self.calls.forget(live):
            return
        self._progress.forget(live.call.key)
        if live.call.trunk_uniqueid is not None:
            self._slices.leave(live.call.trunk_uniqueid)

    def _tell(self, live: LiveCall, stage: Stage, at_ms: int | None) -> None:
        self._progress.tell(live.call.key, stage, from_ms(self._at_ms(at_ms)))

    def _at_ms(self, at_ms: int | None) -> int:
        """Return Asterisk's own instant of an event; our clock only where it gave none."""
        return to_ms(self._now()) if at_ms is None else at_ms


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
