"""The gate, from the side of the gateway: which channel may go on to the trunk, and which not.

A channel that waits at the gate is answered once, by the gateway that has the claim. One that
nobody answers is answered by another gateway shortly before it gives up: the first one has died.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4, uuid5

import structlog

from gateway.admission import Admission
from gateway.ami import (
    AmiClient,
    AmiError,
    AmiRefused,
    AmiTimeout,
    GateReached,
    InterceptReached,
)
from gateway.core.call import Call, CallEvent
from gateway.core.causes import CAUSE_REFUSED
from gateway.core.dial_out import (
    BridgeName,
    DialOut,
    DialOutKind,
    DialOutRequest,
    DialOutState,
)
from gateway.core.facts import OrganizerId
from gateway.core.key import DialOutKey
from gateway.core.reasons import Reason
from gateway.core.record import FAMILY
from gateway.core.verdict import Verdict
from gateway.grants import Grants
from gateway.ledger import Claim, ClaimOutcome, Ledger, LedgerUnavailable, RequestOutcome
from gateway.live_calls import LiveCall, LiveCalls
from gateway.settlement import from_ms, names
from gateway.steps import Steps
from gateway.waiting_room import OTHERS_SECONDS, Overloaded

log = structlog.get_logger()

RELEASE_CONTEXT = "dialout-release"
REFUSE_CONTEXT = "dialout-refuse"

GATE_SECONDS_MAX = 4
"""The gate's own bound and a little."""

CLAIM_SECONDS_MAX = 2.0
"""How old a claim may be when its channel is let go on. Less than the time after which another
gateway answers in its place."""

TAKE_OVER_SECONDS = CLAIM_SECONDS_MAX + 0.5
"""How long a channel waits before its gateway is taken for dead. Less than it waits at most."""

ANSWER_SECONDS_MAX = 3.0
"""How long Asterisk may take to read an answer that nobody else gives."""

STEPS_MAX = 500
"""What is done at once for channels that wait. With more in hand, no raw number is answered."""

WATCHES_MAX = 1000
"""Channels of other gateways, and such as do not exist, that are watched at once in case that
nobody answers them. A gateway that has died leaves fewer behind."""

OVERLOADED = "overloaded"
"""What a channel hears that is refused for want of room, where others hear a reason."""

Waiting = GateReached | InterceptReached


