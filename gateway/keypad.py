"""Numbers that are typed in a conference: who asks, what is decided, and what is heard of it.

The participant waits in the dialplan, eight seconds at most, and is told that nobody can say
when these are over. So an entry is answered in time or its call is not placed: what has not
been told to the participant is hung up again before anybody's telephone rings for long.

Who asks is looked up and not believed. A telephone that we called in ourselves is whoever its
call says; anybody else is whoever the variables of the channel claim, and only in a conference
that has the channel as a member by Asterisk's own list. Whether there are such a tenant and
organizer, and whether the meeting is this organizer's, the decision looks at like any other.

That it was asked at all is not believed either: whoever may send AMI events could say so of any
channel. What is asked is read again from the channel, where only the dialplan has put it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import structlog

from gateway.ami import (
    AmiClient,
    AmiError,
    ConferenceChanged,
    Event,
    Hangup,
    KeypadCancelReached,
    KeypadReached,
)
from gateway.core.causes import Disposition
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
from gateway.dialer import BridgeUnavailable, CallNotPlaced, Dialer
from gateway.ledger import Ledger, LedgerUnavailable
from gateway.settlement import names
from gateway.steps import Steps
from gateway.waiting_room import OTHERS_SECONDS, Overloaded

log = structlog.get_logger()

OUTCOME = "DIALOUT_OUTCOME"
OUTCOME_CONTEXT = "dialout-outcome"
ASKED = "DIALOUT_ASKED"

CALLING = "calling"
AWAY = "gateway_away"
OVERLOADED = "overloaded"
CANCELLED = "cancelled"
"""Words that are told beside the reasons of a refusal and the dispositions of a call."""

DECIDE_SECONDS_MAX = 4.0
LATE_SECONDS_MAX = 1.0
"""How long an entry is decided, and how old it may be before. With the three seconds of an AMI
action, which tells the outcome, less than the participant waits."""

ENTRIES_MAX = 50
"""Entries that are decided at once."""

STEPS_MAX = 500
"""Entries that are answered at once, those included that are only told of a crowd."""

PROMPT_SECONDS = 4.0
"""How long the participant hears that the number is called, before being in the room again."""

WHISPER_SECONDS_MAX = 10

_TOLD_LATER = frozenset(
    {Disposition.BUSY, Disposition.NO_ANSWER, Disposition.CONGESTION, Disposition.FAILED}
)
"""What comes of a call that its asker hears of. Not what the asker has caused."""

_MAY_RING = frozenset({DialOutState.RESERVED, DialOutState.RELEASED})


@dataclass(slots=True)
class Asked:
    """A call that a participant has asked for, for as long as there may be news of it.

    ``told_at`` is when the participant was told that it is being placed, on the event loop's
    clock. ``disposition`` is what became of it, if that was known sooner.
    """

    asker_uniqueid: str
    told_at: float | None = None
    disposition: Disposition | None = None


class Keypad:
    """Answers those who type numbers in the conferences of one Asterisk."""

    def __init__(
        self,
        *,
        bridge: BridgeName,
        ami: AmiClient,
        ledger: Ledger,
        dialer: Dialer,
        cancel: Callable[[str], Coroutine[Any, Any, bool]],
    ) -> None:
        """``cancel`` ends what rings for a channel, and returns whether anything did."""
        self._bridge = bridge
        self._ami = ami
        self._ledger = ledger
        self._dialer = dialer
        self._cancel_for = cancel
        self._steps = Steps(fault="keypad.failed")
        self._whispers = Steps(fault="keypad.failed")
        self._deciding: set[tuple[str, str]] = set()
        self._asked: dict[str, Asked] = {}
        self._is_closed = False

    def handle(self, event: Event) -> None:
        """Apply one event, which the dialer has applied already; never waits."""
        match event:
            case KeypadReached():
                self._reached(event)
            case KeypadCancelReached():
                self._cancel_reached(event)
            case ConferenceChanged(joined=False):
                self._left(event.uniqueid)
            case Hangup():
                self._hung_up(event)
            case _:
                pass

    def link_lost(self) -> None:
        """Expect no more news of any call; what has not been placed yet is abandoned."""
        self._asked.clear()

    async def drain(self, seconds: float) -> None:
        """Let the entries in hand be answered, for so many seconds, and take no new ones.

        What is still to be whispered is left unsaid.
        """
        self._is_closed = True
        await self._steps.drain(seconds)
        await self._whispers.give_up()

    # An entry.

    def _reached(self, event: KeypadReached) -> None:
        visit = (event.uniqueid, event.visit)
        if visit in self._deciding or len(self._steps) >= STEPS_MAX:
            log.error("keypad.ignored", channel=event.channel)
        elif self._is_closed or len(self._deciding) >= ENTRIES_MAX:
            log.warning("keypad.overloaded", channel=event.channel)
            self._steps.spawn(self._turn_away(event))
        else:
            self._deciding.add(visit)
            self._steps.spawn(self._answer(event))

    async def _turn_away(self, event: KeypadReached) -> None:
        await self._tell(event, OVERLOADED)

    async def _answer(self, event: KeypadReached) -> None:
        """Decide one entry and tell its participant; nothing is placed of which he is not told."""
        try:
            word, request = await self._decide(event)
            log.info("keypad.decided", word=word, channel=event.channel)
            is_told = word is not None and await self._tell(event, word)
            if word == CALLING and request is not None:
                self._placed(request, is_told=is_told)
        finally:
            self._deciding.discard((event.uniqueid, event.visit))

    async def _decide(self, event: KeypadReached) -> tuple[str | None, DialOutRequest | None]:
        """Return what is to be told, None if it is too late for anything, and of which request."""
        request = None
        try:
            async with asyncio.timeout(DECIDE_SECONDS_MAX):
                if await self._is_late(event):
                    return None, None
                if not await self._is_asked(event, _kept(event)):
                    return None, None
                request = await self._request(event)
                if request is None:
                    return Reason.TENANT_UNKNOWN, None
                return await self._place(request), request
        except Overloaded as error:
            log.warning("keypad.overloaded", error=str(error), channel=event.channel)
            return await self._overloaded(event), request
        except (
            TimeoutError,
            AmiError,
            BridgeUnavailable,
            CallNotPlaced,
            LedgerUnavailable,
        ) as error:
            log.warning("keypad.undecided", error=repr(error), channel=event.channel)
            return AWAY, request

    async def _is_late(self, event: KeypadReached) -> bool:
        """Return whether the participant may have given up before there is an answer."""
        if event.at is None:
            return False
        return await self._ami.ping() - event.at > LATE_SECONDS_MAX * 1000

    async def _overloaded(self, event: KeypadReached) -> str | None:
        """Return what is to be told where there is no room; None if another gateway had some."""
        await asyncio.sleep(OTHERS_SECONDS)
        try:
            told = await self._ami.variable(OUTCOME, channel=event.uniqueid)
        except AmiError:
            return None  # it could not be told either
        return None if told.startswith(f"{event.visit}:") else OVERLOADED

    async def _place(self, request: DialOutRequest) -> str:
        """Place the call, and return what is to be told; but for ``CALLING`` nothing rings."""
        gate_uniqueid = request.key.gate_uniqueid
        assert request.asker_uniqueid is not None, "somebody has typed the number"
        self._asked[gate_uniqueid] = Asked(asker_uniqueid=request.asker_uniqueid)
        word = AWAY
        try:
            _, dial_out = await self._dialer.place(request)
            if gate_uniqueid in self._asked:
                word = _word(dial_out)
        finally:
            if word != CALLING:
                self._give_up(gate_uniqueid)
        return word

    def _placed(self, request: DialOutRequest, *, is_told: bool) -> None:
        """Wait for what becomes of a call, or hang it up if nobody waits for it with us."""
        gate_uniqueid = request.key.gate_uniqueid
        if not is_told:
            log.warning("keypad.unheard", **names(request.key))
            self._give_up(gate_uniqueid)
            return
        asked = self._asked.get(gate_uniqueid)
        if asked is None:
            return  # the asker has left or the link was lost, and both are seen elsewhere
        asked.told_at = _time()
        if asked.disposition is not None:
            self._over(gate_uniqueid, asked.disposition)
        elif gate_uniqueid not in self._dialer.calls:
            del self._asked[gate_uniqueid]  # another gateway placed it, and tells what comes of it

    def _give_up(self, gate_uniqueid: str) -> None:
        """Have a call end that we placed. Of one that another gateway placed that one tells."""
        self._asked.pop(gate_uniqueid, None)
        if self._dialer.calls.originated(gate_uniqueid) is not None:
            self._dialer.abandon(gate_uniqueid)

    async def _is_asked(self, event: KeypadReached | KeypadCancelReached, asked: str) -> bool:
        """Return whether the channel says what an event says of it; else somebody made it up."""
        is_asked = await self._ami.variable(ASKED, channel=event.uniqueid) == asked
        if not is_asked:
            log.error("gate.forged", uniqueid=event.uniqueid, channel=event.channel)
        return is_asked

    async def _tell(self, event: KeypadReached | KeypadCancelReached, word: str) -> bool:
        """Tell the participant who waits; return whether Asterisk says that it was done."""
        try:
            await self._ami.set_variable(OUTCOME, f"{event.visit}:{word}", channel=event.uniqueid)
        except AmiError as error:
            log.warning("keypad.untold", error=str(error), word=word, channel=event.channel)
            return False
        return True

    # What rings is not wanted any more.

    def _cancel_reached(self, event: KeypadCancelReached) -> None:
        if self._is_closed or len(self._steps) >= STEPS_MAX:
            log.error("keypad.ignored", channel=event.channel)
        else:
            self._steps.spawn(self._cancel(event))

    async def _cancel(self, event: KeypadCancelReached) -> None:
        """Cancel for one participant. Silence tells him that it may ring on.

        Not a word of ours: a gateway that knows more may have one.
        """
        try:
            async with asyncio.timeout(DECIDE_SECONDS_MAX):
                if not await self._is_asked(event, f"{event.visit}:cancel"):
                    return
                is_quiet = await self._cancel_for(event.uniqueid) or await self._knows_askers()
        except (TimeoutError, AmiError, LedgerUnavailable) as error:
            log.warning("keypad.undecided", error=repr(error), channel=event.channel)
            return
        log.info("keypad.cancelled", is_quiet=is_quiet, channel=event.channel)
        if is_quiet:
            await self._tell(event, CANCELLED)

    async def _knows_askers(self) -> bool:
        """Return whether of each number that was typed and may ring we know by which channel.

        Not of one that was typed at another gateway, or before this one began.
        """
        for dial_out in await self._ledger.open_dial_outs(self._bridge):
            if (
                dial_out.request.kind is DialOutKind.KEYPAD
                and dial_out.state in _MAY_RING
                and not self._knows_asker(dial_out.request.key.gate_uniqueid)
            ):
                return False
        return True

    def _knows_asker(self, gate_uniqueid: str) -> bool:
        request = self._dialer.calls.request(gate_uniqueid)
        return request is not None and request.asker_uniqueid is not None

    # Who asks.

    async def _request(self, event: KeypadReached) -> DialOutRequest | None:
        """Return what the participant asks for; None for somebody who is nobody in a meeting."""
        called = await self._called_in(event.uniqueid)
        if called is None:
            request = _claimed(event, self._bridge)
        else:
            request = _asked_by_callee(event, called, self._bridge)
        if request is None or not await self._attends(event.uniqueid, request.conference_id):
            log.warning("keypad.unknown", channel=event.channel, conference=event.conference)
            return None
        return request

    async def _called_in(self, uniqueid: str) -> DialOutRequest | None:
        """Return what the participant's own telephone was called by; None if it was not by us."""
        key = DialOutKey.of_join(uniqueid)
        if key is None:
            return None
        request = self._dialer.calls.request(key.gate_uniqueid)
        if request is not None:
            return request
        dial_out = await self._ledger.dial_out(key)  # another gateway may follow it
        if dial_out is None or dial_out.state not in (DialOutState.RELEASED, DialOutState.ANSWERED):
            return None
        return dial_out.request

    async def _attends(self, uniqueid: str, conference: str) -> bool:
        """Return whether a channel is a member of a conference; ``AmiError`` if nobody can say."""
        if not conference:
            return False
        members = await self._ami.participants(conference)
        return any(each.uniqueid == uniqueid for each in members)

    # What becomes of it.

    def _left(self, uniqueid: str) -> None:
        """Forget what somebody asked for who is in the conference no more."""
        for gate_uniqueid, asked in list(self._asked.items()):
            if asked.asker_uniqueid == uniqueid:
                del self._asked[gate_uniqueid]

    def _hung_up(self, event: Hangup) -> None:
        asked = self._asked.get(event.uniqueid)
        if asked is None:
            return
        call = self._dialer.calls.call(event.uniqueid)  # None if another gateway follows it
        if call is None and asked.told_at is None:
            return
        ending = (
            None if call is None else call.ending(gate_cause=event.cause, gate_at_ms=event.at or 0)
        )
        disposition = None if ending is None else ending.disposition
        if disposition not in _TOLD_LATER:
            del self._asked[event.uniqueid]
        elif asked.told_at is None:
            asked.disposition = disposition
        else:
            self._over(event.uniqueid, disposition)

    def _over(self, gate_uniqueid: str, disposition: Disposition) -> None:
        asked = self._asked.pop(gate_uniqueid)
        self._whispers.spawn(self._whisper(gate_uniqueid, asked, disposition))

    async def _whisper(self, gate_uniqueid: str, asked: Asked, disposition: Disposition) -> None:
        """Tell the asker alone what became of the call, once that is back in the room."""
        assert asked.told_at is not None, "nobody is told of the end before the beginning"
        await asyncio.sleep(max(0.0, asked.told_at + PROMPT_SECONDS - _time()))
        try:
            await self._ami.whisper(
                leg=asked.asker_uniqueid,
                channel=f"Local/{disposition}@{OUTCOME_CONTEXT}/n",
                variables={},
                timeout_ms=WHISPER_SECONDS_MAX * 1000,
                # Two gateways that follow the same call tell its asker once.
                channel_id=f"{gate_uniqueid}-told",
                other_channel_id=f"{gate_uniqueid}-tells",
            )
        except AmiError as error:
            log.warning("keypad.end_untold", error=str(error), disposition=disposition)


