"""The virtual Asterisk does what the real one does, and goes wrong only as it is told."""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest

from gateway.ami import (
    AmiClient,
    AmiError,
    AmiRefused,
    AmiTimeout,
    AmiUnavailable,
    ConferenceChanged,
    ConferenceEnded,
    DialBegin,
    DialEnd,
    DialState,
    Event,
    GateReached,
    Hangup,
    InterceptReached,
    LinkDown,
    LinkUp,
    OriginateResponse,
    Shutdown,
)
from gateway.core.key import DialOutKey
from gateway.core.record import FAMILY, CallRecord
from gateway.lab.asterisk import Asterisk, find_asterisk
from gateway.lab.carrier import Carrier, find_sipp
from gateway.simulator.asterisk import VirtualAsterisk
from gateway.simulator.carrier import CarrierCall, EndedBy, Pickup, Telephone
from gateway.simulator.clock import Clock
from gateway.simulator.faults import Fault, Faults, PlannedFault
from gateway.simulator.records import Memory

LAB = Path(__file__).resolve().parents[2] / ".lab"
DEADLINE_SECONDS = 8.0
LATE_SECONDS = 0.5
CALLER = "442079460000"
NUMBER = "493012345600"
OLD, OLD_AND_SETTLED = "0" * 64, "1" * 64

Story = dict[str, list[str]]


