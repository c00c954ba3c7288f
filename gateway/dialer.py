"""Drives each call: Asterisk's reports go into ``core.call``, what follows to ledger and AMI.

Events are applied at once and in order, by one consumer; nothing in ``handle`` waits.
What has to wait (a claim, a settlement) runs as a task of its own, and a lock a call
keeps the tasks of one call from overtaking each other.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

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
from gateway.core.call import Call, CallEvent, CallState, Ending
from gateway.core.causes import CAUSE_REFUSED, Disposition, is_answer
from gateway.core.dial_out import DialOut, DialOutKind, DialOutRequest, DialOutState
from gateway.core.key import DialOutKey
from gateway.core.policy import OrganizerId
from gateway.core.reasons import Reason
from gateway.core.record import FAMILY, CallRecord
from gateway.ledger import (
    Claim,
    ClaimOutcome,
    Ledger,
    LedgerUnavailable,
    RequestOutcome,
    SettleOutcome,
    VoidOutcome,
)

log = structlog.get_logger()
P = ParamSpec("P")
T = TypeVar("T")

GATE_CONTEXT = "dialout-gate"
RELEASE_CONTEXT = "dialout-release"
REFUSE_CONTEXT = "dialout-refuse"
JOIN_CONTEXT = "dialout-join"

CAUSE_NORMAL_CLEARING = 16
CLAIM_SECONDS_MAX = 2.0
"""How old a claim may be when its channel reaches the gate. Less than the time between the
two lists of channels that prove a call absent, or another gateway might have voided it."""

GATE_SECONDS_MAX = 4
"""The gate's own bound and a little: how much longer than the ringing an Originate may last."""

CAP_GRACE_SECONDS = 10
"""The second limit in Asterisk, beyond ringing and talking: it ends what the first one missed."""


class BridgeUnavailable(Exception):
    """The conference bridge cannot be reached, or would not take the call."""


