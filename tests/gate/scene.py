"""What the tests of the gate are made of: an Asterisk, a carrier, a gateway and an intruder."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from uuid import uuid4

from gateway.ami import actions
from gateway.lab.asterisk import Asterisk
from gateway.lab.carrier import Carrier, Invite
from gateway.slices import WARNING_CHANNEL
from tests.gate.ami_socket import Action, AmiSocket, Message

CALLER = "442079460000"
_numbers = itertools.count(100_000)


def new_key() -> str:
    """Return a key that no other dial-out has."""
    return uuid4().hex + uuid4().hex


def new_number(ending: str = "00") -> str:
    """Return a number that no other call dials; ``ending`` chooses what the carrier does."""
    return f"4930{next(_numbers)}{ending}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A channel that waits in the gate."""

    key: str
    visit: str
    channel: str
    uniqueid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A release as the gateway words it. Each part is text, so that a test can make it wrong."""

    key: str
    visit: str
    uniqueid: str
    number: str
    talk_ms: str = "60000"
    cap: str = "120"
    ring: str = "30"
    caller: str = CALLER

    @property
    def text(self) -> str:
        """The value of DIALOUT_VERDICT."""
        parts = (self.key, self.visit, self.uniqueid, self.number)
        return ":".join(("allow", *parts, self.talk_ms, self.cap, self.ring, self.caller))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """``gateway`` has the gateway's AMI account, ``intruder`` one that may originate, no more."""

    asterisk: Asterisk
    carrier: Carrier
    gateway: AmiSocket
    intruder: AmiSocket

    async def beat(self, seconds_ago: int = 0) -> None:
        """Set the heartbeat of the gateway."""
        await self.set_global("DIALOUT_HEARTBEAT", str(int(time.time()) - seconds_ago))

    async def set_global(self, name: str, value: str) -> None:
        """Set a global variable, as the gateway may."""
        await self.gateway.send(("Action", "Setvar"), ("Variable", name), ("Value", value))

    async def originate(
        self,
        key: str,
        *variables: str,
        by: AmiSocket | None = None,
        channel: str | None = None,
        room: str | None = None,
    ) -> Message:
        """Start a call as the gateway does; ``variables`` are added as they are.

        It goes to a conference of its own unless a ``room`` is named.
        """
        return await (by or self.gateway).send(
            ("Action", "Originate"),
            ("Channel", channel or f"Local/d{key}@dialout-gate/n"),
            ("Context", "dialout-join"),
            ("Exten", "s"),
            ("Priority", "1"),
            ("Async", "true"),
            ("Timeout", "60000"),
            ("ChannelId", f"{key}-join"),
            ("OtherChannelId", f"{key}-gate"),
            ("Variable", f"DIALOUT_CONFERENCE={f'room-{key[:8]}' if room is None else room}"),
            *(("Variable", variable) for variable in variables),
        )

    async def reach_gate(
        self, *variables: str, by: AmiSocket | None = None, room: str | None = None
    ) -> Visit:
        """Start a call and return it as it waits in the gate."""
        key = new_key()
        await self.originate(key, *variables, by=by, room=room)
        event = await self.gateway.event("UserEvent", UserEvent="DialoutGate", Key=key)
        assert event["Uniqueid"] == f"{key}-gate"
        return Visit(
            key=key,
            visit=event["Visit"],
            channel=event["Channel"],
            uniqueid=event["Uniqueid"],
        )

    async def intercept(self, number: str, *variables: str) -> tuple[Visit, Message]:
        """Send a foreign channel to the intercept and return it as it waits, with the event."""
        mark = f"mark-{uuid4().hex}"
        await self.intruder.send(
            ("Action", "Originate"),
            ("Channel", f"Local/{number}@dialout-intercept/n"),
            ("Application", "Wait"),
            ("Data", "60"),
            ("Async", "true"),
            ("Variable", f"DIALOUT_INITIATOR={mark}"),
            *(("Variable", variable) for variable in variables),
        )
        event = await self.gateway.event("UserEvent", UserEvent="DialoutIntercept", Initiator=mark)
        visit = Visit(
            key=new_key(),
            visit=event["Visit"],
            channel=event["Channel"],
            uniqueid=event["Uniqueid"],
        )
        return visit, event

    def allow(self, visit: Visit, number: str, **terms: str) -> Verdict:
        """Return the verdict that releases this visit."""
        verdict = Verdict(key=visit.key, visit=visit.visit, uniqueid=visit.uniqueid, number=number)
        return replace(verdict, **terms)

    async def release(self, visit: Visit, verdict: Verdict | str) -> list[Message]:
        """Answer the gate as the gateway does: Setvar and Redirect in one write."""
        text = verdict if isinstance(verdict, str) else verdict.text
        return await self.gateway.send_together(
            set_verdict(visit.channel, text), redirect(visit.channel, f"d{visit.key}")
        )

    async def hangup(self, channel: str) -> None:
        """Hang a channel up from our side."""
        await self.gateway.send(("Action", "Hangup"), ("Channel", channel), ("Cause", "16"))

    async def ended(self, uniqueid: str, deadline_seconds: float = 30.0) -> Message:
        """Return the Hangup event of a channel."""
        return await self.gateway.event("Hangup", deadline_seconds, Uniqueid=uniqueid)

    async def fails(self, key: str, channel: str, *variables: str) -> None:
        """Let the intruder originate a call, and return when it came to nothing."""
        answer = await self.originate(key, *variables, by=self.intruder, channel=channel)
        outcome = await self.intruder.event("OriginateResponse", ActionID=answer["ActionID"])
        assert outcome["Response"] == "Failure"

    async def digit(self, channel: str, digit: str) -> Message:
        """Let a channel receive a key that its far end pressed."""
        return await self.gateway.send(
            ("Action", "PlayDTMF"),
            ("Channel", channel),
            ("Digit", digit),
            ("Duration", "80"),
            ("Receive", "true"),
        )

    async def refused(self, visit: Visit, verdict: Verdict | str, cause: str = "21") -> None:
        """Give a verdict that must not be good enough."""
        await self.release(visit, verdict)
        assert (await self.ended(visit.uniqueid))["Cause"] == cause

    async def connect(
        self, number: str, *variables: str, room: str | None = None, **terms: str
    ) -> tuple[Visit, Message]:
        """Release a call and return it with the DialEnd of its answer."""
        visit = await self.reach_gate(*variables, room=room)
        await self.release(visit, self.allow(visit, number, **terms))
        answer = await self.gateway.event("DialEnd", Uniqueid=visit.uniqueid)
        assert answer["DialStatus"] == "ANSWER"
        return visit, answer

    async def move_limit(self, leg: str, seconds: float) -> Message:
        """Let a leg end so many seconds from now, as the gateway does."""
        return await self.gateway.send(
            ("Action", "AbsoluteTimeout"), ("Channel", leg), ("Timeout", f"{seconds:.3f}")
        )

    async def warn(self, visit: Visit, leg: str, warnings: str) -> None:
        """Have Asterisk warn the callee of a call, as the gateway does at the answer."""
        whisper = actions.whisper(
            "unused",
            leg=leg,
            channel=WARNING_CHANNEL,
            variables={"DIALOUT_LEG": leg, "DIALOUT_WARNINGS": warnings},
            timeout_ms=60_000,
            channel_id=f"{visit.key}-warned",
            other_channel_id=f"{visit.key}-warning",
        )
        await self.gateway.send(("Action", whisper.name), *whisper.headers)

    async def whisper(self, leg: str, channel: str) -> Message:
        """Have a Local channel heard by one leg alone; return what became of the attempt."""
        key = new_key()
        whisper = actions.whisper(
            "unused",
            leg=leg,
            channel=channel,
            variables={},
            timeout_ms=10_000,
            channel_id=f"{key}-join",
            other_channel_id=f"{key}-gate",
        )
        answer = await self.gateway.send(("Action", whisper.name), *whisper.headers)
        return await self.gateway.event("OriginateResponse", ActionID=answer["ActionID"])

    async def say_in(self, room: str) -> str:
        """Have something said in a conference, for everybody in it; return who says it."""
        speaker = f"{new_key()}-says"
        await self.gateway.send(
            ("Action", "Originate"),
            ("Channel", "Local/s@dialout-join/n"),
            ("Application", "Playback"),
            ("Data", "demo-congrats"),
            ("Async", "true"),
            ("ChannelId", speaker),
            ("OtherChannelId", f"{speaker}-there"),
            ("Variable", f"DIALOUT_CONFERENCE={room}"),
        )
        return speaker

    async def participants(self, room: str) -> set[str]:
        """Return the uniqueids of who is in a conference, by Asterisk's own list."""
        members = await self.gateway.list_events(
            "ConfbridgeList", "ConfbridgeListComplete", ("Conference", room)
        )
        return {member["Uniqueid"] for member in members}

    async def variable(self, key: str, name: str) -> str:
        """Return a variable of the conference's half of a call."""
        answer = await self.gateway.send(
            ("Action", "Getvar"), ("Channel", f"{key}-join"), ("Variable", name)
        )
        return answer["Value"]

    async def visit(self, visit: Visit) -> str:
        """Return what a gateway reads of the visit on which a channel waits."""
        [asked] = actions.get_visit("unused", channel=visit.uniqueid).headers[1:]
        answer = await self.gateway.send(("Action", "Getvar"), ("Channel", visit.uniqueid), asked)
        return answer["Value"]

    async def set_variable(self, channel: str, name: str, value: str) -> None:
        """Set a variable of a channel, as the gateway may."""
        await self.gateway.send(
            ("Action", "Setvar"), ("Channel", channel), ("Variable", name), ("Value", value)
        )

    async def record(self, key: str) -> str | None:
        """Return the record that the gate left of a dial-out."""
        entries = await self.gateway.list_events(
            "DBGet", "DBGetComplete", ("Family", "dialout/ended"), ("Key", key)
        )
        return entries[0]["Val"] if entries else None

    def invites_to(self, number: str) -> list[Invite]:
        """Return the calls to a number that reached the carrier."""
        return [invite for invite in self.carrier.invites() if number in invite.number]

    @contextmanager
    def nothing_dialled(self) -> Iterator[None]:
        """Assert that no call at all reached the carrier meanwhile."""
        before = self.carrier.invites()
        yield
        assert self.carrier.invites() == before


def set_verdict(channel: str, text: str) -> Action:
    """Return the first half of a release."""
    return [
        ("Action", "Setvar"),
        ("Channel", channel),
        ("Variable", "DIALOUT_VERDICT"),
        ("Value", text),
    ]


def redirect(channel: str, extension: str, context: str = "dialout-release") -> Action:
    """Return the second half of a release."""
    return [
        ("Action", "Redirect"),
        ("Channel", channel),
        ("Context", context),
        ("Exten", extension),
        ("Priority", "1"),
    ]


def milliseconds_between(earlier: Message, later: Message) -> float:
    """Return the time between two events, by Asterisk's clock."""
    return (float(later["Timestamp"]) - float(earlier["Timestamp"])) * 1000


@asynccontextmanager
async def beating(scene: Scene) -> AsyncIterator[None]:
    """Keep the heartbeat of the gateway fresh, every 2 s like the gateway."""

    async def beat() -> None:
        while True:
            await scene.beat()
            await asyncio.sleep(2)

    await scene.beat()
    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