class Gateway:
    """A gateway that does what a test says, and remembers what Asterisk reported."""

    def __init__(
        self, host: str, port: int, account: str, secret: str, *, deadline_seconds: float
    ) -> None:
        self.client = AmiClient(
            host=host,
            port=port,
            username=account,
            secret=secret,
            action_deadline_seconds=deadline_seconds,
            list_deadline_seconds=deadline_seconds,
            ping_interval_seconds=60.0,
            reconnect_seconds_min=0.01,
            reconnect_seconds_max=0.05,
        )
        self.events: list[Event] = []
        self._arrived = asyncio.Condition()

    async def listen(self) -> None:
        """Take in what Asterisk reports."""
        async for event in self.client.events():
            self.events.append(event)
            async with self._arrived:
                self._arrived.notify_all()

    async def event(self, fits: Callable[[Event], bool], *, since: int = 0) -> Event:
        """Return the first event that fits, past or to come; ``since`` so many are left out."""

        def found() -> Event | None:
            return next(filter(fits, self.events[since:]), None)

        async with asyncio.timeout(DEADLINE_SECONDS), self._arrived:
            await self._arrived.wait_for(lambda: found() is not None)
        event = found()
        assert event is not None
        return event

    async def beat(self) -> None:
        """Let the gate know that somebody can decide."""
        clock_ms = await self.client.ping()
        await self.client.set_variable("DIALOUT_HEARTBEAT", str(clock_ms // 1000))

    async def originate(self, key: str) -> None:
        """Have a call begin that is to join a conference of its own."""
        await self.client.originate(
            action_id=key,
            channel=f"Local/d{key}@dialout-gate/n",
            context="dialout-join",
            extension="s",
            variables={"DIALOUT_CONFERENCE": f"room-{key}"},
            timeout_ms=30_000,
            channel_id=f"{key}-join",
            other_channel_id=f"{key}-gate",
        )

    async def reach_gate(self, key: str) -> GateReached:
        """Have a call begin, and return it as it asks at the gate."""
        await self.originate(key)
        reached = await self.event(lambda e: isinstance(e, GateReached) and e.key_hex == key)
        assert isinstance(reached, GateReached)
        return reached

    async def release(
        self,
        reached: GateReached | InterceptReached,
        key: str,
        number: str,
        *,
        talk_ms: int = 60_000,
    ) -> None:
        """Let a channel dial."""
        parts = (key, reached.visit, reached.uniqueid, number, str(talk_ms), "120", "30", CALLER)
        await self.client.set_and_redirect(
            channel=reached.uniqueid,
            variable="DIALOUT_VERDICT",
            value=":".join(("allow", *parts)),
            context="dialout-release",
            extension=f"d{key}",
            action_id=f"{key}-release",
        )

    async def connect(self, number: str = NUMBER) -> str:
        """Begin a call that is answered and has joined; return its key."""
        key = new_key()
        await self.release(await self.reach_gate(key), key, number)
        await self.joined(key)
        return key

    async def joined(self, key: str) -> None:
        """Wait until a callee is in the conference."""
        await self.event(lambda e: isinstance(e, ConferenceChanged) and e.uniqueid == f"{key}-join")

    async def ended(self, key: str) -> None:
        """Wait until nothing is left of a call."""
        for uniqueid in (f"{key}-gate", f"{key}-join"):
            await self.event(_hangup_of(uniqueid))
        # Known for certain only now: its gate dials no more.
        if (leg := self.leg(key)) is not None:
            await self.event(_hangup_of(leg))
        await self.event(lambda e: isinstance(e, OriginateResponse) and e.action_id == key)

    def leg(self, key: str) -> str | None:
        """Return the uniqueid of the telephone's leg of a call, if it has one."""
        begun = (e for e in self.events if isinstance(e, DialBegin))
        return next((e.dest_uniqueid for e in begun if e.uniqueid == f"{key}-gate"), None)

    def story(self, key: str) -> Story:
        """Return what was reported of a call, by who did it, each in order.

        In which order different ones come is not fixed: not even the real Asterisk tells two
        calls alike.
        """
        story: Story = defaultdict(list)
        for role, what in self._said(key):
            story[role].append(what)
        return dict(story)

    def of_leg(self, key: str) -> list[str]:
        """Return what was reported of the telephone's leg of a call, in order."""
        return [what for role, what in self._said(key) if role in ("dial", "leg")]

    def _said(self, key: str) -> Iterator[tuple[str, str]]:
        """Yield who did what in a call: halves, leg, and how one dials the other."""
        leg = self.leg(key)
        halves = {f"{key}-gate": "gate", f"{key}-join": "join", leg: "leg"}
        dials = {f"{key}-join": "outgoing", leg: "dial"}
        for event in self.events:
            match event:
                case DialBegin(dest_uniqueid=uniqueid) if uniqueid in dials:
                    yield dials[uniqueid], "begins"
                case DialState() | DialEnd() if event.dest_uniqueid in dials:
                    yield dials[event.dest_uniqueid], event.dial_status
                case Hangup(uniqueid=uniqueid, cause=cause) if uniqueid in halves:
                    yield halves[uniqueid], f"hangs up {cause}"
                case ConferenceChanged(uniqueid=uniqueid, joined=joined) if uniqueid in halves:
                    yield "conference", "joins" if joined else "leaves"
                case ConferenceEnded(conference=conference) if conference == f"room-{key}":
                    yield "conference", "ends"
                case OriginateResponse(action_id=action_id) if action_id == key:
                    yield "originate", f"{event.success} {event.reason}"
                case GateReached(key_hex=key_hex) if key_hex == key:
                    yield "gate", "asks"
                case _:
                    pass


@contextlib.asynccontextmanager
async def gateway_of(
    asterisk: Asterisk | VirtualAsterisk, *, deadline_seconds: float = DEADLINE_SECONDS
) -> AsyncIterator[Gateway]:
    """Lend a gateway whose link is up and whose heart beats."""
    gateway = Gateway(
        asterisk.host,
        asterisk.ami_port if isinstance(asterisk, Asterisk) else asterisk.port,
        asterisk.account,
        asterisk.secret,
        deadline_seconds=deadline_seconds,
    )
    tasks = [asyncio.create_task(each) for each in (gateway.client.run(), gateway.listen())]
    try:
        await gateway.event(lambda e: isinstance(e, LinkUp))
        yield gateway
    finally:
        await gateway.client.close()
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def virtual(
    *planned: PlannedFault, clock: Clock | None = None
) -> AsyncIterator[tuple[VirtualAsterisk, Gateway]]:
    """Lend a virtual Asterisk with these faults, and a gateway that beats."""
    asterisk = VirtualAsterisk(random=Random(7), faults=Faults(planned), clock=clock)
    asterisk.carrier.plan(f"+{NUMBER}", Telephone(ring_ms=1))
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    async with asterisk, gateway_of(asterisk, deadline_seconds=LATE_SECONDS) as gateway:
        await gateway.beat()
        yield asterisk, gateway
    assert asterisk.channels_count == 0
    assert failed == []


def new_key() -> str:
    """Return a key that no other dial-out has."""
    return uuid4().hex + uuid4().hex


def _hangup_of(uniqueid: str) -> Callable[[Event], bool]:
    return lambda e: isinstance(e, Hangup) and e.uniqueid == uniqueid


# The same calls on both.

TALK_MS, CUT_MS = 1000, 1500
EARLY_MS_MAX = 500
TELEPHONES = {
    "00": Telephone(ring_ms=1),
    "21": Telephone(ring_ms=1, talk_ms=TALK_MS),
    "80": Telephone(pickup=Pickup.SILENT),
    "86": Telephone(pickup=Pickup.BUSY, ring_ms=5),
    "99": Telephone(pickup=Pickup.UNKNOWN, ring_ms=5),
    "03": Telephone(pickup=Pickup.CONGESTED, ring_ms=5),
}
"""What the lab's carrier does with numbers that end like this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a gateway learned of one call: the events, and what the record says.

    How long it lasted is no reason to differ: the real one's telephones are processes on a busy
    machine, which may hang up late.
    """

    story: Story
    cause: int | None
    status: str | None
    answered_ms: int | None = field(compare=False)
    was_answered: bool


async def dials(gateway: Gateway, key: str, ending: str, *, talk_ms: int = 60_000) -> None:
    """Begin a call and let it dial a number with this ending."""
    number = f"{NUMBER[:-2]}{ending}"
    await gateway.release(await gateway.reach_gate(key), key, number, talk_ms=talk_ms)


async def is_cut(gateway: Gateway, key: str) -> None:
    """Talk for longer than is paid for."""
    await dials(gateway, key, "00", talk_ms=CUT_MS)


async def is_hung_up(gateway: Gateway, key: str) -> None:
    """Hang up from our side while somebody talks."""
    await dials(gateway, key, "00")
    await gateway.joined(key)
    await gateway.client.hangup(f"{key}-gate", cause=16)


async def is_given_up(gateway: Gateway, key: str) -> None:
    """Hang up from our side while it rings."""
    await dials(gateway, key, "80")
    await gateway.event(lambda e: isinstance(e, DialState) and e.uniqueid == f"{key}-gate")
    await gateway.client.hangup(f"{key}-gate", cause=16)


async def is_refused(gateway: Gateway, key: str) -> None:
    """Give a verdict that names no number."""
    await gateway.release(await gateway.reach_gate(key), key, "12")


async def is_rejected(gateway: Gateway, key: str) -> None:
    """Hang the gate's channel up instead of a verdict."""
    await gateway.reach_gate(key)
    await gateway.client.hangup(f"{key}-gate", cause=21)


async def is_ignored(gateway: Gateway, key: str) -> None:
    """Give no verdict at all."""
    await gateway.reach_gate(key)


def _ending(ending: str) -> Callable[[Gateway, str], Coroutine[Any, Any, None]]:
    return lambda gateway, key: dials(gateway, key, ending)


CALLS: dict[str, Callable[[Gateway, str], Coroutine[Any, Any, None]]] = {
    "the telephone hangs up": _ending("21"),
    "busy": _ending("86"),
    "no such number": _ending("99"),
    "congestion": _ending("03"),
    "the limit cuts": is_cut,
    "hung up by us": is_hung_up,
    "given up": is_given_up,
    "a bad verdict": is_refused,
    "a hangup for a verdict": is_rejected,
    "no verdict": is_ignored,
}


async def tell_all(asterisk: Asterisk | VirtualAsterisk) -> dict[str, Told]:
    """Make the calls, all at once, and one more before there is any heartbeat."""

    async def tell(gateway: Gateway, name: str) -> Told:
        key = new_key()
        await CALLS[name](gateway, key)
        return await told(gateway, key)

    async with gateway_of(asterisk) as gateway:
        key = new_key()
        await gateway.originate(key)
        unheard = await told(gateway, key)
        await gateway.beat()
        heard = await asyncio.gather(*(tell(gateway, name) for name in CALLS))
    return {"no heartbeat": unheard, **dict(zip(CALLS, heard, strict=True))}


async def told(gateway: Gateway, key: str) -> Told:
    """Wait for the end of a call, and return what a gateway has learned of it."""
    await gateway.ended(key)
    text = await gateway.client.record(FAMILY, key)
    record = None if text is None else CallRecord.parse(text)
    answered_ms = None if record is None else record.answered_ms
    return Told(
        story=gateway.story(key),
        cause=None if record is None else record.hangup_cause,
        status=None if record is None else record.dial_status,
        answered_ms=answered_ms,
        was_answered=answered_ms is not None,
    )


async def test_it_tells_what_the_real_asterisk_tells() -> None:
    """Eleven calls on the lab's Asterisk and on the virtual one: each channel tells the same.

    What is proved on the simulator is proved of the product only as far as this holds.
    """
    virtual_asterisk = VirtualAsterisk(random=Random(7), faults=Faults.none())
    for ending, telephone in TELEPHONES.items():
        virtual_asterisk.carrier.plan(f"+{NUMBER[:-2]}{ending}", telephone)

    async with (
        Carrier(find_sipp(LAB)) as carrier,
        Asterisk(find_asterisk(LAB), trunk_port=carrier.port) as asterisk,
        virtual_asterisk,
    ):
        real, simulated = await asyncio.gather(tell_all(asterisk), tell_all(virtual_asterisk))

    assert simulated.keys() == real.keys()
    assert [
        (name, simulated[name], each) for name, each in real.items() if simulated[name] != each
    ] == []
    for calls in (real, simulated):
        for name, least_ms in (("the telephone hangs up", TALK_MS), ("the limit cuts", CUT_MS)):
            assert (calls[name].answered_ms or 0) >= least_ms - EARLY_MS_MAX, name


# The truth.


@pytest.mark.parametrize("ended_by", [EndedBy.TELEPHONE, EndedBy.BRIDGE])
async def test_the_carrier_knows_what_the_events_and_the_record_say(ended_by: EndedBy) -> None:
    """To the millisecond: a campaign compares begun seconds, and one more would be a finding."""
    async with virtual(clock=Clock(offset_ms=-90_000, drift_ppm=200)) as (asterisk, gateway):
        talk_ms = 150 if ended_by is EndedBy.TELEPHONE else None
        asterisk.carrier.plan(f"+{NUMBER}", Telephone(ring_ms=20, talk_ms=talk_ms))
        key = await gateway.connect()
        if ended_by is EndedBy.BRIDGE:
            await gateway.client.hangup(f"{key}-join", cause=16)
        await gateway.ended(key)
        record = CallRecord.parse(await gateway.client.record(FAMILY, key) or "")

    [call] = asterisk.carrier.calls
    answer = await gateway.event(lambda e: isinstance(e, DialEnd) and e.dest_uniqueid == call.leg)
    hangup = await gateway.event(_hangup_of(call.leg))
    assert isinstance(answer, DialEnd)
    assert isinstance(hangup, Hangup)
    assert record is not None
    assert record.dial_status == "ANSWER"
    assert (answer.at, hangup.at) == (call.answered_at_ms, call.ended_at_ms)
    assert (record.ended_at_ms, record.answered_ms) == (call.ended_at_ms, call.talked_ms)
    assert (call.key, call.number, call.ended_by) == (key, f"+{NUMBER}", ended_by)
    assert call.recorded
    assert call.answered_at_ms == pytest.approx(time.time() * 1000 - 90_000, abs=30_000)


async def test_the_limit_is_moved_and_kept() -> None:
    """It counts from the answer, is read back, and a later one holds instead."""
    async with virtual() as (asterisk, gateway):
        key = new_key()
        await gateway.release(await gateway.reach_gate(key), key, NUMBER, talk_ms=60_000)
        await gateway.joined(key)
        leg = gateway.leg(key)
        assert leg is not None
        before_ms = await gateway.client.limit_left_ms(leg)
        await gateway.client.limit(leg, milliseconds=200)
        await gateway.ended(key)

    [call] = asterisk.carrier.calls
    assert before_ms is not None
    assert 50_000 < before_ms <= 60_000
    assert call.talked_ms is not None
    assert 200 <= call.talked_ms < 10_000
    assert call.ended_by is EndedBy.BRIDGE


async def test_one_visit_has_one_try() -> None:
    """A verdict that comes again takes the call down, as in the real dialplan; it dials nothing."""
    async with virtual() as (asterisk, gateway):
        key = new_key()
        reached = await gateway.reach_gate(key)
        await gateway.release(reached, key, NUMBER)
        await gateway.joined(key)
        await gateway.release(reached, key, NUMBER)
        await gateway.ended(key)
        record = await gateway.client.record(FAMILY, key)

    assert len(asterisk.carrier.calls) == 1
    assert record is not None
    assert record.endswith("::21:ANSWER")


async def test_a_verdict_holds_in_every_part_or_not_at_all() -> None:
    """As in the real dialplan: for this channel, on this visit, with limits that are limits."""
    async with virtual() as (asterisk, gateway):

        async def refused(part: int, wrong: str) -> bool:
            key = new_key()
            reached = await gateway.reach_gate(key)
            parts = [key, reached.visit, reached.uniqueid, NUMBER, "60000", "120", "30", CALLER]
            parts[part] = wrong
            await gateway.client.set_and_redirect(
                channel=reached.uniqueid,
                variable="DIALOUT_VERDICT",
                value=":".join(("allow", *parts)),
                context="dialout-release",
                extension=f"d{key}",
                action_id=f"{key}-release",
            )
            hangup = await gateway.event(_hangup_of(reached.uniqueid))
            return isinstance(hangup, Hangup) and hangup.cause == 21

        wrong = (new_key(), "1" * 18, "x-gate", "12", "999", "5", "91", "")
        outcomes = await asyncio.gather(*(refused(*each) for each in enumerate(wrong)))

    assert all(outcomes)
    assert asterisk.carrier.calls == []


async def test_an_id_is_refused_only_while_its_channel_lives() -> None:
    """As by the real one: what begins a call twice fails, and what begins it anew does not."""
    async with virtual() as (asterisk, gateway):
        key = await gateway.connect()
        before = len(gateway.events)
        await gateway.originate(key)
        again = await gateway.event(lambda e: isinstance(e, OriginateResponse), since=before)
        await gateway.client.hangup(f"{key}-gate", cause=16)
        await gateway.ended(key)
        before = len(gateway.events)
        await gateway.originate(key)
        await gateway.event(lambda e: isinstance(e, GateReached), since=before)

    assert isinstance(again, OriginateResponse)
    assert not again.success
    assert len(asterisk.carrier.calls) == 1


async def test_a_channel_of_a_call_that_is_over_may_come_again() -> None:
    """By the names that the call's own had, which are free by then; while it lives they are not."""
    async with virtual() as (asterisk, gateway):
        key = await gateway.connect()
        dial_out = DialOutKey.parse(key)
        assert dial_out is not None
        refused = asterisk.replay(dial_out)
        await gateway.client.hangup(f"{key}-gate", cause=16)
        await gateway.ended(key)
        before = len(gateway.events)
        uniqueid = asterisk.replay(dial_out)
        event = await gateway.event(lambda e: isinstance(e, GateReached), since=before)

    assert refused is None
    assert isinstance(event, GateReached)
    assert (event.uniqueid, event.key_hex) == (uniqueid, key)
    assert len(asterisk.carrier.calls) == 1


async def test_a_foreign_channel_is_intercepted() -> None:
    """It names on whose behalf it calls, and is let dial or refused by whoever is in charge."""
    async with virtual() as (asterisk, gateway):

        async def intercepted() -> InterceptReached:
            uniqueid = asterisk.intercept("0044123", {"DIALOUT_ORGANIZER": "ann@example.org"})
            event = await gateway.event(
                lambda e: isinstance(e, InterceptReached) and e.uniqueid == uniqueid
            )
            assert isinstance(event, InterceptReached)
            return event

        released, refused = await intercepted(), await intercepted()
        asterisk.carrier.plan(f"+{NUMBER}", Telephone(ring_ms=1, talk_ms=50))
        await gateway.release(released, new_key(), NUMBER)
        await gateway.client.set_and_redirect(
            channel=refused.uniqueid,
            variable="DIALOUT_REASON",
            value="no_funds",
            context="dialout-refuse",
            extension="s",
            action_id="refuse",
        )
        hangups = [await gateway.event(_hangup_of(e.uniqueid)) for e in (released, refused)]

    assert [e.cause for e in hangups if isinstance(e, Hangup)] == [16, 21]
    assert released.organizer == "ann@example.org"
    assert len(asterisk.carrier.calls) == 1


async def test_two_gateways_hear_the_same() -> None:
    """Each session is told every event, and who is not let in is told nothing."""
    async with virtual() as (asterisk, gateway), gateway_of(asterisk) as other:
        reader, writer = await asyncio.open_connection(asterisk.host, asterisk.port)
        banner = await reader.readline()
        key = await gateway.connect()
        await other.joined(key)
        await gateway.client.hangup(f"{key}-gate", cause=16)
        await gateway.ended(key)
        await other.ended(key)
        writer.write(b"Action: Login\r\nActionID: 1\r\nUsername: gateway\r\nSecret: no\r\n\r\n")
        said = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert other.story(key) == gateway.story(key)
    assert banner == b"Asterisk Call Manager/11.0.0\r\n"
    assert said == b"Response: Error\r\nActionID: 1\r\nMessage: Authentication failed\r\n\r\n"


# What goes wrong.


@pytest.mark.parametrize("memory", list(Memory))
async def test_a_killed_asterisk_tells_nobody(memory: Memory) -> None:
    """Its channels are gone without an event; of its records is left what its disk has."""
    # On a clock so slow that nothing gets as old as a second.
    async with virtual(clock=Clock(drift_ppm=-900_000)) as (asterisk, gateway):
        for old in (OLD, OLD_AND_SETTLED):
            asterisk.records.put(f"{FAMILY}/{old}", "old")
        asterisk.records.sync()
        settled = await gateway.connect()
        await gateway.client.hangup(f"{settled}-gate", cause=16)
        await gateway.ended(settled)
        key = await gateway.connect()
        await gateway.client.record_delete(FAMILY, OLD_AND_SETTLED)
        port = asterisk.port
        await asterisk.restart(memory=memory, down_seconds=0.05)
        await gateway.event(lambda e: isinstance(e, LinkUp), since=len(gateway.events) - 1)
        records = set(await gateway.client.records(FAMILY))
        channels = await gateway.client.channels()

    kept = {
        Memory.KEPT: {OLD, settled},
        Memory.UNSYNCED: {OLD, OLD_AND_SETTLED},
        Memory.LOST: set(),
    }
    assert records == kept[memory]
    assert channels == ()
    assert asterisk.carrier.calls[-1].ended_by is EndedBy.DEATH
    assert not asterisk.carrier.calls[-1].recorded
    assert not any(isinstance(e, Hangup) and key in e.uniqueid for e in gateway.events)
    assert gateway.story(key)["gate"] == ["asks"]
    assert port == gateway.client._port


async def test_a_shutdown_is_told_and_recorded() -> None:
    """Its operator restarts it: each call has its hangup and its record before the link ends."""
    async with virtual() as (asterisk, gateway):
        key = await gateway.connect()
        await asterisk.shut_down(down_seconds=0.05)
        await gateway.event(lambda e: isinstance(e, Shutdown))
        up = await gateway.event(lambda e: isinstance(e, LinkUp), since=1)
        record = await gateway.client.record(FAMILY, key)

    [call] = asterisk.carrier.calls
    assert isinstance(up, LinkUp)
    assert gateway.of_leg(key)[-1].startswith("hangs up")
    assert record is not None
    assert record.endswith(f":{call.talked_ms}:16:ANSWER")


async def test_it_may_die_right_after_an_answer() -> None:
    """The event is the last that is heard: what an answer costs is known, not how long it was."""
    killed = PlannedFault(fault=Fault.KILLED, point="event DialEnd ANSWER", nth=1, milliseconds=50)
    async with virtual(killed) as (asterisk, gateway):
        key = new_key()
        await gateway.release(await gateway.reach_gate(key), key, NUMBER)
        await gateway.event(lambda e: isinstance(e, LinkUp), since=1)
        record = await gateway.client.record(FAMILY, key)

    [call] = asterisk.carrier.calls
    assert gateway.of_leg(key) == ["begins", "RINGING", "ANSWER"]
    assert "originate" not in gateway.story(key)
    assert record is None
    assert call.ended_by is EndedBy.DEATH
    assert [each.planned for each in asterisk.faults.applied] == [killed]


async def test_it_may_die_between_a_hangup_and_its_record() -> None:
    """Somebody was told of the end, and the disk was not: no record from beyond the grave."""
    killed = PlannedFault(fault=Fault.KILLED, point="event Hangup leg", nth=1, milliseconds=50)
    async with virtual(killed) as (asterisk, gateway):
        key = await gateway.connect()
        leg = asterisk.carrier.calls[0].leg
        with contextlib.suppress(AmiUnavailable):
            await gateway.client.hangup(leg, cause=16)
        await gateway.event(lambda e: isinstance(e, LinkUp), since=1)
        record = await gateway.client.record(FAMILY, key)

    assert record is None
    assert gateway.of_leg(key)[-1] == "hangs up 16"
    assert gateway.story(key)["gate"] == ["asks"]


@pytest.mark.parametrize(
    ("fault", "leg"),
    [
        (Fault.EVENT_DROPPED, ["begins", "RINGING", "hangs up 16"]),
        (Fault.EVENT_DOUBLED, ["begins", "RINGING", "ANSWER", "ANSWER", "hangs up 16"]),
        (Fault.EVENT_LATE, ["begins", "RINGING", "hangs up 16", "ANSWER"]),
        (Fault.CHANNEL_SILENT, ["begins", "RINGING", "hangs up 16"]),
        (Fault.CHANNEL_LATE, ["begins", "RINGING", "hangs up 16", "ANSWER"]),
        (Fault.CHANNEL_SLOW, ["begins", "RINGING", "hangs up 16", "ANSWER"]),
        (Fault.BYTES_SPLIT, ["begins", "RINGING", "ANSWER", "hangs up 16"]),
    ],
)
async def test_events_go_astray(fault: Fault, leg: list[str]) -> None:
    """Of the answer: an event names the channel that dials, whose end may so come first."""
    planned = PlannedFault(fault=fault, point="event DialEnd ANSWER", nth=1, milliseconds=2000)
    async with virtual(planned) as (asterisk, gateway):
        asterisk.carrier.plan(f"+{NUMBER}", Telephone(ring_ms=1, talk_ms=100))
        key = new_key()
        await gateway.release(await gateway.reach_gate(key), key, NUMBER)
        await gateway.event(_hangup_of(f"{key}-join"))
        if fault in (Fault.EVENT_LATE, Fault.CHANNEL_LATE, Fault.CHANNEL_SLOW):
            await gateway.event(lambda e: isinstance(e, DialEnd) and e.dial_status == "ANSWER")
            await gateway.event(lambda e: isinstance(e, DialEnd) and e.uniqueid == f"{key}-gate")
        if fault is Fault.CHANNEL_SLOW:
            await gateway.event(_hangup_of(f"{key}-gate"))
        await gateway.client.ping()
        story = gateway.story(key)

    assert gateway.of_leg(key) == leg
    assert ("hangs up 16" in story["gate"]) is (fault is not Fault.CHANNEL_SILENT)


@pytest.mark.parametrize("everywhere", [True, False])
async def test_an_event_goes_astray_for_one_or_for_all(*, everywhere: bool) -> None:
    """Two gateways that know different things of a call are harder to agree than two that do not.

    The one that was there first is the one that misses it.
    """
    planned = PlannedFault(
        fault=Fault.EVENT_DROPPED, point="event DialEnd ANSWER", nth=1, everywhere=everywhere
    )
    async with virtual(planned) as (asterisk, gateway), gateway_of(asterisk) as other:
        key = await gateway.connect()
        await gateway.client.hangup(f"{key}-gate", cause=16)
        await gateway.ended(key)
        await other.ended(key)

    assert "ANSWER" not in gateway.of_leg(key)
    assert ("ANSWER" in other.of_leg(key)) is not everywhere


@pytest.mark.parametrize(
    ("fault", "error", "carried_out"),
    [
        (Fault.ANSWER_DROPPED, AmiTimeout, True),
        (Fault.ANSWER_LATE, AmiTimeout, True),
        (Fault.ANSWER_DOUBLED, None, True),
        (Fault.ANSWER_REFUSED, AmiRefused, False),
        (Fault.CUT_BEFORE, AmiUnavailable, False),
        (Fault.CUT_AFTER, AmiUnavailable, True),
    ],
)
async def test_answers_go_astray(
    fault: Fault, error: type[AmiError] | None, *, carried_out: bool
) -> None:
    """Whether a call was begun and whether anybody heard that it was are two questions."""
    planned = PlannedFault(fault=fault, point="action Originate", nth=1, milliseconds=600)
    async with virtual(planned) as (asterisk, gateway):
        outcome = (await asyncio.gather(gateway.originate(new_key()), return_exceptions=True))[0]
        begun = asterisk.channels_count

    assert (None if outcome is None else type(outcome)) is error
    assert (begun > 0) is carried_out


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.LIST_UNFINISHED, AmiTimeout),
        (Fault.LIST_SHORT, AmiRefused),
        (Fault.LIST_CANCELLED, AmiRefused),
        (Fault.CUT_IN_ANSWER, AmiUnavailable),
    ],
)
async def test_lists_go_astray(fault: Fault, error: type[AmiError]) -> None:
    """No list that lacks something passes for one that has it all."""
    planned = PlannedFault(fault=fault, point="action CoreShowChannels", nth=1)
    async with virtual(planned) as (_, gateway):
        await gateway.connect()
        with pytest.raises(error):
            await gateway.client.channels()


