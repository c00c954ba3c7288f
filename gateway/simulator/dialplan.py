"""The dialplan of ``asterisk-conf/extensions.conf``, in Python, over virtual channels.

What is there: dialout-gate, dialout-intercept, dialout-ask, dialout-release with its Dial() and the
record of its end, dialout-refuse, dialout-join without its question, dialout-warning and
dialout-outcome. What is not: the keypad, the calls into the bridge, and what prompts say.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gateway.simulator.carrier import CarrierCall, Pickup, Signal
from gateway.simulator.channel import (
    CAUSE_NORMAL_CLEARING,
    Channel,
    HungUp,
    Interrupted,
    Leg,
    Redirected,
    State,
    TimedOut,
)
from gateway.simulator.life import Life

_CAUSE_NO_ANSWER = 19
_CAUSE_REFUSED = 21
_CAUSE_AWAY = 38
_CAUSE_MUTE = 102

_GATE_MS = 3000
_ASKING_MS = 8000
_HEARTBEAT_SECONDS = range(-1, 7)
_PROMPT_MS = 2000
_WARNING_STEP_MS = 10_000
_SPY_LOOK_MS = 500

_GATE = re.compile(r"d[0-9a-f]{64}")
_INTERCEPT = re.compile(r"[0-9+*#]{1,40}")
_CONFERENCE = re.compile(r"[0-9A-Za-z._@-]{1,128}")
_UNIQUEID = re.compile(r"[0-9A-Za-z._-]+")
_VISIT = re.compile(r"[0-9]{18}")
_DIGITS = re.compile(r"[0-9]{1,18}")

_CLAIMS: Mapping[str, re.Pattern[str]] = {
    "DIALOUT_TENANT": re.compile(r"[0-9a-fA-F-]{0,36}"),
    "DIALOUT_ORGANIZER": re.compile(r"[0-9A-Za-z._@+-]{0,128}"),
    "DIALOUT_INITIATOR": re.compile(r"[0-9A-Za-z._@+-]{0,128}"),
    "DIALOUT_CONFERENCE": re.compile(r"[0-9A-Za-z._@-]{0,128}"),
    "DIALOUT_ID": re.compile(r"[0-9a-fA-F-]{0,36}"),
}
_CLAIM_HEADERS = ("Tenant", "Organizer", "Initiator", "Conference", "DialOutId")

_REFUSALS: Mapping[Pickup, tuple[str, str, int]] = {
    Pickup.BUSY: ("BUSY", "BUSY", 17),
    Pickup.UNKNOWN: ("NOANSWER", "CHANUNAVAIL", 1),
    Pickup.CONGESTED: ("CONGESTION", "CONGESTION", 34),
}
"""What a refusal makes of DialEnd's DialStatus, of DIALSTATUS, and of the cause."""

_CAUSES_IN_TIME: Mapping[str, int] = {
    "dialout-release": CAUSE_NORMAL_CLEARING,
    "dialout-refuse": _CAUSE_REFUSED,
    "dialout-warning": 0,
    "dialout-outcome": 0,
}
"""With which cause a channel hangs up whose time is over, by context."""

_OUTGOING = {17: "BUSY", 34: "CONGESTION"}
"""What DialEnd says of an Originate that came to nothing, by the cause; else NOANSWER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a channel was let dial: a verdict that held."""

    key: str
    number: str
    talk_ms: int
    cap_seconds: int
    ring_seconds: int
    caller: str