class Gate:
    """Answers the channels that wait at the gate of one bridge.

    ``forget`` follows a call no longer. ``in_doubt`` is set when one of ours was claimed too late
    to be let dial, and the reconciliation is to end it.
    """

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        admission: Admission,
        calls: LiveCalls,
        forget: Callable[[LiveCall], None],
        in_doubt: asyncio.Event,
        now: Callable[[], datetime],
        grants: Grants | None = None,
    ) -> None:
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._admission = admission
        self._calls = calls
        self._forget = forget
        self._in_doubt = in_doubt
        self._now = now
        self._grants = grants
        self._steps = Steps(fault="call.step_failed")
        self._watches = Steps(fault="call.step_failed")
        self._moved: dict[str, asyncio.Event] = {}
        self._opening: set[str] = set()

    def moved_on(self, uniqueid: str) -> None:
        """Note that a channel dials or is gone: whoever waits at the gate, it does not."""
        moved = self._moved.get(uniqueid)
        if moved is not None:
            moved.set()

    def handle(self, event: Waiting) -> None:
        """Answer a channel that has come to the gate; never waits.

        Who may send events may say that any channel has come, and again and again: what is done
        for them is bounded, and what is done for our own calls is apart from it.
        """
        reached_at = _time()
        match event:
            case InterceptReached() if len(self._steps) >= STEPS_MAX:
                log.error("gate.ignored", uniqueid=event.uniqueid)
            case InterceptReached():
                self._steps.spawn(self._intercept(event, reached_at))
            case GateReached():
                self._reached(event, reached_at)

    async def drain(self, seconds: float) -> None:
        """Let who waits be answered; after ``seconds`` the rest is left to other gateways."""
        await self._steps.drain(seconds)
        await self._watches.give_up()

    def _reached(self, event: GateReached, reached_at: float) -> None:
        key = DialOutKey.parse(event.key_hex)
        if key is None or event.uniqueid != key.gate_uniqueid:
            log.warning("gate.ignored", uniqueid=event.uniqueid)
            return
        if self._grants is not None:
            self._grants.note_gate(key)
        live = self._calls.at_gate(event.uniqueid)
        if live is None or live.claiming is None:
            self._watch(event, key, reached_at)
        elif live.call.follows(CallEvent.RELEASE) and event.uniqueid not in self._opening:
            self._opening.add(event.uniqueid)
            self._steps.spawn(self._open(event, live, live.claiming, reached_at))

    def _watch(self, event: GateReached, key: DialOutKey, reached_at: float) -> None:
        """See whether the gateway whose call it is answers, unless that is done already."""
        if event.uniqueid in self._moved:
            return
        if len(self._watches) >= WATCHES_MAX:
            log.error("gate.ignored", uniqueid=event.uniqueid)
            return
        self._watches.spawn(self._answer_for_another(event, key, reached_at))

    async def _answer_for_another(self, event: Waiting, key: DialOutKey, reached_at: float) -> None:
        await self._take_over(event, key, reached_at)

    async def _open(
        self,
        event: GateReached,
        live: LiveCall,
        claiming: asyncio.Task[Claim | ClaimOutcome],
        reached_at: float,
    ) -> None:
        """Let a call dial that we originated, claimed, and have not let dial before."""
        try:
            async with live.lock:
                is_answered = await self._answer(event, live, await claiming)
        finally:
            self._opening.discard(event.uniqueid)
        if not is_answered:
            self._forget(live)
            if not await self._take_over(event, live.call.key, reached_at):
                self._in_doubt.set()

    async def _answer(
        self, event: GateReached, live: LiveCall, claim: Claim | ClaimOutcome
    ) -> bool:
        """Answer a channel of ours; return False if a claim of ours is not good for it any more."""
        key = live.call.key
        if claim is ClaimOutcome.RELEASED:
            log.info("gate.left", uniqueid=event.uniqueid, **names(key))
            return False
        if not isinstance(claim, Claim) or live.cancelled:
            log.info("gate.refused", claim=claim, cancelled=live.cancelled, **names(key))
            await hang_up(self._ami, event.uniqueid, CAUSE_REFUSED)
            return True
        if not await self._is_first(event, live, claim):
            return True
        if live.cancelled:
            await hang_up(self._ami, event.uniqueid, CAUSE_REFUSED)
            return True
        return await self._released(live, claim, event, live.claimed_at)

    async def _intercept(self, event: InterceptReached, reached_at: float) -> None:
        """Decide on a channel that came with a raw number, while it waits.

        Raises ``LedgerUnavailable``.
        """
        request = _intercepted(event, self._bridge)
        if request is None:
            await self._refuse(event, Reason.TENANT_UNKNOWN)
            return
        if event.uniqueid in self._calls:
            log.error("gate.forged", uniqueid=event.uniqueid)
            return
        call = Call(key=request.key, gate_uniqueid=event.uniqueid)
        live = self._calls.track(call, request, GATE_SECONDS_MAX)
        async with live.lock:
            try:
                self._admission.check_room(len(self._calls) - 1)
                outcome, dial_out = await self._admission.admit(
                    request, at=self._now(), gate_uniqueid=event.uniqueid
                )
            except Overloaded:
                self._forget(live)
                await self._turn_away(event)
                return
            except LedgerUnavailable:
                # Another gateway may have let it go on: what is seen of it proves nothing here.
                self._forget(live)
                self._in_doubt.set()
                raise
            if outcome is RequestOutcome.RESERVED:
                assert dial_out is not None, "what was reserved has a row"
                log.info("dial_out.reserved", **dial_out.summary())
                if await self._released(live, Claim.of(dial_out), event, reached_at):
                    return
            self._forget(live)
        if (
            dial_out is not None
            and dial_out.gate_uniqueid == event.uniqueid
            and dial_out.state is not DialOutState.ENDED
        ):
            is_answered = await self._take_over(event, request.key, reached_at)
            if outcome is RequestOutcome.RESERVED and not is_answered:
                self._in_doubt.set()
            return
        log_refusal(request, dial_out)
        await self._refuse(event, _refusal(outcome, dial_out))

    async def _is_first(self, event: Waiting, live: LiveCall, claim: Claim) -> bool:
        """Return whether no channel of a call dialled before; write it down if it is granted.

        Where calls are granted while the ledger is away, a claim alone does not say so: another
        gateway may have granted this one. While its channel was there, ours could not have come;
        since it is gone, its record lies on the Asterisk host until the call is booked. A channel
        that is not the first, or perhaps not, is hung up.
        """
        key = live.call.key
        if self._grants is None or await self._may_dial(self._grants, key, claim):
            return True
        log.error("gate.dialled_before", uniqueid=event.uniqueid, **names(key))
        await self._grants.drop(key)
        self._forget(live)
        await hang_up(self._ami, event.uniqueid, CAUSE_REFUSED)
        return False

    async def _may_dial(self, grants: Grants, key: DialOutKey, claim: Claim) -> bool:
        try:
            if await self._ami.record(FAMILY, key.hex) is not None:
                return False
        except AmiError:
            return False
        uptime_seconds = self._ami.uptime_seconds
        if not grants.is_first(key, granted=claim.granted, uptime_seconds=uptime_seconds):
            return False
        return not claim.granted or await grants.release(key)

    # A channel that its own gateway has let wait.

    async def _take_over(self, event: Waiting, key: DialOutKey, reached_at: float) -> bool:
        """Let a channel dial that nobody has answered, if the ledger gives us that claim.

        Returns whether it did. Only who waits is asked for: a channel that was let go on would
        be taken out of its call.

        Raises ``LedgerUnavailable``.
        """
        if not await self._is_left(event.uniqueid, reached_at):
            return False
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or not await self._waits(event) or await self._is_recorded(key):
            log.info("gate.ignored", uniqueid=event.uniqueid)
            return False
        claim = await self._ledger.take_over(key, event.uniqueid, self._now(), booted_at(self._ami))
        if not isinstance(claim, Claim):
            log.info("gate.left", uniqueid=event.uniqueid, claim=claim, **names(key))
            return False
        log.warning("dial_out.taken_over", **dial_out.summary())
        call = Call(key=key, gate_uniqueid=event.uniqueid)
        live = self._calls.track(call, dial_out.request, GATE_SECONDS_MAX)
        async with live.lock:
            if await self._is_first(event, live, claim):
                await self._release(live, claim, event, ANSWER_SECONDS_MAX)
        return True

    async def _is_left(self, uniqueid: str, reached_at: float) -> bool:
        """Wait until a channel moves on; return True if it has not when its time is up."""
        moved = self._moved.setdefault(uniqueid, asyncio.Event())
        try:
            async with asyncio.timeout_at(reached_at + TAKE_OVER_SECONDS):
                await moved.wait()
        except TimeoutError:
            return True
        finally:
            self._moved.pop(uniqueid, None)
        return False

    async def _waits(self, event: Waiting) -> bool:
        """Return whether the channel itself says that it waits, and on this very visit."""
        try:
            return await self._ami.visit(event.uniqueid) == event.visit
        except AmiError:
            return False

    async def _is_recorded(self, key: DialOutKey) -> bool:
        """Return whether a call has been, and waits to be settled; True if that is unknown."""
        try:
            return await self._ami.record(FAMILY, key.hex) is not None
        except AmiError:
            return True

    # The answers.

    async def _turn_away(self, event: InterceptReached) -> None:
        """Refuse a channel for which there is no room here, unless another gateway has some."""
        await asyncio.sleep(OTHERS_SECONDS)
        if await self._waits(event):
            await self._refuse(event, OVERLOADED)

    async def _released(
        self, live: LiveCall, claim: Claim, event: Waiting, claimed_at: float
    ) -> bool:
        """Let the channel dial by a claim of that instant; return False if that is too old."""
        age = _time() - claimed_at
        if age >= CLAIM_SECONDS_MAX:
            return False
        await self._release(live, claim, event, TAKE_OVER_SECONDS - age)
        return True

    async def _release(self, live: LiveCall, claim: Claim, event: Waiting, seconds: float) -> None:
        """Let the channel dial, unless it hung up while the ledger was asked.

        An answer that Asterisk has not read after ``seconds`` must not reach it any more: another
        gateway may have answered by then, and this one would end the call.
        """
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
                deadline_seconds=seconds,
            )
        except AmiTimeout as error:
            log.warning("dial_out.release_failed", error=str(error), **names(key))
            self._ami.reset("a release was not answered")
        except AmiRefused as error:
            # The channel has gone, perhaps before it was followed: then nothing else tells of it.
            log.warning("dial_out.release_failed", error=str(error), **names(key))
            self._forget(live)
            self._in_doubt.set()
        except AmiError as error:
            # The channel's hangup, which is still to come or to be found, voids the claim.
            log.warning("dial_out.release_failed", error=str(error), **names(key))

    async def _refuse(self, event: InterceptReached, word: str) -> None:
        try:
            await self._ami.set_and_redirect(
                channel=event.uniqueid,
                variable="DIALOUT_REASON",
                value=word,
                context=REFUSE_CONTEXT,
                extension="s",
                action_id=f"refuse-{uuid4().hex}",
            )
        except AmiError as error:
            log.warning("dial_out.refusal_unsaid", error=str(error), uniqueid=event.uniqueid)


def booted_at(ami: AmiClient) -> datetime | None:
    """Return when Asterisk began, by its own clock; None if it does not say."""
    return None if ami.booted_at_ms is None else from_ms(ami.booted_at_ms)


async def hang_up(ami: AmiClient, channel: str, cause: int) -> bool | None:
    """Hang a channel up; return False if there is none, None if Asterisk did not say."""
    try:
        await ami.hangup(channel, cause=cause)
    except AmiRefused:
        return False
    except AmiError as error:
        log.warning("call.hangup_failed", error=str(error), channel=channel)
        return None
    return True


def log_refusal(request: DialOutRequest, dial_out: DialOut | None) -> None:
    """Say that a request is refused, and why; ``dial_out`` is None for an unknown tenant."""
    if dial_out is None:
        log.info("dial_out.refused", reason=Reason.TENANT_UNKNOWN.value, **names(request.key))
    else:
        log.info("dial_out.refused", **dial_out.summary())


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


def _time() -> float:
    return asyncio.get_running_loop().time()