def _kept(event: KeypadReached) -> str:
    """Return what the dialplan keeps in the channel of what the event says."""
    said = (event.visit, event.number, event.tenant, event.organizer, event.initiator)
    return ":".join((*said, event.conference))


def _claimed(event: KeypadReached, bridge: BridgeName) -> DialOutRequest | None:
    """Return the request as the channel's variables have it; None without a possible tenant."""
    try:
        tenant_id = UUID(event.tenant)
    except ValueError:
        return None
    return DialOutRequest(
        key=_key(event, tenant_id),
        kind=DialOutKind.KEYPAD,
        organizer_id=OrganizerId(event.organizer),
        initiator_id=event.initiator or None,
        conference_id=event.conference,
        number_typed=event.number,
        bridge=bridge,
        asker_uniqueid=event.uniqueid,
    )


def _asked_by_callee(
    event: KeypadReached, called: DialOutRequest, bridge: BridgeName
) -> DialOutRequest:
    """Return the request of somebody whose own telephone was called into the conference.

    Whoever had himself called has signed in; of any other callee nobody knows who it is.
    """
    has_signed_in = called.kind is DialOutKind.CALL_ME
    return DialOutRequest(
        key=_key(event, called.key.tenant_id),
        kind=DialOutKind.KEYPAD,
        organizer_id=called.organizer_id,
        initiator_id=called.initiator_id if has_signed_in else None,
        conference_id=called.conference_id,
        number_typed=event.number,
        bridge=bridge,
        meeting_name=called.meeting_name,
        asker_uniqueid=event.uniqueid,
    )


def _key(event: KeypadReached, tenant_id: UUID) -> DialOutKey:
    """Return the key of this visit: two gateways that see it make one dial-out of it."""
    dial_out_id = uuid5(tenant_id, f"{event.uniqueid}/{event.visit}")
    return DialOutKey(tenant_id=tenant_id, dial_out_id=dial_out_id)


def _word(dial_out: DialOut | None) -> str:
    """Return what the participant is told of a call that was asked for."""
    if dial_out is None:
        return Reason.TENANT_UNKNOWN
    if dial_out.reason is not None:
        return dial_out.reason
    match dial_out.state:
        case DialOutState.RELEASED | DialOutState.ANSWERED:
            return CALLING
        case DialOutState.ENDED if dial_out.disposition in _TOLD_LATER:
            return dial_out.disposition
        case _:
            return AWAY


def _time() -> float:
    return asyncio.get_running_loop().time()