@dataclass(slots=True, kw_only=True)
class _Dialled:
    """What a gate's channel has dialled, and what is to be recorded of it when that hangs up."""

    verdict: Verdict
    leg: Leg
    call: CarrierCall
    status: str = ""
    answered_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What an Originate has the near half of a Local channel do once the far half answered.

    ``dialled`` is the extension and context that it dials, ``lines`` describe it in its
    OriginateResponse. An ``application`` of None is the dialplan.
    """

    action_id: str
    dialled: str
    lines: str
    timeout_ms: int
    context: str = ""
    extension: str = ""
    application: str | None = None
    data: str = ""


_DIALLING = frozenset({"dialout-gate", "dialout-intercept"})

_Extension = Callable[[Channel], Awaitable[None]]

_ANSWERED, _RINGING = "answered", "ringing"
"""What the far half of a Local channel lets the near one know."""

_NOT_ANSWERED, _TIMED_OUT, _SUCCESS = 0, 3, 4
"""The Reason of an OriginateResponse."""


class Dialplan:
    """What the channels of one life do."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._dialled: dict[str, _Dialled] = {}
        """By the uniqueid of the channel that dialled: the hangup handlers that were pushed."""
        self._contexts: Mapping[str, _Extension] = {
            "dialout-gate": self._gate,
            "dialout-intercept": self._intercept,
            "dialout-release": self._release,
            "dialout-refuse": self._refuse,
            "dialout-warning": self._warning,
            "dialout-outcome": self._outcome,
        }

    def has(self, context: str) -> bool:
        """Return whether there is a context of this name that a Local channel may enter."""
        return context in self._contexts

    def originate(
        self,
        errand: Errand,
        *,
        context: str,
        extension: str,
        uniqueid: str | None,
        other_uniqueid: str | None,
        variables: Mapping[str, str],
    ) -> Channel | None:
        """Begin a Local channel; return its far half, or None if a uniqueid is in use."""
        near_id = uniqueid or self._life.new_uniqueid()
        far_id = other_uniqueid or self._life.new_uniqueid()
        name = self._life.local_name(extension, context)
        if self._life.channel(near_id) or self._life.channel(far_id) or self._life.is_shutting_down:
            self._tell_originated(errand, near_id, name, reason=_NOT_ANSWERED)
            return None
        near, far = (
            Channel(
                clock=self._life.clock,
                name=f"{name};{half}",
                uniqueid=half_id,
                linkedid=near_id,
                context=context,
                extension=extension,
                state=state,
                variables=dict(variables),
            )
            for half, half_id, state in ((1, near_id, State.DOWN), (2, far_id, State.RING))
        )
        near.other, far.other = far, near
        far.dials = context in _DIALLING
        for channel in (near, far):
            self._life.add(channel)
        near.begin(self._outgoing(near, errand))
        far.begin(self._run(far))
        return far

    def attend(self, conference: str, *, is_admin: bool) -> Channel:
        """Have somebody come into a conference who was not called; return the channel."""
        uniqueid = self._life.new_uniqueid()
        channel = Channel(
            clock=self._life.clock,
            name=f"PJSIP/member-{uniqueid.rpartition('.')[2]}",
            uniqueid=uniqueid,
            linkedid=uniqueid,
            context="conference-dial-in",
            extension="s",
            state=State.UP,
        )
        channel.is_admin = is_admin
        self._life.add(channel)
        channel.begin(self._attend(channel, conference))
        return channel

    # The far half, and what runs on it.

    async def _run(self, channel: Channel) -> None:
        """Run the dialplan from where the channel is until it is hung up."""
        while True:
            try:
                await self._contexts.get(channel.context, self._nothing)(channel)
            except Redirected:
                continue
            except TimedOut:
                channel.cause = _CAUSES_IN_TIME.get(channel.context, _CAUSE_MUTE)
                channel.at(channel.context, "T")
            except HungUp:
                pass
            break
        self._hang_up(channel)

    def _hang_up(self, channel: Channel) -> None:
        """End a channel: its hangup handler, itself, what it dialled, and its other half."""
        dialled = self._dialled.pop(channel.uniqueid, None)
        if dialled is not None:
            self._record(channel, dialled)
        self._life.end(channel)
        if dialled is not None:
            self._life.end(dialled.leg, at_ms=dialled.call.ended_at_ms)
        other, channel.other = channel.other, None
        if other is not None:
            other.hang_up(channel.cause)

    def _record(self, channel: Channel, dialled: _Dialled) -> None:
        ended_ms = dialled.call.ended_at_ms or self._life.clock.now_ms()
        answered_ms = "" if dialled.answered_ms is None else dialled.answered_ms
        dialled.call.recorded = self._life.record(
            f"dialout/ended/{dialled.verdict.key}",
            f"{channel.uniqueid}:{ended_ms}:{answered_ms}:{channel.cause}:{dialled.status}",
        )

    async def _nothing(self, channel: Channel) -> None:
        """Run an extension that does not exist."""

    async def _gate(self, channel: Channel) -> None:
        if not _GATE.fullmatch(channel.extension):
            self._refused(channel)
            return
        await self._ask(channel, "DialoutGate", f"Key: {channel.extension[1:]}\r\n")

    async def _intercept(self, channel: Channel) -> None:
        claim = {name: channel.variables.get(name, "") for name in _CLAIMS}
        told = all(_CLAIMS[name].fullmatch(value) for name, value in claim.items())
        if not (told and _INTERCEPT.fullmatch(channel.extension)):
            self._refused(channel)
            return
        lines = zip(_CLAIM_HEADERS, claim.values(), strict=True)
        body = "".join(f"{name}: {value}\r\n" for name, value in lines)
        await self._ask(channel, "DialoutIntercept", f"Number: {channel.extension}\r\n{body}")

    async def _ask(self, channel: Channel, event: str, lines: str) -> None:
        """Ask the gateway, and hang up unless it sends the channel on in time."""
        channel.visit = str(self._life.random.randrange(10**17, 10**18))
        channel.variables.update(DIALOUT_VERDICT="", DIALOUT_REASON="")
        channel.limit(_ASKING_MS)
        if not self._is_heard():
            channel.at("dialout-ask", "away")
            channel.cause = _CAUSE_AWAY
            return
        channel.at("dialout-ask", "s", 3)
        self._life.tell(
            "UserEvent",
            f"{channel.headers()}UserEvent: {event}\r\nVisit: {channel.visit}\r\n{lines}",
            of=channel.uniqueid,
            privilege="user",
            point="event UserEvent",
        )
        channel.priority = 4
        channel.runs("Wait", "3")
        await channel.rest(_GATE_MS)
        channel.visit = ""
        channel.priority = 6
        channel.cause = _CAUSE_MUTE

    def _is_heard(self) -> bool:
        """Return whether a gateway has given a heartbeat that is neither old nor to come."""
        heartbeat = self._life.variables.get("DIALOUT_HEARTBEAT", "")
        if not _DIGITS.fullmatch(heartbeat):
            return False
        return self._life.clock.now_ms() // 1000 - int(heartbeat) in _HEARTBEAT_SECONDS

    async def _refuse(self, channel: Channel) -> None:
        if channel.state is State.UP:
            await channel.rest(_PROMPT_MS)
        channel.at("dialout-refuse", "silent")
        channel.cause = _CAUSE_REFUSED

    @staticmethod
    def _refused(channel: Channel) -> None:
        channel.at(channel.context, "refuse")
        channel.cause = _CAUSE_REFUSED

    # The release, and the one Dial() to the trunk.

    async def _release(self, channel: Channel) -> None:
        """Dial what the verdict says. One visit, one verdict, one try."""
        visit, channel.visit = channel.visit, ""
        text = channel.variables.pop("DIALOUT_VERDICT", "")
        verdict = _verdict(text, channel, visit)
        if verdict is None:
            self._refused(channel)
            return
        channel.limit(verdict.cap_seconds * 1000)
        channel.caller = verdict.caller
        channel.priority = 10
        channel.runs(
            "Dial",
            f"PJSIP/+{verdict.number}@dialout-trunk,{verdict.ring_seconds},iL({verdict.talk_ms})",
        )
        dialled = self._dial(channel, verdict)
        try:
            if await self._ring(channel, dialled):
                await self._talk(channel, dialled)
        except Interrupted as interruption:
            self._break_off(channel, dialled, interruption)
            raise

    def _dial(self, channel: Channel, verdict: Verdict) -> _Dialled:
        leg = Leg(
            clock=self._life.clock,
            name=self._life.leg_name(),
            uniqueid=self._life.new_uniqueid(),
            linkedid=channel.linkedid,
            context="conference-dial-in",
            extension=channel.extension,
            state=State.DOWN,
        )
        leg.caller, leg.connected = channel.extension, verdict.caller
        leg.runs("AppDial", "(Outgoing Line)")
        call = self._life.carrier.invite(
            number=f"+{verdict.number}",
            caller=f"+{verdict.caller}",
            key=verdict.key,
            leg=leg.uniqueid,
            tell=channel.wake,
        )
        dialled = _Dialled(verdict=verdict, leg=leg, call=call)
        leg.on_end = partial(self._cut, channel, call)
        self._life.add(leg)
        self._dialled[channel.uniqueid] = dialled
        self._life.tell_dial(
            "DialBegin",
            by=channel,
            to=leg,
            last=f"DialString: +{verdict.number}@dialout-trunk",
            point="event DialBegin",
        )
        return dialled

    def _cut(self, channel: Channel, call: CarrierCall) -> None:
        """End the telephone's leg, and let whoever dialled it know."""
        self._life.carrier.hang_up(call)
        channel.wake(Signal.HANGS_UP)

    async def _ring(self, channel: Channel, dialled: _Dialled) -> bool:
        """Wait for the telephone; return whether it answered."""
        now_ms = self._life.clock.now_ms
        until_ms = now_ms() + dialled.verdict.ring_seconds * 1000
        while True:
            match await channel.rest(until_ms - now_ms()):
                case Signal.RINGS:
                    self._rings(channel, dialled)
                case Signal.ANSWERS:
                    self._answers(channel, dialled)
                    return True
                case Signal.REFUSES:
                    refusal = _REFUSALS[dialled.call.telephone.pickup]
                    self._fails(channel, dialled, *refusal, leg_cause=refusal[2])
                    return False
                case Signal.HANGS_UP:
                    cause = dialled.leg.cause
                    self._fails(channel, dialled, "NOANSWER", "CHANUNAVAIL", cause, leg_cause=cause)
                    return False
                case _:
                    self._fails(
                        channel, dialled, "NOANSWER", "NOANSWER", CAUSE_NORMAL_CLEARING, leg_cause=0
                    )
                    return False

    def _rings(self, channel: Channel, dialled: _Dialled) -> None:
        dialled.leg.state = State.RINGING
        self._life.tell_dial(
            "DialState",
            by=channel,
            to=dialled.leg,
            last="DialStatus: RINGING",
            at_ms=dialled.call.rang_at_ms,
            point="event DialState",
        )
        if channel.other is not None:
            channel.other.wake(_RINGING)

    def _answers(self, channel: Channel, dialled: _Dialled) -> None:
        answered_at_ms = dialled.call.answered_at_ms
        assert answered_at_ms is not None, "it has answered"
        dialled.leg.state = State.UP
        dialled.status = "ANSWER"
        passed_ms = self._life.clock.now_ms() - answered_at_ms
        dialled.leg.limit(max(1, dialled.verdict.talk_ms - passed_ms))
        self._life.tell_dial(
            "DialEnd",
            by=channel,
            to=dialled.leg,
            last="DialStatus: ANSWER",
            at_ms=answered_at_ms,
            point="event DialEnd ANSWER",
        )
        channel.state = State.UP
        if channel.other is not None:
            channel.other.wake(_ANSWERED)

    def _fails(
        self,
        channel: Channel,
        dialled: _Dialled,
        dial_status: str,
        status: str,
        cause: int,
        *,
        leg_cause: int,
    ) -> None:
        """End a leg that was not answered; the gate's channel hangs up next."""
        self._life.carrier.hang_up(dialled.call)
        dialled.status = status
        dialled.leg.cause = leg_cause
        self._tell_unanswered(channel, dialled, dial_status)
        self._life.end(dialled.leg, at_ms=dialled.call.ended_at_ms)
        channel.priority = 11
        channel.cause = cause

    async def _talk(self, channel: Channel, dialled: _Dialled) -> None:
        """Wait until the telephone's leg has ended."""
        while dialled.call.ended_at_ms is None:
            await channel.rest()
        dialled.answered_ms = dialled.call.talked_ms
        dialled.leg.cause = dialled.leg.cause or CAUSE_NORMAL_CLEARING
        self._life.end(dialled.leg, at_ms=dialled.call.ended_at_ms)
        channel.cause = dialled.leg.cause

    def _break_off(self, channel: Channel, dialled: _Dialled, interruption: Interrupted) -> None:
        """End the telephone's leg, because the channel that dialled it does something else.

        Of a channel that is sent elsewhere Asterisk does not know how long it had talked.
        """
        if dialled.call.answered_at_ms is not None and not dialled.status:
            self._answers(channel, dialled)
        self._life.carrier.hang_up(dialled.call)
        if not dialled.status:
            cancelled = not self._life.is_shutting_down
            dialled.status = "CANCEL" if cancelled else "CHANUNAVAIL"
            self._tell_unanswered(channel, dialled, "CANCEL" if cancelled else "NOANSWER")
        elif dialled.status == "ANSWER" and not isinstance(interruption, Redirected):
            dialled.answered_ms = dialled.call.talked_ms
        if dialled.status != "CHANUNAVAIL":
            channel.cause = channel.cause or CAUSE_NORMAL_CLEARING
        dialled.leg.cause = dialled.leg.cause or channel.cause
        if isinstance(interruption, Redirected):
            self._life.end(dialled.leg, at_ms=dialled.call.ended_at_ms)

    def _tell_unanswered(self, channel: Channel, dialled: _Dialled, status: str) -> None:
        self._life.tell_dial(
            "DialEnd",
            by=channel,
            to=dialled.leg,
            last=f"DialStatus: {status}",
            at_ms=dialled.call.ended_at_ms,
            point="event DialEnd",
        )

    # What the gateway has said to a callee or a participant.

    async def _warning(self, channel: Channel) -> None:
        """Tell the callee before the end, or at once why the end is near."""
        if channel.extension != "s":
            await self._say(channel)
            return
        warnings = channel.variables.get("DIALOUT_WARNINGS", "").split("-")
        ahead_ms = [int(each) * 1000 for each in warnings if _DIGITS.fullmatch(each)]
        while left_ms := self._leg_left_ms(channel):
            warning_ms = next((each for each in ahead_ms if 0 < each < left_ms), 0)
            await channel.rest(min(left_ms - warning_ms, _WARNING_STEP_MS))
            if 0 < self._leg_left_ms(channel) < warning_ms + 500:
                await self._say(channel)

    async def _outcome(self, channel: Channel) -> None:
        await self._say(channel)

    async def _say(self, channel: Channel) -> None:
        if channel.state is not State.UP and channel.other is not None:
            channel.state = State.UP
            channel.other.wake(_ANSWERED)
        await channel.rest(_PROMPT_MS)

    def _leg_left_ms(self, channel: Channel) -> int:
        leg = self._life.channel(channel.variables.get("DIALOUT_LEG", ""))
        return 0 if leg is None else leg.limit_left_ms

    # The near half, which an Originate waits for.

    async def _outgoing(self, near: Channel, errand: Errand) -> None:
        """Wait for the far half to answer and then do the errand."""
        near.runs("AppDial2", "(Outgoing Line)")
        near.caller = near.extension
        self._tell_outgoing("DialBegin", near, f"DialString: {errand.dialled}")
        try:
            reason = await self._reached(near, errand)
            self._tell_originated(errand, near.uniqueid, near.name, reason=reason)
            if reason == _SUCCESS:
                self._tell_outgoing("DialEnd", near, "DialStatus: ANSWER")
                await self._do(near, errand)
            else:
                near.cause = _CAUSE_NO_ANSWER
        except Interrupted:
            if near.state is not State.UP:
                self._tell_originated(errand, near.uniqueid, near.name, reason=_NOT_ANSWERED)
                status = _OUTGOING.get(near.cause, "NOANSWER")
                self._tell_outgoing("DialEnd", near, f"DialStatus: {status}")
        self._hang_up(near)

    async def _reached(self, near: Channel, errand: Errand) -> int:
        """Wait until the far half has answered, or for as long as the errand has time."""
        now_ms = self._life.clock.now_ms
        until_ms = now_ms() + errand.timeout_ms
        while (news := await near.rest(until_ms - now_ms())) is not None:
            if news == _ANSWERED:
                near.state = State.UP
                return _SUCCESS
            near.state = State.RINGING
            self._tell_outgoing("DialState", near, "DialStatus: RINGING")
        return _TIMED_OUT

    async def _do(self, near: Channel, errand: Errand) -> None:
        match errand.application:
            case None:
                near.at(errand.context, errand.extension, 18)
                await self._join(near)
            case "ChanSpy":
                near.runs("ChanSpy", errand.data)
                while self._life.channel(errand.data.partition(",")[0]) is not None:
                    await near.rest(_SPY_LOOK_MS)
            case application:
                near.runs(application, errand.data)
                await self._for_ever(near)

    async def _join(self, near: Channel) -> None:
        conference = near.variables.get("DIALOUT_CONFERENCE", "")
        if near.context != "dialout-join" or not _CONFERENCE.fullmatch(conference):
            self._refused(near)
            return
        await self._be_in(near, conference)

    async def _attend(self, channel: Channel, conference: str) -> None:
        with contextlib.suppress(Interrupted):
            await self._be_in(channel, conference)
        self._hang_up(channel)

    async def _be_in(self, channel: Channel, conference: str) -> None:
        channel.runs("ConfBridge", f"{conference},dialout-bridge,dialout-user,dialout-menu")
        self._life.join(channel, conference)
        try:
            await self._for_ever(channel)
        finally:
            self._life.leave(channel, conference)

    @staticmethod
    async def _for_ever(channel: Channel) -> None:
        while True:
            await channel.rest()

    def _tell_outgoing(self, name: str, near: Channel, last: str) -> None:
        self._life.tell_dial(name, by=None, to=near, last=last)

    def _tell_originated(self, errand: Errand, uniqueid: str, name: str, *, reason: int) -> None:
        response = "Success" if reason == _SUCCESS else "Failure"
        self._life.tell(
            "OriginateResponse",
            f"ActionID: {errand.action_id}\r\nResponse: {response}\r\nChannel: {name}\r\n"
            f"{errand.lines}Reason: {reason}\r\nUniqueid: {uniqueid}\r\n"
            "CallerIDNum: <unknown>\r\nCallerIDName: <unknown>\r\n",
            of=uniqueid,
            point="event OriginateResponse" if errand.application is None else None,
        )