@dataclass(slots=True, eq=False)
class LiveCall:
    """A call that this gateway follows.

    ``cap_at`` is on the event loop's clock. ``claiming`` is the claim of a call that we
    originated, ``claimed_at`` when it was asked for. ``dialled`` is set once the trunk is
    being dialled, or never will be.
    """

    call: Call
    cap_at: float | None = None
    claiming: asyncio.Task[Claim | ClaimOutcome] | None = None
    claimed_at: float = 0.0
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
        now: Callable[[], datetime],
    ) -> None:
        self._ami = ami
        self._ledger = ledger
        self._admission = admission
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

        Raises ``BridgeUnavailable`` when no telephone will ring because of this request,
        and ``LedgerUnavailable`` when the ledger did not answer: ask again with the same key.
        """
        if not self._ami.ready:
            raise BridgeUnavailable
        outcome, dial_out = await self._admission.admit(request, at=self._now())
        if outcome in (RequestOutcome.REFUSED, RequestOutcome.UNKNOWN_TENANT):
            _log_refusal(request, dial_out)
        if outcome is not RequestOutcome.RESERVED:
            return outcome, dial_out
        assert dial_out is not None, "what was reserved has a row"
        log.info("dial_out.reserved", **dial_out.summary())
        return outcome, await self._originate(dial_out)

    async def cancel(self, key: DialOutKey) -> DialOut | None:
        """End the dial-out wherever it is; return its row, or None if there is none.

        What has not reached the trunk never will; what rings or talks is hung up, and is
        settled when Asterisk reports the hangup.
        """
        dial_out = await self._ledger.dial_out(key)
        if dial_out is None or dial_out.state in (DialOutState.REFUSED, DialOutState.ENDED):
            return dial_out
        if dial_out.state is DialOutState.RESERVED:
            await self._give_back(key, Disposition.CANCELLED, "cancelled")
        await self._hang_up(dial_out.gate_uniqueid or key.gate_uniqueid, CAUSE_NORMAL_CLEARING)
        return await self._ledger.dial_out(key)

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

    def attach(self, dial_out: DialOut) -> None:
        """Follow a call that was found alive: its channel exists, its past was not seen."""
        gate_uniqueid = dial_out.gate_uniqueid or dial_out.request.key.gate_uniqueid
        if gate_uniqueid in self._by_gate:
            return
        state = CallState.RESERVED
        if dial_out.state in (DialOutState.RELEASED, DialOutState.ANSWERED):
            state = CallState.RELEASED
        live = self._track(
            Call(
                key=dial_out.request.key, gate_uniqueid=gate_uniqueid, state=state, witnessed=False
            )
        )
        live.cap_at = self._cap_at(dial_out.talk_seconds or 0, dial_out.ring_seconds or 0)

    def follows(self, gate_uniqueid: str) -> bool:
        """Return whether this gateway has the call in hand and has seen all of it."""
        live = self._by_gate.get(gate_uniqueid)
        return live is not None and live.call.witnessed

    def live_keys(self) -> Iterator[DialOutKey]:
        """Yield the keys of the calls that are up or on their way."""
        return (live.call.key for live in self._by_gate.values())

    # What the reaper and the reconciliation have done.

    async def hang_up_overdue(self) -> None:
        """Hang up every call that has outlived both limits that Asterisk was given."""
        time = asyncio.get_running_loop().time()
        for live in list(self._by_gate.values()):
            if live.cap_at is not None and live.cap_at <= time:
                log.error("call.overdue", **_names(live.call.key))
                live.cap_at = time + CAP_GRACE_SECONDS
                await self._hang_up(live.call.gate_uniqueid, CAUSE_NORMAL_CLEARING)

    async def end(self, key: DialOutKey, gate_uniqueid: str, ending: Ending) -> None:
        """Settle or void what the ledger set aside for a call that is proved to be over.

        Goes on trying until the ledger has answered: a settlement that is given up is
        money lost. Doing it twice changes nothing. The record on the Asterisk host goes
        only after the ledger has taken the ending.
        """
        dial_out = await self._booked(key, ending)
        if dial_out is not None:
            log.info("dial_out.ended", **dial_out.summary())
        try:
            await self._ami.record_delete(FAMILY, key.hex)
        except AmiError as error:
            log.warning("record.kept", error=str(error), **_names(key))
        self._forget(gate_uniqueid)

    async def drain(self, seconds: float) -> None:
        """Let the steps in hand finish; after ``seconds`` they are given up.

        What is given up is not lost: its row in the ledger is open, and the record on the
        Asterisk host is still there, for the next start.
        """
        if self._steps:
            await asyncio.wait(self._steps, timeout=seconds)
        for step in list(self._steps):
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    # The steps of a call.

    async def _originate(self, dial_out: DialOut) -> DialOut:
        key = dial_out.request.key
        assert dial_out.ring_seconds is not None, "a reservation has its terms"
        live = self._track(Call(key=key, gate_uniqueid=key.gate_uniqueid))
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
                timeout_ms=(dial_out.ring_seconds + GATE_SECONDS_MAX) * 1000,
                channel_id=key.join_uniqueid,
                other_channel_id=key.gate_uniqueid,
            )
        except AmiError as error:
            # Refused or unknown. A gate that is reached all the same finds nobody who
            # knows the call, so nothing will be dialled, whatever Asterisk did.
            log.warning("dial_out.originate_failed", error=str(error), **_names(key))
            self._forget(live.call.gate_uniqueid)
            await asyncio.gather(live.claiming, return_exceptions=True)
            await self._give_back(key, Disposition.FAILED, "not_originated", claimed_too=True)
            raise BridgeUnavailable from error
        await _within(live.dialled.wait(), GATE_SECONDS_MAX)
        with contextlib.suppress(LedgerUnavailable):
            return await self._ledger.dial_out(key) or dial_out
        return dial_out

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
            if isinstance(claim, Claim) and waited < CLAIM_SECONDS_MAX:
                await self._release(live, claim, event)
            else:
                log.warning("dial_out.claim_refused", waited=waited, **_names(live.call.key))
                await self._hang_up(event.uniqueid, CAUSE_REFUSED)

    async def _intercept(self, event: InterceptReached) -> None:
        request = _intercepted(event)
        if request is None:
            await self._refuse(event, Reason.TENANT_UNKNOWN)
            return
        live = self._track(Call(key=request.key, gate_uniqueid=event.uniqueid))
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
            _log_refusal(request, dial_out)
        await self._refuse(event, _refusal(outcome, dial_out))

    async def _release(
        self, live: LiveCall, claim: Claim, event: GateReached | InterceptReached
    ) -> None:
        """Let the channel dial, unless it hung up while the ledger was asked."""
        if not live.call.follows(CallEvent.RELEASE):
            return
        key = live.call.key
        live.call = live.call.released()
        live.cap_at = self._cap_at(claim.talk_seconds, claim.ring_seconds)
        try:
            await self._ami.set_and_redirect(
                channel=event.uniqueid,
                variable="DIALOUT_VERDICT",
                value=_verdict(key, claim, event),
                context=RELEASE_CONTEXT,
                extension=key.extension,
                action_id=f"{key.hex}-release",
            )
        except AmiError as error:
            # The channel's hangup, which is still to come or to be found, voids the claim.
            log.warning("dial_out.release_failed", error=str(error), **_names(key))

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
        live.call = live.call.dial_begun(event.dest_uniqueid)
        self._by_trunk[event.dest_uniqueid] = live
        live.dialled.set()
        log.info("call.dialed", channel=event.dest_channel, **_names(live.call.key))

    def _dial_ended(self, event: DialEnd) -> None:
        live = self._by_trunk.get(event.dest_uniqueid)
        answered = is_answer(event.dial_status)
        fits = CallEvent.DIAL_ANSWER if answered else CallEvent.DIAL_FAIL
        if live is None or not live.call.follows(fits):
            return
        at_ms = self._at_ms(event.at)
        live.call = live.call.dial_ended(event.dial_status, at_ms)
        if answered:
            log.info("call.answered", **_names(live.call.key))
            self._spawn(self._note_answer(live.call.key, at_ms))

    def _hung_up(self, event: Hangup) -> None:
        at_ms = self._at_ms(event.at)
        live = self._by_trunk.get(event.uniqueid)
        if live is not None and live.call.follows(CallEvent.TRUNK_HANGUP):
            live.call = live.call.trunk_hung_up(event.cause, at_ms)
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

    async def _note_answer(self, key: DialOutKey, at_ms: int) -> None:
        await _until_booked(self._ledger.answered, key, from_ms(at_ms))

    async def _finish(self, live: LiveCall, gate_cause: int, gate_at_ms: int) -> None:
        """Settle a call whose gate channel is gone, on what was seen or on the record."""
        async with live.lock:
            call = live.call
            ending = call.ending(gate_cause=gate_cause, gate_at_ms=gate_at_ms)
            if ending is None:
                ending = await self._recorded_ending(call)
            if ending is None:
                log.warning("call.end_unproved", **_names(call.key))
                self._forget(call.gate_uniqueid)
                self.in_doubt.set()
            else:
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

    async def _booked(self, key: DialOutKey, ending: Ending) -> DialOut | None:
        """Have the ledger take the ending; return the row if this was the first time."""
        ended_at = from_ms(ending.ended_at_ms)
        if ending.answered_at_ms is None:
            voided, row = await _until_booked(
                self._ledger.void,
                key,
                at=ended_at,
                hangup_cause=ending.hangup_cause,
                disposition=ending.disposition,
                only_if_unclaimed=False,
                evidence=ending.evidence,
            )
            return self._first(key, voided, VoidOutcome.VOIDED, row)
        settled, row = await _until_booked(
            self._ledger.settle,
            key,
            answered_at=from_ms(ending.answered_at_ms),
            ended_at=ended_at,
            hangup_cause=ending.hangup_cause,
            disposition=ending.disposition,
            evidence=ending.evidence,
        )
        return self._first(key, settled, SettleOutcome.SETTLED, row)

    @staticmethod
    def _first(
        key: DialOutKey,
        outcome: VoidOutcome | SettleOutcome,
        done: VoidOutcome | SettleOutcome,
        row: DialOut | None,
    ) -> DialOut | None:
        """Return the row if the ledger did it now; say so if it has reason to disagree."""
        if outcome is done:
            return row
        if outcome not in (VoidOutcome.EXISTS, SettleOutcome.EXISTS):
            log.error("dial_out.ending_disputed", outcome=outcome, **_names(key))
        return None

    async def _give_back(
        self,
        key: DialOutKey,
        disposition: Disposition,
        evidence: str,
        *,
        claimed_too: bool = False,
    ) -> None:
        """Void a dial-out that nobody claimed. From then on nobody can."""
        outcome, dial_out = await self._ledger.void(
            key,
            at=self._now(),
            hangup_cause=0,
            disposition=disposition,
            only_if_unclaimed=not claimed_too,
            evidence=evidence,
        )
        if outcome is VoidOutcome.VOIDED and dial_out is not None:
            log.info("dial_out.ended", **dial_out.summary())

    async def void_expired(self) -> None:
        """Give back what was set aside for dial-outs that never reached their gate."""
        for key in await self._ledger.expired(self._now()):
            await self._give_back(key, Disposition.FAILED, "expired")

    async def _hang_up(self, channel: str, cause: int) -> None:
        try:
            await self._ami.hangup(channel, cause=cause)
        except AmiRefused:
            pass  # it is gone already
        except AmiError as error:
            log.warning("call.hangup_failed", error=str(error), channel=channel)

    # Bookkeeping.

    def _track(self, call: Call) -> LiveCall:
        live = LiveCall(call=call)
        self._by_gate[call.gate_uniqueid] = live
        return live

    def _forget(self, gate_uniqueid: str) -> None:
        live = self._by_gate.pop(gate_uniqueid, None)
        if live is None:
            return
        live.dialled.set()
        if live.call.trunk_uniqueid is not None:
            self._by_trunk.pop(live.call.trunk_uniqueid, None)

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_contained(step))
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)

    def _at_ms(self, at_ms: int | None) -> int:
        """Return Asterisk's own instant of an event; our clock only where it gave none."""
        return int(self._now().timestamp() * 1000) if at_ms is None else at_ms

    @staticmethod
    def _cap_at(talk_seconds: int, ring_seconds: int) -> float:
        bound = talk_seconds + ring_seconds + 2 * CAP_GRACE_SECONDS
        return asyncio.get_running_loop().time() + bound