async def test_a_half_open_link_says_nothing_and_then_everything() -> None:
    """What happened meanwhile is told late; that it was reset, at once."""
    async with virtual() as (asterisk, gateway):
        key = await gateway.connect()
        asterisk.half_open(60, resets=False)
        with pytest.raises(AmiTimeout):
            await gateway.client.hangup(f"{key}-gate", cause=16)
        await asterisk.heal()
        await gateway.ended(key)
        asterisk.half_open(0.1, resets=True)
        down = await gateway.event(lambda e: isinstance(e, LinkDown))
        await gateway.event(lambda e: isinstance(e, LinkUp), since=1)

    assert isinstance(down, LinkDown)


async def test_a_half_open_link_may_be_of_one_gateway() -> None:
    """What it sent arrives late, when another has long acted: that is what fences are for."""
    async with virtual() as (asterisk, gateway), gateway_of(asterisk) as other:
        key = await gateway.connect()
        await other.joined(key)
        asterisk.half_open(60, resets=False, everywhere=False)
        with pytest.raises(AmiTimeout):
            await gateway.client.set_variable("LATE", "1", channel=f"{key}-join")
        before = await other.client.variable("LATE", channel=f"{key}-join")
        await asterisk.heal()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await other.client.variable("LATE", channel=f"{key}-join") != "1":
                await asyncio.sleep(0.01)

    assert before == ""


def test_a_seed_draws_the_same_faults_again() -> None:
    """A campaign names a failing seed, and whoever runs it must meet what failed."""

    def drawn(seed: int) -> list[PlannedFault]:
        return list(Faults.drawn(Random(seed), count=4).planned)

    assert drawn(11) == drawn(11)
    assert {each.fault for seed in range(300) for each in drawn(seed)} == set(Fault)


async def test_a_long_run_does_not_grow() -> None:
    """A soak makes calls for half an hour: what has ended can be forgotten, and is gone."""
    async with virtual() as (asterisk, gateway):
        asterisk.carrier.plan(f"+{NUMBER}", Telephone(ring_ms=1, talk_ms=20))
        keys = await asyncio.gather(*(gateway.connect() for _ in range(20)))
        await asyncio.gather(*map(gateway.ended, keys))
        for key in keys:
            await gateway.client.record_delete(FAMILY, key)
        ended: tuple[CarrierCall, ...] = asterisk.carrier.forget_ended()

        assert len(ended) == len(keys)
        assert asterisk.carrier.calls == []
        assert asterisk.channels_count == 0
        assert asterisk.records.tree(FAMILY) == ()
        await gateway.connect()