def _verdict(text: str, channel: Channel, visit: str) -> Verdict | None:
    """Return what a verdict lets this channel dial on this visit; None if it does not hold."""
    word, *parts = text.split(":")
    if word != "allow" or len(parts) != 8:
        return None
    key, asked, uniqueid, number, talk_ms, cap_seconds, ring_seconds, caller = parts
    holds = (
        _GATE.fullmatch(channel.extension)
        and key == channel.extension[1:]
        and _VISIT.fullmatch(visit)
        and asked == visit
        and uniqueid == channel.uniqueid
        and _UNIQUEID.fullmatch(uniqueid)
        and re.fullmatch(r"[0-9]{7,15}", number)
        and re.fullmatch(r"[0-9]{1,15}", caller)
        and _within(talk_ms, 1000, 14_400_000)
        and _within(cap_seconds, 6, 15_000)
        and _within(ring_seconds, 5, 90)
    )
    if not holds:
        return None
    return Verdict(
        key=key,
        number=number,
        talk_ms=int(talk_ms),
        cap_seconds=int(cap_seconds),
        ring_seconds=int(ring_seconds),
        caller=caller,
    )


def _within(text: str, least: int, most: int) -> bool:
    return bool(_DIGITS.fullmatch(text)) and least <= int(text) <= most