def from_ms(at_ms: int) -> datetime:
    """Return the instant that milliseconds since the epoch stand for."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).replace(microsecond=at_ms % 1000 * 1000)


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


async def _within(step: Coroutine[Any, Any, Any], seconds: float) -> None:
    """Wait for a step, but no longer than this; what comes of it is told elsewhere."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(step, seconds)


async def _until_booked(
    book: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Ask the ledger until it has answered."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(LedgerUnavailable),
        wait=wait_exponential(multiplier=0.1, max=5.0) + wait_random(max=0.1),
    )
    return await retrying(book, *args, **kwargs)


def _verdict(key: DialOutKey, claim: Claim, event: GateReached | InterceptReached) -> str:
    cap_seconds = claim.ring_seconds + claim.talk_seconds + CAP_GRACE_SECONDS
    fields = (
        "allow",
        key.hex,
        event.visit,
        event.uniqueid,
        claim.destination.removeprefix("+"),
        str(claim.talk_seconds * 1000),
        str(cap_seconds),
        str(claim.ring_seconds),
        claim.caller_id.removeprefix("+"),
    )
    return ":".join(fields)


def _intercepted(event: InterceptReached) -> DialOutRequest | None:
    """Return what an intercepted channel asks for; None if it names no possible tenant or id."""
    try:
        tenant_id = UUID(event.tenant)
        dial_out_id = UUID(event.dial_out_id) if event.dial_out_id else uuid4()
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
        log.info("dial_out.refused", reason=Reason.TENANT_UNKNOWN.value, **_names(request.key))
    else:
        log.info("dial_out.refused", **dial_out.summary())


def _names(key: DialOutKey) -> dict[str, str]:
    return {"tenant_id": str(key.tenant_id), "dial_out_id": str(key.dial_out_id)}
